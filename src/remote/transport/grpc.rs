//! A shared cache behind gRPC: the action cache and the content-addressable storage of the Remote Execution API, version 2,
//! as build farms and caches of build tools offer them.

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use bazel_remote_apis::build::bazel::remote::execution::v2 as api;
use bazel_remote_apis::google::bytestream::byte_stream_client::ByteStreamClient;
use bazel_remote_apis::google::bytestream::{ReadRequest, WriteRequest};
use bazel_remote_apis::google::rpc;
use prost::Message as _;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Extensions, Request, Status};

use api::action_cache_client::ActionCacheClient;
use api::capabilities_client::CapabilitiesClient;
use api::content_addressable_storage_client::ContentAddressableStorageClient;

use super::super::Credentials;
use super::super::address::Farm;
use super::{Failure, Name, Transport, time_to_send, within};

/// Files of up to so many bytes are exchanged in one message, if the server has no lower limit; messages of gRPC have at most
/// 4 MiB by default.
const IN_MESSAGE: u64 = 2 << 20;
/// The size of the parts of larger files, in bytes.
const PART: usize = 1 << 20;
/// The size in the digests of entries. An entry is named by a key of clm, which is the digest of no message.
const KEY_SIZE: i64 = 64;

/// A cache behind gRPC.
pub(super) struct Grpc {
    farm: Farm,
    credentials: Credentials,
    /// Made for the first request: most builds have none.
    connection: OnceLock<Result<Connection, Failure>>,
    wait: Duration,
}

impl Grpc {
    /// Returns the cache of a farm. Nothing is connected yet.
    pub(super) fn new(farm: Farm, credentials: Credentials, wait: Duration) -> Self {
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

/// The clients of a server, and what runs them.
struct Connection {
    /// Runs the requests, whose callers block. `None` only while it is dropped.
    runtime: Option<Runtime>,
    channel: Channel,
    instance: String,
    is_secure: bool,
    credentials: MetadataMap,
    /// What the server said about itself.
    server: OnceCell<Server>,
}

/// What a server said about itself.
#[derive(Clone, Copy, Debug)]
struct Server {
    /// Files of up to so many bytes may be in one message.
    in_message: u64,
}

impl Server {
    /// Checks what a server says.
    fn new(said: api::ServerCapabilities) -> Result<Self, Status> {
        let Some(cache) = said.cache_capabilities else {
            return Err(Status::unimplemented("it executes, but stores nothing"));
        };
        // Servers from before the field have SHA-256 only.
        let sha256 = api::digest_function::Value::Sha256 as i32;
        if !cache.digest_functions.is_empty() && !cache.digest_functions.contains(&sha256) {
            return Err(Status::unimplemented("it does not know SHA-256"));
        }
        let in_message = match u64::try_from(cache.max_batch_total_size_bytes) {
            // The limit is for several files with their digests.
            Ok(limit) if limit > 0 => IN_MESSAGE.min(limit / 2),
            _ => IN_MESSAGE,
        };
        Ok(Self { in_message })
    }
}

impl Connection {
    /// Returns a connection, which is opened by the first request.
    ///
    /// # Errors
    ///
    /// Why there can be none.
    fn new(farm: &Farm, credentials: &Credentials, wait: Duration) -> Result<Self, Failure> {
        let wrong = |error: &dyn std::fmt::Display| Failure::Unreachable(error.to_string());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("clm-grpc")
            .enable_all()
            .build()
            .map_err(|error| wrong(&error))?;
        let mut endpoint = Endpoint::from_shared(farm.uri())
            .and_then(|endpoint| endpoint.user_agent(concat!("clm/", env!("CARGO_PKG_VERSION"))))
            .map_err(|error| wrong(&error))?
            .connect_timeout(wait)
            .tcp_nodelay(true);
        if farm.is_secure {
            endpoint = endpoint
                .tls_config(ClientTlsConfig::new().with_native_roots())
                .map_err(|error| wrong(&error))?;
        }
        let channel = {
            // The connection is served by a task.
            let _inside = runtime.enter();
            endpoint.connect_lazy()
        };
        Ok(Self {
            runtime: Some(runtime),
            channel,
            instance: farm.instance.clone(),
            is_secure: farm.is_secure,
            credentials: MetadataMap::from_headers(credentials.headers().clone()),
            server: OnceCell::new(),
        })
    }

    /// Runs requests, for at most `wait`.
    fn run<T>(
        &self,
        wait: Duration,
        requests: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Failure> {
        let Some(runtime) = &self.runtime else {
            return Err(Failure::Unreachable("it was closed".to_owned()));
        };
        let limited = async { tokio::time::timeout(wait, requests).await };
        match runtime.block_on(limited) {
            Ok(result) => result.map_err(|status| self.failure(&status)),
            Err(_) => Err(Failure::TimedOut),
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        Request::from_parts(self.credentials.clone(), Extensions::default(), message)
    }

    fn actions(&self) -> ActionCacheClient<Channel> {
        ActionCacheClient::new(self.channel.clone())
    }

    fn contents(&self) -> ContentAddressableStorageClient<Channel> {
        ContentAddressableStorageClient::new(self.channel.clone())
    }

    /// Returns what the server said about itself; it is asked once.
    async fn server(&self) -> Result<Server, Status> {
        let ask = async || {
            let mut client = CapabilitiesClient::new(self.channel.clone());
            let request = self.request(api::GetCapabilitiesRequest {
                instance_name: self.instance.clone(),
            });
            Server::new(client.get_capabilities(request).await?.into_inner())
        };
        self.server.get_or_try_init(ask).await.copied()
    }

    /// Returns the resource name of a file, after a prefix such as `uploads/ID`.
    fn resource(&self, prefix: &str, digest: &api::Digest) -> String {
        let parts = [
            self.instance.as_str(),
            prefix,
            "blobs",
            &digest.hash,
            &digest.size_bytes.to_string(),
        ];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join("/")
    }

    /// Returns the entry of a key, as a message.
    async fn entry(&self, key: api::Digest) -> Result<Option<Vec<u8>>, Status> {
        // A server of another kind must not look like one without the entry.
        self.server().await?;
        let request = api::GetActionResultRequest {
            instance_name: self.instance.clone(),
            action_digest: Some(key),
            inline_stdout: true,
            ..Default::default()
        };
        let mut client = self.actions();
        let answer = client.get_action_result(self.request(request)).await;
        let Some(answer) = found(answer)? else {
            return Ok(None);
        };
        let mut entry = answer.into_inner();
        // Servers may store a long standard output as a file.
        if entry.stdout_raw.is_empty()
            && let Some(digest) = entry.stdout_digest.take()
        {
            match self.file(digest).await? {
                Some(bytes) => entry.stdout_raw = bytes,
                None => return Ok(None),
            }
        }
        Ok(Some(entry.encode_to_vec()))
    }

    async fn file(&self, digest: api::Digest) -> Result<Option<Vec<u8>>, Status> {
        match digest.size_bytes {
            // It is there by definition, and some servers do not have it.
            0 => Ok(Some(Vec::new())),
            size if size.unsigned_abs() <= self.server().await?.in_message => {
                self.small_file(digest).await
            }
            _ => self.large_file(digest).await,
        }
    }

    async fn small_file(&self, digest: api::Digest) -> Result<Option<Vec<u8>>, Status> {
        let request = api::BatchReadBlobsRequest {
            instance_name: self.instance.clone(),
            digests: vec![digest],
            ..Default::default()
        };
        let mut client = self.contents();
        let answer = client.batch_read_blobs(self.request(request)).await;
        let mut files = answer?.into_inner().responses;
        let Some(file) = files.pop() else {
            return Ok(None);
        };
        Ok(found(of_one(file.status))?.map(|()| file.data))
    }

    async fn large_file(&self, digest: api::Digest) -> Result<Option<Vec<u8>>, Status> {
        let size = digest.size_bytes.unsigned_abs() as usize;
        let request = ReadRequest {
            resource_name: self.resource("", &digest),
            ..Default::default()
        };
        let mut client = ByteStreamClient::new(self.channel.clone());
        let Some(answer) = found(client.read(self.request(request)).await)? else {
            return Ok(None);
        };
        let mut parts = answer.into_inner();
        let mut bytes = Vec::new();
        loop {
            match found(parts.message().await)? {
                Some(Some(part)) => bytes.extend_from_slice(&part.data),
                Some(None) => return Ok(Some(bytes)),
                None => return Ok(None),
            }
            if bytes.len() > size {
                return Err(Status::data_loss("a file is larger than its entry says"));
            }
        }
    }

    async fn has(&self, digest: api::Digest) -> Result<bool, Status> {
        let request = api::FindMissingBlobsRequest {
            instance_name: self.instance.clone(),
            blob_digests: vec![digest],
            ..Default::default()
        };
        let mut client = self.contents();
        let answer = client.find_missing_blobs(self.request(request)).await;
        Ok(answer?.into_inner().missing_blob_digests.is_empty())
    }

    async fn send(&self, digest: api::Digest, bytes: &[u8]) -> Result<(), Status> {
        match bytes.len() as u64 {
            0 => Ok(()),
            size if size <= self.server().await?.in_message => self.send_small(digest, bytes).await,
            _ => self.send_large(digest, bytes).await,
        }
    }

    async fn send_small(&self, digest: api::Digest, bytes: &[u8]) -> Result<(), Status> {
        let request = api::BatchUpdateBlobsRequest {
            instance_name: self.instance.clone(),
            requests: vec![api::batch_update_blobs_request::Request {
                digest: Some(digest),
                data: bytes.to_vec(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut client = self.contents();
        let answer = client.batch_update_blobs(self.request(request)).await;
        let files = answer?.into_inner().responses;
        files.into_iter().try_for_each(|file| of_one(file.status))
    }

    async fn send_large(&self, digest: api::Digest, bytes: &[u8]) -> Result<(), Status> {
        let id = uuid::Uuid::new_v4();
        let name = self.resource(&format!("uploads/{id}"), &digest);
        let count = bytes.len().div_ceil(PART);
        let parts: Vec<WriteRequest> = bytes
            .chunks(PART)
            .enumerate()
            .map(|(number, part)| WriteRequest {
                resource_name: name.clone(),
                write_offset: (number * PART) as i64,
                finish_write: number + 1 == count,
                data: part.to_vec(),
            })
            .collect();
        let mut client = ByteStreamClient::new(self.channel.clone());
        let answer = client.write(self.request(tokio_stream::iter(parts))).await;
        let committed = answer?.into_inner().committed_size;
        // A server that has the file already may stop early, and says so with the whole size.
        match committed == digest.size_bytes || committed == -1 {
            true => Ok(()),
            false => Err(Status::data_loss("it stored only a part of a file")),
        }
    }

    async fn send_entry(&self, key: api::Digest, bytes: &[u8]) -> Result<(), Status> {
        let entry = api::ActionResult::decode(bytes)
            .map_err(|error| Status::internal(error.to_string()))?;
        let request = api::UpdateActionResultRequest {
            instance_name: self.instance.clone(),
            action_digest: Some(key),
            action_result: Some(entry),
            ..Default::default()
        };
        let mut client = self.actions();
        let answer = client.update_action_result(self.request(request)).await;
        answer.map(drop)
    }

    fn failure(&self, status: &Status) -> Failure {
        let text = status.message();
        if let Some(status) = status_of_http(text) {
            return Failure::Status(status);
        }
        match status.code() {
            Code::Unauthenticated => Failure::Status(401),
            Code::PermissionDenied => Failure::Status(403),
            Code::DeadlineExceeded | Code::Cancelled => Failure::TimedOut,
            Code::ResourceExhausted => Failure::Full(format!("it has no room: {text}")),
            Code::Unavailable => Failure::Unreachable(match reason(status) {
                text if self.is_secure && !text.contains("certificate") => {
                    format!("does it use TLS? {text}")
                }
                text => text,
            }),
            Code::InvalidArgument | Code::NotFound => {
                Failure::Wrong(match self.instance.as_str() {
                    "" => {
                        format!("it wants the name of an instance (`grpc://host/instance`): {text}")
                    }
                    instance => format!("does it have an instance `{instance}`? {text}"),
                })
            }
            Code::Unimplemented => Failure::Wrong(format!(
                "it is no cache of the Remote Execution API: {text}"
            )),
            code => Failure::Wrong(format!("{code}: {text}")),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Dropping it would wait for its tasks, which must not happen on another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
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

/// Converts the answer that something is not there.
fn found<T>(answer: Result<T, Status>) -> Result<Option<T>, Status> {
    match answer {
        Err(status) if status.code() == Code::NotFound => Ok(None),
        answer => answer.map(Some),
    }
}

/// Converts the status of one file of several.
fn of_one(status: Option<rpc::Status>) -> Result<(), Status> {
    match status.filter(|status| status.code != 0) {
        Some(status) => Err(Status::new(Code::from(status.code), status.message)),
        None => Ok(()),
    }
}

/// Returns the status of an answer that is HTTP and no gRPC, as gateways before a server give it: the client says it in its
/// message only.
fn status_of_http(text: &str) -> Option<u16> {
    let (_, after) = text.split_once("response with status: ")?;
    let status = after.get(..3)?.parse().ok()?;
    (status >= 400).then_some(status)
}

/// Returns why there is no connection: the innermost cause, which names what the system said.
fn reason(status: &Status) -> String {
    let mut error: &dyn std::error::Error = status;
    while let Some(cause) = error.source() {
        error = cause;
    }
    match error.to_string() {
        text if text.is_empty() => status.message().to_owned(),
        text => text,
    }
}
