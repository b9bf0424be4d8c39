//! The copies of dir-groups, which are directories that are copied unchanged.

use crate::course::file_name::sanitize;
use crate::course::spec::{DirGroup, located};
use crate::course::tree::{Listing, is_ignored_dir, is_never_output};
use crate::course::{Lang, RelPath};
use crate::diagnostic::Diagnostic;

use super::claims::Making;
use super::names::course_dir;
use super::{Destination, Maker, OutputClass};

/// Adds the copies of all dir-groups: those of topics in order, then the global ones.
pub(super) fn add(maker: &mut Maker<'_>, listing: &Listing) {
    let spec = maker.spec;
    for (index, section) in spec.sections.iter().enumerate() {
        for topic in &section.topics {
            if !topic.dir_groups.is_empty() {
                maker.enter_topic(index, &topic.id);
            }
            for group in &topic.dir_groups {
                add_group(maker, listing, group);
            }
        }
    }
    maker.topic = None;
    for group in &spec.dir_groups {
        add_group(maker, listing, group);
    }
}

fn add_group(maker: &mut Maker<'_>, listing: &Listing, group: &DirGroup) {
    let is_missing = |dir: &RelPath| !listing.dirs.contains(dir);
    let needs_whole_path = group.subdirs.is_empty() || group.include_root_files;
    if let Some(path) = group.path.as_ref().filter(|path| is_missing(path))
        && needs_whole_path
    {
        let hint = "check the `<path>`: it is relative to the course root";
        maker
            .claims
            .diagnostics
            .push(missing_dir(group, path, hint));
        return;
    }
    for dir in copied_dirs(group) {
        if let Some(dir) = dir.as_ref().filter(|dir| is_missing(dir)) {
            let hint = "check the `<subdir>`: it is relative to the `<path>` of the dir-group";
            maker.claims.diagnostics.push(missing_dir(group, dir, hint));
            continue;
        }
        add_dir(maker, listing, group, dir.as_ref());
    }
    if group.include_root_files {
        for file in &listing.files {
            if file.parent() == group.path {
                copy(maker, group, file);
            }
        }
    }
}

fn missing_dir(group: &DirGroup, dir: &RelPath, hint: &str) -> Diagnostic {
    let message = format!("the directory `{dir}` of a dir-group is not there");
    let warning = Diagnostic::warning(message).hint(hint);
    located(warning, group.line, group.column)
}

/// Returns the directories whose content is copied; `None` is the course root.
fn copied_dirs(group: &DirGroup) -> Vec<Option<RelPath>> {
    if group.subdirs.is_empty() {
        // Otherwise only the files directly in `path` are copied, by `include_root_files`.
        return Vec::from_iter(group.recursive.then(|| group.path.clone()));
    }
    let subdirs = group.subdirs.iter();
    let place = |subdir: &Option<RelPath>| match (&group.path, subdir) {
        (Some(path), Some(subdir)) => path.join(subdir.as_str()).ok(),
        (Some(path), None) => Some(path.clone()),
        (None, subdir) => subdir.clone(),
    };
    subdirs.map(place).collect()
}

/// Adds the copies of the files in a directory, and its empty subdirectories.
fn add_dir(maker: &mut Maker<'_>, listing: &Listing, group: &DirGroup, dir: Option<&RelPath>) {
    for file in &listing.files {
        let below = match dir {
            Some(dir) => file.strip_prefix(dir),
            None => Some(file.clone()),
        };
        if below.is_some_and(|below| is_copied(&below, group.recursive)) {
            copy(maker, group, file);
        }
    }
    for empty in listing.dirs.iter().filter(|candidate| {
        dir.is_none_or(|dir| candidate.starts_with(dir))
            && (group.recursive || Some(*candidate) == dir)
            && candidate.components().all(|part| !is_ignored_dir(part))
            && listing.below(candidate).next().is_none()
    }) {
        for (_, place) in places(maker, group, empty) {
            maker.layout.empty_dirs.push(place);
        }
    }
}

/// Returns whether a file of a copied directory is copied: `below` is its path in that directory.
fn is_copied(below: &RelPath, recursive: bool) -> bool {
    if !recursive {
        return below.components().count() == 1;
    }
    !is_never_output(below)
        && below
            .parent()
            .is_none_or(|dir| dir.components().all(|part| !is_ignored_dir(part)))
}

fn copy(maker: &mut Maker<'_>, group: &DirGroup, file: &RelPath) {
    let claimed = places(maker, group, file)
        .into_iter()
        .filter_map(|(lang, place)| {
            let class = (OutputClass::DirGroup, Making::Copied);
            maker.claim(place.target(), place.path(), file, lang, class)
        })
        .collect();
    maker.add_copy(file.clone(), claimed);
}

/// Returns the destinations of a path in the group: one for every target and language.
fn places(maker: &Maker<'_>, group: &DirGroup, path: &RelPath) -> Vec<(Lang, Destination)> {
    let below = match &group.path {
        Some(base) if base == path => String::new(),
        Some(base) => path
            .strip_prefix(base)
            .map_or_else(String::new, |below| below.to_string()),
        None => path.to_string(),
    };
    let mut found = Vec::new();
    for (target, entry) in maker.targets.iter().enumerate() {
        for lang in maker
            .languages
            .iter()
            .copied()
            .filter(|lang| entry.languages.contains(lang))
            .filter(|lang| group.lang.is_none_or(|only| only == *lang))
        {
            let name: Vec<String> = group
                .name
                .get(lang)
                .replace('\\', "/")
                .split('/')
                .filter(|part| !part.is_empty() && *part != ".")
                .map(sanitize)
                .collect();
            let text = format!(
                "{}/{}/{below}",
                course_dir(maker.spec, lang),
                name.join("/")
            );
            let place = maker.destination(target, &text);
            found.extend(place.map(|place| (lang, place)));
        }
    }
    found
}
