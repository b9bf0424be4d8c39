//! What clm has installed in its tools directory.

use std::path::{Path, PathBuf};

use super::Context;
use super::downloads::Downloads;
use super::install::{Component, MARK};
use super::sizes;

/// The length of the digest in the name of a component's directory.
const DIGEST: usize = 12;
/// The start of the names of directories that are being removed.
pub(super) const GONE: &str = "gone-";

/// What a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The component of this version of clm.
    Current,
    /// The component of another version of clm.
    Other,
    /// Remains of an interrupted installation or removal, or downloads for the next one.
    Unfinished,
    /// What programs of the component stored for themselves.
    Cache,
}

/// A directory that belongs to a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    component: Component,
    /// What it is.
    pub kind: Kind,
    /// The directory.
    pub dir: PathBuf,
}

impl Item {
    /// Returns the name of its component.
    pub(crate) fn name(&self) -> &'static str {
        self.component.name()
    }

    /// Returns the component.
    pub(super) fn component(&self) -> Component {
        self.component
    }

    /// Returns the bytes of its files.
    pub(crate) fn bytes(&self) -> u64 {
        sizes::of_tree(&self.dir)
    }
}

/// What is in the tools directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inventory {
    /// What clm made, ordered by component.
    pub items: Vec<Item>,
    /// What has the name of a component, but was not made by clm as a whole.
    pub foreign: Vec<(&'static str, PathBuf)>,
}

/// Looks at the tools directory.
pub(crate) fn inventory(context: &Context) -> Inventory {
    let tools_dir = &context.tools_dir;
    let mut inventory = Inventory::default();
    let mut add = |component, kind, dir: PathBuf| {
        inventory.items.push(Item {
            component,
            kind,
            dir,
        });
    };
    let mut foreign = Vec::new();
    for entry in std::fs::read_dir(tools_dir).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Some((component, kind)) = classify(&name.to_string_lossy(), tools_dir) else {
            continue;
        };
        // A link leads to something that clm did not make. A component is clm's as a whole: it appears complete under a
        // name with the digest of its packages, and with a mark since there is one.
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let is_marked = kind != Kind::Other || path.join(MARK).is_file();
        match is_dir && is_marked {
            true => add(component, kind, path),
            false => foreign.push((component.name(), path)),
        }
    }
    for component in Component::ALL {
        let downloads = Downloads::of(component, tools_dir).dir().to_path_buf();
        if downloads
            .symlink_metadata()
            .is_ok_and(|metadata| metadata.is_dir())
        {
            add(component, Kind::Unfinished, downloads);
        }
    }
    inventory.items.sort_by(|one, other| {
        let key = |item: &Item| (item.component, item.dir.clone());
        key(one).cmp(&key(other))
    });
    foreign.sort();
    inventory.foreign = foreign;
    inventory
}

/// Returns what a name in the tools directory stands for.
fn classify(name: &str, tools_dir: &Path) -> Option<(Component, Kind)> {
    if name == "deno-cache" {
        return Some((Component::Deno, Kind::Cache));
    }
    Component::ALL.into_iter().find_map(|component| {
        let place = tools_dir.join(name);
        if place == component.dir(tools_dir) {
            return Some((component, Kind::Current));
        }
        if place == component.unfinished(tools_dir) {
            return Some((component, Kind::Unfinished));
        }
        let is_of = |name: &str| {
            let digest = name.strip_prefix(component.name());
            digest
                .and_then(|rest| rest.strip_prefix('-'))
                .is_some_and(|digest| {
                    digest.len() == DIGEST && digest.chars().all(|char| char.is_ascii_hexdigit())
                })
        };
        match name.strip_prefix(GONE) {
            Some(name) if is_of(name) => Some((component, Kind::Unfinished)),
            None if is_of(name) => Some((component, Kind::Other)),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_clm_made_is_listed() {
        let dir = tempfile::tempdir().unwrap();
        let context = Context {
            tools_dir: dir.path().to_path_buf(),
            ..Context::default()
        };
        assert!(inventory(&context).items.is_empty());
        let current = Component::Java.dir(dir.path());
        assert_eq!(
            current.file_name().unwrap().len(),
            "java-".len() + DIGEST,
            "{}",
            current.display()
        );
        for name in [
            "java-0123456789ab",
            "java-mine",
            "javascript-0123456789ab",
            "new-java",
            "gone-java-0123456789ab",
            "plantuml-0123456789ab",
            "downloads/fonts",
            "deno-cache",
            "run",
        ] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        std::fs::create_dir(&current).unwrap();
        std::fs::write(dir.path().join("plantuml-0123456789ab").join(MARK), "").unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("node-0123456789ab")).unwrap();
        std::fs::write(dir.path().join("fonts-0123456789ab"), "").unwrap();

        let found = inventory(&context);
        let kinds: Vec<(&str, Kind)> = found
            .items
            .iter()
            .map(|item| (item.name(), item.kind))
            .collect();
        assert_eq!(
            kinds,
            [
                ("plantuml", Kind::Other),
                ("java", Kind::Unfinished),
                ("java", Kind::Current),
                ("java", Kind::Unfinished),
                ("fonts", Kind::Unfinished),
                ("deno", Kind::Cache),
            ]
        );
        let foreign: Vec<&str> = found.foreign.iter().map(|(name, _)| *name).collect();
        assert_eq!(foreign, ["fonts", "java", "node"]);
    }
}
