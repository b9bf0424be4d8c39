use serde_json::json;

use super::super::Notebook;
use super::*;

const MEASURED: &str = include_str!("../../../../fixtures/notebooks/measured.ipynb");
const WAVES: &str = include_str!("../../../../fixtures/notebooks/waves.md");
const SORTING: &str = include_str!("../../../../fixtures/notebooks/sorting.md");
const RATES: &str = include_str!("../../../../fixtures/notebooks/rates.py");

fn try_read(name: &str, text: &str) -> Result<Option<Plain>, Diagnostic> {
    read(&RelPath::new(name).unwrap(), text)
}

fn plain(name: &str, text: &str) -> Plain {
    try_read(name, text).unwrap().unwrap()
}

fn error(name: &str, text: &str) -> String {
    try_read(name, text).unwrap_err().to_string()
}

/// Returns the kind, the line and the source of each cell.
fn cells(plain: &Plain) -> Vec<(&'static str, Option<u32>, &str)> {
    let cells = plain.deck.cells.iter();
    cells
        .map(|cell| (cell.kind.name(), cell.line, cell.source.as_str()))
        .collect()
}

#[test]
fn notebooks_keep_what_they_store() {
    let plain = plain("measured.ipynb", MEASURED);
    assert_eq!(
        cells(&plain),
        [
            (
                "markdown",
                None,
                "# Measured *values*\n\nA picture: ![dot](attachment:dot.png)"
            ),
            (
                "code",
                None,
                "values = [1, 2, 3]\nmean = sum(values) / len(values)\nprint(len(values), 'values')\nmean"
            ),
            ("code", None, "values[3]"),
            ("code", None, "input('stop')"),
            ("raw", None, "for LaTeX only"),
            ("code", None, ""),
        ]
    );
    assert_eq!(plain.title.as_deref(), Some("Measured values"));
    assert_eq!(plain.kernel.as_deref(), Some("python3"));
    assert_eq!(plain.prog_lang, Some(ProgLang::Python));
    assert!(!plain.skip && !plain.allow_errors);
    assert!(!plain.deck.metadata.contains_key("orig_nbformat"));
    assert!(plain.deck.cells[1].metadata.is_empty());
    let stored = &plain.stored;
    assert!(stored[0].attachments["dot.png"]["image/png"].is_string());
    assert_eq!(
        stored[1].outputs,
        [
            json!({"name": "stdout", "output_type": "stream", "text": "3 values\nmean 2.0\n"}),
            json!({
                "data": {"application/json": ["a", "b"], "text/plain": "2.0"},
                "execution_count": 3, "metadata": {}, "output_type": "execute_result",
            }),
        ]
    );
    assert_eq!(stored[1].execution_count, Some(3));
    let flags: Vec<_> = stored.iter().map(|s| (s.may_fail, s.is_skipped)).collect();
    assert_eq!(flags[1..4], [(false, false), (true, false), (false, true)]);
    let ids: HashSet<&str> = stored.iter().map(|stored| stored.id.as_str()).collect();
    assert_eq!(ids.len(), stored.len());
    assert!(ids.contains("title-1") && ids.contains("code-1") && !ids.contains("raw one"));
    assert!(ids.iter().all(|id| is_id(id)));
}

#[test]
fn written_notebooks_are_complete() {
    let measured = plain("measured.ipynb", MEASURED);
    let json =
        |notebook: &Notebook| -> Value { serde_json::from_str(&notebook.to_ipynb()).unwrap() };
    let original: Value = serde_json::from_str(MEASURED).unwrap();
    let mut written = json(&notebook_with_outputs(&measured));
    assert_eq!(
        written["cells"][0]["attachments"],
        original["cells"][0]["attachments"]
    );
    assert_eq!(
        written["cells"][1]["outputs"],
        original["cells"][1]["outputs"]
    );
    assert_eq!(written["cells"][1]["execution_count"], 3);
    assert_eq!(
        written["metadata"]["kernelspec"],
        original["metadata"]["kernelspec"]
    );
    assert_eq!(written["metadata"]["language_info"]["name"], "python");
    // What is written is read as the same.
    let again = plain("measured.ipynb", &written.to_string());
    assert_eq!(again.stored, measured.stored);
    assert_eq!(again.deck.cells, measured.deck.cells);
    written = json(&notebook(&measured));
    assert_eq!(written["cells"][1]["outputs"], json!([]));
    assert!(written["cells"][1].get("attachments").is_none());

    let of = |front: &str| {
        let text = format!("---\n{front}\n---\n```{{code-cell}}\n1\n```\n");
        json(&notebook(&plain("a.md", &text)))["metadata"]["kernelspec"].clone()
    };
    assert_eq!(
        of("kernelspec: {name: ir}"),
        json!({"name": "ir", "display_name": "ir"})
    );
    assert_eq!(of("kernelspec: {}"), Value::Null);
    assert_eq!(of("kernelspec: {language: python}")["name"], "python3");
}

#[test]
fn myst_notebooks_have_cells_at_the_top_level_only() {
    let plain = plain("docs/waves.md", WAVES);
    let cells = cells(&plain);
    let kinds: Vec<_> = cells.iter().map(|cell| (cell.0, cell.1)).collect();
    assert_eq!(
        kinds,
        [
            ("markdown", Some(14)),
            ("code", Some(21)),
            ("markdown", Some(26)),
            ("markdown", Some(40)),
            ("markdown", Some(44)),
            ("code", Some(58)),
            ("raw", Some(62)),
        ]
    );
    assert_eq!(cells[0].2, "# Waves\n\nTwo waves meet.");
    assert!(cells[2].2.starts_with("- A cell") && cells[2].2.ends_with("-->"));
    assert_eq!(cells[5].2, "max(wave) / 0");
    let metadata = |index: usize| Value::Object(plain.deck.cells[index].metadata.clone());
    assert_eq!(
        metadata(1),
        json!({"tags": ["hide-input", "remove-stderr"]})
    );
    assert_eq!(metadata(3), json!({"tags": ["aside"]}));
    assert_eq!(metadata(4), json!({}));
    assert_eq!(
        metadata(5),
        json!({"tags": ["raises-exception"], "mystnb": {"figure": {"caption": "A *wave*\n"}}})
    );
    assert!(plain.allow_errors && !plain.skip && plain.stored[5].may_fail);
    assert_eq!(plain.title.as_deref(), Some("Waves"));
    assert_eq!(plain.prog_lang, Some(ProgLang::Python));
    assert_eq!(plain.deck.metadata["jupytext"]["default_lexer"], "ipython3");
}

#[test]
fn jupytext_markdown_is_read_with_its_front_matter() {
    let plain = plain("docs/sorting.md", SORTING);
    let cells = cells(&plain);
    let kinds: Vec<_> = cells.iter().map(|cell| (cell.0, cell.1)).collect();
    assert_eq!(
        kinds,
        [
            ("raw", Some(1)),
            ("markdown", Some(16)),
            ("code", Some(19)),
            ("markdown", Some(22)),
            ("code", Some(26)),
            ("markdown", Some(31)),
            ("raw", Some(38)),
        ]
    );
    assert_eq!(cells[4].2, "%%bash\nls");
    assert!(plain.skip && plain.stored[2].is_skipped);
    assert_eq!(plain.title.as_deref(), Some("Sorting, in short"));
}

#[test]
fn scripts_are_notebooks_if_they_have_markers_and_are_no_templates() {
    let plain = plain("a/rates.py", RATES);
    assert_eq!(
        cells(&plain),
        [
            (
                "markdown",
                Some(10),
                "# Rates\n\nNot a template: {{ name }} and {% raw %}."
            ),
            (
                "code",
                Some(15),
                "rate = {\"a\": {\"b\": 1}}\n%matplotlib inline"
            ),
            ("raw", Some(19), "raw text"),
        ]
    );
    assert_eq!(plain.title.as_deref(), Some("Rates"));
    let cpp = try_read(
        "a.cpp",
        "// %% [markdown]\r\n// # A\r\n\r\n// %%\r\nint a;\r\n",
    );
    let cpp = cpp.unwrap().unwrap();
    assert_eq!(
        cells(&cpp),
        [("markdown", Some(2), "# A"), ("code", Some(5), "int a;")]
    );
    assert_eq!(cpp.prog_lang, Some(ProgLang::Cpp));
}

#[test]
fn other_files_are_no_notebooks() {
    for (name, text) in [
        ("module.py", "x = '''\n# %%\n'''\n"),
        ("module.py", "# coding: latin-1\nx = 1 %2\n"),
        ("README.md", "# A\n\n```python\nx = 1\n```\n"),
        (
            "page.md",
            "---\ntitle: about jupyter\n---\n```python\nx\n```\n",
        ),
        ("page.md", "---\ntitle: jupyter: a: b\n---\ntext\n"),
        ("page.md", "---\nkernelspec:\n  name: python3\n---\ntext\n"),
        (
            "page.md",
            "---\nfile_format: mystnb\n---\n    ```{code-cell}\n    ```\n",
        ),
        ("style.css", "# %%\n"),
        ("empty.md", ""),
        ("empty.py", ""),
    ] {
        assert!(try_read(name, text).unwrap().is_none(), "{name}: {text}");
    }
}

#[test]
fn what_cannot_be_read_is_said_with_its_place() {
    assert_eq!(
        error(
            "a.ipynb",
            "{\"cells\": [\n<<<<<<< HEAD\n1\n=======\n2\n>>>>>>> x\n]}"
        ),
        "a.ipynb:2: error: the notebook has conflict markers of a merge\nhint: resolve the conflict, for example with \
         `nbdime mergetool`, or take one side with `git checkout --ours FILE`"
    );
    for (text, message) in [
        ("", "a.ipynb:1: error: the file is empty"),
        (
            "{\"cells\": [\n1",
            "a.ipynb:2:1: error: the notebook is not valid JSON: EOF",
        ),
        ("[]", "a.ipynb:1: error: this is JSON, but not a notebook"),
        ("{}", "it has no `nbformat`"),
        (
            "{\"nbformat\": 3, \"worksheets\": []}",
            "has the old format 3",
        ),
        ("{\"nbformat\": 5, \"cells\": []}", "has the format 5"),
        ("{\"nbformat\": 4}", "no list of cells"),
        (
            "{\"nbformat\": 4, \"cells\": [{\"cell_type\": \"heading\"}]}",
            "the cell has the unknown type `heading`: notebooks have `code`, `markdown` and `raw` (cell 1)",
        ),
        (
            "{\"nbformat\": 4, \"cells\": [1]}",
            "the cell is not an object (cell 1)",
        ),
        (
            "{\"nbformat\": 4, \"cells\": [{\"cell_type\": \"code\", \"source\": 1}]}",
            "the source of the cell is not a text",
        ),
    ] {
        let error = error("a.ipynb", text);
        assert!(error.contains(message), "{error}");
    }
    let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n";
    assert!(error("a.ipynb", lfs).contains("Git LFS"));
    let front = "---\nfile_format: mystnb\nkernelspec: {name: python3\n---\n";
    let broken = format!("{front}```{{code-cell}}\n1\n```\n");
    assert!(error("a.md", &broken).starts_with("a.md:"), "{broken}");
    let option = "---\nfile_format: mystnb\n---\n\n```{code-cell}\n:tags: [a\n1\n```\n";
    let option = error("a.md", option);
    assert!(option.contains("options of the cell"), "{option}");
    let json = "---\nfile_format: mystnb\n---\n+++ {a}\n```{code-cell}\n```\n";
    assert!(error("a.md", json).starts_with("a.md:4: error: the metadata after `+++`"));
    let light = "# ---\n# jupyter:\n#   jupytext:\n#     text_representation:\n#       format_name: light\n# ---\nx = 1\n";
    assert!(
        error("a.py", light).starts_with("a.py:5: error: the deck is in jupytext's format `light`")
    );
}

#[test]
fn what_python_writes_into_json_is_read() {
    let text = "\u{feff}{\"nbformat\": 4, \"metadata\": {\"a\": [NaN, -Infinity, \"NaN\\\"\"]}, \"cells\": \
                [{\"cell_type\": \"raw\", \"source\": [\"\\ud83d\", \"\\ud83d\\ude00\\\\ud83d\"]}]}";
    let plain = plain("a.ipynb", text);
    assert_eq!(plain.deck.metadata["a"], json!([null, null, "NaN\""]));
    assert_eq!(plain.deck.cells[0].source, "\u{fffd}\u{1f600}\\ud83d");
}

#[test]
fn notebooks_can_ask_not_to_be_executed() {
    let of = |front: &str| {
        let text =
            format!("---\nkernelspec: {{name: python3}}\n{front}\n---\n```{{code-cell}}\n1\n```\n");
        plain("a.md", &text).skip
    };
    assert!(of("skip_execution: true"));
    assert!(of("execute: {skip: true}"));
    assert!(of("mystnb: {execution_mode: off}"));
    assert!(of("mystnb: {execution_mode: 'off'}"));
    assert!(!of("mystnb: {execution_mode: cache}"));
    let cell = "---\nkernelspec: {name: x}\n---\n+++ {}\n\n---\ntitle: T\nskip_execution: true\n---\n\n\
                ```{code-cell}\n1\n```\n";
    let plain = plain("a.md", cell);
    assert!(plain.skip && plain.title.as_deref() == Some("T") && plain.prog_lang.is_none());
}

#[test]
fn large_outputs_take_time_in_proportion() {
    let lines = vec!["x".repeat(60); 200_000];
    let text = json!({"nbformat": 4, "cells": [{"cell_type": "code", "source": [], "outputs": [
        {"output_type": "stream", "name": "stdout", "text": lines}
    ]}]});
    let plain = plain("a.ipynb", &text.to_string());
    assert_eq!(
        plain.stored[0].outputs[0]["text"].as_str().map(str::len),
        Some(60 * 200_000)
    );
}

#[test]
fn tags_are_always_a_list() {
    assert_eq!(tag_list(json!("a, b,")), json!(["a", "b"]));
    assert_eq!(tag_list(json!(["a", 1, null])), json!(["a", "1"]));
    assert_eq!(tag_list(json!(null)), json!([]));
}

/// Returns the cells of the deck that a notebook becomes, and what is said about it.
fn as_course_deck(cells: &Value, prog_lang: ProgLang) -> (Plain, Vec<Cell>, Vec<String>) {
    let notebook = json!({"nbformat": 4, "metadata": {}, "cells": cells});
    let plain = plain("a.ipynb", &notebook.to_string());
    let deck = as_deck(&plain, prog_lang);
    let path = RelPath::new(&format!("slides_a.{}", prog_lang.extension())).unwrap();
    let source = super::super::DeckSource::new(&path, &deck.text, prog_lang);
    let view = super::super::View {
        lang: crate::course::Lang::EN,
        format: crate::course::Format::Notebook,
        author: "",
        organization: "",
    };
    let read = super::super::read(&source, &view, &|_| None).unwrap();
    let lost = deck.lost.into_iter().map(|lost| lost.message);
    (plain, read.cells, lost.collect())
}

#[test]
fn decks_have_the_cells_of_their_notebooks() {
    let text = |source: &str| json!({"cell_type": "markdown", "metadata": {}, "source": source});
    let code = |source: &str| json!({"cell_type": "code", "metadata": {}, "source": source});
    let cells = json!([
        {"cell_type": "raw", "metadata": {}, "source": "---\ntitle: x\n---"},
        {"cell_type": "markdown", "source": "# A\n\n{{ a }} {% endraw %} {% raw %} {#\nj2 x", "metadata": {
            "tags": ["a b", "{{"], "slideshow": {"slide_type": "slide"}, "n": null, "collapsed": true}},
        text("{{ only }}"),
        text("```\n%% in a fence\n```\n    code\n\n"),
        text("a fence without an end\n```python\n# %%"),
        text("j2 is no statement\n%matplotlib inline\n# %x\n!ls"),
        text(""),
        code("%matplotlib inline\n!ls\n# %x\nx = '''\n# %%\n{% if %}\n'''\n# {{"),
        code("%%bash -x\nls {{a}}\n# b"),
        code("%%time\nf()"),
        code("\n\n  indented"),
        code(""),
        {"cell_type": "code", "source": "1", "metadata": {"a/b": 1, "tags": ["x"], "title": "[markdown] t"}},
    ]);
    let (plain, read, lost) = as_course_deck(&cells, ProgLang::Python);
    assert_eq!(lost, [""; 0]);
    for (cell, original) in read.iter().zip(&plain.deck.cells) {
        let mut metadata = cell.metadata.clone();
        metadata.remove("cell_marker");
        let mut expected = original.metadata.clone();
        expected.remove("collapsed");
        assert_eq!(
            (cell.kind, cell.source.as_str(), metadata),
            (original.kind, original.source.as_str(), expected)
        );
    }
    assert_eq!(read.len(), plain.deck.cells.len());
}

#[test]
fn what_decks_cannot_have_is_said() {
    let cells = json!([
        {"cell_type": "markdown", "metadata": {"tags": ["notes"]}, "source": "%% a"},
        {"cell_type": "code", "metadata": {"big": "x".repeat(20_000)}, "source": "# %% b\n!pip install x\n"},
    ]);
    for prog_lang in [ProgLang::Python, ProgLang::Java] {
        let (_, read, mut lost) = as_course_deck(&cells, prog_lang);
        let sources: Vec<&str> = read.iter().map(|cell| cell.source.as_str()).collect();
        let (marker, command) = match prog_lang {
            ProgLang::Python => ("## %% b", "# !pip install x"),
            _ => ("# %% b", "!pip install x"),
        };
        assert_eq!(sources, ["\\%% a", &format!("{marker}\n{command}")]);
        lost.sort_unstable();
        let mut expected = vec![
            "`notes` decides in courses which outputs have the cell",
            "a line of the cell looks like the marker of a cell, and has a `\\` in the deck",
            "the metadata of the cell are too large for a deck",
        ];
        if prog_lang == ProgLang::Python {
            expected.insert(0, "`!pip install x` stays a comment in the deck");
            expected.insert(2, "a comment of the cell looks like the marker of a cell, and begins with `##` in the deck");
        }
        assert_eq!(lost, expected);
    }
}
