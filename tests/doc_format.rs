//! The documents of the course format: each example is a course that is built, and gives exactly what the document shows.
//!
//! An example is what stands below one heading. The line before a block ends with the path that the block is about:
//! `` `course.xml`: ``. Blocks `files` list sources, blocks `tree` all outputs of a directory, `text error` and
//! `text warning` what the build says; a block below `output/` is an output. Only `text` and `console` are no examples.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use clm::testing::course::ProgLang;
use clm::testing::events::Severity;
use roxmltree::{Document, Node};

use crate::support::{Course, Ran, tree};

const DOCUMENTS: &[&str] = &[
    "format.md",
    "topics.md",
    "decks.md",
    "kinds.md",
    "templates.md",
    "execution.md",
    "diagrams.md",
    "outputs.md",
];

fn read(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(root.join("contrib/doc").join(name)).unwrap()
}

/// A heading and the blocks below it.
struct Example {
    heading: String,
    blocks: Vec<Block>,
}

/// A fenced block.
struct Block {
    /// What stands after the signs of the fence.
    info: String,
    /// The path at the end of the line before it.
    path: Option<String>,
    /// Whether that line says that the file only contains this.
    is_part: bool,
    text: String,
}

/// What a block is for.
enum Role<'a> {
    Source(&'a str),
    Listed(&'a str),
    Tree(&'a str),
    Output(&'a str),
    Said(Severity),
    Shown,
}

impl Block {
    /// None for a block that the author forgot to name.
    fn role(&self) -> Option<Role<'_>> {
        match self.info.as_str() {
            "text error" => return Some(Role::Said(Severity::Error)),
            "text warning" => return Some(Role::Said(Severity::Warning)),
            "text" | "console" => return Some(Role::Shown),
            _ => {}
        }
        let path = self.path.as_deref()?;
        Some(match self.info.as_str() {
            "files" => Role::Listed(path),
            "tree" => Role::Tree(path),
            _ if path.starts_with("output/") => Role::Output(path),
            _ => Role::Source(path),
        })
    }
}

/// The examples of a document.
fn examples(text: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut before = "";
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let fence = &line[..line.len() - line.trim_start_matches('`').len()];
        if fence.len() >= 3 {
            let is_inside = |line: &&str| *line != fence;
            let body: String = lines
                .by_ref()
                .take_while(is_inside)
                .map(|line| format!("{line}\n"))
                .collect();
            let is_part = before.ends_with("` contains:");
            let named = before
                .strip_suffix("` contains:")
                .or(before.strip_suffix("`:"));
            let path = named.and_then(|named| Some(named.rsplit_once('`')?.1.to_owned()));
            let block = Block {
                info: line[fence.len()..].to_owned(),
                path,
                is_part,
                text: body,
            };
            examples.last_mut().unwrap().blocks.push(block);
        } else if line.starts_with('#') {
            examples.push(Example {
                heading: line.trim_start_matches('#').trim().to_owned(),
                blocks: Vec::new(),
            });
        }
        if !line.is_empty() {
            before = line;
        }
    }
    let is_shown = |block: &Block| matches!(block.role(), Some(Role::Shown));
    examples.retain(|example| !example.blocks.iter().all(is_shown));
    examples
}

/// The course that all examples begin with.
fn first_course() -> String {
    let examples = examples(&read("format.md"));
    let blocks = &examples.first().unwrap().blocks;
    blocks.first().unwrap().text.clone()
}

/// The paths of an indented list, in which what ends with `/` is a directory of what is indented more.
fn paths(text: &str) -> BTreeSet<String> {
    let mut dirs: Vec<(usize, &str)> = Vec::new();
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let name = line.trim_start();
        let indent = line.len() - name.len();
        while dirs.last().is_some_and(|(outer, _)| *outer >= indent) {
            dirs.pop();
        }
        if name.ends_with('/') {
            dirs.push((indent, name));
        } else {
            let above: String = dirs.iter().map(|(_, dir)| *dir).collect();
            found.insert(above + name);
        }
    }
    found
}

/// The specification with the elements of `part` in the place of those of the same names, or at its end.
fn with_part(course: &str, part: &str) -> String {
    let wrapped = format!("<part>{part}</part>");
    let part = Document::parse(&wrapped).unwrap();
    let document = Document::parse(course).unwrap();
    let end = course.rfind("</").unwrap();
    let elements = part.root_element().children().filter(Node::is_element);
    let mut changes: Vec<(Range<usize>, String)> = elements
        .map(|element| {
            let text = &wrapped[element.range()];
            let name = element.tag_name();
            match document
                .descendants()
                .find(|known| known.tag_name() == name)
            {
                Some(known) => (known.range(), text.to_owned()),
                None => (end..end, format!("{text}\n")),
            }
        })
        .collect();
    changes.sort_by_key(|(range, _)| range.start);
    let mut whole = course.to_owned();
    for (range, text) in changes.into_iter().rev() {
        whole.replace_range(range, &text);
    }
    whole
}

/// What a file holds whose content has no meaning.
fn content(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap();
    let is_deck = ["slides_", "topic_", "project_"]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    let extension = name.rsplit('.').next().unwrap();
    match ProgLang::of_extension(extension).filter(|_| is_deck) {
        Some(prog_lang) => format!("{} %%\n", prog_lang.comment()),
        None => format!("{path}\n"),
    }
}

/// Diagnostics in lines, each with its hint.
fn diagnostics(text: &str, severity: Severity) -> BTreeSet<String> {
    let word = match severity {
        Severity::Error => ": error: ",
        Severity::Warning => ": warning: ",
        Severity::Note => ": note: ",
    };
    let mut found: Vec<String> = Vec::new();
    for line in text.lines() {
        match found.last_mut() {
            Some(last) if line.starts_with("hint: ") => *last += &format!("\n{line}"),
            _ => found.push(line.to_owned()),
        }
    }
    found.retain(|diagnostic| diagnostic.contains(word));
    found.into_iter().collect()
}

/// What a build said with this severity.
fn said(run: &Ran, severity: Severity) -> BTreeSet<String> {
    // Without a specification there is no run that could report anything.
    if run.code == 2 {
        return diagnostics(&run.stderr, severity);
    }
    let all = run.diagnostics().into_iter();
    all.filter(|found| found.severity == severity)
        .map(ToString::to_string)
        .collect()
}

fn write_sources(course: &Course, example: &Example, first: &str) {
    course.write("course.xml", first);
    for block in &example.blocks {
        match block.role() {
            Some(Role::Source("course.xml")) => {
                let text = match block.text.starts_with("<course>") {
                    true => block.text.clone(),
                    false => with_part(first, &block.text),
                };
                course.write("course.xml", text);
            }
            Some(Role::Source(path)) => course.write(path, &block.text),
            Some(Role::Listed(dir)) => {
                for path in paths(&block.text) {
                    let path = format!("{dir}/{path}");
                    course.write(&path, content(&path));
                }
            }
            _ => {}
        }
    }
}

/// Builds an example; what is not as the document says.
fn problems(example: &Example, first: &str) -> Vec<String> {
    let course = Course::with_topics(&[]);
    write_sources(&course, example, first);
    let run = course.build(&["--no-daemon"]);
    let mut problems = Vec::new();
    let mut differ = |what: &str, shown: String, found: String| {
        if shown != found {
            problems.push(format!("{what} is\n{found}\nbut the document has\n{shown}"));
        }
    };
    let lines = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join("\n");
    for severity in [Severity::Error, Severity::Warning] {
        let shown = example.blocks.iter().filter(
            |block| matches!(block.role(), Some(Role::Said(of_block)) if of_block == severity),
        );
        // A long line goes on in lines that are indented.
        let shown: String = shown.map(|block| block.text.replace("\n  ", " ")).collect();
        let shown = diagnostics(&shown, severity);
        if severity == Severity::Error {
            let fails = (!shown.is_empty()).to_string();
            differ("that the build fails", fails, (run.code != 0).to_string());
        }
        let name = format!("what the build says ({severity:?})");
        differ(&name, lines(shown), lines(said(&run, severity)));
    }
    for block in &example.blocks {
        match block.role() {
            Some(Role::Tree(dir)) => {
                let found = tree(&course.path(dir)).into_keys().collect();
                differ(&format!("`{dir}`"), lines(paths(&block.text)), lines(found));
            }
            Some(Role::Output(path)) => {
                let found = std::fs::read_to_string(course.path(path)).unwrap_or_default();
                let has_all = block.text.lines().all(|line| found.contains(line));
                if !block.is_part || !has_all {
                    differ(&format!("`{path}`"), block.text.clone(), found);
                }
            }
            Some(_) => {}
            None => differ("the path of a block", block.info.clone(), "missing".into()),
        }
    }
    problems
}

/// Everything in a document that is not so.
fn check(name: &str) {
    let first = first_course();
    let text = read(name);
    let examples = examples(&text);
    assert!(!examples.is_empty(), "{name} has no examples");
    // Counted in another way: no block is lost.
    let specifications = text.matches("`course.xml`:\n\n```xml\n").count();
    let is_specification =
        |block: &&Block| matches!(block.role(), Some(Role::Source("course.xml")));
    let blocks = || examples.iter().flat_map(|example| &example.blocks);
    assert_eq!(blocks().filter(is_specification).count(), specifications);
    let problems: Vec<String> = examples
        .iter()
        .flat_map(|example| {
            let found = problems(example, &first).into_iter();
            found.map(|problem| format!("{name}, {}: {problem}", example.heading))
        })
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

#[test]
fn the_specification_is_as_the_document_says() {
    check("format.md");
}

#[test]
fn topics_are_as_the_document_says() {
    check("topics.md");
}

#[test]
fn decks_are_as_the_document_says() {
    check("decks.md");
}

#[test]
fn kinds_are_as_the_document_says() {
    check("kinds.md");
}

#[test]
fn templates_are_as_the_document_says() {
    check("templates.md");
}

#[test]
fn execution_is_as_the_document_says() {
    check("execution.md");
}

#[test]
fn diagrams_are_as_the_document_says() {
    check("diagrams.md");
}

#[test]
fn outputs_are_as_the_document_says() {
    check("outputs.md");
}

#[test]
fn what_is_wrong_in_an_example_is_noticed() {
    let text = "# Wrong\n\n`course.xml`:\n\n```xml\n<topics><topic>helo</topic><topic>hello</topic></topics>\n```\n\n\
                Files in `slides`:\n\n```files\nm/topic_010_hello/\n  slides_a.py\n```\n\n\
                `output`:\n\n```tree\nother.py\n```\n\n\
                `output/course-en/Slides/Python/Completed/Week 1/01 slides_a.py`:\n\n```python\n# %%\n1\n```\n\n\
                `output/course-en/Slides/Python/Completed/Week 1/01 slides_a.py` contains:\n\n```python\n2\n```\n\n\
                ```text warning\na: warning: b\n```\n\nAnd\n\n```python\n3\n```\n";
    let examples = examples(text);
    assert_eq!((examples.len(), examples[0].blocks.len()), (1, 7));
    let found = problems(&examples[0], &first_course());
    let found: Vec<&str> = found
        .iter()
        .filter_map(|found| found.split(" is\n").next())
        .collect();
    let script = "`output/course-en/Slides/Python/Completed/Week 1/01 slides_a.py`";
    assert_eq!(
        found,
        [
            "that the build fails",
            "what the build says (Error)",
            "what the build says (Warning)",
            "`output`",
            script,
            script,
            "the path of a block"
        ]
    );
}

#[test]
fn there_are_many_examples() {
    let all: Vec<Example> = DOCUMENTS
        .iter()
        .flat_map(|name| examples(&read(name)))
        .collect();
    let count = |is: &dyn Fn(&Role<'_>) -> bool| {
        let blocks = all.iter().flat_map(|example| &example.blocks);
        blocks.filter_map(Block::role).filter(is).count()
    };
    assert!(all.len() >= 40, "{}", all.len());
    assert!(count(&|role| matches!(role, Role::Tree(_))) >= 20);
    assert!(count(&|role| matches!(role, Role::Output(_))) >= 15);
    assert!(count(&|role| matches!(role, Role::Said(_))) >= 15);
}

/// The names between quotes in a text of code.
fn names(code: &str) -> impl Iterator<Item = &str> {
    let is_name = |name: &&str| {
        let is_of_name = |c: char| c.is_ascii_lowercase() || c == '-';
        !name.is_empty() && name.chars().all(is_of_name)
    };
    code.split('"').skip(1).step_by(2).filter(is_name)
}

#[test]
fn every_element_attribute_and_tag_is_described() {
    let course = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/course");
    let source = |path: &str| std::fs::read_to_string(course.join(path)).unwrap();
    let spec: String = ["read.rs", "targets.rs", "topics.rs"]
        .map(|file| source(&format!("spec/{file}")))
        .concat();
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for begin in ["check_children(", "check_attributes(", "KNOWN: &[&str] ="] {
        for code in spec.split(begin).skip(1) {
            known.extend(names(code.split(';').next().unwrap()));
        }
    }
    let tags = source("deck/tags.rs");
    for code in tags.split("_TAGS: &[&str] =").skip(1) {
        known.extend(names(code.split(';').next().unwrap()));
    }
    assert!(known.len() > 60, "{known:?}");
    let text: String = DOCUMENTS.iter().map(|name| read(name)).collect();
    let is_described = |name: &&&str| {
        [format!("`<{name}>"), format!("`{name}`")]
            .iter()
            .any(|form| text.contains(form))
    };
    let missing: Vec<&&str> = known.iter().filter(|name| !is_described(name)).collect();
    assert!(missing.is_empty(), "{missing:?} are not described");
}

/// The name that a heading has in links.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let text: String = heading.chars().filter(kept).collect();
    text.trim().to_lowercase().replace(' ', "-")
}

#[test]
fn links_lead_to_headings() {
    let mut count = 0;
    for name in DOCUMENTS {
        let text = read(name);
        for link in text.split("](").skip(1) {
            let (link, _) = link.split_once(')').unwrap();
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let is_other = !file.is_empty() && !DOCUMENTS.contains(&file);
            if link.contains(':') || link.starts_with("img/") || is_other && !file.ends_with(".md")
            {
                continue;
            }
            count += 1;
            let there = read(if file.is_empty() { name } else { file });
            let headings = there.lines().filter(|line| line.starts_with('#'));
            let is_there = place.is_empty() || headings.map(anchor).any(|found| found == place);
            assert!(is_there, "{name}: `{link}` leads nowhere");
        }
    }
    assert!(count > 30, "{count}");
}
