//! The rule for decks: notebooks and scripts, one execution for each language, and pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::course::deck::{
    self, Companion, Deck, DeckSource, ExecutionCell, Notebook, Reader, Surroundings, View,
};
use crate::course::layout::{DeckOutput, DeckOutputs};
use crate::course::spec::TopicRef;
use crate::course::tree::{DeckFile, Topic, text_of};
use crate::course::{Format, Kind, Lang, ProgLang, RelPath};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::events::ActionKind;
use crate::plan::action::{
    ActionIndex, DeckWork, EXECUTED, ExecuteWork, HtmlWork, InlineImage, Make, Output, Recipe,
};
use crate::plan::{Context, KeyParts, MISSING, Source, lfs_pointer, unreadable};

use super::program::{self, Programs};
use super::surroundings::{self, Found, Rendered};
use super::warnings;

/// Data URLs of images, by the URLs in the deck.
pub(crate) type DataUrls = BTreeMap<String, String>;

/// A deck and its place in the course.
struct Entry<'a> {
    context: &'a Context<'a>,
    reference: &'a TopicRef,
    topic: &'a Topic,
    /// Index of its section in the specification.
    section: usize,
    file: &'a DeckFile,
    source: Option<Source>,
    rendered: &'a Rendered,
    /// Index of its first action.
    first: ActionIndex,
}

/// The result of reading a deck for one language and format.
struct Reading {
    deck: Result<Arc<Deck>, Diagnostic>,
    /// The images and decks that it refers to.
    found: Option<Found>,
    /// Key components of everything that was read.
    parts: KeyParts,
    inputs: Vec<(RelPath, Digest)>,
}

/// Plans all actions of one deck; `first` is the index of the first of them in the plan.
pub(crate) fn actions(
    context: &Context<'_>,
    outputs: &DeckOutputs,
    rendered: &Rendered,
    first: ActionIndex,
) -> (Vec<Recipe>, Programs) {
    let section = &context.tree.sections[outputs.section];
    let topic = &section.topics[outputs.topic];
    let file = &topic.decks[outputs.deck];
    let entry = Entry {
        context,
        reference: &context.spec.sections[section.index].topics[topic.topic],
        topic,
        section: section.index,
        file,
        source: context.files.read(&file.path),
        rendered,
        first,
    };
    let mut by_view: BTreeMap<(Lang, Format), Vec<&DeckOutput>> = BTreeMap::new();
    for output in &outputs.outputs {
        let views = by_view.entry((output.lang, output.format));
        views.or_default().push(output);
    }
    let narration = entry.narration();
    let mut reader = entry.reader(&narration);
    let mut actions = Vec::new();
    let mut programs = Programs::default();
    let mut warnings = Vec::new();
    let mut is_checked = false;
    for ((lang, format), views) in by_view {
        let reading = entry.read(&mut reader, lang, format);
        if let (Ok(deck), Some(found)) = (&reading.deck, &reading.found) {
            if !is_checked {
                // The cells of the author are the same in every view, so one check is enough.
                warnings.extend(warnings::of_deck(context, section, topic, file, deck));
                is_checked = true;
            }
            let of_view = deck.lost.iter().chain(&found.warnings);
            warnings.extend(of_view.cloned());
        }
        match format {
            Format::Html => entry.add_pages(lang, &reading, &views, &mut actions),
            Format::Notebook | Format::Code => {
                for output in views {
                    entry.add_written(output, &reading, &mut actions, &mut programs);
                }
            }
        }
    }
    // Every output gets the warnings of the deck, so that they are reported whichever outputs are selected.
    let warnings = warnings::grouped(warnings);
    for action in &mut actions {
        action.warnings.extend_from_slice(&warnings);
    }
    (actions, programs)
}

impl Entry<'_> {
    fn author(&self) -> &str {
        self.reference
            .author
            .as_deref()
            .unwrap_or(&self.context.spec.author)
    }

    /// Applies Jinja and reads the cells.
    fn read(
        &self,
        reader: &mut Result<Reader<'_>, Diagnostic>,
        lang: Lang,
        format: Format,
    ) -> Reading {
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
        let source = self.source.as_ref();
        inputs.extend(source.map(|source| (self.file.path.clone(), source.digest)));
        if let Some(path) = &self.file.companion {
            let digest = self.context.files.digest(path);
            parts.push("narration", digest_text(digest));
            inputs.extend(digest.map(|digest| (path.clone(), digest)));
        }
        let load = |name: &str| self.text_of(&self.template(name)?);
        let view = View {
            lang,
            format,
            author: self.author(),
            organization,
        };
        let deck = match reader {
            Ok(reader) => reader.read(&view, &load),
            Err(diagnostic) => Err(diagnostic.clone()),
        };
        for name in deck.as_ref().map_or(&[][..], |deck| &deck.included) {
            let path = self.template(name);
            let digest = path
                .as_ref()
                .and_then(|path| self.context.files.digest(path));
            parts.push(format!("included {name}"), digest_text(digest));
            inputs.extend(path.zip(digest));
        }
        let found = deck.as_ref().ok().map(|deck| {
            surroundings::find(self.context, self.topic, deck, self.section, lang, format)
        });
        let error = found.as_ref().and_then(|found| found.error.clone());
        let deck = error.map_or(deck, Err);
        Reading {
            deck,
            found,
            parts,
            inputs,
        }
    }

    /// Returns the file of the template with this name: one of the course's own templates, or a file of the topic.
    fn template(&self, name: &str) -> Option<RelPath> {
        let is_there = |path: &RelPath| self.context.files.digest(path).is_some();
        let own = self.context.settings.notebook.templates.iter();
        let own = own
            .flat_map(|dir| {
                [
                    format!("{dir}/{}/{name}", self.file.prog_lang),
                    format!("{dir}/{name}"),
                ]
            })
            .filter_map(|path| RelPath::new(&path).ok())
            .find(is_there);
        if own.is_some() || name == deck::MACROS_NAME {
            return own;
        }
        let place = self.topic.home.join(name).ok()?;
        Some(self.topic.included_at(&place).cloned().unwrap_or(place))
    }

    /// Returns the text of a file of the course, if the file exists and is UTF-8.
    fn text_of(&self, path: &RelPath) -> Option<String> {
        String::from_utf8(self.context.files.read(path)?.bytes.to_vec()).ok()
    }

    /// Reads the deck's separate narration file, if there is one.
    fn narration(&self) -> Result<Option<String>, Diagnostic> {
        let Some(path) = &self.file.companion else {
            return Ok(None);
        };
        let Some(source) = self.context.files.read(path) else {
            return Err(unreadable(self.context.files, path));
        };
        match text_of(&source.bytes) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(error) => Err(error.diagnostic("narration", path)),
        }
    }

    /// Creates a reader of the deck and its narration, which reads one view after the other.
    fn reader<'s>(
        &'s self,
        narration: &'s Result<Option<String>, Diagnostic>,
    ) -> Result<Reader<'s>, Diagnostic> {
        let Some(source) = &self.source else {
            return Err(unreadable(self.context.files, &self.file.path));
        };
        for path in std::iter::once(&self.file.path).chain(&self.file.companion) {
            if let Some(pointer) = lfs_pointer(self.context.files, path) {
                return Err(pointer);
            }
        }
        let text =
            text_of(&source.bytes).map_err(|error| error.diagnostic("deck", &self.file.path))?;
        let narration = narration.as_ref().map_err(Clone::clone)?;
        let companion = self.file.companion.as_ref().zip(narration.as_ref());
        Ok(Reader::new(&DeckSource {
            path: &self.file.path,
            text,
            prog_lang: self.file.prog_lang,
            companion: companion.map(|(path, text)| Companion { path, text }),
            has_templates: self.context.settings.notebook.templates.is_some(),
        }))
    }

    /// Returns the deck's name in the identities of actions.
    fn name(&self) -> &RelPath {
        &self.file.at
    }

    /// Plans the actions for a notebook, a script, or the files of a program.
    fn add_written(
        &self,
        output: &DeckOutput,
        reading: &Reading,
        actions: &mut Vec<Recipe>,
        programs: &mut Programs,
    ) {
        let mut action = self.written(output, reading);
        if output.format == Format::Code && self.file.prog_lang == ProgLang::Cpp {
            let deck = program::Source {
                context: self.context,
                file: self.file,
                topic: (self.section, &self.topic.id),
                bytes: self.source.as_ref().map(|source| &source.bytes),
            };
            program::make(&deck, output, &mut action, actions, programs);
        }
        actions.push(action);
    }

    /// Plans the action that writes one notebook or script.
    fn written(&self, output: &DeckOutput, reading: &Reading) -> Recipe {
        let extension = match output.format {
            Format::Code => self.file.prog_lang.extension(),
            _ => "ipynb",
        };
        let mut action = Recipe {
            id: format!(
                "{} {} {} {}",
                output.format,
                self.name(),
                output.lang,
                output.kind
            ),
            kind: ActionKind::Deck,
            source: self.file.path.clone(),
            inputs: reading.inputs.clone(),
            parts: reading.parts.clone().with("kind", output.kind),
            after: Vec::new(),
            make: Make::Invalid(Vec::new()),
            outputs: vec![Output {
                name: (self.context.names).of(&format!("{}.{extension}", output.kind)),
                destinations: self.context.destinations_of(&output.destinations),
            }],
            warnings: Vec::new(),
        };
        action.make = match (&reading.deck, &reading.found) {
            (Ok(deck), Some(found)) => {
                action.parts.extend(&found.parts);
                let mut work = DeckWork {
                    deck: Arc::clone(deck),
                    prog_lang: self.file.prog_lang,
                    lang: output.lang,
                    format: output.format,
                    kind: output.kind,
                    surroundings: Arc::clone(&found.surroundings),
                    images: Vec::new(),
                };
                if self.context.spec.images.inline {
                    let notebook = notebook_of(&work, work.kind, &found.surroundings);
                    work.images = self.inline(&mut action, std::iter::once(&notebook));
                }
                Make::Deck(work)
            }
            (Err(diagnostic), _) => Make::Invalid(vec![diagnostic.clone()]),
            (Ok(_), None) => Make::Invalid(Vec::new()),
        };
        action
    }

    /// Makes an action depend on the images that are embedded in its notebooks, and returns them.
    fn inline<'n>(
        &self,
        action: &mut Recipe,
        notebooks: impl Iterator<Item = &'n Notebook>,
    ) -> Vec<InlineImage> {
        let first = action.after.len();
        let inlined =
            surroundings::inlined(self.context, self.topic, self.rendered, notebooks, first);
        action.after.extend(inlined.after);
        action.inputs.extend(inlined.inputs);
        action.parts.extend(&inlined.parts);
        inlined.images
    }

    /// Plans the execution, and the pages with and without results.
    fn add_pages(
        &self,
        lang: Lang,
        reading: &Reading,
        outputs: &[&DeckOutput],
        actions: &mut Vec<Recipe>,
    ) {
        let deck = match &reading.deck {
            Ok(deck) => deck,
            Err(diagnostic) => {
                let mut action = self.pages(lang, None, outputs, reading, Vec::new());
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
            actions.push(self.pages(lang, None, &plain, reading, Vec::new()));
        }
        if !executed.is_empty() {
            let execution = self.first + actions.len();
            actions.push(self.execution(lang, Arc::clone(&cells), reading));
            actions.push(self.pages(lang, Some(cells), &executed, reading, vec![execution]));
        }
    }

    fn execution(&self, lang: Lang, cells: Arc<[ExecutionCell]>, reading: &Reading) -> Recipe {
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
        // An execution depends only on the code cells, and their digest is already in the key. An edit of the prose
        // must not cause another execution, so the deck's digest is no component.
        let mut inputs: Vec<(RelPath, Digest)> = reading.inputs.clone();
        for (source, at) in &files {
            let digest = self.context.files.digest(source);
            parts.push(format!("file {at}"), digest_text(digest));
            inputs.extend(digest.map(|digest| (source.clone(), digest)));
        }
        Recipe {
            id: format!("execute {} {lang}", self.name()),
            kind: ActionKind::Execute,
            source: self.file.path.clone(),
            inputs,
            parts,
            after: Vec::new(),
            make: Make::Execute(ExecuteWork {
                cells,
                prog_lang,
                kernel: kernel.into(),
                files,
                directory: None,
                stored: None,
                skip_errors: self.reference.skip_errors,
                cell_timeout,
            }),
            outputs: vec![Output {
                name: self.context.names.of(EXECUTED),
                destinations: Box::default(),
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
        after: Vec<ActionIndex>,
    ) -> Recipe {
        let what = if executed.is_some() {
            "executed"
        } else {
            "plain"
        };
        let mut action = Recipe {
            id: format!("html {} {lang} {what}", self.name()),
            kind: ActionKind::Html,
            source: self.file.path.clone(),
            inputs: reading.inputs.clone(),
            parts: reading.parts.clone(),
            after,
            make: Make::Invalid(Vec::new()),
            outputs: outputs
                .iter()
                .map(|output| Output {
                    name: self.context.names.of(&format!("{}.html", output.kind)),
                    destinations: self.context.destinations_of(&output.destinations),
                })
                .collect(),
            warnings: Vec::new(),
        };
        if let (Ok(deck), Some(found)) = (&reading.deck, &reading.found) {
            let mut work = HtmlWork {
                deck: Arc::clone(deck),
                prog_lang: self.file.prog_lang,
                lang,
                kinds: outputs.iter().map(|output| output.kind).collect(),
                executed,
                surroundings: Arc::clone(&found.surroundings),
                images: Vec::new(),
            };
            let notebook = |kind: &Kind| notebook_of_page(&work, *kind, &work.surroundings);
            let notebooks: Vec<Notebook> = work.kinds.iter().map(notebook).collect();
            action.parts = self.key_of_pages(&work, &notebooks);
            work.images = self.inline(&mut action, notebooks.iter());
            action.make = Make::Html(work);
        }
        action
    }

    /// Returns what pages depend on: their notebooks, and the results that these show.
    fn key_of_pages(&self, work: &HtmlWork, notebooks: &[Notebook]) -> KeyParts {
        let renderer = self.context.tools.html.as_deref().unwrap_or(MISSING);
        let mut parts = KeyParts::default().with("renderer", renderer);
        for (kind, notebook) in work.kinds.iter().zip(notebooks) {
            parts.push(format!("page {kind}"), Digest::of(notebook.to_json()));
            if let Some(cells) = &work.executed {
                parts.push(format!("results of {kind}"), results_shown(notebook, cells));
            }
        }
        parts
    }
}

/// Returns the content of a notebook or script; `images` are the data URLs of the work's images.
pub(crate) fn written(work: &DeckWork, images: DataUrls) -> String {
    let notebook = notebook_of(work, work.kind, &with_images(&work.surroundings, images));
    match work.format {
        Format::Code => deck::script(&notebook, &work.deck, work.prog_lang),
        _ => notebook.to_ipynb(),
    }
}

/// Returns the notebook for an audience.
pub(crate) fn notebook_of(work: &DeckWork, kind: Kind, surroundings: &Surroundings) -> Notebook {
    deck::notebook_within(&work.deck, kind, work.lang, work.prog_lang, surroundings).0
}

fn with_images(surroundings: &Surroundings, data_urls: DataUrls) -> Surroundings {
    Surroundings {
        data_urls,
        ..surroundings.clone()
    }
}

fn notebook_of_page(work: &HtmlWork, kind: Kind, surroundings: &Surroundings) -> Notebook {
    deck::notebook_within(&work.deck, kind, work.lang, work.prog_lang, surroundings).0
}

/// Returns the notebook behind one page. `results` are those of the work's execution cells, in order; `images` are the
/// data URLs of its images.
pub(crate) fn page(
    work: &HtmlWork,
    kind: Kind,
    results: &[(Vec<serde_json::Value>, Option<i64>)],
    widgets: Option<&serde_json::Value>,
    images: DataUrls,
) -> Notebook {
    let surroundings = with_images(&work.surroundings, images);
    let mut notebook = notebook_of_page(work, kind, &surroundings);
    if let Some(cells) = &work.executed {
        attach(&mut notebook, cells, results, widgets);
    }
    notebook
}

/// Adds the results of an execution and its widgets to a notebook.
pub(super) fn attach(
    notebook: &mut Notebook,
    cells: &[ExecutionCell],
    results: &[(Vec<serde_json::Value>, Option<i64>)],
    widgets: Option<&serde_json::Value>,
) {
    deck::attach(notebook, cells, results);
    if let Some(widgets) = widgets {
        notebook
            .metadata
            .insert("widgets".to_owned(), widgets.clone());
    }
}

/// Lists for every cell of a page the number of the execution cell whose result it shows, or `-` for none.
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

/// Computes the digest of what is sent to a kernel: the sources and whether they may fail, not their lines in the deck.
pub(super) fn cells_digest(cells: &[ExecutionCell]) -> Digest {
    let mut parts = KeyParts::default();
    for cell in cells {
        parts.push(
            if cell.may_fail { "may fail" } else { "cell" },
            &cell.source,
        );
    }
    parts.key()
}
