//! A connection to a server of the Remote Execution API, version 2: its storage and its action cache.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use bazel_remote_apis::build::bazel::remote::execution::v2 as api;
use bazel_remote_apis::google::bytestream::byte_stream_client::ByteStreamClient;
use bazel_remote_apis::google::bytestream::{ReadRequest, WriteRequest};
use bazel_remote_apis::google::rpc;
use prost::Message as _;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Extensions, Request, Status};

use api::action_cache_client::ActionCacheClient;
use api::capabilities_client::CapabilitiesClient;
use api::content_addressable_storage_client::ContentAddressableStorageClient;

use crate::parallel::lock;

use super::Credentials;
use super::address::FarmAddress;
use super::transport::Failure;

/// Files of up to so many bytes are exchanged in one message, if the server has no lower limit; messages of gRPC have at most
/// 4 MiB by default.
const IN_MESSAGE: u64 = 2 << 20;
/// The size of the parts of larger files, in bytes.
const PART: usize = 1 << 20;

/// The clients of a server, and what runs them. Its requests may be awaited on any runtime.
pub(crate) struct Connection {
    /// Runs the requests, whose callers block. `None` only while it is dropped.
    runtime: Option<Runtime>,
    channel: Channel,
    instance: String,
    is_secure: bool,
    credentials: MetadataMap,
    /// What the server said about itself.
    server: OnceCell<Server>,
    /// What runs in the background.
    background: Mutex<Vec<JoinHandle<()>>>,
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
    pub(crate) fn new(
        farm: &FarmAddress,
        credentials: &Credentials,
        wait: Duration,
    ) -> Result<Self, Failure> {
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
            background: Mutex::default(),
        })
    }

    /// Runs requests, for at most `wait`.
    pub(crate) fn run<T>(
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

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        Request::from_parts(self.credentials.clone(), Extensions::default(), message)
    }

    /// Returns its connection, for requests of other services.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Returns the instance of the server.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    /// Runs something in the background, as long as the connection exists.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            let mut background = lock(&self.background);
            background.retain(|task| !task.is_finished());
            background.push(runtime.spawn(task));
        }
    }

    /// Waits until what runs in the background has ended, at most for `limit`.
    pub(crate) async fn settle(&self, limit: Duration) {
        let background = std::mem::take(&mut *lock(&self.background));
        let all = async {
            for task in background {
                let _ = task.await;
            }
        };
        let _ = tokio::time::timeout(limit, all).await;
    }

    /// Asks the server what it is.
    pub(crate) async fn capabilities(&self) -> Result<api::ServerCapabilities, Status> {
        let mut client = CapabilitiesClient::new(self.channel.clone());
        let request = self.request(api::GetCapabilitiesRequest {
            instance_name: self.instance.clone(),
        });
        Ok(client.get_capabilities(request).await?.into_inner())
    }

    fn actions(&self) -> ActionCacheClient<Channel> {
        ActionCacheClient::new(self.channel.clone())
    }

    fn contents(&self) -> ContentAddressableStorageClient<Channel> {
        ContentAddressableStorageClient::new(self.channel.clone())
    }

    /// Returns what the server said about itself; it is asked once.
    async fn server(&self) -> Result<Server, Status> {
        let ask = async || Server::new(self.capabilities().await?);
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
    pub(crate) async fn entry(&self, key: api::Digest) -> Result<Option<Vec<u8>>, Status> {
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

    pub(crate) async fn file(&self, digest: api::Digest) -> Result<Option<Vec<u8>>, Status> {
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

    /// Returns the bytes of files, in the order of their digests: as few messages as the server allows.
    pub(crate) async fn files(&self, digests: &[api::Digest]) -> Result<Vec<Vec<u8>>, Status> {
        let limit = self.server().await?.in_message;
        let mut known: HashMap<String, Vec<u8>> = HashMap::new();
        let is_small = |digest: &api::Digest| digest.size_bytes.unsigned_abs() <= limit;
        for digest in digests.iter().filter(|digest| !is_small(digest)) {
            let bytes = self.large_file(digest.clone()).await?;
            let bytes = bytes.ok_or_else(|| absent(&digest.hash))?;
            known.insert(digest.hash.clone(), bytes);
        }
        let small: Vec<&api::Digest> = digests.iter().filter(|digest| is_small(digest)).collect();
        for digests in batches(&small, limit, |digest| digest.size_bytes.unsigned_abs()) {
            let request = api::BatchReadBlobsRequest {
                instance_name: self.instance.clone(),
                digests: digests.iter().map(|digest| (*digest).clone()).collect(),
                ..Default::default()
            };
            let mut client = self.contents();
            let answer = client.batch_read_blobs(self.request(request)).await?;
            for file in answer.into_inner().responses {
                of_one(file.status)?;
                if let Some(digest) = file.digest {
                    known.insert(digest.hash, file.data);
                }
            }
        }
        let bytes = digests.iter().map(|digest| match digest.size_bytes {
            0 => Ok(Vec::new()),
            _ => known
                .get(&digest.hash)
                .cloned()
                .ok_or_else(|| absent(&digest.hash)),
        });
        bytes.collect()
    }

    /// Returns which of these files the server does not have.
    pub(crate) async fn missing(
        &self,
        digests: Vec<api::Digest>,
    ) -> Result<Vec<api::Digest>, Status> {
        let request = api::FindMissingBlobsRequest {
            instance_name: self.instance.clone(),
            blob_digests: digests,
            ..Default::default()
        };
        let mut client = self.contents();
        let answer = client.find_missing_blobs(self.request(request)).await;
        Ok(answer?.into_inner().missing_blob_digests)
    }

    /// Sends files: as few messages as the server allows.
    pub(crate) async fn send_all(&self, files: &[(&api::Digest, &[u8])]) -> Result<(), Status> {
        let limit = self.server().await?.in_message;
        let mut small = Vec::new();
        for (digest, bytes) in files {
            match bytes.len() as u64 <= limit {
                true => small.push((*digest, *bytes)),
                false => self.send_large((*digest).clone(), bytes).await?,
            }
        }
        for files in batches(&small, limit, |(_, bytes)| bytes.len() as u64) {
            self.send_batch(files).await?;
        }
        Ok(())
    }

    pub(crate) async fn has(&self, digest: api::Digest) -> Result<bool, Status> {
        Ok(self.missing(vec![digest]).await?.is_empty())
    }

    pub(crate) async fn send(&self, digest: api::Digest, bytes: &[u8]) -> Result<(), Status> {
        match bytes.len() as u64 {
            0 => Ok(()),
            size if size <= self.server().await?.in_message => {
                self.send_batch(&[(&digest, bytes)]).await
            }
            _ => self.send_large(digest, bytes).await,
        }
    }

    async fn send_batch(&self, files: &[(&api::Digest, &[u8])]) -> Result<(), Status> {
        let files = files.iter();
        let requests = files.map(|(digest, bytes)| api::batch_update_blobs_request::Request {
            digest: Some((*digest).clone()),
            data: bytes.to_vec(),
            ..Default::default()
        });
        let request = api::BatchUpdateBlobsRequest {
            instance_name: self.instance.clone(),
            requests: requests.collect(),
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

    pub(crate) async fn send_entry(&self, key: api::Digest, bytes: &[u8]) -> Result<(), Status> {
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

    pub(crate) fn failure(&self, status: &Status) -> Failure {
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
            // A server that ends, or a network that is cut.
            Code::Unknown
                if text.contains("h2 protocol error") || text.contains("transport error") =>
            {
                Failure::Unreachable("the connection to it broke".to_owned())
            }
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

/// Divides files into parts that each fit into one message; a file that does not is a part of its own.
fn batches<T>(files: &[T], limit: u64, size: impl Fn(&T) -> u64) -> Vec<&[T]> {
    let mut batches = Vec::new();
    let (mut first, mut sum) = (0, 0);
    for (index, file) in files.iter().enumerate() {
        // The digest and the frame of each file count as well.
        let size = size(file) + 200;
        if index > first && sum + size > limit {
            batches.push(&files[first..index]);
            (first, sum) = (index, 0);
        }
        sum += size;
    }
    if first < files.len() {
        batches.push(&files[first..]);
    }
    batches
}

fn absent(hash: &str) -> Status {
    Status::not_found(format!("it does not have the file {hash}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_fit_into_messages() {
        let sizes = [300_u64, 300, 5000, 10, 10];
        let parts = batches(&sizes, 1000, |size| *size);
        assert_eq!(parts, [&sizes[..2], &sizes[2..3], &sizes[3..]]);
        assert!(batches(&[], 10, |size: &u64| *size).is_empty());
    }
}
