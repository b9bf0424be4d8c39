//! Tests of the whole pipeline: from the text of a deck to notebooks, scripts and the executed cells.

mod headers;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::course::Kind;

/// Reads a deck for a view with `AUTHOR` and `ORG`.
fn read_as(
    text: &str,
    prog_lang: ProgLang,
    lang: Lang,
    format: Format,
) -> Result<Deck, Diagnostic> {
    let path = RelPath::new(&format!("slides/m/t/slides_x.{}", prog_lang.extension())).unwrap();
    let source = DeckSource::new(&path, text, prog_lang);
    let view = View {
        lang,
        format,
        author: "AUTHOR",
        organization: "ORG",
    };
    read(&source, &view, &sibling)
}

fn sibling(name: &str) -> Option<String> {
    (name == "part.txt").then(|| "# %%\r\nincluded()\r\n".to_owned())
}

fn deck(text: &str) -> Deck {
    read_as(text, ProgLang::Python, Lang::DE, Format::Notebook).unwrap()
}

fn sources(deck: &Deck) -> Vec<&str> {
    deck.cells.iter().map(|cell| cell.source.as_str()).collect()
}

fn written(text: &str, kind: Kind) -> String {
    let deck = deck(text);
    script(
        &notebook(&deck, kind, Lang::DE, ProgLang::Python).0,
        &deck,
        ProgLang::Python,
    )
}

const HEADER: &str =
    "# j2 from 'macros.j2' import header\n# {{ header(\"Titel\", \"Title\") }}\n\n# %%\n";

#[test]
fn a_reader_reads_every_view_as_if_it_were_the_only_one() {
    let texts = [
        format!("{HEADER}f(1)\n"),
        format!("{HEADER}# {{{{ lang }}}}\n# j2 if is_html\n# j2 include 'part.txt'\n# j2 endif\n"),
        format!("{HEADER}# j2 if is_notebook and lang == 'de'\n# {{{{ missing }}}}\n# j2 endif\n"),
        format!(
            "{HEADER}# j2 include 'none.txt' ignore missing\n# {{{{ is_html }}}} {{{{ author }}}}\n"
        ),
        "# %%\n# {{ is_html\n".to_owned(),
        "# %%\nx\n".to_owned(),
    ];
    let path = RelPath::new("slides/m/t/slides_x.py").unwrap();
    for text in &texts {
        let source = DeckSource::new(&path, text, ProgLang::Python);
        let mut views = Vec::new();
        for lang in Lang::USUAL {
            views.extend(
                [Format::Html, Format::Notebook, Format::Code].map(|format| View {
                    lang,
                    format,
                    author: "AUTHOR",
                    organization: "ORG",
                }),
            );
        }
        let mut reader = Reader::new(&source);
        let again: Vec<View> = views.iter().rev().copied().collect();
        for view in views.iter().chain(&again) {
            let alone = read(&source, view, &sibling).map(Arc::new);
            assert_eq!(reader.read(view, &sibling), alone, "{text}, {view:?}");
        }
    }
    let included = read_as(&texts[1], ProgLang::Python, Lang::DE, Format::Html).unwrap();
    assert_eq!(included.included, ["part.txt"]);
}

#[test]
fn ids_are_hashes_of_the_source_as_read() {
    let deck = deck(
        "# %%\n1 + 2\n# %% tags=[\"keep\"]\n1 + 2\n# %% [markdown] tags=[\"answer\"]\n# 1 + 2\n",
    );
    for kind in Kind::ALL {
        let (notebook, _) = notebook(&deck, kind, Lang::DE, ProgLang::Python);
        let ids: Vec<&str> = notebook.cells.iter().map(|cell| cell.id.as_str()).collect();
        assert_eq!(ids[0], "9fb2d3ad9d74409e");
        assert_eq!(ids[1], "810d2955a0b2ce4c");
        assert!(ids[1] != ids[2] && ids[0] != ids[2]);
    }
}

#[test]
fn tags_types_and_kinds_decide_as_in_the_table() {
    // Columns: code-along, completed, trainer, recording, partial inside a workshop. K kept, E emptied, D dropped, S an
    // answer to be written, A a given answer, Y and B notes in a box.
    let code = [
        ("", "EKKKE"),
        ("slide", "EKKKE"),
        ("subslide", "EKKKE"),
        ("workshop", "EKKKE"),
        ("private", "EKKKE"),
        ("answer", "EKKKE"),
        ("keep", "KKKKK"),
        ("start", "KDDDK"),
        ("completed", "DKKKD"),
        ("alt", "DKKKD"),
        ("notes", "DDKKD"),
        ("voiceover", "DDDKD"),
        ("del", "DDDDD"),
        ("end-workshop", "EKKKK"),
        ("keep\",\"del", "DDDDD"),
        ("keep\",\"slide", "KKKKK"),
    ];
    let markdown = [
        ("", "KKKKK"),
        ("slide", "KKKKK"),
        ("keep", "KKKKK"),
        ("private", "KKKKK"),
        ("start", "KDDDK"),
        ("completed", "DKKKD"),
        ("alt", "DKKKD"),
        ("answer", "SAAAS"),
        ("notes", "DDYYD"),
        ("voiceover", "DDDBD"),
        ("del", "DDDDD"),
    ];
    let raw = [
        ("", "KKKKK"),
        ("start", "KDDDK"),
        ("alt", "DKKKD"),
        ("notes", "DDKKD"),
        ("voiceover", "DDDKD"),
        ("answer", "KKKKK"),
    ];
    for (cell_type, table) in [
        ("", &code[..]),
        (" [markdown]", &markdown),
        (" [raw]", &raw),
    ] {
        for (tag, row) in table {
            let text = format!(
                "# %% [markdown] tags=[\"workshop\"]\n# W\n\n# %%{cell_type} tags=[\"{tag}\"]\nx\n"
            )
            .replace(" tags=[\"\"]", "");
            let deck = deck(&text);
            for (kind, wanted) in Kind::ALL.into_iter().zip(row.chars()) {
                let (notebook, _) = notebook(&deck, kind, Lang::DE, ProgLang::Python);
                let found = match notebook.cells.get(1).map(|cell| cell.source.as_str()) {
                    None => 'D',
                    Some("x") => 'K',
                    Some("") => 'E',
                    Some("*Antwort:* ") => 'S',
                    Some("*Antwort:* x") => 'A',
                    Some("<div style='background: yellow; color: black;'>\nx\n</div>") => 'Y',
                    Some("<div style='background: #FFEEBA; color: black;'>\nx\n</div>") => 'B',
                    Some(other) => panic!("{other}"),
                };
                assert_eq!(found, wanted, "{cell_type} {tag} {kind}");
            }
        }
    }
}

#[test]
fn workshops_reach_to_the_cell_that_ends_them() {
    let deck = deck(
        "# %%\n1\n# %% tags=[\"workshop\"]\n2\n# %% [markdown] tags=[\"subslide\"] slide_id=\"workshop-a\"\n# W\n\n# %%\n3\n\
         # %% [markdown] tags=[\"end-workshop\"]\n# E\n\n# %%\n4\n",
    );
    assert_eq!(
        kinds::workshops(&deck),
        [false, false, true, true, false, false]
    );
    let (partial, _) = notebook(&deck, Kind::Partial, Lang::DE, ProgLang::Python);
    let hidden: Vec<bool> = partial
        .cells
        .iter()
        .map(|cell| cell.clear_outputs)
        .collect();
    assert_eq!(hidden, [false, false, true, true, false, false]);
    assert_eq!(
        partial.cells[2].metadata["slideshow"],
        json!({"slide_type": "subslide"})
    );
    assert!(!partial.cells[2].metadata.contains_key("slide_id"));
}

#[test]
fn cells_of_another_language_are_not_shown() {
    let deck =
        deck("# %% lang=\"de\"\n1\n# %% lang=\"en\"\n2\n# %% lang=\"\"\n3\n# %% lang=\"fr\"\n4\n");
    let fr = Lang::parse("fr").unwrap();
    assert_eq!(warnings(&deck, &Lang::USUAL).len(), 1);
    assert!(warnings(&deck, &[fr]).is_empty());
    let (french, _) = notebook(&deck, Kind::Completed, fr, ProgLang::Python);
    let french: Vec<&str> = french.cells.iter().map(|cell| &*cell.source).collect();
    assert_eq!(french, ["3", "4"]);
    let (german, warnings) = notebook(&deck, Kind::Completed, Lang::DE, ProgLang::Python);
    let shown: Vec<usize> = german.cells.iter().map(|cell| cell.origin).collect();
    assert_eq!(shown, [0, 2]);
    assert_eq!(warnings.len(), 1);
    assert_eq!((warnings[0].cell, warnings[0].line), (Some(4), Some(7)));
}

#[test]
fn odd_cells_are_told_with_their_line() {
    let deck = deck(
        "# %%\n1\n# %% tags=[\"kep\", \"_mine\"]\n2\n# %% lang=de\n3\n# %% tags=[\"slide\", \"notes\"]\n4\n",
    );
    let (_, warnings) = notebook(&deck, Kind::Trainer, Lang::DE, ProgLang::Python);
    let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(texts[0].starts_with("slides/m/t/slides_x.py:3: warning: unknown tag `kep`"));
    assert!(texts[0].ends_with("did you mean `keep`?"));
    assert!(texts[1].contains("py:5: warning: the options `lang=de`"));
    assert!(texts[2].contains("`slide` and `notes`"));
}

#[test]
fn a_kind_that_is_misspelt_is_reported() {
    for (marker, meant) in [
        ("[markdwon]", Some("did you mean `[markdown]`?")),
        ("[markdown", Some("did you mean `[markdown]`?")),
        ("[Raw]", Some("did you mean `[raw]`?")),
        ("[MD]", Some("did you mean `[md]`?")),
        ("[text]", Some("did you mean `[markdown]`?")),
        ("markdown", Some("did you mean `[markdown]`?")),
        ("[md]", None),
        ("[code]", None),
        ("markdown and code", None),
        ("[markdown]", None),
        ("[raw]", None),
        ("[1] A title", None),
        ("A title", None),
    ] {
        let found = warnings(&deck(&format!("# %% {marker}\n# a\n")), &Lang::USUAL);
        let hints: Vec<Option<&str>> = found
            .iter()
            .map(|warning| warning.hint.as_deref())
            .collect();
        let expected: Vec<Option<&str>> = meant.into_iter().map(Some).collect();
        assert_eq!(hints, expected, "{marker}: {found:?}");
    }
}

#[test]
fn markers_without_a_blank_are_reported() {
    let text = "# %%[markdown]\n# a\n\n# %% [markdown]\n# b\n#\n# %%[raw]\n\n# %% [markdown]lang=\"de\"\n# c\n";
    let found = warnings(&deck(text), &[Lang::DE, Lang::EN]);
    let found: Vec<(Option<u32>, &str)> = found
        .iter()
        .map(|warning| (warning.line, warning.hint.as_deref().unwrap_or_default()))
        .collect();
    let expected = [
        (Some(1), "write a blank between: `%% [markdown]`"),
        (Some(7), "write a blank between: `%% [raw]`"),
        (Some(9), "write a blank after `[markdown]`"),
    ];
    assert_eq!(found, expected);
}

/// Fault `tag-hint`: following a hint must not remove the cell.
#[test]
fn hints_for_tags_never_remove_a_cell() {
    let hint = |tag: &str| {
        let deck = deck(&format!("# %% tags=[\"{tag}\"]\n1\n"));
        let [warning] = <[_; 1]>::try_from(warnings(&deck, &Lang::USUAL)).unwrap();
        warning.hint
    };
    for tag in ["code-along", "solution", "dell", "delete", "de", "hidden"] {
        assert_eq!(hint(tag), None, "{tag}");
    }
    for (tag, meant) in [
        ("Keep", "keep"),
        ("subslid", "subslide"),
        ("voicover", "voiceover"),
    ] {
        assert_eq!(hint(tag), Some(format!("did you mean `{meant}`?")), "{tag}");
    }
}

/// Fault `light-deck`: a deck must never become a single code cell without a diagnostic.
#[test]
fn other_formats_of_jupytext_are_refused_and_decks_without_markers_are_told() {
    let header = |format: &str| {
        format!(
            "# ---\n# jupyter:\n#   jupytext:\n#     text_representation:\n#       extension: .py\n#       format_name: {format}\n# ---\n\n# # A title\n\nx = 1\n"
        )
    };
    for format in ["light", "sphinx", "nomarker"] {
        let text = header(format);
        let error = read_as(&text, ProgLang::Python, Lang::DE, Format::Code).unwrap_err();
        assert_eq!(error.line, Some(6), "{error}");
        assert!(
            error.message.contains(&format!("format `{format}`")),
            "{error}"
        );
    }
    let percent = format!("{}# %%\ny = 2\n", header("light"));
    assert_eq!(deck(&percent).lost, []);
    let unmarked = deck(&header("percent"));
    assert_eq!(unmarked.lost.len(), 1);
    assert_eq!(unmarked.lost[0].line, Some(9));
    assert_eq!(deck("x = 1\n").lost.len(), 1);
    assert_eq!(deck("\n\n").lost, []);
}

#[test]
fn cells_end_before_the_blank_lines_that_separate_them() {
    let deck = deck("# %%\na\n\n\n\n# %%\nb\n\n\n# %%\nc\n\n# %%\nd\n# %%\n\n\n\n# %%\n");
    assert_eq!(sources(&deck), ["a\n\n", "b", "c", "d", "\n", ""]);
    assert!(super::tests::deck("").cells.is_empty());
    assert_eq!(sources(&super::tests::deck("\n# hi\n")), ["\n# hi"]);
}

#[test]
fn markers_in_strings_and_fences_are_text() {
    assert_eq!(deck("# %%\nx = '''\n# %%\n'''\n# %%\n").cells.len(), 2);
    assert_eq!(
        sources(&deck("# %% [markdown]\n# ```\n# %%\n# ```\n\n# %%\n1\n")),
        ["```\n%%\n```", "1"]
    );
    assert_eq!(deck("# %% [markdown]\n# ```\n# %%\n1\n").cells.len(), 2);
}

#[test]
fn text_may_be_one_string() {
    let deck = deck("# %% [markdown]\n\"\"\"\n# %%\nä\n\"\"\"\n\n# %%\n1\n");
    assert_eq!(sources(&deck), ["# %%\nä", "1"]);
    assert_eq!(deck.cells[0].line, Some(3));
    let script = written(
        "# %% [markdown]\n\"\"\"\n# %%\nä\n\"\"\"\n\n# %%\n1\n",
        Kind::Completed,
    );
    assert_eq!(
        script,
        "# %% [markdown]\n\"\"\"\n# %%\nä\n\"\"\"\n\n# %%\n1\n"
    );
}

#[test]
fn scripts_have_no_options_and_room_around_definitions() {
    let text = "#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n# %% title tags=[\"keep\"]\n# %matplotlib inline\nx = 1\n\
                # %%\ndef f():\n    pass\n\n# %% [markdown] lang=\"de\"\n# T\n#\n\n# %%\nf()\n# %% [raw]\n# r\n# %% language=\"bash\"\n# ls\n";
    assert_eq!(
        written(text, Kind::Completed),
        "#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n# %%\n# %matplotlib inline\nx = 1\n\n\n\
         # %%\ndef f():\n    pass\n\n\n# %% [markdown]\n# T\n#\n\n# %%\nf()\n\n# %% [raw]\n# r\n\n# %% language=\"bash\"\n# ls\n"
    );
    let cpp = read_as("// %%\n// ä\n", ProgLang::Cpp, Lang::DE, Format::Code).unwrap();
    let (cpp_notebook, _) = notebook(&cpp, Kind::Completed, Lang::DE, ProgLang::Cpp);
    assert_eq!(
        script(&cpp_notebook, &cpp, ProgLang::Cpp),
        "// -*- coding: utf-8 -*-\n// %%\n// ä\n"
    );
}

#[test]
fn quoted_text_cells_stay_quoted() {
    // A backslash needs a raw string.
    assert_eq!(
        written("# %% [markdown]\n\"\"\"\na\\_b\n\"\"\"\n", Kind::Completed),
        "# %% [markdown]\nr\"\"\"\na\\_b\n\"\"\"\n"
    );
    // A last line that looks like a comment does not count as code, even with quotes below it.
    let function = "\n# %%\ndef f():\n    pass\n";
    let text = |last: &str, blanks: &str| {
        format!("# %% [markdown]\n'''\ntext\n{last}\n'''\n{blanks}{function}")
    };
    for (last, blanks) in [("## heading", ""), ("words", "\n")] {
        assert_eq!(
            written(&text(last, ""), Kind::Completed),
            text(last, blanks)
        );
    }
}

#[test]
fn cells_of_a_workshop_have_a_list_of_tags_in_partial_outputs() {
    let text = "# %%\n1\n# %% [markdown] tags=[\"workshop\"] section_name=\"s\"\n# W\n# %%\n2\n# %% tags=[\"keep\"]\n3\n";
    let metadata = |kind| {
        let cells = notebook(&deck(text), kind, Lang::DE, ProgLang::Python)
            .0
            .cells;
        let metadata: Vec<_> = cells.into_iter().map(|cell| cell.metadata).collect();
        serde_json::to_value(metadata).unwrap()
    };
    assert_eq!(
        metadata(Kind::Partial),
        json!([{}, {"tags": ["workshop"]}, {"tags": []}, {"tags": ["keep"]}])
    );
    assert_eq!(
        metadata(Kind::Completed),
        json!([{}, {"tags": ["workshop"]}, {}, {"tags": ["keep"]}])
    );
}

#[test]
fn a_raw_cell_may_begin_a_slide_of_a_program() {
    let text = "// %% tags=[\"slide\"]\nint a = 1;\n// %% [raw] tags=[\"slide\"]\n// raw\n// %% tags=[\"slide\"]\nfoo();\n\
                // %% [markdown]\n// a < b\n//\n//\n// c\n";
    let deck = read_as(text, ProgLang::Cpp, Lang::DE, Format::Code).unwrap();
    let (notebook, _) = notebook(&deck, Kind::CodeAlong, Lang::DE, ProgLang::Cpp);
    let program = cpp::program(&deck, &notebook, Kind::CodeAlong, Lang::DE, "deck");
    let main = program.main;
    assert!(main.contains("// TODO: slide_03"), "{main}");
    // Text with a `<` is parsed as HTML, in which gaps are reduced.
    assert!(main.contains("    // a < b\n    //\n    // c"), "{main}");
}

#[test]
fn a_script_of_no_cells_is_an_empty_line() {
    assert_eq!(written("# %% tags=[\"del\"]\n1\n", Kind::Completed), "\n");
    let text = "#!/usr/bin/env python\n# %% tags=[\"del\"]\n1\n";
    assert_eq!(written(text, Kind::Completed), "#!/usr/bin/env python\n");
}

#[test]
fn notebooks_are_written_as_the_format_says() {
    let deck = deck("# %% tags=[\"keep\"] x=1e20\n\"ä\\n\"\n\n# %% [markdown]\n");
    let (notebook, _) = notebook(&deck, Kind::CodeAlong, Lang::DE, ProgLang::Python);
    let text = notebook.to_ipynb();
    assert!(text.starts_with(
        "{\n \"cells\": [\n  {\n   \"cell_type\": \"code\",\n   \"execution_count\": null,\n   \"id\": \""
    ));
    assert!(text.contains("\"metadata\": {\n    \"tags\": [\n     \"keep\"\n    ],\n    \"x\": 1e+20\n   },\n   \"outputs\": [],\n   \"source\": [\n    \"\\\"ä\\\\n\\\"\"\n   ]"));
    assert!(text.contains("\"metadata\": {},\n   \"source\": []\n  }\n ],\n \"metadata\": {\n  \"jupytext\": {\n   \"cell_metadata_filter\": \"-all,tags,x\",\n   \"main_language\": \"python\",\n   \"notebook_metadata_filter\": \"-all\"\n  },\n  \"kernelspec\": {\n   \"display_name\": \"Python 3 (ipykernel)\","));
    assert!(text.ends_with(" \"nbformat\": 4,\n \"nbformat_minor\": 5\n}\n"));
    assert!(
        notebook
            .to_json()
            .starts_with("{\"cells\":[{\"cell_type\":\"code\",\"execution_count\":null,")
    );
}

#[test]
fn one_execution_serves_every_kind() {
    let deck = deck(
        "# %%\n1\n# %% tags=[\"start\"]\n2\n# %% tags=[\"alt\", \"raises-exception\"]\n3\n# %% lang=\"en\"\n4\n# %%\n\n# %% tags=[\"del\"]\n5\n# %% [markdown] tags=[\"workshop\"]\n# %%\n6\n",
    );
    let cells = execution_cells(&deck, Lang::DE, ProgLang::Python);
    let run: Vec<(&str, bool, Option<u32>)> = cells
        .iter()
        .map(|cell| (cell.source.as_str(), cell.may_fail, cell.line))
        .collect();
    assert_eq!(
        run,
        [
            ("1", false, Some(2)),
            ("3", true, Some(6)),
            ("6", false, Some(15))
        ]
    );
    let results: Vec<_> = (1..=3)
        .map(|count| (vec![json!({"n": count})], Some(count)))
        .collect();
    let counts = |kind| {
        let (mut notebook, _) = notebook(&deck, kind, Lang::DE, ProgLang::Python);
        attach(&mut notebook, &cells, &results);
        let with_outputs = notebook
            .cells
            .iter()
            .filter(|cell| !cell.outputs.is_empty());
        with_outputs
            .map(|cell| cell.execution_count.unwrap())
            .collect::<Vec<_>>()
    };
    assert!(counts(Kind::CodeAlong).is_empty());
    assert_eq!(counts(Kind::Completed), [1, 2, 3]);
    assert_eq!(counts(Kind::Recording), [1, 2, 3]);
    assert_eq!(counts(Kind::Partial), [1, 2]);
}

#[test]
fn templates_see_the_view_and_the_files_of_the_topic() {
    let text = "# j2 if lang == 'de'\n\n# %%\nde = {{ is_notebook }}\n# j2 endif\n{% include 'part.txt' %}\n\
                {% include 'no.txt' ignore missing %}\n# %%\n{% raw %}f\"{{x}}\"{% endraw %}\n";
    let deck = deck(text);
    assert_eq!(sources(&deck), ["de = True", "included()", "f\"{{x}}\""]);
    assert_eq!(deck.included, ["no.txt", "part.txt"]);
    assert_eq!(deck.cells[1].line, None);
    assert_eq!(deck.cells[2].line, Some(9));
}

#[test]
fn template_errors_name_the_line_and_what_to_do() {
    let error = |text: &str| {
        read_as(text, ProgLang::Python, Lang::DE, Format::Code)
            .unwrap_err()
            .to_string()
    };
    let undefined = error("# j2 set a = 1\n\n\n# %%\nx = f\"{{y}}\"\n");
    assert!(
        undefined.starts_with("slides/m/t/slides_x.py:5: error: Jinja: "),
        "{undefined}"
    );
    assert!(undefined.contains("`{% raw %}`"), "{undefined}");
    assert!(error("# %%\n\"{%\"\n").starts_with("slides/m/t/slides_x.py:2: error: Jinja: "));
    assert!(error("# %%\n\n\"{#\"\n").starts_with("slides/m/t/slides_x.py:3: error: Jinja: "));
    // The correct value for the fault `jinja-undefined`, and similar ones.
    for (text, expected) in [
        (
            "# %% {{ some_tags }}\nx = 1\n",
            "py:1: error: Jinja: `some_tags` is not defined",
        ),
        (
            "{% set y = 1 %}\n{{ auhtor }}",
            "py:2: error: Jinja: `auhtor` is not defined",
        ),
        ("{% set title = 1 %}\n{{ titel }}", "did you mean `title`?"),
        ("{{ auhtor }}", "did you mean `author`?"),
        (
            "{% if langauge == 'de' %}{% endif %}",
            "`langauge` is not defined",
        ),
        (
            "x\n{% for a in topics %}{% endfor %}",
            "py:2: error: Jinja: `topics` is not defined",
        ),
        ("{{ 'x' ~ x.y }}", "`x` is not defined"),
        ("{{ lang.name }}", "`lang.name` is not defined"),
        (
            "# j2 from 'macros.j2' import headr\n# {{ headr('a', 'b') }}",
            "py:2: error: Jinja: there is no macro `headr`",
        ),
        (
            "# j2 from 'macros.j2' import headr\n# {{ headr('a', 'b') }}",
            "did you mean `header`?",
        ),
        (
            "# {{ header('a', 'b') }}",
            "import it in a line before: `# j2 from 'macros.j2' import header`",
        ),
        (
            "# {{ hedaer('a', 'b') }}",
            "did you mean `header`? Then import it",
        ),
        ("{{ 'x' | uper }}", "there is no filter `uper`"),
        ("{{ 'x' | uper }}", "did you mean `upper`?"),
        ("{{ lang is defind }}", "did you mean `defined`?"),
    ] {
        let error = error(text);
        assert!(error.contains(expected), "{text}\n{error}\n{expected}");
    }
    let missing = error("# %%\n{% include 'nope.txt' %}\n");
    assert!(
        missing.contains("py:2: error: ") && missing.contains("nope.txt"),
        "{missing}"
    );
    for arguments in ["", "\"Titel\", Title", "Title", "en=Title"] {
        let missing = error(&HEADER.replace("\"Titel\", \"Title\"", arguments));
        assert!(
            missing.contains("py:2: error: the header macro was given a missing argument"),
            "{arguments}: {missing}"
        );
    }
    for (arguments, expected) in [
        ("'a', 'b', 'c'", "py:2: error: Jinja: too many arguments"),
        ("english='a'", "unknown keyword argument `english`"),
        ("'a', en='b'", "unknown keyword argument `en`"),
    ] {
        let error = error(&HEADER.replace("\"Titel\", \"Title\"", arguments));
        assert!(error.contains(expected), "{arguments}: {error}");
    }
    let endless =
        "{% macro f(x) %}{% for i in range(99999) %}{{ f(i) }}{% endfor %}{% endmacro %}{{ f(1) }}";
    assert!(!error(endless).is_empty());
    let tags = error("# %%\n1\n# %% tags=\"slide\"\n2\n");
    assert!(
        tags.contains("py:3: error: the tags of the cell are not a list"),
        "{tags}"
    );
    assert!(
        error("# coding: latin-1\n# %%\n").contains("py:1: error: the deck declares an encoding")
    );
}

#[test]
fn line_ends_and_marks_of_editors_do_not_matter() {
    let deck = deck("\u{feff}# j2 set x = 1\r\n\r\n# %% tags=[\"keep\"]\r\na = {{ x }}\r\nb\r\n");
    assert_eq!(sources(&deck), ["a = 1\nb"]);
    assert_eq!(deck.cells[0].line, Some(4));
}

#[test]
fn large_decks_are_read_in_linear_time() {
    let cell = "# %% [markdown] lang=\"en\" tags=[\"slide\"]\n#\n# ## Title\n# ```python\n#\n# text of a slide\n\n# %%\nprint(1)\nx = \"\"\"a\"\"\"\n\n";
    let text = format!("{HEADER}{}", cell.repeat(4000));
    let start = std::time::Instant::now();
    let deck = deck(&text);
    let (notebook, _) = notebook(&deck, Kind::Completed, Lang::EN, ProgLang::Python);
    let script = script(&notebook, &deck, ProgLang::Python);
    assert!(script.len() > text.len() / 2);
    // Debug builds are slow, but quadratic algorithms would take minutes.
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

proptest! {
    #[test]
    fn any_text_gives_a_deck_or_a_diagnostic(
        text in "((# %%|// %%|#%%)( \\[(markdown|raw)\\])?( tags=\\[\"[a-z\"]*\\]?)?( [a-z.]+=[^ \n]{0,4})?\n|# [a-z{}%\"'`]{0,6}\n|\"\"\"\n|```\n|# j2 [a-z =]{0,9}\n|\\PC{0,8}\n|\n|\r\n|\u{2028}|ä|\\{\\{|\\{%){0,24}",
        index in 0..5usize,
    ) {
        let prog_lang = ProgLang::ALL[index];
        match read_as(&text, prog_lang, Lang::EN, Format::Html) {
            Ok(deck) => {
                for kind in Kind::ALL {
                    let (notebook, _) = notebook(&deck, kind, Lang::EN, prog_lang);
                    let value: Value = serde_json::from_str(&notebook.to_ipynb()).unwrap();
                    prop_assert_eq!(value["cells"].as_array().unwrap().len(), notebook.cells.len());
                    let whole: Value = serde_json::from_str(&notebook.to_json()).unwrap();
                    prop_assert_eq!(&whole["metadata"], &value["metadata"]);
                    script(&notebook, &deck, prog_lang);
                }
            }
            Err(diagnostic) => prop_assert!(diagnostic.file.is_some()),
        }
    }

    #[test]
    fn what_is_written_is_read_again(
        cells in proptest::collection::vec(("|\\[markdown\\]|\\[raw\\]", "([v-z#][v-z# ]{0,5}\n){0,4}"), 1..8),
    ) {
        let text: String = cells
            .iter()
            .map(|(kind, source)| match kind.as_str() {
                "" => format!("# %%\n{source}\n\n"),
                kind => format!("# %% {kind}\n# {}\n\n", source.replace('\n', "\n# ")),
            })
            .collect();
        let script = written(&text, Kind::Completed);
        let again = written(&script, Kind::Completed);
        prop_assert_eq!(again, script);
    }
}

/// Limits of the engine itself: in tests, templates that are not plain are rendered in the same process, too.
#[test]
fn templates_that_make_too_much_name_the_line() {
    let grow = "{% set ns = namespace(x='0123456789') %}\n";
    for (what, text, line) in [
        ("text", format!("{grow}{{% for i in range(60) %}}\n{{% set ns.x = ns.x ~ ns.x %}}\n{{% endfor %}}"), 3),
        ("output", "a\n{% for i in range(99999) %}{% for i in range(9) %}\n0123456789012345678901234567890123456789\n{% endfor %}{% endfor %}".to_owned(), 2),
        ("method", format!("{grow}{{% for i in range(60) %}}\n{{% set ns.x = 'abcdefghijklm'.join([ns.x, ns.x]) %}}\n{{% endfor %}}"), 3),
        ("nested", "{% set ns = namespace(x=[1]) %}\n{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}\n\n{{ ns.x }}".to_owned(), 4),
        ("repeated", "a\n{{ 'x' * 999999999999 }}".to_owned(), 2),
    ] {
        let error = read_as(&text, ProgLang::Python, Lang::DE, Format::Code).unwrap_err();
        assert_eq!(error.line, Some(line), "{what}: {error}");
        assert!(error.hint.is_some(), "{what}: {error}");
    }
}

#[test]
fn lines_of_cells_are_those_of_the_file() {
    let line_of_raise = |text: &str| {
        let deck = deck(text);
        let cell = deck.cells.last().unwrap();
        let mut lines = cell.source.split('\n');
        let offset = lines.position(|line| line.starts_with("raise")).unwrap();
        cell.line_at(offset as u32)
    };
    // Notebook tools have line ends that editors do not have.
    let ends = [
        "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\u{85}", "\u{2028}", "\u{2029}",
    ];
    for end in ends {
        let text = format!("# %%\na = 1\n{end}\n# two {end} b\n{end}{end}c\n\nraise ValueError\n");
        assert_eq!(line_of_raise(&text), Some(7), "{end:?}");
        let text = format!("# %%\n1\n{end}\n# %%\n{end}\nraise ValueError\n");
        assert_eq!(line_of_raise(&text), Some(6), "{end:?} before the cell");
    }
    // Statements of templates are removed.
    let text = "# %%\na = 1\n# j2 if true\nb = 2\n# j2 endif\n\nraise ValueError\n";
    assert_eq!(line_of_raise(text), Some(7));
    assert_eq!(line_of_raise("# %%\r\na\r\nraise ValueError\r\n"), Some(3));
}
