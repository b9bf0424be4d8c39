//! `--verify`: runs known actions again and compares the results, which finds what is not deterministic. Outputs, records
//! and cached results stay as they are.

mod difference;
mod sample;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::course::RelPath;
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::events::{ActionKind, Event, Status};
use crate::files;
use crate::plan::{ActionIndex, Make, Recipe};
use crate::store::{CachedResult, Store};
use crate::worker::pool::Pool;
use crate::worker::request::OutcomeStatus;
use crate::worker::{Outcome, Request, WorkerError};

use super::check::AllDecided;
use super::decide::{Decision, Results};
use super::execute::{ATTEMPTS, request};
use super::explain::{Finding, upstream};
use super::{BuildOptions, Engine};

pub(crate) use difference::Difference;
pub(crate) use sample::{Sample, SampleSize};

/// The result of a verification.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verified {
    /// The actions of the sample, in the order of the plan.
    pub actions: Vec<VerifiedAction>,
    /// The number of actions with known results, whether they are in the sample or not.
    pub known: usize,
    /// The number of actions without a known result, which cannot be compared with anything.
    pub unknown: usize,
    /// Whether an error of the course was reported.
    pub has_errors: bool,
}

/// An action of the sample.
#[derive(Clone, Debug)]
pub(crate) struct VerifiedAction {
    /// Its identity.
    pub id: Arc<str>,
    /// What it does.
    pub kind: ActionKind,
    /// The file the author edits.
    pub source: RelPath,
    /// What was found.
    pub verdict: Verdict,
}

/// What was found about an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It gave the same result.
    Same,
    /// It gave another result.
    Differs(Vec<Difference>),
    /// It could not be compared, for this reason.
    Skipped(String),
}

/// The known result of an action.
enum Known {
    Made(Results),
    Failed(CachedResult),
}

/// What is the same for all actions.
struct Verification<'a> {
    engine: &'a Engine,
    decided: &'a AllDecided<'a>,
    pool: Pool,
    cancel: CancellationToken,
}

/// A request that a worker has.
struct Asked {
    index: ActionIndex,
    recipe: Arc<Recipe>,
    out: PathBuf,
    started: Instant,
}

type Answer = (Asked, Result<Outcome, WorkerError>);

impl Engine {
    /// Runs a sample of the selected actions with known results again, and compares the results.
    pub(crate) fn verify(
        &self,
        options: &BuildOptions,
        sample: Sample,
        runtime: &Runtime,
    ) -> Result<Verified> {
        self.look_and_decide(&options.selection, &options.force, |mut decided| {
            let has_errors = self.report(None, &decided.loaded.diagnostics);
            let selected = decided.select(self, options)?;
            let actions = &decided.loaded.plan.actions;
            let mut indices = Vec::new();
            let mut keys = Vec::new();
            let mut unknown = 0;
            for (index, selected) in selected.into_iter().enumerate() {
                if !selected || !ActionKind::OF_WORKERS.contains(&actions[index].kind) {
                    continue;
                }
                match known(&decided.findings[index]) {
                    Some((key, _)) => {
                        indices.push(index);
                        keys.push(key);
                    }
                    None => unknown += 1,
                }
            }
            let chosen = sample.of(&keys);
            let chosen: Vec<ActionIndex> = chosen.into_iter().map(|at| indices[at]).collect();
            let verification = Verification {
                engine: self,
                decided: &decided,
                pool: self.start_pool_without_records(),
                cancel: self.cancel.child_token(),
            };
            let found = runtime.block_on(async {
                let found = verification.run(&chosen, options.fail_fast).await;
                self.end_pool(&verification.pool).await;
                found
            })?;
            Ok(Verified {
                actions: found,
                known: indices.len(),
                unknown,
                has_errors,
            })
        })
    }
}

/// Returns the key and the known result of an action, if there is one.
fn known(finding: &Finding) -> Option<(Digest, Known)> {
    let Finding::Decided(decided) = finding else {
        return None;
    };
    let known = match &decided.decision {
        Decision::Fresh(results) | Decision::Restorable(results) => Known::Made(results.clone()),
        Decision::Remembered(result) => Known::Failed(result.clone()),
        Decision::Stale(_) | Decision::Invalid(_) => return None,
    };
    Some((decided.key, known))
}

impl Verification<'_> {
    async fn run(&self, chosen: &[ActionIndex], fail_fast: bool) -> Result<Vec<VerifiedAction>> {
        // Requests of pages are large, so only a few wait for a worker.
        let kinds = ActionKind::OF_WORKERS.iter();
        let at_once = 2 * kinds.map(|kind| self.pool.slots(*kind)).sum::<usize>();
        let mut found: Vec<(ActionIndex, Verdict)> = Vec::new();
        let mut asked: JoinSet<Answer> = JoinSet::new();
        let mut remaining = chosen.iter();
        loop {
            while asked.len() < at_once
                && !self.cancel.is_cancelled()
                && let Some(index) = remaining.next()
            {
                if let Some(reason) = self.ask(*index, &mut asked)? {
                    found.push((*index, Verdict::Skipped(reason)));
                }
            }
            let Some(answer) = asked.join_next().await else {
                break;
            };
            let answer = answer
                .map_err(|error| Error::bug(format!("a request was not answered: {error}")))?;
            let (index, verdict) = self.compare(answer)?;
            if matches!(verdict, Verdict::Differs(_)) && fail_fast {
                self.cancel.cancel();
            }
            found.push((index, verdict));
        }
        if self.engine.cancel.is_cancelled() {
            return Err(Error::interrupted());
        }
        found.sort_by_key(|(index, _)| *index);
        let actions = found.into_iter().map(|(index, verdict)| {
            let action = &self.decided.loaded.plan.actions[index];
            VerifiedAction {
                id: Arc::clone(&action.id),
                kind: action.kind,
                source: action.source.clone(),
                verdict,
            }
        });
        Ok(actions.collect())
    }

    /// Lets a worker run an action. Returns the reason if that is not possible.
    fn ask(&self, index: ActionIndex, asked: &mut JoinSet<Answer>) -> Result<Option<String>> {
        let AllDecided {
            loaded,
            recipes,
            findings,
            staging,
            ..
        } = self.decided;
        let action = &loaded.plan.actions[index];
        let Some(recipe) = recipes.recipe(index) else {
            return Ok(Some(CHANGED.to_owned()));
        };
        let number = index as u64;
        let out = staging.job_dir(number)?;
        let upstream = upstream(action, findings);
        let course = &self.engine.course;
        let request = request::request(
            number,
            &recipe,
            &upstream,
            course.place.root.clone(),
            out.clone(),
            &course.settings.diagrams,
            &self.engine.store,
        )?;
        let Some(request) = request else {
            return Ok(Some("a result that it needs is lost".to_owned()));
        };
        self.engine.events.emit(Event::ActionStarted {
            action: action.id.to_string(),
            kind: action.kind,
            source: action.source.to_string(),
            reasons: vec!["its result is verified".to_owned()],
        });
        let (pool, cancel) = (self.pool.clone(), self.cancel.clone());
        let progress = request::progress_sink(&self.engine.events, action);
        let asking = Asked {
            index,
            recipe,
            out,
            started: Instant::now(),
        };
        asked.spawn(async move {
            let mut attempt = 1;
            let answer = loop {
                let answer = pool.run(&request, progress.clone(), cancel.clone()).await;
                match answer {
                    Err(error) if error.is_retriable() && attempt < ATTEMPTS => {
                        empty(&request);
                        attempt += 1;
                    }
                    answer => break answer,
                }
            };
            (asking, answer)
        });
        Ok(None)
    }

    fn compare(&self, (asked, answer): Answer) -> Result<(ActionIndex, Verdict)> {
        let Asked {
            index,
            recipe,
            out,
            started,
        } = asked;
        let action = &self.decided.loaded.plan.actions[index];
        let snapshot = &self.decided.sources.snapshot;
        let is_input_unchanged =
            |(path, digest): &(RelPath, Digest)| snapshot.is_unchanged(path, Some(*digest));
        let is_found_unchanged = |(path, digest): &(String, Option<Digest>)| {
            RelPath::new(path).map_or(digest.is_none(), |path| {
                snapshot.is_unchanged(&path, *digest)
            })
        };
        let found = match &self.decided.findings[index] {
            Finding::Decided(decided) => &*decided.discovered,
            Finding::Blocked(_) => &[],
        };
        let is_unchanged =
            action.inputs.iter().all(is_input_unchanged) && found.iter().all(is_found_unchanged);
        let verdict = match answer {
            Err(WorkerError::Missing { what, .. }) => {
                Verdict::Skipped(format!("{what} is not installed"))
            }
            Err(error) => Verdict::Skipped(error.to_string()),
            Ok(_) if !is_unchanged => Verdict::Skipped(CHANGED.to_owned()),
            Ok(outcome) => match known(&self.decided.findings[index]) {
                _ if outcome.status == OutcomeStatus::Cancelled => {
                    Verdict::Skipped("it was cancelled".to_owned())
                }
                None => Verdict::Skipped(CHANGED.to_owned()),
                Some((_, known)) => {
                    let store = &self.engine.store;
                    let differences = differences(&recipe, &known, &outcome, &out, store)?;
                    match differences.is_empty() {
                        true => Verdict::Same,
                        false => Verdict::Differs(differences),
                    }
                }
            },
        };
        let _ = std::fs::remove_dir_all(&out);
        self.report(index, &verdict, started.elapsed());
        Ok((index, verdict))
    }

    fn report(&self, index: ActionIndex, verdict: &Verdict, took: Duration) {
        let action = &self.decided.loaded.plan.actions[index];
        let (engine, status) = (self.engine, status_of(verdict));
        if let Verdict::Differs(differences) = verdict {
            let diagnostics: Vec<Diagnostic> = differences
                .iter()
                .map(|difference| diagnostic(&action.source, difference))
                .collect();
            engine.report(Some(&action.id), &diagnostics);
        }
        engine.events.emit(Event::ActionFinished {
            action: action.id.to_string(),
            kind: action.kind,
            source: action.source.to_string(),
            status,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            replayed: false,
            cause: None,
            not_made: 0,
            machine: None,
        });
    }
}

/// The reason why an action is not compared whose sources are not those of its known result.
const CHANGED: &str = "a source changed meanwhile";

fn status_of(verdict: &Verdict) -> Status {
    match verdict {
        Verdict::Same => Status::Fresh,
        Verdict::Differs(_) => Status::Failed,
        Verdict::Skipped(_) => Status::Superseded,
    }
}

/// Removes what a failed attempt left in the directory of a request.
fn empty(request: &Request) {
    let _ = std::fs::remove_dir_all(&request.out);
    let _ = crate::private::create_dir_all(&request.out);
}

/// Compares the outcome of an action with its known result.
fn differences(
    recipe: &Recipe,
    known: &Known,
    outcome: &Outcome,
    out: &std::path::Path,
    store: &Store,
) -> Result<Vec<Difference>> {
    let said = |diagnostics: &[Diagnostic]| {
        let error = diagnostics.iter().find(|found| found.is_error())?;
        Some(error.message.clone())
    };
    let results = match (known, outcome.status) {
        (Known::Failed(_), OutcomeStatus::Failed) => return Ok(Vec::new()),
        (Known::Failed(result), _) => {
            return Ok(vec![Difference {
                before: said(&result.diagnostics),
                ..Difference::of(None, "whether it fails")
            }]);
        }
        (Known::Made(_), OutcomeStatus::Failed) => {
            return Ok(vec![Difference {
                after: said(&outcome.diagnostics),
                cell: outcome.diagnostics.iter().find_map(|found| found.cell),
                line: outcome.diagnostics.iter().find_map(|found| found.line),
                ..Difference::of(None, "whether it fails")
            }]);
        }
        (Known::Made(results), _) => results,
    };
    let mut found = Vec::new();
    for (name, digest) in results.iter() {
        let file = out.join(&**name);
        let Ok(after) = files::read(&file) else {
            found.push(Difference::of(Some(name), "whether it is made"));
            continue;
        };
        if Digest::of(&after) == *digest {
            continue;
        }
        let before = store.read_blob(digest)?;
        found.extend(of_bytes(recipe, name, before.as_deref(), &after));
    }
    Ok(found)
}

/// Returns where the bytes of a result differ. The known ones may be lost although the outputs are in their places.
fn of_bytes(recipe: &Recipe, name: &str, before: Option<&[u8]>, after: &[u8]) -> Vec<Difference> {
    let of_lost = || vec![Difference::of(Some(name), format!("the bytes of {name}"))];
    let Some(before) = before else {
        return of_lost();
    };
    match &recipe.make {
        Make::Execute(work) => difference::of_executions(&work.cells, before, after),
        Make::Html(_) => {
            let (before, after) = (
                String::from_utf8_lossy(before),
                String::from_utf8_lossy(after),
            );
            vec![difference::of_texts(
                Some(name),
                &format!("the page {name}"),
                &before,
                &after,
            )]
        }
        _ => vec![difference::of_sizes(
            Some(name),
            "the diagram",
            before.len(),
            after.len(),
        )],
    }
}

/// Returns the message for the author about a difference.
fn diagnostic(source: &RelPath, difference: &Difference) -> Diagnostic {
    let output = match difference.output {
        Some(number) if number > 1 => format!(" (output {number})"),
        _ => String::new(),
    };
    let message = format!(
        "it is not deterministic: {}{output} differs when it is made again",
        difference.what
    );
    let mut diagnostic = Diagnostic::error(message).at(source.as_str(), difference.line);
    diagnostic.cell = difference.cell;
    diagnostic.detail = difference.detail();
    match difference.cell {
        Some(_) => diagnostic.hint(
            "set the seeds of random numbers, and keep times, addresses and the order of sets out of outputs",
        ),
        None => diagnostic,
    }
}
