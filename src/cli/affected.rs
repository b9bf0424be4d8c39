//! `clm affected`: which specifications and outputs depend on some files.

mod files;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::config::{Place, specs_below};
use crate::course::path::name_of;
use crate::diagnostic::{Diagnostic, Severity};
use crate::engine::affected::{Asked, Records};
use crate::engine::course::{Course, Specified};
use crate::engine::range::{self, Differences};
use crate::error::{Error, Result};
use crate::store::{Store, database_inode};
use crate::ui;

use super::session::{self, CourseArgs};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm affected --since origin/main                   what the branch touches\n\
    \x20 clm affected slides/m/topic_010_a/a.csv --outputs  what a file is used for")]
pub(super) struct AffectedArgs {
    /// Sources, existing or deleted; `-` reads them from the standard input, one a line or with NUL after each
    #[arg(value_name = "FILES")]
    files: Vec<PathBuf>,
    /// Also what files concern that differ between a revision and the working tree: a commit, a branch, `A..B` or
    /// `A...B`
    #[arg(long, visible_alias = "affected-by", value_name = "REV")]
    since: Option<String>,
    /// The specifications to look at [default: all of the repository]
    #[arg(long, num_args = 1.., value_name = "SPEC")]
    specs: Vec<PathBuf>,
    /// Course root of all of them, which holds `slides/` [default: the specification's directory, or its parent]
    #[arg(short = 'd', long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print the outputs instead of the specifications
    #[arg(long, conflicts_with = "json")]
    outputs: bool,
    /// Print JSON: also the reasons, the sources, and the files that concern nothing
    #[arg(long)]
    json: bool,
}

/// The answer as JSON.
#[derive(Debug, Default, Serialize)]
struct Report {
    specs: Vec<Concerned>,
    /// Files of which no course is known to read them.
    unknown: BTreeSet<String>,
    /// Files that are in no course.
    outside: BTreeSet<String>,
}

/// A specification that files concern.
#[derive(Debug, Serialize)]
struct Concerned {
    spec: String,
    reason: String,
    outputs: BTreeSet<String>,
    removed: BTreeSet<String>,
    sources: BTreeSet<String>,
}

/// Runs the command and returns the exit code.
pub(super) fn run(args: &AffectedArgs) -> Result<u8> {
    if args.files.is_empty() && args.since.is_none() {
        let error = Error::usage("neither files nor a range of commits are given");
        return Err(error.hint(
            "name files, or `-` for those on the standard input, or `--since REV` for what git knows",
        ));
    }
    let cwd = session::current_dir()?;
    let top = range::top_of(&cwd).ok();
    let compared = args
        .since
        .as_deref()
        .map(|revision| range::compare(&cwd, revision));
    let compared = compared.transpose()?;
    let notes = compared.iter().flat_map(|compared| &compared.notes);
    let notes = notes.map(|note| Diagnostic::new(Severity::Note, note.clone()));
    ui::print_diagnostics(&notes.collect::<Vec<_>>());
    let (compared, touched) = compared
        .map(|compared| (compared.top, compared.files))
        .unzip();
    let mut touched = touched.unwrap_or_default();
    for (path, before) in files::named(&args.files, &cwd, top.as_deref())? {
        touched.entry(path).or_insert(before);
    }
    let specs = match args.specs.is_empty() {
        false => args.specs.iter().map(|spec| cwd.join(spec)).collect(),
        true => all_specs(&cwd, top.as_deref())?,
    };
    let mut search = Search {
        cwd: &cwd,
        data_dir: args.data_dir.as_deref(),
        touched: &touched,
        compared: compared.as_deref(),
        records: HashMap::new(),
        known: BTreeSet::new(),
        unknown: BTreeSet::new(),
        report: Report::default(),
    };
    for spec in specs {
        search.look_at(&spec);
    }
    print(args, &search.end());
    Ok(0)
}

fn all_specs(cwd: &Path, top: Option<&Path>) -> Result<BTreeSet<PathBuf>> {
    let found = specs_below(top.unwrap_or(cwd));
    if !found.is_empty() {
        return Ok(found);
    }
    // Without a repository: the course around the working directory.
    let place = Place::find(None, None, cwd)?;
    Ok(BTreeSet::from([place.spec]))
}

fn print(args: &AffectedArgs, report: &Report) {
    if args.json {
        ui::data(&format!("{}\n", serde_json::json!(report)));
        return;
    }
    let mut lines = BTreeSet::new();
    for concerned in &report.specs {
        match args.outputs {
            true => lines.extend(&concerned.outputs),
            false => drop(lines.insert(&concerned.spec)),
        }
    }
    for line in lines {
        ui::data(&format!("{line}\n"));
    }
}

/// The search over several specifications.
struct Search<'a> {
    cwd: &'a Path,
    data_dir: Option<&'a Path>,
    touched: &'a Differences,
    /// The working tree of which these are all that git sees, if there is one.
    compared: Option<&'a Path>,
    /// What is recorded, by the directory of the records.
    records: HashMap<PathBuf, Records>,
    /// Files that some course knows.
    known: BTreeSet<PathBuf>,
    /// Files in the directory of a course that does not know them.
    unknown: BTreeSet<PathBuf>,
    report: Report,
}

impl Search<'_> {
    /// Adds what concerns a course. One that is broken counts as concerned, so that building it tells what is wrong.
    fn look_at(&mut self, spec: &Path) {
        let course_args = CourseArgs {
            spec: Some(spec.to_path_buf()),
            data_dir: self.data_dir.map(Path::to_path_buf),
            ..CourseArgs::default()
        };
        let place = course_args.place();
        let looked = course_args.course().and_then(|course| {
            let specified = course.specification()?;
            self.look_into(&course, &specified)
        });
        let Err(error) = looked else { return };
        let place = place.ok();
        ui::print_error(&error, None, place.as_ref());
        if let Some(place) = &place {
            let below = self
                .touched
                .keys()
                .filter(|file| file.starts_with(&place.root));
            self.known.extend(below.cloned());
        }
        self.report.specs.push(Concerned {
            spec: name_of(self.cwd, spec),
            reason: format!("it cannot be planned: {}", error.message()),
            outputs: BTreeSet::new(),
            removed: BTreeSet::new(),
            sources: BTreeSet::new(),
        });
    }

    fn look_into(&mut self, course: &Course, specified: &Specified) -> Result<()> {
        let asked = Asked::by(course, specified, self.touched.clone(), self.compared);
        let state_dir = course.place.state_dir();
        if !self.records.contains_key(&state_dir) {
            self.records.insert(state_dir.clone(), records(&state_dir));
        }
        let answer = course.concerned(specified, &asked, &self.records[&state_dir])?;
        let root = &course.place.root;
        for file in self
            .touched
            .keys()
            .filter(|file| !asked.affected.outside.contains(file))
        {
            let is_unknown =
                |path: &Path| answer.unknown.iter().any(|other| other.under(root) == path);
            match is_unknown(file) {
                true => self.unknown.insert(file.clone()),
                false => self.known.insert(file.clone()),
            };
        }
        if !answer.is_affected {
            return Ok(());
        }
        let first = answer.causes.first();
        let reason = match (answer.everything, first, answer.causes.len()) {
            (Some(reason), ..) => format!("{reason}: that may concern every output"),
            (None, Some(path), 1) => format!("it depends on `{path}`"),
            (None, Some(path), count) => format!("it depends on `{path}` and {} more", count - 1),
            (None, None, _) => {
                "a file changed that a deck or a diagram was found to read".to_owned()
            }
        };
        self.report.specs.push(Concerned {
            spec: name_of(self.cwd, &course.place.spec),
            reason,
            outputs: answer.outputs,
            removed: answer.removed,
            sources: answer.sources.iter().map(ToString::to_string).collect(),
        });
        Ok(())
    }

    /// Returns the whole answer.
    fn end(self) -> Report {
        let mut report = self.report;
        for file in self.touched.keys() {
            let name = name_of(self.cwd, file);
            if self.known.contains(file) {
                continue;
            }
            match self.unknown.contains(file) {
                true => report.unknown.insert(name),
                false => report.outside.insert(name),
            };
        }
        report
    }
}

/// Reads what earlier builds recorded, if there were any. Without it the answer has more, and nothing is missing.
fn records(state_dir: &Path) -> Records {
    if database_inode(state_dir).is_none() {
        return Records::default();
    }
    let read = || -> Result<Records> {
        let (store, diagnostics) = Store::open(state_dir)?;
        ui::print_diagnostics(&diagnostics);
        Records::read(&store)
    };
    read().unwrap_or_else(|error| {
        let message = format!("the records are not used: {}", error.message());
        ui::print_diagnostics(&[Diagnostic::warning(message)]);
        Records::default()
    })
}
