//! The first entry of an archive, and the headers of all entries.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

use super::{Refusal, SCHEMA};

/// What the manifest calls the format; its first bytes identify an archive.
const FORMAT: &str = "clm cache";
/// The version of the format.
const VERSION: i64 = 1;

/// The name of the first entry.
pub(super) const MANIFEST: &str = "manifest.json";
/// The name of the second entry.
pub(super) const RECORDS: &str = "records.jsonl";
/// The size of a block of a tar archive, in bytes.
pub(super) const BLOCK: usize = 512;
/// The largest manifest, in bytes: of a million blobs.
pub(super) const LARGEST: u64 = 100 << 20;

/// What an archive contains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    format: String,
    version: i64,
    schema: i64,
    platform: String,
    /// The records.
    pub records: Part,
    /// The blobs, ordered by digest.
    pub blobs: Vec<Part>,
}

/// An entry of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// The digest of its bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
}

/// The part of a manifest that every version has.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: i64,
    schema: i64,
    platform: String,
}

impl Manifest {
    /// Returns the manifest of an archive of this program.
    pub(super) fn new(records: Part, blobs: Vec<Part>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            schema: SCHEMA,
            platform: platform(),
            records,
            blobs,
        }
    }

    /// Parses a manifest, and checks whether this program can use the archive.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let foreign = |error: serde_json::Error| {
            Refusal::Foreign(format!("its `{MANIFEST}` is not one of clm: {error}"))
        };
        let head: Head = serde_json::from_slice(bytes).map_err(foreign)?;
        if head.format != FORMAT {
            let other = head.format.escape_debug();
            return Err(Refusal::Foreign(format!(
                "its `{MANIFEST}` is about `{other}`"
            )));
        }
        for (what, found, known) in [
            ("the format", head.version, VERSION),
            ("records of the version", head.schema, SCHEMA),
        ] {
            if found != known {
                return Err(Refusal::Version { what, found, known });
            }
        }
        if head.platform != platform() {
            return Err(Refusal::Platform(head.platform.escape_debug().to_string()));
        }
        let damaged = |error| Refusal::Damaged(format!("its `{MANIFEST}` is damaged: {error}"));
        let manifest: Self = serde_json::from_slice(bytes).map_err(damaged)?;
        let are_ordered = manifest
            .blobs
            .is_sorted_by(|one, next| one.digest < next.digest);
        if !are_ordered {
            return Err(Refusal::Damaged(format!(
                "its `{MANIFEST}` names a result twice, or not in order"
            )));
        }
        Ok(manifest)
    }

    /// Returns the size of everything that follows, or the limit if it is beyond.
    pub(super) fn unpacked_size(&self) -> u64 {
        let sizes = self.blobs.iter().map(|part| part.size);
        sizes.fold(self.records.size, u64::saturating_add)
    }

    /// Returns the size of a blob, or `None` if there is no such blob.
    pub(super) fn size_of(&self, digest: &Digest) -> Option<u64> {
        let found = self.blobs.binary_search_by_key(digest, |part| part.digest);
        found.ok().map(|index| self.blobs[index].size)
    }
}

/// Returns whether the beginning of a manifest shows that it is one of clm, whatever its version.
pub(super) fn is_ours(beginning: &[u8]) -> bool {
    let own = format!("{{\"format\":\"{FORMAT}\",");
    beginning.starts_with(own.as_bytes())
}

/// Returns the platform for which results are made.
pub(crate) fn platform() -> String {
    format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH)
}

/// Returns the name of the entry with a blob.
pub(super) fn name_of(digest: &Digest) -> String {
    let name = digest.to_string();
    format!("blobs/{}/{}", &name[..2], &name[2..])
}

/// Returns the only header that an entry may have.
pub(super) fn header(name: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    // The names are short ones of this module.
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    header
}
