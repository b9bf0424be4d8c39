//! The name under which a pipeline keeps the cache of a course: by content, the same for all runs of one commit.

use std::path::PathBuf;

use crate::config::SETTINGS_FILE;
use crate::course::RelPath;
use crate::course::tree::{is_ignored_dir, scan_roots};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::files;
use crate::parallel;
use crate::store::archive;

use super::course::Course;
use super::scan::{Scanned, Skip};

/// The directories of rendered diagrams among the sources: clm writes there.
const RENDERED: &str = "img-generated";

/// The name of a cache.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct CacheKey {
    /// The whole name.
    pub key: String,
    /// The beginnings of names of older caches that can be used, the most similar ones first.
    pub restore_keys: Vec<String>,
    /// The directory to keep.
    pub path: PathBuf,
}

impl Course {
    /// Returns the name of the cache of this course: of the platform, the version of the records, the pinned renderers,
    /// the specification, and the sources with the settings.
    pub(crate) fn cache_key(&self) -> Result<CacheKey> {
        let spec = match files::read(&self.place.spec) {
            // A folder needs no settings.
            Err(error) if self.place.is_folder() && files::is_gone(&error) => Vec::new(),
            read => read.map_err(|error| Error::io("read", &self.place.spec, &error))?,
        };
        let parts = [
            format!("clm-{}-{}", archive::platform(), archive::SCHEMA),
            self.lock_part()?,
            Digest::of(spec).short(),
            self.content().short(),
        ];
        let before = |count: usize| format!("{}-", parts[..count].join("-"));
        Ok(CacheKey {
            key: parts.join("-"),
            // Records of another platform or version cannot be used.
            restore_keys: (1..parts.len()).rev().map(before).collect(),
            path: self.place.state_dir(),
        })
    }

    fn lock_part(&self) -> Result<String> {
        let path = self.place.lock_file();
        match files::read(&path) {
            Ok(bytes) => Ok(Digest::of(bytes).short()),
            Err(error) if files::is_gone(&error) => Ok("unlocked".to_owned()),
            Err(error) => Err(Error::io("read", &path, &error)),
        }
    }

    /// Returns a digest of the names and contents of all files among the sources, but for those that a build leaves
    /// there.
    fn content(&self) -> Digest {
        // Of a specification with errors the directory of all sources is known.
        let spec = self.read_specification().ok().and_then(|(spec, ..)| spec);
        let mut roots = match &spec {
            Some(spec) => scan_roots(spec),
            None => vec![RelPath::new("slides").ok()],
        };
        let named = [
            self.settings.notebook.templates.as_deref(),
            Some(SETTINGS_FILE),
        ];
        let named = named.into_iter().flatten();
        if !roots.contains(&None) {
            roots.extend(named.filter_map(|path| RelPath::new(path).ok()).map(Some));
        }
        let skip = match &spec {
            Some(spec) => self.skip(spec),
            None => Skip::new(|_| false),
        };
        let scanned = Scanned::new(&self.place.root, roots, &skip);
        let files: Vec<&RelPath> = scanned.listing().files.iter().collect();
        let files: Vec<&RelPath> = files.into_iter().filter(|path| is_kept(path)).collect();
        let lines = parallel::map(&files, |path| {
            let digest = Digest::of_file(&path.under(&self.place.root)).ok();
            let digest = digest.map_or_else(|| "unread".to_owned(), |digest| digest.to_string());
            format!("{path}\0{digest}\n")
        });
        Digest::of(lines.concat())
    }
}

/// Returns whether a file among the sources is the author's.
fn is_kept(path: &RelPath) -> bool {
    let mut dirs = path.components().rev().skip(1);
    dirs.all(|dir| dir != RENDERED && !is_ignored_dir(dir))
}
