//! Manifests in the output tree as proof that clm, or the Python tool, wrote a file: a file with exactly the bytes that
//! a manifest lists counts as an output, although the ledger does not contain it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::Deserialize;

use crate::clock::now_ns;
use crate::course::RelPath;
use crate::digest::{Digest, Stamp, sha256_of_file};
use crate::error::Result;
use crate::files;
use crate::parallel::{self, lock};
use crate::store::{FileRecord, OutputRecord};

use super::{Publisher, there};

/// The name of a manifest, in the directory of a target.
pub(crate) const NAME: &str = ".clm-manifest.json";
/// The maximum size of a manifest, in bytes.
const MAX_SIZE: u64 = 1 << 30;

/// The manifests that were read, by directory.
#[derive(Default)]
pub(super) struct Lists(Mutex<HashMap<PathBuf, Known>>);

/// A manifest as it was read with a stamp.
struct Known {
    stamp: Option<Stamp>,
    list: Arc<List>,
}

/// The content of a manifest.
#[derive(Default)]
pub(super) struct List {
    /// The name of the specification.
    spec: String,
    /// SHA-256 by path below the directory.
    files: HashMap<String, String>,
}

/// A manifest, of clm or of the Python tool.
#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    spec: String,
    files: Vec<Entry>,
    /// Paths of files that clm found in place: nothing proves that clm wrote these.
    #[serde(default)]
    adopted: HashSet<String>,
}

#[derive(Deserialize)]
struct Entry {
    path: String,
    content_hash: Option<String>,
}

impl List {
    fn read(file: &Path) -> Option<Self> {
        if std::fs::metadata(file).ok()?.len() > MAX_SIZE {
            return None;
        }
        let read: Read = serde_json::from_slice(&files::read(file).ok()?).ok()?;
        let adopted = read.adopted;
        let entries = read.files.into_iter();
        let files = entries.filter_map(|entry| {
            let hash = entry.content_hash?;
            let sha256 = hash.strip_prefix("sha256:")?.to_ascii_lowercase();
            (!adopted.contains(&entry.path)).then_some((entry.path, sha256))
        });
        Some(Self {
            spec: read.spec,
            files: files.collect(),
        })
    }
}

impl Lists {
    /// Returns the manifest in a directory, as it is now; one that lists nothing if there is none.
    fn of(&self, dir: &Path) -> Arc<List> {
        let file = dir.join(NAME);
        let metadata = there::metadata(&file).ok().flatten();
        let stamp = metadata.map(|metadata| Stamp::of(&metadata));
        let mut known = lock(&self.0);
        if let Some(known) = known.get(dir)
            && known.stamp == stamp
        {
            return Arc::clone(&known.list);
        }
        let list = match stamp {
            Some(_) => List::read(&file).unwrap_or_default(),
            None => List::default(),
        };
        let list = Arc::new(list);
        let new = Known {
            stamp,
            list: Arc::clone(&list),
        };
        known.insert(dir.to_path_buf(), new);
        list
    }

    /// Returns whether a manifest in one of these directories, which are above a file, lists it with the bytes that it
    /// has.
    pub(super) fn prove<'d>(&self, file: &Path, dirs: impl Iterator<Item = &'d Path>) -> bool {
        let mut sha256 = None;
        for dir in dirs {
            let list = self.of(dir);
            let path = file.strip_prefix(dir).ok().and_then(Path::to_str);
            if let Some(listed) = path.and_then(|path| list.files.get(path)) {
                let sha256 = sha256.get_or_insert_with(|| sha256_of_file(file).ok());
                if sha256.as_ref() == Some(listed) {
                    return true;
                }
            }
        }
        false
    }
}

impl Publisher {
    /// Returns the directories above a file up to an output root.
    pub(super) fn roots_around<'f>(&self, file: &'f Path) -> impl Iterator<Item = &'f Path> {
        let roots: Vec<PathBuf> = self.output_roots().cloned().collect();
        let is_within = move |dir: &&Path| roots.iter().any(|root| dir.starts_with(root));
        file.ancestors().skip(1).take_while(is_within)
    }

    /// Moves aside what is in the place of a target's manifest before that is written, unless it is a manifest.
    pub(crate) fn make_way_for_manifest(&self, dir: &Path) -> Result<()> {
        let file = dir.join(NAME);
        match there::metadata(&file) {
            Ok(Some(found)) if found.is_file() && List::read(&file).is_some() => Ok(()),
            Ok(Some(_)) => self.set_aside(&file),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// Returns whether an output was found in its place, and nothing proves that clm wrote it.
    pub(crate) fn is_adopted(&self, destination: &str) -> Result<bool> {
        let record = self.recorded(destination)?;
        Ok(record.is_some_and(|record| record.is_adopted))
    }

    /// Adds files to the ledger that the manifest of a target lists for this specification, if they have the bytes that
    /// it lists: then they can be removed when no action makes them any more. Returns their number.
    pub(crate) fn take_over(&mut self, target_root: &str, spec_name: &str) -> Result<usize> {
        let list = self.lists.of(&self.file(target_root));
        if list.spec != spec_name || list.files.is_empty() {
            return Ok(0);
        }
        self.load_all()?;
        let listed: Vec<(Arc<str>, &String)> = list
            .files
            .iter()
            .filter_map(|(path, sha256)| {
                let path = RelPath::new(path)
                    .ok()
                    .filter(|same| same.as_str() == path)?;
                let path = self.names.of(&format!("{target_root}/{path}"));
                Some((path, sha256))
            })
            .filter(|(path, _)| !self.ledger.known().contains_key(path))
            .collect();
        let found = parallel::each(&listed, |(path, sha256)| {
            let file = self.file(path);
            let recorded_ns = now_ns();
            let metadata = there::metadata(&file).ok().flatten();
            let metadata = metadata.filter(|metadata| metadata.is_file())?;
            let digest = Digest::of_file(&file).ok()?;
            let is_listed = sha256_of_file(&file).is_ok_and(|found| found == **sha256);
            let record = OutputRecord {
                file: FileRecord {
                    digest,
                    stamp: Stamp::of(&metadata),
                    recorded_ns,
                },
                scope: Arc::clone(&self.scope),
                before: None,
                is_adopted: false,
            };
            (is_listed && self.is_inside(&file).unwrap_or(false)).then_some(record)
        });
        let action: Arc<str> = "".into();
        let taken: Vec<_> = listed
            .iter()
            .zip(found)
            .filter_map(|((path, _), record)| Some((Arc::clone(path), record?, action.clone())))
            .collect();
        let count = taken.len();
        if count > 0 {
            self.record(taken)?;
        }
        Ok(count)
    }
}
