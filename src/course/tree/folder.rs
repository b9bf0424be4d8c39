//! The sources of a folder without `course.xml`: notebooks, diagrams, and the files that notebooks refer to.
//!
//! Every source is a topic of its own, so that a change of one does not concern the others.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::config::SETTINGS_FILE;
use crate::course::deck::plain::{self, Link};
use crate::course::deck::url;
use crate::course::spec::{Spec, has_folder_section};
use crate::course::{Localized, ProgLang, RelPath};
use crate::diagnostic::{Diagnostic, Severity};

use super::lost;
use super::pictures::pictures;
use super::{
    DeckFile, DiagramFile, Listing, Texts, Topic, TopicFile, Tree, TreeSection, diagram_kind,
    text_of,
};

/// What the content of a file says about it, as far as others depend on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Content {
    /// It is neither a notebook nor a diagram.
    Other,
    /// A notebook.
    Notebook(Facts),
    /// A diagram with this number of pictures; 0 for a library that others include.
    Diagram(usize),
}

/// What others depend on of a notebook.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Facts {
    title: Option<String>,
    prog_lang: Option<ProgLang>,
    /// The local links in its texts.
    links: Vec<Link>,
}

/// Returns what the content of a file says about it.
pub(crate) fn content_of(path: &RelPath, bytes: &[u8]) -> Content {
    if let Some(kind) = diagram_kind(path) {
        let text = text_of(bytes).unwrap_or_default();
        return Content::Diagram(pictures(path, kind, text));
    }
    let Ok(text) = text_of(bytes) else {
        // The error is reported when the notebook is planned.
        return match path.extension() {
            "ipynb" => Content::Notebook(Facts::default()),
            _ => Content::Other,
        };
    };
    match plain::read(path, text) {
        Ok(None) => Content::Other,
        Err(_) => Content::Notebook(Facts::default()),
        Ok(Some(found)) => Content::Notebook(Facts {
            links: plain::local_links(&found.deck),
            title: found.title,
            prog_lang: found.prog_lang,
        }),
    }
}

/// Returns whether a file may be a source, by its name.
pub(crate) fn may_be_source(path: &RelPath) -> bool {
    plain::reads_extension(path.extension()) || diagram_kind(path).is_some()
}

/// Returns the path of a page or a picture in the output directory: that of its source with another extension.
pub(crate) fn with_extension(path: &RelPath, extension: &str) -> String {
    with_end(path, &format!(".{extension}"))
}

fn with_end(path: &RelPath, end: &str) -> String {
    let name = format!("{}{end}", path.stem());
    match path.parent() {
        Some(dir) => format!("{dir}/{name}"),
        None => name,
    }
}

/// Finds the sources.
pub(super) fn discover(
    spec: &Spec,
    listing: &Listing,
    texts: &dyn Texts,
) -> (Tree, Vec<Diagnostic>) {
    let mut finder = Finder {
        spec,
        listing,
        notebooks: BTreeMap::new(),
        diagrams: BTreeMap::new(),
        twins: BTreeSet::new(),
        made: BTreeSet::new(),
        copied: BTreeSet::new(),
        diagnostics: Vec::new(),
    };
    for path in listing.files.iter().filter(|path| may_be_source(path)) {
        match texts.content(path) {
            None => finder.diagnostics.extend(texts.failure(path)),
            Some(Content::Other) => {}
            Some(Content::Notebook(facts)) => drop(finder.notebooks.insert(path, facts)),
            Some(Content::Diagram(count)) => drop(finder.diagrams.insert(path, count)),
        }
    }
    if finder.notebooks.is_empty() && finder.diagrams.is_empty() {
        finder.diagnostics.push(
            Diagnostic::warning("there are no notebooks and no diagrams in this folder").hint(
                "name another folder, or start a course with `clm new DIR`; what git ignores is left alone",
            ),
        );
    }
    finder.tell_of_other_folders(texts);
    finder.leave_out_twins();
    finder.tree()
}

struct Finder<'a> {
    spec: &'a Spec,
    listing: &'a Listing,
    notebooks: BTreeMap<&'a RelPath, Facts>,
    /// The number of pictures of each diagram.
    diagrams: BTreeMap<&'a RelPath, usize>,
    /// Notebooks that are left out, as they have the name of another one.
    twins: BTreeSet<&'a RelPath>,
    /// The paths of all pages and pictures.
    made: BTreeSet<String>,
    /// Files that are copied because a notebook refers to them.
    copied: BTreeSet<RelPath>,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Finder<'a> {
    /// Says which directories are folders of their own: of these only the settings are listed.
    fn tell_of_other_folders(&mut self, texts: &dyn Texts) {
        let settings = self.listing.files.iter();
        for path in settings.filter(|path| path.file_name() == SETTINGS_FILE) {
            let (Some(dir), Some(bytes)) = (path.parent(), texts.read(path)) else {
                continue;
            };
            if text_of(&bytes).is_ok_and(has_folder_section) {
                self.diagnostics.push(
                    Diagnostic::new(Severity::Note, format!(
                        "`{dir}` is a folder of its own and is left out here"
                    ))
                    .at(path.as_str(), None)
                    .hint(format!(
                        "`clm build {dir}` builds it; without its section `[folder]` it is a part of this one"
                    )),
                );
            }
        }
    }

    /// Leaves out notebooks that have the name of another one. Of a pair that jupytext keeps alike, the text is the
    /// one that people edit.
    fn leave_out_twins(&mut self) {
        let mut by_name: BTreeMap<String, Vec<&'a RelPath>> = BTreeMap::new();
        for path in self.notebooks.keys() {
            let name = with_extension(path, "html");
            by_name.entry(name).or_default().push(path);
        }
        for mut twins in by_name.into_values().filter(|twins| twins.len() > 1) {
            twins.sort_by_key(|path| (path.extension() == "ipynb", path.extension() != "md"));
            let first = twins[0];
            for other in &twins[1..] {
                self.notebooks.remove(other);
                self.twins.insert(other);
                let is_pair = other.extension() == "ipynb";
                let severity = if is_pair {
                    Severity::Note
                } else {
                    Severity::Warning
                };
                let message =
                    format!("it has the same name as `{first}`, of which the page is made");
                let found = Diagnostic::new(severity, message).at(other.as_str(), None);
                self.diagnostics.push(match is_pair {
                    true => found,
                    false => found.hint("rename one of them, or exclude one in `clm.toml`"),
                });
            }
        }
    }

    fn tree(mut self) -> (Tree, Vec<Diagnostic>) {
        let mut topics = Vec::new();
        let notebooks = std::mem::take(&mut self.notebooks);
        let names: BTreeSet<&RelPath> = notebooks.keys().copied().collect();
        self.made = self.all_made(&names);
        for (number, (path, facts)) in (1..).zip(&notebooks) {
            topics.push(self.notebook(path, facts, number, &names));
        }
        for (path, count) in std::mem::take(&mut self.diagrams) {
            topics.push(Topic {
                diagrams: self.pictures(path, count),
                ..topic(path)
            });
        }
        for path in std::mem::take(&mut self.copied) {
            topics.push(Topic {
                data: vec![TopicFile::own(&path)],
                ..topic(&path)
            });
        }
        let section = TreeSection { index: 0, topics };
        let tree = Tree {
            sections: vec![section],
            unread: BTreeSet::new(),
        };
        (tree, self.diagnostics)
    }

    fn pictures(&self, path: &RelPath, count: usize) -> Vec<DiagramFile> {
        let Some(kind) = diagram_kind(path) else {
            return Vec::new();
        };
        let names = (1..=count.max(1)).map(|number| self.picture_name(path, number, count));
        let names = names.filter_map(|name| RelPath::new(&name).ok());
        (1..)
            .zip(names)
            .map(|(number, rendered)| DiagramFile {
                path: path.clone(),
                at: path.clone(),
                kind,
                rendered,
                // A library has no picture.
                part: (count != 1).then_some(number * usize::from(count > 0)),
            })
            .collect()
    }

    fn picture_name(&self, path: &RelPath, number: usize, count: usize) -> String {
        let extension = self.spec.images.format.extension();
        match count {
            0 | 1 => with_extension(path, extension),
            _ => with_end(path, &format!("-{number}.{extension}")),
        }
    }

    fn notebook(
        &mut self,
        path: &RelPath,
        facts: &Facts,
        number: u32,
        notebooks: &BTreeSet<&RelPath>,
    ) -> Topic {
        let mut urls = Vec::new();
        for link in &facts.links {
            let url = &link.url;
            match self.follow(path, url, notebooks) {
                Target::Page(page, rest) => {
                    let notebook = with_extension(&page, "ipynb");
                    let page = with_extension(&page, "html");
                    urls.push(NewUrl {
                        url: url.clone(),
                        in_page: format!("{}{rest}", relative(path, &page)),
                        in_notebook: format!("{}{rest}", relative(path, &notebook)),
                    });
                }
                Target::Picture(picture) => {
                    let shown = relative(path, &picture);
                    urls.push(NewUrl {
                        url: url.clone(),
                        in_page: shown.clone(),
                        in_notebook: shown,
                    });
                }
                Target::File(file) => drop(self.copied.insert(file)),
                Target::Made => {}
                Target::Nothing(to) => {
                    let warning = lost::warning(self.listing, path, link, to.as_ref());
                    self.diagnostics.extend(warning);
                }
            }
        }
        let title = facts.title.as_deref().unwrap_or(path.stem());
        Topic {
            decks: vec![DeckFile {
                path: path.clone(),
                at: path.clone(),
                companion: None,
                prog_lang: facts.prog_lang.unwrap_or(self.spec.prog_lang),
                lang: None,
                number,
                title: Localized::same(title),
                urls,
            }],
            ..topic(path)
        }
    }

    /// Finds out what a local URL in a notebook leads to.
    fn follow<'u>(
        &self,
        from: &RelPath,
        url: &'u str,
        notebooks: &BTreeSet<&RelPath>,
    ) -> Target<'u> {
        let local = url::local(url);
        let found = local.and_then(|(path, rest)| Some((beside(from, &path)?, rest)));
        let Some((path, rest)) = found else {
            return Target::Nothing(None);
        };
        if notebooks.contains(&path) {
            return Target::Page(path, rest);
        }
        if let Some(count) = self.diagrams.get(&path) {
            return match RelPath::new(&self.picture_name(&path, 1, *count)) {
                Ok(picture) => Target::Picture(picture.to_string()),
                Err(_) => Target::Nothing(None),
            };
        }
        if self.made.contains(path.as_str()) {
            return Target::Made;
        }
        let has_page = || {
            let page = with_extension(&path, "html");
            plain::reads_extension(path.extension()) && self.made.contains(&page)
        };
        // The other half of a pair, or a notebook that only exists as a text.
        if (self.twins.contains(&path) || !self.listing.files.contains(&path)) && has_page() {
            return Target::Page(path, rest);
        }
        if self.listing.files.contains(&path) {
            return Target::File(path);
        }
        // In MyST, links to other notebooks need no extension.
        let with = |extension: &str| RelPath::new(&format!("{path}.{extension}")).ok();
        let mut named = ["md", "ipynb", "py"].iter().filter_map(|end| with(end));
        match named.find(|path| notebooks.contains(path)) {
            Some(page) => Target::Page(page, rest),
            None => Target::Nothing(Some(path)),
        }
    }

    /// Returns the paths of all pages and pictures.
    fn all_made(&self, notebooks: &BTreeSet<&RelPath>) -> BTreeSet<String> {
        let pages = notebooks.iter().map(|path| with_extension(path, "html"));
        let pictures = self.diagrams.iter().flat_map(|(path, count)| {
            (1..=*count).map(move |number| self.picture_name(path, number, *count))
        });
        // The page that lists all others.
        let index = std::iter::once("index.html".to_owned());
        pages.chain(pictures).chain(index).collect()
    }
}

/// What a URL in a notebook leads to.
enum Target<'u> {
    /// The page of a notebook, and the rest of the URL.
    Page(RelPath, &'u str),
    /// A picture of a diagram.
    Picture(String),
    /// Something that is made at this very place.
    Made,
    /// Another file of the folder.
    File(RelPath),
    /// Nothing of the folder; the path, if it lies in the folder.
    Nothing(Option<RelPath>),
}

/// The replacement of a URL in the text of a notebook.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct NewUrl {
    /// The URL as it is written.
    pub url: String,
    /// The URL in the page.
    pub in_page: String,
    /// The URL in the executed notebook.
    pub in_notebook: String,
}

fn topic(path: &RelPath) -> Topic {
    Topic {
        id: path.to_string(),
        topic: 0,
        path: path.clone(),
        home: path.parent().unwrap_or_else(|| path.clone()),
        decks: Vec::new(),
        data: Vec::new(),
        images: Vec::new(),
        diagrams: Vec::new(),
    }
}

/// Returns the path that is named in a file, relative to the file's directory; `None` if it leads out of the folder.
pub(crate) fn beside(file: &RelPath, path: &str) -> Option<RelPath> {
    let mut parts: Vec<&str> = file.components().collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    RelPath::new(&parts.join("/")).ok()
}

/// Returns the URL of a path relative to the directory of a file.
fn relative(from: &RelPath, to: &str) -> String {
    let mut dirs: Vec<&str> = from.components().collect();
    dirs.pop();
    let parts: Vec<&str> = to.split('/').collect();
    let common = dirs.iter().zip(&parts).take_while(|(a, b)| a == b).count();
    let common = common.min(parts.len() - 1);
    let up = std::iter::repeat_n("..".to_owned(), dirs.len() - common);
    let down = parts[common..].iter().map(|part| encoded(part));
    up.chain(down).collect::<Vec<_>>().join("/")
}

/// Encodes a name for a URL in Markdown, in which blanks and parentheses have a meaning.
fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for sign in name.chars() {
        match sign {
            ' ' | '(' | ')' | '<' | '>' | '%' | '#' | '?' | '"' => {
                text.push_str(&format!("%{:02X}", u32::from(sign)));
            }
            sign => text.push(sign),
        }
    }
    text
}
