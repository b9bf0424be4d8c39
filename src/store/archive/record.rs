//! The records of an archive, one JSON object a line.

use serde::{Deserialize, Serialize};

use crate::course::RelPath;
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::events::ActionKind;
use crate::store::actions::{Origin, Parts};

use super::Refusal;
use super::manifest::{Manifest, RECORDS};

/// The longest line, in bytes: far more than the diagnostics of any deck.
pub(super) const LONGEST: u64 = 64 << 20;
/// The longest name of an action, a renderer or a machine, in bytes.
const LONGEST_NAME: usize = 8192;

/// Files with the digests that were seen; `None` for those that did not exist.
pub(super) type Discovered = Vec<(String, Option<Digest>)>;

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record {
    /// The fingerprint of a renderer that made results.
    Identity(Identity),
    /// A result.
    Result(StoredResult),
    /// The inputs of the latest run of an action.
    Latest(StoredLatest),
}

/// The fingerprint of a renderer that made results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    /// The renderer.
    pub renderer: String,
    /// Its fingerprint.
    pub fingerprint: String,
}

/// A result of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredResult {
    /// The identity of the action.
    pub action: String,
    /// What it does.
    pub kind: ActionKind,
    /// The key.
    pub key: Digest,
    /// Files it was found to depend on, ordered by path.
    pub discovered: Discovered,
    /// Whether it failed.
    pub failed: bool,
    /// Name, digest and size of each output.
    pub outputs: Vec<(String, Digest, u64)>,
    /// What it reported.
    pub diagnostics: Vec<Diagnostic>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Where it was made; `None` if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// The inputs of the latest run of an action, without its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredLatest {
    /// The identity of the action.
    pub action: String,
    /// The key.
    pub key: Digest,
    /// The components of the key.
    pub parts: Parts,
    /// Files it was found to depend on, ordered by path.
    pub discovered: Discovered,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

impl Record {
    /// Parses a line, and checks that a store may contain the record.
    pub(super) fn parse(line: &[u8], number: usize, manifest: &Manifest) -> Result<Self, Refusal> {
        let wrong = |reason: String| {
            Refusal::Damaged(format!("line {number} of its `{RECORDS}`: {reason}"))
        };
        let record: Self =
            serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
        let checked = record.check(|digest| manifest.size_of(digest));
        checked.map_err(|reason| wrong(reason.to_owned()))?;
        Ok(record)
    }

    /// Checks that a store may contain the record. `size_of` returns the sizes of the blobs that are there.
    pub(super) fn check(
        &self,
        size_of: impl Fn(&Digest) -> Option<u64>,
    ) -> Result<(), &'static str> {
        match self {
            Self::Identity(identity) => {
                let names = [&identity.renderer, &identity.fingerprint];
                require(
                    names.into_iter().all(|name| is_name(name)),
                    "a name is no name",
                )
            }
            Self::Result(result) => result.check(size_of),
            Self::Latest(latest) => {
                require(is_name(&latest.action), "an action has no name")?;
                require(is_time(latest.duration_ms), "a duration is no time")?;
                check_discovered(&latest.discovered)
            }
        }
    }
}

impl StoredResult {
    /// Returns whether its outputs are in the store: those of other actions are only compared with.
    pub(super) fn has_blobs(&self) -> bool {
        !ActionKind::LOCAL.contains(&self.kind)
    }

    /// Returns digests and sizes of the outputs that have to be in the store.
    pub(super) fn blobs(&self) -> impl Iterator<Item = (Digest, u64)> {
        let outputs = self.has_blobs().then_some(&self.outputs);
        let outputs = outputs.into_iter().flatten();
        outputs.map(|(_, digest, size)| (*digest, *size))
    }

    fn check(&self, size_of: impl Fn(&Digest) -> Option<u64>) -> Result<(), &'static str> {
        require(is_name(&self.action), "an action has no name")?;
        require(is_time(self.duration_ms), "a duration is no time")?;
        let machine = self.origin.as_ref().map(|origin| &origin.machine);
        require(
            machine.is_none_or(|machine| is_name(machine)),
            "a machine has no name",
        )?;
        require(
            !self.failed || self.outputs.is_empty(),
            "a failure has outputs",
        )?;
        let are_names = self.outputs.iter().all(|(name, ..)| is_plain(name));
        require(are_names, "an output has no plain file name")?;
        let are_there = self
            .blobs()
            .all(|(digest, size)| size_of(&digest) == Some(size));
        require(are_there, "an output is not in the archive")?;
        check_discovered(&self.discovered)
    }
}

fn check_discovered(discovered: &Discovered) -> Result<(), &'static str> {
    let are_paths = discovered
        .iter()
        .all(|(path, _)| RelPath::normal(path).is_ok_and(|normal| *normal == **path));
    require(are_paths, "an input has no path in the course")?;
    let are_ordered = discovered.is_sorted_by(|(one, _), (next, _)| one < next);
    require(are_ordered, "an input is there twice, or not in order")
}

fn require(holds: bool, otherwise: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn is_time(ms: u64) -> bool {
    i64::try_from(ms).is_ok()
}

/// Returns whether a text can be the name of something in records and messages.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn is_plain(name: &str) -> bool {
    is_name(name) && !name.contains('/') && name != "." && name != ".."
}
