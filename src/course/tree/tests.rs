use std::collections::HashMap;

use super::*;
use crate::course::spec;

mod languages;

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

/// Discovers a course with these topics and files.
fn course(topics: &str, files: &[(&str, &str)]) -> (Tree, Vec<Diagnostic>) {
    course_without(topics, files, &[])
}

/// Discovers a course with some unreadable directories.
fn course_without(
    topics: &str,
    files: &[(&str, &str)],
    unread: &[&str],
) -> (Tree, Vec<Diagnostic>) {
    course_in(&[], topics, files, unread)
}

/// Discovers a course in these languages, or in the usual ones.
fn course_in(
    languages: &[&str],
    topics: &str,
    files: &[(&str, &str)],
    unread: &[&str],
) -> (Tree, Vec<Diagnostic>) {
    let languages: String = languages
        .iter()
        .map(|lang| format!("<language>{lang}</language>"))
        .collect();
    let text = format!(
        "<course><name>K</name><prog-lang>python</prog-lang><sections><section><name>S</name><topics>{topics}</topics></section></sections>\
         <output-targets><output-target name='t'><path>out</path><languages>{languages}</languages></output-target></output-targets></course>"
    );
    let (spec, _) = spec::parse(&text, "course.xml").unwrap();
    let mut listing = Listing::default();
    let contents: HashMap<RelPath, Arc<[u8]>> = files
        .iter()
        .map(|(name, text)| (path(name), Arc::from(text.as_bytes())))
        .collect();
    for file in contents.keys() {
        listing.files.insert(file.clone());
        let mut dir = file.parent();
        while let Some(next) = dir {
            dir = next.parent();
            listing.dirs.insert(next);
        }
    }
    for dir in unread {
        listing.dirs.insert(path(dir));
        listing.unread.insert(Some(path(dir)));
    }
    discover(&spec, &listing, &|file: &RelPath| {
        contents.get(file).cloned()
    })
}

fn names(files: &[TopicFile]) -> Vec<&str> {
    files.iter().map(|file| file.at.as_str()).collect()
}

#[test]
fn topic_ids_follow_the_second_underscore() {
    for (name, id) in [
        ("topic_100_intro", Some("intro")),
        ("topic_100_a_b.py", Some("a_b")),
        ("helper_mod.py", None),
        ("x_y_z", Some("z")),
        ("topic_050_foo.bar.py", Some("foo.bar")),
        ("topic_050_", None),
    ] {
        assert_eq!(modules::simplified(name).as_deref(), id, "{name}");
    }
}

#[test]
fn files_of_a_topic_are_told_apart() {
    let (tree, diagnostics) = course(
        "<topic>a</topic>",
        &[
            (
                "slides/m/topic_1_a/slides_b.py",
                "# {{ header(\"B\", \"B\") }}",
            ),
            ("slides/m/topic_1_a/slides_a.py", ""),
            ("slides/m/topic_1_a/nested/slides_z.py", ""),
            ("slides/m/topic_1_a/data/x.csv", ""),
            ("slides/m/topic_1_a/pu/d.de.pu", ""),
            ("slides/m/topic_1_a/pu/common.iuml", ""),
            ("slides/m/topic_1_a/drawio/e.drawio", ""),
            ("slides/m/topic_1_a/img/p.png", ""),
            ("slides/m/topic_1_a/img/e.png", ""),
            ("slides/m/topic_1_a/imgdata/q.png", ""),
            ("slides/m/topic_1_a/build/no.txt", ""),
            ("slides/m/topic_1_a/w.keras", ""),
            ("slides/m/topic_1_a/voiceover_b.py", ""),
        ],
    );
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let topic = &tree.sections[0].topics[0];
    let decks: Vec<(&str, u32)> = topic
        .decks
        .iter()
        .map(|d| (d.path.file_name(), d.number))
        .collect();
    assert_eq!(
        decks,
        [("slides_z.py", 1), ("slides_a.py", 2), ("slides_b.py", 3)]
    );
    assert_eq!(
        names(&topic.data),
        [
            "slides/m/topic_1_a/data/x.csv",
            "slides/m/topic_1_a/imgdata/q.png"
        ]
    );
    assert_eq!(names(&topic.images), ["slides/m/topic_1_a/img/p.png"]);
    let rendered: Vec<&str> = topic.diagrams.iter().map(|d| d.rendered.as_str()).collect();
    assert_eq!(
        rendered,
        [
            "slides/m/topic_1_a/img/e.png",
            "slides/m/topic_1_a/img-generated/d.de.png"
        ]
    );
    let siblings: Vec<String> = topic
        .siblings(&topic.decks[1])
        .iter()
        .map(|(_, at)| at.to_string())
        .collect();
    assert_eq!(
        siblings,
        [
            "data/x.csv",
            "imgdata/q.png",
            "nested/slides_z.py",
            "slides_b.py"
        ]
    );
}

#[test]
fn a_file_topic_takes_what_it_names() {
    let (tree, diagnostics) = course(
        "<topic>x</topic>",
        &[
            (
                "slides/m/topic_040_x.py",
                "import helper_mod\nimport numpy\n# <img src=\"img/f.png\" />",
            ),
            ("slides/m/helper_mod.py", ""),
            ("slides/m/other.py", ""),
            ("slides/m/img/f.png", ""),
        ],
    );
    assert!(diagnostics.is_empty());
    let topic = &tree.sections[0].topics[0];
    assert_eq!(names(&topic.data), ["slides/m/helper_mod.py"]);
    assert_eq!(names(&topic.images), ["slides/m/img/f.png"]);
    assert_eq!(topic.home, path("slides/m"));
}

#[test]
fn unknown_and_ambiguous_topics_are_told_with_their_place() {
    let (tree, diagnostics) = course(
        "<topic>introo</topic>\n<topic>twice</topic><topic module=\"n\">twice</topic>",
        &[
            ("slides/m/topic_1_intro/slides_a.py", ""),
            ("slides/m/topic_2_twice/slides_a.py", ""),
            ("slides/n/topic_2_twice/slides_a.py", ""),
            ("slides/_hidden/topic_3_gone/slides_a.py", ""),
        ],
    );
    assert_eq!(
        tree.sections[0].topics[0].path,
        path("slides/m/topic_2_twice")
    );
    assert_eq!(
        tree.sections[0].topics[1].path,
        path("slides/n/topic_2_twice")
    );
    assert_eq!(diagnostics[0].message, "there is no topic `introo`");
    assert_eq!(
        diagnostics[0].hint.as_deref(),
        Some("did you mean `intro`?")
    );
    assert_eq!(diagnostics[0].line, Some(1));
    assert!(
        diagnostics[1]
            .message
            .starts_with("there is more than one topic `twice`")
    );
    assert_eq!(diagnostics[1].line, Some(2));
}

#[test]
fn a_deck_that_is_not_utf8_is_named_with_its_line() {
    let (spec, _) = spec::parse(
        "<course><name>K</name><prog-lang>python</prog-lang><sections><section><name>S</name><topics><topic>a</topic></topics></section></sections></course>",
        "course.xml",
    )
    .unwrap();
    let deck = path("slides/m/topic_1_a/slides_a.py");
    let listing = Listing {
        files: [deck.clone()].into(),
        dirs: [path("slides"), path("slides/m"), path("slides/m/topic_1_a")].into(),
        ..Listing::default()
    };
    let (tree, diagnostics) = discover(&spec, &listing, &|_: &RelPath| {
        Some(Arc::from(&b"# a\n# b\n# \xe4\n"[..]))
    });
    assert!(tree.sections[0].topics[0].decks.is_empty());
    assert_eq!(diagnostics[0].line, Some(3));
    assert_eq!(diagnostics[0].file.as_deref(), Some(deck.as_str()));
}

#[test]
fn included_files_appear_in_the_topic_after_its_own() {
    let (tree, diagnostics) = course(
        r#"<topic id="a"><include source="shared/lib" as="lib"/><include source="shared/extra/slides_z.py"/><include source="none" optional="true"/></topic>"#,
        &[
            ("slides/m/topic_1_a/slides_a.py", ""),
            ("slides/m/topic_1_a/lib/own.py", "1"),
            ("shared/lib/own.py", "2"),
            ("shared/lib/util.py", ""),
            ("shared/lib/img/p.png", ""),
            ("shared/lib/pu/d.pu", ""),
            ("shared/lib/node_modules/x.js", ""),
            ("shared/extra/slides_z.py", "# {{ header(\"Z\", \"Zed\") }}"),
        ],
    );
    let topic = &tree.sections[0].topics[0];
    let numbers: Vec<(&str, u32)> = topic
        .decks
        .iter()
        .map(|deck| (deck.at.as_str(), deck.number))
        .collect();
    assert_eq!(
        numbers,
        [
            ("slides/m/topic_1_a/slides_a.py", 1),
            ("slides/m/topic_1_a/slides_z.py", 2)
        ]
    );
    assert_eq!(topic.decks[1].path, path("shared/extra/slides_z.py"));
    assert_eq!(topic.decks[1].title.get(Lang::EN), "Zed");
    let util = TopicFile {
        path: path("shared/lib/util.py"),
        at: path("slides/m/topic_1_a/lib/util.py"),
    };
    assert_eq!(
        topic.data,
        [TopicFile::own(&path("slides/m/topic_1_a/lib/own.py")), util]
    );
    assert_eq!(topic.images[0].at, path("slides/m/topic_1_a/lib/img/p.png"));
    assert_eq!(
        topic.diagrams[0].rendered,
        path("slides/m/topic_1_a/lib/img-generated/d.png")
    );
    let siblings = topic.siblings(&topic.decks[0]);
    assert!(siblings.contains(&(path("shared/lib/util.py"), path("lib/util.py"))));
    let messages: Vec<&str> = diagnostics.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(
        messages,
        ["the topic `a` has files of its own in the place of 1 of those that it includes as `lib`"]
    );
}

#[test]
fn a_missing_include_is_told_with_its_line() {
    let (_, diagnostics) = course(
        "\n<topic id=\"a\">\n<include source=\"none\"/></topic>",
        &[("slides/m/topic_1_a/slides_a.py", "")],
    );
    assert_eq!(
        diagnostics[0].message,
        "`none`, which the topic `a` includes, is not there"
    );
    assert_eq!(diagnostics[0].line, Some(3));
}

/// Fault `include-diagram-as`: the image would lie outside of the topic. The same for a diagram of the topic itself.
#[test]
fn a_diagram_directly_in_a_topic_is_told_and_not_rendered() {
    let (tree, diagnostics) = course(
        "\n<topic id=\"a\">\n<include source=\"shared/pu/x.pu\"/>\n<include source=\"shared/pu/x.pu\" as=\"pu/y.pu\"/></topic>",
        &[
            ("slides/m/topic_1_a/slides_a.py", ""),
            ("slides/m/topic_1_a/own.drawio", "<mxfile/>"),
            ("slides/m/topic_1_a/own.pu", "@startuml\n@enduml"),
            ("slides/m/topic_1_a/theme.puml", "skinparam x y"),
            ("shared/pu/x.pu", "@startuml\n@enduml"),
        ],
    );
    let texts: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 3, "{texts:#?}");
    assert_eq!(diagnostics[0].line, Some(3));
    assert!(texts[0].contains("`as=\"pu/x.pu\"`"), "{texts:#?}");
    assert!(
        texts
            .iter()
            .any(|m| m.contains("own.drawio: warning: ") && m.contains("`drawio/`")),
        "{texts:#?}"
    );
    let rendered: Vec<&str> = tree.sections[0].topics[0]
        .diagrams
        .iter()
        .map(|diagram| diagram.rendered.as_str())
        .collect();
    assert_eq!(rendered, ["slides/m/topic_1_a/img-generated/y.png"]);
}

#[test]
fn copies_that_the_ledger_knows_shadow_silently() {
    let ledger =
        r#"{"version":1,"entries":[{"as_path":"lib","source":"shared/lib","mode":"copy"}]}"#;
    let (_, diagnostics) = course(
        r#"<topic id="a"><include source="shared/lib" as="lib"/></topic>"#,
        &[
            ("slides/m/topic_1_a/slides_a.py", ""),
            ("slides/m/topic_1_a/lib/own.py", "1"),
            ("slides/m/topic_1_a/.clm-include", ledger),
            ("shared/lib/own.py", "2"),
        ],
    );
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
}

#[test]
fn narration_is_found_beside_the_deck_or_in_its_own_directory() {
    let (tree, _) = course(
        "<topic>a</topic><topic>b</topic>",
        &[
            ("slides/m/topic_1_a/slides_a.py", ""),
            ("slides/m/topic_1_a/voiceover/voiceover_a.py", ""),
            ("slides/m/topic_1_a/voiceover_a.py", ""),
            ("slides/m/topic_2_b/slides_b.py", ""),
            ("slides/m/topic_2_b/voiceover_b.py", ""),
        ],
    );
    let companion = |topic: usize| tree.sections[0].topics[topic].decks[0].companion.clone();
    assert_eq!(
        companion(0),
        Some(path("slides/m/topic_1_a/voiceover/voiceover_a.py"))
    );
    assert_eq!(
        companion(1),
        Some(path("slides/m/topic_2_b/voiceover_b.py"))
    );
    assert!(tree.sections[0].topics[1].data.is_empty());
}

/// Returns the decks of the first section with their numbers, and the files of the errors.
fn numbered(found: &(Tree, Vec<Diagnostic>)) -> (Vec<(&str, u32)>, Vec<&str>) {
    let topics = found.0.sections[0].topics.iter();
    let decks = topics.flat_map(|topic| &topic.decks);
    let errors = found.1.iter().filter_map(|error| error.file.as_deref());
    (
        decks
            .map(|deck| (deck.path.as_str(), deck.number))
            .collect(),
        errors.collect(),
    )
}

#[test]
fn decks_after_a_directory_that_cannot_be_read_have_no_number() {
    let topics = r#"<topic>a</topic><topic id="b"><include source="shared/lib" as="lib"/></topic><topic module="n">c</topic>"#;
    let files = [
        ("slides/m/topic_1_a/slides_a.py", ""),
        ("slides/m/topic_2_b/slides_b.py", ""),
        ("slides/n/topic_3_c/slides_c.py", ""),
        ("shared/lib/x.py", ""),
    ];
    let a = ("slides/m/topic_1_a/slides_a.py", 1);
    let b = ("slides/m/topic_2_b/slides_b.py", 2);
    let c = ("slides/n/topic_3_c/slides_c.py", 3);
    for (unread, decks, is_error) in [
        ("slides/m/topic_1_a", &[][..], true),
        ("slides/m/topic_1_a/deep", &[], true),
        ("slides/m/topic_1_a/voiceover", &[], true),
        ("slides/m/topic_1_a/__pycache__", &[a, b, c], false),
        ("slides/m/topic_2_b", &[a], true),
        ("shared/lib", &[a], true),
        ("slides/n/topic_3_c", &[a, b], true),
        ("slides/n/topic_9_other", &[a, b, c], false),
        // All topics of this module were found, so nothing is unknown.
        ("slides/m", &[a, b, c], false),
        ("extra", &[a, b, c], false),
    ] {
        let found = course_without(topics, &files, &[unread]);
        let errors = if is_error { vec![unread] } else { Vec::new() };
        assert_eq!(numbered(&found), (decks.to_vec(), errors), "{unread}");
    }
    // An unreadable module may contain the topics that are not found.
    for unread in ["slides", "slides/m"] {
        let found = course_without(topics, &files[2..], &[unread]);
        assert_eq!(numbered(&found), (vec![], vec![unread]));
        let ids: Vec<&str> = found.0.unread.iter().map(String::as_str).collect();
        assert_eq!(ids, ["a", "b", "c"]);
    }
    let (_, errors) = course_without(topics, &files[2..], &["slides/x/y"]);
    assert_eq!(errors[0].message, "there is no topic `a`");
}

#[test]
fn what_cannot_be_read_now_is_taken_from_the_last_listing() {
    let listing = |files: &[&str], dirs: &[&str], unread: &[&str]| Listing {
        files: files.iter().map(|file| path(file)).collect(),
        dirs: dirs.iter().map(|dir| path(dir)).collect(),
        unread: unread.iter().map(|dir| Some(path(dir))).collect(),
    };
    let last = listing(
        &["s/a/x", "s/a/d/y", "s/b/z", "s/link"],
        &["s", "s/a", "s/a/d", "s/b"],
        &[],
    );
    let mut now = listing(
        &["s/b/new"],
        &["s", "s/a", "s/b", "s/link"],
        &["s/a", "s/link"],
    );
    now.fill(&last);
    let expected = listing(
        &["s/a/x", "s/a/d/y", "s/b/new", "s/link"],
        &["s", "s/a", "s/a/d", "s/b"],
        &[],
    );
    assert_eq!(now, expected);
    // Directories that are new, or were unreadable in the last listing, too, stay unknown.
    let last = listing(&["s/a/x"], &["s", "s/a", "s/a/d"], &["s/a/d"]);
    for dir in ["s/new", "s/a", "s/a/d"] {
        let mut now = listing(&[], &["s", dir], &[dir]);
        let before = now.clone();
        now.fill(&last);
        assert_eq!(now, before, "{dir}");
    }
}

#[test]
fn a_half_that_is_missing_moves_no_other_deck() {
    let found = course(
        "<topic>a</topic>",
        &[
            ("slides/m/topic_1_a/slides_x.de.py", ""),
            ("slides/m/topic_1_a/slides_y.py", ""),
        ],
    );
    assert_eq!(numbered(&found).0, [("slides/m/topic_1_a/slides_y.py", 2)]);
}
