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
    // The innermost error in the deck itself has the best line, and the innermost of all has the cause.
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
    let undefined = Undefined::in_detail(&detail);
    if let Some(undefined) = &undefined
        && !in_macros
    {
        // The line where the value was requested, not the one where it is used.
        line = undefined.line.or(line);
    }
    if in_macros {
        // An undefined argument is detected inside the macro; the author needs the line of the call.
        let is_call = |line: &str| line.contains("{{") && line.contains("header");
        let lines = &template.lines.text;
        line = line.or_else(|| lines.lines().position(is_call).map(|at| at + 1));
    }
    let line = line.map(|line| {
        let lines = &template.lines.lines;
        let last = lines.len().saturating_sub(1);
        let index = line.saturating_sub(1).min(last);
        lines.get(index).copied().unwrap_or(1)
    });
    if cause.kind() == ErrorKind::OutOfFuel {
        return beyond(Limit::Fuel, &template.path, line);
    }
    let diagnostic = |message: String| {
        let place = place.as_deref().unwrap_or_default();
        Diagnostic::error(format!("{message}{place}")).at(template.path.as_str(), line)
    };
    let unknown = || quoted_or_first(&detail);
    let diagnostic = match (cause.kind(), &undefined) {
        _ if detail.contains("recursion limit") => {
            diagnostic("the deck's template nests too deeply".to_owned())
                .hint("look for a macro or an included file that calls itself")
        }
        _ if in_macros => {
            diagnostic(format!("the header macro was given a missing argument: {detail}"))
                .hint("call it as `header(\"German title\", \"English title\")`, or `header_de` and `header_en` with one title")
        }
        (ErrorKind::InvalidOperation, Some(Undefined { name, .. }))
            if detail.contains("not callable") =>
        {
            no_macro(name, diagnostic, template)
        }
        (ErrorKind::UnknownFunction, _) => no_macro(&unknown(), diagnostic, template),
        (ErrorKind::UnknownFilter, _) => {
            let name = unknown();
            let message = format!("Jinja: there is no filter `{name}`");
            diagnostic(message).hint(meant(&name, FILTERS).unwrap_or_else(|| RAW_HINT.to_owned()))
        }
        (ErrorKind::UnknownTest, _) => {
            let name = unknown();
            let message = format!("Jinja: there is no test `{name}`");
            diagnostic(message).hint(meant(&name, TESTS).unwrap_or_else(|| RAW_HINT.to_owned()))
        }
        (_, Some(Undefined { name, .. })) => {
            let message = format!("Jinja: `{name}` is not defined");
            let known = template.known_names();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            diagnostic(message).hint(meant(name, &known).unwrap_or_else(|| {
                format!(
                    "a deck knows {} and what it sets or imports; {RAW_HINT}",
                    listed(VARIABLES)
                )
            }))
        }
        (ErrorKind::TemplateNotFound, _) => {
            diagnostic(format!("file not found: {detail}")).hint(
                "files are found by their path relative to the deck's topic; the header macros are in `macros.j2`",
            )
        }
        (ErrorKind::UndefinedError | ErrorKind::SyntaxError, _) => {
            diagnostic(format!("Jinja: {detail}")).hint(RAW_HINT)
        }
        _ => diagnostic(format!("Jinja: {detail}")),
    };
    Failure {
        diagnostic,
        limit: None,
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

fn no_macro(
    name: &str,
    diagnostic: impl Fn(String) -> Diagnostic,
    template: &Template,
) -> Diagnostic {
    let bundled = macros::names();
    let own = template.known_names();
    let mut known: Vec<&str> = own.iter().map(String::as_str).collect();
    known.extend(&bundled);
    let line = |name: &str| {
        format!(
            "import it in a line before: `{} j2 from 'macros.j2' import {name}`",
            template.prog_lang.comment()
        )
    };
    let hint = if bundled.contains(&name) {
        line(name)
    } else {
        match nearest(name, known.iter().copied().filter(|known| *known != name)) {
            Some(near) if bundled.contains(&near) && !own.contains(near) => {
                format!("did you mean `{near}`? Then {}", line(near))
            }
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "macros come from a file that the deck imports; `macros.j2` has {}",
                listed(&bundled)
            ),
        }
    };
    diagnostic(format!("Jinja: there is no macro `{name}`")).hint(hint)
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
