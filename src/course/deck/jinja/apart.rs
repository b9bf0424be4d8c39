//! Rendering in a separate process, for templates that may need any amount of memory or time.
//!
//! This module does not start processes itself: the program passes an implementation to [`render_apart_with`]. Without
//! it, as in a library, every template is rendered in this process, within the limits of the engine.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::{Failure, Limit, Rendered, Template, View};
use crate::course::deck::DeckSource;
use crate::course::{Format, Lang, ProgLang, RelPath};
use crate::diagnostic::Diagnostic;
use crate::error::{BUG_HINT, hint_in_text};

/// Runs jobs in processes with a limit of memory and time.
pub trait Apart: Send + Sync {
    /// Runs [`render_job`] for this job in another process, with a limit of processor time in seconds. The process may
    /// request the texts of files from `ask`.
    fn run(
        &self,
        job: &str,
        seconds: u64,
        ask: &mut dyn FnMut(&str) -> Option<String>,
    ) -> Result<String, Ended>;
}

/// The reason why a process gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It exceeded its limit of memory.
    OutOfMemory,
    /// It exceeded its limit of time.
    OutOfTime,
    /// It could not be started.
    NotStarted(String),
}

static APART: OnceLock<Box<dyn Apart>> = OnceLock::new();

/// Sets the implementation for templates that are not plain. Later calls have no effect.
pub fn render_apart_with(apart: Box<dyn Apart>) {
    // There is one implementation per process.
    let _ = APART.set(apart);
}

pub(super) fn apart() -> Option<&'static dyn Apart> {
    APART.get().map(AsRef::as_ref)
}

/// The limit of processor time for a template.
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

/// The outcome of a job.
#[derive(Serialize, Deserialize)]
enum Answer {
    Rendered(Rendered),
    Failed(Failure),
}

/// Runs a job of [`Apart::run`]: renders the template in this process, and returns the serialized answer.
pub(crate) fn render_job(job: &str, ask: &mut dyn FnMut(&str) -> Option<String>) -> String {
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
    // Texts and numbers can always be serialized.
    serde_json::to_string(answer).unwrap_or_default()
}

fn internal(reason: &str) -> Failure {
    let message = format!("clm's own process for the deck's template failed: {reason}");
    Failure {
        diagnostic: Diagnostic::error(message).hint(BUG_HINT),
        limit: None,
    }
}

/// Returns the error that the system could not start a process, which is not the deck's fault.
fn not_started(reason: &str) -> Failure {
    let message = format!("no process could be started for the deck's template: {reason}");
    let mut diagnostic = Diagnostic::error(message);
    diagnostic.hint = hint_in_text(reason).map(str::to_owned);
    Failure {
        diagnostic,
        limit: None,
    }
}

/// Renders a template for a view in a separate process.
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
    // Fewer attempts if each of them runs until the time limit.
    let deaths = if limit == Limit::Time { 4 } else { MAX_DEATHS };
    let line = line_of_death(deaths, |fuel| match run(fuel, 1) {
        Ok(Answer::Failed(failure)) => Probe::of(&failure),
        // Rendering was not deterministic.
        Ok(Answer::Rendered(_)) | Err(Ended::NotStarted(_)) => Probe::Other,
        Err(_) => Probe::Dead,
    });
    Err(super::explain::beyond(limit, &template.path, line))
}

/// The outcome of rendering with a limited amount of fuel.
pub(super) enum Probe {
    /// The fuel ran out first, in this line.
    OutOfFuel(Option<u32>),
    /// It exceeded another limit, as with all the fuel. There is no line.
    Dead,
    /// Any other outcome.
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

/// Finds the line in which a template exceeds a limit. A process that is ended there cannot report the line itself. But
/// rendering is deterministic, so with the right amount of fuel it runs out just before that step, and this error has
/// the line. Exceeding the limit is the slow case, so this happens at most `max_deaths` times.
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

/// How often [`line_of_death`] may exceed the limit, if that is not especially slow.
pub(super) const MAX_DEATHS: usize = 12;
