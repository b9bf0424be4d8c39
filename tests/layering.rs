//! The house: which room may import which.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// For every room the rooms it may use. Rooms at the bottom are free for all.
pub(crate) const ALLOWED: &[(&str, &[&str])] = &[
    (
        "cli",
        &[
            "daemon", "ui", "web", "tools", "profile", "compare", "engine", "watch", "runner",
            "farm", "worker", "remote", "store", "plan", "scaffold", "course",
        ],
    ),
    // What a new course consists of; `cli` writes it.
    ("scaffold", &["course"]),
    ("tools", &["engine", "worker", "store", "plan", "course"]),
    ("ui", &["engine", "course"]),
    // It measures everybody, by the spans that they open, and knows nobody.
    ("profile", &[]),
    // Outputs are files, whoever made them.
    ("compare", &[]),
    (
        "engine",
        &[
            "compare", "watch", "farm", "worker", "remote", "store", "plan", "course",
        ],
    ),
    ("watch", &["course"]),
    ("web", &["engine", "course"]),
    ("daemon", &["engine", "watch", "course"]),
    // On the machine of a farm: neither a course's plan nor its records.
    ("runner", &["tools", "farm", "worker", "remote", "course"]),
    ("farm", &["worker", "remote", "course"]),
    ("worker", &["course"]),
    ("store", &["course"]),
    ("remote", &[]),
    ("plan", &["course"]),
    ("course", &[]),
    // Settings speak the words of the course format.
    ("config", &["course"]),
    ("clock", &[]),
    ("diagnostic", &[]),
    ("digest", &[]),
    ("error", &[]),
    // An index of the course comes with the event of its planning.
    ("events", &["course"]),
    ("files", &[]),
    ("memory", &[]),
    ("mounts", &[]),
    ("owner", &[]),
    ("parallel", &[]),
    ("private", &[]),
    // Only for the tests of the project.
    (
        "testing",
        &[
            "daemon", "web", "tools", "compare", "engine", "watch", "worker", "store", "plan",
            "course",
        ],
    ),
];
pub(crate) const BOTTOM: &[&str] = &[
    "clock",
    "config",
    "diagnostic",
    "digest",
    "error",
    "events",
    "files",
    "memory",
    "mounts",
    "owner",
    "parallel",
    "private",
];
/// What the pure rooms and files must not know.
pub(crate) const PURE: &[(&str, &[&str])] = &[
    (
        "course",
        &["tokio", "rusqlite", "notify", "std::fs", "std::process"],
    ),
    (
        "plan",
        &["tokio", "rusqlite", "notify", "std::fs", "std::process"],
    ),
    (
        "scaffold",
        &["tokio", "rusqlite", "notify", "std::fs", "std::process"],
    ),
    // The scheduler: it decides, and others act.
    (
        "engine/schedule/mod.rs",
        &[
            "tokio",
            "rusqlite",
            "std::fs",
            "std::process",
            "Instant",
            "SystemTime",
            "Store",
            "Pool",
            "Publisher",
        ],
    ),
    // The settle machine: time is given to it.
    (
        "watch/settle.rs",
        &[
            "tokio",
            "rusqlite",
            "notify",
            "std::fs",
            "std::process",
            "Instant",
            "SystemTime",
        ],
    ),
];

#[test]
fn rooms_import_only_what_the_house_allows() {
    let mut wrong = Vec::new();
    let mut edges = 0;
    for (room, text, file) in sources() {
        let allowed: &[&str] = ALLOWED
            .iter()
            .find(|(name, _)| *name == room)
            .unwrap_or_else(|| panic!("`{room}` has no place in the house"))
            .1;
        for other in imports(&text) {
            edges += 1;
            let is_fine = other == room
                || BOTTOM.contains(&other.as_str())
                || allowed.contains(&other.as_str());
            if !is_fine {
                wrong.push(format!("{} uses `{other}`", file.display()));
            }
        }
    }
    assert!(
        edges > 50,
        "only {edges} imports were found: the test does not see the code"
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn pure_rooms_know_no_effects() {
    let mut wrong = Vec::new();
    let mut found = Vec::new();
    for (room, text, file) in sources() {
        let is_pure = |name: &str| name == room || file.ends_with(name);
        let Some((name, forbidden)) = PURE.iter().find(|(name, _)| is_pure(name)) else {
            continue;
        };
        found.push(*name);
        let code = text.split("#[cfg(test)]").next().unwrap();
        for word in *forbidden {
            if code
                .lines()
                .any(|line| !line.trim_start().starts_with("//") && line.contains(word))
            {
                wrong.push(format!("{} knows `{word}`", file.display()));
            }
        }
    }
    assert!(PURE.iter().all(|(name, _)| found.contains(name)));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_can_be_read_in_one_go() {
    let long: BTreeMap<PathBuf, usize> = sources()
        .into_iter()
        .map(|(_, text, file)| (file, text.lines().count()))
        .filter(|(_, lines)| *lines > 800)
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

/// A dependency that no line of code names is compiled, licensed and updated for nothing.
#[test]
fn every_dependency_is_used() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let src: String = sources().into_iter().map(|(_, text, _)| text).collect();
    let tests: String = files(&root.join("tests"))
        .into_iter()
        .map(|(text, _)| text)
        .collect();
    let mut unused = Vec::new();
    for (table, places) in [
        ("dependencies", &[&src][..]),
        ("dev-dependencies", &[&src, &tests]),
    ] {
        for name in manifest[table].as_table().unwrap().keys() {
            let name = name.replace('-', "_");
            let uses = [format!("{name}::"), format!("use {name};")];
            let is_used = |text: &&String| uses.iter().any(|code| text.contains(code));
            if !places.iter().any(is_used) {
                unused.push(format!("{table}: {name}"));
            }
        }
    }
    assert!(unused.is_empty(), "{unused:#?}");
}

/// Every source file: its room, text and path.
fn sources() -> Vec<(String, String, PathBuf)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let room = |path: &Path| {
        let room = path
            .strip_prefix(&src)
            .unwrap()
            .components()
            .next()
            .unwrap();
        let room = room.as_os_str().to_str().unwrap();
        room.trim_end_matches(".rs").to_owned()
    };
    let found: Vec<_> = files(&src)
        .into_iter()
        .map(|(text, path)| (room(&path), text, path))
        .filter(|(room, ..)| room != "main" && room != "lib")
        .collect();
    assert!(found.len() > 40);
    found
}

/// The text and path of every Rust file below a directory.
fn files(dir: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((std::fs::read_to_string(&path).unwrap(), path));
            }
        }
    }
    found
}

/// The rooms named by `crate::…` in a file, tests included.
fn imports(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap().split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let room: String = name
                .trim()
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            if !room.is_empty() {
                rooms.push(room);
            }
        }
    }
    rooms
}
