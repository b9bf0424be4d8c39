//! Titles, and decks with a file for each language.

use super::*;

#[test]
fn titles_come_from_the_header() {
    let both = title::title("# {{ header(\"Hallo Welt\", 'Hello, \"World\"') }}").unwrap();
    assert_eq!(
        (both.get(Lang::DE), both.get(Lang::EN)),
        ("Hallo Welt", "Hello, \"World\"")
    );
    assert_eq!(
        title::title("# {{header_en( \"X\" )}}"),
        Some(Localized::same("X"))
    );
    assert_eq!(title::title("# {{ header(\"A\",\n\"B\") }}"), None);
    for (text, expected) in [
        ("{{ header(\"L'été\") }}", "L'été"),
        ("{{header( 'Il dit \"a\", \"b\"' )}}", "Il dit \"a\", \"b\""),
        (r#"{{ header("\"A\" \\ B") }}"#, r#""A" \ B"#),
    ] {
        assert_eq!(
            title::title(text),
            Some(Localized::same(expected)),
            "{text}"
        );
    }
    let named = title::title("{{ header(fr='L\\'été', en = \"Summer, (2)\" ) }}").unwrap();
    let fr = Lang::parse("fr").unwrap();
    assert_eq!(
        (named.get(fr), named.get(Lang::EN)),
        ("L'été", "Summer, (2)")
    );
    for text in [
        "{{ header(x) }}",
        "{{ header('a' if b else 'c') }}",
        "{{ header(fr=x) }}",
    ] {
        assert_eq!(title::title(text), None, "{text}");
    }
}

#[test]
fn split_decks_share_a_number_and_must_be_pairs() {
    let (tree, diagnostics) = course(
        "<topic>a</topic><topic>b</topic><topic>c</topic>",
        &[
            ("slides/m/topic_1_a/slides_x.de.py", ""),
            ("slides/m/topic_1_a/slides_x.en.py", ""),
            ("slides/m/topic_2_b/slides_y.de.py", ""),
            ("slides/m/topic_3_c/slides_z.py", ""),
            ("slides/m/topic_3_c/slides_z.en.py", ""),
        ],
    );
    let decks = &tree.sections[0].topics[0].decks;
    assert_eq!((decks[0].lang, decks[0].number), (Some(Lang::DE), 1));
    assert_eq!((decks[1].lang, decks[1].number), (Some(Lang::EN), 1));
    let messages: Vec<&str> = diagnostics.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "`slides_y.py` is there in one language only",
            "`slides_z.py` is there both for all languages and for single ones"
        ]
    );
}

#[test]
fn a_family_has_a_file_for_each_language_of_the_course() {
    let found = |languages: &[&str], files: &[&str]| {
        let files: Vec<String> = files
            .iter()
            .map(|name| format!("slides/m/topic_1_a/{name}"))
            .collect();
        let files: Vec<(&str, &str)> = files.iter().map(|name| (name.as_str(), "")).collect();
        let (tree, diagnostics) = course_in(languages, "<topic>a</topic>", &files, &[]);
        let decks = tree.sections[0].topics[0].decks.iter();
        let decks = decks.map(|deck| deck.lang.map_or("all".to_owned(), |lang| lang.to_string()));
        let mut found: Vec<String> = decks.collect();
        found.extend(
            diagnostics
                .into_iter()
                .map(|found| format!("{}: {}", found.message, found.hint.unwrap_or_default())),
        );
        found
    };
    let [de, en, fr] = ["slides_x.de.py", "slides_x.en.py", "slides_x.fr.py"];
    // In a course without this language, the mark is a part of the name.
    assert_eq!(found(&[], &[fr]), ["all"]);
    assert_eq!(found(&["fr"], &[fr]), ["fr"]);
    assert_eq!(found(&["en"], &[en]), ["en"]);
    assert_eq!(found(&["en", "fr"], &[en, fr]), ["en", "fr"]);
    assert_eq!(found(&["en", "fr"], &[de, en, fr]), ["de", "en", "fr"]);
    assert_eq!(
        found(&["en", "fr"], &[de, en]),
        ["`slides_x.py` is there in `de` and `en` and not in `fr`: \
          add `slides_x.fr.py`, or have one file for all languages"]
    );
    assert_eq!(
        found(&["fr"], &[fr, "slides_x.py"]),
        [
            "`slides_x.py` is there both for all languages and for single ones: \
          keep either the one file, or the one with `.fr`"
        ]
    );
}
