//! The messages to readers, as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::course::words::Localized;
use crate::course::{Kind, Lang};
use crate::diagnostic::Diagnostic;
use crate::events::{
    ActionKind, Counts, IndexClass, IndexOutput, IndexSection, IndexTarget, RunStanding, Status,
};

use super::catalog::Catalog;
use super::model::{ActionState, Made, Model};

/// The whole state, or its changes since a change.
#[derive(Serialize)]
pub(super) struct State {
    /// The identity of this server: numbers of changes are valid only for the same one.
    pub epoch: u64,
    /// The last change that is included.
    pub change: u64,
    /// The server's clock, in milliseconds since 1970.
    pub now_ms: u64,
    /// The course; omitted if it has not changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub course: Option<Course>,
    /// Actions that changed.
    pub actions: Vec<Action>,
    /// Outputs of the course that changed; empty with a course, which contains all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub made: Vec<MadeOutput>,
    /// All valid diagnostics; omitted if they have not changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnostics: Option<Vec<Diagnostic>>,
    /// The last run; omitted if it has not changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
}

/// The content of a course.
#[derive(Serialize)]
pub(super) struct Course {
    /// Its name.
    pub title: Localized,
    /// Its sections.
    pub sections: Vec<IndexSection>,
    /// Its targets.
    pub targets: Vec<IndexTarget>,
    /// The sources of its outputs.
    pub sources: Vec<String>,
    /// Its outputs.
    pub outputs: Vec<Output>,
    /// The titles of pages by their source, in a folder without `course.xml`. Its sections are directories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub titles: Option<BTreeMap<String, String>>,
}

/// An output. Sources, targets and sections are identified by their position in the course, actions by their number.
#[derive(Serialize)]
pub(super) struct Output {
    /// Its path below its target's directory.
    pub path: String,
    /// Its source.
    pub source: usize,
    /// The number of its action.
    pub action: Option<usize>,
    /// Its target.
    pub target: usize,
    /// Its section.
    pub section: Option<usize>,
    /// Its topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Its language.
    pub lang: Lang,
    /// What it is.
    pub class: IndexClass,
    /// The audience.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// When it was made, in milliseconds since 1970; `None` if it does not exist.
    pub made_ms: Option<u64>,
}

/// The time when an output was made.
#[derive(Serialize)]
pub(super) struct MadeOutput {
    /// Its position in the course.
    pub output: usize,
    /// The time in milliseconds since 1970; `None` if the output does not exist.
    pub made_ms: Option<u64>,
}

/// The state of an action.
#[derive(Serialize)]
pub(super) struct Action {
    /// Its number, by which outputs refer to it.
    pub number: usize,
    /// Its identity.
    pub id: String,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ActionKind>,
    /// The file the author edits.
    pub source: String,
    /// How it last ended; `None` before its first end.
    pub status: Option<Status>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Its progress; `None` if it is not running.
    pub running: Option<Step>,
}

/// The progress of a running action.
#[derive(Serialize)]
pub(super) struct Step {
    /// What the action does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ActionKind>,
    /// When it began, in milliseconds since 1970.
    pub since_ms: u64,
    /// Steps done.
    pub done: u64,
    /// Steps in all; 0 if unknown.
    pub total: u64,
    /// The current step.
    pub label: String,
}

/// The state of a run.
#[derive(Serialize)]
pub(super) struct Run {
    /// Its number.
    pub run: i64,
    /// Its cause.
    pub trigger: String,
    /// How many actions it has.
    pub actions: u64,
    /// How many of them have ended.
    pub finished: u64,
    /// When it began, in milliseconds since 1970.
    pub since_ms: u64,
    /// The outcomes of its actions; `None` while it runs.
    pub counts: Option<Counts>,
    /// How long it took, in milliseconds; `None` while it runs.
    pub duration_ms: Option<u64>,
}

/// The state of a page of a deck.
#[derive(Default, PartialEq, Serialize)]
pub(super) struct Page {
    /// The identity of this server.
    pub epoch: u64,
    /// Whether the course has this page.
    pub is_known: bool,
    /// The version of its file; `None` if there is none. It is set by the caller, which can access files.
    pub version: Option<String>,
    /// How its action last ended.
    pub status: Option<Status>,
    /// The file the author edits.
    pub source: Option<String>,
    /// The name of the course.
    pub course: String,
    /// Whether it is a page of a folder without `course.xml`.
    pub is_of_folder: bool,
    /// The progress of the deck's actions.
    pub running: Vec<Step>,
    /// Diagnostics about the deck.
    pub diagnostics: Vec<Diagnostic>,
    /// The page of this deck in every language.
    pub languages: Vec<Sibling>,
    /// The page of this deck for every audience.
    pub kinds: Vec<Sibling>,
    /// Addresses of changed files such as images, with the number of the change.
    pub assets: BTreeMap<String, u64>,
}

/// Another page of a deck.
#[derive(PartialEq, Serialize)]
pub(super) struct Sibling {
    /// The language or kind.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Whether it is this page.
    pub is_current: bool,
}

impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        let progress = |step: &Self| (step.kind, step.since_ms, step.done, step.total);
        progress(self) == progress(other) && self.label == other.label
    }
}

impl Model {
    /// Returns everything that has changed since a change, or the whole state without one.
    pub(super) fn since(&self, since: Option<u64>, epoch: u64, now_ms: u64) -> State {
        let since = since.filter(|since| *since >= self.catalog_change && *since <= self.change);
        let is_new = |change: u64| since.is_none_or(|since| change > since);
        let actions = self.actions.iter().enumerate();
        State {
            epoch,
            change: self.change,
            now_ms,
            course: if since.is_none() { self.course() } else { None },
            actions: actions
                .filter(|(_, action)| is_new(action.change))
                .map(|(number, action)| self.action_view(number, action))
                .collect(),
            made: match since {
                None => Vec::new(),
                Some(_) => self
                    .outputs
                    .iter()
                    .enumerate()
                    .filter(|(_, output)| is_new(output.change))
                    .map(|(position, output)| MadeOutput {
                        output: position,
                        made_ms: time(output.made),
                    })
                    .collect(),
            },
            diagnostics: is_new(self.problems_change)
                .then(|| self.standing.diagnostics().cloned().collect()),
            run: self
                .standing
                .run()
                .filter(|_| is_new(self.run_change))
                .map(run_view),
        }
    }

    fn course(&self) -> Option<Course> {
        let catalog = self.catalog.as_ref()?;
        let outputs = catalog.index.outputs.iter().enumerate();
        let titles = catalog.index.folder.as_ref().map(|folder| {
            let titles = folder.titles.iter();
            titles.map(|(source, title)| (source.to_string(), title.clone()))
        });
        Some(Course {
            titles: titles.map(Iterator::collect),
            title: catalog.index.title.clone(),
            sections: catalog.index.sections.clone(),
            targets: catalog.index.targets.clone(),
            sources: catalog.sources.iter().map(ToString::to_string).collect(),
            outputs: outputs
                .map(|(position, output)| Output {
                    path: catalog.below(position).to_owned(),
                    source: catalog.source_of[position],
                    action: self.action_of[position],
                    target: output.target,
                    section: output.section,
                    topic: output.topic.as_deref().map(str::to_owned),
                    lang: output.lang,
                    class: output.class,
                    kind: output.kind,
                    made_ms: time(self.outputs[position].made),
                })
                .collect(),
        })
    }

    /// Returns the state of the page at an address. Its assets are those that changed after `since`.
    pub(super) fn page(&self, address: &str, since: u64, epoch: u64) -> Page {
        let mut page = Page {
            epoch,
            ..Page::default()
        };
        let Some(catalog) = &self.catalog else {
            return page;
        };
        let Some(position) = catalog.by_address(address) else {
            return page;
        };
        let output = &catalog.index.outputs[position];
        page.is_known = true;
        page.course = catalog.index.title.get(output.lang).to_owned();
        page.is_of_folder = catalog.index.folder.is_some();
        page.status = self.action_of[position].and_then(|action| self.actions[action].ended);
        page.source = Some(output.source.to_string());
        page.running = self
            .actions_of(output.source.as_str())
            .filter_map(|action| self.step_of(action))
            .collect();
        page.diagnostics =
            self.problems_of(catalog, output.source.as_str(), output.lang, page.status);
        let sibling = |name: &str, lang, kind| {
            let found = catalog.sibling(position, lang, kind)?;
            Some(Sibling {
                name: name.to_owned(),
                address: catalog.address(found),
                is_current: found == position,
            })
        };
        for lang in catalog.languages() {
            let of_kind = |kind| sibling(lang.name(), lang, kind);
            // A deck may have fewer audiences in another language, so any page is accepted.
            let any = || Kind::ALL.into_iter().find_map(|kind| of_kind(Some(kind)));
            page.languages.extend(of_kind(output.kind).or_else(any));
        }
        page.kinds = Kind::ALL
            .into_iter()
            .filter_map(|kind| sibling(kind.name(), output.lang, Some(kind)))
            .collect();
        page.assets = self.assets(catalog, output, since);
        page
    }

    /// Returns the addresses of files beside a page that changed after `since`, with the numbers of the changes.
    fn assets(&self, catalog: &Catalog, page: &IndexOutput, since: u64) -> BTreeMap<String, u64> {
        let outputs = catalog.index.outputs.iter().zip(&self.outputs).enumerate();
        // A page of a folder may show what lies in another directory.
        let is_folder = catalog.index.folder.is_some();
        let changed = outputs.filter(|(_, (asset, state))| {
            state.file_change > since
                && matches!(state.made, Made::At(_))
                && asset.kind.is_none()
                && (asset.target, asset.lang) == (page.target, page.lang)
                && (is_folder || asset.section == page.section || asset.section.is_none())
        });
        changed
            .map(|(position, (_, state))| (catalog.address(position), state.file_change))
            .collect()
    }

    /// Returns the diagnostics about a source in the order for a page: errors first, and among them those of the page's
    /// language before those of others. If it has failed without an error, errors that belong to no other source are
    /// added.
    fn problems_of(
        &self,
        catalog: &Catalog,
        source: &str,
        lang: Lang,
        status: Option<Status>,
    ) -> Vec<Diagnostic> {
        let of_source = self
            .standing
            .problems()
            .filter_map(|(problem, mut actions)| {
                let is_of_lang = actions.clone().next().is_none()
                    || actions.any(|action| catalog.lang_of(action).is_none_or(|of| of == lang));
                let is_about = problem.file.as_deref() == Some(source);
                is_about.then_some((problem, is_of_lang))
            });
        let mut found: Vec<(&Diagnostic, bool)> = of_source.collect();
        found.sort_by_key(|(problem, is_of_lang)| (!problem.is_error(), !is_of_lang));
        let mut found: Vec<Diagnostic> =
            found.into_iter().map(|(found, _)| found.clone()).collect();
        if status == Some(Status::Failed) && !found.iter().any(Diagnostic::is_error) {
            let of_nobody = self.standing.errors().filter(|problem| {
                let file = problem.file.as_deref().unwrap_or_default();
                self.actions_of(file).next().is_none()
            });
            found.extend(of_nobody.cloned());
        }
        found
    }

    fn step_of(&self, action: &ActionState) -> Option<Step> {
        let running = self.running(action)?;
        Some(Step {
            kind: action.kind,
            since_ms: running.since_ms,
            done: running.done,
            total: running.total,
            label: running.label.clone(),
        })
    }

    fn action_view(&self, number: usize, action: &ActionState) -> Action {
        Action {
            number,
            id: action.id.clone(),
            kind: action.kind,
            source: action.source.clone(),
            status: action.ended,
            duration_ms: action.duration_ms,
            running: self.step_of(action),
        }
    }
}

fn time(made: Made) -> Option<u64> {
    match made {
        Made::At(ms) => Some(ms),
        Made::Unknown | Made::Missing => None,
    }
}

fn run_view(run: &RunStanding) -> Run {
    Run {
        run: run.run,
        trigger: run.trigger.clone(),
        actions: run.actions,
        finished: run.finished,
        since_ms: run.since_ms,
        counts: run.ended.map(|(counts, _)| counts),
        duration_ms: run.ended.map(|(_, duration)| duration),
    }
}
