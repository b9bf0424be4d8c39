//! Templates that may need any amount of memory or time, rendered in a process of their own.
//!
//! This module starts no processes. The caller that can gives them with [`render_apart_with`]; without them, such as in a library,
//! every template is rendered here, within the engine's own accounting.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::{Failure, Limit, Rendered, Template, View};
use crate::course::deck::DeckSource;
use crate::course::{Format, Lang, ProgLang, RelPath};
use crate::error::{BUG_HINT, hint_in_text};
use crate::events::Diagnostic;

/// Runs jobs in processes that have a limit of memory and of time.
pub trait Apart: Send + Sync {
    /// Has a process do [`render_job`] for this job in so many seconds of processor time. It may ask for the texts of
    /// files.
    fn run(
        &self,
        job: &str,
        seconds: u64,
        ask: &mut dyn FnMut(&str) -> Option<String>,
    ) -> Result<String, Ended>;
}

/// Why a process gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It needed more memory than it may have.
    OutOfMemory,
    /// It needed more time than it may have.
    OutOfTime,
    /// It could not be started.
    NotStarted(String),
}

static APART: OnceLock<Box<dyn Apart>> = OnceLock::new();

/// Renders templates that are not plain with these processes from now on.
pub fn render_apart_with(apart: Box<dyn Apart>) {
    // A process has one kind of them.
    let _ = APART.set(apart);
}

pub(super) fn apart() -> Option<&'static dyn Apart> {
    APART.get().map(AsRef::as_ref)
}

/// How many seconds of a processor a template may need.
const SECONDS: u64 = 2;

/// A template and the view to render it for.
#[derive(Serialize, Deserialize)]
struct Job {
    path: RelPath,
    prog_lang: ProgLang,
    deck: String,
    has_templates: bool,
    lang: Lang,
    format: Format,
    author: String,
    organization: String,
    fuel: u64,
}

/// What a job became.
#[derive(Serialize, Deserialize)]
enum Answer {
    Rendered(Rendered),
    Failed(Failure),
}

/// Does a job that [`Apart::run`] was given: renders the template in this process.
pub fn render_job(job: &str, ask: &mut dyn FnMut(&str) -> Option<String>) -> String {
    let job: Job = match serde_json::from_str(job) {
        Ok(job) => job,
        Err(error) => return text_of(&Answer::Failed(internal(&error.to_string()))),
    };
    let source = DeckSource {
        path: &job.path,
        text: &job.deck,
        prog_lang: job.prog_lang,
        companion: None,
        has_templates: job.has_templates,
    };
    let view = View {
        lang: job.lang,
        format: job.format,
        author: &job.author,
        organization: &job.organization,
    };
    let mut template = Template::new(&source);
    template.environment.set_fuel(Some(job.fuel));
    let answer = match template.render_here(&view, ask) {
        Ok(rendered) => Answer::Rendered(rendered),
        Err(failure) => Answer::Failed(failure),
    };
    text_of(&answer)
}

fn text_of(answer: &Answer) -> String {
    // Texts and numbers can always be written.
    serde_json::to_string(answer).unwrap_or_default()
}

fn internal(reason: &str) -> Failure {
    let message = format!("clm's own process for the deck's template failed: {reason}");
    Failure {
        diagnostic: Diagnostic::error(message).hint(BUG_HINT),
        limit: None,
    }
}

/// The system starts no process: the deck is not the cause.
fn not_started(reason: &str) -> Failure {
    let message = format!("no process could be started for the deck's template: {reason}");
    let mut diagnostic = Diagnostic::error(message);
    diagnostic.hint = hint_in_text(reason).map(str::to_owned);
    Failure {
        diagnostic,
        limit: None,
    }
}

/// Renders a template for a view in a process of its own.
pub(super) fn render(
    apart: &dyn Apart,
    template: &Template,
    view: &View<'_>,
    sibling: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<Rendered, Failure> {
    let mut run = |fuel: u64, seconds: u64| -> Result<Answer, Ended> {
        let job = Job {
            path: template.path.clone(),
            prog_lang: template.prog_lang,
            deck: template.deck.clone(),
            has_templates: template.has_templates,
            lang: view.lang,
            format: view.format,
            author: view.author.to_owned(),
            organization: view.organization.to_owned(),
            fuel,
        };
        let job = serde_json::to_string(&job).map_err(|e| Ended::NotStarted(e.to_string()))?;
        let answer = apart.run(&job, seconds, sibling)?;
        Ok(serde_json::from_str(&answer)
            .unwrap_or_else(|error| Answer::Failed(internal(&error.to_string()))))
    };
    let limit = match run(super::FUEL, SECONDS) {
        Ok(Answer::Rendered(rendered)) => return Ok(rendered),
        Ok(Answer::Failed(failure)) => return Err(failure),
        Err(Ended::NotStarted(reason)) => {
            return Err(not_started(&reason));
        }
        Err(Ended::OutOfMemory) => Limit::Memory,
        Err(Ended::OutOfTime) => Limit::Time,
    };
    // Processes that run out of time are slow.
    let deaths = if limit == Limit::Time { 4 } else { MAX_DEATHS };
    let line = line_of_death(deaths, |fuel| match run(fuel, 1) {
        Ok(Answer::Failed(failure)) => Probe::of(&failure),
        // It is not the same each time after all.
        Ok(Answer::Rendered(_)) | Err(Ended::NotStarted(_)) => Probe::Other,
        Err(_) => Probe::Dead,
    });
    Err(super::explain::beyond(limit, &template.path, line))
}

/// How rendering with little fuel ended.
pub(super) enum Probe {
    /// The fuel ended first, in this line.
    OutOfFuel(Option<u32>),
    /// As with all the fuel: beyond another limit, which has no line.
    Dead,
    /// In another way.
    Other,
}

impl Probe {
    pub(super) fn of(failure: &Failure) -> Self {
        match failure.limit {
            Some(Limit::Fuel) => Self::OutOfFuel(failure.diagnostic.line),
            Some(_) => Self::Dead,
            None => Self::Other,
        }
    }
}

/// The line in which a template goes beyond a limit. Where that happens does not say so itself: a process that dies has
/// no words. But rendering takes the same steps each time, so with ever less fuel it ends with an error just before that
/// step, and this error has the line.
/// Rendering beyond the limit is the slow part, so that happens `max_deaths` times at most.
pub(super) fn line_of_death(
    max_deaths: usize,
    mut render: impl FnMut(u64) -> Probe,
) -> Option<u32> {
    let (mut alive, mut dead) = (0, super::FUEL);
    let mut line = None;
    let mut deaths = 0;
    while dead - alive > 1 && deaths < max_deaths {
        let is_far = dead == super::FUEL && alive.saturating_mul(4) < dead;
        let fuel = if is_far {
            (alive * 4).max(256)
        } else {
            alive + (dead - alive).div_ceil(16)
        };
        match render(fuel) {
            Probe::OutOfFuel(found) => {
                line = found.or(line);
                alive = fuel;
            }
            Probe::Dead => {
                dead = fuel;
                deaths += 1;
            }
            Probe::Other => break,
        }
    }
    line.or(Some(1))
}

/// How many times rendering ends beyond the limit, at most, while its line is looked for.
pub(super) const MAX_DEATHS: usize = 12;
