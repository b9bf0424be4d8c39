//! Finds the files of one topic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use regex::Regex;

use crate::course::deck::companion_name;
use crate::course::file_name::sanitize;
use crate::course::languages::listed;
use crate::course::spec::{Spec, TopicRef};
use crate::course::{Lang, Localized, ProgLang, RelPath};
use crate::diagnostic::Diagnostic;
use crate::error::{Dir, io_hint};

use super::classify::{Class, classify};
use super::ignore::is_ignored;
use super::{
    DeckFile, DiagramFile, DiagramKind, Listing, Texts, Topic, TopicFile, includes, is_never_output,
};

/// The counter of deck numbers in a section.
#[derive(Default)]
pub(super) struct Numbers(u32);

impl Numbers {
    /// Returns how many numbers were assigned.
    pub(super) fn given(&self) -> u32 {
        self.0
    }

    fn next(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }
}

/// Finds the files of a topic.
pub(super) struct Finder<'a> {
    pub spec: &'a Spec,
    pub listing: &'a Listing,
    pub texts: &'a dyn Texts,
    pub reference: &'a TopicRef,
}

impl Finder<'_> {
    /// Finds the files; decks get the next numbers.
    pub(super) fn find(
        &self,
        position: usize,
        path: &RelPath,
        numbers: &mut Numbers,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Topic {
        let is_dir = self.listing.dirs.contains(path);
        let home = if is_dir {
            path.clone()
        } else {
            path.parent().unwrap_or_else(|| path.clone())
        };
        let mut topic = Topic {
            id: self.reference.id.clone(),
            topic: position,
            path: path.clone(),
            home,
            decks: Vec::new(),
            data: Vec::new(),
            images: Vec::new(),
            diagrams: Vec::new(),
        };
        if is_dir {
            self.add_directory(&mut topic, numbers, diagnostics);
        } else {
            self.add_file(&mut topic, numbers, diagnostics);
        }
        self.add_included(&mut topic, numbers, diagnostics);
        self.leave_out_direct_diagrams(&mut topic, diagnostics);
        let rendered: BTreeSet<RelPath> = topic
            .diagrams
            .iter()
            .map(|diagram| diagram.rendered.clone())
            .collect();
        // A committed rendering of a diagram is not a separate image.
        topic.images.retain(|image| !rendered.contains(&image.at));
        // There are very many topics, and they are kept in memory.
        topic.decks.shrink_to_fit();
        topic.data.shrink_to_fit();
        topic.images.shrink_to_fit();
        topic.diagrams.shrink_to_fit();
        topic
    }

    /// Removes diagrams directly in the topic: their images would lie outside of it, and outputs would not contain
    /// them.
    fn leave_out_direct_diagrams(&self, topic: &mut Topic, diagnostics: &mut Vec<Diagnostic>) {
        let home = topic.home.clone();
        topic.diagrams.retain(|diagram| {
            if diagram.rendered.starts_with(&home) {
                return true;
            }
            let text = self
                .texts
                .read(&diagram.path)
                .unwrap_or_else(|| Arc::from(&b""[..]));
            // A PlantUML file without it is a library.
            let is_drawn = diagram.kind == DiagramKind::Drawio
                || text.windows(6).any(|part| part == b"@start");
            if is_drawn {
                let dir = match diagram.kind {
                    DiagramKind::Plantuml => "pu",
                    DiagramKind::Drawio => "drawio",
                };
                diagnostics.push(
                    Diagnostic::warning(
                        "the diagram lies directly in its topic, so no output shows it",
                    )
                    .at(diagram.path.as_str(), None)
                    .hint(format!(
                        "move it to `{dir}/`: its image is then `img/<name>.png`"
                    )),
                );
            }
            false
        });
    }

    /// Adds a directory: first files in subdirectories, then its own decks, then its other files.
    fn add_directory(
        &self,
        topic: &mut Topic,
        numbers: &mut Numbers,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let home = topic.home.clone();
        let all: Vec<&RelPath> = self
            .listing
            .below(&home)
            .filter(|path| {
                path.strip_prefix(&home)
                    .is_some_and(|below| !is_ignored(&below))
            })
            .collect();
        let is_direct = |path: &RelPath| path.parent().as_ref() == Some(&home);
        let (direct, nested): (Vec<&RelPath>, Vec<&RelPath>) =
            all.into_iter().partition(|path| is_direct(path));
        for path in nested {
            self.add_single(topic, TopicFile::own(path), numbers, diagnostics);
        }
        let (decks, others): (Vec<&RelPath>, Vec<&RelPath>) = direct
            .into_iter()
            .partition(|path| classify(path) == Class::Deck);
        self.add_families(topic, &decks, numbers, diagnostics);
        for path in others {
            self.add_other(topic, TopicFile::own(path), classify(path));
        }
    }

    /// Adds included files, after the topic's own.
    fn add_included(
        &self,
        topic: &mut Topic,
        numbers: &mut Numbers,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let found =
            includes::included(self.reference, topic, self.listing, self.texts, diagnostics);
        for file in found {
            self.add_single(topic, file, numbers, diagnostics);
        }
    }

    /// Adds a file on its own, not as one half of a pair.
    fn add_single(
        &self,
        topic: &mut Topic,
        file: TopicFile,
        numbers: &mut Numbers,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        match classify(&file.at) {
            Class::Deck => {
                let number = numbers.next();
                topic
                    .decks
                    .extend(self.deck(file, None, number, diagnostics));
            }
            class => self.add_other(topic, file, class),
        }
    }

    /// Adds decks by family: `slides_x.de.py` and `slides_x.en.py` are the halves of one deck.
    fn add_families(
        &self,
        topic: &mut Topic,
        decks: &[&RelPath],
        numbers: &mut Numbers,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let mut families: BTreeMap<String, Vec<(&RelPath, Option<Lang>)>> = BTreeMap::new();
        for path in decks {
            let (family, lang) = family(self.spec, path);
            families.entry(family).or_default().push((path, lang));
        }
        for (name, members) in families {
            // An incomplete family gets a number, too, so that the following decks keep theirs while a half is missing.
            let number = numbers.next();
            if let Some((message, hint)) = self.incompatible(&name, &members) {
                let first = members
                    .first()
                    .map_or(topic.path.as_str(), |(path, _)| path.as_str());
                diagnostics.push(Diagnostic::error(message).at(first, None).hint(hint));
                continue;
            }
            for (path, lang) in members {
                topic
                    .decks
                    .extend(self.deck(TopicFile::own(path), lang, number, diagnostics));
            }
        }
    }

    /// Returns what is wrong with the files of a family, and a hint: it is either one file for all languages, or one
    /// for each language of the course.
    fn incompatible(
        &self,
        family: &str,
        members: &[(&RelPath, Option<Lang>)],
    ) -> Option<(String, String)> {
        let languages = self.spec.languages();
        let is_pair = languages == Lang::USUAL;
        let halves: Vec<Lang> = members.iter().filter_map(|(_, lang)| *lang).collect();
        if halves.is_empty() {
            return None;
        }
        if halves.len() < members.len() {
            let hint = match (is_pair, languages.as_slice()) {
                (true, _) => "keep either the one file, or the pair `.de` and `.en`".to_owned(),
                (_, [only]) => format!("keep either the one file, or the one with `.{only}`"),
                _ => {
                    let all = listed(&languages, |lang| format!("`.{lang}`"));
                    format!("keep either the one file, or one for each language: {all}")
                }
            };
            let message = format!("`{family}` is there both for all languages and for single ones");
            return Some((message, hint));
        }
        let missing: Vec<Lang> = languages
            .iter()
            .copied()
            .filter(|lang| !halves.contains(lang))
            .collect();
        if missing.is_empty() {
            return None;
        }
        if is_pair {
            return Some((
                format!("`{family}` is there in one language only"),
                "add the other half of the pair `.de` and `.en`".to_owned(),
            ));
        }
        let named = |languages: &[Lang]| listed(languages, |lang| format!("`{lang}`"));
        let (stem, extension) = family.rsplit_once('.').unwrap_or((family, ""));
        Some((
            format!(
                "`{family}` is there in {} and not in {}",
                named(&halves),
                named(&missing)
            ),
            format!(
                "add {}, or have one file for all languages",
                listed(&missing, |lang| format!("`{stem}.{lang}.{extension}`"))
            ),
        ))
    }

    /// Adds a topic that is a single file: the deck, and the files of its module's directory that it names.
    fn add_file(
        &self,
        topic: &mut Topic,
        numbers: &mut Numbers,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let path = topic.path.clone();
        if classify(&path) != Class::Deck {
            diagnostics.push(
                Diagnostic::error(format!("the topic `{}` is a file but not a deck", topic.id))
                    .at(path.as_str(), None)
                    .hint("decks are named `topic_<number>_<id>` with the extension of their language"),
            );
            return;
        }
        let number = numbers.next();
        let Some(deck) = self.deck(TopicFile::own(&path), None, number, diagnostics) else {
            return;
        };
        let Some(text) = self.texts.read(&path) else {
            // The deck is not added, since the files that it names are unknown.
            diagnostics.push(self.unreadable(&path));
            return;
        };
        topic.decks.push(deck);
        let text = String::from_utf8_lossy(&text);
        for name in named_files(&text, self.spec.prog_lang) {
            let Ok(candidate) = topic.home.join(&name) else {
                continue;
            };
            if candidate != path && self.listing.files.contains(&candidate) {
                self.add_other(topic, TopicFile::own(&candidate), classify(&candidate));
            }
        }
    }

    fn add_other(&self, topic: &mut Topic, file: TopicFile, class: Class) {
        match class {
            Class::Diagram(kind) => topic.diagrams.extend(self.diagram(file, kind)),
            Class::Image => topic.images.push(file),
            // A deck that is named by another one is a data file.
            Class::Data | Class::Deck if is_never_output(&file.at) => {}
            Class::Data | Class::Deck => topic.data.push(file),
        }
    }

    fn diagram(&self, file: TopicFile, kind: DiagramKind) -> Option<DiagramFile> {
        let above = file.at.parent()?.parent()?;
        let name = sanitize(&format!(
            "{}.{}",
            file.at.stem(),
            self.spec.images.format.extension()
        ));
        // In old courses, renderings are committed in `img/`; they are updated there.
        let legacy = above.join(&format!("img/{name}")).ok()?;
        let rendered = if self.listing.files.contains(&legacy) {
            legacy
        } else {
            above.join(&format!("img-generated/{name}")).ok()?
        };
        Some(DiagramFile {
            path: file.path,
            at: file.at,
            kind,
            rendered,
        })
    }

    /// Returns the narration file of a deck, from the directory `voiceover` or beside the deck.
    fn companion(&self, deck: &RelPath) -> Option<RelPath> {
        let name = companion_name(deck.file_name());
        let dir = deck.parent()?;
        [format!("voiceover/{name}"), name]
            .iter()
            .filter_map(|place| dir.join(place).ok())
            .find(|path| self.listing.files.contains(path))
    }

    /// Returns the error about a deck that cannot be read.
    fn unreadable(&self, path: &RelPath) -> Diagnostic {
        let error = || {
            let found = match self.texts.why_unreadable(path) {
                None => Diagnostic::error("the deck cannot be read")
                    .hint("check that it still exists and that you may read it"),
                Some(error) => {
                    let mut found = Diagnostic::error(format!("the deck cannot be read: {error}"));
                    found.hint = io_hint(Dir::Other, "read", &error);
                    found
                }
            };
            found.at(path.as_str(), None)
        };
        self.texts.failure(path).unwrap_or_else(error)
    }

    fn deck(
        &self,
        file: TopicFile,
        lang: Option<Lang>,
        number: u32,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<DeckFile> {
        let path = &file.path;
        let prog_lang = self.reference.prog_lang.or_else(|| match path.extension() {
            "md" => Some(self.spec.prog_lang),
            extension => ProgLang::of_extension(extension),
        });
        let Some(prog_lang) = prog_lang else {
            let message = "decks in this language are not supported";
            diagnostics.push(Diagnostic::error(message).at(path.as_str(), None).hint(
                "rename the file so that it does not begin like a deck, or write it as `.py`",
            ));
            return None;
        };
        let Some(title) = self.texts.title(path) else {
            diagnostics.push(self.unreadable(path));
            return None;
        };
        match title {
            Ok(title) => Some(DeckFile {
                title: title.unwrap_or_else(|| Localized::same(file.at.stem())),
                companion: self.companion(path),
                prog_lang,
                lang,
                number,
                path: file.path,
                at: file.at,
            }),
            Err(error) => {
                diagnostics.push(error.diagnostic("deck", path));
                None
            }
        }
    }
}

/// Returns the name of a deck without its language, and the language.
fn family(spec: &Spec, path: &RelPath) -> (String, Option<Lang>) {
    let marked = || {
        let (stem, mark) = path.stem().rsplit_once('.')?;
        Some((stem, spec.marked(mark)?))
    };
    match marked() {
        Some((stem, lang)) => (format!("{stem}.{}", path.extension()), Some(lang)),
        None => (path.file_name().to_owned(), None),
    }
}

static IMAGE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"<img\s+src="([^"]+)""#).ok());
static IMPORT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?m)^\s*(?:import\s+(\S+)|from\s+(\S+)\s+import\b)").ok());

/// Returns the files that the text of a deck names: images and imported modules.
fn named_files(text: &str, prog_lang: ProgLang) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if let Some(pattern) = IMAGE.as_ref() {
        names.extend(pattern.captures_iter(text).map(|found| found[1].to_owned()));
    }
    if let Some(pattern) = IMPORT.as_ref() {
        for found in pattern.captures_iter(text) {
            let module = found
                .get(1)
                .or(found.get(2))
                .map_or("", |module| module.as_str());
            names.insert(format!("{module}.{}", prog_lang.extension()));
        }
    }
    names
}
