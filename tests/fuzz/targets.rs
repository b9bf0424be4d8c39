//! What is fed with any bytes: everything that reads what others wrote. A target panics when something is wrong.

use std::net::SocketAddr;
use std::path::Path;

use clm::course::deck::{self, Companion, DeckSource, View, cpp};
use clm::course::{Format, Kind, Lang, ProgLang, RelPath, spec};
use clm::daemon::protocol::{Line, Request};
use clm::events::{Diagnostic, Event, Severity};
use clm::web::guard::Verdict;
use clm::web::{Access, address, guard, inject};
use clm::worker::drawio::document;
use clm::worker::protocol::{FromWorker, Lines, ToWorker};

/// A name, what is called, and the inputs that are stored for it.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Words of the language that is read.
    pub words: &'static [&'static str],
    /// Whether one input takes milliseconds.
    pub is_slow: bool,
}

pub const TARGETS: &[Target] = &[
    Target {
        name: "percent",
        run: percent,
        words: DECK_WORDS,
        is_slow: true,
    },
    Target {
        name: "markdown",
        run: markdown,
        words: DECK_WORDS,
        is_slow: true,
    },
    Target {
        name: "languages",
        run: languages,
        words: DECK_WORDS,
        is_slow: true,
    },
    Target {
        name: "companion",
        run: companion,
        words: DECK_WORDS,
        is_slow: true,
    },
    Target {
        name: "jinja",
        run: jinja,
        words: JINJA_WORDS,
        is_slow: true,
    },
    Target {
        name: "specification",
        run: specification,
        words: SPEC_WORDS,
        is_slow: false,
    },
    Target {
        name: "settings",
        run: settings,
        words: SETTINGS_WORDS,
        is_slow: false,
    },
    Target {
        name: "drawio",
        run: drawio,
        words: DRAWIO_WORDS,
        is_slow: false,
    },
    Target {
        name: "worker",
        run: worker,
        words: JSON_WORDS,
        is_slow: false,
    },
    Target {
        name: "socket",
        run: socket,
        words: JSON_WORDS,
        is_slow: false,
    },
    Target {
        name: "http",
        run: http,
        words: HTTP_WORDS,
        is_slow: false,
    },
    Target {
        name: "page",
        run: page,
        words: PAGE_WORDS,
        is_slow: false,
    },
];

const DECK_WORDS: &[&str] = &[
    "# %%",
    "# %% [markdown]",
    "# %% [raw]",
    "// %%",
    "\n",
    "\n\n",
    "\r\n",
    "\u{c}",
    "\u{85}",
    "\u{2028}",
    "# ",
    "# ---",
    "---\n",
    "jupyter:\n",
    " tags=[\"slide\"]",
    " tags=[\"workshop\"]",
    " lang=\"de\"",
    " slide_id=\"x\"",
    "```python\n",
    "```",
    "~~~",
    "<!-- #region -->",
    "<!-- #endregion -->",
    "\"\"\"",
    "'''",
    "%%bash",
    "%matplotlib",
    "!ls",
    "{{ header(\"a\", \"b\") }}",
    "# j2 from 'macros.j2' import header\n",
    "<img src=\"img/d.png\">",
    "![a](img/b.png)",
    "+++",
    "# +",
    "# -",
    "\u{feff}",
    "é",
    "#include <a>",
    "int main() {",
    "class A {",
    "}",
    "[",
    "]",
    "{",
    "=",
    "\\",
    "\t",
];
const JINJA_WORDS: &[&str] = &[
    "{% for i in range(9) %}",
    "{% endfor %}",
    "{% if x %}",
    "{% endif %}",
    "{% macro a(b) %}",
    "{% endmacro %}",
    "{{ a }}",
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "# j2 ",
    "|join(',')",
    "|replace('a', 'b')",
    "|upper",
    "*",
    "+",
    "~",
    "range(10)",
    "[1, 2]",
    "'a'",
    "{'a': 1}",
    "{% set a = 1 %}",
    "{% raw %}",
    "{% endraw %}",
    "loop.index",
    "{% include 'a' %}",
    "{% import 'macros.j2' as m %}",
    ".format(1)",
    ".split()",
    "%",
    "//",
    "**",
    "is defined",
    "not in",
    "999999999999",
    "-1",
    "|round(400)",
    "|indent(99)",
];
const SPEC_WORDS: &[&str] = &[
    "<course>",
    "</course>",
    "<name>",
    "<de>",
    "<en>",
    "</name>",
    "<section>",
    "<topics>",
    "<topic>",
    "<topic include=\"a\">",
    "<subsection>",
    "<sections>",
    "<dir-groups>",
    "<dir-group>",
    "<path>",
    "<output-targets>",
    "<output-target name=\"a\">",
    "/>",
    "enabled=\"false\"",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "&amp;",
    "&#0;",
    "&x;",
    "<?xml version=\"1.0\"?>",
    "<!DOCTYPE a [",
    "../",
    "/",
    "\\",
    "<prog-lang>python</prog-lang>",
    "<kinds>",
    "<kind>",
    "\u{feff}",
    "\"",
    "'",
    "é",
    "\n",
];
const SETTINGS_WORDS: &[&str] = &[
    "[notebook]",
    "[diagrams]",
    "[workers]",
    "[output]",
    "cell_timeout = ",
    "dpi = ",
    "scale = ",
    "= -1",
    "= 1e400",
    "\"\"\"",
    "'''",
    "[[",
    "]]",
    "{",
    "}",
    "inf",
    "nan",
    "99999999999999999999",
    "true",
    "\\u0000",
    "\\U0010FFFF",
    "# ",
    "\n",
    "a.b.c = 1",
    "1979-05-27",
];
const DRAWIO_WORDS: &[&str] = &[
    "<mxfile>",
    "</mxfile>",
    "<diagram>",
    "</diagram>",
    "<mxGraphModel>",
    "<root>",
    "<mxCell id=\"0\"/>",
    "<!DOCTYPE",
    "<!ENTITY a \"b\">",
    "&a;",
    "<![CDATA[",
    "]]>",
    "<!--",
    "-->",
    "\u{feff}",
    "dZHBEoIgEIafhru",
    "\0",
    "<",
    ">",
    "&",
    "\"",
    "\n",
];
const JSON_WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "null",
    "true",
    "1e999",
    "-0",
    "\"id\":",
    "\"result\":",
    "\"status\":\"ok\"",
    "\"outputs\":",
    "\"name\":\"../x\"",
    "\"discovered\":[\"/etc\"]",
    "\"hello\":",
    "\"protocol\":1",
    "\\ud800",
    "\\u0000",
    "\n",
    "\"ask\":\"build\"",
    "\"ask\":\"hello\"",
    "\"options\":{",
    "\"path\":\"a/../b\"",
    "18446744073709551616",
    "\"event\":",
    "\"answer\":",
];
const HTTP_WORDS: &[&str] = &[
    "GET ",
    "POST ",
    "/out/",
    "/out/shared/a.html",
    "%2e%2e",
    "%00",
    "%",
    "..",
    "/",
    "\\",
    "?token=",
    "Host: 127.0.0.1:8000\n",
    "Host: localhost:8000\n",
    "Host: [::1]:8000\n",
    "Cookie: clm_preview_8000=",
    ";",
    "=",
    "Sec-Fetch-Site: cross-site\n",
    "Service-Worker: script\n",
    "http://127.0.0.1:8000/",
    "//",
    "é",
    "\n",
    " HTTP/1.1\n",
    ":",
    "*",
];
const PAGE_WORDS: &[&str] = &[
    "<html>",
    "<body>",
    "</body>",
    "</BODY >",
    "</body",
    "<!--",
    "-->",
    "<script>",
    "</script>",
    "\"</body>\"",
    "<",
    ">",
    "\0",
    "é",
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An error has a place in the text.
fn check_error(error: &Diagnostic, text: &str) {
    assert_eq!(error.severity, Severity::Error);
    let ends = text.matches([
        '\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}',
        '\u{2029}',
    ]);
    let lines = ends.count() as u32 + 1;
    let line = error.line.unwrap_or_else(|| panic!("no line: {error}"));
    assert!(
        (1..=lines + 1).contains(&line),
        "line {line} of {lines}: {error}"
    );
    assert!(!error.message.is_empty());
}

fn read(text: &str, extension: &str, prog_lang: ProgLang, format: Format, beside: Option<&str>) {
    let path = RelPath::new(&format!("slides/m/t/slides_x.{extension}")).unwrap();
    let beside_path = RelPath::new(&format!("slides/m/t/voiceover_x.{extension}")).unwrap();
    let mut source = DeckSource::new(&path, text, prog_lang);
    source.companion = beside.map(|text| Companion {
        path: &beside_path,
        text,
    });
    let view = View {
        lang: Lang::De,
        format,
        author: "A",
        organization: "O",
    };
    let deck = match deck::read(&source, &view, &|_| None) {
        Ok(deck) => deck,
        Err(error) => {
            let about = match (&error.file, beside) {
                (Some(file), Some(beside)) if *file == beside_path.as_str() => beside,
                _ => text,
            };
            return check_error(&error, about);
        }
    };
    let kind = Kind::ALL[text.len() % Kind::ALL.len()];
    let (notebook, warnings) = deck::notebook(&deck, kind, Lang::De, prog_lang);
    assert!(warnings.iter().all(|warning| warning.file.is_some()));
    let json: serde_json::Value = serde_json::from_str(&notebook.to_ipynb()).unwrap();
    assert_eq!(
        json["cells"].as_array().map(Vec::len),
        Some(notebook.cells.len())
    );
    deck::script(&notebook, &deck, prog_lang);
    deck::references(&deck);
    deck::image_urls(&notebook);
    deck::execution_cells(&deck, Lang::De, prog_lang);
    if prog_lang == ProgLang::Cpp {
        cpp::program(&deck, &notebook, kind, Lang::De, "deck");
    }
}

fn percent(bytes: &[u8]) {
    read(&text(bytes), "py", ProgLang::Python, Format::Notebook, None);
}

fn markdown(bytes: &[u8]) {
    read(&text(bytes), "md", ProgLang::Python, Format::Html, None);
}

/// The first byte chooses the language.
fn languages(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let all = ProgLang::ALL;
    let prog_lang = all[usize::from(*first) % all.len()];
    read(
        &text(rest),
        prog_lang.extension(),
        prog_lang,
        Format::Code,
        None,
    );
}

/// A deck and the voiceover beside it, with a line of `=====` between them.
fn companion(bytes: &[u8]) {
    let text = text(bytes);
    let (deck, beside) = text.split_once("\n=====\n").unwrap_or((&text, ""));
    read(deck, "py", ProgLang::Python, Format::Notebook, Some(beside));
}

fn jinja(bytes: &[u8]) {
    let text = text(bytes);
    read(
        &format!("# %%\n{text}\n"),
        "py",
        ProgLang::Python,
        Format::Notebook,
        None,
    );
}

fn specification(bytes: &[u8]) {
    let text = text(bytes);
    let (spec, diagnostics) = spec::parse_leniently(&text, "course.xml");
    let is_error = |found: &&Diagnostic| found.severity == Severity::Error;
    assert!(spec.is_some() || diagnostics.iter().any(|found| is_error(&found)));
    for error in diagnostics.iter().filter(is_error) {
        check_error(error, &text);
        assert!(
            error.column.is_some_and(|column| column >= 1),
            "no column: {error}"
        );
    }
}

fn settings(bytes: &[u8]) {
    let text = text(bytes);
    if let Err(error) = clm::config::Settings::parse(&text) {
        for diagnostic in &error.diagnostics {
            check_error(diagnostic, &text);
        }
    }
}

fn drawio(bytes: &[u8]) {
    let text = text(bytes);
    if let Err(error) = document::check(&text)
        && !text
            .trim_matches(['\u{feff}', ' ', '\t', '\r', '\n'])
            .is_empty()
    {
        check_error(&error, &text);
    }
}

fn worker(bytes: &[u8]) {
    const LIMIT: usize = 2048;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut lines = Lines::new(bytes, LIMIT);
    while let Ok(Some(line)) = runtime.block_on(lines.next()) {
        assert!(line.len() <= LIMIT);
        let _ = serde_json::from_slice::<ToWorker>(&line);
        let Ok(message) = serde_json::from_slice::<FromWorker>(&line) else {
            continue;
        };
        if let Some(Ok(outcome)) = message
            .result
            .map(|result| result.into_outcome(Path::new("/nonexistent/out")))
        {
            // No worker can name a file outside of its directory.
            let outputs = format!("{outcome:?}");
            assert!(!outputs.contains(".."), "{outputs}");
        }
    }
}

fn socket(bytes: &[u8]) {
    let _ = serde_json::from_slice::<Request>(bytes);
    let _ = serde_json::from_slice::<Line>(bytes);
    if let Ok(event) = serde_json::from_slice::<Event>(bytes) {
        let again = serde_json::to_string(&event).unwrap();
        serde_json::from_str::<Event>(&again).unwrap();
    }
}

/// A request line and headers; what is let through has an address of ours.
fn http(bytes: &[u8]) {
    let text = text(bytes);
    let mut lines = text.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let method = first.next().unwrap_or_default();
    let mut request = hyper::Request::builder()
        .method(method)
        .uri(first.next().unwrap_or_default());
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        request = request.header(name, value.trim());
    }
    let Ok(request) = request.body(()) else {
        return;
    };
    let (request, ()) = request.into_parts();
    let local: SocketAddr = "127.0.0.1:8000".parse().unwrap();
    let token = "0123456789abcdef";
    let access = Access::Network {
        token: token.into(),
    };
    let query = request.uri.query().unwrap_or_default();
    let cookies = request.headers.get_all("cookie").iter();
    let is_named = query.contains('%')
        || query.contains(token)
        || cookies
            .filter_map(|cookie| cookie.to_str().ok())
            .any(|cookie| cookie.contains(token));
    if !matches!(
        guard::judge(&request, local, 8000, &access),
        Verdict::Refuse(_) | Verdict::Wrong(_)
    ) {
        assert!(is_named, "admitted without the token: {text}");
    }
    if !matches!(
        guard::judge(&request, local, 8000, &Access::Loopback),
        Verdict::Refuse(_)
    ) {
        assert!(["GET", "HEAD"].contains(&method), "{text}");
    }
    if let Some((target, path)) = address::parse(request.uri.path()) {
        for segment in path.split('/') {
            assert!(!["", ".", ".."].contains(&segment), "{target} {path}");
        }
        assert_eq!(
            address::parse(&address::address(&target, &path)),
            Some((target, path))
        );
    }
}

/// The program of the preview is put into a page, whose bytes stay.
fn page(bytes: &[u8]) {
    let element = "<script src=\"/x\"></script>";
    let injected = inject::inject(bytes, element);
    assert_eq!(injected.len(), bytes.len() + element.len());
}
