//! Converts template errors to diagnostics for authors, with a line, the wrong name, and a hint.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use minijinja::{Error, ErrorKind};
use regex::Regex;

use super::{DECK, Failure, Limit, Template};
use crate::course::RelPath;
use crate::course::deck::macros;
use crate::course::words::nearest;
use crate::diagnostic::Diagnostic;

/// The variables of every deck.
const VARIABLES: &[&str] = &["lang", "is_html", "is_notebook", "author", "organization"];

const FILTERS: &[&str] = &[
    "abs",
    "attr",
    "batch",
    "capitalize",
    "default",
    "dictsort",
    "escape",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "urlencode",
];

const TESTS: &[&str] = &[
    "defined",
    "undefined",
    "none",
    "string",
    "number",
    "boolean",
    "sequence",
    "mapping",
    "iterable",
    "odd",
    "even",
    "in",
    "true",
    "false",
    "divisibleby",
    "eq",
    "ne",
    "lt",
    "gt",
    "le",
    "ge",
    "upper",
    "lower",
];

const RAW_HINT: &str = "`{{`, `{%` and `{#` are Jinja in the whole deck: wrap code that contains them in `{% raw %}` and `{% endraw %}`";

/// Returns the error about a template that exceeded a limit.
pub(super) fn beyond(limit: Limit, path: &RelPath, line: Option<u32>) -> Failure {
    let diagnostic = match limit {
        Limit::Memory => Diagnostic::error("the deck's template needs too much memory").hint(
            "look for a list or text that grows in a loop, or that contains itself, at this line or before it",
        ),
        Limit::Output => {
            Diagnostic::error("the deck's template makes a text of more than 8 MB")
                .hint("look for a loop that repeats too much, or a large file that is included")
        }
        Limit::Fuel | Limit::Time => {
            Diagnostic::error("the deck's template does not come to an end").hint(
                "look for a loop or recursion without an end, or a list or text that grows in it",
            )
        }
    };
    Failure {
        diagnostic: diagnostic.at(path.as_str(), line),
        limit: Some(limit),
    }
}

/// Converts an error of the engine.
pub(super) fn explain(error: &Error, template: &Template) -> Failure {
    let chain = Chain::of(error);
    let detail =
        (chain.cause.detail()).map_or_else(|| chain.cause.kind().to_string(), str::to_owned);
    let undefined = Undefined::in_detail(&detail);
    let line = chain.line_in_deck(undefined.as_ref(), template);
    if chain.cause.kind() == ErrorKind::OutOfFuel {
        return beyond(Limit::Fuel, &template.path, line);
    }
    let (message, hint) = if detail.contains("recursion limit") {
        (
            "the deck's template nests too deeply".to_owned(),
            Some("look for a macro or an included file that calls itself".to_owned()),
        )
    } else if chain.is_in_macros {
        (
            format!("the header macro was given a missing argument: {detail}"),
            Some(template.hint_for_header()),
        )
    } else {
        message_and_hint(chain.cause.kind(), &detail, undefined.as_ref(), template)
    };
    let place = chain.place.unwrap_or_default();
    let mut diagnostic =
        Diagnostic::error(format!("{message}{place}")).at(template.path.as_str(), line);
    diagnostic.hint = hint;
    Failure {
        diagnostic,
        limit: None,
    }
}

/// An error of the engine and the errors that caused it.
struct Chain<'e> {
    /// The innermost error.
    cause: &'e Error,
    /// The line of the innermost error in the deck itself, in the text for the engine.
    line: Option<usize>,
    /// The place in an included file, as a part of the message.
    place: Option<String>,
    /// Whether the cause lies in the macros that clm bundles.
    is_in_macros: bool,
}

impl<'e> Chain<'e> {
    fn of(error: &'e Error) -> Self {
        let mut chain = Self {
            cause: error,
            line: None,
            place: None,
            is_in_macros: false,
        };
        let mut current: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(inner) = current {
            if let Some(inner) = inner.downcast_ref::<Error>() {
                chain.cause = inner;
                chain.is_in_macros = inner.name() == Some(macros::MACROS_NAME);
                match (inner.name(), inner.line()) {
                    (Some(DECK), line) => chain.line = line.or(chain.line),
                    (Some(name), Some(line)) if !chain.is_in_macros => {
                        chain.place =
                            Some(format!(" (in the included file `{name}`, line {line})"));
                    }
                    _ => {}
                }
            }
            current = inner.source();
        }
        chain
    }

    /// Returns the line of the deck that the author needs.
    fn line_in_deck(&self, undefined: Option<&Undefined>, template: &Template) -> Option<u32> {
        let line = if self.is_in_macros {
            // An undefined argument is detected inside the macro; the author needs the line of the call.
            let is_call = |line: &str| line.contains("{{") && line.contains("header");
            let call = || template.lines.text.lines().position(is_call);
            self.line.or_else(|| call().map(|at| at + 1))
        } else {
            // The line where the value was requested, not the one where it is used.
            undefined.and_then(|undefined| undefined.line).or(self.line)
        };
        let lines = &template.lines.lines;
        let last = lines.len().saturating_sub(1);
        line.map(|line| {
            let index = line.saturating_sub(1).min(last);
            lines.get(index).copied().unwrap_or(1)
        })
    }
}

/// Returns the message and the hint about an error of this kind in a deck or a file that it loads.
fn message_and_hint(
    kind: ErrorKind,
    detail: &str,
    undefined: Option<&Undefined>,
    template: &Template,
) -> (String, Option<String>) {
    let or_raw = |hint: Option<String>| hint.or_else(|| Some(RAW_HINT.to_owned()));
    let no_macro = |name: &str| {
        let message = format!("Jinja: there is no macro `{name}`");
        (message, Some(hint_for_macro(name, template)))
    };
    match (kind, undefined) {
        (ErrorKind::InvalidOperation, Some(Undefined { name, .. }))
            if detail.contains("not callable") =>
        {
            no_macro(name)
        }
        (ErrorKind::UnknownFunction, _) => no_macro(&quoted_or_first(detail)),
        (ErrorKind::UnknownFilter, _) => {
            let name = quoted_or_first(detail);
            let message = format!("Jinja: there is no filter `{name}`");
            (message, or_raw(meant(&name, FILTERS)))
        }
        (ErrorKind::UnknownTest, _) => {
            let name = quoted_or_first(detail);
            let message = format!("Jinja: there is no test `{name}`");
            (message, or_raw(meant(&name, TESTS)))
        }
        (_, Some(Undefined { name, .. })) => {
            let known = template.known_names();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let hint = meant(name, &known).unwrap_or_else(|| {
                let variables = listed(VARIABLES);
                format!("a deck knows {variables} and what it sets or imports; {RAW_HINT}")
            });
            (format!("Jinja: `{name}` is not defined"), Some(hint))
        }
        (ErrorKind::TemplateNotFound, _) => {
            let hint = "files are found by their path relative to the deck's topic; the header macros are in `macros.j2`";
            (format!("file not found: {detail}"), Some(hint.to_owned()))
        }
        (ErrorKind::UndefinedError | ErrorKind::SyntaxError, _) => {
            (format!("Jinja: {detail}"), or_raw(None))
        }
        _ => (format!("Jinja: {detail}"), None),
    }
}

/// An undefined value.
struct Undefined {
    /// The expression without a value.
    name: String,
    /// The line of that expression in the deck, if it is not the line of the error.
    line: Option<usize>,
}

impl Undefined {
    /// Extracts the undefined value from the engine's description of an error.
    fn in_detail(detail: &str) -> Option<Self> {
        static DESCRIBED: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"`([^`]+)` is undefined(?: \(from (?:line (\d+)|(.+):(\d+))\))?")
                .expect("the pattern is constant")
        });
        let found = DESCRIBED.captures(detail)?;
        let in_deck = found.get(3).is_none_or(|name| name.as_str() == DECK);
        let line = found.get(2).or_else(|| found.get(4));
        Some(Self {
            name: found[1].to_owned(),
            line: line
                .filter(|_| in_deck)
                .and_then(|line| line.as_str().parse().ok()),
        })
    }
}

/// Returns the name in a detail such as `filter uper is unknown`.
fn quoted_or_first(detail: &str) -> String {
    let words = detail.split_whitespace();
    let name = words.filter(|word| !matches!(*word, "filter" | "test" | "is" | "unknown"));
    name.take(1).collect()
}

/// Returns the hint about a macro that does not exist.
fn hint_for_macro(name: &str, template: &Template) -> String {
    let bundled = macros::names();
    let own = template.known_names();
    let mut known: Vec<&str> = own.iter().map(String::as_str).collect();
    known.extend(&bundled);
    let import = |name: &str| {
        let comment = template.prog_lang.comment();
        format!("import it in a line before: `{comment} j2 from 'macros.j2' import {name}`")
    };
    if bundled.contains(&name) {
        return import(name);
    }
    match nearest(name, known.iter().copied().filter(|known| *known != name)) {
        Some(near) if bundled.contains(&near) && !own.contains(near) => {
            format!("did you mean `{near}`? Then {}", import(near))
        }
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let names = listed(&bundled);
            format!("macros come from a file that the deck imports; `macros.j2` has {names}")
        }
    }
}

fn meant(name: &str, known: &[&str]) -> Option<String> {
    // Of `lang.foo` the beginning is known and the attribute is not.
    let near = nearest(name, known.iter().copied())?;
    Some(format!("did you mean `{near}`?"))
}

fn listed(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

impl Template {
    /// Returns the hint how the header macro is called.
    fn hint_for_header(&self) -> String {
        match self.lang.filter(|lang| !lang.is_usual()) {
            None => "call it as `header(\"German title\", \"English title\")`, as `header(\"title\")` with one for all languages, or `header_de` and `header_en` with one title".to_owned(),
            Some(lang) => format!(
                "call it as `header(\"title\")` with one for all languages, or as `header({lang}=\"title\", en=\"English title\")`"
            ),
        }
    }

    /// Returns the names that are defined in the deck: variables, and names that it or a file that it loads defines or
    /// imports.
    fn known_names(&self) -> BTreeSet<String> {
        static DEFINED: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"\b(?:set|macro|for|as)\s+(\w+)").expect("the pattern is constant")
        });
        let asked = self.asked();
        let texts = asked.siblings.values().flatten();
        let mut names: BTreeSet<String> = VARIABLES.iter().map(|name| (*name).to_owned()).collect();
        for text in texts.chain([&self.lines.text]) {
            names.extend(DEFINED.captures_iter(text).map(|found| found[1].to_owned()));
        }
        names
    }
}
