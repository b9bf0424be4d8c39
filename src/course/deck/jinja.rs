//! Rendering of a deck as a Jinja template, with line statements in comments.

mod apart;
mod explain;
mod plain;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use serde::{Deserialize, Serialize};

use super::lines::{self, Statements};
use super::{DeckSource, View, align, macros, methods, python_text, text, titles};
use crate::course::{Format, Lang, ProgLang, RelPath};
use crate::diagnostic::Diagnostic;
use crate::parallel::lock;

pub use apart::render_apart_with;
pub(crate) use apart::{Apart, Ended, render_job};

/// The limit of work for one deck: instructions, and units of 64 bytes of generated text.
const FUEL: u64 = 2_000_000;

/// The limit of included files of one deck.
const MAX_INCLUDES: usize = 500;

/// The limit of the size of a rendered deck, and of all files that it includes together, in bytes.
const MAX_TEXT: usize = 8_000_000;

/// A rendered template.
#[derive(PartialEq, Serialize, Deserialize)]
pub(super) struct Rendered {
    pub(super) text: String,
    /// The author's line of each line of the text, if it is known.
    pub(super) origins: Vec<Option<u32>>,
    /// Names of other files that were loaded, or requested but not found.
    pub(super) included: Vec<String>,
}

/// The reason why a template could not be rendered.
#[derive(Serialize, Deserialize)]
pub(super) struct Failure {
    diagnostic: Diagnostic,
    /// The limit that it exceeded, if any.
    limit: Option<Limit>,
}

/// A limit of a template's resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Limit {
    /// Work, in the units of the template engine.
    Fuel,
    /// Size of the generated text.
    Output,
    /// Memory of the process.
    Memory,
    /// Processor time.
    Time,
}

/// The reason why a template was not rendered in this process.
enum Stop {
    Failed(Failure),
    /// A file that it includes must not be rendered in this process.
    NotFit,
}

/// The name of the deck's own template, and of the one with marks. No file can have these names.
const DECK: &str = "\u{1}deck";
const MARKED: &str = "\u{1}marked deck";

/// Other files that the template has requested so far; `None` for a file that does not exist.
type Siblings = BTreeMap<String, Option<String>>;

/// The template of a deck, compiled once for all views.
pub(super) struct Template {
    /// The path of the deck.
    path: RelPath,
    prog_lang: ProgLang,
    has_templates: bool,
    /// The deck's text.
    deck: String,
    lines: Arc<lines::Template>,
    environment: Environment<'static>,
    asked: Arc<Mutex<Asked>>,
    /// The language of the last view.
    lang: Option<Lang>,
    /// Whether the deck itself may be rendered in this process; empty until it was checked.
    is_plain: OnceCell<bool>,
    /// The error for all views, if the deck exceeded a limit in one of them. Finding out again would take long.
    beyond: Option<Diagnostic>,
}

/// The state that the environment and its loader share.
#[derive(Default)]
struct Asked {
    siblings: Siblings,
    /// The name of a missing file.
    next: Option<String>,
}

impl Template {
    pub(super) fn new(source: &DeckSource) -> Self {
        let deck = text::normalize_newlines(source.text);
        let lines = Arc::new(Statements::new(source.prog_lang).without_blanks_after(&deck));
        let asked = Arc::default();
        Self {
            path: source.path.clone(),
            prog_lang: source.prog_lang,
            has_templates: source.has_templates,
            environment: environment(source, &lines, &asked),
            lang: None,
            is_plain: OnceCell::new(),
            beyond: None,
            deck,
            lines,
            asked,
        }
    }

    /// Renders the deck for a view.
    pub(super) fn render(
        &mut self,
        view: &View,
        sibling: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Rendered, Diagnostic> {
        if let Some(diagnostic) = &self.beyond {
            return Err(diagnostic.clone());
        }
        let result = self.render_somewhere(view, &mut |name: &str| sibling(name));
        result.map_err(|failure| {
            if failure.limit.is_some() {
                self.beyond = Some(failure.diagnostic.clone());
            }
            failure.diagnostic
        })
    }

    /// Renders the deck in this process if it is plain, else in a separate process.
    fn render_somewhere(
        &mut self,
        view: &View,
        sibling: &mut dyn FnMut(&str) -> Option<String>,
    ) -> Result<Rendered, Failure> {
        let Some(apart) = apart::apart() else {
            return self.render_here(view, sibling);
        };
        let prefix = prefix(self.prog_lang);
        let is_plain = |text: &str| plain::is_plain(text, &prefix);
        if *self.is_plain.get_or_init(|| is_plain(&self.lines.text)) {
            match self.render_if(view, sibling, &is_plain) {
                Ok(rendered) => return Ok(rendered),
                Err(Stop::Failed(failure)) => return Err(failure),
                Err(Stop::NotFit) => {}
            }
        }
        apart::render(apart, self, view, sibling)
    }

    /// Renders the deck in this process, even if it is not plain.
    fn render_here(
        &mut self,
        view: &View,
        sibling: &mut dyn FnMut(&str) -> Option<String>,
    ) -> Result<Rendered, Failure> {
        match self.render_if(view, sibling, &|_| true) {
            Ok(rendered) => Ok(rendered),
            Err(Stop::Failed(failure)) => Err(failure),
            Err(Stop::NotFit) => Err(explain::beyond(Limit::Memory, &self.path, None)),
        }
    }

    /// Renders the deck in this process, unless it includes a file that is not fit.
    fn render_if(
        &mut self,
        view: &View,
        sibling: &mut dyn FnMut(&str) -> Option<String>,
        is_fit: &dyn Fn(&str) -> bool,
    ) -> Result<Rendered, Stop> {
        self.look_at(view);
        // The result must not depend on the files that other views included.
        if !std::mem::take(&mut self.asked().siblings).is_empty() {
            self.environment.clear_templates();
        }
        let mut included_bytes = 0;
        loop {
            let result = self.rendered(DECK);
            let missing = self.asked().next.take();
            // The loader of the engine must return a file at once and caches it. So a missing file is loaded here, and
            // rendering starts again.
            if let Some(name) = missing
                && self.asked().siblings.len() < MAX_INCLUDES
            {
                let text = sibling(&name).map(|text| {
                    Statements::new(self.prog_lang)
                        .without_blanks_after(&text::normalize_newlines(&text))
                        .text
                });
                if let Some(text) = &text {
                    included_bytes += text.len();
                    if included_bytes > MAX_TEXT {
                        let failure = explain::beyond(Limit::Output, &self.path, None);
                        return Err(Stop::Failed(failure));
                    }
                    if !is_fit(text) {
                        return Err(Stop::NotFit);
                    }
                }
                self.asked().siblings.insert(name, text);
                continue;
            }
            let text = match result {
                Ok(text) => text,
                Err(error) if error.kind() == ErrorKind::WriteFailure => {
                    let line = self.line_of_too_much_text();
                    let failure = explain::beyond(Limit::Output, &self.path, line);
                    return Err(Stop::Failed(failure));
                }
                Err(error) => return Err(Stop::Failed(explain::explain(&error, self))),
            };
            let origins = self
                .rendered(MARKED)
                .ok()
                .and_then(|marked| lines::origins(&text, &marked))
                .unwrap_or_else(|| align::align(&text, &self.deck));
            let included = self.asked().siblings.keys().cloned().collect();
            return Ok(Rendered {
                text,
                origins,
                included,
            });
        }
    }

    fn line_of_too_much_text(&mut self) -> Option<u32> {
        let fuel = self.environment.fuel();
        let line = apart::line_of_death(apart::MAX_DEATHS, |fuel| {
            self.environment.set_fuel(Some(fuel));
            match self.rendered(DECK) {
                Err(error) if error.kind() == ErrorKind::WriteFailure => apart::Probe::Dead,
                Err(error) => apart::Probe::of(&explain::explain(&error, self)),
                Ok(_) => apart::Probe::Other,
            }
        });
        self.environment.set_fuel(fuel);
        line
    }

    fn rendered(&self, name: &str) -> Result<String, Error> {
        let mut text = Bounded(Vec::new());
        let template = self.environment.get_template(name)?;
        template.render_captured_to((), &mut text)?;
        // The engine only writes text.
        String::from_utf8(text.0)
            .map_err(|_| Error::new(ErrorKind::InvalidOperation, "the text is not UTF-8"))
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        lock(&self.asked)
    }

    fn look_at(&mut self, view: &View) {
        self.lang = Some(view.lang);
        let environment = &mut self.environment;
        environment.add_global("is_notebook", view.format == Format::Notebook);
        environment.add_global("is_html", view.format == Format::Html);
        environment.add_global("lang", view.lang.name());
        environment.add_global("author", view.author);
        environment.add_global("organization", view.organization);
    }
}

/// Returns the prefix of line statements.
fn prefix(prog_lang: ProgLang) -> String {
    format!("{} j2", prog_lang.comment())
}

/// A text with a limited size.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_TEXT {
            return Err(io::Error::other("the text is too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn environment(
    source: &DeckSource,
    lines: &Arc<lines::Template>,
    asked: &Arc<Mutex<Asked>>,
) -> Environment<'static> {
    let mut environment = Environment::new();
    let prefix = prefix(source.prog_lang);
    let mut syntax = SyntaxConfig::builder();
    syntax
        .line_statement_prefix(prefix)
        .keep_trailing_newline(true);
    // This cannot fail: the delimiters are the default ones, and the prefix does not conflict with them.
    if let Ok(syntax) = syntax.build() {
        environment.set_syntax(syntax);
    }
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(python_text::format);
    environment.set_unknown_method_callback(methods::call);
    environment.set_fuel(Some(FUEL));
    // In debug mode, errors name the undefined value.
    environment.set_debug(true);
    environment.add_global("_package", macros::package(source.prog_lang));
    environment.add_function("_header", titles::header);

    let lines = Arc::clone(lines);
    let asked = Arc::clone(asked);
    let has_templates = source.has_templates;
    environment.set_loader(move |name| {
        match name {
            DECK => return Ok(Some(lines.text.clone())),
            MARKED => return Ok(Some(lines.marked())),
            _ => {}
        }
        let bundled = (name == macros::MACROS_NAME).then(macros::text);
        if bundled.is_some() && !has_templates {
            return Ok(bundled);
        }
        let mut asked = lock(&asked);
        match asked.siblings.get(name) {
            Some(text) => Ok(text.clone().or(bundled)),
            None => {
                asked.next.get_or_insert_with(|| name.to_owned());
                Ok(None)
            }
        }
    });
    environment
}
