//! A shared cache behind gRPC: the action cache and the content-addressable storage of the Remote Execution API, version 2,
//! as build farms and caches of build tools offer them.

use std::sync::OnceLock;
use std::time::Duration;

use bazel_remote_apis::build::bazel::remote::execution::v2 as api;

use super::super::Credentials;
use super::super::address::FarmAddress;
use super::super::connection::Connection;
use super::{Failure, Name, Transport, time_to_send, within};

/// The size in the digests of entries. An entry is named by a key of clm, which is the digest of no message.
const KEY_SIZE: i64 = 64;

/// A cache behind gRPC.
pub(super) struct Grpc {
    farm: FarmAddress,
    credentials: Credentials,
    /// Made for the first request: most builds have none.
    connection: OnceLock<Result<Connection, Failure>>,
    wait: Duration,
}

impl Grpc {
    /// Returns the cache of a farm. Nothing is connected yet.
    pub(super) fn new(farm: FarmAddress, credentials: Credentials, wait: Duration) -> Self {
        Self {
            farm,
            credentials,
            connection: OnceLock::new(),
            wait,
        }
    }

    fn connection(&self) -> Result<&Connection, Failure> {
        let connect = || Connection::new(&self.farm, &self.credentials, self.wait);
        let connection = self.connection.get_or_init(connect);
        connection.as_ref().map_err(Failure::clone)
    }
}

impl Transport for Grpc {
    fn get(&self, name: &Name, limit: u64, wait: Duration) -> Result<Option<Vec<u8>>, Failure> {
        let connection = self.connection()?;
        let bytes = match name {
            Name::Action(_) => connection.run(wait, connection.entry(digest(name))),
            Name::Content(..) => connection.run(wait, connection.file(digest(name))),
        }?;
        bytes.map(|bytes| within(limit, bytes)).transpose()
    }

    fn has(&self, name: &Name, wait: Duration) -> Result<bool, Failure> {
        let connection = self.connection()?;
        connection.run(wait, connection.has(digest(name)))
    }

    fn put(&self, name: &Name, bytes: &[u8]) -> Result<(), Failure> {
        let connection = self.connection()?;
        let wait = time_to_send(self.wait, bytes);
        match name {
            Name::Action(_) => connection.run(wait, connection.send_entry(digest(name), bytes)),
            Name::Content(..) => connection.run(wait, connection.send(digest(name), bytes)),
        }
    }
}

/// Returns the digest of a name, as messages have it.
fn digest(name: &Name) -> api::Digest {
    match name {
        Name::Action(key) => api::Digest {
            hash: key.to_string(),
            size_bytes: KEY_SIZE,
        },
        Name::Content(sha, size) => api::Digest {
            hash: sha.0.clone(),
            size_bytes: i64::try_from(*size).unwrap_or(i64::MAX),
        },
    }
}
