//! The tools that workers use: their paths, and fingerprints that enter the action keys.
//!
//! They are found by `tools::locate` without starting a process. A fingerprint contains versions and never a path of
//! this machine, so that two machines with the same versions can share their results.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use crate::digest::Digest;

/// All tools that were found; a missing one matters only when an action needs it.
#[derive(Clone, Debug, Default)]
pub struct Renderers {
    /// Python with nbconvert, for HTML.
    pub html: Option<HtmlTool>,
    /// The installed kernels.
    pub kernels: Kernels,
    /// Java and PlantUML.
    pub plantuml: Option<PlantumlTool>,
    /// A browser with the draw.io viewer, or draw.io desktop.
    pub drawio: Option<DrawioTool>,
    /// What renderers are that are not installed, by the names of [`Renderers::installed`]: their results may be known
    /// from another machine.
    pub expected: BTreeMap<String, String>,
    /// What the variables of `.env` files add to the fingerprints of kernels.
    pub variables: String,
}

/// The name of the renderer of pages.
pub(crate) const HTML: &str = "html";
/// The name of the renderer of PlantUML diagrams.
pub(crate) const PLANTUML: &str = "plantuml";
/// The name of the renderer of draw.io diagrams.
pub(crate) const DRAWIO: &str = "drawio";
const KERNEL: &str = "kernel ";

/// Returns the name of a kernel among renderers.
pub(crate) fn kernel(name: &str) -> String {
    format!("{KERNEL}{name}")
}

/// Returns the kernel that a renderer is, if it is one.
pub(crate) fn kernel_of(renderer: &str) -> Option<&str> {
    renderer.strip_prefix(KERNEL)
}

/// The renderers that an engine and its workers use now. Clones share them, and see when they are replaced.
#[derive(Clone, Debug, Default)]
pub struct CurrentRenderers(Arc<RwLock<Arc<Renderers>>>);

impl CurrentRenderers {
    /// Returns them.
    pub(crate) fn get(&self) -> Arc<Renderers> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces them, since some were installed.
    pub(crate) fn replace(&self, renderers: Renderers) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(renderers);
    }
}

impl From<Arc<Renderers>> for CurrentRenderers {
    fn from(renderers: Arc<Renderers>) -> Self {
        Self(Arc::new(RwLock::new(renderers)))
    }
}

impl Renderers {
    /// Returns whether the renderer of this name is installed, see [`Renderers::installed`].
    pub(crate) fn has(&self, name: &str) -> bool {
        self.installed_fingerprint(name).is_some()
    }

    /// Returns the fingerprint of the renderer of this name, if it is installed.
    pub(crate) fn installed_fingerprint(&self, name: &str) -> Option<&str> {
        match name {
            HTML => self.html.as_ref().map(|tool| &*tool.fingerprint),
            PLANTUML => self.plantuml.as_ref().map(|tool| &*tool.fingerprint),
            DRAWIO => self.drawio.as_ref().map(DrawioTool::fingerprint),
            name => {
                let spec = self.kernels.specs.get(kernel_of(name)?)?;
                Some(&spec.fingerprint)
            }
        }
    }

    /// Returns the fingerprint of the renderer of this name, installed or expected.
    pub(crate) fn fingerprint(&self, name: &str) -> Option<&str> {
        let expected = || self.expected.get(name).map(String::as_str);
        self.installed_fingerprint(name).or_else(expected)
    }

    /// Returns the fingerprints of the renderers that are installed, by name: `html`, `plantuml`, `drawio`, and kernels as
    /// `kernel NAME`.
    pub fn installed(&self) -> BTreeMap<String, String> {
        let tools = [HTML, PLANTUML, DRAWIO].into_iter();
        let tools = tools.filter_map(|name| {
            let fingerprint = self.installed_fingerprint(name)?;
            Some((name.to_owned(), fingerprint.to_owned()))
        });
        let kernels = self.kernels.specs.iter();
        let kernels = kernels.map(|(name, spec)| (kernel(name), spec.fingerprint.clone()));
        tools.chain(kernels).collect()
    }

    /// Returns the fingerprints of all renderers, installed or expected, as they enter keys: with the variables of
    /// kernels, which may change what cells do.
    pub(crate) fn identities(&self) -> BTreeMap<String, String> {
        let mut identities = self.expected.clone();
        identities.extend(self.installed());
        for (name, fingerprint) in &mut identities {
            if kernel_of(name).is_some() {
                fingerprint.push_str(&self.variables);
            }
        }
        identities
    }

    /// Adds variables to all kernels; variables of the kernelspec itself take precedence.
    pub fn add_variables(&mut self, variables: &BTreeMap<String, String>) {
        if variables.is_empty() {
            return;
        }
        let lines: Vec<String> = variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let digest = Digest::of(lines.join("\0")).short();
        self.variables = format!(", variables {digest}");
        for spec in self.kernels.specs.values_mut() {
            for (name, value) in variables {
                let known = spec.env.entry(name.clone());
                known.or_insert_with(|| value.clone());
            }
        }
    }

    /// Returns a digest that identifies these tools on this machine, including the environment variables that affect
    /// kernels.
    pub fn identity(&self) -> Digest {
        let variable = |name: &str| std::env::var_os(name).unwrap_or_default();
        let path = variable("PATH");
        let find = |program: &String| {
            let mut files = std::env::split_paths(&path).map(|dir| dir.join(program));
            files.find(|file| file.is_file())
        };
        let programs = self.kernels.specs.values().map(|spec| {
            let program = spec.argv.first();
            program.filter(|program| !program.contains('/')).map(find)
        });
        let programs: Vec<_> = programs.collect();
        Digest::of(format!("{:?}", (self, programs, variable("PYTHONPATH"))))
    }
}

/// A Python environment with nbconvert.
#[derive(Clone, Debug)]
pub struct HtmlTool {
    /// The interpreter.
    pub python: PathBuf,
    /// The versions of nbconvert and everything it uses.
    pub fingerprint: String,
}

/// Kernels by the name of their kernelspec.
#[derive(Clone, Debug, Default)]
pub struct Kernels {
    /// Kernelspecs by name, such as `python3`.
    pub specs: BTreeMap<String, KernelSpec>,
}

/// How a kernel is started.
#[derive(Clone, Debug)]
pub struct KernelSpec {
    /// The program and its arguments; `{connection_file}` stands for the connection file.
    pub argv: Vec<String>,
    /// Variables that are set for the kernel.
    pub env: BTreeMap<String, String>,
    /// Whether it is interrupted by a message instead of a signal.
    pub interrupt_by_message: bool,
    /// The interpreter and installed distributions, or the kernelspec's digest.
    pub fingerprint: String,
}

/// PlantUML and what it needs.
#[derive(Clone, Debug)]
pub struct PlantumlTool {
    /// The Java launcher (11 or newer).
    pub java: PathBuf,
    /// The PlantUML jar.
    pub jar: PathBuf,
    /// The system's Graphviz; without it PlantUML's own layout engine is used.
    pub dot: Option<PathBuf>,
    /// clm's Graphviz, for `@startdot` and for diagrams that request its layout, if the system has none.
    pub own_dot: Option<PathBuf>,
    /// Versions of PlantUML and of the layout engine.
    pub fingerprint: String,
}

/// A renderer of draw.io documents.
#[derive(Clone, Debug)]
pub enum DrawioTool {
    /// A headless Chromium that keeps draw.io's viewer loaded.
    Browser {
        /// The browser.
        browser: PathBuf,
        /// The directory with the viewer's files.
        app: PathBuf,
        /// Libraries the browser needs besides the system's, if any (for `LD_LIBRARY_PATH`).
        libraries: Option<PathBuf>,
        /// Directories with fonts, with clm's own first; empty if these are not installed.
        fonts: Vec<PathBuf>,
        /// The versions of the viewer and of the browser, and the fonts.
        fingerprint: String,
    },
    /// The draw.io desktop program, started for each diagram.
    Desktop {
        /// The program.
        executable: PathBuf,
        /// Its version.
        fingerprint: String,
    },
}

impl DrawioTool {
    /// Returns the versions of the viewer and of the browser, or of the program.
    pub fn fingerprint(&self) -> &str {
        match self {
            Self::Browser { fingerprint, .. } | Self::Desktop { fingerprint, .. } => fingerprint,
        }
    }
}
