//! The title of a notebook.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use serde_json::{Map, Value};

use super::super::{Cell, CellKind};

/// Returns the title in front matter, else the first heading of level 1, without markup.
pub(super) fn find(fronts: &[&Map<String, Value>], cells: &[Cell]) -> Option<String> {
    let written = fronts.iter().find_map(|front| match front.get("title")? {
        Value::String(title) => Some(title.trim().to_owned()),
        Value::Number(title) => Some(title.to_string()),
        _ => None,
    });
    let written = written.filter(|title| !title.is_empty());
    written.or_else(|| {
        let texts = cells.iter().filter(|cell| cell.kind == CellKind::Markdown);
        texts.into_iter().find_map(|cell| heading(&cell.source))
    })
}

/// Returns the text of the first heading of level 1 in a Markdown text.
pub(in crate::course::deck) fn heading(markdown: &str) -> Option<String> {
    // A fast check that excludes most texts.
    let has_heading = markdown.lines().any(|line| {
        let line = line.trim_start();
        line.starts_with('#') || line.starts_with("==") || line == "=" || line.starts_with("<h1")
    });
    if !has_heading {
        return None;
    }
    let mut title: Option<String> = None;
    for event in Parser::new_ext(markdown, Options::empty()) {
        match event {
            Event::Start(Tag::Heading {
                level: HeadingLevel::H1,
                ..
            }) => title = Some(String::new()),
            Event::End(TagEnd::Heading(HeadingLevel::H1)) => {
                let text = title.take().unwrap_or_default();
                let text = one_line(&text);
                if !text.is_empty() {
                    return Some(text);
                }
            }
            Event::Text(text) => {
                if let Some(title) = &mut title {
                    title.push_str(&text);
                }
            }
            Event::Code(text) => {
                if let Some(title) = &mut title {
                    push_code(title, &text);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some(title) = &mut title {
                    title.push(' ');
                }
            }
            Event::Html(html) if title.is_none() && html.trim_start().starts_with("<h1") => {
                let text = one_line(&without_tags(&html));
                if !text.is_empty() {
                    return Some(text);
                }
            }
            _ => {}
        }
    }
    None
}

/// Adds inline code. After the name of a role of MyST, it is what the role shows: `a` of `{ref}` and `a <b>`.
fn push_code(title: &mut String, code: &str) {
    let role = title
        .strip_suffix('}')
        .and_then(|before| before.rfind('{'))
        .filter(|start| {
            let name = &title[start + 1..title.len() - 1];
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':');
            !name.is_empty() && name.chars().all(is_name)
        });
    let Some(start) = role else {
        title.push_str(code);
        return;
    };
    title.truncate(start);
    let shown = code.strip_suffix('>').and_then(|code| code.split_once('<'));
    title.push_str(shown.map_or(code, |(shown, _)| shown.trim_end()));
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the text of HTML without its tags.
fn without_tags(html: &str) -> String {
    let mut text = String::new();
    for (index, part) in html.split('<').enumerate() {
        match part.split_once('>') {
            Some((_, after)) if index > 0 => text.push_str(after),
            _ if index == 0 => text.push_str(part),
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_heading_outside_of_code_is_the_title() {
        let cases = [
            ("## a\n\n# b *c* `d` [e](f)\n# g", Some("b c d e")),
            ("```\n# a\n```\ntext", None),
            (
                "# {index}`A: b <single: A>` and {math}`x<1`",
                Some("A: b and x<1"),
            ),
            ("Title\nof two\n====", Some("Title of two")),
            ("<!--\n# a\n-->\n\n # b #", Some("b")),
            ("<h1 align='center'>A <b>b</b></h1>\n", Some("A b")),
            ("#a\n\n    # b", None),
            ("#\n\n# x", Some("x")),
        ];
        for (markdown, title) in cases {
            assert_eq!(heading(markdown).as_deref(), title, "{markdown}");
        }
    }
}
