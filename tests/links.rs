//! Sources that change without an event, through another hard link or through a mount; what is kept, and where.

use std::path::Path;
use std::process::Command;

use crate::support::courses::{COPIES, DATA, one_deck, without_pages};
use crate::support::{Course, Watching, ran};

const OTHER: &str = "slides/m/topic_010_one/data/other.csv";

fn course() -> Course {
    let course = one_deck("# %%\nx = 1\n");
    course.write(DATA, "10\n");
    course.write(OTHER, "1\n");
    without_pages(&course);
    course
}

fn copy(course: &Course, name: &str) -> String {
    course.read(&format!("{COPIES}/{name}"))
}

/// Waits until the watch has published something by itself.
fn until_copied(course: &Course, watch: &Watching, name: &str, text: &str) {
    watch.run_until(|_| copy(course, name) == text);
}

#[test]
fn a_change_through_another_hard_link_is_built() {
    let course = course();
    let outside = tempfile::tempdir().unwrap();
    let link = |name: &str, path: &str| {
        let other = outside.path().join(name);
        std::fs::hard_link(course.path(path), &other).unwrap();
        other
    };
    let data = link("numbers.csv", DATA);
    let spec = link("course.xml", "course.xml");
    let watch = Watching::start(&course, &[]);
    until_copied(&course, &watch, "numbers.csv", "10\n");
    // A build beside the watch knows, however soon it comes.
    std::fs::write(&data, "11\n").unwrap();
    assert_eq!(course.built().code, 0);
    assert_eq!(copy(&course, "numbers.csv"), "11\n");
    // One that got its other name while it was watched.
    std::fs::write(link("other.csv", OTHER), "2\n").unwrap();
    course.built();
    assert_eq!(copy(&course, "other.csv"), "2\n");
    // The watch finds out by itself.
    std::fs::write(&data, "12\n").unwrap();
    until_copied(&course, &watch, "numbers.csv", "12\n");
    let text = course
        .read("course.xml")
        .replace("<en>Part</en>", "<en>Piece</en>");
    std::fs::write(&spec, text).unwrap();
    let renamed = course.path(&format!("{COPIES}/numbers.csv").replace("/Part/", "/Piece/"));
    watch.run_until(|_| renamed.exists());
}

/// Something that is mounted until it is dropped.
struct Mount(std::path::PathBuf);

impl Mount {
    /// None where this process may not mount anything.
    fn bind(from: &Path, to: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        let mount = mount.arg("--bind").arg(from).arg(to).output();
        mount
            .is_ok_and(|output| output.status.success())
            .then(|| Self(to.to_path_buf()))
    }
}

impl Mount {
    /// Lets nobody write there; false where that is not allowed.
    fn is_made_read_only(&self) -> bool {
        let mut mount = Command::new("mount");
        let mount = mount.args(["-o", "remount,bind,ro"]).arg(&self.0).output();
        mount.is_ok_and(|output| output.status.success())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_change_through_a_mount_is_built() {
    let course = course();
    let outside = tempfile::tempdir().unwrap();
    let other = outside.path().join("numbers.csv");
    std::fs::write(&other, "20\n").unwrap();
    let Some(_file) = Mount::bind(&other, &course.path(DATA)) else {
        return;
    };
    let watch = Watching::start(&course, &[]);
    until_copied(&course, &watch, "numbers.csv", "20\n");
    std::fs::write(&other, "21\n").unwrap();
    course.built();
    assert_eq!(copy(&course, "numbers.csv"), "21\n");
    std::fs::write(&other, "22\n").unwrap();
    until_copied(&course, &watch, "numbers.csv", "22\n");
    // Something is mounted over a directory that is watched already.
    let dir = outside.path().join("data");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("other.csv"), "3\n").unwrap();
    let _dir = Mount::bind(&dir, course.path(OTHER).parent().unwrap());
    course.built();
    assert_eq!(copy(&course, "other.csv"), "3\n");
    std::fs::write(dir.join("new.csv"), "4\n").unwrap();
    course.built();
    assert_eq!(copy(&course, "new.csv"), "4\n");
}

/// A checkout that cannot be written is checked with records in the user's cache directory.
#[test]
fn a_read_only_checkout_can_be_checked() {
    let course = course();
    let cache = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::bind(&course.root(), &course.root()) else {
        return;
    };
    if !mount.is_made_read_only() {
        return;
    }
    let check = |args: &[&str]| {
        let mut command = course.command(args);
        ran(command
            .env("XDG_CACHE_HOME", cache.path())
            .output()
            .unwrap())
    };
    let ran = check(&["build", "--check"]);
    assert_eq!(ran.code, 4, "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stderr
            .contains("cannot be written; records are kept in"),
        "{}",
        ran.stderr
    );
    assert_eq!(check(&["cache", "stats"]).code, 0);
    drop(mount);
    assert!(!course.path(".clm").exists());
    assert_eq!(course.built().code, 0);
}

/// What people do with the cache of a course.
#[test]
fn the_cache_is_shown_collected_verified_and_cleaned() {
    let course = course();
    course.write("clm.toml", "[cache]\nmax_size = \"10 MB\"\n");
    course.built();
    let stats = course.clm(&["cache", "stats", "--json"]);
    let stats: serde_json::Value = serde_json::from_str(&stats.stdout).unwrap();
    assert_eq!(stats["max_size"], 10_000_000);
    assert_eq!(stats["max_age_s"], 30 * 86_400);
    let clm = |args: &[&str], code: i32, text: &str| {
        let ran = course.clm(args);
        assert_eq!(ran.code, code, "{args:?}: {}{}", ran.stdout, ran.stderr);
        let said = ran.stdout + &ran.stderr;
        assert!(said.contains(text), "{args:?}: {said}");
    };
    clm(
        &["cache", "stats"],
        0,
        "limits    10.0 MB, 30 days without use",
    );
    clm(
        &["cache", "gc", "--max-size", "0", "--max-age", "0s"],
        0,
        "removed ",
    );
    assert_eq!(
        course.built().counts().built,
        0,
        "what it needs is still there"
    );
    clm(&["cache", "gc", "--max-age", "soon"], 2, "write it like");
    clm(&["cache", "verify"], 0, " 0 damaged and removed, 0 missing");
    clm(&["status"], 0, "cache: ");
    clm(
        &["cache", "clean"],
        0,
        "the next build makes everything again",
    );
    let before = course.outputs();
    course.built();
    assert_eq!(course.outputs(), before);
    course.write("clm.toml", "[cache]\nmax_age = 30\n");
    clm(&["build"], 2, "30 days");
}
