//! Decks: notebooks and scripts, one execution for each language, and pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::course::deck::{self, Deck, DeckSource, ExecutionCell, Notebook, View};
use crate::course::layout::{DeckOutput, DeckOutputs};
use crate::course::spec::TopicRef;
use crate::course::tree::{DeckFile, Topic};
use crate::course::{Format, Kind, Lang, RelPath};
use crate::digest::Digest;
use crate::events::{ActionKind, Diagnostic};
use crate::plan::action::{Action, DeckWork, EXECUTED, ExecuteWork, HtmlWork, Make, Output};
use crate::plan::{Context, KeyParts, MISSING, Source, unreadable};

/// A deck and where it stands in the course.
struct Entry<'a> {
    context: &'a Context<'a>,
    reference: &'a TopicRef,
    topic: &'a Topic,
    file: &'a DeckFile,
    source: Option<Source>,
}

/// What reading a deck for one language and format gave.
struct Reading {
    deck: Result<Arc<Deck>, Diagnostic>,
    /// Key components of everything that was read.
    parts: KeyParts,
    inputs: Vec<(RelPath, Digest)>,
}

/// Adds all actions of one deck.
pub fn add(context: &Context<'_>, outputs: &DeckOutputs, actions: &mut Vec<Action>) {
    let section = &context.tree.sections[outputs.section];
    let topic = &section.topics[outputs.topic];
    let file = &topic.decks[outputs.deck];
    let entry = Entry {
        context,
        reference: &context.spec.sections[section.index].topics[topic.topic],
        topic,
        file,
        source: (context.read)(&file.path),
    };
    let mut by_view: BTreeMap<(Lang, Format), Vec<&DeckOutput>> = BTreeMap::new();
    for output in &outputs.outputs {
        by_view
            .entry((output.lang, output.format))
            .or_default()
            .push(output);
    }
    for ((lang, format), outputs) in by_view {
        let reading = entry.read(lang, format);
        match format {
            Format::Html => entry.add_pages(lang, &reading, &outputs, actions),
            Format::Notebook | Format::Code => {
                for output in outputs {
                    actions.push(entry.written(output, &reading));
                }
            }
        }
    }
}

impl Entry<'_> {
    fn author(&self) -> &str {
        self.reference
            .author
            .as_deref()
            .unwrap_or(&self.context.spec.author)
    }

    /// Applies Jinja and reads the cells.
    fn read(&self, lang: Lang, format: Format) -> Reading {
        let organization = self.context.organization(lang);
        let mut parts = KeyParts::default()
            .with("deck", digest_text(self.source.as_ref().map(|s| s.digest)))
            .with("language", lang)
            .with("format", format)
            .with("programming language", self.file.prog_lang)
            .with("author", self.author())
            .with("organization", organization)
            .with("macros", Digest::of(deck::templates()))
            .with("writer", deck::WRITER_VERSION);
        let mut inputs: Vec<(RelPath, Digest)> = Vec::new();
        let Some(source) = &self.source else {
            let diagnostic = unreadable(&self.file.path).remove(0);
            return Reading {
                deck: Err(diagnostic),
                parts,
                inputs,
            };
        };
        inputs.push((self.file.path.clone(), source.digest));
        let deck = self.read_cells(source, lang, format, organization);
        for name in deck.as_ref().map_or(&[][..], |deck| &deck.included) {
            let path = self.topic.home.join(name).ok();
            let digest = path.as_ref().and_then(|path| (self.context.digest)(path));
            parts.push(format!("included {name}"), digest_text(digest));
            inputs.extend(path.zip(digest));
        }
        Reading {
            deck: deck.map(Arc::new),
            parts,
            inputs,
        }
    }

    fn read_cells(
        &self,
        source: &Source,
        lang: Lang,
        format: Format,
        organization: &str,
    ) -> Result<Deck, Diagnostic> {
        let text = std::str::from_utf8(&source.bytes).map_err(|_| {
            Diagnostic::error("the deck is not UTF-8 text").at(self.file.path.as_str(), None)
        })?;
        let sibling = |name: &str| -> Option<String> {
            let path = self.topic.home.join(name).ok()?;
            String::from_utf8((self.context.read)(&path)?.bytes.to_vec()).ok()
        };
        deck::read(
            &DeckSource {
                path: &self.file.path,
                text,
                prog_lang: self.file.prog_lang,
            },
            &View {
                lang,
                format,
                author: self.author(),
                organization,
            },
            &sibling,
        )
    }

    /// The action that writes one notebook or script.
    fn written(&self, output: &DeckOutput, reading: &Reading) -> Action {
        let extension = match output.format {
            Format::Code => self.file.prog_lang.extension(),
            _ => "ipynb",
        };
        Action {
            id: format!(
                "{} {} {} {}",
                output.format, self.file.path, output.lang, output.kind
            ),
            kind: ActionKind::Deck,
            source: self.file.path.clone(),
            inputs: reading.inputs.clone(),
            parts: reading.parts.clone().with("kind", output.kind),
            after: Vec::new(),
            make: match &reading.deck {
                Ok(deck) => Make::Deck(DeckWork {
                    deck: Arc::clone(deck),
                    prog_lang: self.file.prog_lang,
                    lang: output.lang,
                    format: output.format,
                    kind: output.kind,
                }),
                Err(diagnostic) => Make::Invalid(vec![diagnostic.clone()]),
            },
            outputs: vec![Output {
                name: format!("{}.{extension}", output.kind),
                destinations: self.context.destinations(&output.destinations),
            }],
            warnings: match output.format {
                Format::Code => deck::code_limits(self.file.prog_lang).into_iter().collect(),
                _ => Vec::new(),
            },
        }
    }

    /// The execution, and the pages with and without results.
    fn add_pages(
        &self,
        lang: Lang,
        reading: &Reading,
        outputs: &[&DeckOutput],
        actions: &mut Vec<Action>,
    ) {
        let deck = match &reading.deck {
            Ok(deck) => deck,
            Err(diagnostic) => {
                let mut action = self.pages(lang, None, outputs, reading);
                action.make = Make::Invalid(vec![diagnostic.clone()]);
                actions.push(action);
                return;
            }
        };
        let cells: Arc<[ExecutionCell]> =
            deck::execution_cells(deck, lang, self.file.prog_lang).into();
        let executes = self.reference.evaluate && !cells.is_empty();
        let (executed, plain): (Vec<&DeckOutput>, Vec<&DeckOutput>) = outputs
            .iter()
            .partition(|output| executes && output.kind.is_executed());

        if !plain.is_empty() {
            actions.push(self.pages(lang, None, &plain, reading));
        }
        if !executed.is_empty() {
            let execution = actions.len();
            actions.push(self.execution(lang, Arc::clone(&cells), reading));
            let mut pages = self.pages(lang, Some(cells), &executed, reading);
            pages.after.push(execution);
            actions.push(pages);
        }
    }

    fn execution(&self, lang: Lang, cells: Arc<[ExecutionCell]>, reading: &Reading) -> Action {
        let prog_lang = self.file.prog_lang;
        let kernel = deck::kernel_name(prog_lang);
        let cell_timeout = self.context.settings.notebook.cell_timeout;
        let environment = self.context.tools.kernels.get(kernel);
        let mut parts = KeyParts::default()
            .with("code", cells_digest(&cells))
            .with("kernel", kernel)
            .with("environment", environment.map_or(MISSING, String::as_str))
            .with("skip errors", self.reference.skip_errors)
            .with("cell time-out", cell_timeout);
        let files = self.topic.siblings(self.file);
        // Prose is no input of an execution: only an edit of the code cells counts, and that is in the key.
        let mut inputs: Vec<(RelPath, Digest)> = reading.inputs.clone();
        for (source, at) in &files {
            let digest = (self.context.digest)(source);
            parts.push(format!("file {at}"), digest_text(digest));
            inputs.extend(digest.map(|digest| (source.clone(), digest)));
        }
        Action {
            id: format!("execute {} {lang}", self.file.path),
            kind: ActionKind::Execute,
            source: self.file.path.clone(),
            inputs,
            parts,
            after: Vec::new(),
            make: Make::Execute(ExecuteWork {
                cells,
                prog_lang,
                kernel,
                files,
                skip_errors: self.reference.skip_errors,
                cell_timeout,
            }),
            outputs: vec![Output {
                name: EXECUTED.to_owned(),
                destinations: Vec::new(),
            }],
            warnings: Vec::new(),
        }
    }

    fn pages(
        &self,
        lang: Lang,
        executed: Option<Arc<[ExecutionCell]>>,
        outputs: &[&DeckOutput],
        reading: &Reading,
    ) -> Action {
        let renderer = self.context.tools.html.as_deref().unwrap_or(MISSING);
        let mut parts = KeyParts::default().with("renderer", renderer);
        let mut warnings = Vec::new();
        if let Ok(deck) = &reading.deck {
            for output in outputs {
                let (notebook, mut found) =
                    deck::notebook(deck, output.kind, lang, self.file.prog_lang);
                parts.push(
                    format!("page {}", output.kind),
                    Digest::of(notebook.to_json()),
                );
                if let Some(cells) = &executed {
                    parts.push(
                        format!("results of {}", output.kind),
                        results_shown(&notebook, cells),
                    );
                }
                for warning in &mut found {
                    warning
                        .file
                        .get_or_insert_with(|| self.file.path.to_string());
                }
                warnings.append(&mut found);
            }
        } else {
            parts = reading.parts.clone();
        }
        warnings.sort_by_key(|warning| (warning.line, warning.cell));
        warnings.dedup();
        let what = if executed.is_some() {
            "executed"
        } else {
            "plain"
        };
        Action {
            id: format!("html {} {lang} {what}", self.file.path),
            kind: ActionKind::Html,
            source: self.file.path.clone(),
            inputs: reading.inputs.clone(),
            parts,
            after: Vec::new(),
            make: match &reading.deck {
                Ok(deck) => Make::Html(HtmlWork {
                    deck: Arc::clone(deck),
                    prog_lang: self.file.prog_lang,
                    lang,
                    kinds: outputs.iter().map(|output| output.kind).collect(),
                    executed,
                }),
                Err(diagnostic) => Make::Invalid(vec![diagnostic.clone()]),
            },
            outputs: outputs
                .iter()
                .map(|output| Output {
                    name: format!("{}.html", output.kind),
                    destinations: self.context.destinations(&output.destinations),
                })
                .collect(),
            warnings,
        }
    }
}

/// The bytes of a notebook or script.
pub fn written(work: &DeckWork) -> String {
    let (notebook, _) = deck::notebook(&work.deck, work.kind, work.lang, work.prog_lang);
    match work.format {
        Format::Code => deck::code(&notebook, &work.deck, work.prog_lang),
        _ => notebook.to_ipynb(),
    }
}

/// The notebook behind one page; `results` are those of the work's execution cells, in order.
pub fn page(
    work: &HtmlWork,
    kind: Kind,
    results: &[(Vec<serde_json::Value>, Option<i64>)],
) -> Notebook {
    let (mut notebook, _) = deck::notebook(&work.deck, kind, work.lang, work.prog_lang);
    if let Some(cells) = &work.executed {
        deck::attach(&mut notebook, cells, results);
    }
    notebook
}

/// Which result belongs to which cell of a page: the numbers of the execution's cells, `-` for none.
fn results_shown(notebook: &Notebook, cells: &[ExecutionCell]) -> String {
    let numbers: Vec<String> = notebook
        .cells
        .iter()
        .map(|cell| {
            cells
                .iter()
                .position(|executed| executed.origin == cell.origin)
                .map_or_else(|| "-".to_owned(), |number| number.to_string())
        })
        .collect();
    numbers.join(" ")
}

fn digest_text(digest: Option<Digest>) -> String {
    digest.map_or_else(|| "absent".to_owned(), |digest| digest.to_string())
}

/// The digest of what a kernel is sent: sources and whether they may fail, not where they stand in the deck.
fn cells_digest(cells: &[ExecutionCell]) -> Digest {
    let mut parts = KeyParts::default();
    for cell in cells {
        parts.push(
            if cell.may_fail { "may fail" } else { "cell" },
            &cell.source,
        );
    }
    parts.key()
}
