//! Editors: what is wrong with a saved file shows up at its line and goes away when it is mended. Vim, Neovim and Emacs
//! are run for real; what VS Code and JetBrains match is matched against what clm really says.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use regex::Regex;
use serde_json::Value;

use crate::support::{Course, Watching};

const SPEC: &str = "my course/course.xml";
const DECK: &str = "my course/slides/m/topic_010_a/slides_a.py";
const OTHER: &str = "my course/slides/m/topic_020_b/slides_b.py";

/// A course whose root has a space in its path; the working directory is not the root.
fn course() -> Course {
    let course = Course::with_topics(&["a", "b"]);
    course.write(SPEC, course.read("course.xml"));
    course.remove("course.xml");
    for (file, code) in [(DECK, "print('one')"), (OTHER, "print('other')")] {
        course.write(
            file,
            format!(
                "# j2 from 'macros.j2' import header\n# {{{{ header(\"Titel\", \"Title\") }}}}\n\n\
                 # %% [markdown] lang=\"en\"\n#\n# Some prose\n\n# %% tags=[\"keep\"]\n{code}\n"
            ),
        );
    }
    // Editors start clm by themselves, and tasks do not name the specification.
    course.provide(&[SPEC]);
    course
}

fn contrib(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("contrib")
        .join(path)
}

fn is_installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).any(|dir| dir.join(program).is_file());
    if !found {
        eprintln!("skipped: `{program}` is not installed (`.ci/run` installs it as root)");
    }
    found
}

/// Runs the story of an editor, without a daemon and with one.
fn story(program: &str, args: &[&str], script: &str, plugin: &str) {
    if !is_installed(program) {
        return;
    }
    for has_daemon in [false, true] {
        let course = course();
        let watching = has_daemon.then(|| Watching::start(&course, &[SPEC]));
        if let Some(watching) = &watching {
            watching.run();
        }
        let elsewhere = tempfile::tempdir().unwrap();
        let result = elsewhere.path().join("result");
        let script = format!("{}/tests/editors/{script}", env!("CARGO_MANIFEST_DIR"));
        let mut editor = Command::new(program)
            .args(args)
            .arg(script)
            .current_dir(elsewhere.path())
            .env("HOME", elsewhere.path())
            .env("CLM", env!("CARGO_BIN_EXE_clm"))
            .env(
                "CLM_TOOLS_DIR",
                clm::testing::tools::Context::of_process(None).tools_dir,
            )
            .env_remove("CLM_STATE_DIR")
            .env("CLM_DAEMON_AUTO", "off")
            .env("PLUGIN", contrib(plugin))
            .env("COURSE", course.path("my course"))
            .env("RESULT", &result)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let ended = wait(&mut editor, Duration::from_secs(300));
        let found = std::fs::read_to_string(&result).unwrap_or_default();
        assert!(ended, "{program} does not end: {found}");
        assert_eq!(found, "end\n", "{program}, with a daemon: {has_daemon}");
    }
}

/// Waits until a process has ended; kills it when it does not.
fn wait(child: &mut Child, patience: Duration) -> bool {
    let begun = std::time::Instant::now();
    while begun.elapsed() < patience {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

#[test]
fn vim_lists_what_is_wrong_after_a_save() {
    let args = ["-Nu", "NONE", "-n", "-i", "NONE", "-es", "-S"];
    story("vim", &args, "story.vim", "editors/vim/plugin/clm.vim");
}

#[test]
fn neovim_lists_what_is_wrong_after_a_save() {
    let args = ["--headless", "-u", "NONE", "-n", "-i", "NONE", "-S"];
    story("nvim", &args, "story.vim", "editors/vim/plugin/clm.vim");
}

#[test]
fn emacs_lists_what_is_wrong_after_a_save() {
    let args = ["--batch", "-Q", "-l"];
    story("emacs", &args, "story.el", "editors/emacs/clm.el");
}

#[test]
fn a_saved_file_without_outputs_is_no_error() {
    let course = course();
    course.write("my course/notes.txt", "notes");
    course.write("elsewhere.txt", "not in a course");
    let saved = |file: &str| {
        course.clm(&[
            "build",
            "--message-format",
            "short",
            "--quiet",
            "--saved",
            file,
        ])
    };
    let check = || {
        for file in [
            "my course/notes.txt",
            "elsewhere.txt",
            SPEC,
            "my course/none.py",
        ] {
            let ran = saved(file);
            assert_eq!(
                (ran.code, ran.stdout.as_str()),
                (0, ""),
                "{file}: {}",
                ran.stderr
            );
        }
    };
    check();
    {
        let watching = Watching::start(&course, &[SPEC]);
        watching.run();
        check();
    }
    let strict = course.clm(&["build", SPEC, "--only", "my course/notes.txt"]);
    assert_eq!(strict.code, 2, "{}", strict.stderr);

    // Settings and the specification are looked at, whatever was saved.
    course.write("my course/clm.toml", "[notebook]\n\ncell_timeoutt = 1\n");
    let ran = saved("my course/clm.toml");
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    let place = course.path("my course/clm.toml").display().to_string();
    assert!(
        ran.stdout.starts_with(&format!("{place}:3: error: ")),
        "{}",
        ran.stdout
    );
    course.remove("my course/clm.toml");
    course.edit(SPEC, "<topic>b</topic>", "<topic>c</topic>");
    let ran = saved(SPEC);
    assert_eq!(ran.code, 2, "{}", ran.stdout);
    let place = course.path(SPEC).display().to_string();
    assert!(
        ran.stdout.starts_with(&format!("{place}:6:25: error: ")),
        "{}",
        ran.stdout
    );
}

/// What `tasks.json` says, without its comments.
fn tasks() -> Vec<Value> {
    let text = std::fs::read_to_string(contrib("editors/vscode/tasks.json")).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let text: String = lines.collect();
    let tasks: Value = serde_json::from_str(&text).unwrap();
    tasks["tasks"].as_array().unwrap().clone()
}

fn task(label: &str) -> Value {
    let found = tasks().into_iter().find(|task| task["label"] == label);
    found.unwrap_or_else(|| panic!("there is no task {label}"))
}

fn task_args(task: &Value, file: &str) -> Vec<String> {
    let args = task["args"].as_array().unwrap().iter();
    args.map(|arg| arg.as_str().unwrap().replace("${file}", file))
        .collect()
}

/// A regular expression of a task.
fn pattern(text: &Value) -> Regex {
    Regex::new(text.as_str().unwrap()).unwrap()
}

/// File, line, column, severity and the beginning of the message, as the matcher of a task sees them.
fn problems(task: &Value, lines: &[String]) -> Vec<(String, u32, Option<u32>, String)> {
    let wanted = &task["problemMatcher"]["pattern"];
    let regexp = pattern(&wanted["regexp"]);
    let group = |name: &str| wanted[name].as_u64().unwrap() as usize;
    let captured = lines.iter().filter_map(|line| regexp.captures(line));
    captured
        .map(|captures| {
            let text = |name: &str| captures.get(group(name)).map(|found| found.as_str());
            (
                text("file").unwrap().to_owned(),
                text("line").unwrap().parse().unwrap(),
                text("column").map(|column| column.parse().unwrap()),
                text("severity").unwrap().to_owned(),
            )
        })
        .collect()
}

#[test]
fn tasks_of_vs_code_match_what_a_build_says() {
    let course = course();
    course.edit(DECK, "print('one')", "1 / 0");
    course.edit(OTHER, "\"keep\"", "\"keeep\"");
    let deck = course.path(DECK).display().to_string();
    let other = course.path(OTHER).display().to_string();
    let run = |label: &str| {
        let task = task(label);
        let args = task_args(&task, &deck);
        let mut command = course.command(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let output = command
            .current_dir(course.path("my course"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        in_javascript(&task, &lines);
        problems(&task, &lines)
    };
    let error = (deck.clone(), 9, None, "error".to_owned());
    assert_eq!(
        run("clm: build the saved file"),
        std::slice::from_ref(&error)
    );
    let mut all = run("clm: build");
    all.sort();
    assert_eq!(all, [error, (other, 8, None, "warning".to_owned())]);
}

/// The same patterns find the same in JavaScript, if that is there.
fn in_javascript(task: &Value, lines: &[String]) {
    if !is_installed("node") {
        return;
    }
    let regexp = &task["problemMatcher"]["pattern"]["regexp"];
    let script = "const [regexp, lines] = JSON.parse(process.argv[1]);\
                  console.log(JSON.stringify(lines.map(line => new RegExp(regexp).exec(line))))";
    let output = Command::new("node")
        .args(["-e", script])
        .arg(serde_json::json!([regexp, lines]).to_string())
        .output()
        .unwrap();
    let found: Vec<Option<Vec<Option<String>>>> = serde_json::from_slice(&output.stdout).unwrap();
    let regexp = pattern(regexp);
    let here: Vec<Option<Vec<Option<String>>>> = lines
        .iter()
        .map(|line| {
            let captures = regexp.captures(line)?;
            let groups = captures.iter();
            Some(
                groups
                    .map(|group| Some(group?.as_str().to_owned()))
                    .collect(),
            )
        })
        .collect();
    assert_eq!(found, here);
}

/// A watch as the task starts it, by its lines.
struct LineWatch {
    child: Child,
    lines: Receiver<String>,
    task: Value,
}

impl LineWatch {
    fn start(course: &Course) -> Self {
        let task = task("clm: watch");
        let args = task_args(&task, "");
        let mut child = course
            .command(&args.iter().map(String::as_str).collect::<Vec<_>>())
            .current_dir(course.path("my course"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in std::io::BufRead::lines(std::io::BufReader::new(stdout)) {
                if line.is_ok_and(|line| sender.send(line).is_ok()) {
                    continue;
                }
                return;
            }
        });
        Self { child, lines, task }
    }

    /// The problems that are shown after the next run: those between its begin and its end.
    fn run(&self) -> Vec<(String, u32, Option<u32>, String)> {
        let background = &self.task["problemMatcher"]["background"];
        let begins = pattern(&background["beginsPattern"]);
        let ends = pattern(&background["endsPattern"]);
        let mut lines = None;
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(120)).unwrap();
            if begins.is_match(&line) {
                lines = Some(Vec::new());
            } else if ends.is_match(&line) {
                return problems(&self.task, &lines.expect("an end without a begin"));
            } else if let Some(lines) = &mut lines {
                lines.push(line);
            }
        }
    }
}

impl Drop for LineWatch {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        wait(&mut self.child, Duration::from_secs(10));
    }
}

#[test]
fn the_watch_of_vs_code_shows_what_is_wrong_until_it_is_mended() {
    let course = course();
    let deck = course.path(DECK).display().to_string();
    let other = course.path(OTHER).display().to_string();
    let watch = LineWatch::start(&course);
    assert_eq!(watch.run(), []);
    let warning = (other, 8, None, "warning".to_owned());
    course.edit(OTHER, "\"keep\"", "\"keeep\"");
    assert_eq!(watch.run(), std::slice::from_ref(&warning));
    let error = (deck, 9, None, "error".to_owned());
    course.edit(DECK, "print('one')", "1 / 0");
    assert_eq!(watch.run(), [error.clone(), warning.clone()]);
    // Another change; what is wrong goes on being shown.
    course.edit(OTHER, "Some prose", "More prose");
    assert_eq!(watch.run(), [error, warning.clone()]);
    course.edit(DECK, "1 / 0", "print('two')");
    assert_eq!(watch.run(), [warning]);
    course.edit(OTHER, "\"keeep\"", "\"keep\"");
    assert_eq!(watch.run(), []);
}

#[test]
fn the_file_watchers_of_jetbrains_match_what_a_build_says() {
    let text = std::fs::read_to_string(contrib("editors/jetbrains/watchers.xml")).unwrap();
    let document = roxmltree::Document::parse(&text).unwrap();
    let option = |watcher: roxmltree::Node<'_, '_>, name: &str| {
        let mut children = watcher.children();
        let found = children.find(|child| child.attribute("name") == Some(name));
        found.and_then(|found| found.attribute("value").map(str::to_owned))
    };
    let watchers: Vec<_> = document
        .root_element()
        .children()
        .filter(roxmltree::Node::is_element)
        .collect();
    let extensions: Vec<_> = watchers
        .iter()
        .filter_map(|watcher| option(*watcher, "fileExtension"))
        .collect();
    assert_eq!(extensions, ["py", "pu", "drawio", "xml"]);
    let course = course();
    course.edit(DECK, "print('one')", "1 / 0");
    for watcher in watchers {
        let arguments = option(watcher, "arguments").unwrap();
        let deck = course.path(DECK).display().to_string();
        let args: Vec<String> = arguments
            .split(' ')
            .map(|arg| arg.replace("\"$FilePath$\"", &deck))
            .collect();
        let ran = course.clm(&args.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        let filters: Vec<Regex> = watcher
            .descendants()
            .filter(|node| node.attribute("name") == Some("regExp"))
            .map(|node| {
                let filter = node.attribute("value").unwrap();
                let filter = filter
                    .replace("$FILE_PATH$", "(?<file>.+?)")
                    .replace("$LINE$", r"(?<line>\d+)")
                    .replace("$COLUMN$", r"(?<column>\d+)")
                    .replace("$MESSAGE$", "(?<message>.*)");
                Regex::new(&format!("^{filter}$")).unwrap()
            })
            .collect();
        let line = ran.stdout.lines().next().unwrap();
        let found = filters
            .iter()
            .find_map(|filter| filter.captures(line))
            .unwrap();
        assert_eq!((&found["file"], &found["line"]), (deck.as_str(), "9"));
    }
}

#[test]
fn the_unit_of_systemd_is_well_formed() {
    if !is_installed("systemd-analyze") {
        return;
    }
    let runtime = tempfile::tempdir().unwrap();
    let output = Command::new("systemd-analyze")
        .args(["--user", "verify"])
        .arg(contrib("systemd/clm-watch@.service"))
        .env("XDG_RUNTIME_DIR", runtime.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
