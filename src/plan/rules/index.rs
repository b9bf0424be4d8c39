//! The rule for the index of a folder without `course.xml`: a page that lists all notebooks and pictures.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::course::layout::{Destination, DiagramOutputs, OutputClass, Place, Placed, encoded};
use crate::course::spec::FOLDER_LANG;
use crate::course::xml::escaped;
use crate::course::{Format, Kind, RelPath};
use crate::events::ActionKind;
use crate::plan::action::{Make, Output, Recipe};
use crate::plan::{Context, KeyParts};

/// The file in the output directory.
const INDEX: &str = "index.html";

const STYLE: &str = "\
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.5rem; font: 1rem/1.5 system-ui, sans-serif; color: #222; background: #fff; }
h1 { font-size: 1.8rem; } h2 { margin: 2rem 0 .5rem; font-size: 1.1rem; color: #555; }
ol, ul { padding-left: 1.3rem; } li { margin: .2rem 0; } a { color: #05b; text-decoration: none; } a:hover { text-decoration: underline; }
small { color: #777; margin-left: .5rem; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; padding: 0; list-style: none; }
.pictures img { display: block; height: 8rem; max-width: 16rem; object-fit: contain; border: 1px solid #ddd; background: #fff; }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #1b1b1b; } a { color: #8bf; } h2, small { color: #999; } }
";

/// The page that lists all others.
#[derive(Clone, Debug)]
pub(crate) struct IndexPage {
    /// The place of the page.
    destination: Destination,
    /// The name of the page, in the place of a source: nobody wrote it.
    source: RelPath,
}

impl IndexPage {
    /// Returns the page's place, source and class.
    pub(crate) fn placed(&self) -> Placed<'_> {
        Placed {
            destination: &self.destination,
            source: &self.source,
            topic: None,
            lang: FOLDER_LANG,
            class: OutputClass::Deck(Format::Html, Kind::Completed),
        }
    }
}

/// What a directory of the folder has.
#[derive(Default)]
struct Dir<'a> {
    /// Titles and places of pages.
    pages: Vec<(&'a str, &'a Destination, &'a RelPath)>,
    pictures: Vec<&'a Destination>,
}

/// Adds the action that writes the index, unless a notebook or a file of the folder is the index.
pub(crate) fn add(context: &Context<'_>, actions: &mut Vec<Recipe>) -> Option<IndexPage> {
    let layout = context.layout;
    let target = layout.targets.first().filter(|_| layout.has_all_sections)?;
    let dirs = dirs(context);
    let pages = dirs.values().flat_map(|dir| &dir.pages);
    let copies = layout.copies.iter().flat_map(|copy| &copy.destinations);
    let mut others = pages
        .map(|(_, at, _)| *at)
        .chain(copies.map(|place| &place.at));
    let is_there = others.any(|at| at.path().eq_ignore_ascii_case(INDEX));
    let mut sources = context
        .tree
        .sections
        .iter()
        .flat_map(|section| &section.topics);
    let (Some(first), false) = (sources.next(), is_there || dirs.is_empty()) else {
        return None;
    };
    let at = Destination::new(0, &target.root, INDEX, context.names)?;
    let text = text(context.spec.name.get(FOLDER_LANG), &dirs);
    actions.push(Recipe {
        id: "index".to_owned(),
        kind: ActionKind::Deck,
        source: first.path.clone(),
        inputs: Vec::new(),
        parts: KeyParts::default().with("text", &text),
        after: Vec::new(),
        make: Make::Text(text.into()),
        outputs: vec![Output {
            name: context.names.of(INDEX),
            destinations: context.destinations([&at]),
        }],
        warnings: Vec::new(),
    });
    Some(IndexPage {
        destination: at,
        source: RelPath::new(INDEX).ok()?,
    })
}

fn dirs<'a>(context: &'a Context<'_>) -> BTreeMap<String, Dir<'a>> {
    let mut dirs: BTreeMap<String, Dir<'a>> = BTreeMap::new();
    let dir_of = |path: &RelPath| {
        path.parent()
            .map_or_else(String::new, |dir| dir.to_string())
    };
    for entry in &context.layout.decks {
        let section = &context.tree.sections[entry.section];
        let deck = &section.topics[entry.topic].decks[entry.deck];
        let pages = entry
            .outputs
            .iter()
            .filter(|output| output.format == Format::Html);
        let places = pages.flat_map(|output| &output.destinations);
        let dir = dirs.entry(dir_of(&deck.path)).or_default();
        let title = deck.title.get(FOLDER_LANG);
        dir.pages
            .extend(places.map(|place: &Place| (title, &place.at, &deck.path)));
    }
    for entry in &context.layout.diagrams {
        let DiagramOutputs {
            diagram,
            destinations,
            ..
        } = entry;
        let dir = dirs.entry(dir_of(&diagram.path)).or_default();
        dir.pictures
            .extend(destinations.iter().map(|place| &place.at));
    }
    dirs.retain(|_, dir| !dir.pages.is_empty() || !dir.pictures.is_empty());
    dirs
}

fn text(title: &str, dirs: &BTreeMap<String, Dir<'_>>) -> String {
    let title = escaped(title);
    let mut html = format!(
        "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    for (name, dir) in dirs {
        if !name.is_empty() {
            // Writing to a `String` cannot fail.
            let _ = writeln!(html, "<h2>{}</h2>", escaped(name));
        }
        if !dir.pages.is_empty() {
            html.push_str("<ol>\n");
            for (title, at, source) in &dir.pages {
                let _ = writeln!(
                    html,
                    "<li><a href=\"{}\">{}</a><small>{}</small></li>",
                    url(at.path()),
                    escaped(title),
                    escaped(source.file_name())
                );
            }
            html.push_str("</ol>\n");
        }
        if !dir.pictures.is_empty() {
            html.push_str("<ul class=\"pictures\">\n");
            for at in &dir.pictures {
                let (url, name) = (url(at.path()), escaped(at.stem()));
                let _ = writeln!(
                    html,
                    "<li><a href=\"{url}\"><img src=\"{url}\" alt=\"{name}\" loading=\"lazy\">{name}</a></li>"
                );
            }
            html.push_str("</ul>\n");
        }
    }
    html.push_str("</body>\n</html>\n");
    html
}

/// Returns the URL of a path.
fn url(path: &str) -> String {
    path.split('/').map(encoded).collect::<Vec<_>>().join("/")
}
