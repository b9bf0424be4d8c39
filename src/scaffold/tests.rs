use super::*;

use crate::course::file_name::sanitize;
use crate::course::spec::parse_leniently;

fn lang(code: &str) -> Lang {
    code.parse().unwrap()
}

fn settings(languages: &[&str], prog_lang: ProgLang) -> Settings {
    Settings {
        title: "Coffee & <tea>".to_owned(),
        languages: languages.iter().map(|code| lang(code)).collect(),
        prog_lang,
        author: "A \"B\" <C>".to_owned(),
        organization: String::new(),
    }
}

const LANGUAGES: [&[&str]; 7] = [
    &["en"],
    &["de"],
    &["fr"],
    &["es"],
    &["de", "en"],
    &["fr", "en", "it"],
    &["nds"],
];

#[test]
fn the_specification_of_every_course_is_right() {
    for languages in LANGUAGES {
        for prog_lang in ProgLang::ALL {
            let settings = settings(languages, prog_lang);
            let files = course(&settings, "coffee", true);
            let (spec, diagnostics) = parse_leniently(&files[0].content, "course.xml");
            let spec = spec.unwrap();
            assert_eq!(diagnostics, [], "{}", files[0].content);
            let mut wanted = settings.languages.clone();
            wanted.sort();
            assert_eq!(spec.languages(), wanted);
            assert_eq!(spec.name.get(wanted[0]), settings.title);
            assert_eq!((spec.prog_lang, spec.author), (prog_lang, settings.author));
            assert_eq!(spec.organization.get(wanted[0]), "");
            let topics = &spec.sections[0].topics;
            assert_eq!(topics.len(), 2);
            assert!(
                topics
                    .iter()
                    .all(|topic| topic.evaluate == has_kernel(prog_lang))
            );
            let mut paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
            paths.sort_unstable();
            let count = paths.len();
            paths.dedup();
            assert_eq!(paths.len(), count);
            for file in &files {
                assert!(file.content.ends_with('\n'), "{}", file.path);
                assert!(!file.content.contains("FUNCTION") && !file.content.contains("LANGUAGE"));
            }
        }
    }
}

/// What only files of several languages have: marks in names and cells.
#[test]
fn a_course_in_one_language_has_no_trace_of_another() {
    for own in ["en", "de", "fr", "es"] {
        for prog_lang in ProgLang::ALL {
            let settings = settings(&[own], prog_lang);
            let mut files = course(&settings, "coffee", true);
            files.push(topic(&settings, "slides/m/topic_010_x", "x"));
            for NewFile { path, content } in files {
                assert!(!path.contains(&format!(".{own}.")), "{path}");
                assert!(!content.contains("lang=\""), "{path}: {content}");
                assert!(!content.contains("header_"), "{path}: {content}");
                for other in ["en", "de", "fr", "es"]
                    .into_iter()
                    .filter(|other| *other != own)
                {
                    let texts = Texts::of(lang(other));
                    for text in [
                        texts.cooling.title,
                        texts.cooling.cup_notes,
                        texts.cooling.after_ten,
                        texts.task.task.split("FUNCTION").next().unwrap(),
                        texts.task.answer,
                        texts.diagrams.steps[0],
                        texts.topic.about,
                        texts.readme.intro,
                    ] {
                        assert!(!content.contains(text), "{path}: {text}");
                    }
                }
            }
        }
    }
}

#[test]
fn languages_share_what_is_the_same() {
    let deck = topic(
        &settings(&["de", "en"], ProgLang::Cpp),
        "slides/m/topic_010_x",
        "x",
    );
    assert_eq!(deck.path, "slides/m/topic_010_x/slides_x.cpp");
    assert!(deck.content.starts_with(
        "// j2 from 'macros.j2' import header\n// {{ header(\"Coffee & <tea>\", \"Coffee & <tea>\") }}\n\n// %% [markdown] lang=\"de\""
    ));
    let files = course(&settings(&["de", "en"], ProgLang::Python), "coffee", false);
    assert!(files.iter().all(|file| !file.path.contains(".github")));
    let deck = files
        .iter()
        .find(|file| file.path.ends_with("slides_cooling.py"));
    let deck = &deck.unwrap().content;
    // The given temperatures are no text; what is printed is.
    assert_eq!(deck.matches("\nhot = 90\n").count(), 1);
    assert_eq!(deck.matches("# %% lang=\"de\"\n").count(), 2);
    assert!(deck.contains("img/heat.de.png") && deck.contains("img/heat.en.png"));
    // A language without texts has English ones, to be translated.
    let files = course(&settings(&["it", "en"], ProgLang::Python), "coffee", false);
    let deck = &files[1].content;
    assert!(deck.contains("header(it=\"How coffee cools\", en=\"How coffee cools\")"));
    assert!(deck.contains("# %% [markdown] lang=\"it\" tags=[\"slide\"]\n# ## A cup of coffee\n"));
}

#[test]
fn titles_are_names_of_files() {
    for code in ["en", "de", "fr", "es"] {
        let texts = Texts::of(lang(code));
        for title in [texts.cooling.title, texts.task.title, texts.course.section] {
            assert_eq!(sanitize(title).trim(), sanitize(title), "{title}");
        }
        assert!(texts.task.task.contains("FUNCTION"));
        assert!(texts.course.not_executed.contains("LANGUAGE"));
        assert!(!texts.course.not_executed.contains("--"));
        assert!(texts.readme.not_executed.contains("LANGUAGE"));
        let diagram = diagrams::heat(&texts.diagrams);
        roxmltree::Document::parse(&diagram).unwrap();
    }
}

#[test]
fn names_are_made_and_checked() {
    for (id, is_fine) in [
        ("loops", true),
        ("for_loops-2", true),
        ("2d", true),
        ("", false),
        ("_x", false),
        ("x_", false),
        ("a b", false),
        ("a/b", false),
        ("a.b", false),
        ("größe", false),
    ] {
        assert_eq!(is_identifier(id), is_fine, "{id}");
    }
    assert!(identifier_hint("For Größe!").ends_with("`for_groesse`"));
    assert!(identifier_hint("!?").ends_with("`for_loops`"));
    for (name, title) in [
        ("for_loops", "For loops"),
        ("python-basics", "Python basics"),
        ("éclair", "Éclair"),
        ("", ""),
    ] {
        assert_eq!(title_of(name), title);
    }
}

#[test]
fn a_topic_goes_into_the_module_that_is_meant() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let modules = Modules::new([
        (
            "module_020_data".to_owned(),
            names(&["topic_015_files", "topic_005_text.py", "notes.txt"]),
        ),
        ("module_010_intro".to_owned(), names(&["topic_010_hello"])),
    ]);
    let existing = |name: &str| Ok(ModuleChoice::Existing(name.to_owned()));
    assert_eq!(modules.named("data"), existing("module_020_data"));
    assert_eq!(
        modules.named("module_010_intro"),
        existing("module_010_intro")
    );
    let new = |directory: &str, title: &str| {
        Ok(ModuleChoice::New {
            directory: directory.to_owned(),
            title: title.to_owned(),
        })
    };
    assert_eq!(
        modules.named("more_loops"),
        new("module_030_more_loops", "More loops")
    );
    assert_eq!(
        modules.named("module_090_end"),
        new("module_090_end", "End")
    );
    for wrong in ["dat", "intros", "introduction"] {
        let hint = modules.named(wrong).unwrap_err();
        assert!(hint.starts_with("did you mean `"), "{hint}");
        assert!(hint.ends_with("the modules are `module_010_intro`, `module_020_data`"));
    }
    assert!(modules.named("a/b").unwrap_err().starts_with("use letters"));

    let usual = |here, topics: &[&str]| modules.usual(here, topics);
    let module = |name: &str| Some(name.to_owned());
    assert_eq!(
        usual(Some("module_010_intro"), &["files"]),
        module("module_010_intro")
    );
    assert_eq!(
        usual(Some("other"), &["hello", "gone"]),
        module("module_010_intro")
    );
    assert_eq!(usual(None, &[]), module("module_020_data"));
    assert_eq!(Modules::default().usual(None, &["a"]), None);

    assert_eq!(modules.topics_of("module_020_data"), ["files", "text"]);
    assert_eq!(
        modules.path_of("text").as_deref(),
        Some("slides/module_020_data/topic_005_text.py")
    );
    assert_eq!(
        modules.directory_of("module_020_data", "x"),
        "slides/module_020_data/topic_020_x"
    );
    assert_eq!(
        modules.directory_of("module_030_new", "x"),
        "slides/module_030_new/topic_010_x"
    );
}
