//! Courses in other languages than German and English, and in only one. Nothing is executed, so no kernel is needed.

use std::collections::BTreeSet;

use crate::support::{Course, Ran};

/// A course whose only target has notebooks and scripts in these languages.
fn course(languages: &[&str], name: &str, sections: &str) -> Course {
    let course = Course::with_topics(&[]);
    let languages: String = languages
        .iter()
        .map(|lang| format!("<language>{lang}</language>"))
        .collect();
    course.write(
        "course.xml",
        format!(
            "<course>\n<name>{name}</name>\n<prog-lang>python</prog-lang>\n<sections>{sections}</sections>\n\
             <output-targets><output-target name=\"all\"><path>output</path>\n\
             <kinds><kind>code-along</kind><kind>completed</kind></kinds>\n\
             <formats><format>notebook</format><format>code</format></formats>\n\
             <languages>{languages}</languages></output-target></output-targets>\n</course>\n"
        ),
    );
    course
}

fn built_without_a_word(course: &Course) -> Ran {
    let ran = course.built();
    let said = ran.diagnostics();
    assert!(said.is_empty(), "{said:#?}");
    ran
}

/// The paths of all outputs with this beginning, from there.
fn below(course: &Course, dir: &str) -> Vec<String> {
    let outputs = course.outputs().into_keys();
    let below = |path: String| path.strip_prefix(dir).map(str::to_owned);
    outputs.filter_map(below).collect()
}

/// The text of all cells of a notebook.
fn text_of(course: &Course, path: &str) -> String {
    let notebook: serde_json::Value = serde_json::from_str(&course.read(path)).unwrap();
    let cells = notebook["cells"].as_array().unwrap();
    let lines = cells
        .iter()
        .flat_map(|cell| cell["source"].as_array().unwrap());
    lines.map(|line| line.as_str().unwrap()).collect()
}

#[test]
fn a_course_in_french_has_nothing_in_another_language() {
    let course = course(
        &["fr"],
        "Cours d'été",
        "<section><name>Première semaine</name><topics><topic>debut</topic></topics></section>",
    );
    let topic = "slides/module_010_debut/topic_010_debut";
    course.write(
        &format!("{topic}/slides_bonjour.py"),
        "# j2 from 'macros.j2' import header\n# {{ header(\"L'été commence\") }}\n\n\
         # %% [markdown]\n# <img src=\"img/carte.png\"> ![m](img/mer.fr.png)\n\n# %% lang=\"fr\"\nprint(\"oui\")\n\n\
         # %% [markdown] tags=[\"answer\"]\n# Parce que.\n",
    );
    course.write(
        &format!("{topic}/slides_suite.fr.py"),
        "# j2 from 'macros.j2' import header\n# {{ header('La suite') }}\n",
    );
    for image in ["carte.png", "mer.fr.png"] {
        course.write(&format!("{topic}/img/{image}"), image);
    }
    built_without_a_word(&course);
    let completed = "Cours dété-fr/Diapositives/Notebooks/Completed/Première semaine/";
    assert_eq!(
        below(&course, completed),
        [
            "01 Lété commence.ipynb",
            "02 La suite.ipynb",
            "img/carte.png",
            "img/mer.fr.png"
        ]
    );
    let text = text_of(
        &course,
        &format!("output/{completed}01 Lété commence.ipynb"),
    );
    assert!(text.contains("<b>L'été commence</b>"), "{text}");
    assert!(text.contains("*Réponse:* Parce que."), "{text}");
    assert!(text.contains("print(\"oui\")"), "{text}");
    for path in course.outputs().into_keys() {
        assert!(path.starts_with("Cours dété-fr/Diapositives/"), "{path}");
        if path.contains("/img/") {
            continue;
        }
        let text = course.read(&format!("output/{path}"));
        for word in [
            "lang\": \"de\"",
            "Hölzl",
            "Akademie",
            "Antwort",
            "Answer",
            "Academy",
            "Folien",
        ] {
            assert!(!text.contains(word), "{path} has {word}");
        }
    }
    // What the lists of outputs say of languages.
    let list = course.read("output/.clm-manifest.json");
    assert!(list.contains("\"language\": \"fr\""), "{list}");
    assert!(
        !list.contains("\"de\"") && !list.contains("\"en\""),
        "{list}"
    );
}

#[test]
fn every_language_of_a_course_has_its_own_files_and_cells() {
    let course = course(
        &["fr", "en"],
        "<fr>Cours</fr><en>Course</en>",
        "<section><name><en>Week</en><fr>Semaine</fr></name><topics><topic>one</topic></topics></section>",
    );
    let topic = "slides/module_010_one/topic_010_one";
    course.write(
        &format!("{topic}/slides_a.py"),
        "# j2 from 'macros.j2' import header\n# {{ header(fr=\"Début\", en=\"Start\") }}\n\n\
         # %% [markdown] lang=\"fr\"\n# Bonjour ![c](img/map.fr.png)\n\n\
         # %% [markdown] lang=\"en\"\n# Hello ![c](img/map.png)\n\n\
         # %% [markdown] lang=\"de\"\n# Hallo\n\n# %%\nprint(\"{{ lang }}\")\n",
    );
    for (lang, title) in [("fr", "Moitié"), ("en", "Half")] {
        course.write(
            &format!("{topic}/slides_b.{lang}.py"),
            format!("# j2 from 'macros.j2' import header\n# {{{{ header(\"{title}\") }}}}\n"),
        );
    }
    // A deck of CLM: its English title stands for the French one.
    course.write(
        &format!("{topic}/slides_c.py"),
        "# j2 from 'macros.j2' import header\n# {{ header(\"Ende\", \"End\") }}\n",
    );
    for file in [
        "img/map.fr.png",
        "img/map.png",
        "img/map.de.png",
        "data/n.fr.csv",
    ] {
        course.write(&format!("{topic}/{file}"), file);
    }
    built_without_a_word(&course);
    let dirs: BTreeSet<String> = course
        .outputs()
        .into_keys()
        .filter_map(|path| path.split('/').next().map(str::to_owned))
        .collect();
    assert_eq!(Vec::from_iter(dirs), ["Cours-fr", "Course-en"]);
    let french = "Cours-fr/Diapositives/Notebooks/Completed/Semaine/";
    assert_eq!(
        below(&course, french),
        [
            "01 Début.ipynb",
            "02 Moitié.ipynb",
            "03 End.ipynb",
            "data/n.fr.csv",
            "img/map.fr.png",
            "img/map.png"
        ]
    );
    let english = "Course-en/Slides/Notebooks/Completed/Week/";
    assert_eq!(
        below(&course, english),
        [
            "01 Start.ipynb",
            "02 Half.ipynb",
            "03 End.ipynb",
            "img/map.png"
        ]
    );
    let text = text_of(&course, &format!("output/{french}01 Début.ipynb"));
    assert!(
        text.contains("<b>Début</b>") && text.contains("Bonjour"),
        "{text}"
    );
    assert!(text.contains("print(\"fr\")"), "{text}");
    assert!(!text.contains("Hallo") && !text.contains("Start"), "{text}");
    let text = text_of(&course, &format!("output/{french}03 End.ipynb"));
    assert!(
        text.contains("<b>End</b>") && !text.contains("Ende"),
        "{text}"
    );

    // One half less, and a cell in a language that the course does not have.
    course.remove(&format!("{topic}/slides_b.fr.py"));
    course.edit(
        &format!("{topic}/slides_a.py"),
        "lang=\"de\"",
        "lang=\"it\"",
    );
    let ran = course.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let error = ran.error_in(&format!("{topic}/slides_b.en.py"));
    assert_eq!(
        error.message,
        "`slides_b.py` is there in `en` and not in `fr`"
    );
    let said = ran.diagnostics();
    let cell = said.iter().find(|found| found.message.contains("`it`"));
    let cell = cell.unwrap_or_else(|| panic!("{said:#?}"));
    assert_eq!(
        cell.hint.as_deref(),
        Some("the outputs are in `en` and `fr`; a cell without `lang` is in all of them")
    );
}

#[test]
fn languages_are_chosen_among_those_of_the_course() {
    let course = course(
        &["en", "fr"],
        "Course",
        "<section><name>Week</name><topics><topic>one</topic></topics></section>",
    );
    course.write(
        "slides/module_010_one/topic_010_one/slides_a.py",
        "# %%\n1\n",
    );
    let ran = course.build(&["-L", "fr"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let outputs = course.outputs();
    assert!(!outputs.is_empty());
    assert!(outputs.keys().all(|path| path.starts_with("Course-fr/")));

    let ran = course.clm(&["build", "-L", "en,de"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    for text in [
        "the course has no outputs in the language `de`",
        "its languages are `en` and `fr`",
    ] {
        assert!(ran.stderr.contains(text), "{}", ran.stderr);
    }
    for (wrong, hint) in [
        ("French", "did you mean `fr`?"),
        ("fr-CA", "did you mean `fr`?"),
        ("x", "a language is a code of two or three small letters"),
    ] {
        let ran = course.clm(&["build", "-L", wrong]);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(hint), "{}", ran.stderr);
    }
}

/// A course of CLM keeps its meaning: other marks than `de` and `en` belong to the names of its files.
#[test]
fn in_a_course_in_german_and_english_other_marks_are_names() {
    let course = course(
        &["de", "en"],
        "Course",
        "<section><name>Week</name><topics><topic>one</topic></topics></section>",
    );
    let topic = "slides/module_010_one/topic_010_one";
    course.write(&format!("{topic}/slides_a.fr.py"), "# %%\n1\n");
    course.write(&format!("{topic}/img/map.fr.png"), "x");
    built_without_a_word(&course);
    for dir in ["Course-de/Folien", "Course-en/Slides"] {
        assert_eq!(
            below(&course, &format!("{dir}/Notebooks/Completed/Week/")),
            ["01 slides_a.fr.ipynb", "img/map.fr.png"]
        );
    }
}
