use proptest::prelude::*;

use super::*;
use crate::course::Kind;

fn view(lang: Lang, format: Format) -> View<'static> {
    View {
        lang,
        format,
        author: "AUTHOR",
        organization: "ORG",
    }
}

fn read_text(text: &str, lang: Lang, format: Format) -> Result<Deck, Diagnostic> {
    let path = RelPath::new("slides/m/topic_1_a/slides_a.py").unwrap();
    let source = DeckSource {
        path: &path,
        text,
        prog_lang: ProgLang::Python,
    };
    read(&source, &view(lang, format), &|name| {
        (name == "part.txt").then(|| "# included\n".to_owned())
    })
}

fn deck(text: &str) -> Deck {
    read_text(text, Lang::En, Format::Code).unwrap()
}

const HEAD: &str = "# j2 from 'macros.j2' import header\n# {{ header(\"Titel\", \"Title\") }}\n\n";

#[test]
fn the_header_becomes_two_title_cells() {
    let deck = deck(&format!("{HEAD}# %%\n1 + 2\n"));
    assert_eq!(deck.cells.len(), 3);
    assert_eq!(
        deck.cells[0].source,
        "\n<div style=\"text-align:center; font-size:200%;\">\n <b>Titel</b>\n</div>\n<br/>\n\
         <div style=\"text-align:center;\">AUTHOR</div>\n<br/>\n\n<div style=\"text-align:center;\">ORG</div>\n<br/>"
    );
    assert!(
        deck.cells[1].source.starts_with("\n<div") && deck.cells[1].source.ends_with("<br/>\n\n")
    );
    assert!(deck.cells[1].source.contains("\n  <b>Title</b>\n"));
    assert_eq!(
        deck.cells[1].metadata,
        serde_json::from_str(r#"{"lang":"en","tags":["slide"]}"#).unwrap()
    );
    assert_eq!((deck.cells[2].line, deck.cells[2].number), (Some(5), 3));
    assert_eq!(deck.cells[0].line, None);
}

#[test]
fn pages_and_notebooks_show_the_logo_and_scripts_do_not() {
    let text = format!("{HEAD}# %%\n1\n");
    let page = read_text(&text, Lang::De, Format::Html).unwrap();
    assert!(
        page.cells[0]
            .source
            .starts_with("\n<img src=\"data:image/svg+xml;base64,")
    );
    assert!(
        page.cells[0]
            .source
            .contains("alt=\"Python Logo\"/>\n<br>\n\n<div")
    );
    let script = read_text(&text, Lang::De, Format::Code).unwrap();
    assert!(!script.cells[0].source.contains("<img"));
}

#[test]
fn jinja_errors_name_the_line_of_the_file() {
    let error = read_text(
        &format!("{HEAD}# %%\nx = 1\ny = f\"{{{{z}}}}\"\n"),
        Lang::De,
        Format::Code,
    )
    .unwrap_err();
    assert_eq!(error.line, Some(6), "{error}");
    assert!(error.hint.as_deref().unwrap().contains("raw"));
    let error = read_text("# j2 from 'lost.j2' import x\n", Lang::De, Format::Code).unwrap_err();
    assert!(error.to_string().contains("lost.j2"), "{error}");
    let error = read_text(
        "# {% for i in range(100000) %}{% for i in range(100000) %}{% endfor %}{% endfor %}\n",
        Lang::De,
        Format::Code,
    )
    .unwrap_err();
    assert!(error.message.contains("end"), "{error}");
}

#[test]
fn includes_are_told() {
    let deck = deck("# %% [markdown]\n{% include 'part.txt' %}\n");
    assert_eq!(deck.included, ["part.txt"]);
    assert_eq!(deck.cells[0].source, "included");
}

#[test]
fn ids_depend_on_content() {
    let deck = deck("# %%\n1 + 2\n# %%\n1 + 2\n");
    let (notebook, _) = notebook(&deck, Kind::Completed, Lang::En, ProgLang::Python);
    assert_eq!(notebook.cells[0].id, "9fb2d3ad9d74409e");
    assert_ne!(notebook.cells[1].id, notebook.cells[0].id);
}

/// The tables of the format: what becomes of a cell with a tag, for each kind.
#[test]
fn tags_decide_which_cells_are_kept() {
    let kinds = [
        Kind::CodeAlong,
        Kind::Completed,
        Kind::Trainer,
        Kind::Recording,
        Kind::Partial,
    ];
    let code = [
        ("", "EKKKE"),
        ("slide", "EKKKE"),
        ("keep", "KKKKK"),
        ("start", "KDDDK"),
        ("completed", "DKKKD"),
        ("alt", "DKKKD"),
        ("notes", "DDKKD"),
        ("voiceover", "DDDKD"),
        ("del", "DDDDD"),
        ("private", "EKKKE"),
        ("answer", "EKKKE"),
        ("end-workshop", "EKKKK"),
    ];
    let markdown = [
        ("", "KKKKK"),
        ("slide", "KKKKK"),
        ("keep", "KKKKK"),
        ("start", "KDDDK"),
        ("completed", "DKKKD"),
        ("alt", "DKKKD"),
        ("notes", "DDKKD"),
        ("voiceover", "DDDKD"),
        ("del", "DDDDD"),
        ("answer", "SPPPS"),
    ];
    for (marker, table) in [("", &code[..]), (" [markdown]", &markdown[..])] {
        for (tag, fates) in table {
            let tags = if tag.is_empty() {
                String::new()
            } else {
                format!(" tags=[\"{tag}\"]")
            };
            let text =
                format!("# %% [markdown] tags=[\"workshop\"]\n# W\n\n# %%{marker}{tags}\n# text\n");
            let deck = deck(&text);
            let plain = if marker.is_empty() { "# text" } else { "text" };
            for (kind, fate) in kinds.iter().zip(fates.chars()) {
                let (notebook, _) = notebook(&deck, *kind, Lang::En, ProgLang::Python);
                let source = notebook.cells.get(1).map(|cell| cell.source.as_str());
                let found = match source {
                    None => 'D',
                    Some("") => 'E',
                    Some("*Answer:* ") => 'S',
                    Some(text) if text == format!("*Answer:* {plain}") => 'P',
                    Some(text) if text.contains(plain) => 'K',
                    Some(text) => panic!("{text:?}"),
                };
                assert_eq!(found, fate, "{marker} {tag} {kind}");
            }
        }
    }
}

#[test]
fn languages_notes_and_slides_are_shown_as_they_should() {
    let deck = deck(
        "# %% [markdown] lang=\"de\"\n# D\n\n# %% [markdown] lang=\"en\" tags=[\"notes\"] slide_id=\"x\"\n# N\n\n# %% [markdown] lang=\"fr\"\n# F\n",
    );
    let (notebook, _) = notebook(&deck, Kind::Trainer, Lang::En, ProgLang::Python);
    assert_eq!(notebook.cells.len(), 1);
    let cell = &notebook.cells[0];
    assert_eq!(
        cell.source,
        "<div style='background: yellow; color: black;'>\nN\n</div>"
    );
    assert_eq!(cell.metadata["slideshow"]["slide_type"], "notes");
    assert!(!cell.metadata.contains_key("slide_id"));
    assert_eq!(
        notebook.metadata["jupytext"]["cell_metadata_filter"],
        "-all,lang,slide_id,tags"
    );
}

#[test]
fn unknown_tags_are_told_once_for_each_cell_that_is_shown() {
    let deck = deck("# %% tags=[\"kep\"]\n1\n# %% tags=[\"kep\", \"del\"]\n2\n");
    let (_, warnings) = notebook(&deck, Kind::Completed, Lang::En, ProgLang::Python);
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].hint.as_deref(), Some("did you mean `keep`?"));
    assert_eq!(warnings[0].line, Some(1));
}

#[test]
fn notebooks_are_written_sorted_and_without_results() {
    let deck = deck("# %% [markdown]\n# Ä\n# b\n\n# %%\n");
    let (notebook, _) = notebook(&deck, Kind::Completed, Lang::En, ProgLang::Python);
    let text = notebook.to_ipynb();
    assert!(
        text.starts_with("{\n \"cells\": [\n  {\n   \"cell_type\": \"markdown\",\n   \"id\": ")
    );
    assert!(text.contains("\"source\": [\n    \"Ä\\n\",\n    \"b\"\n   ]"));
    assert!(text.contains("\"execution_count\": null,"));
    assert!(text.contains("\"outputs\": [],\n   \"source\": []"));
    assert!(text.ends_with("\"nbformat\": 4,\n \"nbformat_minor\": 5\n}\n"));
}

#[test]
fn scripts_have_no_metadata_and_room_around_definitions() {
    let text = "# %% [markdown] lang=\"en\"\n# T\n#\n# U\n\n# %% tags=[\"keep\"]\n# %matplotlib inline\n!ls\nx = 1\n\n# %%\ndef f():\n    pass\n\n# %%\nf()\n# %%\n";
    let deck = deck(text);
    let (notebook, _) = notebook(&deck, Kind::Completed, Lang::En, ProgLang::Python);
    assert_eq!(notebook.cells[1].source, "%matplotlib inline\n!ls\nx = 1");
    assert_eq!(
        code(&notebook, &deck, ProgLang::Python),
        "# %% [markdown]\n# T\n#\n# U\n\n# %%\n# %matplotlib inline\n# !ls\nx = 1\n\n\n# %%\ndef f():\n    pass\n\n\n# %%\nf()\n\n# %%\n"
    );
}

#[test]
fn execution_leaves_out_what_nobody_shows() {
    let deck = deck(
        "# %%\n1\n# %% tags=[\"start\"]\n2\n# %% tags=[\"del\"]\n3\n# %% lang=\"de\"\n4\n# %% tags=[\"raises-exception\"]\n5\n# %%\n\n",
    );
    let cells = execution_cells(&deck, Lang::En, ProgLang::Python);
    let sources: Vec<(&str, bool)> = cells
        .iter()
        .map(|cell| (cell.source.as_str(), cell.may_fail))
        .collect();
    assert_eq!(sources, [("1", false), ("5", true)]);
    let (mut along, _) = notebook(&deck, Kind::CodeAlong, Lang::En, ProgLang::Python);
    let results = vec![
        (vec![serde_json::json!({"x": 1})], Some(1)),
        (vec![], Some(2)),
    ];
    attach(&mut along, &cells, &results);
    assert!(along.cells.iter().all(|cell| cell.outputs.is_empty()));
    let (mut full, _) = notebook(&deck, Kind::Completed, Lang::En, ProgLang::Python);
    attach(&mut full, &cells, &results);
    assert_eq!(full.cells[0].outputs.len(), 1);
    assert_eq!(full.cells[0].execution_count, Some(1));
}

proptest! {
    #[test]
    fn any_text_gives_a_deck_or_a_diagnostic(text in "(# %%( \\[markdown\\])?( tags=\\[\"[a-z]*\"\\])?\n|# [a-z{}%\"']*\n|\"\"\"\n|[a-z ={}%#'\"\\\\]*\n|\n|\r\n|\u{2028}|ä){0,30}") {
        match read_text(&text, Lang::En, Format::Html) {
            Ok(deck) => {
                for kind in Kind::ALL {
                    let (notebook, _) = notebook(&deck, kind, Lang::En, ProgLang::Python);
                    let parsed: Value = serde_json::from_str(&notebook.to_ipynb()).unwrap();
                    prop_assert_eq!(parsed["cells"].as_array().unwrap().len(), notebook.cells.len());
                    let script = code(&notebook, &deck, ProgLang::Python);
                    prop_assert!(script.is_empty() == notebook.cells.is_empty() || script.ends_with('\n'));
                }
            }
            Err(diagnostic) => prop_assert!(diagnostic.file.is_some()),
        }
    }
}
