//! The template step: the whole deck is a Jinja template, with line statements in comments.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use regex::Regex;

use super::lines::{self, Statements};
use super::{DeckSource, View, align, macros, methods, python_text, text};
use crate::course::{Format, ProgLang, RelPath};
use crate::events::Diagnostic;
use crate::parallel::lock;

/// How much work one deck may be; a template that loops for ever ends here.
const FUEL: u64 = 5_000_000;

/// How many files one deck may include.
const MAX_INCLUDES: usize = 500;

/// What a template became.
#[derive(PartialEq)]
pub(super) struct Rendered {
    pub(super) text: String,
    /// The author's line of each line of the text, where it is known.
    pub(super) origins: Vec<Option<u32>>,
    /// Names of files beside the deck that were loaded, or looked for and not found.
    pub(super) included: Vec<String>,
}

/// What the deck's own template is called, and the one with marks: no file has such a name.
const DECK: &str = "\u{1}deck";
const MARKED: &str = "\u{1}marked deck";

/// Files beside the deck that the template has asked for so far; none for a file that is not there.
type Siblings = BTreeMap<String, Option<String>>;

/// The template of a deck, compiled once for all views.
pub(super) struct Template {
    /// Where the deck lies.
    path: RelPath,
    prog_lang: ProgLang,
    /// The deck's text.
    deck: String,
    lines: Arc<lines::Template>,
    environment: Environment<'static>,
    asked: Arc<Mutex<Asked>>,
}

/// What the environment and its loader share.
#[derive(Default)]
struct Asked {
    siblings: Siblings,
    /// What is missing.
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
            environment: environment(source, &lines, &asked),
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
        self.look_at(view);
        // What other views included is nothing to this one.
        if !std::mem::take(&mut self.asked().siblings).is_empty() {
            self.environment.clear_templates();
        }
        loop {
            let result = self.rendered(DECK);
            let missing = self.asked().next.take();
            // The engine wants its files at once and for ever, so a missing one is fetched and everything begins anew.
            if let Some(name) = missing
                && self.asked().siblings.len() < MAX_INCLUDES
            {
                let text = sibling(&name).map(|text| {
                    Statements::new(self.prog_lang)
                        .without_blanks_after(&text::normalize_newlines(&text))
                        .text
                });
                self.asked().siblings.insert(name, text);
                continue;
            }
            let text =
                result.map_err(|error| explain(&error, &self.path, self.prog_lang, &self.lines))?;
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

    fn rendered(&self, name: &str) -> Result<String, Error> {
        self.environment.get_template(name)?.render(())
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        lock(&self.asked)
    }

    fn look_at(&mut self, view: &View) {
        let environment = &mut self.environment;
        environment.add_global("is_notebook", view.format == Format::Notebook);
        environment.add_global("is_html", view.format == Format::Html);
        environment.add_global("lang", view.lang.name());
        environment.add_global("author", view.author);
        environment.add_global("organization", view.organization);
    }
}

fn environment(
    source: &DeckSource,
    lines: &Arc<lines::Template>,
    asked: &Arc<Mutex<Asked>>,
) -> Environment<'static> {
    let mut environment = Environment::new();
    let prefix = format!("{} j2", source.prog_lang.comment());
    let mut syntax = SyntaxConfig::builder();
    syntax
        .line_statement_prefix(prefix)
        .keep_trailing_newline(true);
    // The delimiters are the default ones, and a prefix cannot clash with them.
    if let Ok(syntax) = syntax.build() {
        environment.set_syntax(syntax);
    }
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(python_text::format);
    environment.set_unknown_method_callback(methods::call);
    environment.set_fuel(Some(FUEL));
    environment.add_global("_package", macros::package(source.prog_lang));

    let lines = Arc::clone(lines);
    let asked = Arc::clone(asked);
    let has_templates = source.has_templates;
    environment.set_loader(move |name| {
        match name {
            DECK => return Ok(Some(lines.text.clone())),
            MARKED => return Ok(Some(lines.marked())),
            _ => {}
        }
        let bundled = (name == macros::MACROS_NAME).then(|| macros::MACROS.to_owned());
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

/// The error as the author should see it.
fn explain(
    error: &Error,
    path: &RelPath,
    prog_lang: ProgLang,
    template: &lines::Template,
) -> Diagnostic {
    static ORIGIN: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?: \(from (.+):(\d+)\)|, from line (\d+)|(?:, )?from .+:\d+)")
            .expect("the pattern is constant")
    });
    // The innermost error that lies in the deck has the best line, the innermost of all has the cause.
    let mut line = None;
    let mut cause = error;
    let mut place = None;
    let mut in_macros = false;
    let mut current: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = current {
        if let Some(inner) = inner.downcast_ref::<Error>() {
            cause = inner;
            in_macros = inner.name() == Some(macros::MACROS_NAME);
            if inner.name() == Some(DECK) {
                line = inner.line().or(line);
            } else if let (Some(name), Some(line), false) = (inner.name(), inner.line(), in_macros)
            {
                place = Some(format!(" (in the included file `{name}`, line {line})"));
            }
        }
        current = inner.source();
    }
    let detail = cause
        .detail()
        .map_or_else(|| cause.kind().to_string(), str::to_owned);
    // Values may remember the line of the template that they came from.
    if let Some(origin) = ORIGIN.captures(&detail)
        && origin.get(1).is_some_and(|name| name.as_str() == DECK)
    {
        line = line.or_else(|| origin[2].parse().ok());
    }
    let detail = ORIGIN.replace_all(&detail, "").into_owned();
    if in_macros {
        // An undefined argument is noticed in the macro; the author's line is the one that calls it.
        let is_call = |line: &str| line.contains("{{") && line.contains("header");
        line = line.or_else(|| template.text.lines().position(is_call).map(|at| at + 1));
    }
    let line = line.map(|line| {
        let last = template.lines.len().saturating_sub(1);
        let index = line.saturating_sub(1).min(last);
        template.lines.get(index).copied().unwrap_or(1)
    });
    let diagnostic = |message: &str| {
        let place = place.as_deref().unwrap_or_default();
        Diagnostic::error(format!("{message}{place}")).at(path.as_str(), line)
    };
    match cause.kind() {
        ErrorKind::OutOfFuel => diagnostic("the deck's template does not come to an end")
            .hint("look for a loop or recursion without an end"),
        _ if detail.contains("recursion limit") => {
            diagnostic("the deck's template nests too deeply")
                .hint("look for a macro or an included file that calls itself")
        }
        _ if in_macros => {
            diagnostic(&format!("the header macro was given a missing argument: {detail}"))
                .hint("call it as `header(\"German title\", \"English title\")`, or `header_de` and `header_en` with one title")
        }
        ErrorKind::UnknownFunction if detail.starts_with("header") => {
            diagnostic(&format!("Jinja: {detail}")).hint(format!(
                "import it in a line before: `{} j2 from 'macros.j2' import header`",
                prog_lang.comment()
            ))
        }
        ErrorKind::TemplateNotFound => diagnostic(&format!("file not found: {detail}")).hint(
            "files are found by their path relative to the deck's topic; the header macros are in `macros.j2`",
        ),
        ErrorKind::UndefinedError | ErrorKind::SyntaxError => diagnostic(&format!("Jinja: {detail}"))
            .hint(
                "`{{`, `{%` and `{#` are Jinja in the whole deck: wrap code that contains them in `{% raw %}` and `{% endraw %}`",
            ),
        _ => diagnostic(&format!("Jinja: {detail}")),
    }
}
