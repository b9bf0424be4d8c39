//! Converts an action to a request for a worker, and its diagnostics to the form in which they are remembered.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::config::{DiagramSettings, time_limit};
use crate::course::deck::{ExecutionCell, Notebook};
use crate::course::words::ImageKind;
use crate::diagnostic::{Diagnostic, Severity};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::events::{ActionKind, Event, Events};
use crate::files;
use crate::plan::{
    self, Action, ActionIndex, DataUrls, EXECUTED, ImageSource, InlineImage, Make, NotebookWork,
    Recipe, Recipes, Stored,
};
use crate::store::Store;
use crate::worker::request::{
    CodeCell, DrawioWork, ExecuteWork, Executed, ExecutedCell, HtmlWork, ImageFormat, Outcome,
    Page, PlantumlWork,
};
use crate::worker::{Progress, ProgressSink, Request, Work, WorkerError};

use super::super::decide::Results;

/// Returns the request for the action of a recipe, or `None` if a result that it needs is damaged in the store.
pub(crate) fn request(
    id: u64,
    recipe: &Recipe,
    upstream: &[&Results],
    root: PathBuf,
    out: PathBuf,
    settings: &DiagramSettings,
    store: &Store,
) -> Result<Option<Request>> {
    let work = match &recipe.make {
        Make::Execute(work) => Work::Execute(ExecuteWork {
            prog_lang: work.prog_lang,
            kernel: work.kernel.to_string(),
            cells: work.cells.iter().map(code_cell).collect(),
            files: work.files.clone(),
            directory: work.directory.as_deref().map(str::to_owned),
            skip_errors: work.skip_errors,
            cell_timeout: time_limit(work.cell_timeout),
        }),
        Make::Html(work) => {
            let Some(shown) = shown(work.executed.as_deref(), upstream, store)? else {
                return Ok(None);
            };
            let Some(images) = data_urls(&work.images, upstream, &root, store)? else {
                return Ok(None);
            };
            let pages = work
                .kinds
                .iter()
                .map(|kind| Page {
                    name: kind.name().to_owned(),
                    notebook: plan::page(
                        work,
                        *kind,
                        &shown.results,
                        shown.widgets.as_ref(),
                        images.clone(),
                    )
                    .to_json(),
                })
                .collect();
            Work::Html(HtmlWork { pages })
        }
        Make::Notebook(work) => {
            let Some(notebook) = executed_notebook(work, upstream, store)? else {
                return Ok(None);
            };
            Work::Html(HtmlWork {
                pages: vec![Page {
                    name: plan::PAGE.to_owned(),
                    notebook: notebook.to_json(),
                }],
            })
        }
        Make::Plantuml(work) => Work::Plantuml(PlantumlWork {
            text: work.text.to_string(),
            format: image_format(work.format),
            dpi: settings.dpi,
            limit: settings.limit,
        }),
        Make::Drawio(work) => Work::Drawio(DrawioWork {
            text: work.text.to_string(),
            format: image_format(work.format),
            scale: settings.scale,
            border: settings.border,
        }),
        Make::Deck(_) | Make::Text(_) | Make::Copy | Make::Invalid(_) => {
            return Err(Error::bug(format!(
                "`{}` was given to a worker, but needs none",
                recipe.id
            )));
        }
    };
    Ok(Some(Request {
        id,
        source: recipe.source.clone(),
        root,
        out,
        work,
    }))
}

/// Writes stored results as those of an execution.
pub(crate) fn take_stored(
    stored: &Stored,
    out: &Path,
) -> std::result::Result<Outcome, WorkerError> {
    let cells = stored.iter();
    let executed = Executed {
        cells: cells
            .map(|(outputs, count)| ExecutedCell {
                outputs: outputs.clone(),
                execution_count: *count,
            })
            .collect(),
        widgets: None,
    };
    let bytes = serde_json::to_vec(&executed);
    let bytes = bytes.map_err(|error| WorkerError::Bug(error.to_string()))?;
    std::fs::write(out.join(EXECUTED), bytes)
        .map_err(|error| WorkerError::Io(format!("cannot write `{EXECUTED}`: {error}")))?;
    Ok(Outcome::ok([EXECUTED]))
}

/// Returns a folder's notebook with the results of its execution, or `None` if these are damaged in the store.
pub(crate) fn executed_notebook(
    work: &NotebookWork,
    upstream: &[&Results],
    store: &Store,
) -> Result<Option<Notebook>> {
    let shown = shown(work.executed.as_deref(), upstream, store)?;
    Ok(shown.map(|shown| plan::with_results(work, &shown.results, shown.widgets.as_ref())))
}

/// The results of an execution as notebooks show them.
#[derive(Default)]
struct Shown {
    /// The outputs and the number in the prompt of each cell.
    results: Vec<(Vec<serde_json::Value>, Option<i64>)>,
    widgets: Option<serde_json::Value>,
}

/// Returns the results of the executed cells; nothing if none are executed. `None` means that they are damaged in the
/// store.
fn shown(
    cells: Option<&[ExecutionCell]>,
    upstream: &[&Results],
    store: &Store,
) -> Result<Option<Shown>> {
    let Some(cells) = cells else {
        return Ok(Some(Shown::default()));
    };
    let executed = executed(upstream, store)?;
    let executed = executed.filter(|executed| executed.cells.len() == cells.len());
    Ok(executed.map(|executed| Shown {
        results: executed
            .cells
            .into_iter()
            .map(|cell| (cell.outputs, cell.execution_count))
            .collect(),
        widgets: executed.widgets,
    }))
}

/// Returns the data URLs of images, or `None` if one of them changed since it was planned.
pub(crate) fn data_urls(
    images: &[InlineImage],
    upstream: &[&Results],
    root: &Path,
    store: &Store,
) -> Result<Option<DataUrls>> {
    let mut urls = DataUrls::new();
    for image in images {
        let bytes = match &image.source {
            ImageSource::File(path, digest) => files::read(&path.under(root))
                .ok()
                .filter(|bytes| Digest::of(bytes) == *digest),
            ImageSource::Result(position) => {
                let result = upstream.get(*position).and_then(|results| results.first());
                match result {
                    Some((_, digest)) => store.read_blob(digest)?,
                    None => None,
                }
            }
        };
        let (Some(bytes), Some(mime)) = (bytes, plan::mime(&image.url)) else {
            return Ok(None);
        };
        let url = format!("data:{mime};base64,{}", BASE64.encode(bytes));
        urls.insert(image.url.clone(), url);
    }
    Ok(Some(urls))
}

fn code_cell(cell: &ExecutionCell) -> CodeCell {
    CodeCell {
        source: cell.source.clone(),
        cell: cell.number,
        line: cell.line,
        jumps: cell.jumps.clone(),
        may_fail: cell.may_fail,
    }
}

fn image_format(kind: ImageKind) -> ImageFormat {
    match kind {
        ImageKind::Png => ImageFormat::Png,
        ImageKind::Svg => ImageFormat::Svg,
    }
}

fn executed(upstream: &[&Results], store: &Store) -> Result<Option<Executed>> {
    let digest = upstream
        .iter()
        .flat_map(|results| results.iter())
        .find(|(name, _)| **name == *EXECUTED)
        .map(|(_, digest)| *digest);
    let Some(digest) = digest else {
        return Ok(None);
    };
    let bytes = store.read_blob(&digest)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Converts diagnostics of a worker to the form in which they are remembered.
///
/// Diagnostics of an execution are stored relative to the code cells, so that an edit of the prose above does not make
/// a remembered error point to the wrong line.
pub(crate) fn to_remembered(recipe: &Recipe, mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let Some(cells) = executed_cells(recipe) else {
        return diagnostics;
    };
    for diagnostic in &mut diagnostics {
        let index = cells
            .iter()
            .position(|cell| Some(cell.number) == diagnostic.cell);
        let Some(index) = index else { continue };
        diagnostic.cell = Some(index as u32);
        diagnostic.line = match (diagnostic.line, cells[index].line) {
            (Some(line), Some(start)) => Some(line.saturating_sub(start)),
            _ => None,
        };
    }
    diagnostics
}

/// The reverse of [`to_remembered`], for the deck as it is now.
pub(crate) fn from_remembered(
    recipes: &Recipes<'_>,
    index: ActionIndex,
    mut diagnostics: Vec<Diagnostic>,
) -> Vec<Diagnostic> {
    if diagnostics.is_empty() {
        return diagnostics;
    }
    let recipe = recipes.recipe(index);
    let Some(cells) = recipe.as_deref().and_then(executed_cells) else {
        return diagnostics;
    };
    for diagnostic in &mut diagnostics {
        let cell = diagnostic.cell.and_then(|index| cells.get(index as usize));
        let Some(cell) = cell else { continue };
        diagnostic.cell = Some(cell.number);
        diagnostic.line = match (diagnostic.line, cell.line) {
            (Some(offset), Some(start)) => Some(start + offset),
            (None, start) => start,
            (Some(_), None) => None,
        };
    }
    diagnostics
}

/// Adds advice to errors for which their worker gave no hint.
pub(crate) fn with_hints(kind: ActionKind, mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    for diagnostic in &mut diagnostics {
        if diagnostic.severity != Severity::Error || diagnostic.hint.is_some() {
            continue;
        }
        let hint = match kind {
            ActionKind::Html => {
                "look at the cell's outputs: they may not be what nbconvert expects"
            }
            _ => continue,
        };
        diagnostic.hint = Some(hint.to_owned());
    }
    diagnostics
}

fn executed_cells(recipe: &Recipe) -> Option<&[ExecutionCell]> {
    match &recipe.make {
        Make::Execute(work) if recipe.kind == ActionKind::Execute => Some(&work.cells),
        _ => None,
    }
}

/// Returns the files that the worker itself reads while it runs: if they change meanwhile, its result must not be used.
pub(crate) fn files_read_by_worker(recipe: &Recipe) -> Vec<&crate::course::RelPath> {
    match &recipe.make {
        Make::Execute(work) => work.files.iter().map(|(source, _)| source).collect(),
        _ => Vec::new(),
    }
}

/// Returns what reports the progress of an action's request.
pub(crate) fn progress_sink(events: &Events, action: &Action) -> ProgressSink {
    let events = events.clone();
    let (id, kind) = (action.id.to_string(), action.kind);
    Arc::new(move |progress: Progress| {
        events.emit(Event::Progress {
            action: id.clone(),
            kind,
            done: progress.done,
            total: progress.total,
            label: progress.label,
        });
    })
}
