//! What a new course and a new topic consist of: the names and contents of their files, and the entry in `course.xml`.
//!
//! Everything here is pure: `cli::new` and `cli::add` look at the disk and write.

mod added;
mod beside;
mod code;
mod deck;
mod decks;
mod diagrams;
mod entry;
mod names;
mod spec;
mod texts;

use crate::course::{Lang, ProgLang};

pub(crate) use added::{AddedTopic, added_topic, id_of_notebook};
pub(crate) use entry::{TopicEntry, insert_topic};
pub(crate) use names::{ModuleChoice, Modules, identifier_hint, is_identifier, title_of};

use texts::Texts;

/// What a course or a topic is made for.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The title of the course or the topic.
    pub title: String,
    /// The languages, in the order in which the user named them; at least one.
    pub languages: Vec<Lang>,
    /// The programming language.
    pub prog_lang: ProgLang,
    /// The author on title slides.
    pub author: String,
    /// The organization on title slides; empty for none.
    pub organization: String,
}

impl Settings {
    /// Returns the texts of each language.
    fn texts(&self) -> impl Iterator<Item = (Lang, &'static Texts)> {
        let languages = self.languages.iter();
        languages.map(|lang| (*lang, Texts::of(*lang)))
    }

    /// Returns the texts of the first language, for files that are in one language only.
    fn first(&self) -> &'static Texts {
        Texts::of(self.languages.first().copied().unwrap_or(Lang::EN))
    }

    /// Returns whether files and cells say which language they are in. Those of a course in one language do not.
    fn is_marked(&self) -> bool {
        self.languages.len() > 1
    }

    /// Returns the name of a file that every language has its own one of, from the name without a language.
    fn marked(&self, name: &str, lang: Lang) -> String {
        match (self.is_marked(), name.rsplit_once('.')) {
            (true, Some((stem, extension))) => format!("{stem}.{lang}.{extension}"),
            _ => name.to_owned(),
        }
    }
}

/// A file that does not exist yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewFile {
    /// Its path, with `/`, relative to the course root.
    pub path: String,
    /// Its content.
    pub content: String,
}

impl NewFile {
    fn new(path: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            content: content.into(),
        }
    }
}

/// Returns the files of a course. `slug` names its output directories. The workflow is left out where it would have no
/// effect: below the top of a repository.
pub(crate) fn course(settings: &Settings, slug: &str, has_workflow: bool) -> Vec<NewFile> {
    let mut files = vec![NewFile::new("course.xml", spec::course(settings, slug))];
    files.extend(decks::files(settings));
    files.extend(beside::files(settings, has_workflow));
    files
}

/// Returns the path of the deck of a topic in its directory.
pub(crate) fn topic(settings: &Settings, directory: &str, id: &str) -> NewFile {
    let name = format!("{directory}/slides_{id}.{}", settings.prog_lang.extension());
    NewFile::new(name, decks::of_topic(settings))
}

/// Returns whether clm installs a kernel for this language. Decks in others are not executed, unless the author installs
/// one.
pub(crate) fn has_kernel(prog_lang: ProgLang) -> bool {
    matches!(prog_lang, ProgLang::Python | ProgLang::TypeScript)
}

#[cfg(test)]
mod tests;
