//! How the bytes of a shared cache are read and written.

mod dir;
#[cfg(feature = "farm")]
mod grpc;
mod http;

use std::time::Duration;

use super::{Address, Credentials, Name};

/// The least speed at which a file is sent, in bytes per second; slower is a failure.
const SLOWEST: u64 = 64 * 1024;

/// A way to a shared cache. All calls block.
pub(super) trait Transport: Send + Sync {
    /// Returns the bytes of a name, at most `limit`; `None` if there are none.
    fn get(&self, name: &Name, limit: u64, wait: Duration) -> Result<Option<Vec<u8>>, Failure>;

    /// Returns whether there are bytes with a name.
    fn has(&self, name: &Name, wait: Duration) -> Result<bool, Failure>;

    /// Stores bytes under a name: all of them or nothing.
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<(), Failure>;
}

/// Why something failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The server answered with a status that is no success.
    #[error("it answers with the status {0}")]
    Status(u16),
    /// It cannot be reached, or does not answer.
    #[error("{0}")]
    Unreachable(String),
    /// It did not answer in time.
    #[error("it did not answer in time")]
    TimedOut,
    /// Its answer is not what was asked for.
    #[error("{0}")]
    Wrong(String),
    /// It has no room.
    #[error("{0}")]
    Full(String),
}

impl Failure {
    /// Returns whether a second attempt may succeed: the server is busy, or closed an idle connection. One that does not
    /// answer in time is not waited for twice.
    pub(super) fn may_be_temporary(&self) -> bool {
        match self {
            Self::Status(status) => matches!(status, 429 | 500 | 502 | 503 | 504),
            Self::Unreachable(_) => true,
            Self::TimedOut | Self::Wrong(_) | Self::Full(_) => false,
        }
    }
}

/// Returns the way to an address. No answer takes longer than `wait` to begin, and no part of it longer than that.
pub(super) fn of(
    address: &Address,
    credentials: Credentials,
    wait: Duration,
) -> Box<dyn Transport> {
    match address {
        Address::Http(base) => Box::new(http::Http::new(base.clone(), credentials, wait)),
        Address::Dir(dir) => Box::new(dir::Dir::new(dir.clone())),
        #[cfg(feature = "farm")]
        Address::Farm(farm) => Box::new(grpc::Grpc::new(farm.clone(), credentials, wait)),
    }
}

/// Returns how long it may take to send these bytes, if an answer may take `wait`.
fn time_to_send(wait: Duration, bytes: &[u8]) -> Duration {
    wait + Duration::from_secs(bytes.len() as u64 / SLOWEST)
}

/// Fails if there are more bytes than were to come.
fn within(limit: u64, bytes: Vec<u8>) -> Result<Vec<u8>, Failure> {
    match bytes.len() as u64 > limit {
        true => Err(Failure::Wrong(
            "a file is larger than its entry says".to_owned(),
        )),
        false => Ok(bytes),
    }
}
