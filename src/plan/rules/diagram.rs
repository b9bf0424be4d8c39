//! The rule for PlantUML and draw.io diagrams.

use std::sync::Arc;

use crate::config::DiagramSettings;
use crate::course::layout::DiagramOutputs;
use crate::course::tree::{DiagramFile, DiagramKind, text_of};
use crate::course::words::ImageKind;
use crate::course::{RelPath, lfs};
use crate::events::ActionKind;
use crate::plan::action::{DiagramWork, Make, Output, Recipe};
use crate::plan::{Context, KeyParts, MISSING, Source, lfs_pointer, unreadable};

/// Plans the action that renders one diagram.
pub(crate) fn action(context: &Context<'_>, entry: &DiagramOutputs) -> Recipe {
    let source = context.files.read(&entry.diagram.path);
    let text = source
        .as_ref()
        .and_then(|s| std::str::from_utf8(&s.bytes).ok());
    if entry.diagram.kind == DiagramKind::Plantuml
        && text.is_some_and(|text| is_library(&entry.diagram.path, text))
    {
        return library(context, entry);
    }
    rendering(context, entry)
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

/// Plans an action without outputs, so that the library is known as a source.
fn library(context: &Context<'_>, entry: &DiagramOutputs) -> Recipe {
    let path = &entry.diagram.path;
    let digest = context.files.digest(path);
    Recipe {
        id: format!("library {}", entry.diagram.at),
        kind: ActionKind::Copy,
        source: path.clone(),
        inputs: digest
            .map(|digest| (path.clone(), digest))
            .into_iter()
            .collect(),
        parts: KeyParts::default().with("file", digest.map_or_else(String::new, |d| d.to_string())),
        after: Vec::new(),
        make: Make::Copy,
        outputs: vec![Output {
            name: context.names.of("file"),
            destinations: Box::default(),
        }],
        warnings: Vec::new(),
    }
}

fn rendering(context: &Context<'_>, entry: &DiagramOutputs) -> Recipe {
    let diagram = &entry.diagram;
    let source = context.files.read(&diagram.path);
    let kind = match diagram.kind {
        DiagramKind::Plantuml => ActionKind::Plantuml,
        DiagramKind::Drawio => ActionKind::Drawio,
    };
    let extension = context.spec.images.format.extension();
    let mut destinations = context.destinations_of(&entry.destinations).into_vec();
    if context.settings.diagrams.write_back && entry.is_written_back {
        destinations.push(context.names.of(diagram.rendered.as_str()));
    }
    Recipe {
        id: format!("{} {}", kind.name(), diagram.at),
        kind,
        source: diagram.path.clone(),
        parts: key_parts(context, diagram, source.as_ref()),
        after: Vec::new(),
        make: make(context, diagram, source.as_ref()),
        inputs: source
            .map(|source| (diagram.path.clone(), source.digest))
            .into_iter()
            .collect(),
        outputs: vec![Output {
            name: context.names.of(&format!("image.{extension}")),
            destinations: destinations.into(),
        }],
        warnings: Vec::new(),
    }
}

/// Returns what the image depends on.
fn key_parts(context: &Context<'_>, diagram: &DiagramFile, source: Option<&Source>) -> KeyParts {
    let settings = &context.settings.diagrams;
    let format = context.spec.images.format;
    let digest = source.map_or_else(String::new, |source| source.digest.to_string());
    let mut parts = KeyParts::default()
        .with("diagram", digest)
        .with("format", format.extension());
    let renderer = match diagram.kind {
        DiagramKind::Plantuml => {
            // Includes are resolved relative to the file, and `%filename()` shows its name.
            parts.push("path", &diagram.path);
            if format != ImageKind::Svg {
                parts.push("dpi", settings.dpi);
            }
            parts.push("limit", settings.limit);
            &context.tools.plantuml
        }
        DiagramKind::Drawio => {
            parts.push("scale", settings.scale);
            parts.push("border", settings.border);
            &context.tools.drawio
        }
    };
    // A diagram that took too long must be tried again with another limit. The default is no component of the key, so
    // that results from before this setting existed stay valid.
    if settings.timeout != DiagramSettings::default().timeout {
        parts.push("time-out", settings.timeout);
    }
    parts.with("renderer", renderer.as_deref().unwrap_or(MISSING))
}

fn make(context: &Context<'_>, diagram: &DiagramFile, source: Option<&Source>) -> Make {
    let Some(source) = source else {
        return Make::Invalid(vec![unreadable(context.files, &diagram.path)]);
    };
    if let Some(pointer) = lfs_pointer(context.files, &diagram.path) {
        return Make::Invalid(vec![pointer]);
    }
    let text = match text_of(&source.bytes) {
        Ok(text) => text,
        Err(error) => return Make::Invalid(vec![error.diagnostic("diagram", &diagram.path)]),
    };
    let work = DiagramWork {
        text: Arc::from(text.strip_prefix('\u{feff}').unwrap_or(text)),
        format: context.spec.images.format,
    };
    match diagram.kind {
        DiagramKind::Plantuml => Make::Plantuml(work),
        DiagramKind::Drawio => Make::Drawio(work),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
