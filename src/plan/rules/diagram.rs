//! The rule for PlantUML and draw.io diagrams.

use std::sync::Arc;

use crate::config::DiagramSettings;
use crate::course::layout::DiagramOutputs;
use crate::course::tree::{DiagramFile, DiagramKind, is_library, picture, text_of};
use crate::course::words::ImageKind;
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
    if context.settings.writes_back(context.spec) && entry.is_written_back {
        destinations.push(context.names.of(diagram.rendered.as_str()));
    }
    Recipe {
        id: match diagram.part {
            None => format!("{} {}", kind.name(), diagram.at),
            Some(part) => format!("{} {} {part}", kind.name(), diagram.at),
        },
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
    if let Some(part) = diagram.part {
        parts.push("picture", part);
    }
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
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let work = DiagramWork {
        text: match diagram.part {
            None => Arc::from(text),
            Some(part) => picture(diagram.kind, text, part).into(),
        },
        format: context.spec.images.format,
    };
    match diagram.kind {
        DiagramKind::Plantuml => Make::Plantuml(work),
        DiagramKind::Drawio => Make::Drawio(work),
    }
}
