//! Names of topics and modules: which are possible, which are taken, and which number comes next.

use crate::course::tree::simplified;
use crate::course::words::nearest;

/// Returns whether a text can be the id of a topic or a module on every file system.
pub(crate) fn is_identifier(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(is_plain)
        && text.ends_with(is_plain)
        && text.chars().all(|c| is_plain(c) || matches!(c, '_' | '-'))
}

/// Returns what identifiers are, with one that is made of a text if there is one.
pub(crate) fn identifier_hint(text: &str) -> String {
    let rule = "use letters without accents, digits and `_`";
    match id_of(text) {
        Some(id) => format!("{rule}, such as `{id}`"),
        None => format!("{rule}, such as `for_loops`"),
    }
}

/// Returns an identifier that is made of a title or a file name: `For Loops!` is `for_loops`. `None` if nothing is left.
pub(crate) fn id_of(text: &str) -> Option<String> {
    let mut id = String::new();
    for c in text.to_lowercase().chars() {
        match c {
            'ä' => id.push_str("ae"),
            'ö' => id.push_str("oe"),
            'ü' => id.push_str("ue"),
            'ß' => id.push_str("ss"),
            c if c.is_ascii_alphanumeric() => id.push(c),
            _ => id.push(' '),
        }
    }
    let words: Vec<&str> = id.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join("_"))
}

/// Returns a title that is made of an identifier or a file name: `for_loops` is `For loops`.
pub(crate) fn title_of(name: &str) -> String {
    let words = name.replace(['_', '-', '.'], " ");
    let words: Vec<&str> = words.split_whitespace().collect();
    let text = words.join(" ");
    let mut rest = text.chars();
    match rest.next() {
        Some(first) => first.to_uppercase().chain(rest).collect(),
        None => text,
    }
}

/// The modules of a course, ordered by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Modules(Vec<Module>);

#[derive(Clone, Debug)]
struct Module {
    name: String,
    entries: Vec<String>,
}

/// The module that a topic is put into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModuleChoice {
    /// A module that is there.
    Existing(String),
    /// One that is not there yet: the name of its directory, and a title.
    New {
        /// The name of the directory.
        directory: String,
        /// What the section of the module is called.
        title: String,
    },
}

impl Modules {
    /// Takes the names of the directories of modules, each with the names of the files and directories in it.
    pub(crate) fn new(modules: impl IntoIterator<Item = (String, Vec<String>)>) -> Self {
        let modules = modules.into_iter();
        let mut modules: Vec<Module> = modules
            .map(|(name, entries)| Module { name, entries })
            .collect();
        modules.sort_by(|one, other| one.name.cmp(&other.name));
        Self(modules)
    }

    /// Adds a file or directory to a module, which may be new.
    pub(crate) fn insert(&mut self, module: &str, entry: &str) {
        let found = self.0.iter_mut().find(|found| found.name == module);
        match found {
            Some(module) => module.entries.push(entry.to_owned()),
            None => {
                let place = self.0.partition_point(|other| other.name.as_str() < module);
                let (name, entries) = (module.to_owned(), vec![entry.to_owned()]);
                self.0.insert(place, Module { name, entries });
            }
        }
    }

    /// Returns the path of a topic with this id, if there is one.
    pub(crate) fn path_of(&self, id: &str) -> Option<String> {
        let paths = self.0.iter().flat_map(|module| {
            let entries = module.entries.iter();
            entries.map(|entry| (entry, format!("slides/{}/{entry}", module.name)))
        });
        let mut found = paths.filter(|(entry, _)| simplified(entry).as_deref() == Some(id));
        found.next().map(|(_, path)| path)
    }

    /// Returns the ids of the topics in a module.
    pub(crate) fn topics_of(&self, module: &str) -> Vec<String> {
        let found = self.0.iter().find(|found| found.name == module);
        let entries = found.into_iter().flat_map(|module| &module.entries);
        entries.filter_map(|entry| simplified(entry)).collect()
    }

    /// Returns the module of a topic without a name for it: the one that the user stands in, else the one of the last
    /// of these topics, else the last one.
    pub(crate) fn usual(&self, here: Option<&str>, topics: &[&str]) -> Option<String> {
        let here = here.filter(|here| self.0.iter().any(|module| module.name == *here));
        let of_topic = |id: &&&str| {
            let mut modules = self.0.iter();
            modules.find(|module| {
                self.topics_of(&module.name)
                    .iter()
                    .any(|other| other == **id)
            })
        };
        let found = here.or_else(|| {
            let last = topics.iter().rev().find(|id| of_topic(id).is_some());
            let last = last.and_then(|id| of_topic(&id)).or(self.0.last());
            last.map(|module| module.name.as_str())
        });
        found.map(str::to_owned)
    }

    /// Returns the module of a name, which is that of its directory or the id in it; a new module for a name that is not
    /// like any of them. The error is a hint.
    pub(crate) fn named(&self, name: &str) -> Result<ModuleChoice, String> {
        let is_it = |module: &&Module| {
            module.name == name || simplified(&module.name).as_deref() == Some(name)
        };
        if let Some(found) = self.0.iter().find(is_it) {
            return Ok(ModuleChoice::Existing(found.name.clone()));
        }
        if !is_identifier(name) {
            return Err(identifier_hint(name));
        }
        let ids = || self.0.iter().map(|module| short(&module.name));
        let begins = |id: &String| {
            id.len().min(name.len()) >= 3 && (id.starts_with(name) || name.starts_with(id.as_str()))
        };
        if let Some(near) = ids().find(begins).or_else(|| nearest(name, ids())) {
            return Err(format!("did you mean `{near}`? {}", self.listed()));
        }
        let title = title_of(&short(name));
        let directory = match simplified(name) {
            Some(_) if name.starts_with("module_") => name.to_owned(),
            _ => {
                let names = self.0.iter().map(|module| module.name.as_str());
                format!("module_{:03}_{name}", next_number(names))
            }
        };
        Ok(ModuleChoice::New { directory, title })
    }

    /// Returns the directory of a new topic in a module, relative to the course root.
    pub(crate) fn directory_of(&self, module: &str, id: &str) -> String {
        let found = self.0.iter().find(|found| found.name == module);
        let entries = found.into_iter().flat_map(|module| &module.entries);
        let number = next_number(entries.map(String::as_str));
        format!("slides/{module}/topic_{number:03}_{id}")
    }

    /// Returns the modules as a sentence.
    fn listed(&self) -> String {
        let names: Vec<String> = (self.0.iter())
            .map(|module| format!("`{}`", module.name))
            .collect();
        format!("the modules are {}", names.join(", "))
    }
}

/// Returns the id in the name of a module, or the name if it has none.
fn short(name: &str) -> String {
    simplified(name).unwrap_or_else(|| name.to_owned())
}

/// Returns the number after those of all names, in steps of ten, so that others can come between.
fn next_number<'a>(names: impl Iterator<Item = &'a str>) -> u32 {
    let numbers = names.filter_map(|name| name.split('_').nth(1)?.parse::<u32>().ok());
    let last = numbers.filter(|number| *number < 1_000_000).max();
    (last.unwrap_or(0) / 10 + 1) * 10
}
