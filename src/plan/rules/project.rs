//! CMake projects: one for each directory of C++ programs, so that a development environment can open and build them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use crate::course::ProgLang;
use crate::course::deck::cpp::{SUPPORT_HEADERS, identifier};
use crate::course::layout::Destination;
use crate::events::ActionKind;
use crate::plan::action::{Make, Output, Recipe};
use crate::plan::{Context, KeyParts};

use super::program::{ProgramFile, Programs};

/// How deep the root of a project is: below the directories of the course, of its slides, of the format and of the
/// kind.
const ROOT_DEPTH: usize = 4;

/// A library that programs may include, and that the user must install.
const JSON_HEADER: &str = "nlohmann/json.hpp";

/// The extensions of copied files that are searched for included headers.
const CODE_EXTENSIONS: [&str; 8] = ["h", "hh", "hpp", "hxx", "c", "cc", "cpp", "cxx"];

/// The programs of one kind in one language and target.
struct Project<'a> {
    root: Destination,
    /// The programs by the directory of their section, in order.
    sections: BTreeMap<String, Vec<&'a ProgramFile>>,
    /// The support headers that are included. Whether the JSON library is included is in `needs_json`.
    headers: BTreeSet<&'static str>,
    needs_json: bool,
}

/// Adds the actions that write projects.
pub(crate) fn add(context: &Context<'_>, programs: &Programs, actions: &mut Vec<Recipe>) {
    if context.spec.prog_lang != ProgLang::Cpp || !context.layout.has_all_sections {
        return;
    }
    for project in projects(context, programs) {
        let names = target_names(&project);
        let decks: Vec<&ProgramFile> = project.sections.values().flatten().copied().collect();
        let mut files = vec![("CMakeLists.txt".to_owned(), root_text(&project))];
        for (section, decks) in &project.sections {
            let text = section_text(&project, section, decks, &names);
            files.push((format!("{section}/CMakeLists.txt"), text));
        }
        for header in SUPPORT_HEADERS {
            if project.headers.contains(header.path) {
                files.push((format!("include/{}", header.path), header.text.to_owned()));
            }
        }
        for (path, text) in files {
            actions.extend(write(context, &project.root, &decks, &path, text));
        }
    }
}

fn write(
    context: &Context<'_>,
    root: &Destination,
    decks: &[&ProgramFile],
    path: &str,
    text: String,
) -> Option<Recipe> {
    let destination = root.join(path)?;
    let name = context.names.of(path.rsplit('/').next().unwrap_or(path));
    let destinations = context.destinations([&destination]);
    let mut inputs: Vec<_> = decks
        .iter()
        .flat_map(|deck| deck.action_inputs.clone())
        .collect();
    inputs.sort_unstable();
    inputs.dedup();
    Some(Recipe {
        id: format!("project {}", destinations.first()?),
        kind: ActionKind::Deck,
        source: decks.first()?.deck.clone(),
        inputs,
        parts: KeyParts::default().with("text", &text),
        after: Vec::new(),
        make: Make::Text(text.into()),
        outputs: vec![Output { name, destinations }],
        warnings: Vec::new(),
    })
}

fn projects<'a>(context: &Context<'_>, programs: &'a Programs) -> Vec<Project<'a>> {
    let mut projects: BTreeMap<Destination, Project<'a>> = BTreeMap::new();
    for file in &programs.files {
        let Some((root, below)) = split(&file.destination) else {
            continue;
        };
        let project = projects.entry(root.clone()).or_insert_with(|| Project {
            root,
            sections: BTreeMap::new(),
            headers: BTreeSet::new(),
            needs_json: false,
        });
        let section = below.rsplit_once('/').map_or("", |(section, _)| section);
        let section = project.sections.entry(section.to_owned()).or_default();
        section.push(file);
        section.sort_by(|one, other| one.destination.cmp(&other.destination));
        project.note_includes(&file.text);
    }
    for copy in &context.layout.copies {
        if !CODE_EXTENSIONS.contains(&copy.source.extension()) {
            continue;
        }
        let roots = copy
            .destinations
            .iter()
            .filter_map(|place| split(&place.at));
        let mut roots: Vec<Destination> = roots.map(|(root, _)| root).collect();
        roots.retain(|root| projects.contains_key(root));
        if roots.is_empty() {
            continue;
        }
        let Some(source) = context.files.read(&copy.source) else {
            continue;
        };
        let text: Arc<str> = String::from_utf8_lossy(&source.bytes).into();
        for root in roots {
            if let Some(project) = projects.get_mut(&root) {
                project.note_includes(&text);
            }
        }
    }
    projects.into_values().collect()
}

/// Splits a place into the root of its project and the path below it.
fn split(place: &Destination) -> Option<(Destination, &str)> {
    place.split(ROOT_DEPTH)
}

impl Project<'_> {
    fn note_includes(&mut self, text: &str) {
        for header in SUPPORT_HEADERS {
            if includes(text, header.path) {
                self.headers.insert(header.path);
                self.needs_json |=
                    includes(header.text, JSON_HEADER) && header.path.starts_with("xcpp");
            }
        }
        self.needs_json |= includes(text, JSON_HEADER);
    }

    fn name(&self) -> String {
        let course = self.root.path().split('/').next().unwrap_or_default();
        let kind = self
            .sections
            .values()
            .flatten()
            .next()
            .map_or_else(String::new, |file| file.kind.to_string());
        lower(&format!("{course} {kind}"))
    }
}

fn includes(text: &str, header: &str) -> bool {
    text.lines().any(|line| {
        let include = line.trim_start().strip_prefix('#').map(str::trim_start);
        include.is_some_and(|line| line.starts_with("include") && line.contains(header))
    })
}

/// Converts a text to a name of lower-case letters, digits and underscores.
fn lower(text: &str) -> String {
    let name = identifier(text).to_lowercase();
    if name.is_empty() {
        "deck".to_owned()
    } else {
        name
    }
}

/// Names the executable of every source file after the section and the deck. All names of a project differ.
fn target_names(project: &Project) -> BTreeMap<Destination, String> {
    let mut names = BTreeMap::new();
    let mut used = BTreeSet::new();
    for (section, decks) in &project.sections {
        let digits = section.bytes().take_while(u8::is_ascii_digit).count();
        let section = match section[..digits].parse::<u64>() {
            Ok(number) => format!("s{number:02}"),
            Err(_) => lower(section),
        };
        for deck in decks {
            let base = format!("{section}_{}", lower(deck.destination.stem()));
            let numbered = (2_u32..).map(|number| format!("{base}_{number}"));
            let mut candidates = [base.clone()].into_iter().chain(numbered);
            let name = candidates.find(|name| !used.contains(name)).unwrap_or(base);
            used.insert(name.clone());
            names.insert(deck.destination.clone(), name);
        }
    }
    names
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// Returns the compiler settings of a project; `include` is the directory of support headers.
fn settings(project: &Project, include: &str) -> String {
    let mut text = String::from(
        "set(CMAKE_CXX_STANDARD 20)\n\
         set(CMAKE_CXX_STANDARD_REQUIRED ON)\n\
         if(MSVC)\n    add_compile_options(/utf-8)\nendif()\n",
    );
    if !project.headers.is_empty() {
        let dir = format!("${{CMAKE_CURRENT_SOURCE_DIR}}/{include}");
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "include_directories(\"{dir}\")");
    }
    if project.needs_json {
        text.push_str(
            "# <nlohmann/json.hpp> has to be installed: package nlohmann-json3-dev, nlohmann-json or nlohmann_json.\n\
             find_package(nlohmann_json 3 QUIET)\n\
             if(nlohmann_json_FOUND)\n    link_libraries(nlohmann_json::nlohmann_json)\nelse()\n    \
             message(WARNING \"The library nlohmann_json was not found: some programs will not compile without it\")\nendif()\n",
        );
    }
    text
}

fn root_text(project: &Project) -> String {
    let mut text = format!(
        "# All programs of this course; every directory is also a project of its own.\n\
         cmake_minimum_required(VERSION 3.21)\n\
         project({} LANGUAGES CXX)\n\n{}\n",
        project.name(),
        settings(project, "include"),
    );
    for section in project.sections.keys() {
        let _ = writeln!(text, "add_subdirectory({})", quoted(section));
    }
    text
}

fn section_text(
    project: &Project,
    section: &str,
    decks: &[&ProgramFile],
    names: &BTreeMap<Destination, String>,
) -> String {
    let mut indented = String::new();
    for line in settings(project, "../include").lines() {
        let _ = writeln!(indented, "    {line}");
    }
    let mut text = format!(
        "# The programs of one section.\n\
         cmake_minimum_required(VERSION 3.21)\n\
         project({}_{} LANGUAGES CXX)\n\n\
         if(PROJECT_IS_TOP_LEVEL)\n{indented}endif()\n\n",
        project.name(),
        lower(section),
    );
    for deck in decks {
        let Some(name) = names.get(&deck.destination) else {
            continue;
        };
        let excluded = if deck.is_excluded {
            " EXCLUDE_FROM_ALL"
        } else {
            ""
        };
        let stem = deck.destination.stem();
        let _ = writeln!(
            text,
            "add_executable({name}{excluded} {})",
            quoted(&format!("{stem}.cpp"))
        );
        for number in &deck.workshops {
            let file = quoted(&format!("{stem}_workshop_{number}.cpp"));
            let _ = writeln!(
                text,
                "add_executable({name}_workshop_{number}{excluded} {file})"
            );
        }
    }
    text
}
