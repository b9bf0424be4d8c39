//! Removes what clm has installed, and nothing else.

use std::path::{Path, PathBuf};

use crate::error::{Dir, Error, Result};

use super::Context;
use super::downloads::Downloads;
use super::install::InstallLock;
use super::inventory::{GONE, Inventory, Item, Kind, inventory};
use super::selection::components;
use super::users::users;

/// What is to be removed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Removal<'r> {
    /// The names of components; all if it is empty.
    pub names: &'r [String],
    /// Only what this version of clm does not use: that of other versions, and what is unfinished.
    pub only_old: bool,
}

/// Returns what [`remove`] would remove.
pub(crate) fn removable(context: &Context, removal: Removal<'_>) -> Inventory {
    let mut inventory = inventory(context);
    let names = removal.names;
    if !names.is_empty() {
        let selected = components(names);
        let is_selected = |item: &Item| selected.contains(&item.component());
        inventory.items.retain(is_selected);
        inventory
            .foreign
            .retain(|(name, _)| names.iter().any(|selected| selected == name));
    }
    if removal.only_old {
        let is_old = |item: &Item| matches!(item.kind, Kind::Other | Kind::Unfinished);
        inventory.items.retain(is_old);
    }
    inventory
}

/// Removes components, and calls `removed` after each directory with its size. Fails if another process installs or uses
/// any of it; nothing is removed then.
pub(crate) fn remove(
    context: &Context,
    removal: Removal<'_>,
    removed: &mut dyn FnMut(&Item, u64),
) -> Result<Inventory> {
    let tools_dir = &context.tools_dir;
    let inventory = removable(context, removal);
    if inventory.items.is_empty() {
        return Ok(inventory);
    }
    let Some(_lock) = InstallLock::try_take(tools_dir)? else {
        return Err(Error::usage("another clm installs or removes renderers")
            .hint("wait until it has ended, and run the command again"));
    };
    let inventory = removable(context, removal);
    refuse_if_used(context, &inventory)?;
    for item in &inventory.items {
        let bytes = item.bytes();
        remove_dir(&item.dir)?;
        removed(item, bytes);
    }
    // It remains if it has something else.
    let _ = std::fs::remove_dir(Downloads::all(tools_dir));
    Ok(inventory)
}

/// Fails if a process uses any of it.
pub(crate) fn refuse_if_used(context: &Context, inventory: &Inventory) -> Result<()> {
    let dirs: Vec<PathBuf> = inventory
        .items
        .iter()
        .map(|item| item.dir.clone())
        .collect();
    if dirs.is_empty() {
        return Ok(());
    }
    let users = users(&context.tools_dir, &dirs);
    if users.is_empty() {
        return Ok(());
    }
    let mut error = Error::usage("the renderers are in use; nothing was removed")
        .hint("end these (`clm daemon stop` ends a daemon), and run the command again");
    if let Some(diagnostic) = error.diagnostics.first_mut() {
        diagnostic.detail = Some(users.join("\n"));
    }
    Err(error)
}

/// Removes a directory under another name, so that it never looks installed and incomplete.
fn remove_dir(dir: &Path) -> Result<()> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let is_component = name
        .rsplit('-')
        .next()
        .is_some_and(|digest| digest.len() == 12)
        && !name.starts_with(GONE);
    let place = match is_component {
        true => dir.with_file_name(format!("{GONE}{name}")),
        false => dir.to_path_buf(),
    };
    let io = |error: std::io::Error| Error::io_in(Dir::Tools, "remove", dir, &error);
    if is_component {
        if place.exists() {
            std::fs::remove_dir_all(&place).map_err(io)?;
        }
        std::fs::rename(dir, &place).map_err(io)?;
    }
    match std::fs::remove_dir_all(&place) {
        // It was removed together with the directory of the same name.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(io),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::Owner;
    use crate::tools::install::{Component, install};

    fn context(dir: &Path) -> Context {
        Context {
            tools_dir: dir.to_path_buf(),
            ..Context::default()
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn install_java(context: &Context) {
        install(Component::Java, context, |dir| {
            std::fs::write(dir.join("java"), "abc").unwrap();
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn what_is_named_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let context = context(dir.path());
        install_java(&context);
        install(Component::Fonts, &context, |_| Ok(())).unwrap();
        std::fs::create_dir_all(dir.path().join("downloads/java")).unwrap();
        std::fs::create_dir(dir.path().join("java-mine")).unwrap();
        let mut removed = Vec::new();
        let selected = ["java".to_owned()];
        let java = Removal {
            names: &selected,
            only_old: false,
        };
        remove(&context, java, &mut |item, bytes| {
            removed.push((item.name(), bytes));
        })
        .unwrap();
        removed.sort();
        assert_eq!(removed, [("java", 0), ("java", 7)]);
        let left = names(dir.path());
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(Component::Fonts.path(&context).is_some());
        assert!(Component::Java.path(&context).is_none());
        remove(&context, Removal::default(), &mut |_, _| {}).unwrap();
        assert_eq!(names(dir.path()), ["install.lock", "java-mine"]);
    }

    #[test]
    fn nothing_is_removed_while_somebody_installs_or_works() {
        let dir = tempfile::tempdir().unwrap();
        let context = context(dir.path());
        // Nothing is created where there is nothing to remove.
        remove(&context, Removal::default(), &mut |_, _| {}).unwrap();
        assert!(names(dir.path()).is_empty());
        install_java(&context);
        let lock = InstallLock::take(dir.path(), || {}).unwrap();
        let error = remove(&context, Removal::default(), &mut |_, _| {}).unwrap_err();
        assert!(error.to_string().contains("installs or removes"), "{error}");
        drop(lock);
        let run = dir.path().join("run").join(Owner::current().dir_name());
        std::fs::create_dir_all(&run).unwrap();
        let error = remove(&context, Removal::default(), &mut |_, _| {}).unwrap_err();
        assert!(error.to_string().contains("in use"), "{error}");
        let detail = error.diagnostics[0].detail.clone().unwrap();
        assert!(detail.contains("clm with workers"), "{detail}");
        assert!(Component::Java.path(&context).is_some());
        std::fs::remove_dir(&run).unwrap();
        remove(&context, Removal::default(), &mut |_, _| {}).unwrap();
        assert!(Component::Java.path(&context).is_none());
    }
}
