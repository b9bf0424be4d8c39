//! What holds for every deck and every specification, whatever is written in them.

use clm::testing::course::deck::{self, CellKind, Deck, DeckSource, View, cpp};
use clm::testing::course::{Format, Kind, Lang, ProgLang, RelPath, spec};
use clm::testing::events::{Diagnostic, Severity};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::support::jupytext;

/// A cell that a deck is made of.
#[derive(Clone, Debug)]
struct Written {
    kind: CellKind,
    title: String,
    metadata: Map<String, Value>,
    lines: Vec<String>,
}

impl Written {
    fn source(&self) -> String {
        self.lines.join("\n")
    }

    fn expected(&self) -> (CellKind, String, Map<String, Value>) {
        let mut metadata = self.metadata.clone();
        if !self.title.is_empty() {
            metadata.insert("title".into(), self.title.clone().into());
        }
        (self.kind, self.source(), metadata)
    }

    fn options(&self) -> String {
        let pairs: Vec<String> = self
            .metadata
            .iter()
            .map(|(key, value)| format!(" {key}={value}"))
            .collect();
        pairs.concat()
    }
}

fn text() -> impl Strategy<Value = String> {
    // No braces, which are Jinja's, and no equals sign, from which jupytext (and so we) may
    // start a new option inside a text; everything else that JSON can hold.
    "[a-zA-Z0-9 _,;:.\"'\\\\/<>%#äß€\\[\\]()-]{0,12}"
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec(("[a-z]{1,4}", inner), 0..3)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn metadata() -> impl Strategy<Value = Map<String, Value>> {
    let tag = prop_oneof![
        "(slide|subslide|keep|start|alt|notes|workshop|del)",
        "_?[a-z]{1,8}-?[a-z0-9]{0,4}",
    ];
    let tags = prop::option::of(prop::collection::vec(tag, 0..4));
    let lang = prop::option::of("(de|en|fr)");
    let id = prop::option::of(text());
    let others = prop::collection::vec(("x_[a-z0-9_.-]{0,6}", json_value()), 0..3);
    (tags, lang, id, others).prop_map(|(tags, lang, id, others)| {
        let mut metadata: Map<String, Value> = others.into_iter().collect();
        let named = [
            ("lang", lang.map(Value::from)),
            ("slide_id", id.map(Value::from)),
        ];
        for (key, value) in named {
            metadata.extend(value.map(|value| (key.to_owned(), value)));
        }
        let active = |tag: &String| tag.starts_with("active-");
        if let Some(tags) = tags.filter(|tags| !tags.iter().any(active)) {
            metadata.insert("tags".into(), json!(tags));
        }
        metadata
    })
}

fn cell() -> impl Strategy<Value = Written> {
    let kind = prop_oneof![
        Just(CellKind::Code),
        Just(CellKind::Markdown),
        Just(CellKind::Raw)
    ];
    // Lines that no language takes for a magic or for a quote that stays open.
    let line = prop_oneof![
        4 => "v[a-zA-Z0-9_ ,.()=+*<>äß€:;-]{0,14}",
        1 => Just(String::new()),
        1 => " {1,5}v[a-z]{0,4}",
    ];
    let lines = prop::collection::vec(line, 0..5);
    (kind, "([A-Z][a-z]{0,5})?", metadata(), lines).prop_map(
        |(kind, title, metadata, mut lines)| {
            // Blank lines at the end only separate cells.
            while lines.last().is_some_and(String::is_empty) {
                lines.pop();
            }
            while lines.first().is_some_and(String::is_empty) {
                lines.remove(0);
            }
            Written {
                kind,
                title,
                metadata,
                lines,
            }
        },
    )
}

fn percent(cells: &[Written], prog_lang: ProgLang) -> String {
    let comment = prog_lang.comment();
    let mut deck = String::new();
    for cell in cells {
        let kind = match cell.kind {
            CellKind::Code => String::new(),
            other => format!(" [{}]", other.name()),
        };
        let title = if cell.title.is_empty() {
            String::new()
        } else {
            format!(" {}", cell.title)
        };
        deck += &format!("{comment} %%{title}{kind}{}\n", cell.options());
        for line in &cell.lines {
            deck += &match cell.kind {
                CellKind::Code => format!("{line}\n"),
                _ if line.is_empty() => format!("{comment}\n"),
                _ => format!("{comment} {line}\n"),
            };
        }
        deck += "\n";
    }
    deck
}

/// Cells in Markdown; `language` names that of the code.
fn markdown(cells: &[Written], language: &str) -> String {
    let mut deck = String::new();
    for cell in cells {
        let (options, source) = (cell.options(), cell.source());
        let source = if source.is_empty() {
            source
        } else {
            source + "\n"
        };
        deck += &match cell.kind {
            CellKind::Code => format!("```{language}{options}\n{source}```\n\n"),
            CellKind::Markdown => {
                format!("<!-- #region{options} -->\n{source}<!-- #endregion -->\n\n")
            }
            CellKind::Raw => format!("<!-- #raw{options} -->\n{source}<!-- #endraw -->\n\n"),
        };
    }
    deck
}

fn read(
    text: &str,
    extension: &str,
    prog_lang: ProgLang,
    format: Format,
) -> Result<Deck, Diagnostic> {
    let path = RelPath::new(&format!("slides/m/t/slides_x.{extension}")).unwrap();
    let source = DeckSource::new(&path, text, prog_lang);
    let view = View {
        lang: Lang::EN,
        format,
        author: "A",
        organization: "",
    };
    deck::read(&source, &view, &|_| None)
}

fn found(deck: &Deck) -> Vec<(CellKind, String, Map<String, Value>)> {
    let cell = |cell: &deck::Cell| (cell.kind, cell.source.clone(), cell.metadata.clone());
    deck.cells.iter().map(cell).collect()
}

/// Makes everything that a deck can become.
fn make_everything(deck: &Deck, prog_lang: ProgLang) {
    for kind in Kind::ALL {
        let (notebook, warnings) = deck::notebook(deck, kind, Lang::EN, prog_lang);
        assert!(warnings.iter().all(|warning| warning.file.is_some()));
        let whole: Value = serde_json::from_str(&notebook.to_ipynb()).unwrap();
        assert_eq!(
            whole["cells"].as_array().unwrap().len(),
            notebook.cells.len()
        );
        let script = deck::script(&notebook, deck, prog_lang);
        assert!(notebook.cells.is_empty() || script.ends_with('\n'));
        let program = cpp::program(deck, &notebook, kind, Lang::EN, "deck");
        let files = program.workshops.iter().map(|(_, text)| text);
        for file in files.chain([&program.main]).chain(&program.header) {
            assert!(file.ends_with('\n') && !file.ends_with("\n\n"), "{file}");
        }
    }
}

/// Reads any text as any deck: it gives a deck, or an error with its place.
fn read_all_ways(text: &str) {
    for prog_lang in ProgLang::ALL {
        for extension in [prog_lang.extension(), "md"] {
            for format in Format::ALL {
                match read(text, extension, prog_lang, format) {
                    Ok(deck) if format == Format::Code => make_everything(&deck, prog_lang),
                    Ok(_) => {}
                    Err(error) => {
                        assert_eq!(error.severity, Severity::Error);
                        let lines = text.split('\n').count() as u32;
                        let line = error.line.unwrap_or_else(|| panic!("{error}\n{text}"));
                        assert!((1..=lines + 1).contains(&line), "{error}\n{text}");
                    }
                }
            }
        }
    }
}

fn fixture_decks() -> Vec<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut decks = Vec::new();
    let mut dirs = vec![root.join("demo/slides"), root.join("mini/slides")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                dirs.push(path);
            } else if name.ends_with(".py")
                && (name.starts_with("slides_") || name.starts_with("topic_"))
            {
                decks.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    decks.sort();
    assert!(decks.len() >= 7);
    decks
}

fn fixture_specs() -> Vec<String> {
    ["demo", "mini"]
        .map(|name| {
            let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
            std::fs::read_to_string(root.join(format!("fixtures/{name}/course.xml"))).unwrap()
        })
        .to_vec()
}

/// A text with a piece taken out, and another one in its place.
fn damaged(text: &str, from: usize, length: usize, instead: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let from = from % (chars.len() + 1);
    let to = (from + length).min(chars.len());
    let before: String = chars[..from].iter().collect();
    let after: String = chars[to..].iter().collect();
    format!("{before}{instead}{after}")
}

fn check_specification(text: &str) {
    let (spec, diagnostics) = spec::parse_leniently(text, "course.xml");
    let has_errors = diagnostics
        .iter()
        .any(|found| found.severity == Severity::Error);
    assert!(spec.is_some() || has_errors, "{text}");
    for diagnostic in &diagnostics {
        let lines = text.lines().count().max(1) as u32;
        let line = diagnostic
            .line
            .unwrap_or_else(|| panic!("{diagnostic}\n{text}"));
        assert!((1..=lines + 1).contains(&line), "{diagnostic}\n{text}");
        assert!(
            diagnostic.column.is_some_and(|column| column >= 1),
            "{diagnostic}\n{text}"
        );
    }
}

#[test]
fn the_decks_of_the_fixtures_are_read_and_written_as_jupytext_does() {
    jupytext::compare("py", ProgLang::Python, fixture_decks());
}

#[test]
fn decks_that_break_off_are_read_or_refused_with_a_line() {
    for deck in fixture_decks() {
        let ends: Vec<usize> = deck.char_indices().map(|(at, _)| at).step_by(97).collect();
        for end in ends {
            match read(&deck[..end], "py", ProgLang::Python, Format::Code) {
                Ok(deck) => make_everything(&deck, ProgLang::Python),
                Err(error) => assert!(error.line.is_some(), "{error}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn percent_decks_are_read_as_they_were_written(
        cells in prop::collection::vec(cell(), 0..7),
        language in 0..5usize,
    ) {
        let prog_lang = ProgLang::ALL[language];
        let text = percent(&cells, prog_lang);
        let deck = read(&text, prog_lang.extension(), prog_lang, Format::Notebook).unwrap();
        let wanted: Vec<_> = cells.iter().map(Written::expected).collect();
        prop_assert_eq!(found(&deck), wanted, "{}", text);
        // Every cell knows the line of its marker in the author's file.
        let markers = (1..).zip(text.lines()).filter(|(_, line)| line.starts_with(&format!("{} %%", prog_lang.comment())));
        for (cell, (line, _)) in deck.cells.iter().zip(markers) {
            prop_assert_eq!(cell.line, Some(line + 1));
        }
    }

    #[test]
    fn markdown_decks_are_read_as_they_were_written(
        cells in prop::collection::vec(cell(), 0..7),
        language in prop_oneof![Just("python"), Just("java"), Just("typescript")],
    ) {
        let cells: Vec<Written> = cells.into_iter().map(|cell| Written { title: String::new(), ..cell }).collect();
        // One cell more, so that the language of the code is the most frequent one.
        let text = markdown(&cells, language) + &format!("```{language}\nlast\n```\n");
        let deck = read(&text, "md", ProgLang::parse(language).unwrap(), Format::Notebook).unwrap();
        let mut wanted: Vec<_> = cells.iter().map(Written::expected).collect();
        wanted.push((CellKind::Code, "last".to_owned(), Map::new()));
        prop_assert_eq!(found(&deck), wanted, "{}", text);
    }

    #[test]
    fn scripts_hold_every_cell_of_their_notebooks(
        cells in prop::collection::vec(cell(), 0..7),
        kind in 0..5usize,
        language in 0..5usize,
    ) {
        let prog_lang = ProgLang::ALL[language];
        let text = percent(&cells, prog_lang);
        let deck = read(&text, prog_lang.extension(), prog_lang, Format::Code).unwrap();
        let (notebook, _) = deck::notebook(&deck, Kind::ALL[kind], Lang::EN, prog_lang);
        let script = deck::script(&notebook, &deck, prog_lang);
        if notebook.cells.is_empty() {
            // An empty line, which reads as an empty cell.
            prop_assert_eq!(script.trim(), "");
            return Ok(());
        }
        let again = read(&script, prog_lang.extension(), prog_lang, Format::Code).unwrap();
        let kinds_and_sources = |kind: CellKind, source: &str| (kind, source.trim_end().to_owned());
        let wanted: Vec<_> = notebook.cells.iter().map(|cell| kinds_and_sources(cell.kind, &cell.source)).collect();
        let found: Vec<_> = again.cells.iter().map(|cell| kinds_and_sources(cell.kind, &cell.source)).collect();
        prop_assert_eq!(found, wanted, "{}", script);
    }

    #[test]
    fn tags_and_metadata_that_nobody_knows_survive(
        cells in prop::collection::vec(cell(), 1..7),
        kind in 0..5usize,
    ) {
        let text = percent(&cells, ProgLang::Python);
        let deck = read(&text, "py", ProgLang::Python, Format::Notebook).unwrap();
        let (notebook, _) = deck::notebook(&deck, Kind::ALL[kind], Lang::EN, ProgLang::Python);
        let written: Value = serde_json::from_str(&notebook.to_ipynb()).unwrap();
        for (cell, json) in notebook.cells.iter().zip(written["cells"].as_array().unwrap()) {
            let (_, _, mut wanted) = cells[cell.origin].expected();
            wanted.remove("slide_id");
            let mut metadata = json["metadata"].as_object().unwrap().clone();
            let slideshow = metadata.remove("slideshow");
            if Kind::ALL[kind] == Kind::Partial && !wanted.contains_key("tags") {
                // In a workshop, CLM leaves the list behind that its own tag was in.
                prop_assert!(metadata.remove("tags").is_none_or(|tags| tags == json!([])));
            }
            prop_assert_eq!(&metadata, &wanted);
            let tags = wanted.get("tags").cloned().unwrap_or(json!([]));
            let is_slide = tags.as_array().unwrap().iter().any(|tag| {
                ["slide", "subslide", "notes", "voiceover"].contains(&tag.as_str().unwrap())
            });
            prop_assert_eq!(slideshow.is_some(), is_slide);
        }
    }

    #[test]
    fn damaged_specifications_are_read_or_refused_with_a_place(
        spec in 0..2usize, from in any::<usize>(), length in 0..60usize, instead in "(\\PC|\n|<|>|/|\"|&){0,6}",
    ) {
        check_specification(&damaged(&fixture_specs()[spec], from, length, &instead));
    }

    #[test]
    fn any_elements_are_a_specification_or_refused_with_a_place(
        pieces in prop::collection::vec(prop::sample::select(ELEMENTS.to_vec()), 0..16),
    ) {
        check_specification(&format!("<course>\n{}</course>", pieces.concat()));
        check_specification(&pieces.concat());
    }
}

proptest! {
    // Each of these makes everything that a deck can become, in all languages.
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_text_gives_a_deck_or_an_error_with_a_line(text in "\\PC{0,40}(\n\\PC{0,30}){0,6}") {
        read_all_ways(&text);
    }

    #[test]
    fn any_pieces_give_a_deck_or_an_error_with_a_line(
        pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..24),
    ) {
        read_all_ways(&pieces.concat());
    }

    #[test]
    fn damaged_decks_give_a_deck_or_an_error_with_a_line(
        deck in 0..7usize, from in any::<usize>(), length in 0..200usize, instead in "(\\PC|\n){0,6}",
    ) {
        let text = damaged(&fixture_decks()[deck], from, length, &instead);
        match read(&text, "py", ProgLang::Python, Format::Code) {
            Ok(deck) => make_everything(&deck, ProgLang::Python),
            Err(error) => prop_assert!(error.line.is_some(), "{}\n{}", error, text),
        }
    }
}

/// Pieces of decks in all languages, whole and broken.
const PIECES: &[&str] = &[
    "# %%",
    "// %%",
    " [markdown]",
    " [raw]",
    " tags=[\"slide\"]",
    " tags=[\"workshop\", \"global\"]",
    " lang=\"de\"",
    " tags=[\"alt\"]",
    " slide_id=\"workshop-x\"",
    "\n",
    "\n\n",
    "# ",
    "// ",
    "```",
    "```python\n",
    "```c++ a=1\n",
    "~~~",
    "<!-- #region -->\n",
    "<!-- #endregion -->\n",
    "---\n",
    "jupyter:\n",
    "{{ 1 }}",
    "{{ x }}",
    "{% raw %}",
    "{% endraw %}",
    "{#",
    "# j2 set a = 1\n",
    "// j2 if lang\n",
    "\"\"\"",
    "'",
    "\"",
    "\\",
    "int x = 1;",
    "x + 1",
    "struct S {",
    "}",
    ";",
    "(",
    ")",
    "[",
    "]",
    "<",
    ">",
    "::",
    "->",
    "operator",
    "template <typename T>",
    "namespace a {",
    "#include <a>\n",
    "#ifdef A\n",
    "#endif\n",
    "if (x) ",
    "else ",
    "R\"d(",
    "/*",
    "*/",
    "int f() { return x; }",
    "int main() {}",
    "auto [a, b] = c;",
    "<b>x</b>",
    "<a href=\"x\">",
    "ä€",
    "\u{2028}",
    "\r\n",
    "%x",
    "%%bash\n",
    "!ls",
    "header(\"a\", \"b\")",
    "enum class",
    "using namespace a;",
    "extern \"C\"",
    "requires",
    "decltype(auto) ",
    "=",
    ",",
    "*",
];

/// Pieces of specifications, whole and broken.
const ELEMENTS: &[&str] = &[
    "<name>A</name>\n",
    "<name><de>A</de><en>B</en></name>\n",
    "<name><fr>A</fr></name>\n",
    "<prog-lang>cpp</prog-lang>\n",
    "<prog-lang>cobol</prog-lang>\n",
    "<sections>",
    "</sections>\n",
    "<section>",
    "</section>\n",
    "<section enabled=\"maybe\">",
    "<topics>",
    "</topics>\n",
    "<topic>a</topic>",
    "<topic id=\"a\">a</topic>",
    "<topic/>",
    "<topic html=\"x\" evaluate=\"q\">b</topic>",
    "<include source=\"..\"/>",
    "<include/>",
    "<dir-groups><dir-group><path>/</path></dir-group></dir-groups>",
    "<dir-group/>",
    "<output-targets>",
    "</output-targets>\n",
    "<output-target>",
    "</output-target>",
    "<path>../x</path>",
    "<path>out</path>",
    "<kinds><kind>foo</kind></kinds>",
    "<formats><format>code</format></formats>",
    "<image-options><format>gif</format></image-options>",
    "<subsection weekday=\"xyz\">",
    "</subsection>",
    "text",
    "&amp;",
    "&x;",
    "<!-- c -->",
    "<![CDATA[x]]>",
    "<?p i?>",
    "\n",
    "ä",
];
