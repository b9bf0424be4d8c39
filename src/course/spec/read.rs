//! Parsing of the top level of a specification.

use roxmltree::Node;

use crate::course::words::ImageKind;
use crate::course::{Lang, Localized, ProgLang};

use super::xml::{Reader, child, children, elements, nearest_or_all, not_blank, text};
use super::{DirGroup, ImageOptions, Spec, targets, topics};

const KNOWN: &[&str] = &[
    "name",
    "prog-lang",
    "description",
    "certificate",
    "project-slug",
    "author",
    "organization",
    "sections",
    "dir-groups",
    "output-targets",
    "image-options",
    "jupyterlite",
    "kernel-python",
    "sidecar-layout",
    "github",
    "release-channels",
    "tasks",
];
/// Elements that clm ignores: they ask for outputs or services that it does not provide.
const WITHOUT_EFFECT: &[&str] = &["jupyterlite", "sidecar-layout", "release-channels", "tasks"];

/// The default of CLM for courses without an author.
const AUTHOR: &str = "Dr. Matthias Hölzl";

/// Parses the whole course as far as possible; errors are added to the reader.
pub(super) fn course<'a>(reader: &mut Reader<'a>) -> Spec {
    let root = reader.root();
    reader.check_children(root, KNOWN);
    warn_of_elements_without_effect(reader, root);
    let name = match child(root, "name") {
        Some(node) => reader.localized(node),
        None => Localized::default(),
    };
    let slug = slug(reader, root);
    let first = reader.languages.first().copied().unwrap_or(Lang::DE);
    if slug.is_none() && name.get(first).trim().is_empty() {
        reader
            .error(root, "the course has neither `<name>` nor `<project-slug>`")
            .hint = Some("add `<name>`: it names the output directories".to_owned());
    }
    let prog_lang = prog_lang(reader, root);
    let sections = match child(root, "sections") {
        Some(node) => topics::sections(reader, node),
        None => {
            reader
                .warning(
                    root,
                    "the course has no `<sections>`, so that there is nothing to build",
                )
                .hint = Some("add `<sections>` with a `<section>` for each part".to_owned());
            Vec::new()
        }
    };
    let dir_groups = child(root, "dir-groups").map_or_else(Vec::new, |node| {
        reader.check_children(node, &["dir-group"]);
        dir_groups(reader, node)
    });
    let targets = targets::targets(reader, root);
    let images = image_options(reader, root);
    // The defaults of CLM are for courses that CLM can have, too.
    let is_usual = reader.languages.iter().all(|lang| lang.is_usual());
    let author = if is_usual { AUTHOR } else { "" };
    let organization = |lang: &Lang| (*lang, lang.words().organization.to_owned());
    Spec {
        name,
        slug,
        prog_lang,
        author: child(root, "author")
            .and_then(|node| not_blank(&text(node)))
            .unwrap_or_else(|| author.to_owned()),
        organization: match child(root, "organization") {
            Some(node) => reader.localized(node),
            None if is_usual => Localized::of(Lang::USUAL.iter().map(organization)),
            None => Localized::default(),
        },
        sections,
        dir_groups,
        targets,
        images,
        kernel_python: child(root, "kernel-python").and_then(|node| not_blank(&text(node))),
    }
}

fn warn_of_elements_without_effect<'a>(reader: &mut Reader<'a>, root: Node<'a, 'a>) {
    for name in WITHOUT_EFFECT {
        if let Some(node) = child(root, name) {
            reader
                .warning(node, format!("`<{name}>` has no effect in clm"))
                .hint =
                Some("remove it, or leave it for other programs that read this file".to_owned());
        }
    }
    if let Some(node) = child(root, "sidecar-layout") {
        let layout = text(node).trim().to_lowercase();
        if !matches!(layout.as_str(), "subdir" | "sibling") {
            let message = format!("`{layout}` is no layout of narrations, and is ignored");
            reader.warning(node, message).hint =
                Some("there are `subdir` and `sibling`".to_owned());
        }
    }
}

fn slug<'a>(reader: &mut Reader<'a>, root: Node<'a, 'a>) -> Option<String> {
    let read = |node: Node<'a, 'a>| not_blank(&text(node));
    let own = child(root, "project-slug");
    let github = child(root, "github");
    let old = github.and_then(|github| child(github, "project-slug"));
    for node in own.iter().chain(&old) {
        if text(*node).contains(['/', '\\']) {
            reader
                .error(*node, "`<project-slug>` contains a slash")
                .hint = Some("it is the name of a directory, such as `my-course`".to_owned());
        }
    }
    if let Some(node) = old {
        let message = if own.is_some() {
            "`<project-slug>` in `<github>` is ignored: the one of the course counts"
        } else {
            "`<project-slug>` in `<github>` is an old form"
        };
        reader.warning(node, message).hint =
            Some("put it directly below the course element".to_owned());
    }
    own.and_then(read).or_else(|| old.and_then(read))
}

fn prog_lang<'a>(reader: &mut Reader<'a>, root: Node<'a, 'a>) -> ProgLang {
    let names = ProgLang::ALL.map(ProgLang::name);
    let Some(node) = child(root, "prog-lang") else {
        reader
            .warning(root, "the course has no `<prog-lang>`; `python` is assumed")
            .hint = Some(format!(
            "add `<prog-lang>` with one of {}",
            names.join(", ")
        ));
        return ProgLang::Python;
    };
    let value = text(node);
    let value = value.trim();
    if value.is_empty() {
        reader
            .warning(node, "`<prog-lang>` is empty; `python` is assumed")
            .hint = Some(format!("write one of {}", names.join(", ")));
        return ProgLang::Python;
    }
    ProgLang::parse(&value.to_lowercase()).unwrap_or_else(|| {
        let message = format!("`{value}` is not a programming language of courses");
        reader.error(node, message).hint = Some(nearest_or_all(value, &names));
        ProgLang::Python
    })
}

fn image_options<'a>(reader: &mut Reader<'a>, root: Node<'a, 'a>) -> ImageOptions {
    let Some(node) = child(root, "image-options") else {
        return ImageOptions::default();
    };
    reader.check_children(node, &["format", "inline"]);
    let inline = match child(node, "inline") {
        None => false,
        Some(inline) => match text(inline).trim().to_lowercase().as_str() {
            "true" => true,
            "false" | "" => false,
            other => {
                reader
                    .error(inline, format!("`{other}` is neither true nor false"))
                    .hint = Some("write `true` or `false`".to_owned());
                false
            }
        },
    };
    let format = match child(node, "format") {
        None => ImageKind::Png,
        Some(format) => match text(format).trim().to_lowercase().as_str() {
            "" | "png" => ImageKind::Png,
            "svg" => ImageKind::Svg,
            other => {
                reader
                    .error(format, format!("`{other}` is not an image format"))
                    .hint = Some("there are `png` and `svg`".to_owned());
                ImageKind::Png
            }
        },
    };
    ImageOptions {
        format,
        inline,
        shared: false,
    }
}

/// Parses the `<dir-group>`s directly in an element.
pub(super) fn dir_groups<'a>(reader: &mut Reader<'a>, node: Node<'a, 'a>) -> Vec<DirGroup> {
    children(node, "dir-group")
        .map(|child| dir_group(reader, child))
        .collect()
}

fn dir_group<'a>(reader: &mut Reader<'a>, node: Node<'a, 'a>) -> DirGroup {
    reader.check_children(node, &["name", "path", "subdirs"]);
    reader.check_attributes(node, &["include-root-files", "recursive", "lang"]);
    let lang = node
        .attribute("lang")
        .map(str::trim)
        .filter(|lang| !lang.is_empty())
        .and_then(|name| {
            let is_made = |lang: &Lang| lang.is_usual() || reader.languages.contains(lang);
            let lang = Lang::parse(name).filter(is_made);
            if lang.is_none() {
                let hint = match reader.languages.as_slice() {
                    [one] => format!("write `{one}`, or leave it out"),
                    [one, other] => format!("write `{one}` or `{other}`, or leave it out for both"),
                    _ => {
                        let known = reader.listed(|lang| format!("`{lang}`"));
                        format!("write one of {known}, or leave it out for all")
                    }
                };
                reader
                    .error(node, format!("`lang=\"{name}\"` is no language of courses"))
                    .hint = Some(hint);
            }
            lang
        });
    let name = child(node, "name").map_or_else(Localized::default, |name| reader.localized(name));
    let path = child(node, "path").and_then(|path| {
        let value = text(path);
        reader.path(path, &value)
    });
    let subdirs = child(node, "subdirs").map_or_else(Vec::new, |subdirs| {
        elements(subdirs)
            .map(|subdir| {
                let value = text(subdir);
                reader.path(subdir, &value)
            })
            .collect()
    });
    let (line, column) = reader.position(node);
    DirGroup {
        name,
        path,
        subdirs,
        include_root_files: reader.flag(node, "include-root-files", false),
        recursive: reader.flag(node, "recursive", true),
        lang,
        line,
        column,
    }
}
