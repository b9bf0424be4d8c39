//! The files that differ between a revision and the working tree, as git sees them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use crate::error::{Error, Result};
use crate::parallel;

use super::git;

/// What is known of a file before it was touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing. The file exists.
    Unknown,
    /// Nothing. The file does not exist any more.
    Lost,
    /// The file is new.
    Absent,
    /// A file, whose content is this object.
    Blob(String),
    /// It is, or was, not a plain file: a symbolic link, a submodule, or a repository of its own.
    Other(&'static str),
}

/// The files that differ, by their absolute paths.
pub(crate) type Differences = BTreeMap<PathBuf, Before>;

/// A working tree, compared with a commit.
#[derive(Debug)]
pub(crate) struct Compared {
    /// Its root.
    pub top: PathBuf,
    /// The files that differ.
    pub files: Differences,
    /// What the user may not expect of the range.
    pub notes: Vec<String>,
}

/// Compares the working tree below which `dir` lies with a revision.
pub(crate) fn compare(dir: &Path, revision: &str) -> Result<Compared> {
    let top = top_of(dir)?;
    let Range { base, end } = range_of(&top, revision)?;
    let files = differences(&top, &base)?;
    let head = commit(&top, "HEAD", "HEAD")?;
    let mut notes = Vec::new();
    if end.is_some_and(|end| end != head) {
        notes.push(format!(
            "the end of `{revision}` is not what is checked out: what is compared and built is the working tree"
        ));
    }
    Ok(Compared { top, files, notes })
}

/// Returns the files that differ between a commit and a working tree: staged, unstaged and untracked ones, but none that
/// git ignores.
fn differences(top: &Path, base: &str) -> Result<Differences> {
    let mut found = Differences::new();
    for path in fields(&run(
        top,
        &["ls-files", "--others", "--exclude-standard", "-z"],
    )?) {
        let before = match path.ends_with(b"/") {
            true => Before::Other("repository"),
            false => Before::Absent,
        };
        found.insert(top.join(OsStr::from_bytes(path)), before);
    }
    let args = [
        "diff",
        "--raw",
        "-z",
        "--no-abbrev",
        "--no-renames",
        "--no-relative",
        "--no-ext-diff",
        "--ignore-submodules=none",
        base,
        "--",
    ];
    let output = run(top, &args)?;
    let mut fields = fields(&output);
    while let (Some(header), Some(path)) = (fields.next(), fields.next()) {
        // A file that is only removed from the index is untracked as well.
        found.insert(top.join(OsStr::from_bytes(path)), before_of(header));
    }
    for (path, before) in not_compared(top, base)? {
        found.entry(path).or_insert(before);
    }
    Ok(found)
}

/// Returns the files that git was told not to compare, with `assume-unchanged` or `skip-worktree`: they may have changed. A
/// sparse checkout marks the files in this way that it leaves out.
fn not_compared(top: &Path, base: &str) -> Result<Differences> {
    let output = run(top, &["ls-files", "-v", "-z"])?;
    let mut found = Differences::new();
    for entry in fields(&output) {
        let Some((tag, name)) = entry.split_first_chunk::<2>() else {
            continue;
        };
        let path = top.join(OsStr::from_bytes(name));
        let is_left_out = tag[0].eq_ignore_ascii_case(&b'S');
        let is_compared = !is_left_out && !tag[0].is_ascii_lowercase();
        let kind = path.symlink_metadata().map(|found| found.file_type());
        if is_compared || is_left_out && kind.is_err() {
            continue;
        }
        let before = match std::str::from_utf8(name) {
            _ if kind.is_ok_and(|kind| !kind.is_file()) => {
                Before::Other("file that git does not compare")
            }
            // A name of the object; whether it exists is found when it is read.
            Ok(name) if !name.contains('\n') => Before::Blob(format!("{base}:{name}")),
            _ => Before::Other("file that git does not compare"),
        };
        found.insert(path, before);
    }
    Ok(found)
}

/// Returns why git does not see changes of a path in a working tree, if it does not.
pub(super) fn why_unseen(top: &Path, path: &Path) -> Option<&'static str> {
    if !path.starts_with(top) {
        return Some("is outside of the repository");
    }
    // Files in an ignored directory may be in the index all the same, but new ones are not seen.
    let args = ["check-ignore", "--no-index", "-q", "--"].map(OsStr::new);
    let output = output(top, &[&args[..], &[path.as_os_str()]].concat());
    match output.ok().and_then(|output| output.status.code()) {
        Some(0) => Some("is ignored by git"),
        Some(1) => None,
        _ => Some("is a path that git cannot check"),
    }
}

/// Returns the contents of objects, in order; `None` for those that the repository does not have. A partial clone fetches
/// them, unless `is_offline`.
pub(super) fn contents(
    dir: &Path,
    objects: &[&str],
    is_offline: bool,
) -> Result<Vec<Option<Vec<u8>>>> {
    let failed = |error: &std::io::Error| Error::system("read files from git", error);
    let mut command = git::command(dir);
    if is_offline {
        // The second one is for versions of git that do not know the first.
        let variables = [("GIT_NO_LAZY_FETCH", "1"), ("GIT_ALLOW_PROTOCOL", "none")];
        command.envs(variables);
    }
    let mut child = command
        .args(["cat-file", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(&error))?;
    let input = child.stdin.take();
    let output = child.stdout.take();
    let names = objects.join("\n");
    // Git answers while it is asked, so both must go on at the same time.
    let ask = move || {
        // If git ends early, its answers say so.
        input.is_some_and(|mut input| input.write_all(format!("{names}\n").as_bytes()).is_ok())
    };
    let take = || -> std::io::Result<Vec<Option<Vec<u8>>>> {
        let mut found = Vec::with_capacity(objects.len());
        let Some(mut output) = output.map(BufReader::new) else {
            return Ok(found);
        };
        for _ in objects {
            let mut header = String::new();
            output.read_line(&mut header)?;
            let size = header.trim_end().split_once(" blob ");
            let size = size.and_then(|(_, size)| size.parse::<u64>().ok());
            let Some(size) = size else {
                found.push(None);
                continue;
            };
            let mut bytes = Vec::new();
            output.by_ref().take(size).read_to_end(&mut bytes)?;
            output.read_line(&mut header)?;
            found.push((bytes.len() as u64 == size).then_some(bytes));
        }
        Ok(found)
    };
    let (_, found) = parallel::join(ask, take);
    let _ = child.wait();
    found.map_err(|error| failed(&error))
}

/// Returns the root of the working tree that has a directory.
pub(crate) fn top_of(dir: &Path) -> Result<PathBuf> {
    let output = output(dir, &["rev-parse", "--show-toplevel"])?;
    let top = output.stdout.strip_suffix(b"\n").unwrap_or(&output.stdout);
    if output.status.success() && !top.is_empty() {
        return Ok(PathBuf::from(OsStr::from_bytes(top)));
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if said.contains("safe.directory") {
        let message = format!(
            "git does not read the repository of `{}`, since another user owns it",
            dir.display()
        );
        let hint = format!(
            "run `git config --global --add safe.directory '{}'`",
            dir.display()
        );
        return Err(Error::usage(message).hint(hint));
    }
    let is_none = said.contains("not a git repository") || said.is_empty();
    let message = match is_none {
        true => format!(
            "`{}` is not in the working tree of a git repository",
            dir.display()
        ),
        false => format!("git cannot be used in `{}`: {said}", dir.display()),
    };
    Err(Error::usage(message)
        .hint("what a range of commits touches is known from git alone: build without that option"))
}

/// The commits of a range.
struct Range {
    /// The one with which the working tree is compared.
    base: String,
    /// The last one, if the range names it.
    end: Option<String>,
}

/// Finds the commits of a range. Of `A..B` the working tree is compared with `A`, and of `A...B` with the last commit that
/// both have.
fn range_of(top: &Path, revision: &str) -> Result<Range> {
    let or_head = |name: &str| match name.is_empty() {
        true => "HEAD".to_owned(),
        false => name.to_owned(),
    };
    // `...` is looked for first, since it contains `..`.
    if let Some((one, other)) = revision.split_once("...") {
        let one = commit(top, &or_head(one), revision)?;
        let other = commit(top, &or_head(other), revision)?;
        let base = merge_base(top, &one, &other, revision)?;
        let end = Some(other);
        return Ok(Range { base, end });
    }
    if let Some((one, other)) = revision.split_once("..") {
        let end = Some(commit(top, &or_head(other), revision)?);
        let base = commit(top, &or_head(one), revision)?;
        return Ok(Range { base, end });
    }
    let base = commit(top, revision, revision)?;
    Ok(Range { base, end: None })
}

fn commit(top: &Path, name: &str, revision: &str) -> Result<String> {
    let full = format!("{name}^{{commit}}");
    let is_option = name.starts_with('-') || name.is_empty();
    let output = match is_option {
        true => None,
        false => Some(output(top, &["rev-parse", "--verify", "--quiet", &full])?),
    };
    let found = output.filter(|output| output.status.success());
    let found = found.and_then(|output| String::from_utf8(output.stdout).ok());
    let found = found.map(|text| text.trim().to_owned());
    let is_id =
        |text: &String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    found.filter(is_id).ok_or_else(|| {
        let of = match name == revision {
            true => String::new(),
            false => format!(" in `{revision}`"),
        };
        let hint = match is_shallow(top) {
            true => SHALLOW.to_owned(),
            false => "name a commit, a branch, a tag, `A..B` or `A...B` that `git log` shows; a branch of a remote is \
                      `origin/NAME`, after `git fetch`"
                .to_owned(),
        };
        Error::usage(format!("git knows no commit `{name}`{of}")).hint(hint)
    })
}

fn merge_base(top: &Path, one: &str, other: &str, revision: &str) -> Result<String> {
    let output = output(top, &["merge-base", one, other])?;
    let found = String::from_utf8_lossy(&output.stdout);
    if let Some(base) = found.lines().next().filter(|_| output.status.success()) {
        return Ok(base.to_owned());
    }
    let hint = match is_shallow(top) {
        true => SHALLOW,
        false => "write `A..B` to compare with `A` itself",
    };
    Err(Error::usage(format!(
        "the two sides of `{revision}` have no commit in common"
    ))
    .hint(hint))
}

/// The hint if the repository lacks commits.
const SHALLOW: &str = "the repository is a shallow clone: run `git fetch --unshallow`, or let CI check out the whole history \
                       (`fetch-depth: 0`)";

fn is_shallow(top: &Path) -> bool {
    let output = output(top, &["rev-parse", "--is-shallow-repository"]);
    output.is_ok_and(|output| output.stdout.starts_with(b"true"))
}

/// Returns what git had of a file, by the header of a line of `git diff --raw`: the modes before and now, and the
/// object before.
fn before_of(header: &[u8]) -> Before {
    let header = String::from_utf8_lossy(header);
    let mut parts = header.trim_start_matches(':').split(' ');
    let modes = [parts.next(), parts.next()].map(Option::unwrap_or_default);
    let object = parts.next().unwrap_or_default();
    if modes.contains(&"160000") {
        Before::Other("submodule")
    } else if modes.contains(&"120000") {
        Before::Other("symbolic link")
    } else if modes[0].bytes().all(|byte| byte == b'0') {
        Before::Absent
    } else {
        Before::Blob(object.to_owned())
    }
}

/// Returns the parts of an output that end with NUL.
fn fields(output: &[u8]) -> impl Iterator<Item = &[u8]> {
    output
        .split(|byte| *byte == 0)
        .filter(|field| !field.is_empty())
}

fn run(top: &Path, args: &[&str]) -> Result<Vec<u8>> {
    let output = output(top, args)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let what = args.first().copied().unwrap_or_default();
    Err(
        Error::usage(format!("`git {what}` failed: {}", said.trim())).hint(format!(
            "try it in `{}`: what git says there applies here as well",
            top.display()
        )),
    )
}

fn output(dir: &Path, args: &[impl AsRef<OsStr>]) -> Result<Output> {
    git::command(dir)
        // Without locks, like every other look at a repository; messages are compared.
        .args(["--no-optional-locks", "-c", "core.quotePath=false"])
        .args(args)
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| {
            Error::usage(format!("git cannot be started: {error}"))
                .hint("install git, or build without the option that asks for a range of commits")
        })
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn headers_say_what_there_was() {
        let of = |modes: &str, status: &str| {
            let header = format!(":{modes} {:040} {:040} {status}", 7, 0);
            before_of(header.as_bytes())
        };
        let blob = Before::Blob(format!("{:040}", 7));
        assert_eq!(of("100644 100755", "M"), blob);
        assert_eq!(of("100644 000000", "D"), blob);
        assert_eq!(of("000000 100644", "A"), Before::Absent);
        assert_eq!(of("000000 160000", "A"), Before::Other("submodule"));
        assert_eq!(of("160000 160000", "M"), Before::Other("submodule"));
        assert_eq!(of("120000 100644", "T"), Before::Other("symbolic link"));
        assert_eq!(of("100644 120000", "T"), Before::Other("symbolic link"));
    }

    #[test]
    fn every_kind_of_difference_is_found_whatever_the_names_are() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let git = |args: &[&str]| {
            let names = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
            let ran = git::command(&top).args(names).args(args).output().unwrap();
            assert!(ran.status.success(), "{args:?}");
        };
        let write = |name: &[u8], text: &str| {
            let path = top.join(OsStr::from_bytes(name));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        git(&["init", "-q"]);
        assert!(compare(&top, "HEAD").is_err(), "there is no commit");
        let odd: &[u8] = b"a \"\xc3\xbc\"\n\xff";
        for name in [odd, b"staged", b"deleted", b"unindexed", b"same"] {
            write(name, "old");
        }
        git(&["add", "-A"]);
        git(&["commit", "-q", "-m", "first"]);
        write(odd, "new");
        write(b"staged", "new");
        git(&["add", "staged"]);
        std::fs::remove_file(top.join("deleted")).unwrap();
        git(&["rm", "-q", "--cached", "unindexed"]);
        write(b"sub/untracked", "new");
        write(b"ignored", "new");
        write(b".git/info/exclude", "ignored\n");
        std::fs::create_dir_all(top.join("nested")).unwrap();
        git(&["init", "-q", "nested"]);
        let found = compare(&top.join("sub"), "HEAD").unwrap().files;
        let name = |bytes: &[u8]| top.join(std::ffi::OsString::from_vec(bytes.to_vec()));
        let names: Vec<&PathBuf> = found.keys().collect();
        let mut expected = [
            odd,
            b"deleted",
            b"nested",
            b"staged",
            b"sub/untracked",
            b"unindexed",
        ]
        .map(name);
        expected.sort();
        assert_eq!(names, expected.iter().collect::<Vec<_>>());
        let old: Vec<&str> = found
            .values()
            .filter_map(|before| match before {
                Before::Blob(object) => Some(object.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(old.len(), 4);
        let none = "0123456789".repeat(4);
        let asked: Vec<&str> = old.iter().copied().chain([none.as_str()]).collect();
        let read = contents(&top, &asked, false).unwrap();
        assert_eq!(read.len(), 5);
        assert!(
            read[..4]
                .iter()
                .all(|bytes| bytes.as_deref() == Some(b"old"))
        );
        assert_eq!(read[4], None);
    }

    #[test]
    fn many_objects_are_read_without_a_standstill() {
        let dir = tempfile::tempdir().unwrap();
        let git = |args: &[&str]| git::command(dir.path()).args(args).output().unwrap();
        git(&["init", "-q"]);
        std::fs::write(dir.path().join("a"), "x".repeat(10_000)).unwrap();
        let object = git(&["hash-object", "-w", "a"]).stdout;
        let object = String::from_utf8(object).unwrap().trim().to_owned();
        // More than pipes hold, in both directions.
        let asked = vec![object.as_str(); 5_000];
        let read = contents(dir.path(), &asked, false).unwrap();
        let has_all = |bytes: &Option<Vec<u8>>| bytes.as_ref().is_some_and(|b| b.len() == 10_000);
        assert_eq!(read.iter().filter(|bytes| has_all(bytes)).count(), 5_000);
    }
}
