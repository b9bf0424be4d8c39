//! Symbolic links among the sources: one file has several names, and some lie outside of the course.

use std::path::PathBuf;

use crate::course::RelPath;

use super::{Affected, Basis, Touched};

/// A name in the course that leads somewhere else.
struct Link {
    name: RelPath,
    /// Its target.
    real: PathBuf,
}

/// Adds the other names that touched files have in the course through symbolic links.
pub(super) fn with_aliases(basis: &Basis<'_>, files: &[Touched]) -> Vec<Touched> {
    let mut all = files.to_vec();
    for Link { name, real } in links(basis) {
        let Some(real) = RelPath::below(&basis.course.place.root, &real) else {
            continue;
        };
        for file in files.iter().filter(|file| file.path.starts_with(&real)) {
            let below = file.path.strip_prefix(&real);
            let path = match below {
                Some(below) => name.join(below.as_str()).ok(),
                None => Some(name.clone()),
            };
            all.extend(path.map(|path| Touched {
                path,
                before: file.before.clone(),
            }));
        }
    }
    all
}

/// Returns why everything may be affected, if sources lie outside of the course: where git does not look, or where a file
/// is touched.
pub(super) fn leading_out(basis: &Basis<'_>, affected: &Affected) -> Option<String> {
    let root = &basis.course.place.root;
    let mut outside = links(basis).into_iter();
    outside.find_map(|Link { name, real }| {
        let is_unseen = |top: &PathBuf| !real.starts_with(top);
        if real.starts_with(root) {
            None
        } else if affected.top.as_ref().is_some_and(is_unseen) {
            let real = real.display();
            Some(format!(
                "`{name}` leads to `{real}`, where git does not look"
            ))
        } else {
            let mut touched = affected.outside.iter();
            let file = touched.find(|file| file.starts_with(&real) || real.starts_with(file))?;
            let file = file.display();
            Some(format!("`{file}` changed, to which `{name}` leads"))
        }
    })
}

/// Returns the links among the sources and other inputs of actions.
fn links(basis: &Basis<'_>) -> Vec<Link> {
    let root = &basis.course.place.root;
    let Some(scanned) = basis.sources.listed() else {
        return Vec::new();
    };
    let listing = scanned.listing();
    let all = listing.dirs.iter().chain(&listing.files);
    let is_link = |name: &&RelPath| {
        let found = name.under(root).symlink_metadata();
        found.is_ok_and(|found| found.is_symlink())
    };
    let linked: Vec<&RelPath> = match scanned.has_links {
        true => all.filter(is_link).collect(),
        false => Vec::new(),
    };
    // Of these a directory above may be a link.
    let actions = basis.loaded.plan.actions.iter();
    let inputs = actions.flat_map(|action| action.inputs.iter().map(|(path, _)| path));
    let others = inputs.filter(|path| !listing.files.contains(*path));
    let mut others: Vec<&RelPath> = others.chain(scanned.roots.iter().flatten()).collect();
    others.sort_unstable();
    others.dedup();
    let names = linked.into_iter().chain(others);
    let links = names.filter_map(|name| {
        let path = name.under(root);
        let real = path.canonicalize().ok().filter(|real| *real != path)?;
        let name = name.clone();
        Some(Link { name, real })
    });
    links.collect()
}
