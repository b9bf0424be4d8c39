//! Options of `clm build` for a part of the work: one shard of several, or what a range of commits touches.

use clap::Args;

use crate::diagnostic::{Diagnostic, Severity};
use crate::engine::affected::{Affected, Asked};
use crate::engine::course::{Course, Specified};
use crate::engine::{Shard, range};
use crate::error::Result;
use crate::events::{Event, Events};

/// Which part of the work to do.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct PartArgs {
    /// Run only part I of N of the actions that must run, and publish only their outputs: for N machines that fill one
    /// cache
    #[arg(long, value_name = "I/N", value_parser = Shard::parse, conflicts_with = "saved")]
    shard: Option<Shard>,
    /// Only what files concern that differ between a revision and the working tree: a commit, a branch, `A..B` or
    /// `A...B`
    #[arg(
        long,
        visible_alias = "since",
        value_name = "REV",
        conflicts_with_all = ["only", "saved"]
    )]
    affected_by: Option<String>,
}

/// The part of the work that was asked for.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// The shard; `None` if this is the only one.
    pub shard: Option<Shard>,
    /// The touched files; `None` for everything.
    pub affected: Option<Affected>,
    notes: Vec<Diagnostic>,
}

impl PartArgs {
    /// Returns the option that says which commits matter, if it is given.
    pub(super) fn range_option(&self) -> Option<&'static str> {
        self.affected_by.as_ref().map(|_| "--affected-by")
    }

    /// Returns whether a daemon cannot do this work.
    pub(super) fn is_alone(&self) -> bool {
        self.shard.is_some()
    }

    /// Asks git what the range touches. `is_verbose` is whether files that do not matter are reported,
    /// and `is_offline` whether nothing may be fetched.
    pub(super) fn resolve(
        &self,
        course: &Course,
        specified: &Specified,
        is_verbose: bool,
        is_offline: bool,
    ) -> Result<Part> {
        let mut part = Part {
            shard: self.shard.filter(|shard| shard.count > 1),
            ..Part::default()
        };
        let Some(revision) = &self.affected_by else {
            return Ok(part);
        };
        let found = range::compare(&course.place.root, revision)?;
        let asked = Asked::by(course, specified, found.files, Some(&found.top));
        let mut note = |message| part.notes.push(Diagnostic::new(Severity::Note, message));
        found.notes.into_iter().for_each(&mut note);
        if is_verbose {
            for path in &asked.affected.outside {
                note(format!("`{}` is no source", path.display()));
            }
        }
        match asked.everything {
            Some(reason) => note(format!("{reason}: that may concern every output")),
            None => {
                if asked.affected.files.is_empty() {
                    note(format!("no source differs from `{revision}`"));
                }
                part.affected = Some(Affected {
                    is_offline,
                    ..asked.affected
                });
            }
        }
        Ok(part)
    }
}

impl Part {
    /// Emits the notes about it.
    pub(super) fn report(&self, events: &Events) {
        for note in &self.notes {
            events.emit(Event::Diagnostic(note.clone().into()));
        }
    }
}
