#!/usr/bin/env python3
"""Makes what a release of clm consists of: archives, wheels for PyPI, and packages for Debian, with SHA256SUMS.

Needs Python 3.10 and nothing else, besides cargo for what it compiles itself. All formats are written here: a wheel is a
zip and a package of Debian is an `ar` of two tars, so that the same staging tree makes all three, and the result is the
same bytes whoever packs them, on any machine. contrib/doc/install.md describes the use.
"""

import argparse
import base64
import gzip
import hashlib
import io
import json
import lzma
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from email.utils import formatdate
from pathlib import Path

import elf

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent

# What contrib/doc/install.md promises. A binary that needs a newer glibc is not released.
GLIBC = (2, 28)
# The shared libraries that a binary may need: all are there on every system with glibc.
LIBRARIES = {
    "libc.so.6": "libc6",
    "libm.so.6": "libc6",
    "libdl.so.2": "libc6",
    "libpthread.so.0": "libc6",
    "librt.so.1": "libc6",
    "ld-linux-x86-64.so.2": "libc6",
    "ld-linux-aarch64.so.1": "libc6",
    "libgcc_s.so.1": "libgcc-s1",
}
DEBIAN = {"x86_64": "amd64", "aarch64": "arm64"}
# Where a shell looks for completions, below a prefix. Debian's zsh has another place for what packages install.
COMPLETIONS = {
    "bash": "share/bash-completion/completions/clm",
    "zsh": "share/zsh/site-functions/_clm",
    "fish": "share/fish/vendor_completions.d/clm.fish",
}
DEBIAN_ZSH = "share/zsh/vendor-completions/_clm"
KINDS = ("archive", "wheel", "deb")


class Failed(Exception):
    """Why something cannot be made, for people."""


def main():
    package = described()
    args = arguments(package)
    args.out.mkdir(parents=True, exist_ok=True)
    made, failed = [], []
    runs = args.docs_from
    for target in args.target or [host()]:
        try:
            binary = args.binary or build(target, args)
            found = elf.read(binary)
            print(f"{target}: {found}", flush=True)
            check(found, target, None if args.binary else args.glibc)
            # Pages and completions are the same for all targets: one binary that runs here makes them.
            if runs is None and elf.runs_here(found):
                runs = binary
            if runs is None:
                raise Failed(
                    "its manual pages are written by clm itself, and this binary does not run here: "
                    "name one of the same version that does with --docs-from"
                )
            files = staged(binary, runs, package["version"])
            for kind in args.only:
                made += WRITERS[kind](files, found, target, package, args)
        except (Failed, OSError) as error:
            failed.append(f"{target}: not made: {error}")
    sums(args.out)
    for path in made:
        print(f"{path.stat().st_size:>12,}  {path}")
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


def described():
    """What Cargo.toml says about the package: its texts and lists of texts, as JSON has them, too."""
    section = (REPO / "Cargo.toml").read_text().split("[package]\n")[1].split("\n[")[0]
    return {key: json.loads(value) for key, value in re.findall(r'^([a-z-]+) = (["\[].*)$', section, re.MULTILINE)}


def arguments(package):
    parser = argparse.ArgumentParser(description="Makes the archives, wheels and packages of a release of clm.")
    parser.add_argument("--out", type=Path, default=Path("dist"), help="the directory [default: dist]")
    parser.add_argument(
        "--target",
        action="append",
        metavar="TRIPLE",
        help="what to make, such as aarch64-unknown-linux-gnu; can be repeated [default: this machine's]",
    )
    parser.add_argument("--binary", type=Path, metavar="PATH", help="pack this binary, and compile nothing")
    parser.add_argument("--docs-from", type=Path, metavar="PATH", help="a clm that runs here, where the packed one does not")
    parser.add_argument("--profile", default="release", help="the profile for cargo [default: release]")
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=list(KINDS),
        metavar="KIND,..",
        help=f"some of {', '.join(KINDS)} [default: all]",
    )
    parser.add_argument(
        "--glibc",
        type=lambda text: tuple(int(part) for part in text.split(".")),
        default=GLIBC,
        metavar="VERSION",
        help="the oldest glibc that what is compiled must run with [default: %s]" % ".".join(map(str, GLIBC)),
    )
    parser.add_argument("--level", type=int, choices=range(1, 10), default=9, help="how much time compression may take")
    parser.add_argument(
        "--maintainer",
        metavar="NAME <MAIL>",
        help="who makes the package for Debian [default: $DEBFULLNAME <$DEBEMAIL>, else the author in Cargo.toml]",
    )
    args = parser.parse_args()
    for kind in args.only:
        if kind not in KINDS:
            parser.error(f"`{kind}` is none of {', '.join(KINDS)}")
    if args.binary:
        if args.target:
            parser.error("--binary is for one target, which is read from the binary: leave --target away")
        if not args.binary.is_file():
            parser.error(f"`{args.binary}` is no file")
        args.binary = args.binary.resolve()
        args.target = [elf.read(args.binary).triple()]
    elif not args.target and sys.platform != "linux":
        parser.error("clm is packed for Linux only: name a --target, or pack a --binary")
    if args.docs_from:
        args.docs_from = args.docs_from.resolve()
    args.maintainer = args.maintainer or maintainer(package)
    if "deb" in args.only and re.search(r"@example\.(org|com|net)>", args.maintainer):
        print(f"warning: the maintainer of the package for Debian is the placeholder `{args.maintainer}`", file=sys.stderr)
    return args


def maintainer(package):
    """Who makes the package for Debian: the variables are those that Debian's own tools read."""
    name, mail = os.environ.get("DEBFULLNAME"), os.environ.get("DEBEMAIL")
    return f"{name} <{mail}>" if name and mail else package["authors"][0]


def host():
    libc = "gnu" if platform.libc_ver()[0] == "glibc" else "musl"
    return f"{platform.machine()}-unknown-linux-{libc}"


# ---------------------------------------------------------------------------------------------------- compiling


def build(target, args):
    """Compiles clm and returns the binary. With cargo-zigbuild it runs with an old glibc, wherever it is compiled."""
    libdir = run(["rustc", "--print", "target-libdir", "--target", target])
    if not libdir or not list(Path(libdir.strip()).glob("libstd-*.rlib")):
        raise Failed(f"rustc has no standard library for it; `rustup target add {target}` installs one")
    asked, command = target, ["cargo", "build"]
    if shutil.which("cargo-zigbuild"):
        command = ["cargo", "zigbuild"]
        if target.endswith("-gnu"):
            asked = f"{target}.{dotted(args.glibc)}"
    command += ["--bin", "clm", "--locked", "--profile", args.profile, "--target", asked]
    # The directories of whoever compiles are of no use in the messages of a panic.
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    flags = [f"--remap-path-prefix={REPO}=clm", f"--remap-path-prefix={home}=cargo"]
    flags = "\x1f".join(filter(None, [os.environ.get("CARGO_ENCODED_RUSTFLAGS"), *flags]))
    env = os.environ | {"CARGO_ENCODED_RUSTFLAGS": flags}
    done = subprocess.run(
        [*command, "--message-format", "json-render-diagnostics"],
        cwd=REPO,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode != 0:
        raise Failed(f"`{' '.join(command)}` failed")
    for line in done.stdout.splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("executable") and message["target"]["name"] == "clm":
            return Path(message["executable"])
    raise Failed("cargo did not say where the binary is")


def check(found, target, promised):
    """Fails if the binary is another one, or needs what is not promised."""
    if found.machine != target.split("-")[0]:
        raise Failed(f"the binary is for {found.machine}")
    unknown = [name for name in found.needed if name not in LIBRARIES]
    if unknown:
        raise Failed(f"it needs {', '.join(unknown)}, which is not on every system")
    if promised and found.glibc and found.glibc > promised:
        raise Failed(
            f"it needs glibc {dotted(found.glibc)}, and {dotted(promised)} is promised; compile it on an older system, "
            "or with `pip install cargo-zigbuild ziglang` on PATH, or say --glibc"
        )


# ------------------------------------------------------------------------------------------------------ staging


def staged(binary, runs, version):
    """Returns what is installed below a prefix: for every path its content, and whether it is executable."""
    said = run([runs, "--version"])
    if said.strip() != f"clm {version}":
        raise Failed(f"`{runs} --version` says `{said.strip()}`, and Cargo.toml {version}")
    files = {"bin/clm": (binary.read_bytes(), True)}
    with tempfile.TemporaryDirectory() as scratch:
        run([runs, "man", scratch])
        for page in sorted(Path(scratch).iterdir()):
            files[f"share/man/man1/{page.name}"] = (page.read_bytes(), False)
    for shell, path in COMPLETIONS.items():
        files[path] = (run([runs, "completions", shell]).encode(), False)
    for name, source in (("LICENSE", "LICENSE"), ("README.md", "README.md"), ("CHANGELOG.md", "contrib/CHANGELOG.md")):
        files[f"share/doc/clm/{name}"] = ((REPO / source).read_bytes(), False)
    return files


def run(command):
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    except OSError as error:
        raise Failed(f"cannot run `{command[0]}`: {error}") from error
    if done.returncode != 0:
        raise Failed(f"`{' '.join(str(part) for part in command)}` failed: {done.stderr.strip()}")
    return done.stdout


def epoch():
    """The time of everything that is packed: the last commit's, so that the same commit gives the same bytes."""
    if "SOURCE_DATE_EPOCH" in os.environ:
        return int(os.environ["SOURCE_DATE_EPOCH"])
    try:
        return int(run(["git", "-C", REPO, "log", "-1", "--format=%ct"]))
    except (Failed, ValueError):
        return 1_767_225_600  # sources without a history


def tar(files, root=""):
    """Returns a tar of these files and of their directories, owned by root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as out:

        def add(name, content, mode, kind=tarfile.REGTYPE):
            info = tarfile.TarInfo(root + name)
            info.size, info.mode, info.type, info.mtime = len(content), mode, kind, epoch()
            info.uname = info.gname = "root"
            out.addfile(info, io.BytesIO(content))

        known = set()
        for name in sorted(files):
            for parent in reversed(Path(name).parents[:-1]):
                if parent not in known:
                    known.add(parent)
                    add(f"{parent}/", b"", 0o755, tarfile.DIRTYPE)
            content, executable = files[name]
            add(name, content, 0o755 if executable else 0o644)
    return buffer.getvalue()


def zipped(content, level=9):
    return gzip.compress(content, level, mtime=0)


def dotted(version):
    return ".".join(map(str, version))


# ------------------------------------------------------------------------------------------------------ writing


def archive(files, _found, target, package, args):
    """An archive for any prefix: `tar -xzf FILE -C ~/.local --strip-components=1`."""
    name = f"clm-{package['version']}-{target}"
    path = args.out / f"{name}.tar.gz"
    path.write_bytes(zipped(tar(files, f"{name}/"), args.level))
    return [path]


def wheel(files, found, _target, package, args):
    """A wheel that puts the binary on PATH, and pages and completions below `share` of the environment."""
    version = re.sub(r"-?(alpha|beta|rc)\.?(\d+)", lambda m: m[1].replace("lpha", "").replace("eta", "") + m[2], package["version"])
    tag = f"py3-none-{platforms(found)}"
    stem = f"clm_build-{version}"
    info = f"{stem}.dist-info"
    metadata = [
        "Metadata-Version: 2.4",
        "Name: clm-build",
        f"Version: {version}",
        f"Summary: {package['description']}",
        f"Keywords: {','.join(package['keywords'])}",
        f"License-Expression: {package['license']}",
        "License-File: LICENSE",
        "Classifier: Environment :: Console",
        "Classifier: Operating System :: POSIX :: Linux",
        "Classifier: Programming Language :: Rust",
        "Requires-Python: >=3.8",
        "Description-Content-Type: text/markdown",
    ]
    if "repository" in package:
        metadata.append(f"Project-URL: Repository, {package['repository']}")
    text = "\n".join(metadata) + "\n\n" + (HERE / "pypi.md").read_text()
    entries = {
        f"{info}/METADATA": (text.encode(), False),
        f"{info}/WHEEL": (
            "".join(
                f"{line}\n"
                for line in (
                    "Wheel-Version: 1.0",
                    "Generator: clm-release",
                    "Root-Is-Purelib: false",
                    *(f"Tag: py3-none-{one}" for one in platforms(found).split(".")),
                )
            ).encode(),
            False,
        ),
        f"{info}/licenses/LICENSE": ((REPO / "LICENSE").read_bytes(), False),
        f"{stem}.data/scripts/clm": files["bin/clm"],
    }
    for name, file in files.items():
        if name.startswith("share/") and not name.startswith("share/doc/"):
            entries[f"{stem}.data/data/{name}"] = file
    record = []
    for name, (content, _) in entries.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record.append(f"{name},sha256={digest},{len(content)}")
    record.append(f"{info}/RECORD,,")
    entries[f"{info}/RECORD"] = ("".join(f"{line}\n" for line in record).encode(), False)
    path = args.out / f"{stem}-{tag}.whl"
    stamp = time.gmtime(max(epoch(), 315_532_800))[:6]
    # The list of what is in it comes last, as the format recommends.
    order = sorted(entries, key=lambda name: (name.startswith(info), name.endswith("RECORD"), name))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=args.level) as out:
        for name in order:
            content, executable = entries[name]
            entry = zipfile.ZipInfo(name, stamp)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = (0o100755 if executable else 0o100644) << 16
            out.writestr(entry, content)
    return [path]


def platforms(found):
    """The platforms of a wheel, by what its binary really needs. A static one runs with either C library."""
    if found.glibc is None:
        # The oldest tags that pip knows for these machines.
        old = {"x86_64": "manylinux_2_12_x86_64.manylinux2010_x86_64"}
        old = old.get(found.machine, f"manylinux_2_17_{found.machine}.manylinux2014_{found.machine}")
        return f"{old}.musllinux_1_1_{found.machine}"
    major, minor = max(found.glibc, (2, 17))
    tag = f"manylinux_{major}_{minor}_{found.machine}"
    return f"{tag}.manylinux2014_{found.machine}" if (major, minor) == (2, 17) else tag


def deb(files, found, _target, package, args):
    """A package of Debian, also for Ubuntu and what else is made of it."""
    version, machine = f"{package['version'].replace('-', '~')}-1", DEBIAN[found.machine]
    tree = {}
    for name, (content, executable) in files.items():
        if name == COMPLETIONS["zsh"]:
            name = DEBIAN_ZSH
        if name.startswith("share/man/"):
            name, content = f"{name}.gz", zipped(content)
        elif name == "share/doc/clm/CHANGELOG.md":
            name, content = "share/doc/clm/changelog.gz", zipped(content)
        elif name == "share/doc/clm/LICENSE":
            # As `copyright`, below.
            continue
        tree[f"usr/{name}"] = (content, executable)
    for name, text in (("copyright", copyright_file(package)), ("changelog.Debian", changelog(version, args))):
        content = text.encode()
        if name.startswith("changelog"):
            name, content = f"{name}.gz", zipped(content)
        tree[f"usr/share/doc/clm/{name}"] = (content, False)
    needs = {LIBRARIES[name]: LIBRARIES[name] for name in found.needed}
    if found.glibc:
        needs["libc6"] = f"libc6 (>= {dotted(found.glibc)})"
    summary, *more = (HERE / "debian.txt").read_text().splitlines()
    control = [
        "Package: clm",
        f"Version: {version}",
        f"Architecture: {machine}",
        f"Maintainer: {args.maintainer}",
        f"Installed-Size: {sum(len(content) for content, _ in tree.values()) // 1024 + 1}",
        *([f"Depends: {', '.join(sorted(needs.values()))}"] if needs else []),
        "Recommends: python3-venv",
        "Section: devel",
        "Priority: optional",
        *([f"Homepage: {package['repository']}"] if "repository" in package else []),
        f"Description: {summary}",
        *(f" {line or '.'}" for line in more),
    ]
    sums = "".join(f"{hashlib.md5(content).hexdigest()}  {name}\n" for name, (content, _) in sorted(tree.items()))
    inner = {
        "control": ("\n".join(control).encode() + b"\n", False),
        "md5sums": (sums.encode(), False),
    }
    path = args.out / f"clm_{version}_{machine}.deb"
    with path.open("wb") as out:
        out.write(b"!<arch>\n")
        for name, content in (
            ("debian-binary", b"2.0\n"),
            ("control.tar.xz", lzma.compress(tar(inner, "./"), preset=args.level)),
            ("data.tar.xz", lzma.compress(tar(tree, "./"), preset=args.level)),
        ):
            out.write(f"{name:<16}{epoch():<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode())
            out.write(content + b"\n" * (len(content) % 2))
    return [path]


def copyright_file(package):
    licence = (REPO / "LICENSE").read_text().splitlines()
    holder = next(line for line in licence if line.startswith("Copyright"))
    terms = licence[licence.index(holder) + 1 :]
    lines = [
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/",
        "Upstream-Name: clm",
        *([f"Source: {package['repository']}"] if "repository" in package else []),
        "",
        "Files: *",
        f"Copyright: {holder.removeprefix('Copyright (c) ')}",
        "License: Expat",
        *(f" {line or '.'}" for line in terms[1:]),
    ]
    return "\n".join(lines) + "\n"


def changelog(version, args):
    date = formatdate(epoch())
    return f"clm ({version}) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- {args.maintainer}  {date}\n"


WRITERS = {"archive": archive, "wheel": wheel, "deb": deb}


def sums(out):
    """Lists everything in the directory, also what an earlier run made for another target."""
    names = sorted(path.name for path in out.iterdir() if path.is_file() and path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256((out / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (out / "SHA256SUMS").write_text("".join(lines))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(f"{error}")
