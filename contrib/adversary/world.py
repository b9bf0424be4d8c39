"""The course that is attacked, and what is expected of it."""

import hashlib
import os
import pathlib
import shutil
import subprocess

# No command of clm takes longer on this course, or it hangs.
PATIENCE = 180
# A variable in the environment of everything that is started, so that processes that survive are found.
MARK = "CLM_ATTACK"

SPEC = """<course>
<name><de>Kurs</de><en>Course</en></name>
<prog-lang>python</prog-lang>
<project-slug>course</project-slug>
<sections>
<section><name><de>Eins</de><en>One</en></name><topics><topic>alpha</topic><topic>beta</topic></topics></section>
<section><name><de>Zwei</de><en>Two</en></name><topics><topic>gamma</topic></topics></section>
</sections>
</course>
"""
HEAD = "# j2 from 'macros.j2' import header\n# {{ header(\"Titel %s\", \"Title %s\") }}\n\n"
DECK = HEAD + """# %%%% [markdown] lang="de" tags=["slide"]
# ## Folie %s
# <img src="img/%s.png">

# %%%% [markdown] lang="en" tags=["slide"]
# ## Slide %s
# <img src="img/%s.png">

# %%%% tags=["keep"]
%s
"""
CODE = {
    "alpha": "from pathlib import Path\nprint(Path('data.csv').read_text())\nprint(sorted(p.name for p in Path('rows').iterdir()))",
    "beta": "import outside_package\nprint(outside_package.value())",
    "gamma": "import os\nprint(os.environ.get('ATTACK_VALUE', 'none'), 'gamma one')",
}
PLANTUML = "@startuml\n!include part.iuml\n!if %%file_exists(\"maybe.iuml\")\n!include maybe.iuml\n!endif\nAlice -> Bob: hello %s\n@enduml\n"
PACKAGE = "from pathlib import Path\nfrom .inner import inner\ndef value():\n    return inner() + Path(__file__).with_name('values.txt').read_text()\n"


class World:
    """A course in a directory of its own, beside a package that its kernels import."""

    def __init__(self, clm, base, rng):
        self.clm, self.base, self.rng = clm, pathlib.Path(base), rng
        self.root = self.base / "course"
        self.packages = self.base / "packages"
        self.mark = f"{os.getpid()}-{rng.random()}"
        self.watch = None
        self.write("course.xml", SPEC)
        for name in ("alpha", "beta", "gamma"):
            topic = f"slides/module_010_m/topic_{ {'alpha': '010', 'beta': '020', 'gamma': '030'}[name]}_{name}"
            self.write(f"{topic}/slides_{name}.py", DECK % (name, name, name, name, name, name, CODE[name]))
            self.write(f"{topic}/pu/{name}.pu", PLANTUML % name)
            self.write(f"{topic}/pu/part.iuml", "skinparam monochrome true\n")
            self.write(f"{topic}/img/photo-{name}.png", bytes.fromhex("89504e470d0a1a0a") + name.encode())
        self.topic = {n: f"slides/module_010_m/topic_{k}_{n}" for n, k in (("alpha", "010"), ("beta", "020"), ("gamma", "030"))}
        self.write(self.topic["alpha"] + "/data.csv", "a,b\n1,2\n")
        self.write(self.topic["alpha"] + "/rows/one.txt", "one\n")
        self.write(".env", "ATTACK_VALUE=first\n")
        package = self.packages / "outside_package"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(PACKAGE)
        (package / "inner.py").write_text("def inner():\n    return 'inner 1'\n")
        (package / "values.txt").write_text("value 1\n")
        self.files = sorted(p for p in self.root.rglob("*") if p.is_file())

    def write(self, path, content):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    def env(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("CLM_") or k == "CLM_TOOLS_DIR"}
        env.pop("CI", None)
        env.update(PYTHONPATH=str(self.packages), PYTHONDONTWRITEBYTECODE="1")
        env[MARK] = self.mark
        return env

    def start(self, *args, root=None):
        return subprocess.Popen([self.clm, *args], cwd=root or self.root, env=self.env(), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")

    def run(self, *args, root=None, patience=PATIENCE):
        """The exit code and what was printed; the code is none when it did not end in time."""
        process = self.start(*args, root=root)
        try:
            out, _ = process.communicate(timeout=patience)
            return process.returncode, out
        except subprocess.TimeoutExpired:
            process.terminate()
            try:
                process.communicate(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
            return None, "did not end"

    def start_watch(self):
        log = open(self.base / "watch.log", "w")
        self.watch = subprocess.Popen([self.clm, "watch"], cwd=self.root, env=self.env(), stdin=subprocess.DEVNULL,
                                      stdout=log, stderr=log)
        self.run("build")

    def stop(self):
        if self.watch and self.watch.poll() is None:
            self.watch.terminate()
            try:
                self.watch.wait(20)
            except subprocess.TimeoutExpired:
                self.watch.kill()
                return False
        return True

    def survivors(self):
        """Processes that carry this world's mark."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if f"{MARK}={self.mark}".encode() in (entry / "environ").read_bytes():
                    state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
                    if state not in "ZX":
                        found.append((int(entry.name), (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:90]))
            except OSError:
                pass
        return found


def tree(root):
    """Digests of the outputs, but for manifests, which tell the time."""
    found = {}
    for file in sorted(pathlib.Path(root).rglob("*")):
        if file.is_file() and not file.is_symlink() and file.name != ".clm-manifest.json":
            found[str(file.relative_to(root))] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


REFERENCES = {}


def reference(world):
    """The outputs and the exit code of a clean build of the same sources in another place."""
    elsewhere = world.base / "clean"
    shutil.rmtree(elsewhere, ignore_errors=True)
    shutil.copytree(world.root, elsewhere, symlinks=True, ignore=shutil.ignore_patterns(".clm", "output", "img-generated"))
    state = hashlib.sha256()
    for place in (elsewhere, world.packages):
        for file in sorted(place.rglob("*")):
            state.update(str(file.relative_to(place)).encode() + b"\0")
            if file.is_file():
                state.update(hashlib.sha256(file.read_bytes()).digest())
    key = state.hexdigest()
    if key not in REFERENCES:
        code, out = world.run("build", "--no-daemon", root=elsewhere)
        REFERENCES[key] = (code, tree(elsewhere / "output"), out)
    return REFERENCES[key]
