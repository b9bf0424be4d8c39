//! Locates renderers by examining files: no process is started, so that a build with nothing to do starts none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::worker::Renderers;
use crate::worker::renderers::{DrawioTool, HtmlTool, KernelSpec, Kernels, PlantumlTool};

use super::install::Component;
use super::python::PythonEnvironment;
use super::{Context, fonts, kernelspecs, pins};

/// A tool that was found, for display.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub what: String,
    /// Its path.
    pub path: PathBuf,
    /// Its version, as far as its files show it.
    pub version: String,
    /// How it was found, such as `installed by clm`.
    pub origin: String,
    /// What it is used for.
    pub used_for: &'static str,
}

const OURS: &str = "installed by clm";

/// Locates the installed renderers.
pub fn locate(context: &Context) -> (Renderers, Vec<Found>) {
    let mut found = Vec::new();
    let renderers = Renderers {
        html: html(context, &mut found),
        kernels: kernels(context, &mut found),
        plantuml: plantuml(context, &mut found),
        drawio: drawio(context, &mut found),
        ..Renderers::default()
    };
    (renderers, found)
}

/// Returns the tool for pages. Only clm's own environment is used: its pinned versions make the same bytes everywhere.
fn html(context: &Context, found: &mut Vec<Found>) -> Option<HtmlTool> {
    let environment = PythonEnvironment::of(&Component::Python.path(context)?.join("bin/python"))?;
    let version = environment.version_of("nbconvert")?.to_owned();
    found.push(Found {
        what: "nbconvert".to_owned(),
        path: environment.python.clone(),
        version: version.clone(),
        origin: OURS.to_owned(),
        used_for: "pages",
    });
    Some(HtmlTool {
        fingerprint: html_fingerprint(|name| environment.version_of(name)),
        python: environment.python,
    })
}

/// Returns the fingerprint of the tool for pages, from the versions of its libraries. The interpreter's version does not
/// affect pages.
pub(super) fn html_fingerprint<'v>(version_of: impl Fn(&str) -> Option<&'v str>) -> String {
    let libraries = [
        "nbconvert",
        "nbformat",
        "jinja2",
        "mistune",
        "pygments",
        "bleach",
        "beautifulsoup4",
    ];
    let version = |name: &&str| format!("{name} {}", version_of(name).unwrap_or("?"));
    let versions: Vec<String> = libraries.iter().map(version).collect();
    versions.join(", ")
}

fn kernels(context: &Context, found: &mut Vec<Found>) -> Kernels {
    let python = python_for_kernels(context);
    let bases: Vec<PathBuf> = python
        .iter()
        .filter_map(|(environment, _)| Some(environment.python.parent()?.parent()?.to_path_buf()))
        .collect();
    let mut specs: BTreeMap<String, KernelSpec> = kernelspecs::find(context, &bases);
    // The name stands for the Python chosen here, whatever kernelspec of that name is installed.
    specs.remove("python3");
    if let Some((environment, origin)) = python {
        let version = environment.version_of("ipykernel").unwrap_or_default();
        found.push(Found {
            what: "Python kernel".to_owned(),
            path: environment.python.clone(),
            version: format!("ipykernel {version}, Python {}", environment.version),
            origin,
            used_for: "executing Python decks",
        });
        let argv = [
            environment.python.display().to_string(),
            "-m".to_owned(),
            "ipykernel_launcher".to_owned(),
            "-f".to_owned(),
            "{connection_file}".to_owned(),
        ];
        let spec = KernelSpec {
            argv: argv.to_vec(),
            env: BTreeMap::new(),
            interrupt_by_message: false,
            fingerprint: environment.fingerprint(),
        };
        specs.insert("python3".to_owned(), spec);
    }
    if let Some(dir) = Component::Deno.path(context) {
        specs
            .entry("deno".to_owned())
            .or_insert_with(|| deno(&dir, &context.tools_dir));
    }
    for (name, spec) in specs.iter().filter(|(name, _)| *name != "python3") {
        found.push(Found {
            what: format!("kernel `{name}`"),
            path: PathBuf::from(spec.argv.first().map_or("", String::as_str)),
            version: spec.fingerprint.clone(),
            origin: "kernelspec".to_owned(),
            used_for: "executing decks of its language",
        });
    }
    Kernels { specs }
}

/// Returns the kernelspec of clm's own Deno.
fn deno(dir: &Path, tools_dir: &Path) -> KernelSpec {
    let argv = [
        dir.join("deno").display().to_string(),
        "jupyter".to_owned(),
        "--kernel".to_owned(),
        "--conn".to_owned(),
        "{connection_file}".to_owned(),
    ];
    let cache = tools_dir.join("deno-cache").display().to_string();
    let env = [("DENO_DIR", cache.as_str()), ("DENO_NO_UPDATE_CHECK", "1")];
    KernelSpec {
        argv: argv.to_vec(),
        env: env
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        interrupt_by_message: false,
        fingerprint: deno_fingerprint(),
    }
}

/// Returns the fingerprint of clm's own Deno.
pub(super) fn deno_fingerprint() -> String {
    format!("Deno {}", pins::DENO_VERSION)
}

/// Returns the Python whose packages decks can import, and its origin: the one that the course names, the project's
/// environment, or clm's own.
pub(super) fn python_for_kernels(context: &Context) -> Option<(PythonEnvironment, String)> {
    let has_kernel = |python: &Path| {
        PythonEnvironment::of(python)
            .filter(|environment| environment.version_of("ipykernel").is_some())
    };
    if let Some(python) = context.named_python() {
        return Some((
            has_kernel(&python)?,
            "named by the course or the environment".to_owned(),
        ));
    }
    if let Some(root) = &context.course_root {
        for dir in root.ancestors() {
            if let Some(environment) = has_kernel(&dir.join(".venv/bin/python")) {
                return Some((environment, "the project's `.venv`".to_owned()));
            }
            // Directories above belong to other projects.
            if dir.join(".git").exists() {
                break;
            }
        }
    }
    let ours = Component::Python.path(context)?.join("bin/python");
    Some((has_kernel(&ours)?, OURS.to_owned()))
}

fn plantuml(context: &Context, found: &mut Vec<Found>) -> Option<PlantumlTool> {
    let (jar, jar_version, jar_origin) = jar(context)?;
    let (java, java_version, java_origin) = java(context)?;
    let dot = context.program("dot");
    let ours = Component::Graphviz.path(context).map(|dir| dir.join("dot"));
    let own_dot = ours.filter(|_| dot.is_none());
    let layout = layout_version(dot.as_deref(), own_dot.is_some());
    if let Some(dot) = &own_dot {
        found.push(Found {
            what: "Graphviz".to_owned(),
            path: dot.clone(),
            version: pins::GRAPHVIZ_VERSION.to_owned(),
            origin: OURS.to_owned(),
            used_for: "PlantUML diagrams of Graphviz",
        });
    }
    found.push(Found {
        what: "PlantUML".to_owned(),
        path: jar.clone(),
        version: jar_version.clone(),
        origin: jar_origin,
        used_for: "PlantUML diagrams",
    });
    found.push(Found {
        what: "Java".to_owned(),
        path: java.clone(),
        version: java_version.clone(),
        origin: java_origin,
        used_for: "PlantUML diagrams",
    });
    if let Some(dot) = &dot {
        found.push(Found {
            what: "Graphviz".to_owned(),
            path: dot.clone(),
            version: layout.clone(),
            origin: "search path".to_owned(),
            used_for: "layout of PlantUML diagrams",
        });
    }
    Some(PlantumlTool {
        fingerprint: plantuml_fingerprint(&jar_version, &java_version, &layout),
        java,
        jar,
        dot,
        own_dot,
    })
}

fn plantuml_fingerprint(jar: &str, java: &str, layout: &str) -> String {
    let feature = java.split('.').next().unwrap_or_default();
    format!("PlantUML {jar}, Java {feature}, {layout}")
}

/// Returns the version of what lays PlantUML diagrams out: the system's Graphviz, or PlantUML itself, with clm's Graphviz
/// for the diagrams that request it.
fn layout_version(dot: Option<&Path>, has_own: bool) -> String {
    match dot {
        Some(dot) => program_version("graphviz", dot),
        None if has_own => format!("Smetana, Graphviz {}", pins::GRAPHVIZ_VERSION),
        None => "Smetana".to_owned(),
    }
}

/// Returns the fingerprint that PlantUML would have, if what is missing were installed.
pub(super) fn plantuml_after_setup(context: &Context) -> Option<String> {
    // clm does not install a jar that the user names.
    if context.var("PLANTUML_JAR").is_some() {
        return None;
    }
    let java = java(context).map(|(_, version, _)| version);
    let java = java.unwrap_or_else(|| pins::JAVA.version.to_owned());
    let layout = layout_version(context.program("dot").as_deref(), HAS_GRAPHVIZ);
    Some(plantuml_fingerprint(pins::PLANTUML.version, &java, &layout))
}

/// Whether there is a package of Graphviz for this platform.
pub(super) const HAS_GRAPHVIZ: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

fn jar(context: &Context) -> Option<(PathBuf, String, String)> {
    if let Some(path) = context.var("PLANTUML_JAR") {
        let path = PathBuf::from(path);
        let digest = Digest::of_file(&path).ok()?;
        return Some((
            path,
            format!("jar {}", digest.short()),
            "PLANTUML_JAR".to_owned(),
        ));
    }
    let jar = Component::Plantuml.path(context)?.join("plantuml.jar");
    Some((jar, pins::PLANTUML.version.to_owned(), OURS.to_owned()))
}

/// Returns a Java that can draw, version 11 or newer.
fn java(context: &Context) -> Option<(PathBuf, String, String)> {
    let home = context
        .var("JAVA_HOME")
        .map(|home| PathBuf::from(home).join("bin/java"));
    let candidates = [
        (home, "JAVA_HOME"),
        (context.program("java"), "search path"),
    ];
    for (java, origin) in candidates {
        let Some(java) = java else { continue };
        if let Some(version) = java_version(&java) {
            return Some((java, version, origin.to_owned()));
        }
    }
    let ours = Component::Java.path(context)?.join("bin/java");
    let version = java_version(&ours).unwrap_or_else(|| pins::JAVA.version.to_owned());
    Some((ours, version, OURS.to_owned()))
}

/// Returns whether there is a Java that can draw.
pub(crate) fn has_java(context: &Context) -> bool {
    java(context).is_some()
}

/// Returns the version of a Java if it is new enough and can draw, according to the files around it.
fn java_version(java: &Path) -> Option<String> {
    if !super::dirs::is_executable(java) {
        return None;
    }
    let home = java.canonicalize().ok()?.parent()?.parent()?.to_path_buf();
    let release = std::fs::read_to_string(home.join("release")).ok()?;
    let value = |key: &str| {
        release
            .lines()
            .filter_map(|line| line.split_once('='))
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.trim_matches('"').to_owned())
    };
    let version = value("JAVA_VERSION")?;
    let feature: u32 = version.split('.').next()?.parse().ok()?;
    // Debian's headless packages list no modules, but include the one for drawing.
    let can_draw = value("MODULES").is_none_or(|modules| modules.contains("java.desktop"));
    (feature >= 11 && can_draw).then_some(version)
}

const BROWSERS: &[&str] = &[
    "chromium-headless-shell",
    "chrome-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
];

fn drawio(context: &Context, found: &mut Vec<Found>) -> Option<DrawioTool> {
    let app = Component::Drawio.path(context);
    let browser = browser(context);
    if let (Some(app), Some((browser, version, origin, libraries))) = (app, browser) {
        found.push(Found {
            what: "draw.io viewer".to_owned(),
            path: app.clone(),
            version: pins::DRAWIO_VIEWER.version.to_owned(),
            origin: OURS.to_owned(),
            used_for: "draw.io diagrams",
        });
        found.push(Found {
            what: "browser".to_owned(),
            path: browser.clone(),
            version: version.clone(),
            origin,
            used_for: "draw.io diagrams",
        });
        let fonts = fonts::find(context);
        if let Some(ours) = fonts.dirs.first() {
            found.push(Found {
                what: "fonts".to_owned(),
                path: ours.clone(),
                version: fonts.fingerprint.clone(),
                origin: OURS.to_owned(),
                used_for: "draw.io diagrams",
            });
        }
        return Some(DrawioTool::Browser {
            browser,
            app,
            libraries,
            fingerprint: drawio_fingerprint(&version, &fonts.fingerprint),
            fonts: fonts.dirs,
        });
    }
    let executable = context
        .var("DRAWIO_EXECUTABLE")
        .map(PathBuf::from)
        .or_else(|| context.program("drawio"))?;
    let version = program_version("draw.io desktop", &executable);
    found.push(Found {
        what: "draw.io desktop".to_owned(),
        path: executable.clone(),
        version: version.clone(),
        origin: "DRAWIO_EXECUTABLE or search path".to_owned(),
        used_for: "draw.io diagrams",
    });
    Some(DrawioTool::Desktop {
        executable,
        fingerprint: version,
    })
}

fn drawio_fingerprint(browser: &str, fonts: &str) -> String {
    format!(
        "viewer {}, images {}, MathJax {}, {browser}, {fonts}",
        pins::DRAWIO_VIEWER.version,
        pins::DRAWIO_IMAGES.version,
        pins::MATHJAX.version,
    )
}

/// Returns the fingerprint that draw.io would have, if what is missing were installed.
pub(super) fn drawio_after_setup(context: &Context) -> Option<String> {
    if context.var("DRAWIO_EXECUTABLE").is_some() {
        return None;
    }
    let browser = match browser(context) {
        Some((_, version, ..)) => version,
        None if HAS_CHROMIUM => chromium_version(),
        None => return None,
    };
    let fonts = fonts::after_setup(context);
    Some(drawio_fingerprint(&browser, &fonts))
}

/// Whether there is a package of Chromium for this platform.
pub(super) const HAS_CHROMIUM: bool = cfg!(all(target_os = "linux", target_arch = "x86_64"));

fn chromium_version() -> String {
    format!("Chromium {}", pins::CHROMIUM.version)
}

type Browser = (PathBuf, String, String, Option<PathBuf>);

fn browser(context: &Context) -> Option<Browser> {
    if let Some(dir) = Component::Chromium.path(context) {
        return Some((
            dir.join("chromium"),
            chromium_version(),
            OURS.to_owned(),
            Some(dir.join("lib")),
        ));
    }
    system_browser(context).map(|browser| {
        (
            browser.clone(),
            program_version("browser", &browser),
            "search path".to_owned(),
            None,
        )
    })
}

/// Returns a browser on the search path.
pub(crate) fn system_browser(context: &Context) -> Option<PathBuf> {
    BROWSERS.iter().find_map(|name| context.program(name))
}

/// Returns a program's version without starting it: the size of the file (of the actual program if this is its start
/// script), which changes with nearly every version. Never its path or time, which differ between machines.
fn program_version(what: &str, program: &Path) -> String {
    let real = program
        .canonicalize()
        .unwrap_or_else(|_| program.to_path_buf());
    let name = program
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let behind = PathBuf::from("/usr/lib").join(&name).join(&name);
    let bytes = match size(&behind) {
        0 => size(&real),
        bytes => bytes,
    };
    format!("{what} {name} of {bytes} bytes")
}
