//! PlantUML and draw.io diagrams.

use std::sync::Arc;

use crate::course::layout::DiagramOutputs;
use crate::course::tree::DiagramKind;
use crate::course::words::ImageKind;
use crate::events::{ActionKind, Diagnostic};
use crate::plan::action::{DiagramWork, Make, Output, Recipe};
use crate::plan::{Context, KeyParts, MISSING, unreadable};

/// The action that renders one diagram.
pub fn action(context: &Context<'_>, entry: &DiagramOutputs) -> Recipe {
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
            // Includes resolve beside the file, and `%filename()` shows its name.
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
    parts.push("renderer", renderer.as_deref().unwrap_or(MISSING));

    let make = match &source {
        None => Make::Invalid(unreadable(&diagram.path)),
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
    if settings.write_back {
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
