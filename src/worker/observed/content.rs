//! The contents of directories of modules, as far as imports depend on them: as texts to be digested, and as stamps.

use std::collections::HashSet;
use std::path::Path;
use std::sync::OnceLock;

use super::Look;

/// The modules of the standard library of all current versions of Python.
const STDLIB: &str = include_str!("stdlib.txt");
/// The maximum depth and number of modules that are searched for below a directory.
const DEPTH: usize = 8;
const MOST: usize = 5000;

/// Files of a distribution that record where and how it was installed, and not its contents.
const OF_INSTALLATION: [&str; 5] = [
    "direct_url.json",
    "INSTALLER",
    "REQUESTED",
    "RECORD",
    "uv_cache.json",
];

/// Returns the sorted names in a directory; directories end with `/`. Empty for a directory that cannot be read.
fn entries(dir: &Path) -> Vec<String> {
    let found = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = found
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let kind = entry.file_type().ok()?;
            let is_dir = kind.is_dir() || kind.is_symlink() && entry.path().is_dir();
            Some(if is_dir { format!("{name}/") } else { name })
        })
        .collect();
    names.sort();
    names
}

/// Returns the name of the module that an entry of a directory may be.
fn module_of(entry: &str) -> Option<&str> {
    if let Some(dir) = entry.strip_suffix('/') {
        return (!dir.contains('.')).then_some(dir);
    }
    let (name, rest) = entry.split_once('.')?;
    let suffix = rest.rsplit('.').next()?;
    ["py", "pyc", "so", "pyd"].contains(&suffix).then_some(name)
}

fn matching(dir: &Path, names: &str) -> Vec<String> {
    static NAMES: OnceLock<HashSet<&str>> = OnceLock::new();
    let stdlib = NAMES.get_or_init(|| STDLIB.split_whitespace().collect());
    let wanted: HashSet<&str> = names.split(' ').collect();
    let has_stdlib = wanted.contains("*");
    let mut found = entries(dir);
    found.retain(|entry| {
        module_of(entry)
            .is_some_and(|name| wanted.contains(name) || has_stdlib && stdlib.contains(name))
    });
    found
}

fn look(path: &Path) -> Option<Look> {
    std::fs::metadata(path).ok().map(|found| Look::of(&found))
}

/// Returns the modules of these names in a directory.
pub(super) fn names(dir: &Path, names: &str) -> String {
    matching(dir, names).join("\n")
}

/// Returns the state of the modules of these names. Its stamp is that of the directory, which changes whenever names in
/// it change. Only modules that are found count as changed: the interpreter itself writes to directories of modules.
pub(super) fn look_at_names(dir: &Path, names: &str) -> Look {
    let found = matching(dir, names).into_iter();
    let files = found.filter_map(|name| look(&dir.join(name)));
    Look {
        changed_ns: files.map(|look| look.changed_ns).max().unwrap_or_default(),
        ..look(dir).unwrap_or_else(|| Look::at_value(""))
    }
}

fn visible(dir: &Path) -> Vec<String> {
    let mut found = entries(dir);
    found.retain(|name| !name.starts_with('.') && name != "__pycache__/");
    found
}

/// Returns all names in a directory.
pub(super) fn all(dir: &Path) -> String {
    visible(dir).join("\n")
}

pub(super) fn look_at_all(dir: &Path) -> Look {
    look(dir).map_or_else(
        || Look::at_value(""),
        |look| Look {
            changed_ns: 0,
            ..look
        },
    )
}

fn records(dir: &Path, names: &str) -> Vec<(String, std::path::PathBuf)> {
    let names = names.split(' ');
    names
        .map(|name| {
            let record = dir.join(format!("{name}.dist-info")).join("RECORD");
            (name.to_owned(), record)
        })
        .collect()
}

/// Returns the contents of distributions. Lines about scripts, which contain the interpreter's path, are left out, and
/// so are those about `.pth` files of editable distributions, which name directories that are inputs themselves.
pub(super) fn dists(dir: &Path, names: &str) -> String {
    let mut text = String::new();
    for (name, record) in records(dir, names) {
        text.push_str(&name);
        text.push('\n');
        // A missing one has no lines.
        let lines = std::fs::read_to_string(record).unwrap_or_default();
        let mut lines: Vec<&str> = lines.lines().filter(|line| is_content(line)).collect();
        lines.sort_unstable();
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// Returns whether a line of a `RECORD` is about a file that can be imported or read.
fn is_content(line: &str) -> bool {
    let Some((path, rest)) = line
        .rsplit_once(',')
        .and_then(|(rest, _)| rest.rsplit_once(','))
    else {
        return false;
    };
    let path = path.trim_matches('"');
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_of_installation = path.contains(".dist-info/") && OF_INSTALLATION.contains(&name);
    !(rest.is_empty() || path.starts_with("../") || is_of_installation || is_pth(path))
}

pub(super) fn look_at_dists(dir: &Path, names: &str) -> Look {
    let looks = records(dir, names).into_iter();
    let looks: Vec<_> = looks.map(|(name, record)| (name, look(&record))).collect();
    Look::of_all(&looks)
}

/// Returns whether a file extends the search path.
fn is_pth(name: &str) -> bool {
    let extends = [".pth", ".egg-link"].iter().any(|end| name.ends_with(end));
    extends || name.starts_with("__editable__") && name.ends_with(".py")
}

fn pth_files(dir: &Path) -> Vec<String> {
    let mut found = entries(dir);
    found.retain(|name| is_pth(name));
    found
}

/// Returns the contents of the files of a directory that extend the search path.
pub(super) fn pth(dir: &Path, portable: &dyn Fn(&str) -> String) -> String {
    let mut text = String::new();
    for name in pth_files(dir) {
        let content = std::fs::read(dir.join(&name)).unwrap_or_default();
        let content = portable(&String::from_utf8_lossy(&content));
        text.push_str(&format!("{name} {}\n{content}\n", content.len()));
    }
    text
}

pub(super) fn look_at_pth(dir: &Path) -> Look {
    let files = pth_files(dir).into_iter();
    let looks: Vec<_> = files
        .map(|name| {
            let look = look(&dir.join(&name));
            (name, look)
        })
        .collect();
    Look::of_all(&looks)
}

/// Collects all modules below a directory, except environments.
fn modules(dir: &Path, below: &str, depth: usize, found: &mut Vec<String>) {
    for name in visible(dir) {
        let path = format!("{below}{name}");
        match name.strip_suffix('/') {
            Some(inner) if depth > 0 && !inner.ends_with("-packages") => {
                modules(&dir.join(inner), &path, depth - 1, found);
            }
            None if module_of(&name).is_some() && found.len() < MOST => found.push(path),
            _ => {}
        }
    }
}

fn modules_below(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    modules(dir, "", DEPTH, &mut found);
    found
}

/// Returns the modules below a directory with their contents.
pub(super) fn tree(dir: &Path) -> String {
    let mut text = String::new();
    for path in modules_below(dir) {
        if let Ok(digest) = crate::digest::Digest::of_file(&dir.join(&path)) {
            text.push_str(&format!("{path} {digest}\n"));
        }
    }
    text
}

pub(super) fn look_at_tree(dir: &Path) -> Look {
    let files = modules_below(dir).into_iter();
    let looks: Vec<_> = files
        .map(|path| {
            let look = look(&dir.join(&path));
            (path, look)
        })
        .collect();
    Look::of_all(&looks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_by_what_can_be_imported() {
        let content = [
            "courselib/__init__.py,sha256=a,10",
            "\"courselib/a,b.txt\",sha256=b,3",
            "courselib-1.0.dist-info/METADATA,sha256=c,50",
        ];
        let others = [
            "courselib/__pycache__/__init__.cpython-311.pyc,,",
            "../../../bin/tool,sha256=d,250",
            "courselib-1.0.dist-info/direct_url.json,sha256=e,60",
            "courselib-1.0.dist-info/RECORD,,",
            "__editable__.courselib-1.0.pth,sha256=f,20",
            "nonsense",
        ];
        assert!(content.iter().all(|line| is_content(line)));
        assert!(!others.iter().any(|line| is_content(line)));
    }

    #[test]
    fn only_modules_that_are_looked_for_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        for name in ["data.csv", "other.py", "a.txt"] {
            std::fs::write(path.join(name), "").unwrap();
        }
        assert_eq!(names(path, "a b"), "");
        let nothing = look_at_names(path, "a b");
        assert_eq!(nothing.changed_ns, 0);
        std::fs::write(path.join("a.cpython-311-x86_64-linux-gnu.so"), "").unwrap();
        std::fs::create_dir(path.join("b")).unwrap();
        std::fs::write(path.join("json.py"), "").unwrap();
        assert_eq!(names(path, "a b"), "a.cpython-311-x86_64-linux-gnu.so\nb/");
        assert_eq!(names(path, "* c"), "json.py");
        assert!(look_at_names(path, "a b").changed_ns > 0);
        assert_eq!(names(&path.join("absent"), "a"), "");
    }

    #[test]
    fn search_paths_are_the_same_on_every_machine() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x.pth"), "/here/course/lib\n").unwrap();
        std::fs::write(dir.path().join("y.py"), "no").unwrap();
        let text = pth(dir.path(), &|text| text.replace("/here/course", "{course}"));
        assert!(
            text.contains("{course}/lib") && !text.contains("no"),
            "{text}"
        );
        let before = look_at_pth(dir.path());
        std::fs::write(dir.path().join("z.pth"), "").unwrap();
        assert_ne!(look_at_pth(dir.path()), before);
    }
}
