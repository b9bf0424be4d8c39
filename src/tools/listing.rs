//! The list of the files in a directory of downloads, for those who get them over HTTP: in the format of `sha256sum`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::digest;
use crate::error::{Error, Result};
use crate::files::{self, Access};

/// The name of the list.
pub(super) const NAME: &str = "clm-files.sha256";
/// Its first line, by which clm knows its own.
const HEADING: &str = "# Written by `clm setup --download`.";

/// A file in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// Its name.
    pub name: String,
    /// Its SHA-256.
    pub sha256: String,
}

/// Reads a list. Names that lead somewhere else are left out.
pub(super) fn parse(text: &str) -> Vec<Listed> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (sha256, name) = line.split_once("  ")?;
            let is_name = !name.is_empty() && !name.contains(['/', '\\']) && !name.starts_with('.');
            is_name.then(|| Listed {
                name: name.to_owned(),
                sha256: sha256.to_owned(),
            })
        })
        .collect()
}

/// Fails if a directory has a file with the name of the list that clm did not write.
pub(super) fn check(dir: &Path) -> Result<()> {
    let path = dir.join(NAME);
    match std::fs::read(&path) {
        Ok(bytes) if !bytes.starts_with(HEADING.as_bytes()) => {
            let message = format!("`{}` was not written by clm", path.display());
            Err(Error::usage(message).hint("name another directory, or remove the file"))
        }
        _ => Ok(()),
    }
}

/// Adds files of a directory to its list, and takes out those that are no longer there.
pub(super) fn add(dir: &Path, added: &[PathBuf]) -> Result<()> {
    check(dir)?;
    let path = dir.join(NAME);
    let known = files::read_to_string(&path).unwrap_or_default();
    let known = parse(&known).into_iter();
    let mut all: BTreeMap<String, String> = known
        .filter(|file| dir.join(&file.name).is_file())
        .map(|file| (file.name, file.sha256))
        .collect();
    for file in added {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let sum = digest::sha256_of_file(file).map_err(|error| Error::io("read", file, &error))?;
        all.insert(name.into_owned(), sum);
    }
    let mut text = format!("{HEADING}\n");
    for (name, sum) in all {
        text += &format!("{sum}  {name}\n");
    }
    let write = |file: &mut std::fs::File| std::io::Write::write_all(file, text.as_bytes());
    files::replace(&path, Access::Shared, write).map_err(|error| Error::io("write", &path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_of_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, "abc").unwrap();
            path
        };
        add(dir.path(), &[file("b.tgz"), file("a.whl")]).unwrap();
        std::fs::remove_file(dir.path().join("b.tgz")).unwrap();
        add(dir.path(), &[file("c.tgz")]).unwrap();
        let text = std::fs::read_to_string(dir.path().join(NAME)).unwrap();
        let names: Vec<String> = parse(&text).into_iter().map(|file| file.name).collect();
        assert_eq!(names, ["a.whl", "c.tgz"]);
        assert!(
            text.contains(
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a.whl"
            )
        );
        assert!(parse("00  ../a\n00  .hidden\nnothing\n").is_empty());

        std::fs::write(dir.path().join(NAME), "mine").unwrap();
        let error = add(dir.path(), &[]).unwrap_err();
        assert!(error.to_string().contains("not written by clm"), "{error}");
        let text = std::fs::read_to_string(dir.path().join(NAME)).unwrap();
        assert_eq!(text, "mine");
    }
}
