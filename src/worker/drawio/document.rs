//! What can be said of a draw.io document without rendering it: whether it is one, and where it is broken.

use crate::course::xml;
use crate::events::Diagnostic;

/// What is wrong with a document, if anything is.
pub fn problem(text: &str) -> Option<Diagnostic> {
    if text.trim().is_empty() {
        return Some(
            Diagnostic::error("the diagram is empty")
                .hint("draw something and save it, or remove the file"),
        );
    }
    let options = roxmltree::ParsingOptions {
        // Without document types there are no entities, and so no entity bombs.
        allow_dtd: false,
        ..Default::default()
    };
    let document = match roxmltree::Document::parse_with_options(text, options) {
        Ok(document) => document,
        Err(error) => {
            let (line, column) = xml::place(&error, text);
            let mut diagnostic = Diagnostic::error(format!(
                "the diagram is not well-formed XML: {}",
                xml::message(&error)
            ))
            .column(column)
            .hint("the file may be cut off: open it in draw.io, or take an older version of it");
            diagnostic.line = Some(line);
            return Some(diagnostic);
        }
    };
    let root = document.root_element();
    let name = root.tag_name().name();
    if matches!(name, "mxfile" | "mxGraphModel") {
        return None;
    }
    let position = document.text_pos_at(root.range().start);
    let mut diagnostic = Diagnostic::error(format!("`<{name}>` is not a draw.io diagram"))
        .column(position.col)
        .hint("a draw.io file begins with `<mxfile>` or `<mxGraphModel>`");
    diagnostic.line = Some(position.row);
    Some(diagnostic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_documents_are_told_with_their_place() {
        assert_eq!(problem("<mxfile/>"), None);
        assert_eq!(problem("<mxGraphModel/>"), None);
        assert_eq!(problem(" \n").unwrap().message, "the diagram is empty");
        let cut = problem("<mxfile>\n  <diagram id=\"a\"\n").unwrap();
        assert_eq!((cut.line, cut.column), (Some(2), Some(18)), "{cut}");
        assert!(problem("<svg/>").unwrap().message.contains("`<svg>`"));
        assert!(problem("<!DOCTYPE x [<!ENTITY a 'b'>]><mxfile>&a;</mxfile>").is_some());
    }
}
