//! The fonts that draw.io's browser finds: those of clm, and those of the system and the user.

use std::path::{Path, PathBuf};

use crate::digest::Digest;

use super::Context;
use super::install::Component;

/// The maximum depth of directories that are scanned: links may form cycles.
const DEPTH: usize = 5;

/// The directories of fonts, and a fingerprint of the fonts in them.
#[derive(Clone, Debug, Default)]
pub(super) struct Fonts {
    /// The directories, with clm's own first; empty if clm's fonts are not installed.
    pub dirs: Vec<PathBuf>,
    /// Enters action keys, since other fonts produce other images. Contains no path of this machine.
    pub fingerprint: String,
}

/// Returns the fonts of this machine.
pub(super) fn find(context: &Context) -> Fonts {
    let system = system_dirs(context);
    match Component::Fonts.path(context) {
        Some(ours) => Fonts {
            fingerprint: with_ours(&others(&system)),
            dirs: std::iter::once(ours).chain(system).collect(),
        },
        None => Fonts {
            dirs: Vec::new(),
            fingerprint: format!("fonts: {}", others(&system)),
        },
    }
}

/// Returns the fingerprint that the fonts would have, if those of clm were installed where it installs them.
pub(super) fn after_setup(context: &Context) -> String {
    match cfg!(target_os = "linux") {
        true => with_ours(&others(&system_dirs(context))),
        false => find(context).fingerprint,
    }
}

fn with_ours(others: &str) -> String {
    format!("fonts {}, {others}", Component::Fonts.digest().short())
}

/// Returns the number and the digest of the fonts in these directories.
fn others(system: &[PathBuf]) -> String {
    let mut names = Vec::new();
    for dir in system {
        collect(dir, DEPTH, &mut names);
    }
    names.sort_unstable();
    names.dedup();
    format!(
        "{} others ({})",
        names.len(),
        Digest::of(names.join("\0")).short()
    )
}

fn system_dirs(context: &Context) -> Vec<PathBuf> {
    let mut dirs = vec![
        PathBuf::from("/usr/share/fonts"),
        PathBuf::from("/usr/local/share/fonts"),
    ];
    let home = context.var("HOME").map(PathBuf::from);
    let data = context.var("XDG_DATA_HOME").map(PathBuf::from);
    let data = data.or_else(|| Some(home.as_ref()?.join(".local/share")));
    dirs.extend(data.map(|data| data.join("fonts")));
    dirs.extend(home.map(|home| home.join(".fonts")));
    dirs.retain(|dir| dir.is_dir());
    dirs
}

/// Collects the names of all font files below a directory. Their versions are not part of the fingerprint: they could
/// only be read from the files.
fn collect(dir: &Path, depth: usize, names: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let extension = name.rsplit('.').next().unwrap_or_default().to_lowercase();
        if matches!(
            extension.as_str(),
            "ttf" | "otf" | "ttc" | "otc" | "pfb" | "pcf" | "woff" | "woff2"
        ) {
            names.push(name);
        } else if depth > 0 && entry.path().is_dir() {
            collect(&entry.path(), depth - 1, names);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_fonts_are_another_fingerprint() {
        let dir = tempfile::tempdir().unwrap();
        let fonts = dir.path().join("fonts/deep");
        std::fs::create_dir_all(&fonts).unwrap();
        let mut context = Context {
            tools_dir: dir.path().join("tools"),
            ..Context::default()
        };
        context
            .env
            .insert("XDG_DATA_HOME".into(), dir.path().into());
        let without = find(&context);
        assert!(without.dirs.is_empty());
        std::fs::write(fonts.join("readme.txt"), "").unwrap();
        assert_eq!(find(&context).fingerprint, without.fingerprint);
        std::fs::write(fonts.join("Company.TTF"), "").unwrap();
        let with = find(&context);
        assert_ne!(with.fingerprint, without.fingerprint);
        assert!(
            !with.fingerprint.contains("Company"),
            "{}",
            with.fingerprint
        );
    }
}
