//! A small course that needs no renderer, the changes that an author makes to it, and what a clean build makes of it.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use clm::testing::digest::Digest;

/// Files below a directory by their path there.
pub type Tree = BTreeMap<String, Digest>;

/// Which of its variants every source of the course has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State([u8; 7]);

/// How many variants there are of: a deck, what a diagram includes, the diagram, a data file, a picture, an extra
/// directory, the specification.
const VARIANTS: [u8; 7] = [3, 2, 2, 2, 3, 2, 2];

impl State {
    /// The state after an author changed one thing. Not more than two things differ from the first state: there are few
    /// states then, and a clean build is made of each.
    pub fn edited(mut self, random: &mut Random) -> Self {
        let changed: Vec<usize> = (0..VARIANTS.len()).filter(|at| self.0[*at] > 0).collect();
        let at = match changed.len() {
            0 | 1 => random.below(VARIANTS.len() as u64) as usize,
            _ => random.one(&changed),
        };
        let step = 1 + random.below(u64::from(VARIANTS[at]) - 1) as u8;
        self.0[at] = (self.0[at] + step) % VARIANTS[at];
        self
    }

    /// The sources, absent ones without a text.
    fn files(self) -> Vec<(&'static str, Option<Vec<u8>>)> {
        let [deck, style, diagram, data, picture, extra, course] = self.0;
        let is = |condition: bool, text: String| condition.then(|| text.into_bytes());
        let second = if course == 0 { "<topic>b</topic>" } else { "" };
        vec![
            (
                "course.xml",
                is(
                    true,
                    format!(
                        "<course><name><de>Kurs</de><en>Course</en></name><prog-lang>python</prog-lang>\n\
                         <project-slug>course</project-slug><sections><section><name><de>Teil</de><en>Part</en></name>\n\
                         <topics><topic>a</topic>{second}</topics></section></sections>\n\
                         <dir-groups><dir-group><name>Extra</name><path>extra</path></dir-group></dir-groups></course>\n"
                    ),
                ),
            ),
            (
                "slides/m/topic_010_a/slides_a.py",
                is(deck < 2, deck_text("A", &format!("print({deck})"))),
            ),
            (
                "slides/m/topic_010_a/pu/d.pu",
                is(
                    diagram == 0,
                    "@startuml\n' fake: big slides/m/topic_010_a/pu/style.iuml\nA -> B\n@enduml\n"
                        .to_owned(),
                ),
            ),
            (
                "slides/m/topic_010_a/pu/style.iuml",
                is(true, format!("skinparam padding {style}\n")),
            ),
            (
                "slides/m/topic_010_a/data/n.csv",
                is(data == 0, "1,2\n".to_owned()),
            ),
            (
                "slides/m/topic_020_b/slides_b.py",
                is(true, deck_text("B", "1 + 1")),
            ),
            (
                "slides/m/topic_020_b/img/p.png",
                is(
                    picture < 2,
                    "p".repeat(40_000 + 1000 * usize::from(picture)),
                ),
            ),
            ("extra/always.txt", is(true, "always\n".to_owned())),
            ("extra/sub/x.txt", is(extra == 0, "sometimes\n".to_owned())),
        ]
    }

    /// Writes what differs from another state.
    pub fn write(self, root: &Path, before: Option<Self>) {
        let known: HashMap<_, _> = before
            .map(Self::files)
            .unwrap_or_default()
            .into_iter()
            .collect();
        for (path, text) in self.files() {
            if before.is_some() && known[path] == text {
                continue;
            }
            let file = root.join(path);
            match text {
                Some(text) => {
                    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                    std::fs::write(file, text).unwrap();
                }
                None if before.is_some() => std::fs::remove_file(file).unwrap(),
                None => {}
            }
        }
    }
}

fn deck_text(title: &str, code: &str) -> String {
    format!(
        "# j2 from 'macros.j2' import header\n# {{{{ header(\"{title} de\", \"{title} en\") }}}}\n\n\
         # %% [markdown] lang=\"en\"\n# Some <img src=\"img/d.png\">\n\n# %% tags=[\"keep\"]\n{code}\n"
    )
}

/// Numbers that look random, the same ones for the same seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }

    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// Programs in the places of renderers, and what clean builds made.
pub struct House {
    dir: tempfile::TempDir,
    clean: Mutex<HashMap<State, Arc<Tree>>>,
}

impl House {
    pub fn new() -> Self {
        let dir = temporary();
        let java = dir.path().join("java/bin/java");
        std::fs::create_dir_all(java.parent().unwrap()).unwrap();
        let worker = env!("CARGO_BIN_EXE_clm-fake-worker");
        std::fs::write(&java, format!("#!/bin/sh\nexec '{worker}'\n")).unwrap();
        std::fs::set_permissions(&java, std::fs::Permissions::from_mode(0o755)).unwrap();
        let release = "JAVA_VERSION=\"21\"\nMODULES=\"java.desktop\"\n";
        std::fs::write(dir.path().join("java/release"), release).unwrap();
        std::fs::write(dir.path().join("plantuml.jar"), "jar").unwrap();
        std::fs::create_dir(dir.path().join("home")).unwrap();
        Self {
            dir,
            clean: Mutex::default(),
        }
    }

    /// A build or a watch of a course, with nothing of the machine it runs on.
    pub fn clm(&self, root: &Path, args: &[&str]) -> Command {
        let mut command = self.command(root, args);
        command
            .args(["--formats", "notebook,code", "--languages", "en"])
            .args(["--kinds", "completed,code-along"]);
        command
    }

    /// clm in a course.
    pub fn command(&self, root: &Path, args: &[&str]) -> Command {
        let path = |name: &str| self.dir.path().join(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_clm"));
        command
            .args(args)
            .current_dir(root)
            .stdin(Stdio::null())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", path("home"))
            .env("JAVA_HOME", path("java"))
            .env("PLANTUML_JAR", path("plantuml.jar"))
            .env("CLM_TOOLS_DIR", path("tools"));
        command
    }

    /// What a clean build makes of a state, sources included.
    pub fn expected(&self, state: State) -> Arc<Tree> {
        if let Some(known) = self.clean.lock().unwrap().get(&state) {
            return Arc::clone(known);
        }
        let dir = temporary();
        state.write(dir.path(), None);
        let output = self.clm(dir.path(), BUILD).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let made = Arc::new(tree(dir.path()));
        self.clean.lock().unwrap().insert(state, Arc::clone(&made));
        made
    }
}

/// A directory in memory where there is one: nothing here waits for a disk.
pub fn temporary() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// The command that builds without a daemon.
pub const BUILD: &[&str] = &["build", "--no-daemon"];

/// All files of a course but clm's records and its lists of outputs, which tell the time. A watch may be at work in it:
/// what disappears meanwhile is not there.
pub fn tree(root: &Path) -> Tree {
    let mut found = Tree::new();
    let mut dirs = vec![root.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in unless_gone(std::fs::read_dir(&dir)).into_iter().flatten() {
            let Some(entry) = unless_gone(entry) else {
                continue;
            };
            let path = entry.path();
            let name = path.file_name().unwrap();
            if name == ".clm" || name == ".clm-manifest.json" {
                continue;
            }
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            if let Some(digest) = unless_gone(Digest::of_file(&path)) {
                found.insert(name, digest);
            }
        }
    }
    found
}

fn unless_gone<T>(read: std::io::Result<T>) -> Option<T> {
    match read {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        read => Some(read.unwrap()),
    }
}

/// All files below a directory.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else {
            continue;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            match path.is_dir() && !path.is_symlink() {
                true => dirs.push(path),
                false => found.push(path),
            }
        }
    }
    found
}

/// How two trees differ, for people.
pub fn differences(found: &Tree, expected: &Tree) -> Vec<String> {
    let missing = expected.keys().filter(|path| !found.contains_key(*path));
    let missing = missing.map(|path| format!("{path} is missing"));
    let other = found
        .iter()
        .filter_map(|(path, digest)| match expected.get(path) {
            None => Some(format!("{path} should not be there")),
            Some(expected) if expected != digest => Some(format!("{path} has other bytes")),
            Some(_) => None,
        });
    missing.chain(other).collect()
}
