//! Installs missing renderers in the tools directory, without root.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::error::{Error, Result};

use super::downloads::Downloads;
use super::fetch::Fetcher;
use super::http::Http;
use super::install::{Component, InstallLock, install};
use super::locate::{Found, HAS_CHROMIUM, locate};
use super::mirror::Mirror;
use super::missing::missing;
use super::package::Package;
use super::pins::Registry;
use super::progress::SetupEvent;
use super::requirements::{self, Interpreter};
use super::selection::Selection;
use super::system::{self, SystemPackage};
use super::unpack::unpack;
use super::{Context, Needs, listing, venv};

/// Options of an installation.
#[derive(Clone, Debug, Default)]
pub struct SetupOptions {
    /// Use the system's package manager where there is no other way (as root).
    pub system: bool,
    /// Install from the files in this directory or behind this address, without any other network.
    pub from: Option<String>,
}

/// Installs required renderers that are missing. Returns all renderers afterwards.
pub fn setup(
    context: &Context,
    needs: &Needs,
    options: &SetupOptions,
    report: &mut dyn FnMut(SetupEvent),
) -> Result<Vec<Found>> {
    setup_selection(context, &Selection::from(*needs), options, report)
}

/// Installs what is selected and missing. Returns all renderers afterwards.
pub(crate) fn setup_selection(
    context: &Context,
    selection: &Selection,
    options: &SetupOptions,
    report: &mut dyn FnMut(SetupEvent),
) -> Result<Vec<Found>> {
    let mirror = match &options.from {
        Some(from) => Some(Mirror::open(from)?),
        None => None,
    };
    let is_offline = mirror.is_some();
    if !missing(context, selection, is_offline).is_empty() {
        let _lock = InstallLock::take(&context.tools_dir, || report(SetupEvent::Waiting))?;
        // The previous holder of the lock may have installed some of it.
        let missing = missing(context, selection, is_offline);
        if let Some(mirror) = &mirror {
            check(mirror, context, options, &missing)?;
        }
        let mut setup = Setup {
            context,
            options,
            mirror,
            pip: None,
            is_locked: true,
            report,
        };
        for component in missing {
            setup.install(component)?;
        }
    }
    Ok(locate(context).1)
}

/// Fails if the directory lacks anything, before something is installed.
fn check(
    mirror: &Mirror,
    context: &Context,
    options: &SetupOptions,
    missing: &[Component],
) -> Result<()> {
    let python = match missing.contains(&Component::Python) {
        true => Some(Interpreter::of(&venv::python(context, options)?)?),
        false => None,
    };
    let available: Vec<Component> = missing
        .iter()
        .copied()
        .filter(|component| component.is_available())
        .collect();
    mirror.check(&available, python.as_ref())
}

/// Returns whether everything that is required is installed.
pub fn is_complete(context: &Context, needs: &Needs) -> bool {
    missing(context, &Selection::from(*needs), false).is_empty()
}

/// Downloads what is selected into a directory for machines without network, whatever is installed here.
pub(crate) fn download(
    context: &Context,
    selection: &Selection,
    dir: &Path,
    report: &mut dyn FnMut(SetupEvent),
) -> Result<()> {
    let io = |what, error: std::io::Error| Error::io(what, dir, &error);
    std::fs::create_dir_all(dir).map_err(|error| io("create", error))?;
    let dir = &dir.canonicalize().map_err(|error| io("open", error))?;
    // Two of them must not remove each other's unfinished work.
    let lock = std::fs::File::open(dir).map_err(|error| io("open", error))?;
    if lock.try_lock().is_err() {
        report(SetupEvent::Waiting);
        lock.lock().map_err(|error| io("lock", error))?;
    }
    let options = SetupOptions::default();
    let mut setup = Setup {
        context,
        options: &options,
        mirror: None,
        pip: None,
        is_locked: false,
        report,
    };
    listing::check(dir)?;
    let downloads = Downloads::at(dir);
    for component in selection.components() {
        let started = Instant::now();
        (setup.report)(SetupEvent::Fetching {
            component: component.name(),
            bytes: component.download_bytes(),
        });
        let packages = setup.packages(component, None)?;
        let fetched = setup.fetch(component, &packages, &downloads, None)?;
        listing::add(dir, &fetched.files)?;
        (setup.report)(SetupEvent::Fetched {
            component: component.name(),
            bytes: fetched.bytes,
            seconds: started.elapsed().as_secs_f64(),
        });
    }
    Ok(())
}

/// The packages of a component for a machine.
struct Packages {
    all: Vec<Package<'static>>,
    /// The minor version of the Python for which they are.
    python: Option<u32>,
}

/// The files of the packages of a component.
struct Fetched {
    /// In the order of the packages.
    files: Vec<PathBuf>,
    /// The bytes that were downloaded now.
    bytes: u64,
}

impl Fetched {
    /// Puts what was downloaded into the gaps of what was there. So many bytes of it were downloaded before.
    fn of(there: Vec<Option<PathBuf>>, fetched: Vec<PathBuf>, continued: u64) -> Self {
        let bytes: u64 = fetched.iter().map(size).sum();
        let mut fetched = fetched.into_iter();
        let files = there.into_iter();
        Self {
            files: files
                .filter_map(|file| file.or_else(|| fetched.next()))
                .collect(),
            bytes: bytes.saturating_sub(continued),
        }
    }
}

fn size(file: &PathBuf) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}

struct Setup<'a> {
    context: &'a Context,
    options: &'a SetupOptions,
    mirror: Option<Mirror>,
    /// An environment with nothing but pip, where the one of clm is not installed and not wanted.
    pip: Option<tempfile::TempDir>,
    /// Whether this is an installation, which has the lock of the tools directory.
    is_locked: bool,
    report: &'a mut dyn FnMut(SetupEvent),
}

impl Setup<'_> {
    /// Returns whether files come over a network.
    fn is_remote(&self) -> bool {
        self.mirror
            .as_ref()
            .is_none_or(|mirror| mirror.dir().is_none())
    }

    fn install(&mut self, component: Component) -> Result<()> {
        if component == Component::Chromium && !HAS_CHROMIUM {
            return system::install(SystemPackage::Browser, "a browser", self.options.system);
        }
        if component == Component::Deno && component.pins().is_empty() {
            return Err(Error::usage("there is no package of Deno for this system")
                .hint("install Deno, and its kernel with `deno jupyter --install`"));
        }
        let started = Instant::now();
        (self.report)(SetupEvent::Installing {
            component: component.name(),
            bytes: component.download_bytes(),
        });
        let context = self.context;
        let downloads = Downloads::of(component, &context.tools_dir);
        let mut bytes = 0;
        if component == Component::Python {
            install(component, context, |dir| {
                bytes = self.python(dir, &downloads)?;
                Ok(())
            })?;
        } else {
            let there = match &self.mirror {
                Some(mirror) => mirror.files(component)?,
                None => None,
            };
            let files = match there {
                Some(files) => files,
                None => {
                    let packages = self.packages(component, None)?;
                    let fetched = self.fetch(component, &packages, &downloads, None)?;
                    bytes = fetched.bytes;
                    fetched.files
                }
            };
            install(component, context, |dir| unpack(component, &files, dir))?;
        }
        downloads.clear();
        let bytes = self.is_remote().then_some(bytes);
        (self.report)(SetupEvent::Installed {
            component: component.name(),
            bytes,
            seconds: started.elapsed().as_secs(),
        });
        Ok(())
    }

    /// Creates a virtual environment with all packages in their pinned versions. Returns the bytes that were downloaded.
    fn python(&mut self, dir: &Path, downloads: &Downloads) -> Result<u64> {
        venv::create(self.context, self.options, dir)?;
        let own = dir.join("bin/python");
        let there = self.mirror.as_ref().and_then(Mirror::dir);
        let (from, bytes) = match there {
            Some(mirror) => (mirror.to_path_buf(), 0),
            None => {
                let packages = self.packages(Component::Python, Some(&own))?;
                let fetched = self.fetch(Component::Python, &packages, downloads, Some(&own))?;
                (downloads.dir().to_path_buf(), fetched.bytes)
            }
        };
        venv::fill(dir, &from)?;
        Ok(bytes)
    }

    /// Returns the packages of a component; those of the environment for `python`, or the Python that it would have.
    fn packages(&self, component: Component, python: Option<&Path>) -> Result<Packages> {
        if component != Component::Python {
            let pins = component.pins().iter();
            return Ok(Packages {
                all: pins.map(|pin| pin.package()).collect(),
                python: None,
            });
        }
        let python = match python {
            Some(python) => Interpreter::of(python)?,
            None => Interpreter::of(&venv::python(self.context, self.options)?)?,
        };
        let entries = requirements::of(&python).into_iter();
        Ok(Packages {
            all: entries.map(|entry| entry.package()).collect(),
            python: Some(python.version[1]),
        })
    }

    /// Downloads the packages that are not in the directory. `python` is the one whose pip is used, if it is not that of
    /// an installed environment.
    fn fetch(
        &mut self,
        component: Component,
        packages: &Packages,
        downloads: &Downloads,
        python: Option<&Path>,
    ) -> Result<Fetched> {
        downloads.open(&packages.all)?;
        let mut files = Vec::new();
        let mut lacking = Vec::new();
        for package in &packages.all {
            let found = downloads.find(package, packages.python)?;
            if found.is_none() {
                lacking.push(*package);
            }
            files.push(found);
        }
        let there: u64 = files.iter().flatten().map(size).sum();
        // Parts of files, which are continued.
        let continued = downloads.received(&lacking);
        let total = component.download_bytes();
        let name = component.name();
        if let Some(mirror) = &self.mirror {
            let report = &mut self.report;
            let fetched = mirror.fetch(&lacking, packages.python, downloads, &mut |bytes| {
                report(SetupEvent::progress(name, there + bytes, total));
            })?;
            return Ok(Fetched::of(files, fetched, continued));
        }
        let has = |registry| {
            lacking
                .iter()
                .any(|package: &Package<'_>| package.registry == registry)
        };
        let fetcher = Fetcher {
            python: match has(Registry::Python) {
                true => Some(self.pip(python)?),
                false => None,
            },
            npm: match has(Registry::Node) {
                true => Some(self.npm()?),
                false => None,
            },
            http: Http::new(),
            is_left_to_npm: Cell::new(false),
        };
        let report = &mut self.report;
        let fetched = fetcher.fetch(&lacking, downloads, &mut |bytes| {
            report(SetupEvent::progress(name, there + bytes, total));
        })?;
        Ok(Fetched::of(files, fetched, continued))
    }

    /// Returns a Python with pip.
    fn pip(&mut self, python: Option<&Path>) -> Result<PathBuf> {
        if let Some(python) = python {
            return Ok(python.to_path_buf());
        }
        if let Some(dir) = Component::Python.path(self.context) {
            return Ok(dir.join("bin/python"));
        }
        if let Some(dir) = &self.pip {
            return Ok(dir.path().join("bin/python"));
        }
        let dir = tempfile::tempdir()
            .map_err(|error| Error::system("create a temporary directory", &error))?;
        venv::create(self.context, self.options, dir.path())?;
        let python = dir.path().join("bin/python");
        self.pip = Some(dir);
        Ok(python)
    }

    /// Returns the npm of the system, or clm's own.
    fn npm(&mut self) -> Result<Vec<PathBuf>> {
        if let Some(npm) = self.context.program("npm") {
            return Ok(vec![npm]);
        }
        if Component::Node.path(self.context).is_none() {
            let tools_dir = &self.context.tools_dir;
            let _lock = match self.is_locked {
                true => None,
                false => Some(InstallLock::take(tools_dir, || {
                    (self.report)(SetupEvent::Waiting);
                })?),
            };
            // The previous holder of the lock may have installed it.
            if Component::Node.path(self.context).is_none() {
                self.install(Component::Node)?;
            }
        }
        let dir = Component::Node
            .path(self.context)
            .ok_or_else(|| Error::bug("Node is missing"))?;
        Ok(vec![
            dir.join("bin/node"),
            dir.join("lib/node_modules/npm/bin/npm-cli.js"),
        ])
    }
}
