//! The copies of dir-groups, which are directories that are copied unchanged.

use crate::course::file_name::sanitize;
use crate::course::spec::DirGroup;
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
    let needs_whole_path = group.subdirs.is_empty() || group.include_root_files;
    if let Some(path) = &group.path
        && needs_whole_path
        && !listing.dirs.contains(path)
    {
        let mut diagnostic = Diagnostic::warning(format!(
            "the directory `{path}` of a dir-group is not there"
        ))
        .hint("check the `<path>`: it is relative to the course root");
        diagnostic.line = Some(group.line);
        diagnostic.column = Some(group.column);
        maker.claims.diagnostics.push(diagnostic);
        return;
    }
    let starts: Vec<Option<RelPath>> = if group.subdirs.is_empty() {
        if group.recursive {
            vec![None]
        } else {
            Vec::new()
        }
    } else {
        group.subdirs.clone()
    };
    for subdir in &starts {
        let dir = match (&group.path, subdir) {
            (Some(path), Some(subdir)) => path.join(subdir.as_str()).ok(),
            (Some(path), None) => Some(path.clone()),
            (None, subdir) => subdir.clone(),
        };
        if let Some(dir) = &dir
            && !listing.dirs.contains(dir)
        {
            let mut diagnostic =
                Diagnostic::warning(format!("the directory `{dir}` of a dir-group is not there"))
                    .hint("check the `<subdir>`: it is relative to the `<path>` of the dir-group");
            diagnostic.line = Some(group.line);
            diagnostic.column = Some(group.column);
            maker.claims.diagnostics.push(diagnostic);
            continue;
        }
        let files: Vec<RelPath> = listing
            .files
            .iter()
            .filter(|file| dir.as_ref().is_none_or(|dir| file.starts_with(dir)))
            .filter(|file| {
                let below = dir
                    .as_ref()
                    .map_or(Some((*file).clone()), |dir| file.strip_prefix(dir));
                below.is_some_and(|below| is_copied(&below, group.recursive))
            })
            .cloned()
            .collect();
        for file in &files {
            copy(maker, group, file);
        }
        for empty in listing.dirs.iter().filter(|candidate| {
            dir.as_ref().is_none_or(|dir| candidate.starts_with(dir))
                && (group.recursive || Some(*candidate) == dir.as_ref())
                && candidate.components().all(|part| !is_ignored_dir(part))
                && listing.below(candidate).next().is_none()
        }) {
            for (_, place) in places(maker, group, empty) {
                maker.layout.empty_dirs.push(place);
            }
        }
    }
    if group.include_root_files {
        let files: Vec<RelPath> = listing
            .files
            .iter()
            .filter(|file| file.parent() == group.path)
            .cloned()
            .collect();
        for file in &files {
            copy(maker, group, file);
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
        for lang in Lang::ALL
            .into_iter()
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
