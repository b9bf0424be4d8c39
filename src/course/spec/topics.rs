//! Parsing of sections and topics.

use roxmltree::Node;

use crate::course::words::nearest;
use crate::course::{Lang, ProgLang, RelPath};

use super::xml::{Reader, child, children, elements, nearest_or_all, not_blank, text};
use super::{Include, Section, TopicRef, read};

const WEEKDAYS: &[&str] = &["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Parses `<sections>`; disabled ones are omitted.
pub(super) fn sections<'a>(reader: &mut Reader<'a>, node: Node<'a, 'a>) -> Vec<Section> {
    reader.check_children(node, &["section"]);
    let mut sections = Vec::new();
    for (index, node) in children(node, "section").enumerate() {
        reader.check_attributes(
            node,
            &["enabled", "id", "module", "http-replay", "optional"],
        );
        reader.flag(node, "optional", false);
        warn_of_replay(reader, node);
        if is_enabled(reader, node)
            && let Some(section) = section(reader, node, index + 1)
        {
            sections.push(section);
        }
    }
    sections
}

fn warn_of_replay<'a>(reader: &mut Reader<'a>, node: Node<'a, 'a>) {
    if reader.flag(node, "http-replay", false) {
        reader
            .warning(
                node,
                "`http-replay` is not supported: the decks reach out for themselves",
            )
            .hint = Some("remove the attribute, or give the decks data of their own".to_owned());
    }
}

fn is_enabled<'a>(reader: &mut Reader<'a>, node: Node<'a, 'a>) -> bool {
    let Some(value) = node.attribute("enabled") else {
        return true;
    };
    match value.trim().to_lowercase().as_str() {
        "true" => true,
        "false" => false,
        _ => {
            reader
                .error(
                    node,
                    format!("`enabled=\"{value}\"` is neither true nor false"),
                )
                .hint = Some("write `true` or `false`".to_owned());
            true
        }
    }
}

fn section<'a>(reader: &mut Reader<'a>, node: Node<'a, 'a>, number: usize) -> Option<Section> {
    reader.check_children(node, &["name", "topics", "include"]);
    let (line, _) = reader.position(node);
    let name = match child(node, "name") {
        Some(element) => {
            let before = reader.diagnostics.len();
            let name = reader.localized(element);
            let is_read = reader.diagnostics.len() == before;
            if is_read && reader.is_blank_anywhere(&name) {
                let known = reader.listed(|lang| format!("`<{lang}>`"));
                reader
                    .warning(
                        element,
                        "the section's `<name>` is empty, so its outputs get no directory of their own",
                    )
                    .hint = Some(format!("write a name, or {known}"));
            }
            name
        }
        None => {
            reader.error(node, "the section has no `<name>`").hint =
                Some("it names a directory of the outputs".to_owned());
            return None;
        }
    };
    let Some(list) = child(node, "topics") else {
        let message = format!(
            "the section `{}` has no `<topics>` and is left out",
            name.get(Lang::EN)
        );
        reader.warning(node, message).hint = Some(
            "add `<topics>` with a `<topic>` for each topic, or remove the section".to_owned(),
        );
        return None;
    };
    let defaults = Defaults {
        module: node.attribute("module"),
        includes: includes(reader, node),
    };
    let mut topics = Vec::new();
    add_topics(reader, list, &defaults, false, &mut topics);
    Some(Section {
        name,
        id: node.attribute("id").map(str::to_owned),
        number,
        topics,
        line,
    })
}

/// Settings of a section that all its topics inherit.
struct Defaults<'a> {
    module: Option<&'a str>,
    includes: Vec<Include>,
}

/// Adds topics in document order; subsections only group them.
fn add_topics<'a>(
    reader: &mut Reader<'a>,
    list: Node<'a, 'a>,
    defaults: &Defaults<'a>,
    is_subsection: bool,
    topics: &mut Vec<TopicRef>,
) {
    let known: &[&str] = match is_subsection {
        true => &["topic", "activity", "name", "subsection"],
        false => &["topic", "subsection", "activity"],
    };
    reader.check_children(list, known);
    for node in elements(list) {
        match node.tag_name().name() {
            "topic" => topics.extend(topic(reader, node, defaults)),
            "subsection" if is_subsection => warn_of_nested(reader, node),
            "subsection" => {
                reader.check_attributes(node, &["weekday", "enabled", "optional"]);
                check_weekdays(reader, node);
                reader.flag(node, "optional", false);
                if is_enabled(reader, node) {
                    add_topics(reader, node, defaults, true, topics);
                }
            }
            "activity" => {
                let name = reader.localized(node);
                if reader.is_blank_anywhere(&name) {
                    let known = reader.listed(|lang| format!("`<{lang}>`"));
                    reader.error(node, "the `<activity>` has no text").hint =
                        Some(format!("write what happens, or {known}"));
                }
            }
            _ => {}
        }
    }
}

/// Warns about a subsection in a subsection, whose topics are not built.
fn warn_of_nested<'a>(reader: &mut Reader<'a>, subsection: Node<'a, 'a>) {
    let topics = subsection
        .descendants()
        .filter(|inner| inner.has_tag_name("topic"));
    let ids = topics.map(|topic| match topic.attribute("id") {
        Some(id) => format!("`{}`", id.trim()),
        None => format!("`{}`", text(topic).trim()),
    });
    let ids: Vec<String> = ids.collect();
    let what = match ids.is_empty() {
        true => "it is left out".to_owned(),
        false => format!("its topics are not built: {}", ids.join(", ")),
    };
    let message = format!("a `<subsection>` in a `<subsection>`: {what}");
    reader.warning(subsection, message).hint =
        Some("put it beside the outer one, directly in `<topics>`".to_owned());
}

fn check_weekdays<'a>(reader: &mut Reader<'a>, subsection: Node<'a, 'a>) {
    let weekdays = subsection.attribute("weekday").unwrap_or("").split(',');
    for day in weekdays.map(str::trim).filter(|day| !day.is_empty()) {
        if !WEEKDAYS.contains(&day.to_lowercase().as_str()) {
            let message = format!("`{day}` is not a weekday");
            reader.error(subsection, message).hint = Some(nearest_or_all(day, WEEKDAYS));
        }
    }
}

fn topic<'a>(
    reader: &mut Reader<'a>,
    node: Node<'a, 'a>,
    defaults: &Defaults<'a>,
) -> Option<TopicRef> {
    reader.check_children(node, &["include", "dir-group"]);
    reader.check_attributes(
        node,
        &[
            "id",
            "html",
            "evaluate",
            "skip-errors",
            "http-replay",
            "author",
            "prog-lang",
            "module",
            "export",
        ],
    );
    reader.flag(node, "export", true);
    warn_of_replay(reader, node);
    let id = topic_id(reader, node)?;
    let prog_lang = topic_prog_lang(reader, node);
    let (line, column) = reader.position(node);
    Some(TopicRef {
        id,
        module: (node.attribute("module").or(defaults.module)).and_then(not_blank),
        html: html(reader, node),
        evaluate: reader.flag(node, "evaluate", true),
        skip_errors: reader.flag(node, "skip-errors", false),
        author: node.attribute("author").and_then(not_blank),
        prog_lang,
        dir_groups: read::dir_groups(reader, node),
        includes: merged(&defaults.includes, includes(reader, node)),
        line,
        column,
    })
}

/// Returns the id of a topic, which is an attribute or a text.
fn topic_id<'a>(reader: &mut Reader<'a>, node: Node<'a, 'a>) -> Option<String> {
    let text_id = text(node).trim().to_owned();
    match (node.attribute("id").map(str::trim), text_id.as_str()) {
        (Some(_), other) if !other.is_empty() => {
            reader
                .error(node, "the topic has two ids, as attribute and as text")
                .hint = Some("keep one of them".to_owned());
            None
        }
        (Some(id), _) if !id.is_empty() => Some(id.to_owned()),
        (_, id) if !id.is_empty() => Some(id.to_owned()),
        _ if elements(node).next().is_none() => {
            reader
                .warning(node, "the topic has no id and is left out")
                .hint = Some(
                "write `<topic>my_id</topic>` or `<topic id=\"my_id\"/>`, or remove it".to_owned(),
            );
            None
        }
        _ => {
            reader.error(node, "the topic has no id").hint =
                Some("write `<topic>my_id</topic>` or `<topic id=\"my_id\"/>`".to_owned());
            None
        }
    }
}

fn topic_prog_lang<'a>(reader: &mut Reader<'a>, node: Node<'a, 'a>) -> Option<ProgLang> {
    let value = node.attribute("prog-lang")?;
    let found = ProgLang::parse(&value.trim().to_lowercase());
    if found.is_none() {
        let names = ProgLang::ALL.map(ProgLang::name);
        let hint = nearest(value, names).unwrap_or("python");
        let message = format!("`{value}` is not a programming language of courses");
        reader.error(node, message).hint = Some(format!("did you mean `{hint}`?"));
    }
    found
}

/// Parses the attribute `html`. In the format every value turns pages off, even `yes`, which is likely to surprise
/// authors.
fn html<'a>(reader: &mut Reader<'a>, node: Node<'a, 'a>) -> bool {
    let Some(value) = node.attribute("html") else {
        return true;
    };
    match value.trim().to_lowercase().as_str() {
        "" => true,
        "no" | "false" | "0" => false,
        _ => {
            reader
                .warning(
                    node,
                    format!("`html=\"{value}\"` turns pages off, as every value does"),
                )
                .hint =
                Some("remove the attribute to get pages, or write `html=\"no\"`".to_owned());
            false
        }
    }
}

/// Parses the `<include>`s directly in a section or topic.
fn includes<'a>(reader: &mut Reader<'a>, node: Node<'a, 'a>) -> Vec<Include> {
    let mut found: Vec<Include> = Vec::new();
    for node in children(node, "include") {
        reader.check_attributes(node, &["source", "as", "optional"]);
        let Some(include) = include(reader, node) else {
            continue;
        };
        if let Some(other) = found.iter().find(|other| other.at == include.at) {
            let message = format!(
                "`{}` and `{}` are both included as `{}`",
                other.source, include.source, include.at
            );
            reader.error(node, message).hint =
                Some("give one of them another name with `as=\"…\"`".to_owned());
        }
        found.push(include);
    }
    found
}

fn include<'a>(reader: &mut Reader<'a>, node: Node<'a, 'a>) -> Option<Include> {
    let Some(source) = node
        .attribute("source")
        .filter(|value| !value.trim().is_empty())
    else {
        reader.error(node, "`<include>` has no `source`").hint =
            Some("name a file or directory of the course, relative to its root".to_owned());
        return None;
    };
    let path = |reader: &mut Reader<'a>, name: &str, value: &str| {
        let found = RelPath::written(value.trim());
        if let Err(error) = &found {
            reader
                .error(node, format!("`{name}` of `<include>`: {error}"))
                .hint = Some("name a place inside the course, without `..`".to_owned());
        }
        found.ok()
    };
    let source = path(reader, "source", source)?;
    let at = match node
        .attribute("as")
        .filter(|value| !value.trim().is_empty())
    {
        None => RelPath::new(source.file_name()).ok()?,
        Some(value) if value.contains(['*', '?', '[', ']']) => {
            reader
                .error(
                    node,
                    format!("`as=\"{value}\"` of `<include>` is a pattern"),
                )
                .hint = Some("name one place in the topic".to_owned());
            return None;
        }
        Some(value) => path(reader, "as", value)?,
    };
    let (line, column) = reader.position(node);
    Some(Include {
        source,
        at,
        optional: reader.flag(node, "optional", false),
        line,
        column,
    })
}

/// Merges the includes of a section and a topic. Those of the topic replace those of the section with the same `at`.
fn merged(section: &[Include], topic: Vec<Include>) -> Vec<Include> {
    let mut all = section.to_vec();
    for include in topic {
        match all.iter_mut().find(|other| other.at == include.at) {
            Some(other) => *other = include,
            None => all.push(include),
        }
    }
    all
}
