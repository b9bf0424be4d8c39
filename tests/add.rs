//! `clm add`: notebooks become topics of a course.

use crate::support::Course;

/// A copy of the notebooks in `fixtures/`, beside a course.
fn course() -> Course {
    let course = Course::with_topics(&["first"]);
    course.write(
        "slides/module_010_m/topic_010_first/slides_first.py",
        "# %%\nprint(1)\n",
    );
    for name in ["measured.ipynb", "waves.md", "sorting.md", "rates.py"] {
        let file = format!("{}/fixtures/notebooks/{name}", env!("CARGO_MANIFEST_DIR"));
        course.write(&format!("old/{name}"), std::fs::read(file).unwrap());
    }
    course
}

#[test]
fn notebooks_become_topics_that_build() {
    let course = course();
    course.write(
        "old/figs/dot one.svg",
        "<svg xmlns=\"http://www.w3.org/2000/svg\"/>",
    );
    course.write(
        "old/02-Two.ipynb",
        r##"{"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [
            {"cell_type": "markdown", "metadata": {}, "source": ["# Two {{ 2 }}\n", "![dot](figs/dot%20one.svg) ![no](no.png)"]},
            {"cell_type": "code", "metadata": {"tags": ["keep"]}, "outputs": [], "execution_count": 1,
             "source": "x = f\"{{{1 + 1}}} {{% endraw %}}\"\nprint(x, \"{#\")\n# %% no cell"}]}"##,
    );
    let run = course.clm(&[
        "add",
        "old/measured.ipynb",
        "old/waves.md",
        "old/02-Two.ipynb",
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let spec = course.read("course.xml");
    assert!(
        spec.contains("<topic>first</topic><topic>measured</topic><topic skip-errors=\"yes\">waves</topic><topic>two</topic>"),
        "{spec}"
    );
    let topic = "slides/module_010_m/topic_020_measured";
    let deck = course.read(&format!("{topic}/slides_measured.py"));
    assert!(
        deck.starts_with(
            "# %% [markdown] tags=[\"intro\"]\n# # Measured *values*\n#\n# A picture: ![dot](img/measured/dot.png)\n"
        ),
        "{deck}"
    );
    assert!(
        course
            .path(&format!("{topic}/img/measured/dot.png"))
            .is_file()
    );
    let two = "slides/module_010_m/topic_040_two";
    assert!(course.path(&format!("{two}/img/two/dot_one.svg")).is_file());
    let stderr = &run.stderr;
    for said in [
        "old/02-Two.ipynb: warning: the cell shows `no.png`, which is no picture beside the notebook (cell 1)",
        "old/02-Two.ipynb: warning: a comment of the cell looks like the marker of a cell",
        "old/waves.md: warning: the text has directives of MyST",
        "slides/module_010_m/topic_020_measured/slides_measured.py: 6 cells, 1 picture",
        "course.xml has them now",
    ] {
        assert!(stderr.contains(said), "{said}\n{stderr}");
    }
    course.built();
    let output = |path: &str| course.read(&format!("output/trainer/course-en/Slides/{path}"));
    // Braces are text, as in the notebook.
    let page = output("Html/Completed/Part/04 slides_two.html");
    assert!(page.contains("Two {{ 2 }}"), "{page}");
    assert!(page.contains("{2} {% endraw %} {#"), "{page}");
    assert!(
        course
            .path("output/trainer/course-en/Slides/Html/Completed/Part/img/two/dot_one.svg")
            .is_file()
    );
}

#[test]
fn modules_and_sections_can_be_chosen() {
    let course = course();
    let run = course.clm(&[
        "add",
        "old/rates.py",
        "old/sorting.md",
        "--module",
        "extra",
        "--section",
        "More",
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let spec = course.read("course.xml");
    let more = spec
        .split("<name>More</name>")
        .nth(1)
        .unwrap_or_else(|| panic!("{spec}"));
    assert!(
        more.contains("rates</topic>") && more.contains("sorting</topic>"),
        "{spec}"
    );
    assert!(spec.contains("evaluate=\"no\""), "{spec}");
    assert!(
        course
            .path("slides/module_020_extra/topic_010_rates/slides_rates.py")
            .is_file()
    );
    assert!(
        course
            .path("slides/module_020_extra/topic_020_sorting/slides_sorting.py")
            .is_file()
    );
    // An existing section, by its name in any language.
    let run = course.clm(&["add", "old/waves.md", "--id", "sea", "--section", "Teil"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let spec = course.read("course.xml");
    assert!(
        spec.contains("first</topic><topic skip-errors=\"yes\""),
        "{spec}"
    );
    assert_eq!(course.clm(&["check-spec"]).code, 0);
}

#[test]
fn a_notebook_brings_pictures_and_no_other_files_of_the_machine() {
    let course = course();
    course.write("secret/id_rsa", "a key");
    course.write("secret/notes.txt", "a note");
    course.write("shared/Logo.PNG", "a picture");
    course.write(
        "old/foreign.ipynb",
        r#"{"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [{"cell_type": "markdown", "metadata": {},
            "source": "![a](../secret/id_rsa) <img src='../secret/notes.txt'> ![b](../shared/Logo.PNG)"}]}"#,
    );
    let run = course.clm(&["add", "old/foreign.ipynb"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for path in ["../secret/id_rsa", "../secret/notes.txt"] {
        let said =
            format!("the cell shows `{path}`, which is no picture beside the notebook (cell 1)");
        assert!(run.stderr.contains(&said), "{}", run.stderr);
    }
    let images = course.path("slides/module_010_m/topic_020_foreign/img/foreign");
    let images = std::fs::read_dir(images).unwrap();
    let images: Vec<_> = images.map(|image| image.unwrap().file_name()).collect();
    assert_eq!(images, ["Logo.PNG"]);
}

#[test]
fn nothing_is_written_if_anything_is_wrong() {
    let course = course();
    course.write("old/README.md", "# A\n\n```python\nx\n```\n");
    course.write("old/module.py", "x = 1\n");
    course.write("old/r.ipynb", r#"{"nbformat": 4, "metadata": {"kernelspec": {"name": "ir", "display_name": "R"}}, "cells": []}"#);
    course.write(
        "old/first.ipynb",
        r#"{"nbformat": 4, "metadata": {}, "cells": []}"#,
    );
    course.write("old/broken.ipynb", "{\n<<<<<<< HEAD\n");
    let spec = course.read("course.xml");
    let run = course.clm(&[
        "add",
        "old/rates.py",
        "old/README.md",
        "old/module.py",
        "old/r.ipynb",
        "old/first.ipynb",
        "old/broken.ipynb",
        "old/gone.ipynb",
        "old",
        "slides/module_010_m/topic_010_first/slides_first.py",
    ]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    for said in [
        "old/README.md: error: this is not a notebook\nhint: Markdown is a notebook if",
        "old/module.py: error: this is not a notebook\nhint: cells of scripts begin with a line `# %%`",
        "old/r.ipynb: error: the notebook is for the kernel `ir`",
        "old/first.ipynb: error: there is a topic `first` already: `slides/module_010_m/topic_010_first`",
        "old/broken.ipynb:2: error: the notebook has conflict markers of a merge",
        "old/gone.ipynb: error: there is no such file",
        "old: error: this is a directory",
        "topic_010_first/slides_first.py: error: this is a deck in the course already\nhint: `clm new topic ID`",
    ] {
        assert!(run.stderr.contains(said), "{said}\n{}", run.stderr);
    }
    assert_eq!(course.read("course.xml"), spec);
    assert!(!course.path("slides/module_010_m/topic_020_rates").exists());

    let run = course.clm(&["add", "old/rates.py", "--id", "a/b"]);
    assert_eq!(run.code, 2);
    assert!(
        run.stderr.contains("`a/b` cannot be the id of a topic"),
        "{}",
        run.stderr
    );
    let run = course.clm(&["add", "old/rates.py", "old/waves.md", "--id", "a"]);
    assert!(
        run.stderr.contains("`--id` names one topic"),
        "{}",
        run.stderr
    );
    assert_eq!(course.clm(&["add"]).code, 2);
}
