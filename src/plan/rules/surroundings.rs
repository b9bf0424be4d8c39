//! The references of a deck's text cells to images and other decks, and what they add to the keys.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::course::deck::{self, Deck, Notebook, Surroundings};
use crate::course::layout::{Reference, SHARED_IMAGE_DIR};
use crate::course::tree::Topic;
use crate::course::words::ImageKind;
use crate::course::{Format, Lang, RelPath};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::plan::action::{ActionIndex, ImageSource, InlineImage};
use crate::plan::{Context, KeyParts};

/// The indices of the actions that render diagrams, by the place of their images in the tree.
pub(crate) type Rendered = HashMap<RelPath, ActionIndex>;

/// The references of a deck for one language and format.
pub(crate) struct Found {
    /// How the output shows them.
    pub surroundings: Arc<Surroundings>,
    /// What they add to the keys of notebooks and scripts.
    pub parts: KeyParts,
    /// References that lead nowhere, or to more than one deck.
    pub warnings: Vec<Diagnostic>,
    /// The error about a reference to a deck that could not be read, so that the target of the link is unknown.
    pub error: Option<Diagnostic>,
}

/// Resolves the references of a deck. `section` is its section's index in the specification.
pub(crate) fn find(
    context: &Context<'_>,
    topic: &Topic,
    deck: &Deck,
    section: usize,
    lang: Lang,
    format: Format,
) -> Found {
    let images = context.spec.images;
    let mut surroundings = Surroundings::default();
    let mut parts = KeyParts::default();
    let mut warnings = Vec::new();
    let mut error = None;
    if images.format == ImageKind::Svg {
        surroundings.svg_images = topic
            .diagrams
            .iter()
            .map(|diagram| diagram.at.stem().to_owned())
            .collect();
        let names: Vec<&str> = surroundings.svg_images.iter().map(String::as_str).collect();
        parts.push("svg images", names.join(" "));
    }
    if images.shared {
        surroundings.image_dir = Some(SHARED_IMAGE_DIR.to_owned());
        parts.push("image directory", SHARED_IMAGE_DIR);
    }
    for reference in deck::references(deck) {
        let followed = context.references.follow(&reference, section, lang, format);
        if let Reference::Unread = followed
            && format != Format::Code
        {
            error.get_or_insert_with(|| unread(deck, &reference));
        }
        warnings.extend(warning(deck, &reference, &followed));
        let href = match followed {
            // Scripts have no links.
            _ if format == Format::Code => None,
            Reference::To(href) | Reference::ToFirst(href) => Some(href),
            Reference::Unknown | Reference::Unread => None,
        };
        parts.push(
            format!("link {reference}"),
            href.as_deref().unwrap_or_default(),
        );
        surroundings.links.insert(reference, href);
    }
    Found {
        surroundings: Arc::new(surroundings),
        parts,
        warnings,
        error,
    }
}

/// Returns the error about a reference to a deck that could not be read.
fn unread(deck: &Deck, reference: &str) -> Diagnostic {
    let message = format!(
        "`clm:{reference}` names a deck that could not be read, so it is not known where the link leads"
    );
    at_reference(deck, reference, Diagnostic::error(message))
        .hint("see the error about that deck or its directory")
}

/// Returns the warning about a reference that leads nowhere, or to more than one deck.
fn warning(deck: &Deck, reference: &str, followed: &Reference) -> Option<Diagnostic> {
    let (message, hint) = match followed {
        Reference::To(_) | Reference::Unread => return None,
        Reference::ToFirst(_) => (
            "names a topic with several decks; the link leads to the first",
            "add the deck: `clm:<topic>/<name of the deck's file>`",
        ),
        Reference::Unknown => (
            "names no deck of the course; the link is left out",
            "name a topic of the course by its id",
        ),
    };
    let warning = Diagnostic::warning(format!("`clm:{reference}` {message}"));
    Some(at_reference(deck, reference, warning).hint(hint))
}

fn at_reference(deck: &Deck, reference: &str, diagnostic: Diagnostic) -> Diagnostic {
    let place = deck.cells.iter().find_map(|cell| {
        let at = cell
            .source
            .lines()
            .position(|line| line.contains(reference))?;
        Some((cell, at as u32))
    });
    match place {
        Some((cell, at)) => diagnostic
            .at(deck.path.as_str(), cell.line_at(at))
            .cell(cell.number),
        None => diagnostic.at(deck.path.as_str(), None),
    }
}

/// The images that are embedded in notebooks, if the course asks for that.
pub(crate) struct Inlined {
    /// The images.
    pub images: Vec<InlineImage>,
    /// The actions that render some of the images.
    pub after: Vec<ActionIndex>,
    /// The files among the images, with their digests.
    pub inputs: Vec<(RelPath, Digest)>,
    /// What the images add to the key.
    pub parts: KeyParts,
}

/// Finds the images in some notebooks of a deck. `first` is the position of the first rendered diagram in
/// [`Recipe::after`](crate::plan::Recipe::after).
pub(crate) fn inlined<'n>(
    context: &Context<'_>,
    topic: &Topic,
    rendered: &Rendered,
    notebooks: impl Iterator<Item = &'n Notebook>,
    first: usize,
) -> Inlined {
    let mut found = Inlined {
        images: Vec::new(),
        after: Vec::new(),
        inputs: Vec::new(),
        parts: KeyParts::default(),
    };
    if !context.spec.images.inline {
        return found;
    }
    // The URL in the deck, not the one in the output.
    let named = |url: String| match url.strip_prefix(SHARED_IMAGE_DIR) {
        Some(file) => format!("img/{file}"),
        None => url,
    };
    let urls: BTreeSet<String> = notebooks.flat_map(deck::image_urls).map(named).collect();
    for url in urls {
        if mime(&url).is_none() {
            continue;
        }
        let Some((source, part)) = image(context, topic, rendered, &url) else {
            continue;
        };
        let source = match source {
            Place::File(path, digest) => {
                found.inputs.push((path.clone(), digest));
                ImageSource::File(path, digest)
            }
            Place::Rendered(action) => {
                let known = found.after.iter().position(|other| *other == action);
                let position = known.unwrap_or(found.after.len());
                if known.is_none() {
                    found.after.push(action);
                }
                ImageSource::Result(first + position)
            }
        };
        found.parts.push(format!("image {url}"), part);
        found.images.push(InlineImage { url, source });
    }
    found
}

enum Place {
    File(RelPath, Digest),
    Rendered(ActionIndex),
}

/// Resolves a URL to a file of the topic or the image of a diagram, and returns it with its component of the key.
fn image(
    context: &Context<'_>,
    topic: &Topic,
    rendered: &Rendered,
    url: &str,
) -> Option<(Place, String)> {
    let own = topic.home.join(url).ok();
    let made = url
        .strip_prefix("img/")
        .and_then(|name| topic.home.join(&format!("img-generated/{name}")).ok());
    // Authors on Windows may write backslashes. A file whose name really contains them takes precedence.
    let slashed = url.replace('\\', "/");
    let slashed = topic.home.join(&slashed).ok();
    for place in own.iter().chain(&slashed).chain(&made) {
        if let Some(action) = rendered.get(place) {
            return Some((Place::Rendered(*action), "rendered".to_owned()));
        }
        let file = topic.included_at(place).unwrap_or(place);
        if let Some(digest) = context.files.digest(file)
            && context.files.is_inside(file)
        {
            return Some((Place::File(file.clone(), digest), digest.to_string()));
        }
    }
    None
}

/// Returns the media type of an image that can be embedded in a notebook, by its suffix.
pub(crate) fn mime(url: &str) -> Option<&'static str> {
    let (_, extension) = url.rsplit_once('.')?;
    match extension.to_ascii_lowercase().as_str() {
        "png" => Some("image/png"),
        "jpg" | "jpeg" => Some("image/jpeg"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}
