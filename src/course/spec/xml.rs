//! Reading of elements and attributes, with diagnostics that have a line and column.

use std::collections::BTreeSet;

use roxmltree::{Document, Node};

use crate::course::languages::listed;
use crate::course::words::nearest;
use crate::course::{Lang, Localized, RelPath};
use crate::diagnostic::{Diagnostic, Severity};

/// The valid parents of elements that may occur in one place only.
const PLACES: &[(&str, &str)] = &[
    ("sections", "directly in the course"),
    ("section", "in `<sections>`"),
    ("topics", "in `<section>`"),
    (
        "topic",
        "in the `<topics>` of a section, or in a `<subsection>` there",
    ),
    ("subsection", "in the `<topics>` of a section"),
    ("activity", "in the `<topics>` of a section"),
    ("include", "in a `<section>` or a `<topic>`"),
    ("dir-groups", "directly in the course"),
    ("dir-group", "in `<dir-groups>` or in a `<topic>`"),
    ("subdirs", "in a `<dir-group>`"),
    ("output-targets", "directly in the course"),
    ("output-target", "in `<output-targets>`"),
    ("kinds", "in an `<output-target>`"),
    ("formats", "in an `<output-target>`"),
    ("languages", "in an `<output-target>`"),
    ("kind", "in `<kinds>`"),
    ("language", "in `<languages>`"),
    (
        "prog-lang",
        "directly in the course; a topic has the attribute `prog-lang`",
    ),
    (
        "author",
        "directly in the course; a topic has the attribute `author`",
    ),
    ("organization", "directly in the course"),
    ("image-options", "directly in the course"),
    ("inline", "in `<image-options>`"),
    ("kernel-python", "directly in the course"),
    ("project-slug", "directly in the course"),
];

/// Reads the nodes of one document and collects diagnostics.
pub(super) struct Reader<'a> {
    document: &'a Document<'a>,
    file: &'a str,
    /// The languages of the course: those that any target names, or the usual ones if none names another language.
    pub languages: Vec<Lang>,
    /// The diagnostics, in the order of reading.
    pub diagnostics: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(document: &'a Document<'a>, file: &'a str) -> Self {
        Self {
            document,
            file,
            languages: languages(document),
            diagnostics: Vec::new(),
        }
    }

    pub(super) fn root(&self) -> Node<'a, 'a> {
        self.document.root_element()
    }

    /// Returns the line and column of a node, from 1.
    pub(super) fn position(&self, node: Node<'_, '_>) -> (u32, u32) {
        let position = self.document.text_pos_at(node.range().start);
        (position.row, position.col)
    }

    pub(super) fn error(
        &mut self,
        node: Node<'_, '_>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.report(Severity::Error, node, message)
    }

    pub(super) fn warning(
        &mut self,
        node: Node<'_, '_>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.report(Severity::Warning, node, message)
    }

    fn report(
        &mut self,
        severity: Severity,
        node: Node<'_, '_>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        let (line, column) = self.position(node);
        let diagnostic = Diagnostic::new(severity, message)
            .at(self.file, Some(line))
            .column(column);
        self.diagnostics.push(diagnostic);
        let last = self.diagnostics.len() - 1;
        &mut self.diagnostics[last]
    }

    /// Warns about elements that have no meaning here, with the nearest known name as a hint.
    pub(super) fn check_children(&mut self, node: Node<'a, 'a>, known: &[&str]) {
        for child in elements(node) {
            let name = child.tag_name().name();
            if known.contains(&name) {
                continue;
            }
            if let Some((_, place)) = PLACES.iter().find(|(known, _)| *known == name) {
                let parent = node.tag_name().name();
                self.warning(
                    child,
                    format!("the element `<{name}>` has no meaning in `<{parent}>` and is ignored"),
                )
                .hint = Some(format!("it belongs {place}"));
                continue;
            }
            let hint = nearest(name, known)
                .map(|near| format!("did you mean `<{near}>`?"))
                .unwrap_or_else(|| format!("known here: {}", known.join(", ")));
            self.warning(
                child,
                format!("the element `<{name}>` is unknown here and ignored"),
            )
            .hint = Some(hint);
        }
    }

    /// Warns about attributes that have no meaning here.
    pub(super) fn check_attributes(&mut self, node: Node<'a, 'a>, known: &[&str]) {
        for attribute in node.attributes() {
            let name = attribute.name();
            if known.contains(&name) {
                continue;
            }
            let hint = nearest(name, known).map(|near| format!("did you mean `{near}`?"));
            self.warning(
                node,
                format!("the attribute `{name}` is unknown here and ignored"),
            )
            .hint = hint;
        }
    }

    /// Returns the languages of the course as a part of a hint, each in the form that `shown` gives it.
    pub(super) fn listed(&self, shown: impl Fn(Lang) -> String) -> String {
        listed(&self.languages, shown)
    }

    /// Reads a text in several languages: plain, or with an element for each language. Any of them may be missing.
    pub(super) fn localized(&mut self, node: Node<'a, 'a>) -> Localized {
        let label = node.tag_name().name();
        let children: Vec<Node<'a, 'a>> = elements(node).collect();
        if children.is_empty() {
            return Localized::same(text(node).trim());
        }
        let known = self.listed(|lang| format!("`<{lang}>`"));
        let hint = format!("use either plain text, or {known}");
        if node
            .children()
            .any(|child| child.is_text() && !child.text().unwrap_or("").trim().is_empty())
        {
            self.error(node, format!("`<{label}>` has both text and elements"))
                .hint = Some(hint.clone());
        }
        let mut found = Vec::new();
        for child in children {
            let name = child.tag_name().name();
            // Nearly every name of three letters is the code of some language.
            let is_likely = |lang: &Lang| name.len() == 2 || self.languages.contains(lang);
            match Lang::parse(name).filter(is_likely) {
                Some(lang) => found.push((lang, text(child))),
                None => {
                    let message = format!("`<{name}>` cannot stand in `<{label}>`");
                    self.error(child, message).hint = Some(hint.clone());
                }
            }
        }
        Localized::of(found)
    }

    /// Returns whether outputs in some language of the course would have a blank text.
    pub(super) fn is_blank_anywhere(&self, text: &Localized) -> bool {
        let mut languages = self.languages.iter();
        languages.any(|lang| text.get(*lang).trim().is_empty())
    }

    /// Reads an attribute that is `true`, `yes`, `1` or `false`, `no`, `0`.
    pub(super) fn flag(&mut self, node: Node<'a, 'a>, name: &str, default: bool) -> bool {
        let Some(value) = node.attribute(name) else {
            return default;
        };
        match value.trim().to_lowercase().as_str() {
            "true" | "yes" | "1" => true,
            "false" | "no" | "0" => false,
            "" if name == "evaluate" => true,
            "" => false,
            _ => {
                self.error(
                    node,
                    format!("`{name}=\"{value}\"` is neither true nor false"),
                )
                .hint = Some("write `true` or `false`".to_owned());
                default
            }
        }
    }

    /// Reads a path inside the course; `None` for the course root itself.
    pub(super) fn path(&mut self, node: Node<'a, 'a>, value: &str) -> Option<RelPath> {
        let value = value.trim();
        if value.is_empty() || value == "." {
            return None;
        }
        match RelPath::written(value) {
            Ok(path) => Some(path),
            Err(error) => {
                let label = node.tag_name().name();
                self.error(node, format!("`<{label}>`: {error}")).hint =
                    Some("name a directory inside the course, relative to its root".to_owned());
                None
            }
        }
    }
}

/// Returns the languages that any target of a specification names, in their order, or the usual ones if these are all.
fn languages(document: &Document<'_>) -> Vec<Lang> {
    let named = document.descendants();
    let named = named.filter(|node| node.has_tag_name("language"));
    let in_list = |node: &Node<'_, '_>| {
        node.parent()
            .is_some_and(|list| list.has_tag_name("languages"))
    };
    let named = named.filter(in_list);
    let named: BTreeSet<Lang> = named
        .filter_map(|node| Lang::parse(text(node).trim()))
        .collect();
    match named.iter().all(|lang| lang.is_usual()) {
        true => Lang::USUAL.to_vec(),
        false => named.into_iter().collect(),
    }
}

/// Returns a value without the blanks around it, unless nothing remains.
pub(super) fn not_blank(value: &str) -> Option<String> {
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// Returns a hint with the known word that is nearest to a wrong one, or with all of them.
pub(super) fn nearest_or_all(wrong: &str, known: &[&str]) -> String {
    match nearest(wrong, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", known.join(", ")),
    }
}

/// Returns the child elements of a node.
pub(super) fn elements<'a>(node: Node<'a, 'a>) -> impl Iterator<Item = Node<'a, 'a>> {
    node.children().filter(Node::is_element)
}

/// Returns the child elements with this name.
pub(super) fn children<'a>(
    node: Node<'a, 'a>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'a>> {
    elements(node).filter(move |child| child.tag_name().name() == name)
}

/// Returns the first child element with this name.
pub(super) fn child<'a>(node: Node<'a, 'a>, name: &'static str) -> Option<Node<'a, 'a>> {
    children(node, name).next()
}

/// Returns the text directly in a node.
pub(super) fn text(node: Node<'_, '_>) -> String {
    node.children()
        .filter(Node::is_text)
        .filter_map(|child| child.text())
        .collect()
}
