//! The plan of a course as it was, with the earlier contents of the files that were touched since. Nothing is checked
//! out: the other files are the same now.

use std::collections::HashMap;

use crate::course::RelPath;
use crate::course::layout::{self, Naming, References};
use crate::course::tree::{self, Listing};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::error::Result;
use crate::plan::{self, Bases, Context, Files, Memo, Plan, Source};

use super::super::load::remove_written_back;
use super::super::range;
use super::super::snapshot::Snapshot;
use super::{Basis, Earlier, Touched, names};

/// The files of a course as they were.
struct Earliers<'a> {
    now: &'a Snapshot,
    /// The touched files with a known state; `None` for those that did not exist.
    touched: HashMap<RelPath, Option<Source>>,
}

/// Plans the course as it was before the files were touched. Returns `None` if it could not be built then, or if its
/// files cannot be had any more.
#[tracing::instrument(level = "debug", name = "plan before", skip_all)]
pub(super) fn plan(basis: &Basis<'_>, files: &[Touched], is_offline: bool) -> Result<Option<Plan>> {
    let Some(files) = Earliers::read(basis, files, is_offline)? else {
        return Ok(None);
    };
    let (course, spec) = (basis.course, &basis.specified.spec);
    let sources = basis.sources;
    let listed = sources.listed().map(|scanned| scanned.listing().clone());
    let mut listing = listed.unwrap_or_default();
    files.apply(basis, &mut listing);
    remove_written_back(&mut listing, basis.written_back);
    let texts = |path: &RelPath| files.read(path).map(|source| source.bytes);
    let (tree, _) = tree::discover(spec, &listing, &texts);
    let naming = Naming {
        root_of: &|target| course.root_of(target),
        names: &sources.names,
    };
    let is_same = |one: &RelPath, other: &RelPath| {
        let digest = files.digest(one);
        digest.is_some() && digest == files.digest(other)
    };
    let laid_out = layout::layout(spec, &tree, &listing, basis.selection, &naming, &is_same);
    let Ok((layout, _)) = laid_out else {
        return Ok(None);
    };
    let context = Context {
        spec,
        tree: &tree,
        layout: &layout,
        references: References::new(spec, &tree),
        settings: &course.settings,
        tools: basis.loaded.tools(),
        files: &files,
        names: &sources.names,
    };
    let bases = Bases::of(spec, &tree, &layout);
    let plan = plan::plan(&context, &bases, &mut Memo::default());
    sources.snapshot.forget_contents();
    Ok(Some(plan))
}

impl<'a> Earliers<'a> {
    /// Reads the earlier contents. Returns `None` if git does not have one of them.
    fn read(basis: &'a Basis<'_>, files: &[Touched], is_offline: bool) -> Result<Option<Self>> {
        let objects: Vec<&str> = files
            .iter()
            .filter_map(|file| match &file.before {
                Earlier::Object(object) => Some(object.as_str()),
                _ => None,
            })
            .collect();
        let contents = match objects.is_empty() {
            true => Vec::new(),
            false => range::contents(&basis.course.place.root, &objects, is_offline)?,
        };
        let mut contents = contents.into_iter();
        let source = |bytes: Vec<u8>| Source {
            digest: Digest::of(&bytes),
            bytes: bytes.into(),
        };
        let mut touched = HashMap::new();
        for file in files {
            let before = match &file.before {
                Earlier::Unknown => continue,
                Earlier::Absent => None,
                // Its name alone says what its existence meant for others.
                Earlier::Lost => Some(source(Vec::new())),
                Earlier::Object(_) => match contents.next().flatten() {
                    Some(bytes) => Some(source(bytes)),
                    None => return Ok(None),
                },
            };
            touched.insert(file.path.clone(), before);
        }
        let now = &basis.sources.snapshot;
        Ok(Some(Self { now, touched }))
    }

    /// Changes a listing of the files that exist now into that of those which existed.
    fn apply(&self, basis: &Basis<'_>, listing: &mut Listing) {
        let roots = tree::scan_roots(&basis.specified.spec);
        let is_scanned = |path: &RelPath| {
            let is_within =
                |root: &Option<RelPath>| root.as_ref().is_none_or(|root| path.starts_with(root));
            roots.iter().any(is_within) && !names::is_output(basis, path)
        };
        for (path, before) in &self.touched {
            if before.is_some() && is_scanned(path) {
                listing.files.insert(path.clone());
                let mut above = path.parent();
                while let Some(dir) = above.filter(is_scanned) {
                    above = dir.parent();
                    listing.dirs.insert(dir);
                }
            }
        }
        for path in self
            .touched
            .iter()
            .filter(|(_, before)| before.is_none())
            .map(|(path, _)| path)
        {
            listing.files.remove(path);
            let mut above = path.parent();
            while let Some(dir) = above.filter(|dir| is_empty(listing, dir)) {
                listing.dirs.remove(&dir);
                above = dir.parent();
            }
        }
    }
}

/// Returns whether a listed directory has neither files nor directories.
fn is_empty(listing: &Listing, dir: &RelPath) -> bool {
    let dirs = listing.dirs.range(dir.clone()..);
    let mut dirs = dirs.take_while(|other| other.as_str().starts_with(dir.as_str()));
    let has_dirs = dirs.any(|other| other != dir && other.starts_with(dir));
    !has_dirs && listing.below(dir).next().is_none()
}

impl Files for Earliers<'_> {
    fn read(&self, path: &RelPath) -> Option<Source> {
        match self.touched.get(path) {
            Some(before) => before.clone(),
            None => self.now.read(path),
        }
    }

    fn digest(&self, path: &RelPath) -> Option<Digest> {
        match self.touched.get(path) {
            Some(before) => before.as_ref().map(|source| source.digest),
            None => self.now.digest(path),
        }
    }

    fn why_unreadable(&self, path: &RelPath) -> Option<std::io::Error> {
        match self.touched.get(path) {
            Some(_) => None,
            None => self.now.why_unreadable(path),
        }
    }

    fn size(&self, path: &RelPath) -> Option<u64> {
        match self.touched.get(path) {
            Some(before) => before.as_ref().map(|source| source.bytes.len() as u64),
            None => self.now.size(path),
        }
    }

    fn is_inside(&self, path: &RelPath) -> bool {
        self.now.is_inside(path)
    }

    fn failure(&self, path: &RelPath) -> Option<Diagnostic> {
        match self.touched.get(path) {
            Some(_) => None,
            None => self.now.failure(path),
        }
    }
}
