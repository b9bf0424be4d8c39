//! Converts the report of a Python kernel (see `kernel_imports.py`) to the discovered inputs of a deck.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use serde_json::Value;

use crate::clock::TICK_NS;
use crate::course::RelPath;
use crate::digest::Stamp;
use crate::parallel::lock;
use crate::worker::observed::{Places, is_elsewhere};

/// The maximum number of inputs that are recorded for one deck.
const MOST: usize = 5000;
/// The extensions of files from which modules are loaded.
const MODULES: [&str; 5] = ["py", "pyc", "so", "pyd", "pth"];

/// The report of a kernel.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The directory of the standard library.
    library: PathBuf,
    /// The working directory of the cells.
    work: PathBuf,
    /// The search path when the kernel had started.
    start: Vec<PathBuf>,
    /// Modules that were loaded by then, with their files.
    loaded: Vec<(String, PathBuf)>,
    /// Look-ups of modules: the last part of the name, the search path, and the file that was found.
    finds: BTreeSet<Find>,
    read: BTreeSet<PathBuf>,
    written: HashSet<PathBuf>,
    listed: BTreeSet<PathBuf>,
    /// Whether other processes were started.
    starts_processes: bool,
    /// Whether one of them was another Python, whose imports are unknown.
    starts_python: bool,
    /// The directory below which all files count, if the cells ran in a directory of the author.
    top: Option<PathBuf>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Find {
    name: String,
    /// Whether it was looked up on the search path, and not in a package.
    is_top: bool,
    path: Arc<Vec<PathBuf>>,
    found: Option<PathBuf>,
}

impl Facts {
    /// Reads a report; invalid lines are skipped.
    pub(super) fn read(file: &Path) -> Self {
        let text = std::fs::read(file).unwrap_or_default();
        Self::parse(&String::from_utf8_lossy(&text))
    }

    fn parse(text: &str) -> Self {
        let mut facts = Self::default();
        let mut paths: HashMap<String, Arc<Vec<PathBuf>>> = HashMap::new();
        for line in text.lines() {
            let Ok(Value::Array(fact)) = serde_json::from_str(line) else {
                continue;
            };
            let text = |index: usize| fact.get(index).and_then(Value::as_str);
            match (text(0), text(1)) {
                (Some("start"), Some(library)) => {
                    facts.library = library.into();
                    facts.work = text(2).unwrap_or_default().into();
                }
                (Some("path"), Some(key)) => {
                    let entries = fact.get(2).and_then(Value::as_array);
                    let entries = entries.into_iter().flatten().filter_map(Value::as_str);
                    let entries: Vec<PathBuf> = entries.map(PathBuf::from).collect();
                    if paths.is_empty() {
                        facts.start.clone_from(&entries);
                    }
                    paths.insert(key.to_owned(), Arc::new(entries));
                }
                (Some("loaded"), Some(name)) => {
                    let origin = text(3).map(PathBuf::from);
                    facts
                        .loaded
                        .extend(origin.map(|origin| (name.to_owned(), origin)));
                }
                (Some("find"), Some(name)) => {
                    let last = name.rsplit('.').next().unwrap_or(name);
                    if let Some(path) = text(2).and_then(|key| paths.get(key)) {
                        facts.finds.insert(Find {
                            name: last.to_owned(),
                            is_top: last == name,
                            path: Arc::clone(path),
                            found: text(3).map(PathBuf::from),
                        });
                    }
                }
                (Some("read"), Some(path)) => drop(facts.read.insert(path.into())),
                (Some("write"), Some(path)) => drop(facts.written.insert(path.into())),
                (Some("list"), Some(path)) => drop(facts.listed.insert(path.into())),
                (Some("process"), _) => facts.starts_processes = true,
                (Some("python"), _) => facts.starts_python = true,
                _ => {}
            }
        }
        facts
    }

    /// Returns the facts for cells that ran in a directory of the author, below `root`: modules were looked for there, and
    /// what they read there, or anywhere in the same repository, are inputs.
    pub(super) fn moved_to(mut self, directory: &Path, root: &Path) -> Self {
        let work = self.work.clone();
        let moved = |entries: &[PathBuf]| -> Vec<PathBuf> {
            let is_work = |entry: &Path| entry.as_os_str().is_empty() || entry == work;
            let entries = entries.iter();
            let moved = entries.map(|entry| match is_work(entry) {
                true => directory.to_path_buf(),
                false => entry.clone(),
            });
            moved.collect()
        };
        self.start = moved(&self.start);
        let mut known: HashMap<*const Vec<PathBuf>, Arc<Vec<PathBuf>>> = HashMap::new();
        let finds = std::mem::take(&mut self.finds).into_iter();
        self.finds = finds
            .map(|find| {
                let path = known.entry(Arc::as_ptr(&find.path));
                let path = path.or_insert_with(|| Arc::new(moved(&find.path)));
                Find {
                    path: Arc::clone(path),
                    ..find
                }
            })
            .collect();
        let mut dirs = root.ancestors();
        let top = dirs.find(|dir| dir.join(".git").exists()).unwrap_or(root);
        self.top = Some(top.to_path_buf());
        self
    }

    /// Returns whether a file is one of the author: below the top, and not in a hidden directory there.
    fn is_of_author(&self, file: &Path) -> bool {
        let below = self
            .top
            .as_ref()
            .and_then(|top| file.strip_prefix(top).ok());
        below.is_some_and(|below| {
            let mut parts = below.iter();
            !parts.any(|part| part.as_encoded_bytes().starts_with(b"."))
        })
    }

    /// Returns whether a module that the kernel had loaded, or a file that determined its search path, changed after a
    /// time.
    pub(super) fn is_outdated(&self, since_ns: i64) -> bool {
        let is_newer = |path: &Path| {
            // A missing file was removed.
            std::fs::metadata(path).map_or(true, |found| {
                Stamp::of(&found).ctime_ns >= since_ns - TICK_NS
            })
        };
        let places = self
            .start
            .iter()
            .filter(|dir| !self.is_own(dir) && dir.is_dir());
        let pth = places.clone().flat_map(|dir| {
            let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
            let files = files.map(|file| file.path());
            files.filter(|file| file.extension().is_some_and(|suffix| suffix == "pth"))
        });
        let modules = self.loaded.iter().map(|(_, file)| in_archive(file));
        let mut all = places.cloned().chain(pth).chain(modules);
        all.any(|path| is_newer(&path))
    }

    /// Returns whether a directory of the search path is the working directory or the standard library.
    fn is_own(&self, dir: &Path) -> bool {
        let is_work = dir.as_os_str().is_empty() || dir == self.work;
        let is_archive = dir.extension().is_some_and(|suffix| suffix == "zip") && !dir.exists();
        is_work || is_archive || self.is_library(dir)
    }

    fn is_library(&self, path: &Path) -> bool {
        let below = path.strip_prefix(&self.library).ok().and_then(Path::to_str);
        below.is_some_and(|below| !below.contains("-packages"))
    }

    /// Returns whether a process that the execution started created or changed this file.
    fn makes(&self, file: &Path, began_ns: i64) -> bool {
        let is_new = || {
            std::fs::metadata(file)
                .is_ok_and(|found| Stamp::of(&found).ctime_ns >= began_ns - TICK_NS)
        };
        self.starts_processes && is_new()
    }

    /// Returns the inputs of an execution that began at a time (in nanoseconds since 1970), except the standard library
    /// and the working directory.
    pub(super) fn inputs(&self, kernel: &str, places: &Places, began_ns: i64) -> Vec<RelPath> {
        if self.work.as_os_str().is_empty() {
            return Vec::new();
        }
        let sites: Vec<Arc<Site>> = self
            .start
            .iter()
            .filter(|dir| !self.is_own(dir))
            .filter_map(|dir| Site::at(dir))
            .collect();
        let mut found = Inputs {
            facts: self,
            sites: &sites,
            missed: BTreeMap::new(),
            files: BTreeSet::new(),
            dists: BTreeMap::new(),
        };
        found.look_ups();
        found.modules();
        found.data();
        // Files outside the course are not sources: the deck may have written them, and would do so again.
        let is_source = |file: &Path| {
            places
                .name_of(file)
                .is_some_and(|name| !is_elsewhere(&name))
        };
        found
            .files
            .retain(|file| is_source(file) || !self.makes(file, began_ns));
        for (dir, dists) in &mut found.dists {
            dists.retain(|dist| {
                let record = dir.join(format!("{dist}.dist-info/RECORD"));
                !self.makes(&record, began_ns)
            });
        }
        found.dists.retain(|_, dists| !dists.is_empty());
        found.names(kernel, places)
    }
}

/// The inputs collected so far.
struct Inputs<'a> {
    facts: &'a Facts,
    sites: &'a [Arc<Site>],
    /// By directory, the names of modules that were looked for in it.
    missed: BTreeMap<PathBuf, BTreeSet<String>>,
    files: BTreeSet<PathBuf>,
    /// By directory, the distributions to which modules belong.
    dists: BTreeMap<PathBuf, BTreeSet<String>>,
}

impl Inputs<'_> {
    fn look_ups(&mut self) {
        let facts = self.facts;
        for (name, origin) in &facts.loaded {
            if !name.contains('.') {
                self.missed_before(name, true, &facts.start, Some(origin));
            }
        }
        for find in &facts.finds {
            self.missed_before(&find.name, find.is_top, &find.path, find.found.as_deref());
        }
    }

    /// Records the directories in which a module was looked for before it was found.
    fn missed_before(&mut self, name: &str, is_top: bool, path: &[PathBuf], found: Option<&Path>) {
        let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_');
        if !is_name || name.is_empty() {
            return;
        }
        let first = path.iter().position(|dir| self.facts.is_library(dir));
        for (index, dir) in path.iter().enumerate() {
            let is_there =
                |found: &Path| found.ancestors().skip(1).take(2).any(|above| above == dir);
            if found.is_some_and(is_there) {
                return;
            }
            if self.facts.is_own(dir) || self.owner(&dir.join("__init__.py")).is_some() {
                continue;
            }
            let names = self.missed.entry(dir.clone()).or_default();
            names.insert(name.to_owned());
            if is_top && first.is_some_and(|first| index < first) {
                // It comes before the standard library in the search path.
                names.insert("*".to_owned());
            }
            if dir.join(name).is_dir() {
                self.files.insert(dir.join(name).join("__init__.py"));
            }
        }
    }

    fn owner(&self, file: &Path) -> Option<(&Site, &str)> {
        let mut sites = self.sites.iter();
        sites.find_map(|site| Some((&**site, site.owner(file)?)))
    }

    /// Collects the files of modules: represented by their distribution, or individually.
    fn modules(&mut self) {
        let facts = self.facts;
        let loaded = facts.loaded.iter().map(|(_, file)| file);
        let found = facts.finds.iter().filter_map(|find| find.found.as_ref());
        let read = facts.read.iter().filter(|file| is_module(file));
        let all: BTreeSet<PathBuf> = loaded
            .chain(found)
            .chain(read)
            .filter(|file| !facts.written.contains(*file))
            .map(|file| in_archive(&source_of(file)))
            .collect();
        for file in all {
            if facts.is_library(&file) || file.starts_with(&facts.work) {
                continue;
            }
            if let Some((site, dist)) = self.owner(&file) {
                let (dir, dist) = (site.dir.clone(), dist.to_owned());
                self.dists.entry(dir).or_default().insert(dist);
            } else if !is_of_system(&file) {
                self.files.insert(file);
            }
        }
    }

    /// Collects files and directories that were accessed by cells or by the author's own modules.
    fn data(&mut self) {
        let facts = self.facts;
        let is_site = |dir: &Path| self.sites.iter().any(|site| site.dir == dir);
        let modules = self.files.iter().filter_map(|file| file.parent());
        let path = facts.start.iter().map(PathBuf::as_path);
        let roots: BTreeSet<PathBuf> = modules
            .chain(path)
            .filter(|dir| !facts.is_own(dir) && !is_site(dir) && dir.components().count() > 2)
            .map(Path::to_owned)
            .collect();
        let is_below = |path: &Path| {
            path.ancestors().any(|above| roots.contains(above)) || facts.is_of_author(path)
        };
        let read = facts.read.iter().filter(|file| !is_module(file));
        let read = read.filter(|file| is_below(file) && !facts.written.contains(*file));
        let read: Vec<PathBuf> = read
            .filter(|file| self.owner(file).is_none() && !file.is_dir())
            .cloned()
            .collect();
        self.files.extend(read);
        let listed = facts.listed.iter().filter(|dir| is_below(dir));
        for dir in listed {
            self.missed
                .entry(dir.clone())
                .or_default()
                .insert(String::new());
        }
        if facts.starts_python {
            let dirs = facts.start.iter().filter(|dir| roots.contains(*dir));
            for dir in dirs {
                let names = self.missed.entry(dir.clone()).or_default();
                names.insert("/".to_owned());
            }
        }
    }

    fn names(self, kernel: &str, places: &Places) -> Vec<RelPath> {
        let mut names: BTreeSet<RelPath> = places.paths_of(kernel).into_iter().collect();
        for (dir, mut missed) in self.missed {
            if missed.remove("") {
                names.extend(places.name_in(&dir, "{all}"));
            }
            if missed.remove("/") {
                names.extend(places.name_in(&dir, "{tree}"));
            }
            if !missed.is_empty() {
                let missed: Vec<String> = missed.into_iter().collect();
                let text = format!("{{names {}}}", missed.join(" "));
                names.extend(places.name_in(&dir, &text));
            }
        }
        for (dir, dists) in self.dists {
            let dists: Vec<String> = dists.into_iter().collect();
            let text = format!("{{dists {}}}", dists.join(" "));
            names.extend(places.name_in(&dir, &text));
        }
        for site in self.sites {
            names.extend(places.name_in(&site.dir, "{pth}"));
        }
        for file in &self.files {
            names.extend(places.names_of_file(file));
        }
        names.retain(|name| !name.components().any(|part| part == ".clm"));
        if names.len() > MOST {
            tracing::warn!(
                found = names.len(),
                "too many inputs are found: some are not recorded"
            );
        }
        names.into_iter().take(MOST).collect()
    }
}

fn is_module(file: &Path) -> bool {
    let suffix = file.extension().and_then(|suffix| suffix.to_str());
    suffix.is_some_and(|suffix| MODULES.contains(&suffix))
}

/// Returns the source of a compiled module, if it is stored with it.
fn source_of(file: &Path) -> PathBuf {
    let source = || {
        let dir = file.parent()?;
        let is_compiled = file.extension().is_some_and(|suffix| suffix == "pyc");
        if !is_compiled || !dir.ends_with("__pycache__") {
            return None;
        }
        let name = file.file_name()?.to_str()?.split('.').next()?;
        Some(dir.parent()?.join(format!("{name}.py")))
    };
    source().unwrap_or_else(|| file.to_owned())
}

/// Returns the file itself, or the archive that contains it.
fn in_archive(file: &Path) -> PathBuf {
    let mut above = file.ancestors().skip(1);
    let archive = above
        .find(|above| above.exists())
        .filter(|above| above.is_file());
    archive.unwrap_or(file).to_owned()
}

/// Returns whether a file is a submodule in a package of the system's Python. There are hundreds of them, and they
/// change only with the versions of the packages.
fn is_of_system(file: &Path) -> bool {
    file.starts_with("/usr/lib/python3/dist-packages")
        && !file.ends_with("__init__.py")
        && file.components().count() > 6
}

/// A directory in which distributions are installed.
#[derive(Debug)]
struct Site {
    dir: PathBuf,
    /// The names with versions.
    dists: Vec<String>,
    /// The index of the distribution for the digests of paths in it.
    owners: HashMap<u64, usize>,
}

/// The directories read so far; valid as long as nothing is installed or removed.
static SITES: LazyLock<Mutex<HashMap<PathBuf, Known>>> = LazyLock::new(Mutex::default);

/// The stamp of a directory and its contents.
type Known = (Stamp, Arc<Site>);

impl Site {
    /// Returns the distributions in a directory; `None` if there are none.
    fn at(dir: &Path) -> Option<Arc<Self>> {
        let stamp = Stamp::of(&std::fs::metadata(dir).ok()?);
        if let Some((known, site)) = lock(&SITES).get(dir)
            && *known == stamp
        {
            return site.is_site().then(|| Arc::clone(site));
        }
        let site = Arc::new(Self::read(dir));
        lock(&SITES).insert(dir.to_owned(), (stamp, Arc::clone(&site)));
        site.is_site().then_some(site)
    }

    fn is_site(&self) -> bool {
        let name = self.dir.file_name().and_then(|name| name.to_str());
        !self.dists.is_empty() || name.is_some_and(|name| name.ends_with("-packages"))
    }

    fn read(dir: &Path) -> Self {
        let (mut dists, mut owners) = (Vec::new(), HashMap::new());
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(dist) = name
                .to_str()
                .and_then(|name| name.strip_suffix(".dist-info"))
            else {
                continue;
            };
            let Ok(record) = std::fs::read_to_string(entry.path().join("RECORD")) else {
                continue;
            };
            for line in record.lines() {
                // The path is followed by a digest and a size, which are empty for compiled modules.
                if let Some((path, digest)) = line
                    .rsplit_once(',')
                    .and_then(|(rest, _)| rest.rsplit_once(','))
                    && !digest.is_empty()
                {
                    owners.insert(number_of(path.trim_matches('"')), dists.len());
                }
            }
            dists.push(dist.to_owned());
        }
        Self {
            dir: dir.to_owned(),
            dists,
            owners,
        }
    }

    /// Returns the distribution that a file belongs to.
    fn owner(&self, file: &Path) -> Option<&str> {
        let below = file.strip_prefix(&self.dir).ok()?.to_str()?;
        let index = self.owners.get(&number_of(below))?;
        self.dists.get(*index).map(String::as_str)
    }
}

fn number_of(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::renderers::Kernels;
    use serde_json::json;

    /// Returns the inputs for a report that a kernel of a course might make.
    fn inputs(root: &Path, facts: &[Value]) -> Vec<String> {
        let start = [
            json!(["start", "/python/lib/", "/run/work/"]),
            json!([
                "path",
                "1:0",
                ["/python/lib.zip", "/python/lib", "", root.join("lib")]
            ]),
        ];
        let lines = start.iter().chain(facts).map(Value::to_string);
        let text = lines.collect::<Vec<_>>().join("\n") + "\n{torn";
        let places = Places::new(root, &Kernels::default());
        let inputs = Facts::parse(&text).inputs("python3", &places, 0);
        inputs.iter().map(RelPath::to_string).collect()
    }

    #[test]
    fn what_is_found_and_what_is_missed_become_inputs() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("lib/pack/__pycache__")).unwrap();
        for file in ["lib/pack/__init__.py", "lib/pack/data.txt", "lib/made.py"] {
            std::fs::write(root.join(file), "").unwrap();
        }
        let pack = root.join("lib/pack/__init__.py");
        let found = inputs(
            &root,
            &[
                json!(["find", "pack", "1:0", pack, false]),
                json!(["find", "late", "1:0", null, false]),
                json!(["find", "../bad name", "1:0", null, false]),
                json!([
                    "read",
                    root.join("lib/pack/__pycache__/__init__.cpython-311.pyc")
                ]),
                json!(["read", root.join("lib/pack/data.txt")]),
                json!(["read", root.join("lib/pack/absent.txt")]),
                json!(["read", "/elsewhere/data.txt"]),
                json!(["write", root.join("lib/made.py")]),
                json!(["read", root.join("lib/made.py")]),
                json!(["list", root.join("lib/pack")]),
            ],
        );
        let expected = [
            "lib/pack/__init__.py",
            "lib/pack/absent.txt",
            "lib/pack/data.txt",
            "lib/pack/{all}",
            "lib/{names late}",
            "{python3}/{paths}",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn another_python_may_import_all_modules_of_the_search_path() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("lib")).unwrap();
        let found = inputs(&root, &[json!(["python"])]);
        assert_eq!(found, ["lib/{tree}", "{python3}/{paths}"]);
        assert!(
            Facts::parse("nonsense")
                .inputs("python3", &Places::of_course(&root), 0)
                .is_empty()
        );
    }

    #[test]
    fn a_distribution_is_known_by_the_paths_in_its_record() {
        let dir = tempfile::tempdir().unwrap();
        let info = dir.path().join("a_b-1.0.dist-info");
        std::fs::create_dir_all(&info).unwrap();
        std::fs::write(
            info.join("RECORD"),
            "a_b/__init__.py,sha256=x,1\n\"a_b/c,d.py\",sha256=y,2\na_b/e.pyc,,\n",
        )
        .unwrap();
        let site = Site::at(dir.path()).unwrap();
        let owner = |file: &str| site.owner(&dir.path().join(file));
        assert_eq!(owner("a_b/__init__.py"), Some("a_b-1.0"));
        assert_eq!(owner("a_b/c,d.py"), Some("a_b-1.0"));
        assert_eq!(owner("a_b/e.pyc").or(owner("other.py")), None);
        assert!(Site::at(&info).is_none(), "no distributions, no packages");
    }
}
