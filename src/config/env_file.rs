//! `.env`: environment variables for the kernels of a course, such as the address of a service.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead as _, Chain, Read};
use std::path::{Path, PathBuf};

use super::{Bounds, NotebookSettings, Place};
use crate::course::tree::text_of;
use crate::error::{Error, Result};
use crate::files;

/// The default name of the file.
const NAME: &str = ".env";

/// Variables from a file, without those that are set in the environment of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvFile {
    /// The file, if there is one.
    pub path: Option<PathBuf>,
    /// Its variables.
    pub variables: BTreeMap<String, String>,
}

impl EnvFile {
    /// Returns the possible paths of the file, whether or not they exist. The first one that exists is used.
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
    /// Variables of the process, which `lookup` returns, take precedence.
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
        // A file above the course belongs to the user, not to the course. A symbolic link must stay in its directory.
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
    let bytes = files::read(path).map_err(|error| Error::io("read", path, &error))?;
    parse(&bytes, &path.display().to_string())
}

/// Parses the content of a file. Every error has a line.
pub fn parse(bytes: &[u8], file: &str) -> Result<BTreeMap<String, String>> {
    let text = text_of(bytes).map_err(|error| {
        Error::usage("the file of variables is not UTF-8 text")
            .at(file, Some(error.line))
            .hint("save it with the encoding UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let state = State::default();
    let failed = |error: dotenvy::Error| match error {
        dotenvy::Error::LineParse(line, _) => {
            // A value in quotation marks may have several lines: the error has the first one.
            let line = line.strip_suffix('\n').unwrap_or(&line);
            let more = line.matches('\n').count() as u32;
            Error::usage("this is not of the form `NAME=value`")
                .at(file, Some(state.lines.get().saturating_sub(more).max(1)))
                .hint("quote values that contain blanks or `#`: `NAME=\"a value\"`")
        }
        other => Error::usage(format!("the variables cannot be read: {other}"))
            .at(file, Some(state.lines.get().max(1))),
    };
    // The parser takes a last line that ends in a blank as unfinished, so a line feed is appended.
    let lines = Lines {
        rest: text.as_bytes().chain(b"\n".as_slice()),
        is_first: true,
        state: &state,
    };
    let mut variables = BTreeMap::new();
    for item in dotenvy::from_read_iter(lines) {
        let (name, value) = item.map_err(failed)?;
        state.longest.set(state.longest.get().max(value.len()));
        variables.insert(name, value);
    }
    Ok(variables)
}

/// The limit of the total size of all values, in bytes. Variables may refer to one another, so that without a limit a
/// few lines could fill the memory.
const MOST: usize = 16 << 20;
/// The assumed length of a variable of this process, where a file refers to one.
const USUAL: usize = 1 << 12;

/// The input that the parser has read so far.
#[derive(Default)]
struct State {
    lines: Cell<u32>,
    /// The length of the longest value.
    longest: Cell<usize>,
    /// An upper bound of the bytes that come from references.
    referred: Cell<usize>,
}

/// A reader that returns at most one line at a time, so that the last line read is the one that the parser is at.
struct Lines<'t> {
    rest: Chain<&'t [u8], &'t [u8]>,
    is_first: bool,
    state: &'t State,
}

impl Read for Lines<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.rest.fill_buf()?;
        let line = available.split_inclusive(|byte| *byte == b'\n').next();
        let Some(line) = line else {
            return Ok(0);
        };
        let length = line.len().min(buffer.len());
        buffer[..length].copy_from_slice(&line[..length]);
        let references = buffer[..length]
            .iter()
            .filter(|byte| **byte == b'$')
            .count();
        let ends = buffer[..length].ends_with(b"\n");
        self.rest.consume(length);

        let state = self.state;
        state.lines.update(|lines| lines + u32::from(self.is_first));
        self.is_first = ends;
        let referred = references.saturating_mul(state.longest.get().max(USUAL));
        state.referred.update(|all| all.saturating_add(referred));
        if state.referred.get() > MOST {
            return Err(io::Error::other(
                "they refer to one another so often that they could fill the memory",
            ));
        }
        Ok(length)
    }
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
    #[test]
    fn every_error_names_its_line_and_endings_do_not_matter() {
        let read = |text: &str| {
            parse(text.as_bytes(), ".env").map_err(|error| {
                let found = &error.diagnostics[0];
                (found.line, found.message.clone())
            })
        };
        let one = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for text in [
            "A=1",
            "A=1 ",
            "A=1\r\n",
            "\u{feff}A=1\n",
            "A=1 # note",
            "\n\nA='1'\n",
        ] {
            assert_eq!(read(text), Ok(one.clone()), "{text:?}");
        }
        for (text, line) in [
            ("A=1\nB=2 2\n", 2),
            ("A=1\nB= 2 2\n\n", 2),
            ("A=1\n\n  \nnot a variable", 4),
            ("A=1\nB=\"x\ny\nz\" w\n", 2),
            ("A=1\nB=\"x\n\n\n", 2),
            ("A=1\n=\n", 2),
            ("A=1\nB=\\q\n", 2),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.0, Some(line), "{text:?}: {}", error.1);
        }
        let error = parse(b"A=1\nB=\xff\n", ".env").unwrap_err();
        assert_eq!(error.diagnostics[0].line, Some(2));
    }

    #[test]
    fn variables_that_refer_to_one_another_do_not_fill_the_memory() {
        let mut text = "A0=0123456789\n".to_owned();
        for number in 1..40 {
            let before = format!("${{A{}}}", number - 1);
            text += &format!("A{number}={}\n", before.repeat(10));
        }
        let error = parse(text.as_bytes(), ".env").unwrap_err();
        let found = &error.diagnostics[0];
        assert!(
            found.line.is_some_and(|line| (3..20).contains(&line)),
            "{found}"
        );
        assert!(found.message.contains("refer to one another"), "{found}");
    }
}
