//! Installed components: each has its own directory, which exists only when it is complete.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::digest::Digest;
use crate::error::{Dir, Error, Result};

use super::Context;
use super::pins::{self, Pin};

/// The file that marks the directory of a component as made by clm as a whole.
pub(super) const MARK: &str = ".clm-component";

/// Something that clm installs for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Component {
    /// A virtual environment with nbconvert, ipykernel and common packages.
    Python,
    /// The PlantUML jar.
    Plantuml,
    /// Graphviz.
    Graphviz,
    /// A Java runtime.
    Java,
    /// The draw.io viewer.
    Drawio,
    /// Fonts for the browser.
    Fonts,
    /// A headless Chromium.
    Chromium,
    /// Deno with its kernel for TypeScript.
    Deno,
    /// Node with npm, used for installing only.
    Node,
}

impl Component {
    /// All components.
    pub(super) const ALL: [Self; 9] = [
        Self::Python,
        Self::Plantuml,
        Self::Graphviz,
        Self::Java,
        Self::Drawio,
        Self::Fonts,
        Self::Chromium,
        Self::Deno,
        Self::Node,
    ];

    /// Returns its name, which is shown and used for directories.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Plantuml => "plantuml",
            Self::Graphviz => "graphviz",
            Self::Java => "java",
            Self::Drawio => "drawio",
            Self::Fonts => "fonts",
            Self::Chromium => "chromium",
            Self::Deno => "deno",
            Self::Node => "node",
        }
    }

    /// Returns the packages it consists of.
    pub(super) fn pins(self) -> &'static [Pin] {
        match self {
            Self::Python => &[],
            Self::Plantuml => &[pins::PLANTUML],
            Self::Graphviz => &[pins::GRAPHVIZ],
            Self::Java => &[pins::JAVA],
            Self::Drawio => &[pins::DRAWIO_VIEWER, pins::DRAWIO_IMAGES, pins::MATHJAX],
            Self::Fonts => pins::FONTS,
            Self::Chromium => &[pins::CHROMIUM],
            Self::Deno => pins::DENO,
            Self::Node => &[pins::NODE],
        }
    }

    /// Returns the digest of its packages and their versions.
    pub(super) fn digest(self) -> Digest {
        if self == Self::Python {
            // The list is long, and each build locates the renderers.
            static REQUIREMENTS: OnceLock<Digest> = OnceLock::new();
            return *REQUIREMENTS.get_or_init(|| Digest::of(pins::REQUIREMENTS));
        }
        let text = self.pins().iter().fold(String::new(), |text, pin| {
            text + pin.name + pin.version + &pin.sha256.concat()
        });
        Digest::of(text)
    }

    /// Returns its directory: other pins give another one, so that a newer clm installs beside an older one.
    pub(super) fn dir(self, tools_dir: &Path) -> PathBuf {
        tools_dir.join(format!("{}-{}", self.name(), self.digest().short()))
    }

    /// Returns the directory in which it is made, or was made until an installation was interrupted.
    pub(super) fn unfinished(self, tools_dir: &Path) -> PathBuf {
        tools_dir.join(format!("new-{}", self.name()))
    }

    /// Returns its directory, if it is installed.
    pub(super) fn path(self, context: &Context) -> Option<PathBuf> {
        let dir = self.dir(&context.tools_dir);
        dir.is_dir().then_some(dir)
    }
}

/// The exclusive right to install; other processes wait for it.
pub(super) struct InstallLock(std::fs::File);

impl InstallLock {
    /// Takes the lock; `waiting` is called if another process holds it.
    pub(super) fn take(tools_dir: &Path, waiting: impl FnOnce()) -> Result<Self> {
        let (file, path) = Self::open(tools_dir)?;
        if file.try_lock().is_err() {
            waiting();
            file.lock()
                .map_err(|error| Error::io_in(Dir::Tools, "lock", &path, &error))?;
        }
        Ok(Self(file))
    }

    /// Takes the lock, unless another process holds it.
    pub(super) fn try_take(tools_dir: &Path) -> Result<Option<Self>> {
        let (file, _) = Self::open(tools_dir)?;
        Ok(file.try_lock().is_ok().then_some(Self(file)))
    }

    fn open(tools_dir: &Path) -> Result<(std::fs::File, PathBuf)> {
        std::fs::create_dir_all(tools_dir)
            .map_err(|error| Error::io_in(Dir::Tools, "create", tools_dir, &error))?;
        let path = tools_dir.join("install.lock");
        let file = std::fs::File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| Error::io_in(Dir::Tools, "lock", &path, &error))?;
        Ok((file, path))
    }
}

impl Drop for InstallLock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Creates a component in a temporary directory and moves it into place when it is complete, so that an interrupted
/// installation is not taken for an installed component.
pub(super) fn install(
    component: Component,
    context: &Context,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let tools_dir = &context.tools_dir;
    let place = component.dir(tools_dir);
    // Remains from an installation that was killed; the lock proves that no installation is running.
    let unfinished = component.unfinished(tools_dir);
    let io = |error: std::io::Error| Error::io_in(Dir::Tools, "write", &unfinished, &error);
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished).map_err(io)?;
    }
    std::fs::create_dir_all(&unfinished).map_err(io)?;
    make(&unfinished)?;
    std::fs::write(unfinished.join(MARK), component.name()).map_err(io)?;
    std::fs::rename(&unfinished, &place).map_err(io)
}
