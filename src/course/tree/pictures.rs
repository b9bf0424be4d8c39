//! The pictures in one diagram file: the pages of draw.io documents, the `@start..` blocks of PlantUML files.

use crate::course::{RelPath, lfs};

use super::DiagramKind;

/// Returns how many pictures a diagram has; 0 for a library that others include. A document that cannot be
/// parsed counts as one picture, whose rendering reports the error.
pub(crate) fn pictures(path: &RelPath, kind: DiagramKind, text: &str) -> usize {
    match kind {
        DiagramKind::Plantuml => {
            if is_library(path, text) {
                return 0;
            }
            text.lines().filter(|line| is_start(line)).count().max(1)
        }
        DiagramKind::Drawio => match roxmltree::Document::parse(text) {
            Ok(document) => document.descendants().filter(is_page).count().max(1),
            Err(_) => 1,
        },
    }
}

/// Returns whether a PlantUML text is a theme or a library that diagrams include, which draws nothing by itself.
///
/// A file `*.puml` is one if it has no `@start`. Files with the other extensions are normally diagrams, so there a
/// missing `@start` may be a mistake, unless the content makes sense only in an included file.
pub fn is_library(path: &RelPath, text: &str) -> bool {
    let mut lines = text
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.is_empty());
    if text.trim().is_empty()
        || lfs::pointer(path.as_str(), text.as_bytes()).is_some()
        || lines
            .clone()
            .any(|line| line.starts_with("@start") || line.starts_with("@end"))
    {
        return false;
    }
    let for_includes = [
        "!",
        "'",
        "/'",
        "skinparam ",
        "sprite ",
        "<style>",
        "hide ",
        "show ",
    ];
    path.extension() == "puml"
        || lines
            .next()
            .is_some_and(|line| for_includes.iter().any(|word| line.starts_with(word)))
}

/// Returns the text of one picture, counted from 1, with all that belongs to the whole file. Returns the text itself
/// if there is no such picture.
pub(crate) fn picture(kind: DiagramKind, text: &str, number: usize) -> String {
    let part = match kind {
        DiagramKind::Plantuml => block(text, number),
        DiagramKind::Drawio => page(text, number),
    };
    part.unwrap_or_else(|| text.to_owned())
}

fn is_start(line: &str) -> bool {
    line.trim_start().starts_with("@start")
}

/// Returns a block of a PlantUML file. Lines outside of blocks have no meaning.
fn block(text: &str, number: usize) -> Option<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut starts = lines.iter().enumerate().filter(|(_, line)| is_start(line));
    let (from, _) = starts.nth(number.checked_sub(1)?)?;
    let to = starts.next().map_or(lines.len(), |(next, _)| next);
    // As many empty lines as lines before it, so that errors name the line in the file.
    let before = "\n".repeat(from);
    Some(format!("{before}{}", lines[from..to].concat()))
}

fn is_page(node: &roxmltree::Node<'_, '_>) -> bool {
    let of_file = |parent: roxmltree::Node<'_, '_>| parent.has_tag_name("mxfile");
    node.has_tag_name("diagram") && node.parent().is_some_and(of_file)
}

/// Returns a draw.io document without its other pages.
fn page(text: &str, number: usize) -> Option<String> {
    let document = roxmltree::Document::parse(text).ok()?;
    let pages: Vec<_> = document.descendants().filter(is_page).collect();
    pages.get(number.checked_sub(1)?)?;
    let mut shown = String::with_capacity(text.len());
    let mut from = 0;
    for (index, page) in pages.iter().enumerate() {
        if index + 1 != number {
            let range = page.range();
            shown.push_str(text.get(from..range.start)?);
            // The lines stay, so that errors name the line in the file.
            let lines = text.get(range.clone())?.matches('\n').count();
            shown.push_str(&"\n".repeat(lines));
            from = range.end;
        }
    }
    shown.push_str(text.get(from..)?);
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_a_page_or_a_block() {
        let path = |name: &str| RelPath::new(name).unwrap();
        let uml = "' words\n@startuml a\nA -> B\n@enduml\n\n  @startmindmap\n* x\n@endmindmap\n";
        let kind = DiagramKind::Plantuml;
        assert_eq!(pictures(&path("a.puml"), kind, uml), 2);
        assert_eq!(pictures(&path("a.puml"), kind, "!define X\n"), 0);
        assert_eq!(pictures(&path("a.pu"), kind, "A -> B\n"), 1);
        let second = picture(kind, uml, 2);
        assert_eq!(second.trim_start(), "@startmindmap\n* x\n@endmindmap\n");
        assert_eq!(
            second.lines().position(|line| line.contains("* x")),
            Some(6)
        );
        assert_eq!(picture(kind, uml, 3), uml);

        let drawing = "<mxfile host=\"x\">\n<diagram id=\"1\"><a/>\n</diagram>\n<diagram id=\"2\">b</diagram></mxfile>";
        let kind = DiagramKind::Drawio;
        assert_eq!(pictures(&path("a.drawio"), kind, drawing), 2);
        assert_eq!(pictures(&path("a.drawio"), kind, "<mxGraphModel/>"), 1);
        assert_eq!(pictures(&path("a.drawio"), kind, "no xml"), 1);
        assert_eq!(
            picture(kind, drawing, 2),
            "<mxfile host=\"x\">\n\n\n<diagram id=\"2\">b</diagram></mxfile>"
        );
    }

    #[test]
    fn themes_and_libraries_are_no_diagrams() {
        for (name, text, expected) in [
            ("theme.puml", "skinparam sequenceArrowColor red\n", true),
            ("words.puml", "A -> B\n", true),
            (
                "a.puml",
                "' a remark\n  @startuml\nA -> B\n@enduml\n",
                false,
            ),
            ("cut.puml", "A -> B\n@enduml\n", false),
            ("empty.puml", " \n", false),
            ("style.pu", "\n!define X y\nclass A\n", true),
            ("style.plantuml", "<style>\n</style>\n", true),
            ("slip.pu", "A -> B\n", false),
            ("a.pu", "!define X y\n@startuml\n@enduml\n", false),
        ] {
            let path = RelPath::new(&format!("slides/pu/{name}")).unwrap();
            assert_eq!(is_library(&path, text), expected, "{name}: {text}");
        }
    }
}
