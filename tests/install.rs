//! What a release consists of, made of the binary under test, installed and removed again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use clm::testing::tools::Needs;

use crate::support::renderers::provide;
use crate::support::tree;

const CLM: &str = env!("CARGO_BIN_EXE_clm");

/// Runs a program that must succeed, and returns what it printed.
fn run(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {errors}");
    String::from_utf8(stdout).unwrap()
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/release/make.py")
}

fn make(out: &Path, binary: &Path, more: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.args(["-B", "-W", "error"]).arg(script());
    command.arg("--out").arg(out).arg("--binary").arg(binary);
    command.args(["--level", "1"]).args(more);
    command.env("SOURCE_DATE_EPOCH", "1700000000");
    command
}

/// Everything, made once for all tests.
fn release() -> &'static Path {
    static RELEASE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let dir = RELEASE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        run(&mut make(dir.path(), &small(scratch.path()), &[]));
        dir
    });
    dir.path()
}

/// The binary under test without what only debuggers read, where that can be taken off: packing it is quicker.
fn small(dir: &Path) -> PathBuf {
    let path = dir.join("clm");
    if !path.exists() {
        fs::copy(CLM, &path).unwrap();
        let _ = Command::new("strip").arg(&path).output();
    }
    path
}

fn made(ending: &str) -> PathBuf {
    let mut files = fs::read_dir(release())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .find(|path| path.to_string_lossy().ends_with(ending))
        .unwrap_or_else(|| panic!("no {ending} was made"))
}

/// Checks that a prefix has the program, and what belongs to it.
fn is_complete(prefix: &Path, zsh: &str) {
    let clm = prefix.join("bin/clm");
    let version = run(Command::new(&clm).arg("--version"));
    assert_eq!(version, format!("clm {}\n", env!("CARGO_PKG_VERSION")));
    for path in ["share/fish/vendor_completions.d/clm.fish", zsh] {
        assert!(
            fs::read_to_string(prefix.join(path))
                .unwrap()
                .contains("clm"),
            "{path}"
        );
    }
    let bash = prefix.join("share/bash-completion/completions/clm");
    let said = run(Command::new("bash")
        .args(["-euc", ". \"$1\"; complete -p clm", "-"])
        .arg(bash));
    assert!(said.contains("_clm clm"), "{said}");
}

#[test]
fn a_wheel_is_installed_and_removed_without_a_trace() {
    let dir = tempfile::tempdir().unwrap();
    let venv = dir.path().join("venv");
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    let files = || {
        let mut paths: Vec<String> = tree(&venv).into_keys().collect();
        paths.retain(|path| !path.contains("__pycache__"));
        paths
    };
    let before = files();
    let pip = |arguments: &[&str]| {
        let mut command = Command::new(venv.join("bin/python"));
        command
            .args(["-m", "pip", "--disable-pip-version-check"])
            .args(arguments);
        command
    };
    run(pip(&["install", "--no-index"]).arg(made(".whl")));
    is_complete(&venv, "share/zsh/site-functions/_clm");
    for page in ["clm.1", "clm-build.1", "clm-cache-gc.1"] {
        let text = fs::read_to_string(venv.join("share/man/man1").join(page)).unwrap();
        assert!(text.contains(".SH NAME"), "{page}");
    }
    assert!(run(&mut pip(&["show", "clm-build"])).contains("Name: clm-build"));
    // What the newcomer does next: a course is started, and builds as it is.
    provide(Needs::everything());
    let clm = |arguments: &[&str]| {
        let mut command = Command::new(venv.join("bin/clm"));
        command.args(arguments).current_dir(dir.path());
        command
    };
    run(&mut clm(&["new", "coffee"]));
    run(&mut clm(&["build", "--no-daemon", "coffee"]));
    let pages = "coffee/output/students/coffee-en/Slides/Html/Completed/First steps";
    let page = fs::read_to_string(dir.path().join(pages).join("01 How coffee cools.html"));
    assert!(
        page.unwrap().contains("data:image/png;base64,"),
        "there is no plot"
    );
    run(&mut pip(&["uninstall", "-y", "clm-build"]));
    assert_eq!(files(), before);
}

#[test]
fn an_archive_is_a_prefix() {
    let dir = tempfile::tempdir().unwrap();
    run(Command::new("tar")
        .arg("-xzf")
        .arg(made(".tar.gz"))
        .args(["--strip-components=1", "-C"])
        .arg(dir.path()));
    is_complete(dir.path(), "share/zsh/site-functions/_clm");
    for name in [
        "share/doc/clm/LICENSE",
        "share/doc/clm/README.md",
        "share/man/man1/clm-watch.1",
    ] {
        assert!(dir.path().join(name).is_file(), "{name}");
    }
    let sums = release().join("SHA256SUMS");
    let checked = run(Command::new("sha256sum")
        .arg("--check")
        .arg(sums)
        .current_dir(release()));
    assert_eq!(checked.matches(": OK").count(), 3, "{checked}");
}

#[test]
fn a_package_of_debian_has_everything_in_its_place() {
    if Command::new("dpkg-deb").arg("--version").output().is_err() {
        eprintln!("skipped: there is no dpkg-deb");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    run(Command::new("dpkg-deb")
        .arg("-x")
        .arg(made(".deb"))
        .arg(dir.path()));
    is_complete(&dir.path().join("usr"), "share/zsh/vendor-completions/_clm");
    let share = dir.path().join("usr/share");
    for name in [
        "man/man1/clm.1.gz",
        "doc/clm/copyright",
        "doc/clm/changelog.gz",
    ] {
        assert!(share.join(name).is_file(), "{name}");
    }
    let fields = run(Command::new("dpkg-deb").arg("-f").arg(made(".deb")));
    assert!(fields.starts_with("Package: clm\n"), "{fields}");
    assert!(fields.contains("Depends: libc6 (>= 2."), "{fields}");
}

#[test]
fn the_same_binary_is_packed_into_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let binary = small(dir.path());
    for out in [&one, &two] {
        run(&mut make(out, &binary, &["--only", "wheel"]));
    }
    assert_eq!(tree(&one), tree(&two));
}

#[test]
fn what_cannot_be_made_is_an_error_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text");
    fs::write(&text, "no binary").unwrap();
    let refused = make(dir.path(), &text, &[]).output().unwrap();
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("is no binary of 64-bit Linux"), "{said}");
    // A machine for which there is no standard library: nothing is compiled.
    let mut command = Command::new("python3");
    command.arg("-B").arg(script()).arg("--out").arg(dir.path());
    let refused = command
        .args(["--target", "m68k-unknown-linux-gnu"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("no standard library"), "{said}");
}

#[test]
fn manual_pages_replace_only_manual_pages() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man1");
    run(Command::new(CLM).arg("man").arg(&pages));
    let first = tree(&pages);
    assert!(first.len() > 20, "{first:?}");
    let mode = fs::metadata(pages.join("clm.1"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o644);
    fs::write(
        pages.join("clm.1"),
        ".\\\" Written by `clm man`.\nof an earlier version",
    )
    .unwrap();
    run(Command::new(CLM).arg("man").arg(&pages));
    assert_eq!(tree(&pages), first);

    fs::write(pages.join("clm-build.1"), "mine").unwrap();
    fs::remove_file(pages.join("clm.1")).unwrap();
    let refused = Command::new(CLM).arg("man").arg(&pages).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("was not written by `clm man`") && said.contains("hint: "),
        "{said}"
    );
    assert_eq!(
        fs::read_to_string(pages.join("clm-build.1")).unwrap(),
        "mine"
    );
    assert!(!pages.join("clm.1").exists(), "nothing is written then");
}

#[test]
fn only_the_command_is_installed_from_the_source() {
    let manifest = run(Command::new(env!("CARGO")).args([
        "metadata",
        "--no-deps",
        "--offline",
        "--format-version",
        "1",
    ]));
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let targets = manifest["packages"][0]["targets"].as_array().unwrap();
    let installed: Vec<&str> = targets
        .iter()
        .filter(|target| target["kind"][0] == "bin" && target.get("required-features").is_none())
        .filter_map(|target| target["name"].as_str())
        .collect();
    assert_eq!(installed, ["clm"]);
}
