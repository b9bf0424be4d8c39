//! What clm writes beside the sources of a folder, and what it leaves to the author there.

#![allow(clippy::unwrap_used)]

use crate::support::renderers::{PLANTUML, PYTHON, provide};
use crate::support::{Course, Ran};

/// A folder that wants pictures beside their sources, with some files.
fn folder(files: &[(&str, &str)]) -> Course {
    provide(PLANTUML);
    let folder = Course::empty();
    folder.write("clm.toml", "[folder]\nbeside = true\n");
    for (path, text) in files {
        folder.write(path, text);
    }
    folder
}

fn diagram(name: &str) -> String {
    format!("@startuml\nA -> {name}\n@enduml\n")
}

fn messages(ran: &Ran) -> Vec<String> {
    ran.diagnostics()
        .iter()
        .map(|found| found.message.clone())
        .collect()
}

#[test]
fn a_picture_that_was_edited_stays_and_the_others_follow_their_sources() {
    let folder = folder(&[("edited.pu", &diagram("One")), ("own.pu", &diagram("One"))]);
    assert_eq!(folder.build(&["."]).code, 0);

    folder.write("edited.svg", "edited by the author");
    let expected = [
        "`edited.svg` was changed since clm wrote it and is not replaced; the outputs show what clm made",
    ];
    let ran = folder.build(&["."]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(messages(&ran), expected);
    for name in ["edited", "own"] {
        folder.write(&format!("{name}.pu"), diagram("Second"));
    }
    let ran = folder.build(&["."]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(messages(&ran), expected);
    assert_eq!(folder.read("edited.svg"), "edited by the author");
    for made in ["own.svg", "_build/own.svg", "_build/edited.svg"] {
        assert!(folder.read(made).contains("Second"), "{made}");
    }

    // Without the file of the author it is made again.
    folder.remove("edited.svg");
    let ran = folder.build(&["."]);
    assert_eq!(messages(&ran), Vec::<String>::new());
    assert!(folder.read("edited.svg").contains("Second"));
}

#[test]
fn a_picture_in_version_control_is_warned_of_when_it_is_old() {
    let folder = folder(&[("flow.pu", &diagram("One"))]);
    assert_eq!(folder.build(&["."]).code, 0);
    // As in a fresh clone of a repository with the pictures.
    folder.remove_if_there(".clm");
    folder.remove_if_there("_build");
    assert_eq!(messages(&folder.build(&["."])), Vec::<String>::new());
    let committed = folder.read("flow.svg");
    folder.write("flow.pu", diagram("Second"));
    let ran = folder.build(&["."]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(
        messages(&ran),
        ["`flow.svg` was not made by clm and is not replaced; the outputs show what clm made"]
    );
    assert_eq!(folder.read("flow.svg"), committed);
    assert!(folder.read("_build/flow.svg").contains("Second"));
}

#[test]
fn of_two_diagrams_with_one_picture_only_the_first_writes_it() {
    let folder = folder(&[("p.pu", &diagram("First")), ("p.puml", &diagram("Second"))]);
    for round in 0..3 {
        let ran = folder.build(&["."]);
        assert_eq!(ran.code, 1, "they cannot both have it");
        for made in ["p.svg", "_build/p.svg"] {
            assert!(folder.read(made).contains("First"), "{made}");
        }
        if round > 0 {
            assert_eq!((ran.counts().restored, ran.counts().written), (0, 0));
        }
    }
}

#[test]
fn a_notebook_of_the_author_beside_its_text_stays_from_the_first_build() {
    provide(PYTHON);
    let text = "---\nkernelspec: {name: python3}\njupytext: {text_representation: {format_name: myst}}\n---\n\
                # A\n```{code-cell}\n6 * 7\n```\n";
    let own = r#"{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}"#;
    let folder = folder(&[("a.md", text), ("a.ipynb", own)]);
    folder.write(
        "clm.toml",
        "[folder]\nbeside = true\nformats = [\"notebook\"]\nexecute = \"never\"\n",
    );
    let said = "`a.ipynb` was not made by clm and is not replaced; the outputs show what clm made";
    for _ in 0..2 {
        let ran = folder.build(&["."]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(messages(&ran).iter().any(|message| message == said));
        assert_eq!(folder.read("a.ipynb"), own);
    }
}

#[test]
fn a_script_may_begin_with_a_byte_order_mark() {
    provide(PYTHON);
    let folder = Course::empty();
    folder.write("clm.toml", "[folder]\nexecute = \"never\"\n");
    folder.write("a.py", "\u{feff}# %%\n6 * 7\n");
    assert_eq!(folder.build(&["."]).code, 0);
    assert!(folder.read("_build/a.html").contains("7"));
}
