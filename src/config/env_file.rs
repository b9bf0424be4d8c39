//! `.env`: variables that the kernels of a course get, such as the address of a service.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Bounds, NotebookSettings, Place};
use crate::error::{Error, Result};
use crate::files;

/// The name of the file that is looked for.
const NAME: &str = ".env";

/// Variables from a file, without those that the process has already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvFile {
    /// The file, if there is one.
    pub path: Option<PathBuf>,
    /// Its variables.
    pub variables: BTreeMap<String, String>,
}

impl EnvFile {
    /// The files that may be it, existing or not; the first that exists is.
    pub fn candidates(place: &Place, settings: &NotebookSettings) -> Vec<PathBuf> {
        match settings.env_file.as_deref() {
            Some("") => Vec::new(),
            Some(name) => vec![place.root.join(name)],
            None => {
                let dirs = place.spec.ancestors().skip(1);
                dirs.map(|dir| dir.join(NAME)).collect()
            }
        }
    }

    /// Reads the file that the settings name, or the nearest `.env` in the specification's directory and above.
    /// `lookup` gives variables of the process, which count more.
    pub fn load(
        place: &Place,
        settings: &NotebookSettings,
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self> {
        let candidates = Self::candidates(place, settings).into_iter();
        let path = match settings.env_file {
            Some(_) => candidates.last(),
            None => candidates.into_iter().find(|path| path.is_file()),
        };
        let Some(path) = path else {
            return Ok(Self::default());
        };
        // One above the course belongs to the person who keeps courses there; a link must stay in its directory.
        let beside = path.parent().unwrap_or(&place.root);
        if let Some(real) = Bounds::of(&place.root).leaves(&path)
            && Bounds::of(beside).leaves(&path).is_some()
        {
            let error = Bounds::error("the file of variables", &real);
            let error = error.at(path.display().to_string(), None);
            return Err(Error::from_diagnostics(vec![error]));
        }
        let variables = read(&path)?
            .into_iter()
            .filter(|(name, _)| lookup(name).is_none())
            .collect();
        Ok(Self {
            path: Some(path),
            variables,
        })
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, String>> {
    let failed = |error: dotenvy::Error| match error {
        dotenvy::Error::Io(error) => Error::io("read", path, &error),
        dotenvy::Error::LineParse(line, _) => {
            let text = files::read_to_string(path).unwrap_or_default();
            let number = text
                .lines()
                .position(|other| other.contains(line.trim()))
                .map(|index| index as u32 + 1);
            Error::usage("this is not of the form `NAME=value`")
                .at(path.display().to_string(), number)
                .hint("quote values that contain blanks or `#`: `NAME=\"a value\"`")
        }
        other => Error::usage(format!("{other}")).at(path.display().to_string(), None),
    };
    let file = files::open(path).map_err(|error| Error::io("read", path, &error))?;
    dotenvy::from_read_iter(file)
        .map(|item| item.map_err(failed))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course() -> (tempfile::TempDir, Place) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("specs")).unwrap();
        let place = Place {
            spec: root.join("specs/x.xml"),
            root,
        };
        (dir, place)
    }

    #[test]
    fn the_nearest_file_is_read_and_the_process_counts_more() {
        let (_dir, place) = course();
        std::fs::write(
            place.root.join(".env"),
            "# keys\nexport A=1\nB=\"two words\"\nC=3\n",
        )
        .unwrap();
        let lookup = |name: &str| (name == "C").then(|| OsString::from("own"));
        let found = EnvFile::load(&place, &NotebookSettings::default(), lookup).unwrap();
        let expected = [("A", "1"), ("B", "two words")];
        assert_eq!(
            found.variables,
            expected
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into()
        );
        let off = NotebookSettings {
            env_file: Some(String::new()),
            ..NotebookSettings::default()
        };
        assert_eq!(
            EnvFile::load(&place, &off, |_| None).unwrap(),
            EnvFile::default()
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_line() {
        let (_dir, place) = course();
        std::fs::write(place.root.join("specs/.env"), "A=1\nnot a variable\n").unwrap();
        let error = EnvFile::load(&place, &NotebookSettings::default(), |_| None).unwrap_err();
        assert_eq!(error.diagnostics[0].line, Some(2));
        assert_eq!(error.exit_code(), 2);
    }
}
