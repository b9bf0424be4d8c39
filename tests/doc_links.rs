//! What the documents name exists: files, headings, commands, options, variables and settings.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;

/// Fewer links than this mean that the test does not read the documents.
const LEAST_LINKS: usize = 20;
/// Directories below `contrib` that tools fill.
const NOT_OURS: &[&str] = &["target", "found", "artifacts", "corpus"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    let file = root().join(path);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// `README.md`, and every Markdown file below `contrib` and `.github`.
fn documents() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md")];
    let mut dirs = vec![root().join("contrib"), root().join(".github")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let is_ours = |dir: &Path| !NOT_OURS.iter().any(|other| dir.ends_with(other));
            if path.is_dir() && is_ours(&path) {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The lines of a document that are not code, with their numbers.
fn prose(text: &str) -> Vec<(usize, String)> {
    let code = Regex::new("`+[^`]*`+").unwrap();
    let mut fence: Option<&str> = None;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let mark = ["```", "~~~"]
            .into_iter()
            .find(|mark| trimmed.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            // The text of a heading keeps its code: it is part of the anchor.
            (None, None) if trimmed.starts_with('#') => lines.push((number + 1, line.to_owned())),
            (None, None) => lines.push((number + 1, code.replace_all(line, "").into_owned())),
            (Some(_), _) => {}
        }
    }
    lines
}

/// The anchors of a document's headings, made as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let link = Regex::new(r"\[([^\]]*)\]\([^)]*\)").unwrap();
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text) {
        let heading = line.trim_start_matches('#');
        let level = line.len() - heading.len();
        if !(1..=6).contains(&level) || !heading.starts_with(' ') {
            continue;
        }
        let heading = link.replace_all(heading.trim(), "$1").to_lowercase();
        let name: String = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let count = seen.entry(name.clone()).or_default();
        anchors.insert(match *count {
            0 => name,
            before => format!("{name}-{before}"),
        });
        *count += 1;
    }
    anchors
}

/// Where the links and pictures of a document lead, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let forms = [
        r#"\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)"#,
        r"^\s{0,3}\[[^\]]+\]:\s*(\S+)",
        r#"(?:src|href)="([^"]+)""#,
    ];
    let forms = forms.map(|form| Regex::new(form).unwrap());
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        for form in &forms {
            let found = form.captures_iter(&line);
            links.extend(found.map(|found| (number, found[1].to_owned())));
        }
    }
    links
}

/// What is wrong with a link in a document; none for one that leads somewhere, or out of the repository.
fn problem(document: &Path, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = match link.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (link, None),
    };
    let file = match path {
        "" => document.to_path_buf(),
        path => document.parent().unwrap().join(path),
    };
    let Ok(file) = file.canonicalize() else {
        return Some("there is no such file".to_owned());
    };
    if path.starts_with('/') || !file.starts_with(root().canonicalize().unwrap()) {
        return Some("it leads out of the repository".to_owned());
    }
    let anchor = anchor?;
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    (!anchors(&text).contains(anchor)).then(|| "there is no such heading".to_owned())
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for (line, link) in links(&text) {
            count += usize::from(!link.contains("://"));
            if let Some(problem) = problem(&document, &link) {
                let name = document.strip_prefix(root()).unwrap().display();
                wrong.push(format!("{name}:{line}: `{link}`: {problem}"));
            }
        }
    }
    assert!(
        count >= LEAST_LINKS,
        "only {count} links were found: the test does not read the documents"
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn links_and_headings_are_recognised() {
    let text = "# A `b` c: d\n## [Same](x.md)\n## Same\n[a](b.md#c) ![i](<d.png>) `[no](no.md)`\n```\n[no](no.md)\n# no\n```\n\
                <img src=\"e.svg\"> [t](f.md \"title\")\n[ref]: g.md\n";
    let found: Vec<String> = links(text).into_iter().map(|(_, link)| link).collect();
    assert_eq!(
        found,
        ["x.md", "b.md#c", "d.png", "f.md", "e.svg", "g.md"],
        "in the order of lines and of their forms"
    );
    let expected = ["a-b-c-d", "same", "same-1"].map(str::to_owned);
    assert_eq!(anchors(text), expected.into());
    let document = root().join("README.md");
    for (link, is_right) in [
        ("contrib/bench/README.md", true),
        (
            "contrib/bench/README.md#targets-and-where-they-are-missed",
            true,
        ),
        ("contrib/bench/README.md#no-such-heading", false),
        ("contrib/no-such-file.md", false),
        ("../outside.md", false),
        ("/etc/passwd", false),
        ("https://example.org/anything", true),
    ] {
        assert_eq!(problem(&document, link).is_none(), is_right, "{link}");
    }
}

/// The two commands of the README are those that CI runs.
#[test]
fn the_ci_runs_the_commands_of_the_readme() {
    let ci = read(".ci/run");
    let readme = read("README.md");
    let mut commands = readme
        .lines()
        .filter_map(|line| line.strip_prefix("$ cargo "));
    let build = commands.next().unwrap();
    let test = commands.next().unwrap();
    assert!(
        build.starts_with("run -- build") && test.starts_with("test"),
        "the first commands of the README are `{build}` and `{test}`"
    );
    let has = |command: &str| ci.lines().any(|line| line.ends_with(command));
    for command in [format!("cargo {build}"), format!("cargo {test}")] {
        assert!(has(&command), "`.ci/run` does not run `{command}`");
    }
}

/// The commands of clm that have options, with the arguments that show their help.
const COMMANDS: &[&[&str]] = &[
    &["new"],
    &["new", "topic"],
    &["build"],
    &["watch"],
    &["status"],
    &["daemon", "start"],
    &["daemon", "stop"],
    &["check-spec"],
    &["cache", "stats"],
    &["cache", "gc"],
    &["cache", "verify"],
    &["cache", "clean"],
    &["cache", "export"],
    &["cache", "import"],
    &["cache", "key"],
    &["farm", "check"],
    &["runner"],
    &["affected"],
    &["explain"],
    &["setup"],
    &["doctor"],
    &["completions"],
    &["man"],
];

fn help(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clm"));
    let output = command.args(arguments).arg("--help").output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn commands_and_options_are_documented() {
    let text = read("contrib/doc/commands.md");
    let option = Regex::new(r"(?m)^\s+(?:-\w, )?(--[a-z-]+)").unwrap();
    let mut missing = BTreeSet::new();
    let mut count = 0;
    for arguments in COMMANDS {
        let help = help(arguments);
        if !text.contains(&format!("clm {}", arguments[0])) {
            missing.insert(arguments.join(" "));
        }
        for found in option.captures_iter(&help) {
            let name = &found[1];
            count += 1;
            let is_documented = Regex::new(&format!(r"{name}\b[^-]"))
                .unwrap()
                .is_match(&text);
            if !is_documented && !["--help", "--version"].contains(&name) {
                missing.insert(format!("{} {name}", arguments.join(" ")));
            }
        }
    }
    assert!(count > 50, "only {count} options were found");
    assert!(missing.is_empty(), "{missing:#?}");
    // And the other way round: what is documented exists.
    let known = help(&[]);
    for found in Regex::new(r"`clm ([a-z-]+)").unwrap().captures_iter(&text) {
        assert!(
            known.contains(&format!("  {} ", &found[1])),
            "clm {}",
            &found[1]
        );
    }
}

#[test]
fn variables_and_settings_are_documented() {
    let text = read("contrib/doc/settings.md");
    let source = read("src/config/mod.rs");
    let variables = Regex::new(r#": &str = "(CLM_[A-Z_]+)""#).unwrap();
    let variables: Vec<&str> = variables
        .captures_iter(&source)
        .map(|found| found.get(1).unwrap().as_str())
        .collect();
    assert!(variables.len() >= 7, "{variables:?}");
    for variable in variables {
        assert!(text.contains(&format!("`{variable}`")), "{variable}");
    }
    // The example of the document has every key once, and clm reads it, with and without the comment signs.
    let example = text
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    let settings = clm::testing::config::Settings::parse(example).unwrap();
    assert_eq!(
        settings,
        clm::testing::config::Settings::default(),
        "the example shows the defaults"
    );
    let key = Regex::new("(?m)^# ([a-z_]+ = )").unwrap();
    clm::testing::config::Settings::parse(&key.replace_all(example, "$1")).unwrap();
    let fields = Regex::new(r"(?m)^    pub ([a-z_]+): ").unwrap();
    for found in
        fields.captures_iter(&(source + &read("src/config/cache.rs") + &read("src/config/farm.rs")))
    {
        let name = &found[1];
        let is_section = example.contains(&format!("[{name}]"));
        let is_key = example.contains(&format!("\n{name} = "))
            || example.contains(&format!("\n# {name} = "));
        assert!(is_section || is_key || name == "notes", "`{name}`");
    }
}
