//! `clm.lock`: the renderers of a course, for machines that have none. It is written by `clm setup --lock` and checked in.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::Place;
use crate::diagnostic::{Diagnostic, Severity};
use crate::error::{Dir, Error, Result, io_hint};
use crate::files::{self, Access};
use crate::worker::{Renderers, renderers};

use super::locate::python_for_kernels;
use super::{Context, Needs, python};

/// The version of the format.
const VERSION: u32 = 1;
const HEADING: &str = "\
# The renderers of this course, as `clm setup --lock` found them. A machine that lacks one of them restores the results
# that it made elsewhere. Check this file in, and write it again after an update of clm or of the packages.
";

/// The renderers of a course.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lock {
    version: u32,
    /// Fingerprints by the names of [`Renderers::installed`], without the Python kernel.
    #[serde(default)]
    renderers: BTreeMap<String, String>,
    /// The environment of Python decks.
    python: Option<PythonLock>,
}

/// The environment of Python decks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PythonLock {
    version: String,
    /// The installed distributions, such as `numpy-2.4.1`, sorted.
    packages: Vec<String>,
}

impl Lock {
    /// Returns the lock of these renderers, as far as they are needed.
    pub(crate) fn of(context: &Context, renderers: &Renderers, needs: &Needs) -> Self {
        let (python_kernel, deno) = (renderers::kernel("python3"), renderers::kernel("deno"));
        let is_needed = |name: &str| match name {
            renderers::HTML => needs.html,
            renderers::PLANTUML => needs.plantuml,
            renderers::DRAWIO => needs.drawio,
            name if name == python_kernel => false,
            name if name == deno => needs.typescript_kernel,
            // Which of the other kernels are needed is not known from the files alone.
            _ => true,
        };
        let mut installed = renderers.installed();
        installed.retain(|name, _| is_needed(name));
        let python = python_for_kernels(context).filter(|_| needs.python_kernel);
        Self {
            version: VERSION,
            renderers: installed,
            python: python.map(|(environment, _)| PythonLock {
                version: environment.version,
                packages: environment.distributions,
            }),
        }
    }

    /// Reads the lock of a course; `None` if it has none.
    pub(crate) fn read(place: &Place) -> Result<Option<Self>> {
        let path = place.lock_file();
        let name = name_of(place, &path);
        let text = match files::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let result = Error::usage(format!("the file cannot be read: {error}"));
                let hint = io_hint(Dir::Other, "read", &error);
                let hint = hint.unwrap_or_else(|| AGAIN.to_owned());
                return Err(result.at(name, None).hint(hint));
            }
        };
        let lock: Self = toml::from_str(&text).map_err(|error| {
            let line = error.span().map(|span| line_of(&text, span.start));
            Error::usage(error.message().to_owned())
                .at(name.clone(), line)
                .hint(AGAIN)
        })?;
        if lock.version == VERSION {
            return Ok(Some(lock));
        }
        let message = format!(
            "its format is {}, and this clm knows {VERSION}",
            lock.version
        );
        let result = Error::usage(message).at(name, None);
        Err(result.hint("update clm, or write the file again with `clm setup --lock`"))
    }

    /// Writes the lock of a course. Returns the name of the file, and whether it changed.
    pub(crate) fn write(&self, place: &Place) -> Result<(String, bool)> {
        let path = place.lock_file();
        let name = name_of(place, &path);
        let text = toml::to_string_pretty(self)
            .map_err(|error| Error::bug(format!("the lock cannot be written: {error}")))?;
        let text = format!("{HEADING}\n{text}");
        if files::read_to_string(&path).is_ok_and(|known| known == text) {
            return Ok((name, false));
        }
        let write = |file: &mut std::fs::File| std::io::Write::write_all(file, text.as_bytes());
        files::replace(&path, Access::Shared, write)
            .map_err(|error| Error::io("write", &path, &error))?;
        Ok((name, true))
    }

    /// Returns the fingerprints of the renderers, by the names of [`Renderers::installed`].
    pub(crate) fn identities(&self) -> BTreeMap<String, String> {
        let mut identities = self.renderers.clone();
        if let Some(python) = &self.python {
            let fingerprint = python::fingerprint(&python.version, &python.packages);
            identities.insert(renderers::kernel("python3"), fingerprint);
        }
        identities
    }

    /// Returns a note if renderers are installed here that are not those of the lock.
    pub(crate) fn note(&self, place: &Place, renderers: &Renderers) -> Option<Diagnostic> {
        let installed = renderers.installed();
        let differ = self.identities().into_iter().filter_map(|(name, locked)| {
            let here = installed.get(&name).filter(|here| **here != locked)?;
            Some(format!("{name} is `{here}` here, and `{locked}` there"))
        });
        let differ: Vec<String> = differ.collect();
        if differ.is_empty() {
            return None;
        }
        let name = name_of(place, &place.lock_file());
        let message = format!(
            "other renderers are installed than `{name}` names: {}",
            differ.join("; ")
        );
        let hint = "results that others made are not used for what these make: install the same ones, or write the \
                    file again with `clm setup --lock`";
        Some(
            Diagnostic::new(Severity::Note, message)
                .at(name, None)
                .hint(hint),
        )
    }
}

const AGAIN: &str =
    "write the file again with `clm setup --lock`, or restore it from version control";

fn name_of(place: &Place, path: &Path) -> String {
    let below = path.strip_prefix(&place.root);
    below.unwrap_or(path).display().to_string()
}

/// Returns the number of the line that has this byte.
fn line_of(text: &str, at: usize) -> u32 {
    let before = text.get(..at).unwrap_or_default();
    u32::try_from(before.matches('\n').count() + 1).unwrap_or(u32::MAX)
}
