//! Folders without `course.xml`: notebooks become pages, diagrams become pictures.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Stdio;

use crate::preview::browser::Browser;
use crate::support::courses::wait_until;
use crate::support::renderers::{PLANTUML, PYTHON, provide};
use crate::support::{Course, Ran, Watching, tree};
use clm::testing::tools::Needs;

/// A folder with some files.
fn folder(files: &[(&str, &str)]) -> Course {
    provide(PYTHON);
    let folder = Course::empty();
    for (path, text) in files {
        folder.write(path, text);
    }
    folder
}

fn build(folder: &Course, args: &[&str]) -> Ran {
    let mut all = vec!["."];
    all.extend(args);
    folder.build(&all)
}

fn built(folder: &Course) -> Ran {
    let ran = build(folder, &[]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    ran
}

#[track_caller]
fn assert_shows(folder: &Course, page: &str, parts: &[&str]) {
    let html = folder.read(&format!("_build/{page}"));
    for part in parts {
        assert!(html.contains(part), "`{part}` is not in {page}");
    }
}

/// A notebook with code cells and no results.
fn notebook(cells: &[&str]) -> String {
    let cells = cells.iter().map(|source| {
        serde_json::json!({
            "cell_type": "code", "metadata": {}, "source": source,
            "outputs": [], "execution_count": null,
        })
    });
    let cells: Vec<_> = cells.collect();
    let language = serde_json::json!({"name": "python"});
    serde_json::json!({
        "cells": cells, "metadata": {"language_info": language}, "nbformat": 4, "nbformat_minor": 4,
    })
    .to_string()
}

#[test]
fn notebooks_and_diagrams_of_all_kinds_are_built_and_followed() {
    provide(Needs::everything());
    let folder = Course::fixture("folder");
    let sources = tree(&folder.root());
    let first = built(&folder);
    assert_eq!(first.errors(), Vec::<&_>::new());
    let outputs = tree(&folder.path("_build"));
    let expected = "\
        diagrams/classes.svg diagrams/deep/parts.svg diagrams/deep/site.svg diagrams/deep/tools.svg \
        diagrams/plan-1.svg diagrams/plan-2.svg diagrams/stages.svg diagrams/states.svg diagrams/timing.svg \
        diagrams/two-1.svg diagrams/two-2.svg diagrams/way.svg diagrams/work.svg index.html \
        languages/greeting.html languages/julia.html languages/skipping.html languages/stored.html \
        languages/without title.html measuring/means.html measuring/rain.csv measuring/rain.html \
        measuring/report.html measuring/scatter.html pictures/attached.html pictures/img/dot two.png \
        pictures/plot.html pictures/table.html";
    let found: Vec<&str> = outputs.keys().map(String::as_str).collect();
    assert_eq!(found.join(" "), expected);

    let rain = [
        "<title>Rain in a week</title>",
        "total 15 mm",
        "0.59",
        "href=\"means.html\"",
        "href=\"scatter.html#spread\"",
        "href=\"rain.csv\"",
        "src=\"../diagrams/way.svg\"",
    ];
    assert_shows(&folder, "measuring/rain.html", &rain);
    let means = [
        "<pre>5.0</pre>",
        "href=\"rain.html\"",
        "src=\"../diagrams/stages.svg\"",
    ];
    assert_shows(&folder, "measuring/means.html", &means);
    assert_shows(
        &folder,
        "measuring/scatter.html",
        &["<pre>11</pre>", "IndexError"],
    );
    assert_shows(
        &folder,
        "measuring/report.html",
        &["short and dry", "href=\"./rain.html\""][..1],
    );
    assert_shows(&folder, "pictures/plot.html", &["image/png", "<img"]);
    assert_shows(
        &folder,
        "pictures/attached.html",
        &["data:image/png;base64", "img/dot%20two.png"],
    );
    assert_shows(&folder, "pictures/table.html", &["cell of a table"]);
    assert_shows(&folder, "languages/greeting.html", &["hello TypeScript"]);
    assert_shows(&folder, "languages/julia.html", &["<pre>2</pre>"]);
    assert_shows(&folder, "languages/skipping.html", &["ran 42"]);
    assert_shows(&folder, "languages/stored.html", &["fresh\n"]);
    assert_shows(
        &folder,
        "languages/without title.html",
        &["<pre>'languages'</pre>"],
    );
    let index = [
        "<a href=\"measuring/rain.html\">Rain in a week</a>",
        "<a href=\"languages/without%20title.html\">without title</a>",
        "src=\"diagrams/plan-2.svg\"",
        "<h2>diagrams/deep</h2>",
    ];
    assert_shows(&folder, "index.html", &index);
    assert!(
        !folder.read("_build/index.html").contains("theme"),
        "a library is no picture"
    );
    assert_ne!(
        folder.read("_build/diagrams/plan-1.svg"),
        folder.read("_build/diagrams/plan-2.svg")
    );
    for (path, digest) in &sources {
        assert_eq!(
            tree(&folder.root()).get(path),
            Some(digest),
            "{path} was changed"
        );
    }

    assert_eq!(
        built(&folder).started(),
        Vec::<&str>::new(),
        "nothing changed"
    );

    folder.edit("measuring/rain.csv", "Tue,0", "Tue,2");
    let by_data = built(&folder);
    assert_eq!(
        by_data.jobs(),
        ["execute measuring/rain.ipynb", "html measuring/rain.ipynb"]
    );
    assert_shows(&folder, "measuring/rain.html", &["total 17 mm"]);

    folder.edit("measuring/units.py", "25.4", "2.54");
    assert_eq!(
        built(&folder).jobs(),
        by_data.jobs(),
        "an imported module is an input"
    );
    assert_shows(&folder, "measuring/rain.html", &["6.69"]);

    folder.edit("measuring/means.py", "# # Mean values", "# # Averages");
    let by_prose = built(&folder);
    assert_eq!(
        by_prose.jobs(),
        ["html measuring/means.py"],
        "nothing is executed"
    );
    assert_shows(&folder, "index.html", &[">Averages</a>"]);

    folder.remove("_build/pictures/plot.html");
    folder.remove("languages/greeting.ts");
    let restored = built(&folder);
    assert_eq!((restored.jobs().len(), restored.counts().restored), (0, 1));
    assert!(!folder.path("_build/languages/greeting.html").exists());
    assert!(folder.path("_build/pictures/plot.html").exists());
    is_seen_in_a_browser(&folder);
}

/// Looks at the preview of a folder, at a page that it shows, and at the index.
fn is_seen_in_a_browser(folder: &Course) {
    let said = folder.path(".clm/said");
    let watching = Watching::start_with(folder, &[".", "--serve", "127.0.0.1:0"], |command| {
        command.stderr(Stdio::from(std::fs::File::create(&said).unwrap()));
    });
    let address = || {
        let said = std::fs::read_to_string(&said).unwrap();
        let (_, rest) = said.split_once("The preview is at ")?;
        Some(rest.lines().next()?.trim_end_matches('/').to_owned())
    };
    wait_until("there is no preview", || address().is_some());
    watching.run();
    let address = address().unwrap();
    let seen = "[...document.images].every((image) => image.complete && image.naturalWidth > 0)";
    let mut browser = Browser::start();
    browser.open(&address);
    browser.wait("document.body.innerText.includes('Rain in a week')");
    let list = "[...document.querySelectorAll('.section')].map((section) => (section.querySelector('h2')?.textContent ?? '') + ': ' \
        + [...section.querySelectorAll('.deck')].map((deck) => deck.querySelector('.title').textContent + ' = ' \
        + deck.querySelector('.topic').textContent).join(', ')).join('\\n')";
    let shown = browser.value(list);
    let expected = [
        ": Index = index.html",
        "diagrams: classes = classes.svg, plan-1 = plan-1.svg, plan-2 = plan-2.svg, stages = stages.svg, states = states.svg, \
         timing = timing.svg, two-1 = two-1.svg, two-2 = two-2.svg, way = way.svg, work = work.svg",
        "diagrams/deep: parts = parts.svg, site = site.svg, tools = tools.svg",
        "languages: Julia, as it was run elsewhere = julia.ipynb, Skipping = skipping.md, Results in the file = stored.ipynb, \
         without title = without title.py",
        "measuring: Averages = means.py, Rain in a week = rain.ipynb, A report = report.md, Scatter = scatter.md",
        "pictures: Pictures that come along = attached.ipynb, A plot = plot.ipynb, A table = table.py",
        "pictures/img: ",
    ];
    assert_eq!(shown, expected.join("\n"));
    let text = browser.value("document.body.innerText").to_string();
    for word in ["Completed", "Audience", "Course", "course", "deck", "topic"] {
        assert!(
            !text.contains(word),
            "`{word}` is in the preview of a folder: {text}"
        );
    }
    browser.picture("folder-preview");
    browser.value("document.querySelector('.section .title').click()");
    browser.wait("document.images.length === 13");
    browser.wait("document.querySelector('clm-preview')?.shadowRoot.querySelector('.bar a.home')?.textContent === '← All pages'");
    browser.picture("folder-own-index");
    folder.edit("measuring/means.py", "# # Averages", "# # Means");
    browser.wait("document.body.innerText.includes('Means')");
    folder.edit("measuring/means.py", "# # Means", "# # Averages");
    browser.wait("document.body.innerText.includes('Averages')");
    browser.size(1000, 1000);
    browser.open(&format!("{address}/out/pages/measuring/rain.html"));
    browser.wait("document.images.length === 1");
    browser.wait(seen);
    browser.wait("document.body.innerText.includes('total 17 mm')");
    browser.picture("folder-page");
    browser.value("document.querySelector('a[href=\"means.html\"]').click()");
    browser.wait("document.title === 'Averages'");
    let index = folder.path("_build/index.html");
    browser.open(&format!("file://{}", index.display()));
    browser.wait("document.images.length === 13");
    browser.value("[...document.images].forEach((image) => image.loading = 'eager')");
    browser.wait(seen);
    browser.picture("folder-index");
}

#[test]
fn what_is_beside_the_sources_is_never_replaced_or_taken_for_a_source() {
    let folder = folder(&[
        (
            "a.md",
            "---\nkernelspec: {name: python3}\njupytext: {text_representation: {format_name: myst}}\n---\n# A\n```{code-cell}\n6 * 7\n```\n",
        ),
        ("b.ipynb", &notebook(&["40 + 1"])),
        ("sub/way.puml", "@startuml\nA -> B\n@enduml\n"),
        ("sub/own.puml", "@startuml\nA -> C\n@enduml\n"),
        ("sub/own.svg", "of the author"),
        (
            "clm.toml",
            "[folder]\nbeside = true\nformats = [\"html\", \"notebook\"]\n",
        ),
    ]);
    provide(PLANTUML);
    let first = folder.build(&[]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    assert!(folder.read("sub/way.svg").contains("<svg"));
    assert!(
        folder.read("a.ipynb").contains("\"42\""),
        "an executed notebook"
    );
    assert!(folder.read("b.executed.ipynb").contains("\"41\""));
    assert_eq!(
        folder.read("b.ipynb"),
        notebook(&["40 + 1"]),
        "a source is never written"
    );
    assert_eq!(folder.read("sub/own.svg"), "of the author");
    let warned = first.diagnostics();
    let warned = warned
        .iter()
        .any(|found| found.message.contains("`sub/own.svg` was not made by clm"));
    assert!(warned, "{:?}", first.diagnostics());
    assert!(
        folder.read("_build/sub/own.svg").contains("<svg"),
        "the page shows what was drawn"
    );
    let second = folder.build(&[]);
    assert_eq!(
        second.started(),
        Vec::<&str>::new(),
        "what was written is no source"
    );
    assert!(!folder.path("_build/b.executed.html").exists());

    // Who no longer wants them there gets rid of what clm wrote, and of nothing else.
    folder.write("clm.toml", "[folder]\n");
    assert_eq!(folder.build(&[]).code, 0);
    for gone in ["sub/way.svg", "a.ipynb", "b.executed.ipynb"] {
        assert!(!folder.path(gone).exists(), "{gone}");
    }
    assert_eq!(folder.read("sub/own.svg"), "of the author");
}

#[test]
fn settings_say_what_is_executed() {
    let stored =
        notebook(&["print('fresh')"]).replace("\"execution_count\":null", "\"execution_count\":1");
    let stored = stored.replace(
        "\"outputs\":[]",
        r#""outputs":[{"name":"stdout","output_type":"stream","text":"stored"}]"#,
    );
    let folder = folder(&[
        ("a.ipynb", &stored),
        ("clm.toml", "[folder]\nexecute = \"never\"\n"),
    ]);
    assert_eq!(built(&folder).jobs(), ["html a.ipynb"]);
    assert_shows(&folder, "a.html", &["stored"]);

    // Trusted results count as those of this code; with other code, they are not its results.
    folder.write("clm.toml", "[folder]\ntrust_outputs = true\n");
    built(&folder);
    assert_shows(&folder, "a.html", &["stored"]);
    folder.write(
        "a.ipynb",
        stored.replace("print('fresh')", "print('other')"),
    );
    built(&folder);
    assert_shows(&folder, "a.html", &["other\n"]);

    folder.write("clm.toml", "[folder]\n");
    folder.write("a.ipynb", &stored);
    folder.remove(".clm/clm.db");
    built(&folder);
    assert_shows(&folder, "a.html", &["fresh\n"]);
    assert_eq!(built(&folder).jobs(), Vec::<&str>::new());
    folder.write("clm.toml", "[folder]\nexecute = \"always\"\n");
    assert_eq!(built(&folder).jobs(), ["execute a.ipynb"]);
    assert_eq!(built(&folder).jobs(), ["execute a.ipynb"], "in every build");

    folder.write("clm.toml", "[folder]\nexecute = \"sometimes\"\n");
    let wrong = build(&folder, &[]);
    assert_eq!(wrong.code, 2);
    assert!(
        wrong.stderr.contains("clm.toml:2") || wrong.stdout.contains("clm.toml"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn stored_exceptions_are_no_results_to_trust() {
    let failed = serde_json::json!([
        {"output_type": "error", "ename": "E", "evalue": "stored", "traceback": ["stored"]}
    ]);
    let stored = |tags: &str| {
        notebook(&["print('fresh')"])
            .replace("\"execution_count\":null", "\"execution_count\":1")
            .replace("\"outputs\":[]", &format!("\"outputs\":{failed}"))
            .replace(
                "\"metadata\":{},\"outputs\"",
                &format!("\"metadata\":{{\"tags\":[{tags}]}},\"outputs\""),
            )
    };
    let folder = folder(&[
        ("a.ipynb", &stored("")),
        ("b.ipynb", &stored("\"raises-exception\"")),
        ("clm.toml", "[folder]\ntrust_outputs = true\n"),
    ]);
    built(&folder);
    assert_shows(&folder, "a.html", &["fresh\n"]);
    assert_shows(&folder, "b.html", &["stored"]);
    assert!(
        !folder.read("_build/b.html").contains("fresh\n"),
        "this one is meant"
    );
}

#[test]
fn what_is_ignored_is_left_alone() {
    let page = "# %%\n1 + 1\n";
    let folder = folder(&[
        (".gitignore", "drafts/\n"),
        ("a.py", page),
        ("old/b.py", page),
        ("drafts/c.py", page),
        ("node_modules/d.py", page),
        ("mine/pyvenv.cfg", ""),
        ("mine/lib/g.py", page),
        (".hidden/e.py", page),
        ("_build/f.py", page),
        ("module.py", "x = 1\n"),
        (
            "clm.toml",
            "[folder]\nexclude = [\"old/\"]\nexecute = \"never\"\n",
        ),
    ]);
    let pages = |folder: &Course| -> Vec<String> {
        let outputs = tree(&folder.path("_build")).into_keys();
        outputs.filter(|path| path.ends_with(".html")).collect()
    };
    built(&folder);
    assert_eq!(pages(&folder), ["a.html", "index.html"]);
    assert_eq!(
        folder.read("_build/f.py"),
        page,
        "a file of the author among outputs stays"
    );
    folder.write(".gitignore", "a.py\n");
    folder.write("clm.toml", "[folder]\nexecute = \"never\"\n");
    built(&folder);
    assert_eq!(
        pages(&folder),
        ["drafts/c.html", "index.html", "old/b.html"]
    );
    folder.write(
        "clm.toml",
        "[folder]\nexecute = \"never\"\ninclude = [\"old/*\"]\n",
    );
    built(&folder);
    assert_eq!(pages(&folder), ["index.html", "old/b.html"]);
}

#[test]
fn mistakes_in_a_folder_are_told_with_their_place() {
    let folder = folder(&[
        ("broken.ipynb", "{\"cells\": [\n<<<<<<< HEAD\n"),
        (
            "missing.py",
            "# %% [markdown]\n# ![no](img/no.png)\n# %%\n1 / 0\n",
        ),
        ("pair.py", "# %%\n1\n"),
        ("pair.ipynb", &notebook(&["1"])),
        (
            "twins.md",
            "---\nkernelspec: {name: python3}\n---\n```{code-cell}\n1\n```\n",
        ),
        ("twins.py", "# %%\n2\n"),
    ]);
    let ran = build(&folder, &[]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.error_in("broken.ipynb").message.contains("merge"),
        "{:?}",
        ran.errors()
    );
    assert_eq!(ran.error_in("missing.py").line, Some(4));
    let said = |file: &str, part: &str| {
        let all = ran.diagnostics();
        all.iter()
            .any(|found| found.file.as_deref() == Some(file) && found.message.contains(part))
    };
    assert!(
        said("missing.py", "`img/no.png` does not exist"),
        "{:?}",
        ran.diagnostics()
    );
    assert!(
        said("pair.ipynb", "same name as `pair.py`"),
        "{:?}",
        ran.diagnostics()
    );
    assert!(
        said("twins.py", "same name as `twins.md`"),
        "{:?}",
        ran.diagnostics()
    );
    assert_shows(&folder, "pair.html", &["<pre>1</pre>"]);

    folder.write("clm.toml", "[folder]\n\nexclude = [\"{a\"]\n");
    let wrong = build(&folder, &[]);
    assert_eq!(wrong.code, 2);
    let said = "clm.toml:3: error: `{a` is no pattern of files";
    assert!(wrong.stderr.contains(said), "{}", wrong.stderr);

    let empty = Course::empty();
    let ran = build(&empty, &[]);
    let hints = ran.diagnostics();
    assert!(
        hints
            .iter()
            .any(|found| found.message.contains("no notebooks and no diagrams"))
    );
}

#[test]
fn one_file_is_built_alone_and_a_watch_follows_edits() {
    let folder = folder(&[
        ("a.py", "# %%\nprint(6 * 7)\n"),
        ("b/c.py", "# %%\nprint(6 * 6)\n"),
    ]);
    let one = folder.build(&["b/c.py"]);
    assert_eq!(one.code, 0, "{}", one.stderr);
    assert_eq!(
        one.jobs(),
        ["execute c.py", "html c.py"],
        "its directory is the folder"
    );
    assert!(folder.path("b/_build/c.html").exists());
    std::fs::remove_dir_all(folder.path("b/_build")).unwrap();
    std::fs::remove_dir_all(folder.path("b/.clm")).unwrap();
    folder.write("clm.toml", "[folder]\n");
    let one = folder.build(&["b/c.py"]);
    assert_eq!(
        one.jobs(),
        ["execute b/c.py", "html b/c.py"],
        "the folder is the one with settings"
    );

    let watch = Watching::start(&folder, &["."]);
    watch.run();
    assert_shows(&folder, "a.html", &["42\n"]);
    folder.edit("a.py", "6 * 7", "6 * 8");
    watch.run_until(|run| run.built_kinds().contains(&"html".to_owned()));
    assert_shows(&folder, "a.html", &["48\n"]);
    folder.write("new.py", "# %%\nprint('new')\n");
    watch.run_until(|run| run.built_kinds().contains(&"html".to_owned()));
    assert_shows(&folder, "new.html", &["new\n"]);
    assert!(Path::new(&folder.path("_build/index.html")).exists());
}
