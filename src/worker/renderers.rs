//! Which tools workers use: paths, and fingerprints that enter the action keys.
//!
//! Found by `tools::locate` without starting any process. A fingerprint names versions and never a path of this
//! machine: two machines with the same versions share their results.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::digest::Digest;

/// All tools that were found; what is missing is none, and only matters when something needs it.
#[derive(Clone, Debug, Default)]
pub struct Renderers {
    /// Python with nbconvert, for HTML.
    pub html: Option<HtmlTool>,
    /// Where kernels are found.
    pub kernels: Kernels,
    /// Java and PlantUML.
    pub plantuml: Option<PlantumlTool>,
    /// A browser with the draw.io viewer, or draw.io desktop.
    pub drawio: Option<DrawioTool>,
}

impl Renderers {
    /// A digest of which tools these are on this machine, with what kernels find by the environment of this process.
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
    /// nbconvert's version and those of all it uses.
    pub fingerprint: String,
}

/// Kernels by the name of their kernelspec.
#[derive(Clone, Debug, Default)]
pub struct Kernels {
    /// Kernelspecs by name, such as `python3`.
    pub specs: BTreeMap<String, KernelSpec>,
}

impl Kernels {
    /// Gives variables to all kernels. What a kernelspec sets itself counts more. Variables may change what cells
    /// do, so that they become a part of the fingerprints.
    pub fn add_variables(&mut self, variables: &BTreeMap<String, String>) {
        if variables.is_empty() {
            return;
        }
        let lines: Vec<String> = variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let digest = Digest::of(lines.join("\0")).short();
        for spec in self.specs.values_mut() {
            for (name, value) in variables {
                spec.env
                    .entry(name.clone())
                    .or_insert_with(|| value.clone());
            }
            spec.fingerprint = format!("{}, variables {digest}", spec.fingerprint);
        }
    }
}

/// How a kernel is started.
#[derive(Clone, Debug)]
pub struct KernelSpec {
    /// Program and arguments; `{connection_file}` stands for the connection file.
    pub argv: Vec<String>,
    /// Variables set for the kernel.
    pub env: BTreeMap<String, String>,
    /// Whether it is interrupted by a message instead of a signal.
    pub interrupt_by_message: bool,
    /// Interpreter and installed distributions, or the kernelspec's digest.
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
    /// Our Graphviz, for `@startdot` and for diagrams that ask for its layout, where there is none of the system.
    pub own_dot: Option<PathBuf>,
    /// Versions of PlantUML and of the layout engine.
    pub fingerprint: String,
}

/// What renders draw.io documents.
#[derive(Clone, Debug)]
pub enum DrawioTool {
    /// A headless Chromium with draw.io's viewer kept loaded.
    Browser {
        /// The browser.
        browser: PathBuf,
        /// The directory with the viewer's files.
        app: PathBuf,
        /// Libraries the browser needs besides the system's, if any (`LD_LIBRARY_PATH`).
        libraries: Option<PathBuf>,
        /// Directories with fonts, those of clm first; empty when these are not installed.
        fonts: Vec<PathBuf>,
        /// Versions of the viewer and of the browser, and the fonts.
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
    /// Versions of the viewer and of the browser, or of the program.
    pub fn fingerprint(&self) -> &str {
        match self {
            Self::Browser { fingerprint, .. } | Self::Desktop { fingerprint, .. } => fingerprint,
        }
    }
}
