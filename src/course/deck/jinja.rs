//! Jinja: the whole text of a deck is a template, with line statements and our header macros.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, context};

use crate::course::{Format, ProgLang};
use crate::events::Diagnostic;

use super::{DeckSource, View, normalise_newlines};

/// The template that decks import their macros from.
const MACROS: &str = "macros.j2";
/// Steps after which a template counts as endless.
const FUEL: u64 = 20_000_000;

static MACROS_TEXT: &str = include_str!("templates/macros.j2");

const LOGOS: &[(ProgLang, &str)] = &[
    (ProgLang::Python, include_str!("templates/python.svg")),
    (ProgLang::Cpp, include_str!("templates/cpp.svg")),
    (ProgLang::CSharp, include_str!("templates/csharp.svg")),
    (ProgLang::Java, include_str!("templates/java.svg")),
    (
        ProgLang::TypeScript,
        include_str!("templates/typescript.svg"),
    ),
];

/// All bundled bytes that shape outputs, for keys.
pub fn templates() -> &'static [u8] {
    static ALL: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut all = MACROS_TEXT.as_bytes().to_vec();
        for (_, logo) in LOGOS {
            all.extend_from_slice(logo.as_bytes());
        }
        all
    });
    &ALL
}

/// A template's text, and the line that each of its lines has in the file.
struct Prepared {
    text: String,
    lines: Vec<u32>,
}

/// Renders a deck; also gives the names of topic files that were loaded or looked for.
pub fn render(
    source: &DeckSource<'_>,
    text: &str,
    view: &View<'_>,
    sibling: &dyn Fn(&str) -> Option<String>,
) -> Result<(String, Vec<String>), Diagnostic> {
    let prefix = format!("{} j2", source.prog_lang.comment());
    let prepared = prepare(text, &prefix);
    // The loader must own what it uses, so what a template names is found in rounds: each loads what the last
    // one missed.
    let loaded = Arc::new(Mutex::new(Loaded::default()));
    loop {
        let environment = environment(source.prog_lang, &prefix, view, &loaded)
            .map_err(|error| diagnostic(&error, source, &prepared))?;
        let result = environment
            .template_from_named_str(source.path.as_str(), &prepared.text)
            .and_then(|template| template.render(globals(view)));
        let mut state = loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(name) = state.wanted.take() else {
            let names = state.files.iter().map(|(name, _)| name.clone()).collect();
            drop(state);
            return result
                .map(|rendered| (rendered, names))
                .map_err(|error| diagnostic(&error, source, &prepared));
        };
        let file = sibling(&name).map(|text| prepare(&normalise_newlines(&text), &prefix).text);
        state.files.push((name, file));
    }
}

#[derive(Default)]
struct Loaded {
    files: Vec<(String, Option<String>)>,
    wanted: Option<String>,
}

fn globals(view: &View<'_>) -> Value {
    context! {
        is_notebook => view.format == Format::Notebook,
        is_html => view.format == Format::Html,
        lang => view.lang.name(),
        author => view.author,
        organization => view.organization,
    }
}

fn environment<'e>(
    prog_lang: ProgLang,
    prefix: &str,
    view: &View<'_>,
    loaded: &Arc<Mutex<Loaded>>,
) -> Result<Environment<'e>, Error> {
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    syntax
        .line_statement_prefix(prefix.to_owned())
        .keep_trailing_newline(true);
    environment.set_syntax(syntax.build()?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    // Macros do not see the caller's variables, only what is global.
    environment.add_global("is_notebook", view.format == Format::Notebook);
    environment.add_global("is_html", view.format == Format::Html);
    environment.add_global("lang", view.lang.name());
    environment.add_global("author", view.author.to_owned());
    environment.add_global("organization", view.organization.to_owned());
    environment.add_global("clm", style(prog_lang));
    let loaded = Arc::clone(loaded);
    environment.set_loader(move |name| {
        if name == MACROS {
            return Ok(Some(MACROS_TEXT.to_owned()));
        }
        let mut state = loaded.lock().unwrap_or_else(PoisonError::into_inner);
        match state.files.iter().find(|(known, _)| known == name) {
            Some((_, text)) => Ok(text.clone()),
            None => {
                state.wanted.get_or_insert_with(|| name.to_owned());
                Ok(None)
            }
        }
    });
    Ok(environment)
}

/// What the macros need to know of a language: its comment, and how its title slides look.
fn style(prog_lang: ProgLang) -> Value {
    let logo = LOGOS
        .iter()
        .find(|(language, _)| *language == prog_lang)
        .map_or("", |(_, logo)| logo);
    let (attributes, is_wrapped) = match prog_lang {
        ProgLang::Python => (
            r#"style="display:block;margin:auto;width:10%" alt="Python Logo""#,
            true,
        ),
        ProgLang::Cpp => (r#"style="display:block;margin:auto;width:5%""#, false),
        ProgLang::CSharp => (
            r#"alt="C# Logo" style="display:block;margin:auto;width:5%""#,
            true,
        ),
        ProgLang::Java => (
            r#"alt="Java Logo" style="display:block;margin:auto;width:5%""#,
            true,
        ),
        ProgLang::TypeScript => (
            r#"alt="TypeScript Logo" style="display:block;margin:auto;width:5%""#,
            true,
        ),
    };
    context! {
        comment => prog_lang.comment(),
        logo => wrapped_base64(logo.trim().as_bytes(), is_wrapped),
        attributes => attributes,
        author_style => if prog_lang == ProgLang::Python { "" } else { " font-size:120%;" },
        indent_de => if prog_lang == ProgLang::TypeScript { "  " } else { " " },
        indent_en => "  ",
    }
}

/// Base64 in lines of 76 characters, each with its line end, or in one piece.
fn wrapped_base64(bytes: &[u8], is_wrapped: bool) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    if !is_wrapped {
        return text;
    }
    let mut wrapped = String::with_capacity(text.len() + text.len() / 76 + 1);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, next) = rest.split_at(rest.len().min(76));
        wrapped.push_str(line);
        wrapped.push('\n');
        rest = next;
    }
    wrapped
}

/// Drops blank lines after line statements: a Jinja line statement swallows them.
fn prepare(text: &str, prefix: &str) -> Prepared {
    let mut prepared = Prepared {
        text: String::with_capacity(text.len()),
        lines: Vec::new(),
    };
    let mut follows_statement = false;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if follows_statement && line.trim().is_empty() {
            continue;
        }
        follows_statement = line
            .trim_start_matches([' ', '\t', '\u{b}'])
            .starts_with(prefix);
        prepared.text.push_str(line);
        prepared.lines.push(index as u32 + 1);
    }
    prepared
}

fn diagnostic(error: &Error, source: &DeckSource<'_>, prepared: &Prepared) -> Diagnostic {
    // The innermost error is the one that the author can mend.
    let mut inner = error;
    while let Some(next) =
        std::error::Error::source(inner).and_then(|next| next.downcast_ref::<Error>())
    {
        inner = next;
    }
    let what = match inner.kind() {
        ErrorKind::OutOfFuel => "the template does not come to an end".to_owned(),
        kind => match inner.detail() {
            Some(detail) => format!("{kind}: {detail}"),
            None => kind.to_string(),
        },
    };
    let own = [error, inner]
        .into_iter()
        .find(|error| error.name() == Some(source.path.as_str()));
    let line = own
        .and_then(Error::line)
        .and_then(|line| prepared.lines.get(line.saturating_sub(1)).copied());
    let hint = match inner.kind() {
        ErrorKind::UndefinedError | ErrorKind::SyntaxError | ErrorKind::UnknownFunction => {
            "`{{`, `{%` and `{#` are Jinja also inside of code: put such code between `{% raw %}` and `{% endraw %}`"
        }
        ErrorKind::TemplateNotFound => {
            "a deck may import `macros.j2` and text files of its own topic, named relative to the topic"
        }
        _ => "look at the Jinja expression in this line",
    };
    let mut diagnostic = Diagnostic::error(format!("Jinja: {what}"))
        .at(source.path.as_str(), line)
        .hint(hint);
    if own.is_none()
        && let Some(name) = inner.name()
    {
        diagnostic.detail = Some(format!("in `{name}`, line {}", inner.line().unwrap_or(0)));
    }
    diagnostic
}
