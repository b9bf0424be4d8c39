//! The requests to a farm: sends actions, has them executed, and cancels what is not needed any more.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use bazel_remote_apis::build::bazel::remote::execution::v2 as api;
use bazel_remote_apis::google::longrunning::operations_client::OperationsClient;
use bazel_remote_apis::google::longrunning::{self, CancelOperationRequest, Operation};
use bazel_remote_apis::google::protobuf::Timestamp;
use prost::Message as _;
use tonic::{Code, Status};

use api::execution_client::ExecutionClient;
use api::execution_stage::Value as ExecutionStage;

use crate::parallel::lock;
use crate::remote::{Connection, Failure};

use super::Options;
use super::action::Prepared;
use super::load::Place;
pub(super) use super::load::Stage;
use super::tree::Blob;

/// How often a farm is asked whether it is still there while it executes something.
const PULSE: Duration = Duration::from_secs(4);
/// The least speed at which files are exchanged, in bytes per second.
const SLOWEST: u64 = 256 * 1024;

/// Returns how long it may take to exchange so many bytes, besides the answer.
pub(super) fn time_for(bytes: u64) -> Duration {
    Duration::from_secs(bytes / SLOWEST)
}

/// The files and messages that a farm was found to have, by hash.
#[derive(Debug, Default)]
pub(super) struct Sent(Mutex<HashSet<String>>);

impl Sent {
    /// Sends what the farm does not have. Returns how many files that were. What was sent before is not asked for again, if
    /// that is `trusted`.
    pub(super) async fn send(
        &self,
        connection: &Connection,
        blobs: &[Blob],
        trusted: bool,
    ) -> Result<usize, Status> {
        let unknown: Vec<&Blob> = {
            let known = lock(&self.0);
            let is_unknown = |blob: &&Blob| !trusted || !known.contains(&blob.digest.hash);
            blobs.iter().filter(is_unknown).collect()
        };
        if unknown.is_empty() {
            return Ok(0);
        }
        let digests = unknown.iter().map(|blob| blob.digest.clone()).collect();
        let missing: HashSet<String> = connection
            .missing(digests)
            .await?
            .into_iter()
            .map(|digest| digest.hash)
            .collect();
        let to_send: Vec<(&api::Digest, &[u8])> = unknown
            .iter()
            .filter(|blob| missing.contains(&blob.digest.hash))
            .map(|blob| (&blob.digest, &*blob.bytes))
            .collect();
        connection.send_all(&to_send).await?;
        let hashes = unknown.iter().map(|blob| blob.digest.hash.clone());
        lock(&self.0).extend(hashes);
        Ok(to_send.len())
    }

    /// Forgets what the farm has: it is asked again.
    pub(super) fn forget(&self) {
        lock(&self.0).clear();
    }
}

/// The result of an action.
#[derive(Debug)]
pub(super) struct Done {
    /// The result.
    pub result: api::ActionResult,
    /// Whether it was made before.
    pub is_cached: bool,
    /// How long the worker took.
    pub took: Duration,
}

impl Done {
    /// Returns the name of the worker.
    pub(super) fn machine(&self) -> String {
        let metadata = self.result.execution_metadata.as_ref();
        let worker = metadata.map(|metadata| metadata.worker.as_str());
        match worker.unwrap_or_default() {
            "" => "the farm".to_owned(),
            worker => format!("{worker} of the farm"),
        }
    }

    fn new(response: api::ExecuteResponse) -> Option<Self> {
        let result = response.result?;
        let metadata = result.execution_metadata.as_ref();
        let took = metadata.and_then(|metadata| {
            let began = metadata.execution_start_timestamp.as_ref()?;
            let ended = metadata.execution_completed_timestamp.as_ref()?;
            Some(since_1970(ended).saturating_sub(since_1970(began)))
        });
        Some(Self {
            is_cached: response.cached_result,
            took: took.unwrap_or_default(),
            result,
        })
    }
}

fn since_1970(time: &Timestamp) -> Duration {
    let seconds = u64::try_from(time.seconds).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.nanos).unwrap_or_default())
}

/// Why an action was not executed.
#[derive(Debug)]
pub(super) enum Broken {
    /// It may have lost what it was sent.
    Missing(Failure),
    /// It waited for a worker in vain, as others would.
    Stuck(Failure),
    /// Another reason.
    Other(Failure),
}

/// Cancels an operation when it is dropped before it has ended.
struct Ongoing<'a> {
    connection: &'a Connection,
    name: String,
}

impl Drop for Ongoing<'_> {
    fn drop(&mut self) {
        if self.name.is_empty() {
            return;
        }
        let mut client = OperationsClient::new(self.connection.channel());
        let request = self.connection.request(CancelOperationRequest {
            name: std::mem::take(&mut self.name),
        });
        // It runs in the background. If the farm does not answer, the action's own time limit ends it.
        self.connection.spawn(async move {
            let cancelled = client.cancel_operation(request).await;
            tracing::debug!(?cancelled, "cancelled on the farm");
        });
    }
}

/// Executes an action that the farm has.
pub(super) async fn execute(
    connection: &Connection,
    prepared: &Prepared,
    options: &Options,
    place: &Place<'_>,
) -> Result<Done, Broken> {
    place.is_at(Stage::Sent);
    let watch = Watch {
        connection,
        options,
        place,
    };
    let request = connection.request(api::ExecuteRequest {
        instance_name: connection.instance().to_owned(),
        action_digest: Some(prepared.digest.clone()),
        skip_cache_lookup: prepared.is_new(),
        ..Default::default()
    });
    let mut client = ExecutionClient::new(connection.channel());
    let answer = watch.over(client.execute(request)).await?;
    let mut messages = answer.into_inner();
    let mut ongoing = Ongoing {
        connection,
        name: String::new(),
    };
    loop {
        let message = watch.over(messages.message()).await?;
        let Some(operation) = message else {
            let reason = "it ended the exchange before the action had ended";
            return Err(Broken::Other(Failure::Wrong(reason.to_owned())));
        };
        ongoing.name.clone_from(&operation.name);
        if operation.done {
            ongoing.name.clear();
            return done(connection, operation);
        }
        match stage(&operation) {
            ExecutionStage::Queued => place.is_at(Stage::Queued),
            ExecutionStage::Executing => place.is_at(Stage::Executing),
            _ => {}
        }
    }
}

fn stage(operation: &Operation) -> ExecutionStage {
    let metadata = operation.metadata.as_ref();
    let metadata = metadata.and_then(|any| api::ExecuteOperationMetadata::decode(&*any.value).ok());
    metadata.map_or(ExecutionStage::Unknown, |metadata| metadata.stage())
}

/// Returns the result of an operation that has ended.
fn done(connection: &Connection, operation: Operation) -> Result<Done, Broken> {
    let response = match operation.result {
        Some(longrunning::operation::Result::Response(any)) => any,
        Some(longrunning::operation::Result::Error(status)) => {
            return Err(broken(
                connection,
                &Status::new(Code::from(status.code), status.message),
            ));
        }
        None => return Err(no_result()),
    };
    let response = api::ExecuteResponse::decode(&*response.value)
        .map_err(|error| Broken::Other(Failure::Wrong(error.to_string())))?;
    if let Some(status) = response.status.as_ref().filter(|status| status.code != 0) {
        let status = Status::new(Code::from(status.code), status.message.clone());
        return Err(broken(connection, &status));
    }
    Done::new(response).ok_or_else(no_result)
}

fn no_result() -> Broken {
    Broken::Other(Failure::Wrong(
        "an action ended without a result".to_owned(),
    ))
}

fn broken(connection: &Connection, status: &Status) -> Broken {
    let text = status.message();
    match status.code() {
        Code::FailedPrecondition => Broken::Missing(Failure::Wrong(format!(
            "it does not take the action (is `[farm.platform]` in `clm.toml` right?): {text}"
        ))),
        Code::InvalidArgument if text.contains("ropert") || text.contains("latform") => {
            Broken::Other(Failure::Wrong(format!(
                "it does not know a property of `[farm.platform]` in `clm.toml`: {text}"
            )))
        }
        Code::Unimplemented => Broken::Other(Failure::Wrong(format!(
            "it stores results, but executes nothing: {text}"
        ))),
        // A worker that does not find a file ends with an error of its own.
        Code::Internal | Code::NotFound => Broken::Missing(connection.failure(status)),
        _ => Broken::Other(connection.failure(status)),
    }
}

/// Looks after a request whose answer may take long.
struct Watch<'a> {
    connection: &'a Connection,
    options: &'a Options,
    place: &'a Place<'a>,
}

impl Watch<'_> {
    /// Waits for an answer, as long as the farm is there and its time limit has not passed.
    async fn over<T>(&self, answer: impl Future<Output = Result<T, Status>>) -> Result<T, Broken> {
        tokio::pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => {
                    return answer.map_err(|status| broken(self.connection, &status));
                }
                () = tokio::time::sleep(PULSE) => self.check().await?,
            }
        }
    }

    async fn check(&self) -> Result<(), Broken> {
        if self.place.is_stuck() {
            return Err(Broken::Stuck(Failure::Wrong(format!(
                "no worker took an action for {:?} (has any the properties of `[farm.platform]` in `clm.toml`?)",
                self.options.max_queue
            ))));
        }
        if self.place.ran_for() > self.options.timeout {
            return Err(Broken::Other(Failure::Wrong(format!(
                "an action took longer than {:?} (`timeout` of `[farm]` in `clm.toml`)",
                self.options.timeout
            ))));
        }
        // A connection that was cut says nothing.
        let asking = tokio::time::timeout(self.options.wait, self.connection.capabilities());
        match asking.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(Broken::Other(self.connection.failure(&status))),
            Err(_) => Err(Broken::Other(Failure::TimedOut)),
        }
    }
}

/// Returns what a farm says about itself.
///
/// # Errors
///
/// Why it is none.
pub(super) fn described(said: &api::ServerCapabilities) -> Result<String, Failure> {
    let wrong = |reason: &str| Err(Failure::Wrong(reason.to_owned()));
    let Some(execution) = said.execution_capabilities.as_ref() else {
        return wrong("it stores results, but executes nothing");
    };
    let sha256 = api::digest_function::Value::Sha256 as i32;
    let mut functions = execution
        .digest_functions
        .iter()
        .chain([&execution.digest_function]);
    let is_known = functions.any(|function| *function == sha256 || *function == 0);
    if !execution.exec_enabled {
        return wrong("it does not execute anything for this user or instance");
    }
    if !is_known {
        return wrong("it does not know SHA-256");
    }
    let version = said.high_api_version.as_ref();
    Ok(version.map_or_else(
        || "the Remote Execution API".to_owned(),
        |version| {
            format!(
                "the Remote Execution API {}.{}",
                version.major, version.minor
            )
        },
    ))
}
