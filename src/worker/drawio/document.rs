//! Checks of a draw.io document that need no rendering: whether it is one, and where it is malformed.

use roxmltree::{Document, Error, ParsingOptions, TextPos};

use crate::course::xml;
use crate::diagnostic::Diagnostic;

/// The position of the first page in a well-formed document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstPage {
    /// Its line, counted from 1.
    pub line: u32,
}

/// Returns the position of the first page, or the error in the document.
pub fn check(text: &str) -> Result<FirstPage, Box<Diagnostic>> {
    if text
        .trim_matches(['\u{feff}', ' ', '\t', '\r', '\n'])
        .is_empty()
    {
        return Err(Box::new(
            Diagnostic::error("the diagram is empty")
                .hint("draw something and save it, or remove the file"),
        ));
    }
    let start: String = text.trim_start().chars().take(14).collect();
    let start = start.to_ascii_lowercase();
    if start.starts_with("<!doctype html") || start.starts_with("<html") {
        let problem = Diagnostic::error("this is a web page, not a draw.io diagram").hint(
            "download the diagram again: what was saved is the page that shows it, or that says why it does not",
        );
        return Err(Box::new(put(problem, TextPos::new(1, 1))));
    }
    let document = parse(text).map_err(|error| Box::new(malformed(text, &error)))?;
    let root = document.root_element();
    let name = root.tag_name().name();
    let place = |node: roxmltree::Node<'_, '_>| document.text_pos_at(node.range().start);
    if !matches!(name, "mxfile" | "mxGraphModel") {
        let problem = Diagnostic::error(format!("`<{name}>` is not a draw.io diagram"))
            .hint("a draw.io file begins with `<mxfile>` or `<mxGraphModel>`");
        return Err(Box::new(put(problem, place(root))));
    }
    let page = root
        .children()
        .find(|child| child.has_tag_name("diagram"))
        .unwrap_or(root);
    Ok(FirstPage {
        line: place(page).row,
    })
}

fn parse(text: &str) -> Result<Document<'_>, Error> {
    let options = ParsingOptions {
        // Without document types there are no entities, and so no entity expansion attacks.
        allow_dtd: false,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(text, options)
}

fn malformed(text: &str, error: &Error) -> Diagnostic {
    match error {
        Error::UnexpectedEndOfStream | Error::UnclosedRootNode => {
            let (line, column) = xml::place(error, text);
            let problem = Diagnostic::error(
                "the diagram is not well-formed XML: it ends too early, a part of it is missing",
            )
            .hint("the file was cut off: take an older version of it");
            return put(problem, TextPos::new(line, column));
        }
        Error::DtdDetected => {
            let problem =
                Diagnostic::error("the diagram has a document type, which draw.io never writes")
                    .hint("remove the `<!DOCTYPE …>`");
            return put(problem, place_of(text, "<!DOCTYPE"));
        }
        _ => {}
    }
    if let Some(start) = conflict(text) {
        let problem = Diagnostic::error("the diagram contains marks of a merge conflict").hint(
            "take one of the two versions of the file: diagrams cannot be merged line by line",
        );
        return put(problem, position(text, start));
    }
    let place = error.pos();
    let problem = Diagnostic::error(format!(
        "the diagram is not well-formed XML: {}",
        error.to_string().replace(&format!(" at {place}"), "")
    ))
    .hint("open the file in draw.io and save it again, or take an older version of it");
    put(problem, place)
}

fn put(mut problem: Diagnostic, place: TextPos) -> Diagnostic {
    problem.line = Some(place.row);
    problem.column(place.col)
}

/// Returns the byte offset of the first marker of a merge conflict.
fn conflict(text: &str) -> Option<usize> {
    let mark = "<<<<<<< ";
    if text.starts_with(mark) {
        return Some(0);
    }
    text.find("\n<<<<<<< ").map(|before| before + 1)
}

fn place_of(text: &str, part: &str) -> TextPos {
    position(text, text.find(part).unwrap_or_default())
}

/// Returns line and column of a byte offset, which must be at a character boundary.
fn position(text: &str, offset: usize) -> TextPos {
    let before = &text[..offset];
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    TextPos::new(number(line), number(column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_documents_are_told_with_their_place() {
        for (text, line, column, message) in [
            ("", None, None, "is empty"),
            (" \n\u{feff}", None, None, "is empty"),
            (
                "<mxfile>\n  <diagram id=\"a\"\n",
                Some(2),
                Some(18),
                "ends too early",
            ),
            (
                "<mxfile>\n  <diagram>\n",
                Some(2),
                Some(12),
                "ends too early",
            ),
            (
                "<mxfile>\n<a></b></mxfile>",
                Some(2),
                Some(4),
                "expected 'a' tag, not 'b'",
            ),
            ("<mxfile>\n<a x=1/></mxfile>", Some(2), Some(6), "not '1'"),
            (
                "<mxfile>\n\n<!-- a -- b --></mxfile>",
                Some(3),
                Some(1),
                "comment contains '--'",
            ),
            (
                "<mxfile>&nbsp;</mxfile>",
                Some(1),
                Some(9),
                "unknown entity reference 'nbsp'",
            ),
            (
                "<!DOCTYPE html>\n<html></html>",
                Some(1),
                Some(1),
                "this is a web page",
            ),
            (
                "\n<svg/>",
                Some(2),
                Some(1),
                "`<svg>` is not a draw.io diagram",
            ),
            (
                "<?xml version=\"1.0\"?>\n<!DOCTYPE x [<!ENTITY a 'b'>]><mxfile>&a;</mxfile>",
                Some(2),
                Some(1),
                "document type",
            ),
            (
                "<mxfile>\n<<<<<<< HEAD\n<a/>\n=======\n>>>>>>> x\n</mxfile>",
                Some(2),
                Some(1),
                "merge conflict",
            ),
            ("no xml", Some(1), Some(1), "not well-formed"),
            ("\u{0}", Some(1), Some(1), "not well-formed"),
        ] {
            let problem = check(text).expect_err(text);
            assert!(problem.message.contains(message), "{text:?}: {problem}");
            assert_eq!(
                (problem.line, problem.column),
                (line, column),
                "{text:?}: {problem}"
            );
            assert!(problem.hint.is_some(), "{text:?}");
        }
    }

    #[test]
    fn documents_have_a_first_page() {
        for (text, line) in [
            ("<mxfile/>", 1),
            ("\u{feff}<mxGraphModel/>", 1),
            (
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<mxfile>\n<!-- x -->\n<diagram/>\n<diagram/></mxfile>",
                4,
            ),
        ] {
            assert_eq!(check(text).map(|page| page.line), Ok(line), "{text:?}");
        }
    }

    #[test]
    fn deep_documents_do_no_harm() {
        let deep = format!(
            "<mxfile>{}{}</mxfile>",
            "<a>".repeat(200_000),
            "</a>".repeat(200_000)
        );
        assert!(check(&deep).is_ok());
    }
}
