//! Notebooks outside of courses: our readers against jupytext, which defined the formats.

use clm::testing::course::deck::plain::{self, Plain};
use clm::testing::course::{ProgLang, RelPath};
use clm::testing::events::Diagnostic;
use serde_json::{Value, json};

use crate::support::jupytext::{Random, theirs};

/// Pieces that MyST notebooks are put together from.
const MYST: &[&str] = &[
    "# A title\n",
    "Some text\n",
    "A title\n=======\n",
    "\n",
    "\n\n\n",
    "   \n",
    "- a\n- b\n",
    "1. a\n",
    "  continued\n",
    "    code, or more of a list\n",
    "> quoted\n",
    "| a | b |\n|---|---|\n| 1 | 2 |\n",
    "(target)=\n",
    "% a comment\n",
    ":::{note}\n",
    ":::\n",
    "***\n",
    "<div>\n",
    "</div>\n",
    "<!-- a comment -->\n",
    "<!--\n",
    "-->\n",
    "+++\n",
    "+++ {\"tags\": [\"a\"], \"b\": {\"c\": 1}}\n",
    "  + + +\n",
    "++\n",
    "```{code-cell} ipython3\n",
    "```{code-cell}\n",
    "```{code-cell} ipython3\nx = 1\n```\n",
    "```{code-cell} python\n\n\nx = 1\n\n\n```\n",
    "```{code-cell} ipython3\n:tags: [hide-input, b]\n\nx = 2\n```\n",
    "```{code-cell} ipython3\n:tags: [hide-input]\n:other: true\nx = 2\n\n```\n",
    "```{code-cell} ipython3\n---\ntags: [a]\nmystnb:\n  figure:\n    caption: |\n      A text\n---\nx = 3\n```\n",
    "```{code-cell} ipython3\n---\n---\nx = 3\n```\n",
    "````{code-cell} ipython3\ns = '''\n```\n'''\n````\n",
    "~~~{code-cell} ipython3\nx = 4\n~~~\n",
    "  ```{code-cell} ipython3\n  x = 5\n    y = 6\n  ```\n",
    "- ```{code-cell} ipython3\n  x = 5\n  ```\n",
    "> ```{code-cell} ipython3\n> x = 5\n> ```\n",
    "    ```{code-cell} ipython3\n",
    "```{raw-cell}\nraw\n```\n",
    "```{raw-cell}\n:tags: [x]\n\nraw\n```\n",
    "````{note}\n```{code-cell} ipython3\nx\n```\n````\n",
    "```{note}\n",
    "```\n",
    "````\n",
    "~~~\n",
    "```python\nx\n```\n",
    "Umlauts: ä ö ü\n",
];

const MYST_HEADERS: &[&str] = &[
    "---\njupytext:\n  text_representation:\n    extension: .md\n    format_name: myst\nkernelspec:\n  display_name: Python 3\n  language: python\n  name: python3\n---\n",
    "---\njupytext:\n  text_representation: {extension: .md, format_name: myst}\nfile_format: mystnb\nmystnb:\n  execution_mode: off\nnumber: 010\nlist:\n- a\n- 'yes'\n- yes\n---\n\n",
];

/// Pieces of percent scripts, which are no templates.
const PERCENT: &[&str] = &[
    "# %%\nx = 1\n",
    "# %% a title tags=[\"b\"]\ny = {\"a\": {\"b\": 1}}\n",
    "# %% [markdown]\n# # A title\n# {{ braces }} and {% raw %}\n",
    "# %% [markdown]\n\"\"\"\nquoted\n\"\"\"\n",
    "# %% [raw]\n# raw\n",
    "# %matplotlib inline\n# !ls\n",
    "# %%time\n",
    "# %% language=\"bash\"\n# ls\n",
    "#%%\nz = '''\n# %%\n'''\n",
    "# In[3]:\n",
    "\n",
    "\n\n",
    "def f():\n    return 1\n",
    "# a comment\n",
    "    # %% indented\n",
];

const PERCENT_HEADERS: &[&str] = &[
    "",
    "# ---\n# jupyter:\n#   jupytext:\n#     text_representation:\n#       format_name: percent\n#   kernelspec:\n#     display_name: Python 3\n#     language: python\n#     name: python3\n#   authors:\n#   - name: Ada\n#     roles: [a, b]\n# ---\n\n",
    "# ---\n# title: x\n# jupyter:\n#   kernelspec: {name: python3, display_name: P}\n# ---\n",
    "#!/usr/bin/env python\n",
];

fn put_together(seed: u64, headers: &[&str], pieces: &[&str]) -> String {
    let mut random = Random::new(seed);
    let mut text = headers[random.below(headers.len())].to_owned();
    for _ in 0..1 + random.below(12) {
        text += pieces[random.below(pieces.len())];
    }
    if random.below(5) == 0 {
        text.truncate(text.trim_end().len());
    }
    text
}

fn read(extension: &str, text: &str) -> Result<Option<Plain>, Diagnostic> {
    let path = RelPath::new(&format!("a.{extension}")).unwrap();
    plain::read(&path, text)
}

/// Leaves out what jupytext notes about itself.
fn without_notes(metadata: &mut Value) {
    let metadata = metadata.as_object_mut().unwrap();
    if let Some(Value::Object(jupytext)) = metadata.get_mut("jupytext") {
        jupytext.remove("text_representation");
        jupytext.remove("notebook_metadata_filter");
        if jupytext.is_empty() {
            metadata.remove("jupytext");
        }
    }
}

/// Asserts that we find the same cells and metadata as jupytext in every text that we take for a notebook.
fn compare(extension: &str, texts: &[String], all: bool) {
    let mut wrong = Vec::new();
    let mut compared = 0;
    let references = theirs(texts, extension, ProgLang::Python);
    for (text, reference) in texts.iter().zip(references) {
        let Some(mut theirs) = reference else {
            continue;
        };
        let ours = match read(extension, text) {
            Ok(Some(ours)) => ours,
            Ok(None) => {
                assert!(!all || !text.contains("%%\n"), "not a notebook: {text}");
                continue;
            }
            // Options that are no list of keys are an error, and not the metadata of a cell.
            Err(error) => {
                let cells = theirs.cells.as_array().unwrap();
                let is_wrong = cells.iter().any(|cell| !cell[2].is_object());
                assert!(is_wrong, "{error}\n{text}\n{}", theirs.cells);
                continue;
            }
        };
        compared += 1;
        let cells: Value = (ours.deck.cells.iter())
            .map(|cell| json!([cell.kind.name(), cell.source, cell.metadata]))
            .collect();
        let mut metadata = json!(ours.deck.metadata);
        // jupytext adds a line to the text, and so to a cell without an end.
        let last = theirs.cells.as_array_mut().unwrap().last_mut();
        if let Some(source) = last.map(|cell| &mut cell[1]) {
            let text = source.as_str().unwrap();
            if cells[cells.as_array().unwrap().len() - 1][1] != *source {
                *source = text.strip_suffix('\n').unwrap_or(text).into();
            }
        }
        without_notes(&mut metadata);
        without_notes(&mut theirs.metadata);
        if cells != theirs.cells || metadata != theirs.metadata {
            wrong.push(format!(
                "{text}\nours:   {cells} {metadata}\ntheirs: {} {}",
                theirs.cells, theirs.metadata
            ));
        }
    }
    assert!(compared * 2 >= texts.len(), "only {compared} were compared");
    assert!(
        wrong.is_empty(),
        "{} of {compared} differ:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(6)].join("\n\n")
    );
}

#[test]
fn myst_notebooks_are_read_as_jupytext_reads_them() {
    let texts: Vec<String> = (0..1500)
        .map(|seed| put_together(seed, MYST_HEADERS, MYST))
        .collect();
    compare("md", &texts, false);
}

#[test]
fn percent_scripts_are_read_as_jupytext_reads_them() {
    let texts: Vec<String> = (0..1000)
        .map(|seed| put_together(seed, PERCENT_HEADERS, PERCENT))
        .collect();
    compare("py", &texts, true);
}

#[test]
fn the_fixtures_are_read_as_jupytext_reads_them() {
    for name in ["waves.md", "sorting.md", "rates.py"] {
        let file = format!("{}/fixtures/notebooks/{name}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(file).unwrap();
        compare(name.split('.').next_back().unwrap(), &[text], true);
    }
}
