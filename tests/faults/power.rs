//! A loss of power: names are on the disk, and of bytes that were never synced any part may be.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::course::{Random, files};

/// The unit in which parts of a file reach the disk.
const BLOCK: usize = 4096;

/// A file that lost some of its bytes.
pub struct Torn {
    /// Its path below the course root.
    pub path: String,
    kept: usize,
    written: usize,
}

impl std::fmt::Display for Torn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            path,
            kept,
            written,
        } = self;
        write!(f, "lost of {path}: {kept} of {written} bytes kept")
    }
}

/// Loses some of what was written and not synced; says what.
pub fn lose(
    root: &Path,
    unsynced: &HashMap<(u64, u64), Vec<u8>>,
    random: &mut Random,
) -> Vec<Torn> {
    let mut lost = Vec::new();
    let mut all = files(root);
    all.sort();
    for file in all {
        let Ok(metadata) = std::fs::symlink_metadata(&file) else {
            continue;
        };
        let Some(synced) = unsynced.get(&(metadata.dev(), metadata.ino())) else {
            continue;
        };
        // Shared memory of the database: nobody has it open any more, and it is made again.
        if !metadata.is_file() || file.to_string_lossy().ends_with("-shm") {
            continue;
        }
        let written = std::fs::read(&file).unwrap();
        let kept = match random.below(3) {
            0 => continue,
            1 => synced.clone(),
            _ => in_part(synced, &written, random),
        };
        if kept == written {
            continue;
        }
        let modified = metadata.modified().unwrap();
        std::fs::write(&file, &kept).unwrap();
        File::options()
            .append(true)
            .open(&file)
            .unwrap()
            .set_modified(modified)
            .unwrap();
        let path = file.strip_prefix(root).unwrap().display().to_string();
        if path.starts_with(".clm/staging") {
            continue;
        }
        lost.push(Torn {
            path,
            kept: kept.len(),
            written: written.len(),
        });
    }
    lost
}

/// Some blocks as they were written, the others as they were before; the file ends where one of the two does, or between.
fn in_part(synced: &[u8], written: &[u8], random: &mut Random) -> Vec<u8> {
    let (short, long) = match synced.len() < written.len() {
        true => (synced.len(), written.len()),
        false => (written.len(), synced.len()),
    };
    let length = short + random.below((long - short) as u64 + 1) as usize;
    let mut kept = Vec::with_capacity(length);
    while kept.len() < length {
        let end = (kept.len() + BLOCK).min(length);
        let sources = match random.below(2) {
            0 => [written, synced],
            _ => [synced, written],
        };
        for at in kept.len()..end {
            let byte = sources.iter().find_map(|bytes| bytes.get(at));
            kept.push(byte.copied().unwrap_or_default());
        }
    }
    kept
}
