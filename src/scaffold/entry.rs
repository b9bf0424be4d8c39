//! Adds a topic to the text of a specification. Everything else in the file stays as its author wrote it.

use std::ops::Range;

use roxmltree::{Document, Node};

use crate::course::spec::parse_leniently;
use crate::course::xml::escaped;
use crate::diagnostic::Diagnostic;

/// Where a topic is put in a specification, and how it is written there.
#[derive(Clone, Debug, Default)]
pub(crate) struct TopicEntry<'a> {
    /// The id of the topic.
    pub id: &'a str,
    /// The name of the module's directory.
    pub module: &'a str,
    /// The ids of other topics in the module. The section that has the last of them gets the topic.
    pub neighbours: Vec<String>,
    /// Attributes besides the id.
    pub attributes: Vec<(&'a str, &'a str)>,
    /// The name of the section that is added if none has topics of the module: by language, or a single text without
    /// one. If it is empty, the last section gets the topic.
    pub section: Vec<(Option<&'a str>, &'a str)>,
}

/// A specification with another topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inserted {
    /// The text of the specification.
    pub text: String,
    /// The line of the topic in it, from 1.
    pub line: u32,
    /// Whether a section or subsection around the topic is disabled, so that it is not built.
    pub is_disabled: bool,
}

/// Adds a topic after the last one of the section that holds its module. Indentation, line ends and the form of the
/// element are those of the topic before it. `file` is the name of the specification in diagnostics.
pub(crate) fn insert_topic(
    text: &str,
    file: &str,
    entry: &TopicEntry<'_>,
) -> Result<Inserted, Diagnostic> {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mark = &text[..text.len() - body.len()];
    let document = match Document::parse(body) {
        Ok(document) => document,
        // The reader of specifications says what is wrong, with a hint.
        Err(_) => return Err(unreadable(body, file)),
    };
    let root = document.root_element();
    let topics: Vec<Node<'_, '_>> = named(root, "sections")
        .flat_map(|sections| sections.descendants())
        .filter(|node| is(*node, "topic"))
        .collect();
    if let Some(other) = topics.iter().find(|topic| id(**topic) == entry.id) {
        let position = document.text_pos_at(other.range().start);
        let message = format!("the course has a topic `{}` already", entry.id);
        return Err(Diagnostic::error(message)
            .at(file, Some(position.row))
            .column(position.col)
            .hint("choose another id"));
    }
    let source = Source { text: body };
    let (at, added, is_disabled) = addition(&source, root, entry)
        .map_err(|(message, hint)| Diagnostic::error(message).at(file, None).hint(hint))?;
    let result = [mark, &body[..at.start], &added, &body[at.end..]].concat();
    let start = mark.len() + at.start + added.rfind("<topic").unwrap_or(0);
    let line = result[..start].matches('\n').count() as u32 + 1;
    // The element stands in a text of somebody else, so what it means there is checked.
    match parse_leniently(&result, file).0 {
        Some(spec)
            if is_disabled
                || (spec.sections.iter().flat_map(|section| &section.topics))
                    .any(|topic| topic.id == entry.id) =>
        {
            Ok(Inserted {
                text: result,
                line,
                is_disabled,
            })
        }
        _ => Err(
            Diagnostic::error(format!("no place was found for the topic `{}`", entry.id))
                .at(file, None)
                .hint(format!(
                    "write `<topic>{}</topic>` into a `<topics>` yourself",
                    entry.id
                )),
        ),
    }
}

/// Returns what is wrong with a text that is not well-formed.
fn unreadable(text: &str, file: &str) -> Diagnostic {
    let (_, diagnostics) = parse_leniently(text, file);
    let first = diagnostics.into_iter().find(Diagnostic::is_error);
    first.unwrap_or_else(|| {
        Diagnostic::error("the specification is not well-formed XML").at(file, None)
    })
}

/// What is put in the place of a range of the text, and whether the topic is disabled there.
type Addition = (Range<usize>, String, bool);
/// A message and a hint.
type Refusal = (String, String);

/// Returns the addition to the text, which depends on what the course has.
fn addition(
    source: &Source<'_>,
    root: Node<'_, '_>,
    entry: &TopicEntry<'_>,
) -> Result<Addition, Refusal> {
    let Some(sections) = named(root, "sections").next() else {
        return Err((
            "the course has no `<sections>`, so there is no place for a topic".to_owned(),
            "add `<sections>` with a `<section>` that has a `<name>` and `<topics>`".to_owned(),
        ));
    };
    let with_topics: Vec<Node<'_, '_>> = named(sections, "section")
        .filter(|section| named(*section, "topics").next().is_some())
        .collect();
    let holds = |section: &&Node<'_, '_>| {
        topics_of(**section)
            .iter()
            .any(|topic| entry.neighbours.iter().any(|other| other == id(*topic)))
            || section.attribute("module").map(str::trim) == Some(entry.module)
    };
    let holders: Vec<Node<'_, '_>> = with_topics.iter().filter(holds).copied().collect();
    let found = last_enabled(&holders).or_else(|| match entry.section.is_empty() {
        true => last_enabled(&with_topics),
        false => None,
    });
    if let Some(section) = found {
        return Ok(in_section(source, section, entry));
    }
    if entry.section.is_empty() {
        return Err((
            "no section of the course has `<topics>`".to_owned(),
            "add `<topics>` to the `<section>` that the topic belongs to".to_owned(),
        ));
    }
    let last = named(sections, "section").last();
    let (at, added) = source.appended(sections, last, |style| new_section(style, entry));
    Ok((at, added, false))
}

/// Returns the addition of a topic to a section that has `<topics>`.
fn in_section(source: &Source<'_>, section: Node<'_, '_>, entry: &TopicEntry<'_>) -> Addition {
    let all = topics_of(section);
    // A disabled subsection is no place for a topic that is to be built, unless there is no other.
    let enabled = all
        .iter()
        .rev()
        .find(|topic| !is_disabled(**topic))
        .copied();
    let last = enabled.or(match is_disabled(section) {
        true => all.last().copied(),
        false => None,
    });
    let has_attribute = last.is_some_and(|topic| topic.attribute("id").is_some());
    let element = topic_element(entry, section, has_attribute);
    let list = last
        .and_then(|topic| topic.parent())
        .or_else(|| named(section, "topics").next());
    let (at, added) = source.appended(list.unwrap_or(section), last, |_| element.clone());
    (at, added, is_disabled(last.unwrap_or(section)))
}

/// Returns a section with a topic, in several lines if the sections before are.
fn new_section(style: &Style, entry: &TopicEntry<'_>) -> String {
    let Style { eol, indent, unit } = style;
    let breaks = |depth: usize| match eol.is_empty() {
        true => String::new(),
        false => format!("{eol}{indent}{}", unit.repeat(depth)),
    };
    let mut text = format!("<section>{}<name>", breaks(1));
    for (language, name) in &entry.section {
        let name = escaped(name);
        match language {
            Some(language) => {
                text += &format!("{}<{language}>{name}</{language}>", breaks(2));
            }
            None => text += &name,
        }
    }
    if entry.section.iter().any(|(language, _)| language.is_some()) {
        text += &breaks(1);
    }
    text += &format!("</name>{}<topics>{}", breaks(1), breaks(2));
    text += &element(entry, &entry.attributes, false);
    text + &format!("{}</topics>{}</section>", breaks(1), breaks(0))
}

/// Returns the element of a topic in an existing section, which may say in which module its topics lie.
fn topic_element(entry: &TopicEntry<'_>, section: Node<'_, '_>, has_attribute: bool) -> String {
    let mut attributes = entry.attributes.clone();
    let of_section = section.attribute("module").map(str::trim);
    if of_section.is_some_and(|module| !module.is_empty() && module != entry.module) {
        attributes.push(("module", entry.module));
    }
    element(entry, &attributes, has_attribute)
}

fn element(entry: &TopicEntry<'_>, attributes: &[(&str, &str)], has_attribute: bool) -> String {
    let others: String = attributes
        .iter()
        .map(|(name, value)| format!(" {name}=\"{}\"", escaped(value)))
        .collect();
    let id = escaped(entry.id);
    match has_attribute {
        true => format!("<topic id=\"{id}\"{others}/>"),
        false => format!("<topic{others}>{id}</topic>"),
    }
}

/// The text of a specification, in which nodes have ranges.
struct Source<'a> {
    text: &'a str,
}

/// How an element that is added is written.
struct Style {
    /// The end of a line; empty if the elements beside it stand in one line.
    eol: String,
    /// Its indentation.
    indent: String,
    /// What an inner element is indented by.
    unit: String,
}

impl Source<'_> {
    /// Returns what is added to make an element the last child of `parent`, after `last` if there is one.
    fn appended(
        &self,
        parent: Node<'_, '_>,
        last: Option<Node<'_, '_>>,
        element: impl FnOnce(&Style) -> String,
    ) -> (Range<usize>, String) {
        match last {
            Some(last) => {
                let style = self.style(last, parent);
                let end = self.end_of(last);
                let between = match style.eol.is_empty() {
                    true => self.gap_before(last).to_owned(),
                    false => format!("{}{}", style.eol, style.indent),
                };
                (end..end, format!("{between}{}", element(&style)))
            }
            None => self.first_in(parent, element),
        }
    }

    /// Returns what is added to make an element the first child of `parent`.
    fn first_in(
        &self,
        parent: Node<'_, '_>,
        element: impl FnOnce(&Style) -> String,
    ) -> (Range<usize>, String) {
        let outer = parent.parent().unwrap_or(parent);
        let mut style = self.style(parent, outer);
        let end_of_parent = style.indent.clone();
        style.indent += &style.unit;
        let line = |indent: &str| match style.eol.is_empty() {
            true => String::new(),
            false => format!("{}{indent}", style.eol),
        };
        let added = format!(
            "{}{}{}",
            line(&style.indent),
            element(&style),
            line(&end_of_parent)
        );
        let range = parent.range();
        let text = &self.text[range.clone()];
        match text.rfind("</") {
            // What is there is blank, or comments, which stay.
            Some(close) => {
                let inner = text[..close].trim_end_matches([' ', '\t', '\r', '\n']);
                (range.start + inner.len()..range.start + close, added)
            }
            // `<topics/>`: its end becomes that of a start tag.
            None => {
                let open = text.trim_end_matches('>').trim_end_matches('/');
                let name = parent.tag_name().name();
                (
                    range.start + open.trim_end().len()..range.end,
                    format!(">{added}</{name}>"),
                )
            }
        }
    }

    /// Returns how elements beside a child of `parent` are written.
    fn style(&self, node: Node<'_, '_>, parent: Node<'_, '_>) -> Style {
        let indent = self.indent(node);
        let outer = self.indent(parent).unwrap_or_default();
        let unit = indent
            .and_then(|indent| indent.strip_prefix(outer))
            .filter(|unit| !unit.is_empty());
        Style {
            eol: match indent {
                Some(_) => self.eol().to_owned(),
                None => String::new(),
            },
            indent: indent.unwrap_or_default().to_owned(),
            unit: unit.unwrap_or("  ").to_owned(),
        }
    }

    /// Returns the blanks before a node that is the first of its line; none for another one.
    fn indent(&self, node: Node<'_, '_>) -> Option<&str> {
        let before = &self.text[..node.range().start];
        let line = before.rfind('\n').map(|at| &before[at + 1..])?;
        line.bytes()
            .all(|byte| byte == b' ' || byte == b'\t')
            .then_some(line)
    }

    /// Returns the end of the first line.
    fn eol(&self) -> &'static str {
        match self.text.find('\n') {
            Some(at) if self.text[..at].ends_with('\r') => "\r\n",
            _ => "\n",
        }
    }

    /// Returns the blanks between a node and what is before it in its line.
    fn gap_before(&self, node: Node<'_, '_>) -> &str {
        let before = &self.text[..node.range().start];
        &before[before.trim_end_matches([' ', '\t']).len()..]
    }

    /// Returns the end of a node with the comments that follow in its line.
    fn end_of(&self, node: Node<'_, '_>) -> usize {
        let mut end = node.range().end;
        loop {
            let rest = &self.text[end..];
            let line = rest.trim_start_matches([' ', '\t']);
            let comment = line.starts_with("<!--").then(|| line.find("-->")).flatten();
            match comment {
                Some(length) => end += rest.len() - line.len() + length + "-->".len(),
                None => return end,
            }
        }
    }
}

/// Returns the child elements of a name.
fn named<'a>(node: Node<'a, 'a>, name: &'static str) -> impl Iterator<Item = Node<'a, 'a>> {
    node.children().filter(move |child| is(*child, name))
}

/// Returns whether a node is an element of this name.
fn is(node: Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().name() == name
}

/// Returns the topics of a section with those of its subsections, in order.
fn topics_of<'a>(section: Node<'a, 'a>) -> Vec<Node<'a, 'a>> {
    let Some(list) = named(section, "topics").next() else {
        return Vec::new();
    };
    let children = list.children();
    let all = children.flat_map(|child| match is(child, "subsection") {
        true => named(child, "topic").collect(),
        false => vec![child],
    });
    all.filter(|node| is(*node, "topic")).collect()
}

/// Returns the id of a topic, which is an attribute or a text.
fn id<'a>(topic: Node<'a, 'a>) -> &'a str {
    let text = || topic.children().find_map(|child| child.text());
    topic.attribute("id").or_else(text).unwrap_or("").trim()
}

/// Returns whether an element or one around it is disabled.
fn is_disabled(node: Node<'_, '_>) -> bool {
    node.ancestors().any(|node| {
        let enabled = node.attribute("enabled").unwrap_or("true");
        enabled.trim().eq_ignore_ascii_case("false")
    })
}

/// Returns the last section that is enabled, or else the last one.
fn last_enabled<'a>(sections: &[Node<'a, 'a>]) -> Option<Node<'a, 'a>> {
    let enabled = sections
        .iter()
        .rev()
        .find(|section| !is_disabled(**section));
    enabled.or(sections.last()).copied()
}

#[cfg(test)]
mod tests;
