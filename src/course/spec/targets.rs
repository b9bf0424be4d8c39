//! Parsing of output targets.

use std::collections::BTreeSet;

use roxmltree::Node;

use crate::course::{Format, Kind, Lang, RelPath};

use super::Target;
use super::xml::{Reader, child, children, elements, nearest_or_all, text};

/// Parses `<output-targets>`, or returns the default targets if there are none.
pub(super) fn targets<'a>(reader: &mut Reader<'a>, root: Node<'a, 'a>) -> Vec<Target> {
    let Some(node) = child(root, "output-targets") else {
        return defaults();
    };
    reader.check_children(node, &["output-target"]);
    let mut targets: Vec<Target> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for node in children(node, "output-target") {
        let name = node.attribute("name").unwrap_or("default").trim();
        if names.iter().any(|other| other == name) {
            reader
                .error(node, format!("there are two output targets named `{name}`"))
                .hint = Some("give each a `name` of its own".to_owned());
        }
        names.push(name.to_owned());
        let Some(target) = target(reader, node, name.to_owned()) else {
            continue;
        };
        if let Some(other) = targets.iter().find(|other| other.path == target.path) {
            let message = format!(
                "the output targets `{}` and `{}` have the same path",
                other.name, target.name
            );
            reader.error(node, message).hint = Some("give each a directory of its own".to_owned());
        }
        targets.push(target);
    }
    if names.is_empty() {
        reader
            .warning(
                node,
                "`<output-targets>` names no target; the usual ones are made",
            )
            .hint = Some("add an `<output-target>`, or remove the element".to_owned());
        return defaults();
    }
    targets
}

fn defaults() -> Vec<Target> {
    let target = |name: &str, kinds: &[Kind]| {
        let path = RelPath::new(&format!("output/{name}")).ok()?;
        Some(Target {
            name: name.to_owned(),
            path,
            kinds: kinds.to_vec(),
            formats: Format::ALL.to_vec(),
            languages: Lang::USUAL.to_vec(),
        })
    };
    [
        target("shared", &[Kind::CodeAlong, Kind::Completed]),
        target(
            "trainer",
            &[Kind::CodeAlong, Kind::Completed, Kind::Trainer],
        ),
        target("speaker", &[Kind::Recording]),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn target<'a>(reader: &mut Reader<'a>, node: Node<'a, 'a>, name: String) -> Option<Target> {
    reader.check_attributes(node, &["name", "remote-path", "distribute"]);
    reader.check_children(
        node,
        &["path", "kinds", "formats", "languages", "remote-path"],
    );
    // Both only concern publishing and have no effect here, but invalid values are reported.
    reader.flag(node, "distribute", true);
    let path = target_path(reader, node, &name);
    for (filter, item) in [
        ("kinds", "kind"),
        ("formats", "format"),
        ("languages", "language"),
    ] {
        if let Some(list) = child(node, filter) {
            reader.check_children(list, &[item]);
        }
    }
    let kinds = words(reader, node, "kinds", &Kind::ALL, Kind::name, Kind::parse);
    let formats = words(
        reader,
        node,
        "formats",
        &Format::ALL,
        Format::name,
        Format::parse,
    );
    let languages = languages(reader, node);
    Some(Target {
        name,
        path: path?,
        kinds,
        formats,
        languages,
    })
}

/// Returns the directory of a target.
fn target_path<'a>(reader: &mut Reader<'a>, node: Node<'a, 'a>, name: &str) -> Option<RelPath> {
    let path = match child(node, "path") {
        Some(path) if !text(path).trim().is_empty() => {
            let value = text(path);
            let found = reader.path(path, &value);
            if found.is_none() && value.trim() == "." {
                reader
                    .error(path, "an output target cannot be the course root")
                    .hint =
                    Some("name a directory of its own, such as `output/students`".to_owned());
            }
            found
        }
        _ => {
            reader
                .error(node, format!("the output target `{name}` has no `<path>`"))
                .hint = Some("name a directory, such as `output/students`".to_owned());
            None
        }
    };
    if let Some(path) = &path
        && path.components().next() == Some("slides")
    {
        reader
            .error(
                node,
                format!("the output target `{name}` lies in the sources"),
            )
            .hint = Some("name a directory outside `slides/`".to_owned());
    }
    path
}

/// Returns the items of a filter and their texts. An absent or empty filter has none, which means all that there are.
fn items<'a>(node: Node<'a, 'a>, filter: &'static str) -> Vec<(Node<'a, 'a>, String)> {
    let items = child(node, filter).into_iter().flat_map(elements);
    let texts = items.map(|item| (item, text(item).trim().to_owned()));
    texts.filter(|(_, text)| !text.is_empty()).collect()
}

/// Returns the languages of a target in their order: those that it names, or all of the course.
fn languages<'a>(reader: &mut Reader<'a>, node: Node<'a, 'a>) -> Vec<Lang> {
    let items = items(node, "languages");
    if items.is_empty() {
        return reader.languages.clone();
    }
    let mut found = BTreeSet::new();
    for (item, value) in items {
        match value.parse::<Lang>() {
            Ok(lang) => {
                found.insert(lang);
            }
            Err(error) => {
                reader
                    .error(item, format!("`{value}` is not one of the languages"))
                    .hint = Some(error.to_string());
            }
        }
    }
    found.into_iter().collect()
}

/// Returns the words listed in a filter, in their usual order; an absent or empty filter means all of them.
fn words<'a, W: Copy + PartialEq>(
    reader: &mut Reader<'a>,
    node: Node<'a, 'a>,
    filter: &'static str,
    all: &[W],
    name: fn(W) -> &'static str,
    parse: fn(&str) -> Option<W>,
) -> Vec<W> {
    let items = items(node, filter);
    if items.is_empty() {
        return all.to_vec();
    }
    let mut found = Vec::new();
    for (item, value) in items {
        if value == "speaker" {
            reader
                .warning(item, "the kind `speaker` is an old name of `recording`")
                .hint = Some("write `recording`".to_owned());
        }
        match parse(&value) {
            Some(word) => found.push(word),
            None if value == "jupyterlite" => {
                reader
                    .warning(
                        item,
                        "the format `jupyterlite` is not supported and left out",
                    )
                    .hint = Some("remove it; there are `html`, `notebook` and `code`".to_owned());
            }
            None => {
                let names: Vec<&str> = all.iter().map(|word| name(*word)).collect();
                reader
                    .error(item, format!("`{value}` is not one of the {filter}"))
                    .hint = Some(nearest_or_all(&value, &names));
            }
        }
    }
    all.iter()
        .copied()
        .filter(|word| found.contains(word))
        .collect()
}
