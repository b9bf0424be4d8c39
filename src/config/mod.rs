//! The configuration of a build: the course root, `clm.toml`, and the environment.
//!
//! Precedence: flag > environment > `clm.toml` > default. An unknown key in `clm.toml` is an error.

mod bounds;
mod cache;
mod ci;
mod daemon;
#[doc(hidden)]
pub mod env_file;
mod farm;
mod folder;
mod foreign;
mod named;
mod place;
mod specs;
mod wording;

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::course::spec::Spec;
use crate::course::words::ImageKind;
use crate::diagnostic::Diagnostic;
use crate::error::{Dir, Error, Result, io_hint};
use crate::files;

pub(crate) use bounds::Bounds;
pub(crate) use cache::{
    CacheMode, CacheSettings, MAX_AGE, MAX_SIZE, MAX_WAIT, parse_age, parse_size,
};
pub(crate) use ci::{Ci, System};
pub(crate) use daemon::{AutoDaemon, DaemonSettings};
pub(crate) use env_file::EnvFile;
pub(crate) use farm::FarmSettings;
#[cfg(feature = "farm")]
pub(crate) use farm::Property;
pub(crate) use folder::FolderSettings;
pub(crate) use named::{Named, course_file_above, folder_above, has_folder_settings, shown_from};
pub use place::Place;
pub(crate) use place::user_cache;
pub(crate) use specs::{is_spec, specs_below};

/// Environment variables that clm reads, besides those of its tools.
pub(crate) mod env {
    /// Directory of the store, instead of `.clm` at the course root.
    pub(crate) const STATE_DIR: &str = "CLM_STATE_DIR";
    /// Directories outside the course that paths of a course may lead into, separated by colons.
    pub(crate) const ALLOWED_DIRS: &str = "CLM_ALLOWED_DIRS";
    /// Directory of installed renderers, instead of the one in the user's data directory.
    pub(crate) const TOOLS_DIR: &str = "CLM_TOOLS_DIR";
    /// Filter of clm's own log, such as `debug` or `clm::engine=trace`.
    pub(crate) const LOG: &str = "CLM_LOG";
    /// Seconds that one cell may run; 0 for no limit.
    pub(crate) const CELL_TIMEOUT: &str = "CLM_CELL_TIMEOUT_SECONDS";
    /// The interpreter or virtual environment of Python kernels.
    pub(crate) const KERNEL_PYTHON: &str = "CLM_NOTEBOOK_KERNEL_PYTHON";
    /// 0: every Python kernel is a new process; 1: kernels are forked from a process that has already loaded the
    /// imports.
    pub(crate) const ZYGOTE: &str = "CLM_ZYGOTE";
    /// Which builds leave a daemon behind, instead of `auto` of `[daemon]`: `editor`, `always` or `off`.
    pub(crate) const DAEMON_AUTO: &str = "CLM_DAEMON_AUTO";
    /// The address of the shared cache, instead of `remote` of `[cache]`; the empty text means none.
    pub(crate) const CACHE_REMOTE: &str = "CLM_CACHE_REMOTE";
    /// How the shared cache is used: `read`, `read-write` or `off`.
    pub(crate) const CACHE_MODE: &str = "CLM_CACHE_MODE";
    /// How long a build may wait for the shared cache in vain, such as `2 s`.
    pub(crate) const CACHE_MAX_WAIT: &str = "CLM_CACHE_MAX_WAIT";
    /// The label of this machine in the shared cache; the default is its host name.
    pub(crate) const CACHE_LABEL: &str = "CLM_CACHE_LABEL";
    /// A bearer token for the shared cache.
    pub(crate) const CACHE_TOKEN: &str = "CLM_CACHE_TOKEN";
    /// The user and the password for the shared cache.
    pub(crate) const CACHE_USER: &str = "CLM_CACHE_USER";
    pub(crate) const CACHE_PASSWORD: &str = "CLM_CACHE_PASSWORD";

    /// Further headers for the shared cache, `Name: value`, one in a line.
    pub(crate) const CACHE_HEADERS: &str = "CLM_CACHE_HEADERS";

    /// The address of the farm, instead of `endpoint` of `[farm]`; the empty text means none.
    pub(crate) const FARM: &str = "CLM_FARM";
    /// 0: this machine makes only what the farm cannot; 1: both make what there is to do.
    pub(crate) const FARM_LOCAL: &str = "CLM_FARM_LOCAL";
    /// A bearer token for the farm.
    pub(crate) const FARM_TOKEN: &str = "CLM_FARM_TOKEN";
    /// Further headers for the farm, `Name: value`, one in a line.
    pub(crate) const FARM_HEADERS: &str = "CLM_FARM_HEADERS";

    /// Variables that no program gets which clm starts: a deck could print them.
    pub(crate) const SECRETS: [&str; 5] = [
        CACHE_TOKEN,
        CACHE_PASSWORD,
        CACHE_HEADERS,
        FARM_TOKEN,
        FARM_HEADERS,
    ];
}

/// The name of the settings file in the course root.
pub(crate) const SETTINGS_FILE: &str = "clm.toml";

/// Project settings: the content of `clm.toml`, with defaults for missing keys.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How decks are executed.
    pub notebook: NotebookSettings,
    /// How diagrams are rendered.
    pub diagrams: DiagramSettings,
    /// How decks show images.
    pub images: ImageSettings,
    /// How many workers of each kind run at once.
    pub workers: WorkerSettings,
    /// Where outputs go.
    pub output: OutputSettings,
    /// Notes for the author about the file.
    #[serde(skip)]
    pub notes: Vec<Diagnostic>,
    /// How many results the store retains, and for how long.
    pub cache: CacheSettings,
    /// A build farm, and how it is used.
    pub farm: FarmSettings,
    /// What is made of a folder without `course.xml`, and how.
    pub folder: FolderSettings,
    /// Whether builds leave a daemon behind.
    pub daemon: DaemonSettings,
}

/// `[notebook]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotebookSettings {
    /// Seconds that one cell may run; 0 for no limit.
    pub cell_timeout: u64,
    /// Interpreter or virtual environment of Python kernels, relative to the course root.
    pub kernel_python: Option<String>,
    /// Directory of the course's own Jinja templates, relative to the course root. A template there replaces the
    /// bundled one of the same name; a subdirectory named like the deck's language is searched first.
    pub templates: Option<String>,
    /// File of environment variables for kernels, relative to the course root. The default is the nearest `.env` above
    /// the specification; the empty text means no file.
    pub env_file: Option<String>,
    /// Whether Python kernels are forked from processes that have already loaded the imports of decks, where the system
    /// supports that (Linux). The results are the same either way.
    pub zygote: bool,
}

impl Default for NotebookSettings {
    fn default() -> Self {
        Self {
            cell_timeout: 300,
            kernel_python: None,
            templates: None,
            env_file: None,
            zygote: true,
        }
    }
}

impl NotebookSettings {
    /// Returns the time limit of a cell, or `None` for no limit.
    pub fn cell_timeout(&self) -> Option<Duration> {
        time_limit(self.cell_timeout)
    }
}

/// `[diagrams]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiagramSettings {
    /// Whether rendered diagrams are also written to `img-generated/` beside their source directory.
    pub write_back: bool,
    /// Dots per inch of PlantUML bitmaps.
    pub dpi: u32,
    /// The largest width and height of a PlantUML bitmap, in pixels.
    pub limit: u32,
    /// Pixels of a draw.io bitmap for each unit of the drawing.
    pub scale: u32,
    /// Border around a draw.io diagram, in units of the drawing.
    pub border: u32,
    /// Seconds that rendering one diagram may take; 0 for no limit.
    pub timeout: u64,
}

impl Default for DiagramSettings {
    fn default() -> Self {
        Self {
            write_back: true,
            dpi: 200,
            limit: 8192,
            scale: 3,
            border: 20,
            timeout: 60,
        }
    }
}

impl DiagramSettings {
    /// Returns the time limit of a diagram, or `None` for no limit.
    pub fn timeout(&self) -> Option<Duration> {
        time_limit(self.timeout)
    }
}

/// The longest time limit in seconds: a year. Adding a very long one to the current time would overflow.
const LONGEST: u64 = 365 * 86_400;

/// Converts a limit in seconds; 0 means no limit.
pub(crate) fn time_limit(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.min(LONGEST)))
}

/// `[images]`: values that are missing here come from the specification.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageSettings {
    /// Where images are written.
    pub mode: ImageMode,
    /// The format of diagrams.
    pub format: Option<ImageKind>,
    /// Whether images are embedded in decks.
    pub inline: Option<bool>,
}

/// Where images are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ImageMode {
    /// Beside the decks of every section, format and kind.
    #[default]
    Duplicated,
    /// Into one directory for each language.
    Shared,
}

/// The allowed number of workers of a kind.
const WORKERS: std::ops::RangeInclusive<usize> = 1..=64;

/// `[workers]`: slots by kind; `None` means a number that depends on the machine's cores.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerSettings {
    /// Kernels at once.
    pub notebook: Option<usize>,
    /// HTML workers at once.
    pub html: Option<usize>,
    /// PlantUML diagrams at once.
    pub plantuml: Option<usize>,
    /// draw.io diagrams at once.
    pub drawio: Option<usize>,
}

impl WorkerSettings {
    /// Takes the values that are set in `other`.
    pub fn override_with(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.notebook, other.notebook),
            (&mut self.html, other.html),
            (&mut self.plantuml, other.plantuml),
            (&mut self.drawio, other.drawio),
        ] {
            if theirs.is_some() {
                *mine = theirs;
            }
        }
    }

    /// Checks that every number is allowed. Without a worker of some kind, a build would wait forever.
    fn check(&self, text: &str) -> Result<()> {
        for (name, number) in [
            ("notebook", self.notebook),
            ("html", self.html),
            ("plantuml", self.plantuml),
            ("drawio", self.drawio),
        ] {
            let Some(number) = number.filter(|number| !WORKERS.contains(number)) else {
                continue;
            };
            let names_it = |line: &str| {
                let setting = line.split_once('=').map(|(setting, _)| setting.trim());
                setting == Some(name)
            };
            let mut lines = text.lines().skip_while(|line| line.trim() != "[workers]");
            let below = lines.position(names_it);
            let section = text.lines().position(|line| line.trim() == "[workers]");
            let line = below
                .zip(section)
                .map(|(below, section)| (section + below + 1) as u32);
            return Err(Error::usage(format!(
                "`{name}` is the number of its workers, from {} to {}, but is {number}",
                WORKERS.start(),
                WORKERS.end()
            ))
            .at(SETTINGS_FILE, line));
        }
        Ok(())
    }

    /// Parses the argument of `--workers`, such as `notebook=2,plantuml=1`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut settings = Self::default();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (kind, number) = part.split_once('=').ok_or_else(|| {
                format!("`{part}` is not of the form `kind=number`, such as `notebook=2`")
            })?;
            let number: usize = number
                .trim()
                .parse()
                .ok()
                .filter(|number| WORKERS.contains(number))
                .ok_or_else(|| format!("`{number}` is not a number from 1 to 64"))?;
            let slot = match kind.trim() {
                "notebook" => &mut settings.notebook,
                "html" => &mut settings.html,
                "plantuml" => &mut settings.plantuml,
                "drawio" => &mut settings.drawio,
                other => {
                    return Err(format!(
                        "`{other}` is not a kind of worker; there are notebook, html, plantuml and drawio"
                    ));
                }
            };
            *slot = Some(number);
        }
        Ok(settings)
    }
}

/// `[output]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutputSettings {
    /// Output root, relative to the course root. Every target has a directory of its name in it.
    pub dir: Option<String>,
    /// Whether every target contains a list of its outputs, `.clm-manifest.json`.
    pub manifest: bool,
}

impl Default for OutputSettings {
    fn default() -> Self {
        Self {
            dir: None,
            manifest: true,
        }
    }
}

impl Settings {
    /// Reads the settings file of a course; a missing file gives the defaults.
    pub fn load(root: &Path) -> Result<Self> {
        let path = root.join(SETTINGS_FILE);
        let text = match files::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            // The file belongs to the user, so this is an error of the configuration, not of the system.
            Err(error) => {
                let result = Error::usage(format!("the settings cannot be read: {error}"));
                let hint = match error.kind() {
                    std::io::ErrorKind::IsADirectory | std::io::ErrorKind::InvalidInput => {
                        "`clm.toml` must be a text file; without it the defaults count".to_owned()
                    }
                    _ => io_hint(Dir::Other, "read", &error).unwrap_or_default(),
                };
                let mut result = result.at(SETTINGS_FILE, None);
                if !hint.is_empty() {
                    result = result.hint(hint);
                }
                return Err(result);
            }
        };
        let settings = Self::parse(&text)?;
        settings.workers.check(&text)?;
        settings.folder.check(&text)?;
        settings.check_paths(&Bounds::of(root), &text)?;
        Ok(settings)
    }

    /// Checks that paths in the file stay inside the course. Paths on the command line and in the environment are not
    /// restricted.
    fn check_paths(&self, bounds: &Bounds, text: &str) -> Result<()> {
        let notebook = &self.notebook;
        let paths = [
            ("the directory of templates", &notebook.templates),
            ("the file of variables", &notebook.env_file),
            ("the output directory", &self.output.dir),
        ];
        for (what, path) in paths {
            if let Some(path) = path.as_deref().filter(|path| !path.is_empty()) {
                bounds.check(what, path, SETTINGS_FILE, text)?;
            }
        }
        match notebook.kernel_python.as_deref() {
            Some(python) => bounds.check_python(python, SETTINGS_FILE, text),
            None => Ok(()),
        }
    }

    /// Returns whether pictures are also written into the tree of sources.
    pub(crate) fn writes_back(&self, spec: &Spec) -> bool {
        let folder = spec.folder.as_ref();
        folder.map_or(self.diagrams.write_back, |folder| folder.beside)
    }

    /// Parses the text of a settings file.
    pub fn parse(text: &str) -> Result<Self> {
        let own = foreign::without_foreign(text);
        let settings = toml::from_str(&own).map_err(|error| {
            let line = error
                .span()
                .map(|span| own[..span.start.min(own.len())].matches('\n').count() as u32 + 1);
            let written = line.and_then(|line| own.lines().nth(line as usize - 1));
            let message = wording::reworded(error.message(), written.unwrap_or_default());
            let result = Error::usage(message).at(SETTINGS_FILE, line);
            match wording::suggestion(error.message()) {
                Some(name) => result.hint(format!("did you mean `{name}`?")),
                None => result,
            }
        });
        settings.map(|mut settings| {
            foreign::take_over(text, &mut settings);
            settings
        })
    }

    /// Applies the environment variables that override settings; `lookup` returns their values.
    pub fn apply_env(&mut self, lookup: impl Fn(&str) -> Option<OsString>) -> Result<()> {
        if let Some(value) = lookup(env::CELL_TIMEOUT) {
            let text = value.to_string_lossy();
            self.notebook.cell_timeout = text.parse().map_err(|_| {
                Error::usage(format!(
                    "{} is `{text}`, but it must be a number of seconds",
                    env::CELL_TIMEOUT
                ))
            })?;
        }
        if let Some(value) = lookup(env::KERNEL_PYTHON) {
            self.notebook.kernel_python = Some(value.to_string_lossy().into_owned());
        }
        if let Some(value) = lookup(env::ZYGOTE) {
            self.notebook.zygote = zero_or_one(env::ZYGOTE, &value.to_string_lossy())?;
        }
        self.cache.apply_env(&lookup)?;
        self.daemon.apply_env(&lookup)?;
        self.farm.apply_env(lookup)
    }
}

/// Parses a variable that switches something on or off.
fn zero_or_one(name: &str, value: &str) -> Result<bool> {
    match value {
        "0" => Ok(false),
        "1" => Ok(true),
        other => Err(Error::usage(format!(
            "{name} is `{other}`, but it must be 0 or 1"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_defaults_and_reject_unknown_keys() {
        let settings = Settings::parse("[diagrams]\ndpi = 100\n").unwrap();
        assert_eq!(settings.diagrams.dpi, 100);
        assert_eq!(settings.diagrams.limit, 8192);
        let error = Settings::parse("[diagrams]\n\ndip = 100\n").unwrap_err();
        let diagnostic = &error.diagnostics[0];
        assert_eq!(diagnostic.line, Some(3));
        assert_eq!(diagnostic.hint.as_deref(), Some("did you mean `dpi`?"));
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_wrong_type_is_told_in_the_words_of_the_file() {
        for (text, message) in [
            (
                "[diagrams]\ndpi = \"big\"\n",
                "`dpi` must be a whole number that is not negative, but is the text \"big\"",
            ),
            (
                "[notebook]\ncell_timeout = -3\n",
                "`cell_timeout` must be a whole number that is not negative, but is the number `-3`",
            ),
            (
                "[notebook]\nzygote = 3\n",
                "`zygote` must be `true` or `false`, but is the number `3`",
            ),
            (
                "[diagrams]\ndpi = 99999999999\n",
                "`dpi` must be a smaller whole number, but is the number `99999999999`",
            ),
            (
                "[x]\ny = 1\n",
                "there is no setting or section `x` here; there are `notebook`, `diagrams`, `images`, `workers`, `output`, `cache`, `farm`, `folder`, `daemon`",
            ),
            (
                "[output]\ndir = true\n",
                "`dir` must be a text in quotes, but is `true`",
            ),
            (
                "[folder]\ninclude = \"x\"\n",
                "`include` must be a list, such as `[\"a\", \"b\"]`, but is the text \"x\"",
            ),
            (
                "notebook = 3\n",
                "`notebook` must be a section in brackets, such as `[notebook]`, but is the number `3`",
            ),
        ] {
            let error = Settings::parse(text).unwrap_err();
            let found = &error.diagnostics[0];
            assert_eq!(found.message, message, "{text}");
            assert!(found.line.is_some(), "{text}");
        }
    }

    #[test]
    fn the_environment_wins_over_the_settings() {
        let with = |name: &'static str, value: &'static str| {
            let mut settings = Settings::parse("[notebook]\nzygote = true\n").unwrap();
            let result = settings.apply_env(|asked| (asked == name).then(|| value.into()));
            result.map(|()| settings.notebook)
        };
        assert!(with("OTHER", "0").unwrap().zygote);
        assert!(!with(env::ZYGOTE, "0").unwrap().zygote);
        assert!(with(env::ZYGOTE, "1").unwrap().zygote);
        assert_eq!(with(env::ZYGOTE, "off").unwrap_err().exit_code(), 2);
        assert_eq!(with(env::CELL_TIMEOUT, "7").unwrap().cell_timeout, 7);
    }

    #[test]
    fn worker_lists_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join(SETTINGS_FILE),
            "[workers]\nhtml = 1\nplantuml = 0\n",
        )
        .unwrap();
        let error = Settings::load(dir.path()).unwrap_err().to_string();
        assert!(
            error.starts_with("clm.toml:3: error: `plantuml`"),
            "{error}"
        );
        let workers = WorkerSettings::parse("notebook=2,drawio=1").unwrap();
        assert_eq!(
            (workers.notebook, workers.drawio, workers.html),
            (Some(2), Some(1), None)
        );
        assert!(WorkerSettings::parse("notebook=0").is_err());
        assert!(
            WorkerSettings::parse("kernels=2")
                .unwrap_err()
                .contains("kernels")
        );
    }
}
