//! Warnings about a deck: they do not depend on which outputs are built, and their number is limited.

use std::collections::BTreeSet;

use crate::course::deck::{self, Deck, ImageReference};
use crate::course::layout::shown_path;
use crate::course::tree::{DeckFile, Topic, TreeSection};
use crate::course::words::ImageKind;
use crate::course::{Lang, RelPath};
use crate::diagnostic::Diagnostic;
use crate::plan::Context;

/// How many different warnings are listed for one deck.
const MAX_WARNINGS: usize = 30;

/// How many lines are listed for a warning that occurs more than once.
const MAX_LINES: usize = 6;

/// Returns the warnings about the cells of a deck and the images that they show.
pub(super) fn of_deck(
    context: &Context<'_>,
    section: &TreeSection,
    topic: &Topic,
    file: &DeckFile,
    deck: &Deck,
) -> Vec<Diagnostic> {
    let all = context.spec.languages();
    let mut warnings = deck::warnings(deck, &all);
    let of_file = |lang: &Lang| file.lang.is_none_or(|only| only == *lang);
    let languages: Vec<Lang> = all.into_iter().filter(of_file).collect();
    for image in deck::image_references(deck) {
        let problem = problem(context, section, topic, &languages, &image);
        warnings.extend(problem.map(|warning| image.at(deck, warning)));
    }
    warnings
}

/// Checks an image of a text cell.
fn problem(
    context: &Context<'_>,
    section: &TreeSection,
    topic: &Topic,
    languages: &[Lang],
    image: &ImageReference<'_>,
) -> Option<Diagnostic> {
    let path = image.path.as_str();
    if let Some(name) = path.strip_prefix("img-generated/") {
        let warning = format!("outputs have no `img-generated/`, so `{path}` is not found there");
        let hint =
            format!("write `img/{name}`: rendered diagrams are shown as if they lay in `img/`");
        return Some(Diagnostic::warning(warning).hint(hint));
    }
    let own = std::iter::once(topic);
    let others: Box<dyn Iterator<Item = &Topic>> = match context.spec.images.shared {
        true => Box::new(
            context
                .tree
                .sections
                .iter()
                .flat_map(|section| &section.topics),
        ),
        false => Box::new(section.topics.iter()),
    };
    // `None` means all languages.
    let mut made_for: BTreeSet<Option<Lang>> = BTreeSet::new();
    for topic in own.chain(others) {
        made_for.extend(languages_of(context, topic, path));
        if made_for.contains(&None) {
            return None;
        }
    }
    if made_for.is_empty() {
        let warning = format!("no output has the image `{path}`");
        let hint = "check the name: images lie in `img/` of the topic, and diagrams in `pu/` or `drawio/` are shown as `img/<name>.png`";
        return Some(Diagnostic::warning(warning).hint(hint));
    }
    let missing = languages
        .iter()
        .find(|lang| image.is_shown_in(**lang) && !made_for.contains(&Some(**lang)))?;
    let warning =
        format!("`{path}` is not in the outputs of the language `{missing}`, which show this cell");
    let made = made_for.iter().flatten().next().copied();
    let made = made.unwrap_or(Lang::DE);
    let english = made.english();
    let hint = format!(
        "a file `x.{made}.png` is for {english} outputs only: give the cell a `lang`, or the image a name without the language"
    );
    Some(Diagnostic::warning(warning).hint(hint))
}

/// Returns the languages of the outputs that have a file of a topic at this path beside the deck; `None` means all.
fn languages_of<'a>(
    context: &'a Context<'_>,
    topic: &'a Topic,
    path: &'a str,
) -> impl Iterator<Item = Option<Lang>> + 'a {
    let copied = topic.images.iter().chain(&topic.data);
    let copied = copied.map(|file| file.at.clone());
    let rendered = topic
        .diagrams
        .iter()
        .map(|diagram| diagram.rendered.clone());
    let shown = move |at: RelPath| -> Option<Option<Lang>> {
        let below = at.strip_prefix(&topic.home)?;
        let (shown, lang) = shown_path(context.spec, &below);
        let is_svg = context.spec.images.format == ImageKind::Svg;
        let is_shown = shown == path
            // Decks refer to the PNG file even if the output contains the SVG file.
            || (is_svg && path.strip_suffix(".png").is_some_and(|stem| shown.strip_suffix(".svg") == Some(stem)));
        is_shown.then_some(lang)
    };
    copied.chain(rendered).filter_map(shown)
}

/// Merges equal warnings into one that lists their lines, and limits the number of warnings.
pub(super) fn grouped(warnings: impl IntoIterator<Item = Diagnostic>) -> Vec<Diagnostic> {
    let mut groups: Vec<(Diagnostic, BTreeSet<u32>)> = Vec::new();
    for warning in warnings {
        let is_alike = |(other, _): &&mut (Diagnostic, _)| {
            other.message == warning.message
                && other.hint == warning.hint
                && other.file == warning.file
        };
        match groups.iter_mut().find(is_alike) {
            Some((first, lines)) => {
                lines.extend(warning.line);
                if (warning.line, warning.cell) < (first.line, first.cell) {
                    (first.line, first.cell) = (warning.line, warning.cell);
                }
            }
            None => {
                let lines = warning.line.into_iter().collect();
                groups.push((warning, lines));
            }
        }
    }
    groups.sort_by_key(|(warning, _)| (warning.file.clone(), warning.line, warning.cell));
    let more = groups.len().saturating_sub(MAX_WARNINGS);
    groups.truncate(MAX_WARNINGS);
    let file = groups.first().and_then(|(warning, _)| warning.file.clone());
    let mut found: Vec<Diagnostic> = groups
        .into_iter()
        .map(|(mut warning, lines)| {
            if lines.len() > 1 {
                let mut named: Vec<String> =
                    lines.iter().take(MAX_LINES).map(u32::to_string).collect();
                if lines.len() > MAX_LINES {
                    named.push("..".to_owned());
                }
                let (count, named) = (lines.len(), named.join(", "));
                warning.message = format!("{} ({count} times: lines {named})", warning.message);
            }
            warning
        })
        .collect();
    if more > 0 {
        let summary = format!("{more} more different warnings of this deck are not listed");
        let mut summary = Diagnostic::warning(summary).hint("fix those that are listed first");
        summary.file = file;
        found.push(summary);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_warnings_are_one_with_a_count_and_many_stay_readable() {
        let warning = |text: &str, line| Diagnostic::warning(text).at("a.py", Some(line));
        let flood = (1..=1600).map(|line| warning("unknown tag `solution`", line));
        let found = grouped(flood.chain([warning("other", 7), warning("other", 7)]));
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "a.py:1: warning: unknown tag `solution` (1600 times: lines 1, 2, 3, 4, 5, 6, ..)",
                "a.py:7: warning: other"
            ]
        );
        let different = (1..=1600).map(|line| warning(&format!("unknown tag `{line}`"), line));
        let found = grouped(different);
        assert_eq!(found.len(), MAX_WARNINGS + 1);
        assert!(found[MAX_WARNINGS].message.starts_with("1570 more"));
    }
}
