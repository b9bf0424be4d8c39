//! Writes an archive.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::sync::Arc;

use rusqlite::Connection;
use zstd::stream::write::Encoder;

use crate::digest::{CopyError, Digest};
use crate::events::ActionKind;
use crate::store::actions::{self, Origin, ResultStatus};
use crate::store::{Result as StoreResult, Store, digest, from_json, to_json};

use super::manifest::{BLOCK, MANIFEST, Manifest, Part, RECORDS, header, name_of};
use super::record::{Discovered, Identity, Record, StoredLatest, StoredResult};
use super::{ArchiveError, WINDOW_LOG};

/// The level of compression: of a fixed one equal content becomes equal bytes.
const LEVEL: i32 = 3;

/// Which results are exported.
#[derive(Clone, Debug)]
pub(crate) enum Extent {
    /// All, also those of earlier versions and of other courses.
    All,
    /// The latest results of all actions.
    Latest,
    /// The latest results of these actions.
    Planned(HashSet<Arc<str>>),
}

/// What was exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exported {
    /// The number of results.
    pub results: u64,
    /// The size of their outputs, in bytes.
    pub bytes: u64,
}

impl Store {
    /// Writes results with everything that another store needs in order to use them. Results without a known origin get
    /// the label of this machine, if there is one.
    pub(crate) fn export(
        &self,
        extent: &Extent,
        label: Option<&str>,
        to: impl Write,
    ) -> Result<Exported, ArchiveError> {
        let (mut records, blobs) = self.exportable(extent)?;
        for record in &mut records {
            if let (Record::Result(result), Some(label)) = (record, label) {
                result.origin.get_or_insert_with(|| Origin {
                    machine: label.to_owned(),
                    ..Origin::default()
                });
            }
        }
        let mut lines = Vec::new();
        for record in &records {
            lines.extend_from_slice(to_json(record)?.as_bytes());
            lines.push(b'\n');
        }
        let part = Part {
            digest: Digest::of(&lines),
            size: lines.len() as u64,
        };
        let manifest = Manifest::new(part, blobs);
        self.write_archive(&manifest, &lines, to)?;
        let is_result = |record: &&Record| matches!(record, Record::Result(_));
        Ok(Exported {
            results: records.iter().filter(is_result).count() as u64,
            bytes: manifest.blobs.iter().map(|part| part.size).sum(),
        })
    }

    /// Returns the records to be exported, in the order of the archive, and the blobs that they need. Results that are
    /// lost or damaged are left out.
    fn exportable(&self, extent: &Extent) -> StoreResult<(Vec<Record>, Vec<Part>)> {
        let (mut latest, mut results) = self.read(|connection| {
            // One transaction, so that both are of the same moment.
            let transaction = connection.unchecked_transaction()?;
            let latest = latest_of(&transaction, extent)?;
            let keys: HashSet<Digest> = latest.iter().map(|latest| latest.key).collect();
            let is_wanted = |key: &Digest| matches!(extent, Extent::All) || keys.contains(key);
            Ok((latest, results_of(&transaction, is_wanted)?))
        })?;
        forget_short_times(&mut latest, &mut results);
        let mut blobs: BTreeMap<Digest, Option<u64>> = BTreeMap::new();
        for (digest, _) in results.iter().flat_map(StoredResult::blobs) {
            if let Entry::Vacant(entry) = blobs.entry(digest) {
                entry.insert(self.verified_size(&digest)?);
            }
        }
        let identities = self.identities()?.into_iter();
        let identities = identities.map(|(renderer, fingerprint)| Identity {
            renderer,
            fingerprint,
        });
        let mut records: Vec<Record> = identities
            .map(Record::Identity)
            .chain(results.into_iter().map(Record::Result))
            .chain(latest.into_iter().map(Record::Latest))
            .collect();
        // One record that an import refuses would make the whole archive useless.
        records.retain(|record| {
            let size_of = |digest: &Digest| blobs.get(digest).copied().flatten();
            record.check(size_of).is_ok()
        });
        let used: HashSet<Digest> = records.iter().flat_map(blobs_of).collect();
        let blobs = blobs.into_iter().filter_map(|(digest, size)| {
            let size = size.filter(|_| used.contains(&digest))?;
            Some(Part { digest, size })
        });
        let blobs = blobs.collect();
        Ok((records, blobs))
    }

    fn write_archive(
        &self,
        manifest: &Manifest,
        lines: &[u8],
        to: impl Write,
    ) -> Result<(), ArchiveError> {
        let mut encoder = encoder(to).map_err(writing)?;
        let text = to_json(manifest)?;
        for (name, bytes) in [(MANIFEST, text.as_bytes()), (RECORDS, lines)] {
            let size = bytes.len() as u64;
            let written = encoder
                .write_all(header(name, size).as_bytes())
                .and_then(|()| encoder.write_all(bytes))
                .and_then(|()| pad(&mut encoder, size));
            written.map_err(writing)?;
        }
        for part in &manifest.blobs {
            let bytes = self.blob_reader(&part.digest)?;
            let bytes = bytes.ok_or(ArchiveError::Removed)?;
            let header = header(&name_of(&part.digest), part.size);
            encoder.write_all(header.as_bytes()).map_err(writing)?;
            match Digest::of_copy(bytes, &mut encoder) {
                Ok(copied) if copied == (part.digest, part.size) => {}
                Ok(_) | Err(CopyError::Reading(_)) => return Err(ArchiveError::Removed),
                Err(CopyError::Writing(error)) => return Err(writing(error)),
            }
            pad(&mut encoder, part.size).map_err(writing)?;
        }
        encoder.write_all(&[0; 2 * BLOCK]).map_err(writing)?;
        let mut to = encoder.finish().map_err(writing)?;
        to.flush().map_err(writing)
    }
}

fn writing(source: io::Error) -> ArchiveError {
    ArchiveError::Stream {
        what: "write",
        source,
    }
}

fn encoder<W: Write>(to: W) -> io::Result<Encoder<'static, W>> {
    let mut encoder = Encoder::new(to, LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.window_log(WINDOW_LOG)?;
    // Pages repeat each other over longer distances than the level alone looks back.
    encoder.long_distance_matching(true)?;
    Ok(encoder)
}

/// Writes what is missing to a whole block of a tar archive.
fn pad(to: &mut impl Write, size: u64) -> io::Result<()> {
    let rest = (size % BLOCK as u64) as usize;
    match rest {
        0 => Ok(()),
        rest => to.write_all(&[0; BLOCK][rest..]),
    }
}

/// Returns the latest runs of the actions that are exported, by action.
fn latest_of(connection: &Connection, extent: &Extent) -> StoreResult<Vec<StoredLatest>> {
    let mut statement = connection.prepare(
        "SELECT action, key, parts, discovered, duration_ms FROM latest ORDER BY action",
    )?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let action: String = row.get(0)?;
        if let Extent::Planned(planned) = extent
            && !planned.contains(&*action)
        {
            continue;
        }
        found.push(StoredLatest {
            action,
            key: digest(row.get_ref(1)?.as_str().unwrap_or_default())?,
            parts: from_json(row.get_ref(2)?.as_str().unwrap_or_default())?,
            discovered: ordered(from_json(row.get_ref(3)?.as_str().unwrap_or_default())?),
            duration_ms: row.get::<_, i64>(4)?.cast_unsigned(),
        });
    }
    Ok(found)
}

/// Returns the results of the keys that are wanted, by action and key.
fn results_of(
    connection: &Connection,
    is_wanted: impl Fn(&Digest) -> bool,
) -> StoreResult<Vec<StoredResult>> {
    let mut statement = connection.prepare(
        "SELECT id, action, key, kind, status, outputs, diagnostics, duration_ms, origin FROM actions",
    )?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let key = digest(row.get_ref(2)?.as_str().unwrap_or_default())?;
        let kind = ActionKind::named(row.get_ref(3)?.as_str().unwrap_or_default());
        let Some(kind) = kind.filter(|_| is_wanted(&key)) else {
            continue;
        };
        let origin: Option<String> = row.get(8)?;
        found.push(StoredResult {
            action: row.get(1)?,
            kind,
            key,
            discovered: ordered(actions::discovered(connection, row.get(0)?)?),
            failed: row.get_ref(4)?.as_str().unwrap_or_default() != ResultStatus::Ok.name(),
            outputs: from_json(row.get_ref(5)?.as_str().unwrap_or_default())?,
            diagnostics: from_json(row.get_ref(6)?.as_str().unwrap_or_default())?,
            duration_ms: row.get::<_, i64>(7)?.cast_unsigned(),
            origin: origin.map(|text| from_json(&text)).transpose()?,
        });
    }
    found.sort_by(|one, other| {
        let by_action = one.action.cmp(&other.action);
        let by_key = by_action.then_with(|| one.key.cmp(&other.key));
        by_key.then_with(|| one.discovered.cmp(&other.discovered))
    });
    Ok(found)
}

fn blobs_of(record: &Record) -> impl Iterator<Item = Digest> {
    let result = match record {
        Record::Result(result) => Some(result),
        Record::Identity(_) | Record::Latest(_) => None,
    };
    let blobs = result.into_iter().flat_map(StoredResult::blobs);
    blobs.map(|(digest, _)| digest)
}

/// Removes the durations of what is not made by workers: these actions are repeated whenever their outputs are missing,
/// which must not change an archive, and take no time that a schedule could save.
fn forget_short_times(latest: &mut [StoredLatest], results: &mut [StoredResult]) {
    let mut of_workers = HashSet::new();
    for result in results {
        match result.has_blobs() {
            true => drop(of_workers.insert(result.key)),
            false => result.duration_ms = 0,
        }
    }
    for latest in latest {
        if !of_workers.contains(&latest.key) {
            latest.duration_ms = 0;
        }
    }
}

fn ordered(mut discovered: Discovered) -> Discovered {
    discovered.sort();
    discovered.dedup_by(|one, other| one.0 == other.0);
    discovered
}
