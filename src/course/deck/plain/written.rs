//! The `.ipynb` file of a notebook.

use serde_json::{Map, Value};

use super::super::{Notebook, NotebookCell, syntax};
use super::Plain;
use crate::course::ProgLang;

/// Returns the notebook without results: all cells with their ids, metadata and attachments.
/// [`attach`](super::super::attach) adds the results of an execution.
pub fn notebook(plain: &Plain) -> Notebook {
    let cells = plain.deck.cells.iter().zip(&plain.stored).enumerate();
    let cells = cells.map(|(origin, (cell, stored))| NotebookCell {
        kind: cell.kind,
        id: stored.id.clone(),
        source: cell.source.clone(),
        metadata: cell.metadata.clone(),
        origin,
        outputs: Vec::new(),
        execution_count: None,
        clear_outputs: false,
        attachments: stored.attachments.clone(),
    });
    Notebook {
        cells: cells.collect(),
        metadata: complete(plain.deck.metadata.clone(), plain.prog_lang),
    }
}

/// Returns the notebook with the results that its file has.
pub fn notebook_with_outputs(plain: &Plain) -> Notebook {
    let mut notebook = notebook(plain);
    for (cell, stored) in notebook.cells.iter_mut().zip(&plain.stored) {
        cell.outputs.clone_from(&stored.outputs);
        cell.execution_count = stored.execution_count;
    }
    notebook
}

/// Adds what notebooks must have, and text formats leave out: the kernel with both of its names, and the language.
fn complete(mut metadata: Map<String, Value>, prog_lang: Option<ProgLang>) -> Map<String, Value> {
    let kernelspec = match metadata.get_mut("kernelspec") {
        Some(Value::Object(kernelspec)) => Some(kernelspec),
        _ => None,
    };
    let name = kernelspec
        .as_ref()
        .and_then(|kernelspec| match kernelspec.get("name")? {
            Value::String(name) if !name.is_empty() => Some(name.clone()),
            _ => None,
        });
    match (kernelspec, name, prog_lang) {
        (Some(kernelspec), Some(name), _) => {
            if !kernelspec.get("display_name").is_some_and(Value::is_string) {
                kernelspec.insert("display_name".into(), name.into());
            }
        }
        (_, _, Some(prog_lang)) => {
            metadata.insert("kernelspec".into(), syntax::kernelspec(prog_lang));
        }
        // Without a name, the entry would make the file invalid.
        _ => {
            metadata.remove("kernelspec");
        }
    }
    let has_language = metadata
        .get("language_info")
        .is_some_and(|info| info.get("name").is_some_and(Value::is_string));
    if !has_language {
        metadata.remove("language_info");
        if let Some(prog_lang) = prog_lang {
            metadata.insert("language_info".into(), syntax::language_info(prog_lang));
        }
    }
    metadata
}
