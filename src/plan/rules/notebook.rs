//! The rule for notebooks of a folder without `course.xml`: one execution, a page, an executed notebook.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use regex::Regex;

use crate::course::deck::plain::{self, Plain};
use crate::course::deck::{self, CellKind, ExecutionCell, Notebook};
use crate::course::layout::{DeckOutput, DeckOutputs};
use crate::course::spec::{Execute, FOLDER_LANG, Folder, Spec};
use crate::course::tree::{DeckFile, Tree, beside, text_of, with_extension};
use crate::course::{Format, Names, ProgLang, RelPath};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::events::ActionKind;
use crate::plan::action::{
    ActionIndex, EXECUTED, ExecuteWork, Make, NotebookWork, Output, Recipe, Stored,
};
use crate::plan::{Context, KeyParts, MISSING, Source, lfs_pointer, unreadable};

use super::deck::{attach, cells_digest};

/// The name of the page in the result of its action.
pub(crate) const PAGE: &str = "page";

/// Files that are read by compiled libraries, of which a Python kernel does not learn. What it opens itself is discovered:
/// if that counted as well, a notebook that writes a file would have another key afterwards.
const READ_UNSEEN: [&str; 15] = [
    "arrow", "db", "duckdb", "feather", "grib", "h5", "hdf", "hdf5", "nc", "orc", "parquet", "shp",
    "sqlite", "tif", "tiff",
];

/// A text in code that may name a file.
static FILE_NAME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"["']((?:[\w.-]+/)*[\w. -]*\w\.\w{1,8})["']"#).expect("the pattern is constant")
});

/// The cells that are executed, and the name of their kernel.
type Run = (Arc<[ExecutionCell]>, Arc<str>);

/// A notebook and its place in the folder.
struct Entry<'a> {
    context: &'a Context<'a>,
    folder: &'a Folder,
    file: &'a DeckFile,
    source: Option<Source>,
    /// Index of its first action.
    first: ActionIndex,
}

/// Plans all actions of one notebook; `first` is the index of the first of them in the plan.
pub(crate) fn actions(
    context: &Context<'_>,
    folder: &Folder,
    outputs: &DeckOutputs,
    first: ActionIndex,
) -> Vec<Recipe> {
    let section = &context.tree.sections[outputs.section];
    let file = &section.topics[outputs.topic].decks[outputs.deck];
    let entry = Entry {
        context,
        folder,
        file,
        source: context.files.read(&file.path),
        first,
    };
    let found = entry.read();
    let found = match found {
        Ok(found) => found,
        Err(diagnostic) => {
            let recipes = outputs.outputs.iter();
            let failed = |output: &DeckOutput| {
                let make = Make::Invalid(vec![diagnostic.clone()]);
                entry.shown(output, KeyParts::default(), make, Vec::new())
            };
            return recipes.map(failed).collect();
        }
    };
    entry.plan(&found, &outputs.outputs)
}

/// Returns the place of the executed notebook beside its source, if there is to be one.
pub(crate) fn notebook_beside(
    spec: &Spec,
    tree: &Tree,
    deck: &DeckOutputs,
    names: &Names,
) -> Option<Arc<str>> {
    let folder = spec.folder.as_ref()?;
    let file = &tree.sections[deck.section].topics[deck.topic].decks[deck.deck];
    let is_made = deck
        .outputs
        .iter()
        .any(|output| output.format == Format::Notebook);
    (folder.beside && is_made).then(|| names.of(&name_beside(&file.path)))
}

/// Returns the name of an executed notebook beside its source, which stays as it is.
fn name_beside(source: &RelPath) -> String {
    let is_notebook = source.extension() == "ipynb";
    with_extension(
        source,
        if is_notebook {
            "executed.ipynb"
        } else {
            "ipynb"
        },
    )
}

impl Entry<'_> {
    fn read(&self) -> Result<Plain, Diagnostic> {
        let path = &self.file.path;
        let Some(source) = &self.source else {
            return Err(unreadable(self.context.files, path));
        };
        if let Some(pointer) = lfs_pointer(self.context.files, path) {
            return Err(pointer);
        }
        let text = text_of(&source.bytes).map_err(|error| error.diagnostic("notebook", path))?;
        let found = plain::read(path, text)?;
        found.ok_or_else(|| Diagnostic::error("it is no notebook any more").at(path.as_str(), None))
    }

    fn plan(&self, found: &Plain, outputs: &[DeckOutput]) -> Vec<Recipe> {
        let (cells, warning) = self.cells_to_run(found);
        let mut recipes = Vec::new();
        let mut after = Vec::new();
        let executed = cells.map(|(cells, kernel)| {
            after.push(self.first);
            recipes.push(self.execution(found, Arc::clone(&cells), kernel));
            cells
        });
        for output in outputs {
            let is_page = output.format == Format::Html;
            let notebook = self.notebook(found, is_page, executed.as_deref());
            let mut parts = match is_page {
                true => {
                    let renderer = self.context.tools.html.as_deref();
                    KeyParts::default().with("renderer", renderer.unwrap_or(MISSING))
                }
                false => KeyParts::default().with("writer", deck::WRITER_VERSION),
            };
            parts.push("notebook", Digest::of(notebook.to_json()));
            if let Some(cells) = &executed {
                parts.push("results", results_of(cells));
            }
            let work = NotebookWork {
                notebook: Arc::new(notebook),
                executed: executed.clone(),
            };
            recipes.push(self.shown(output, parts, Make::Notebook(work), after.clone()));
        }
        for recipe in &mut recipes {
            recipe.warnings.extend(warning.clone());
            recipe.warnings.extend_from_slice(&found.deck.lost);
        }
        recipes
    }

    /// Returns the cells that are executed, and the kernel; `None` if nothing is. The warning says why, if nobody asked
    /// for that.
    fn cells_to_run(&self, found: &Plain) -> (Option<Run>, Option<Diagnostic>) {
        let cells = execution_cells(found);
        let is_wanted = self.folder.execute != Execute::Never && !found.skip;
        if !is_wanted || cells.is_empty() {
            return (None, None);
        }
        let known = |name: &&str| self.context.tools.kernels.contains_key(*name);
        let named = found.kernel.as_deref();
        // Kernels of single machines, such as `conda-env-x-py`, are replaced by the usual one of their language.
        let kernel = named
            .filter(known)
            .or(self.folder.kernel.as_deref())
            .or(found.prog_lang.map(deck::kernel_name));
        match kernel {
            Some(kernel) => (Some((cells.into(), kernel.into())), None),
            None => {
                let what = match named {
                    Some(name) => format!("the kernel `{name}` is not installed"),
                    None => "the notebook names neither a kernel nor a language".to_owned(),
                };
                let warning = Diagnostic::warning(format!(
                    "{what}, so that the notebook is not executed"
                ))
                .at(self.file.path.as_str(), None)
                .hint("name an installed kernel: `kernel` in the section `[folder]` of `clm.toml`");
                (None, Some(warning))
            }
        }
    }

    fn execution(&self, found: &Plain, cells: Arc<[ExecutionCell]>, kernel: Arc<str>) -> Recipe {
        let path = &self.file.path;
        let directory = path
            .parent()
            .map_or_else(String::new, |dir| dir.to_string());
        let cell_timeout = self.context.settings.notebook.cell_timeout;
        let environment = self.context.tools.kernels.get(&*kernel);
        let mut parts = KeyParts::default()
            .with("code", cells_digest(&cells))
            .with("kernel", &kernel)
            .with("environment", environment.map_or(MISSING, String::as_str))
            .with("directory", &directory)
            .with("cell time-out", cell_timeout);
        let source = self.source.as_ref();
        let mut inputs: Vec<_> = source
            .map(|source| (path.clone(), source.digest))
            .into_iter()
            .collect();
        for file in self.named_files(found, &cells) {
            let digest = self.context.files.digest(&file);
            // A file that is not there may be one that the notebook writes.
            if let Some(digest) = digest {
                parts.push(format!("file {file}"), digest);
                inputs.push((file, digest));
            }
        }
        Recipe {
            id: format!("execute {path}"),
            kind: ActionKind::Execute,
            source: path.clone(),
            inputs,
            parts,
            after: Vec::new(),
            make: Make::Execute(ExecuteWork {
                prog_lang: found.prog_lang.unwrap_or(ProgLang::Python),
                stored: self
                    .folder
                    .trust_outputs
                    .then(|| stored(found, &cells))
                    .flatten(),
                cells,
                kernel,
                files: Vec::new(),
                directory: Some(directory.into()),
                skip_errors: false,
                cell_timeout,
            }),
            outputs: vec![Output {
                name: self.context.names.of(EXECUTED),
                destinations: Box::default(),
            }],
            warnings: Vec::new(),
        }
    }

    /// Returns the files of the folder that the code names, and that may be read unseen.
    fn named_files(&self, found: &Plain, cells: &[ExecutionCell]) -> BTreeSet<RelPath> {
        let is_python = found.prog_lang == Some(ProgLang::Python);
        let is_unseen = |path: &RelPath| !is_python || READ_UNSEEN.contains(&path.extension());
        let names = cells
            .iter()
            .flat_map(|cell| FILE_NAME.captures_iter(&cell.source));
        let paths = names.filter_map(|name| beside(&self.file.path, &name[1]));
        paths
            .filter(|path| *path != self.file.path && is_unseen(path))
            .collect()
    }

    /// Returns the notebook as it is shown, without the results of `executed`.
    fn notebook(
        &self,
        found: &Plain,
        is_page: bool,
        executed: Option<&[ExecutionCell]>,
    ) -> Notebook {
        let mut notebook = plain::notebook_with_outputs(found);
        let urls = self.file.urls.iter();
        let urls: BTreeMap<String, String> = urls
            .map(|new| {
                let shown = if is_page {
                    &new.in_page
                } else {
                    &new.in_notebook
                };
                (new.url.clone(), shown.clone())
            })
            .collect();
        let is_run = |origin: usize| {
            let mut cells = executed.into_iter().flatten();
            cells.any(|cell| cell.origin == origin)
        };
        for cell in &mut notebook.cells {
            if cell.kind == CellKind::Markdown {
                cell.source = plain::relinked(&cell.source, &urls);
            }
            if is_run(cell.origin) {
                cell.outputs.clear();
                cell.execution_count = None;
            }
        }
        if is_page {
            let title = self.file.title.get(FOLDER_LANG);
            notebook.metadata.insert("title".to_owned(), title.into());
        }
        notebook
    }

    fn shown(
        &self,
        output: &DeckOutput,
        parts: KeyParts,
        make: Make,
        after: Vec<ActionIndex>,
    ) -> Recipe {
        let path = &self.file.path;
        let is_page = output.format == Format::Html;
        let (kind, word, name) = match is_page {
            true => (ActionKind::Html, "html", format!("{PAGE}.html")),
            false => (ActionKind::Deck, "notebook", "executed.ipynb".to_owned()),
        };
        let mut destinations = self
            .context
            .destinations_of(&output.destinations)
            .into_vec();
        if !is_page && self.folder.beside {
            destinations.push(self.context.names.of(&name_beside(path)));
        }
        let source = self.source.as_ref();
        let inputs = source.map(|source| (path.clone(), source.digest));
        Recipe {
            id: format!("{word} {path}"),
            kind,
            source: path.clone(),
            inputs: inputs.into_iter().collect(),
            parts,
            after,
            make,
            outputs: vec![Output {
                name: self.context.names.of(&name),
                destinations: destinations.into(),
            }],
            warnings: Vec::new(),
        }
    }
}

/// Returns the notebook with the results of its execution.
pub(crate) fn with_results(
    work: &NotebookWork,
    results: &[(Vec<serde_json::Value>, Option<i64>)],
    widgets: Option<&serde_json::Value>,
) -> Notebook {
    let mut notebook = Notebook::clone(&work.notebook);
    if let Some(cells) = &work.executed {
        attach(&mut notebook, cells, results, widgets);
    }
    notebook
}

fn execution_cells(found: &Plain) -> Vec<ExecutionCell> {
    let cells = found.deck.cells.iter().zip(&found.stored).enumerate();
    cells
        .filter(|(_, (cell, stored))| {
            cell.kind == CellKind::Code && !stored.is_skipped && !cell.source.trim().is_empty()
        })
        .map(|(origin, (cell, stored))| {
            ExecutionCell::of(origin, cell, stored.may_fail || found.allow_errors)
        })
        .collect()
}

/// Returns the results in the file, if it has those of all cells, and no exception that is not expected: then it was saved
/// after a complete execution.
fn stored(found: &Plain, cells: &[ExecutionCell]) -> Option<Stored> {
    let results = cells.iter().map(|cell| {
        let stored = found.stored.get(cell.origin)?;
        let count = stored.execution_count?;
        let has_failed = stored.outputs.iter().any(|it| it["output_type"] == "error");
        (cell.may_fail || !has_failed).then_some(())?;
        Some((stored.outputs.clone(), Some(count)))
    });
    results.collect::<Option<Vec<_>>>().map(Arc::from)
}

/// Lists the cells whose results are shown.
fn results_of(cells: &[ExecutionCell]) -> String {
    let numbers: Vec<String> = cells.iter().map(|cell| cell.origin.to_string()).collect();
    numbers.join(" ")
}
