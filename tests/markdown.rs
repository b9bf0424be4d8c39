//! Decks in Markdown: our reader against jupytext, which defined the format, and what courses make of them.

use clm::testing::course::ProgLang;
use serde_json::{Value, json};

use crate::support::Course;
use crate::support::jupytext::{Random, compare, ours};

/// Pieces that decks are put together from.
const PIECES: &[&str] = &[
    "# A title\n",
    "Some text\n",
    "- a\n- b\n",
    "\n",
    "\n",
    "\n\n",
    "\n\n\n",
    "   \n",
    "```python\n",
    "```python\nx = 1\n```\n",
    "```python tags=[\"keep\"] lang=\"de\"\ny = 2\n\n\ny\n```\n",
    "```python\n%matplotlib inline\n!ls\n# %%time\n```\n",
    "```python\ndef f():\n    pass\n```\n",
    "```java\nint x;\n```\n",
    "```bash\nls\n```\n",
    "```bash magic_args=\"-x\"\nls\n```\n",
    "```JAVA\nz\n```\n",
    "```cs\nz\n```\n",
    "```octave\nz\n```\n",
    "```\n",
    "```text\n",
    "```cpp\nint i;\n```\n",
    "```c++\nint i;\n```\n",
    "````python\n```\n````\n",
    "````\n",
    "~~~\n",
    "``` python a=1\n1\n```\n",
    "```python title here\n1\n```\n",
    "```python a=b\n1\n```\n",
    "```python {\"tags\": [\"alt\"]}\n1\n```\n",
    "```python active=\"py\"\n1\n```\n",
    "<!-- #region -->\n",
    "<!-- #region tags=[\"slide\"] lang=\"en\" -->\n",
    "<!-- #region a title key=1 -->\n",
    "<!-- #endregion -->\n",
    "<!-- #endregion -->\n",
    "<!-- #md -->\n",
    "<!-- #endmd -->\n",
    "<!-- #raw -->\nraw\n<!-- #endraw -->\n",
    "<!-- #markdown slide_id=\"x\" -->\nm\n<!-- #endmarkdown -->\n",
    "<!--#region-->\n",
    "<!-- a comment -->\n",
    "    indented\n",
    "Umlauts: ä ö ü\n",
    "text with `code`\n",
    "  ```python\n  1\n  ```\n",
    "# %% [markdown]\n",
];

const HEADERS: &[&str] = &[
    "---\ntitle: x\n---\n",
    "---\njupyter:\n  kernelspec:\n    display_name: Java\n    language: java\n    name: java\n---\n\n",
    "# -*- coding: utf-8 -*-\n",
    "#!/usr/bin/env python\n",
];

fn random_deck(seed: u64) -> String {
    let mut random = Random::new(seed);
    let count = 1 + random.below(12);
    let mut text = String::new();
    if random.below(8) == 0 {
        text += HEADERS[random.below(HEADERS.len())];
    }
    for _ in 0..count {
        text += PIECES[random.below(PIECES.len())];
    }
    if random.below(5) == 0 {
        text.truncate(text.trim_end().len());
    }
    text
}

#[test]
fn markdown_decks_are_read_and_exported_as_jupytext_does() {
    let decks = (0..2000).map(random_deck).collect();
    compare("md", ProgLang::Python, decks);
}

#[test]
fn markdown_decks_of_other_languages_are_exported_as_jupytext_does() {
    for prog_lang in [ProgLang::Java, ProgLang::CSharp, ProgLang::TypeScript] {
        let decks = (0..400).map(|seed| random_deck(seed + 10_000)).collect();
        compare("md", prog_lang, decks);
    }
}

const DECK: &str = "slides/m/topic_010_one/slides_one.md";

#[test]
fn markdown_decks_become_notebooks_scripts_and_executed_pages() {
    let course = Course::with_topics(&["one"]);
    course.write(
        DECK,
        "# j2 from 'macros.j2' import header\n# {{ header(\"Eins\", \"One: first\") }}\n\n\
         <!-- #region lang=\"en\" tags=[\"slide\"] slide_id=\"a\" -->\n## Sums\n<!-- #endregion -->\n\n\
         <!-- #region lang=\"de\" tags=[\"slide\"] -->\n## Summen\n<!-- #endregion -->\n\n\
         ```python\nx = 20 + 3\nprint(\"sum\", x)\n```\n\n```python tags=[\"keep\"]\n%who int\n```\n",
    );
    course.built();
    let output = |path: &str| course.read(&format!("output/trainer/course-en/Slides/{path}"));
    let script = output("Python/Completed/Part/01 One first.py");
    assert!(
        script.ends_with(
            "\n# %% [markdown]\n# ## Sums\n\n# %%\nx = 20 + 3\nprint(\"sum\", x)\n\n# %%\n# %who int\n"
        ),
        "{script}"
    );
    assert!(!script.contains("Summen"));
    let notebook: Value =
        serde_json::from_str(&output("Notebooks/Code-Along/Part/01 One first.ipynb")).unwrap();
    let cells = notebook["cells"].as_array().unwrap();
    let last = &cells[cells.len() - 2..];
    assert_eq!(last[0]["source"], json!([]));
    assert_eq!(last[1]["source"], json!(["%who int"]));
    assert_eq!(
        notebook["metadata"]["jupytext"],
        json!({
            "cell_metadata_filter": "-all,lang,slide_id,tags",
            "main_language": "python",
            "notebook_metadata_filter": "-all",
        })
    );
    let page = output("Html/Completed/Part/01 One first.html");
    assert!(page.contains("sum 23"), "the cells were run");
}

#[test]
fn errors_in_markdown_decks_have_the_line_of_the_author() {
    let course = Course::with_topics(&["one"]);
    course.write(
        DECK,
        "# Title\n\n```python\nx = 1\n```\n\n```python\ny = 2\n1 / 0\n```\n",
    );
    let run = course.build(&[]);
    assert_eq!(run.code, 1);
    assert_eq!(run.error_in(DECK).line, Some(9));
    course.write(DECK, "# Title\n\n```python tags=\"a\"\nx = 1\n```\n");
    let run = course.build(&["--formats", "code"]);
    assert_eq!(run.error_in(DECK).line, Some(3));
    course.write(DECK, "# Title\n\n{{ missing }}\n");
    let run = course.build(&["--formats", "code"]);
    assert_eq!(run.error_in(DECK).line, Some(3));
}

#[test]
fn code_that_is_only_shown_is_text() {
    let found = ours(
        "Look:\n\n```python\n1\n```\n```python .noeval\n2\n```\n\n```python\n3\n```\n",
        "md",
        ProgLang::Python,
    );
    assert_eq!(
        found.cells,
        json!([
            ["markdown", "Look:", {}],
            ["code", "1", {}],
            ["markdown", "```python .noeval\n2\n```", {}],
            ["code", "3", {}],
        ])
    );
}
