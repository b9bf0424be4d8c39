//! The files that a command line, or another program, names.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use crate::engine::range::Before;
use crate::error::{Error, Result};

/// The name that stands for the standard input.
const STDIN: &str = "-";

/// Returns the files that are named, with absolute paths. `top` is the root of the working tree of git, to which the
/// paths that git prints are relative.
pub(super) fn named(
    names: &[PathBuf],
    cwd: &Path,
    top: Option<&Path>,
) -> Result<Vec<(PathBuf, Before)>> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for name in names {
        if name.as_os_str() != STDIN {
            paths.push(real(&cwd.join(name)));
            continue;
        }
        let mut text = Vec::new();
        std::io::stdin()
            .read_to_end(&mut text)
            .map_err(|error| Error::system("read the standard input", &error))?;
        paths.extend(listed(&text).iter().map(|name| place(name, cwd, top)));
    }
    let known = |path: PathBuf| {
        let before = match path.symlink_metadata() {
            Ok(_) => Before::Unknown,
            Err(_) => Before::Lost,
        };
        (path, before)
    };
    Ok(paths.into_iter().map(known).collect())
}

/// Splits a list of files: with NUL after each, or one a line, where git quotes names with special characters.
fn listed(text: &[u8]) -> Vec<OsString> {
    let has_nul = text.contains(&0);
    let names = text.split(|byte| *byte == if has_nul { 0 } else { b'\n' });
    let names = names.map(|name| match name.strip_suffix(b"\r") {
        Some(name) if !has_nul => name,
        _ => name,
    });
    let names = names.filter(|name| !name.is_empty());
    names
        .map(|name| match has_nul {
            true => OsStr::from_bytes(name).to_os_string(),
            false => unquoted(name).unwrap_or_else(|| OsStr::from_bytes(name).to_os_string()),
        })
        .collect()
}

/// Returns the name that git quotes; `None` if it is not quoted.
fn unquoted(name: &[u8]) -> Option<OsString> {
    let mut rest = name.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut found = Vec::new();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            found.push(*byte);
            continue;
        }
        let (escape, after) = rest.split_first()?;
        rest = after;
        found.push(match escape {
            b'a' => 7,
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'v' => 11,
            b'f' => 12,
            b'r' => b'\r',
            b'0'..=b'3' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                let digits = std::str::from_utf8(digits).ok()?;
                let low = u8::from_str_radix(digits, 8).ok()?;
                (escape - b'0') * 64 + low
            }
            other => *other,
        });
    }
    Some(OsString::from_vec(found))
}

/// Returns the absolute path of a file in a list: relative to the working directory, or else to the root of the
/// repository, as git lists files.
fn place(name: &OsStr, cwd: &Path, top: Option<&Path>) -> PathBuf {
    let here = real(&cwd.join(name));
    let Some(there) = top.map(|top| real(&top.join(name))) else {
        return here;
    };
    let has_dir = |path: &Path| path.parent().is_some_and(Path::is_dir);
    let is_here = here.symlink_metadata().is_ok();
    let is_there = there.symlink_metadata().is_ok();
    match is_here || !is_there && (has_dir(&here) || !has_dir(&there)) {
        true => here,
        false => there,
    }
}

/// Returns an absolute path with symbolic links resolved in the directories above it that exist. The file itself may be
/// a link, or may not exist any more.
fn real(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                // What is above a link is above its target.
                plain = plain.canonicalize().unwrap_or(plain);
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    for dir in plain.ancestors().skip(1) {
        if let (Ok(real), Ok(below)) = (dir.canonicalize(), plain.strip_prefix(dir)) {
            return real.join(below);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_files_are_split_as_programs_write_them() {
        for (text, names) in [
            (&b""[..], &[][..]),
            (b"\n\n", &[]),
            (b"a.py\nb c.py\n", &["a.py", "b c.py"]),
            (b"a.py\r\nb.py", &["a.py", "b.py"]),
            (b"a\nb\0c\0", &["a\nb", "c"]),
            (b"\"\\303\\274 \\\"x\\\".py\"\n", &["ü \"x\".py"]),
            (b"\"a\\tb\"\n\"torn\\\"\n", &["a\tb", "\"torn\\\""]),
            (b"\"\\30\"\n", &["\"\\30\""]),
        ] {
            assert_eq!(listed(text), names, "{text:?}");
        }
        let bytes = listed(b"\xff\0");
        assert_eq!(bytes[0].as_bytes(), b"\xff");
    }

    #[test]
    fn deleted_files_keep_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("real/sub")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        assert_eq!(real(&root.join("link/gone.py")), root.join("real/gone.py"));
        assert_eq!(
            real(&root.join("link/no/gone.py")),
            root.join("real/no/gone.py")
        );
        assert_eq!(real(&root.join("link/sub/../x")), root.join("real/x"));
        let top = Some(root.as_path());
        let cwd = root.join("real");
        assert_eq!(
            place(OsStr::new("real/sub/x"), &cwd, top),
            root.join("real/sub/x")
        );
        assert_eq!(
            place(OsStr::new("sub/x"), &cwd, top),
            root.join("real/sub/x")
        );
    }
}
