//! Options for what to build and with how many workers, shared by `build`, `watch` and the daemon.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use clap::Args;

use crate::config::{CacheMode, WorkerSettings};
use crate::course::layout::Selection;
use crate::course::{Format, Kind, Lang, RelPath};
use crate::engine::course::Course;
use crate::error::{Error, Result};

use super::session;

/// What to make, and how much at once.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct MakeArgs {
    /// Languages to make: codes such as `de`, of which the course has outputs
    #[arg(short = 'L', long, value_delimiter = ',', value_name = "LANG,..", value_parser = Lang::from_str)]
    pub languages: Vec<Lang>,
    /// Kinds to make: code-along, completed, trainer, recording, partial
    #[arg(long, value_delimiter = ',', value_name = "KIND,..", value_parser = parse_kind)]
    pub kinds: Vec<Kind>,
    /// Formats to make: html, notebook, code
    #[arg(long, value_delimiter = ',', value_name = "FORMAT,..", value_parser = parse_format)]
    pub formats: Vec<Format>,
    /// Output targets to make
    #[arg(short = 'T', long, value_delimiter = ',', value_name = "NAME,..")]
    pub targets: Vec<String>,
    /// Sections to make: id, number or part of the name
    #[arg(long, value_delimiter = ',', value_name = "SECTION,..")]
    pub only_sections: Vec<String>,
    /// Execute no decks now: make notebooks, code, diagrams and copies only
    #[arg(long)]
    pub fast: bool,
    /// Report an error, instead of moving it to `.clm/replaced`, for a file that clm did not make and that is where an output belongs
    #[arg(long)]
    pub no_replace: bool,
    /// How the shared cache is used [default: `mode` of `[cache]` in `clm.toml`, else `read-write`, or `read` for pull requests]
    #[arg(long, value_enum, value_name = "MODE")]
    pub cache_mode: Option<CacheMode>,
    /// How many workers of each kind run at once
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// How many workers of a kind run at once, such as `notebook=2,html=1,plantuml=2,drawio=1`
    #[arg(long, value_name = "KIND=N,..", value_parser = WorkerSettings::parse)]
    pub workers: Option<WorkerSettings>,
}

impl MakeArgs {
    /// Sets what overrides the settings of a course.
    pub(super) fn apply_to(&self, course: &mut Course) {
        let cache = &mut course.settings.cache;
        cache.mode = self.cache_mode.or(cache.mode);
    }

    /// Returns the selected outputs.
    pub(super) fn selection(&self) -> Selection {
        Selection {
            languages: some(&self.languages),
            kinds: some(&self.kinds),
            formats: some(&self.formats),
            targets: some(&self.targets),
            sections: some(&self.only_sections),
        }
    }

    /// Returns the number of workers of each kind.
    pub(super) fn worker_settings(&self, course: &Course) -> WorkerSettings {
        let mut settings = course.settings.workers.clone();
        if let Some(jobs) = self.jobs {
            let jobs = usize::from(jobs);
            settings.override_with(&WorkerSettings {
                notebook: Some(jobs),
                html: Some(jobs),
                plantuml: Some(jobs),
                drawio: Some(jobs),
            });
        }
        if let Some(workers) = &self.workers {
            settings.override_with(workers);
        }
        settings
    }
}

fn some<T: Clone>(items: &[T]) -> Option<Vec<T>> {
    (!items.is_empty()).then(|| items.to_vec())
}

fn parse_kind(text: &str) -> Result<Kind, String> {
    let names = Kind::ALL.map(Kind::name).join("`, `");
    Kind::parse(text).ok_or_else(|| format!("there are `{names}`"))
}

fn parse_format(text: &str) -> Result<Format, String> {
    Format::parse(text).ok_or_else(|| "there are `html`, `notebook` and `code`".to_owned())
}

/// Converts paths as the user names them to paths of sources.
pub(super) fn source_paths(paths: &[PathBuf], course: &Course) -> Result<Vec<RelPath>> {
    paths.iter().map(|path| source_path(path, course)).collect()
}

/// Returns an absolute path with symbolic links resolved except in its last component: a source may be a link inside
/// the course, and a deleted source still has a name.
pub(super) fn real_path(path: &Path) -> Result<PathBuf> {
    let from_cwd = session::current_dir()?.join(path);
    let parent = from_cwd
        .parent()
        .and_then(|parent| parent.canonicalize().ok());
    Ok(match (parent, from_cwd.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => from_cwd,
    })
}

/// Converts a path as the user names it to the path of a source: relative to the working directory, or else to the
/// course root.
fn source_path(path: &Path, course: &Course) -> Result<RelPath> {
    let root = &course.place.root;
    if let Some(path) = RelPath::below(root, &real_path(path)?) {
        return Ok(path);
    }
    RelPath::new(&path.to_string_lossy())
        .ok()
        .filter(|path| path.under(root).exists())
        .ok_or_else(|| {
            Error::usage(format!("`{}` is not a file of the course", path.display()))
                .hint(format!("the course root is `{}`", root.display()))
        })
}
