//! Build farms: actions of a course that servers of the Remote Execution API, version 2, execute.
//!
//! A farm never makes a result wrong and never fails a build: what it answers is compared with what is here, and what it
//! cannot do, does not do in time or does otherwise is [not made](NotMade), and the caller makes it.

mod action;
mod client;
mod inputs;
mod load;
pub(crate) mod order;
mod task;
pub(crate) mod tree;
mod trouble;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bazel_remote_apis::build::bazel::remote::execution::v2 as api;
use tokio_util::sync::CancellationToken;

use crate::course::RelPath;
use crate::diagnostic::Diagnostic;
use crate::remote::{Connection, Credentials, Failure, FarmAddress};
use crate::worker::request::{Elsewhere, OutcomeStatus};
use crate::worker::{Outcome, Request};

pub(crate) use task::{NotMade, Task};

use action::Prepared;
use client::{Broken, Done, Sent};
use inputs::Inputs;
use load::{Load, Place};
use order::{Answer, Made, Order, Refusal};
use trouble::Troubles;

/// How often files that were found to be missing are added, and an action is tried again.
const ATTEMPTS: usize = 8;
/// How long the farm may take to hear that an action is cancelled.
const CANCEL_LIMIT: Duration = Duration::from_millis(500);

/// How a farm is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// The program on the workers.
    pub command: String,
    /// The properties that a worker must have, by the name of the kind of action; those of all kinds are under the empty name.
    pub platform: BTreeMap<String, BTreeMap<String, String>>,
    /// The variables of the program.
    pub environment: BTreeMap<String, String>,
    /// The number of actions that are given to the farm at once.
    pub jobs: usize,
    /// How long an action may take.
    pub timeout: Duration,
    /// How long the farm may take to answer a question, and to begin any action.
    pub wait: Duration,
    /// How long actions may wait for a worker while none of them begins or ends.
    pub max_queue: Duration,
    /// Whether this machine makes something as well while the farm works.
    pub local: bool,
    /// Sources whose actions are made here: files and directories.
    pub here: Vec<RelPath>,
}

/// A farm. Clones share its connection and what is known about its state.
#[derive(Clone)]
pub(crate) struct Farm(Arc<Inner>);

struct Inner {
    address: FarmAddress,
    credentials: Credentials,
    options: Options,
    /// Made for the first action.
    connection: OnceLock<Result<Connection, Failure>>,
    sent: Sent,
    load: Load,
    troubles: Troubles,
}

impl Farm {
    /// Returns the farm at an address. Nothing is connected yet.
    pub(crate) fn new(address: FarmAddress, credentials: Credentials, options: Options) -> Self {
        Self(Arc::new(Inner {
            troubles: Troubles::new(address.to_string()),
            load: Load::new(options.jobs, options.max_queue),
            address,
            credentials,
            options,
            connection: OnceLock::new(),
            sent: Sent::default(),
        }))
    }

    /// Returns its address for messages.
    pub(crate) fn shown(&self) -> String {
        self.0.address.to_string()
    }

    /// Returns whether it is used now. After failures it is not, for some time.
    pub(crate) fn is_available(&self) -> bool {
        self.0.troubles.is_usable()
    }

    /// Returns whether this machine makes something as well of what the farm could make.
    pub(crate) fn makes_some_here(&self) -> bool {
        self.0.options.local
    }

    /// Returns whether work of a renderer on a source may be done there.
    pub(crate) fn accepts(&self, source: &RelPath, renderer: &str) -> bool {
        let is_here = self
            .0
            .options
            .here
            .iter()
            .any(|path| source.starts_with(path));
        !is_here && !self.0.troubles.refuses(renderer)
    }

    /// Returns whether it takes one more action now.
    pub(crate) fn has_room(&self) -> bool {
        self.is_available() && self.0.load.has_room()
    }

    /// Returns how much longer an action takes there than here, as far as that is known.
    pub(crate) fn round_trip(&self) -> Duration {
        self.0.load.round_trip()
    }

    /// Returns warnings about it that were not reported yet.
    pub(crate) fn take_warnings(&self) -> Vec<Diagnostic> {
        self.0.troubles.take_warnings()
    }

    /// Does some work there. The files it makes are in the directory of its request.
    ///
    /// # Errors
    ///
    /// Why the farm did not do it.
    pub(crate) async fn run(
        &self,
        task: &Task,
        cancel: &CancellationToken,
    ) -> Result<Outcome, NotMade> {
        let place = self.0.load.enter();
        let result = tokio::select! {
            result = self.0.attempts(task, &place) => Some(result),
            () = cancel.cancelled() => None,
        };
        let Some(result) = result else {
            // Sends the cancellation before this process may end.
            if let Some(Ok(connection)) = self.0.connection.get() {
                connection.settle(CANCEL_LIMIT).await;
            }
            return Ok(Outcome::cancelled());
        };
        result.inspect_err(|NotMade(reason)| {
            tracing::debug!(source = %task.request.source, reason, "not made on the farm");
        })
    }

    /// Asks it what it is. Returns that in words.
    ///
    /// # Errors
    ///
    /// Why it cannot be used.
    pub(crate) async fn connect(&self) -> Result<String, Failure> {
        let connection = self.0.connection()?;
        let described = tokio::time::timeout(self.0.options.wait, connection.capabilities()).await;
        match described {
            Err(_) => Err(Failure::TimedOut),
            Ok(Err(status)) => Err(connection.failure(&status)),
            Ok(Ok(said)) => client::described(&said),
        }
    }
}

impl Inner {
    fn connection(&self) -> Result<&Connection, Failure> {
        let connect = || Connection::new(&self.address, &self.credentials, self.options.wait);
        let connection = self.connection.get_or_init(connect);
        connection.as_ref().map_err(Failure::clone)
    }

    /// Tries it, and again with further files as long as it looks for some that were not sent.
    async fn attempts(&self, task: &Task, place: &Place<'_>) -> Result<Outcome, NotMade> {
        let request = &task.request;
        let order = Order::new(
            request.source.clone(),
            request.work.clone(),
            task.fingerprint.clone(),
        );
        let mut inputs = Inputs::of(task).await?;
        for _ in 0..ATTEMPTS {
            let began = Instant::now();
            let mut prepared = Prepared::new(&order, inputs.files(), &self.options)?;
            if task.skips_cache {
                prepared.make_new();
            }
            let (done, made) = self.attempt(&order, &mut prepared, place).await?;
            let differing = inputs.differing(task, &made);
            if differing.is_empty() {
                self.troubles.worked(&order.renderer);
                self.load.ended(began.elapsed(), done.took);
                return self.outcome(request, &prepared, done, made).await;
            }
            let differs = differing.first().cloned();
            if let Err(not_made) = inputs.add(task, differing).await {
                return Err(
                    match differs.filter(|path| path.as_str().starts_with('{')) {
                        // If that goes on, it is not the deck.
                        Some(_) => self.troubles.refused(&order.renderer, elsewhere(&not_made)),
                        None => not_made,
                    },
                );
            }
        }
        Err(NotMade(format!(
            "it went on looking for files that were not sent, {ATTEMPTS} times"
        )))
    }

    /// Runs an action. Returns its result and what that says.
    async fn attempt(
        &self,
        order: &Order,
        prepared: &mut Prepared,
        place: &Place<'_>,
    ) -> Result<(Done, Made), NotMade> {
        loop {
            let done = self.execute(prepared, place).await;
            let done = done.map_err(|broken| match broken {
                Broken::Stuck(failure) => self.troubles.given_up(&failure),
                Broken::Missing(failure) | Broken::Other(failure) => self.troubles.failed(failure),
            })?;
            self.troubles.succeeded();
            // Farms remember failures, too; this one may have been of that moment.
            if done.is_cached && done.result.exit_code != 0 && !prepared.is_new() {
                prepared.make_new();
                continue;
            }
            let answer = self.answer(&done).await;
            return match answer.map_err(|failure| self.troubles.failed(failure))? {
                Some(Answer::Made(made)) => Ok((done, made)),
                Some(Answer::Refused(refusal)) => {
                    Err(self.troubles.refused(&order.renderer, refusal))
                }
                None => {
                    let said = String::from_utf8_lossy(&done.result.stderr_raw)
                        .trim()
                        .to_owned();
                    let code = done.result.exit_code;
                    let refusal = Refusal::new(
                        format!(
                            "`{}` gave no result (exit code {code}): {said}",
                            prepared.shown
                        ),
                        "look at `command` and `environment` of `[farm]` in `clm.toml`, and at the log of a worker",
                    );
                    Err(self.troubles.refused(&order.renderer, refusal))
                }
            };
        }
    }

    /// Sends what the farm does not have, and executes the action.
    async fn execute(&self, prepared: &Prepared, place: &Place<'_>) -> Result<Done, Broken> {
        let connection = self.connection().map_err(Broken::Other)?;
        let sent = self.send(connection, prepared, true).await;
        sent.map_err(Broken::Other)?;
        let run = async || client::execute(connection, prepared, &self.options, place).await;
        match run().await {
            Err(Broken::Missing(failure)) => {
                let sent = self.send(connection, prepared, false).await;
                match sent.map_err(Broken::Other)? {
                    0 => Err(Broken::Missing(failure)),
                    // It had lost something.
                    _ => run().await,
                }
            }
            result => result,
        }
    }

    /// Sends what the farm does not have. Returns how many files that were.
    async fn send(
        &self,
        connection: &Connection,
        prepared: &Prepared,
        trusted: bool,
    ) -> Result<usize, Failure> {
        let sending = self.sent.send(connection, &prepared.blobs, trusted);
        let wait = self.options.wait + prepared.time_to_send();
        let sent = tokio::time::timeout(wait, sending).await;
        sent.map_err(|_| Failure::TimedOut)?
            .map_err(|status| connection.failure(&status))
    }

    /// Returns what a result says; `None` if it says nothing.
    async fn answer(&self, done: &Done) -> Result<Option<Answer>, Failure> {
        let name = format!("{}/{}", order::OUT, order::ANSWER);
        let files = &done.result.output_files;
        let Some(file) = files.iter().find(|file| file.path == name) else {
            return Ok(None);
        };
        let bytes = self
            .fetch(vec![file.digest.clone().unwrap_or_default()])
            .await?;
        let answer = serde_json::from_slice(&bytes.concat());
        let answer =
            answer.map_err(|error| Failure::Wrong(format!("a result cannot be read: {error}")))?;
        Ok(Some(answer))
    }

    /// Fetches files, and checks them.
    async fn fetch(&self, digests: Vec<api::Digest>) -> Result<Vec<Vec<u8>>, Failure> {
        let connection = self.connection()?;
        let size: u64 = digests
            .iter()
            .map(|digest| digest.size_bytes.unsigned_abs())
            .sum();
        let wait = self.options.wait + client::time_for(size);
        let files = tokio::time::timeout(wait, connection.files(&digests)).await;
        let files = files
            .map_err(|_| Failure::TimedOut)?
            .map_err(|status| connection.failure(&status))?;
        let are_right = files
            .iter()
            .zip(&digests)
            .all(|(bytes, digest)| tree::digest_of(bytes) == *digest);
        match are_right {
            true => Ok(files),
            false => {
                // What it says to have may be damaged as well.
                self.sent.forget();
                Err(Failure::Wrong(
                    "a file of a result is not what its name says".to_owned(),
                ))
            }
        }
    }

    /// Writes the files of a result into the directory of the request.
    async fn outcome(
        &self,
        request: &Request,
        prepared: &Prepared,
        done: Done,
        made: Made,
    ) -> Result<Outcome, NotMade> {
        let mut files = Vec::new();
        if made.status == OutcomeStatus::Ok {
            for name in &prepared.outputs {
                let path = format!("{}/{name}", order::OUT);
                let found = done
                    .result
                    .output_files
                    .iter()
                    .find(|file| file.path == path);
                let digest = found.and_then(|file| file.digest.clone());
                let digest =
                    digest.ok_or_else(|| NotMade(format!("its result has no `{name}`")))?;
                files.push((name.clone(), digest));
            }
        }
        let digests = files.iter().map(|(_, digest)| digest.clone()).collect();
        let contents = self.fetch(digests).await;
        let contents = contents.map_err(|failure| self.troubles.failed(failure))?;
        for ((name, _), bytes) in files.iter().zip(contents) {
            write(&request.out, name, &bytes)?;
        }
        let elsewhere = Elsewhere {
            machine: done.machine(),
            took: done.took,
            seen: made.discovered.iter().cloned().collect(),
        };
        Ok(Outcome {
            status: made.status,
            outputs: files.into_iter().map(|(name, _)| name).collect(),
            discovered: made.discovered.into_iter().map(|(path, _)| path).collect(),
            diagnostics: made.diagnostics,
            is_of_machine: made.is_of_machine,
            elsewhere: Some(Box::new(elsewhere)),
        })
    }
}

/// Returns why the result of a worker whose environment is another one is not used.
fn elsewhere(not_made: &NotMade) -> Refusal {
    Refusal {
        hint: Some(
            "install the same packages on the workers and here; what reads other files of a machine belongs to `here` of \
             `[farm]` in `clm.toml`"
                .to_owned(),
        ),
        ..Refusal::accident(not_made.0.clone())
    }
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), NotMade> {
    std::fs::write(dir.join(name), bytes)
        .map_err(|error| NotMade(format!("its result cannot be written: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::Work;
    use crate::worker::request::{ImageFormat, PlantumlWork};

    pub(super) fn options() -> Options {
        Options {
            command: "clm".to_owned(),
            platform: BTreeMap::new(),
            environment: BTreeMap::new(),
            jobs: 4,
            timeout: Duration::from_secs(60),
            wait: Duration::from_secs(5),
            max_queue: Duration::from_secs(60),
            local: true,
            here: vec![RelPath::new("slides/net").unwrap()],
        }
    }

    pub(super) fn order(text: &str) -> Order {
        let work = PlantumlWork {
            text: text.to_owned(),
            format: ImageFormat::Png,
            dpi: 200,
            limit: 8192,
        };
        let source = RelPath::new("a/b.pu").unwrap();
        Order::new(source, Work::Plantuml(work), "1".to_owned())
    }

    #[test]
    fn sources_that_are_made_here_are_not_accepted() {
        let address = FarmAddress {
            authority: "host:1".to_owned(),
            is_secure: false,
            instance: String::new(),
        };
        let farm = Farm::new(address, Credentials::default(), options());
        let accepts = |path: &str| farm.accepts(&RelPath::new(path).unwrap(), "plantuml");
        assert!(accepts("slides/network/a.py") && accepts("slides/a.py"));
        assert!(!accepts("slides/net/a.py") && !accepts("slides/net"));
    }
}
