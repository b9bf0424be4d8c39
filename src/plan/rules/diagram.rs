//! The rule for PlantUML and draw.io diagrams.

use std::sync::Arc;

use crate::config::DiagramSettings;
use crate::course::layout::DiagramOutputs;
use crate::course::tree::DiagramKind;
use crate::course::words::ImageKind;
use crate::course::{RelPath, lfs};
use crate::diagnostic::Diagnostic;
use crate::events::ActionKind;
use crate::plan::action::{DiagramWork, Make, Output, Recipe};
use crate::plan::{Context, KeyParts, MISSING, lfs_pointer, unreadable};

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
    let svg = context.spec.images.format == ImageKind::Svg;
    let extension = if svg { "svg" } else { "png" };
    let source = context.files.read(&diagram.path);

    let settings = &context.settings.diagrams;
    let mut parts = KeyParts::default();
    parts.push(
        "diagram",
        source
            .as_ref()
            .map_or_else(String::new, |s| s.digest.to_string()),
    );
    parts.push("format", extension);
    let (kind, renderer) = match diagram.kind {
        DiagramKind::Plantuml => {
            // Includes are resolved relative to the file, and `%filename()` shows its name.
            parts.push("path", &diagram.path);
            if !svg {
                parts.push("dpi", settings.dpi);
            }
            parts.push("limit", settings.limit);
            (ActionKind::Plantuml, &context.tools.plantuml)
        }
        DiagramKind::Drawio => {
            parts.push("scale", settings.scale);
            parts.push("border", settings.border);
            (ActionKind::Drawio, &context.tools.drawio)
        }
    };
    // A diagram that took too long must be tried again with another limit. The default is no component of the key, so
    // that results from before this setting existed stay valid.
    if settings.timeout != DiagramSettings::default().timeout {
        parts.push("time-out", settings.timeout);
    }
    parts.push("renderer", renderer.as_deref().unwrap_or(MISSING));

    let pointer = lfs_pointer(context.files, &diagram.path);
    let make = match &source {
        None => Make::Invalid(vec![unreadable(context.files, &diagram.path)]),
        Some(_) if pointer.is_some() => Make::Invalid(pointer.into_iter().collect()),
        Some(source) => match std::str::from_utf8(&source.bytes) {
            Ok(text) => {
                let work = DiagramWork {
                    text: Arc::from(text.strip_prefix('\u{feff}').unwrap_or(text)),
                    format: context.spec.images.format,
                };
                match diagram.kind {
                    DiagramKind::Plantuml => Make::Plantuml(work),
                    DiagramKind::Drawio => Make::Drawio(work),
                }
            }
            Err(error) => {
                let line = source.bytes[..error.valid_up_to()]
                    .iter()
                    .filter(|byte| **byte == b'\n')
                    .count() as u32
                    + 1;
                Make::Invalid(vec![
                    Diagnostic::error("the diagram is not UTF-8 text")
                        .at(diagram.path.as_str(), Some(line))
                        .hint("save it with the encoding UTF-8"),
                ])
            }
        },
    };

    let mut destinations = context.destinations_of(&entry.destinations).into_vec();
    if settings.write_back && entry.is_written_back {
        destinations.push(context.names.of(diagram.rendered.as_str()));
    }
    Recipe {
        id: format!("{} {}", kind.name(), diagram.at),
        kind,
        source: diagram.path.clone(),
        inputs: source
            .map(|source| (diagram.path.clone(), source.digest))
            .into_iter()
            .collect(),
        parts,
        after: Vec::new(),
        make,
        outputs: vec![Output {
            name: context.names.of(&format!("image.{extension}")),
            destinations: destinations.into(),
        }],
        warnings: Vec::new(),
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
