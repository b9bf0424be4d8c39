//! Entries of a shared cache: `ActionResult` messages of the Remote Execution API (version 2), so that servers which know
//! this format check their files and keep these as long as the entry.
//!
//! What the format has no field for (diagnostics, files that the action was found to read, clm's own digests) is a JSON
//! object in the standard output of the action.

use std::path::{Component, Path};

use prost::Message;
use serde::{Deserialize, Serialize};

use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::events::ActionKind;

/// The name of something in a shared cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// An entry, by its key.
    Action(Digest),
    /// The bytes of a file, by their SHA-256 and their number.
    Content(Sha, u64),
}

impl Name {
    /// Returns the path of the name: `ac/` or `cas/` with 64 hexadecimal digits.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Action(key) => format!("ac/{key}"),
            Self::Content(Sha(sha), _) => format!("cas/{sha}"),
        }
    }
}

/// A SHA-256, as 64 hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Sha(pub(super) String);

/// The result of an action, as it is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The kind of action.
    pub kind: ActionKind,
    /// Whether it reported an error in the author's content; then it has no files.
    pub has_failed: bool,
    /// Its files.
    pub files: Vec<SharedFile>,
    /// Files it read besides its declared inputs; the digest is `None` for files it looked for and did not find.
    pub discovered: Vec<(String, Option<Digest>)>,
    /// What it reported.
    pub diagnostics: Vec<Diagnostic>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The label of the machine that made it.
    pub machine: String,
    /// When it was made, in milliseconds since 1970.
    pub made_ms: i64,
    /// The run that made it.
    pub run: Option<String>,
}

/// A file of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SharedFile {
    /// Its name within the result.
    pub name: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256; empty until it is sent.
    pub sha: Sha,
}

impl SharedFile {
    /// Returns a file that is to be sent.
    pub(crate) fn new(name: String, digest: Digest, size: u64) -> Self {
        Self {
            name,
            digest,
            size,
            sha: Sha::default(),
        }
    }

    /// Returns the name of its bytes.
    pub(super) fn content(&self) -> Name {
        Name::Content(self.sha.clone(), self.size)
    }
}

/// Returns the key under which the result for other contents of the discovered files is looked for: results of one key can
/// differ in what was read, so the entry of a key says which files matter, and the contents of these are a further key.
pub(crate) fn next_key(key: &Digest, files: &[(&str, Option<Digest>)]) -> Digest {
    let mut text = format!("{key}\n");
    for (path, digest) in files {
        let digest = digest.map_or_else(|| "-".to_owned(), |digest| digest.to_string());
        text.push_str(&format!("{}:{path} {digest}\n", path.len()));
    }
    Digest::of(text)
}

/// What the standard output of an action contains.
#[derive(Serialize, Deserialize)]
struct Record {
    /// The version of this object.
    clm: u32,
    key: Digest,
    kind: ActionKind,
    /// The digests of the files, in the order of the message.
    digests: Vec<Digest>,
    discovered: Vec<(String, Option<Digest>)>,
    diagnostics: Vec<Diagnostic>,
    duration_ms: u64,
    made_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<String>,
}

/// The version of [`Record`].
const VERSION: u32 = 1;

impl Entry {
    /// Returns the bytes of the entry with this key.
    pub(super) fn encode(&self, key: &Digest) -> Vec<u8> {
        let record = Record {
            clm: VERSION,
            key: *key,
            kind: self.kind,
            digests: self.files.iter().map(|file| file.digest).collect(),
            discovered: self.discovered.clone(),
            diagnostics: self.diagnostics.clone(),
            duration_ms: self.duration_ms,
            made_ms: self.made_ms,
            run: self.run.clone(),
        };
        let files = self.files.iter().map(|file| message::OutputFile {
            path: file.name.clone(),
            digest: Some(message::Digest {
                hash: file.sha.0.clone(),
                size_bytes: i64::try_from(file.size).unwrap_or(i64::MAX),
            }),
        });
        let ended = i64::try_from(self.duration_ms).unwrap_or_default();
        let result = message::ActionResult {
            output_files: files.collect(),
            exit_code: i32::from(self.has_failed),
            stdout_raw: serde_json::to_vec(&record).unwrap_or_default(),
            execution_metadata: Some(message::ExecutedActionMetadata {
                worker: self.machine.clone(),
                execution_start_timestamp: Some(message::time(self.made_ms - ended)),
                execution_completed_timestamp: Some(message::time(self.made_ms)),
            }),
        };
        result.encode_to_vec()
    }

    /// Parses the bytes of the entry with this key.
    ///
    /// # Errors
    ///
    /// Why it is not such an entry.
    pub(super) fn decode(bytes: &[u8], key: &Digest) -> Result<Self, String> {
        let no_entry = |error: &dyn std::fmt::Display| format!("an entry cannot be read: {error}");
        let result = message::ActionResult::decode(bytes).map_err(|error| no_entry(&error))?;
        let record: Record =
            serde_json::from_slice(&result.stdout_raw).map_err(|error| no_entry(&error))?;
        if record.clm != VERSION {
            return Err(format!("an entry has the version {}", record.clm));
        }
        if record.key != *key {
            return Err("an entry belongs to another key".to_owned());
        }
        if record.digests.len() != result.output_files.len() {
            return Err("an entry does not name the digests of its files".to_owned());
        }
        let files = result.output_files.into_iter().zip(record.digests);
        let files = files.map(|(file, digest)| shared_file(file, digest));
        Ok(Self {
            kind: record.kind,
            has_failed: result.exit_code != 0,
            files: files
                .collect::<Option<_>>()
                .ok_or("an entry has a file without a proper name or digest")?,
            discovered: record.discovered,
            diagnostics: record.diagnostics,
            duration_ms: record.duration_ms,
            machine: result
                .execution_metadata
                .map(|metadata| metadata.worker)
                .unwrap_or_default(),
            made_ms: record.made_ms,
            run: record.run,
        })
    }
}

fn shared_file(file: message::OutputFile, digest: Digest) -> Option<SharedFile> {
    let sha = file.digest?;
    let mut parts = Path::new(&file.path).components();
    let is_plain = matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(_)), None)
    );
    let is_hash = sha.hash.len() == 64 && sha.hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_plain && is_hash).then_some(SharedFile {
        name: file.path,
        digest,
        size: u64::try_from(sha.size_bytes).ok()?,
        sha: Sha(sha.hash.to_ascii_lowercase()),
    })
}

/// The messages of the Remote Execution API, with the fields that are used: unknown fields are ignored.
mod message {
    /// A result: `build.bazel.remote.execution.v2.ActionResult`.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ActionResult {
        #[prost(message, repeated, tag = "2")]
        pub output_files: Vec<OutputFile>,
        #[prost(int32, tag = "4")]
        pub exit_code: i32,
        #[prost(bytes = "vec", tag = "5")]
        pub stdout_raw: Vec<u8>,
        #[prost(message, optional, tag = "9")]
        pub execution_metadata: Option<ExecutedActionMetadata>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct OutputFile {
        #[prost(string, tag = "1")]
        pub path: String,
        #[prost(message, optional, tag = "2")]
        pub digest: Option<Digest>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Digest {
        #[prost(string, tag = "1")]
        pub hash: String,
        #[prost(int64, tag = "2")]
        pub size_bytes: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ExecutedActionMetadata {
        #[prost(string, tag = "1")]
        pub worker: String,
        #[prost(message, optional, tag = "7")]
        pub execution_start_timestamp: Option<Timestamp>,
        #[prost(message, optional, tag = "8")]
        pub execution_completed_timestamp: Option<Timestamp>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Timestamp {
        #[prost(int64, tag = "1")]
        pub seconds: i64,
        #[prost(int32, tag = "2")]
        pub nanos: i32,
    }

    /// Returns a time that is given in milliseconds since 1970.
    pub(super) fn time(ms: i64) -> Timestamp {
        Timestamp {
            seconds: ms.div_euclid(1000),
            nanos: (ms.rem_euclid(1000) * 1_000_000) as i32,
        }
    }
}
