use std::sync::Arc;

use super::*;
use crate::course::file_name::sanitize;
use crate::course::{spec, tree};

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn listing(files: &[&str]) -> Listing {
    let mut listing = Listing::default();
    for file in files {
        listing.files.insert(path(file));
        let mut dir = path(file).parent();
        while let Some(next) = dir {
            dir = next.parent();
            listing.dirs.insert(next);
        }
    }
    listing
}

fn laid_out(xml: &str, files: &[&str], selection: &Selection) -> (Layout, Vec<Diagnostic>) {
    laid_out_with(xml, files, selection, &|_, _| false)
}

fn laid_out_with(
    xml: &str,
    files: &[&str],
    selection: &Selection,
    is_same: &dyn Fn(&RelPath, &RelPath) -> bool,
) -> (Layout, Vec<Diagnostic>) {
    let (spec, _) = spec::parse(xml, "course.xml").unwrap();
    let listing = listing(files);
    let (tree, diagnostics) =
        tree::discover(&spec, &listing, &|_: &RelPath| Some(Arc::from(&b""[..])));
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let naming = Naming {
        root_of: &|target| target.path.to_string(),
        names: &Names::default(),
    };
    layout(&spec, &tree, &listing, selection, &naming, is_same).unwrap()
}

const COURSE: &str = "<course><name><de>Mein Kurs</de><en>My Course</en></name><prog-lang>python</prog-lang>
<sections><section><name><de>Woche 1</de><en>Week 1</en></name><topics><topic>a</topic><topic html='no'>b</topic></topics></section></sections>
<dir-groups><dir-group><name>Code/Solutions</name><path>code</path><subdirs><s>one</s></subdirs></dir-group>
<dir-group><name/><path>root</path></dir-group></dir-groups></course>";

#[test]
fn names_are_sanitised() {
    for (text, name) in [
        ("One: a/b [start]", "One a_b (start)"),
        ("Was this really ML?", "Was this really ML"),
        ("C# {x} [y] a|b*", "CSharp (x) (y) a_b_"),
        (" ..", "__"),
        ("Größe, 1.5 µm", "Größe, 1.5 µm"),
    ] {
        assert_eq!(sanitize(text), name);
    }
}

#[test]
fn the_usual_targets_get_36_outputs_of_a_bilingual_deck() {
    let (layout, diagnostics) = laid_out(
        COURSE,
        &[
            "slides/m/topic_1_a/slides_a.py",
            "slides/m/topic_2_b/slides_b.py",
            "slides/m/topic_2_b/data/d.csv",
        ],
        &Selection::default(),
    );
    assert_eq!(
        diagnostics.len(),
        2,
        "the dir-groups' directories are not there: {diagnostics:?}"
    );
    let count = |deck: &DeckOutputs| {
        deck.outputs
            .iter()
            .map(|output| output.destinations.len())
            .sum::<usize>()
    };
    assert_eq!(count(&layout.decks[0]), 36);
    assert_eq!(count(&layout.decks[1]), 24);
    let html = &layout.decks[0].outputs[0];
    assert_eq!(
        (html.lang, html.format, html.kind),
        (Lang::DE, Format::Html, Kind::CodeAlong)
    );
    assert_eq!(
        html.destinations[0].at.path(),
        "Mein Kurs-de/Folien/Html/Code-Along/Woche 1/01 slides_a.html"
    );
    // Data files are copied beside the decks of every format.
    assert_eq!(layout.copies[0].destinations.len(), 36);
    assert_eq!(
        layout.copies[0].destinations.last().unwrap().at.path(),
        "My Course-en/Slides/Python/Recording/Week 1/data/d.csv"
    );
}

#[test]
fn dir_groups_go_once_to_every_target_and_language() {
    let (layout, diagnostics) = laid_out(
        COURSE,
        &[
            "slides/m/topic_1_a/slides_a.py",
            "slides/m/topic_2_b/slides_b.py",
            "code/one/x.py",
            "code/one/__pycache__/x.pyc",
            "code/two/y.py",
            "root/readme.txt",
        ],
        &Selection::default(),
    );
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let copies: Vec<(&str, usize, &str)> = layout
        .copies
        .iter()
        .map(|copy| {
            (
                copy.source.as_str(),
                copy.destinations.len(),
                copy.destinations[0].at.path(),
            )
        })
        .collect();
    assert_eq!(
        copies,
        [
            ("code/one/x.py", 6, "Mein Kurs-de/Code/Solutions/one/x.py"),
            ("root/readme.txt", 6, "Mein Kurs-de/readme.txt"),
        ]
    );
}

#[test]
fn diagrams_are_shown_in_img() {
    let (layout, _) = laid_out(
        COURSE,
        &[
            "slides/m/topic_1_a/slides_a.py",
            "slides/m/topic_1_a/pu/d.pu",
            "slides/m/topic_2_b/slides_b.py",
        ],
        &Selection {
            languages: Some(vec![Lang::EN]),
            formats: Some(vec![Format::Html]),
            targets: Some(vec!["speaker".into()]),
            ..Selection::default()
        },
    );
    let places: Vec<&str> = layout.diagrams[0]
        .destinations
        .iter()
        .map(|d| d.at.path())
        .collect();
    assert_eq!(
        places,
        ["My Course-en/Slides/Html/Recording/Week 1/img/d.png"]
    );
}

#[test]
fn two_sources_of_one_output_are_an_error_that_names_both() {
    let (layout, diagnostics) = laid_out(
        COURSE,
        &[
            "slides/m/topic_1_a/slides_a.py",
            "slides/m/topic_1_a/data/x.csv",
            "slides/m/topic_2_b/slides_b.py",
            "slides/m/topic_2_b/data/x.csv",
            "slides/m/topic_2_b/DATA/x.csv",
            "code/one/x.py",
            "root/r",
        ],
        &Selection::default(),
    );
    let messages: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(messages.len(), 2, "{messages:#?}");
    assert!(
        messages.iter().any(|m| m.contains(
            "topic_2_b/data/x.csv: error: it has the same output as `slides/m/topic_1_a/data/x.csv`"
        )),
        "{messages:#?}"
    );
    assert!(
        messages
            .iter()
            .any(|m| m.contains("only in upper and lower case")),
        "{messages:#?}"
    );
    assert!(
        layout
            .copies
            .iter()
            .all(|copy| copy.source.as_str() != "slides/m/topic_2_b/data/x.csv")
    );
}

/// Faults `same-diagram-twice` and `shared-diagram`: equal sources share one picture, others are an error.
#[test]
fn equal_diagrams_have_one_picture() {
    let files = [
        "slides/m/topic_1_a/pu/d.pu",
        "slides/m/topic_1_a/pu/style.iuml",
        "slides/m/topic_1_a/drawio/e.drawio",
        "slides/m/topic_1_a/data/f.txt",
        "slides/m/topic_2_b/pu/d.pu",
        "slides/m/topic_2_b/pu/style.iuml",
        "slides/m/topic_2_b/drawio/e.drawio",
        "slides/m/topic_2_b/data/f.txt",
        "code/one/x.py",
        "root/r",
    ];
    let conflicts = |differs: &str| {
        let is_same = |one: &RelPath, other: &RelPath| {
            one.file_name() == other.file_name() && one.file_name() != differs
        };
        let (layout, diagnostics) = laid_out_with(COURSE, &files, &Selection::default(), &is_same);
        assert_eq!(layout.diagrams.len(), 4);
        let messages: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
        messages
    };
    assert_eq!(conflicts(""), Vec::<String>::new());
    for (differs, diagram) in [("d.pu", "pu/d.pu"), ("e.drawio", "drawio/e.drawio")] {
        let messages = conflicts(differs);
        let both =
            ["slides/m/topic_1_a/", "slides/m/topic_2_b/"].map(|dir| format!("{dir}{diagram}"));
        let names_both = |m: &String| both.iter().all(|name| m.contains(name));
        assert!(messages.iter().any(names_both), "{messages:#?}");
    }
    // Files that a diagram may include count, too.
    let messages = conflicts("style.iuml");
    assert!(
        messages.iter().any(|m| m.contains("topic_2_b/pu/d.pu")),
        "{messages:#?}"
    );

    // The same file, by an include.
    let shared = COURSE.replace(
        "<topic html='no'>b</topic>",
        "<topic id='b'><include source='slides/m/topic_1_a/pu/d.pu' as='pu/d.pu'/></topic>",
    );
    let files = [
        "slides/m/topic_1_a/pu/d.pu",
        "slides/m/topic_2_b/slides_b.py",
        "code/one/x.py",
        "root/r",
    ];
    let (_, diagnostics) = laid_out(&shared, &files, &Selection::default());
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
}

#[test]
fn selections_are_checked() {
    let (spec, _) = spec::parse(COURSE, "course.xml").unwrap();
    let select = |section: &str| {
        Selection {
            sections: Some(vec![section.to_owned()]),
            ..Selection::default()
        }
        .apply(&spec)
    };
    assert_eq!(select("week").unwrap().1, Some([0].into()));
    assert_eq!(select("1").unwrap().1, Some([0].into()));
    assert!(
        select("idx:2").unwrap_err()[0]
            .message
            .contains("no section `idx:2`")
    );
    let targets = Selection {
        targets: Some(vec!["students".into()]),
        ..Selection::default()
    }
    .apply(&spec);
    assert!(
        targets.unwrap_err()[0]
            .hint
            .as_deref()
            .unwrap()
            .contains("`shared`")
    );
}

#[test]
fn tagged_files_go_to_their_language_and_films_to_no_scripts() {
    let files = [
        "slides/m/topic_1_a/slides_a.py",
        "slides/m/topic_1_a/img/map.de.png",
        "slides/m/topic_1_a/img/other.fr.png",
        "slides/m/topic_1_a/data/text.en.txt",
        "slides/m/topic_1_a/img/film.MP4",
        "slides/m/topic_1_a/data/sound.wav",
        "slides/m/topic_1_a/img-generated/film.webm",
        "slides/m/topic_1_a/drawio/plan.en.drawio",
    ];
    let course =
        "<course><name>C</name><prog-lang>python</prog-lang><sections><section><name>S</name>
        <topics><topic>a</topic></topics></section></sections></course>";
    let (layout, _) = laid_out(course, &files, &Selection::default());
    let places = |name: &str| -> Vec<String> {
        layout
            .copies
            .iter()
            .filter(|copy| copy.source.file_name() == name)
            .flat_map(|copy| &copy.destinations)
            .map(|place| place.at.path().to_owned())
            .collect()
    };
    for (name, count) in [
        ("map.de.png", 18),
        ("other.fr.png", 36),
        ("text.en.txt", 18),
        ("film.MP4", 24),
        ("sound.wav", 36),
        ("film.webm", 24),
    ] {
        assert_eq!(places(name).len(), count, "{name}");
    }
    assert!(
        places("map.de.png")
            .iter()
            .all(|place| place.starts_with("C-de/"))
    );
    assert!(
        places("film.MP4")
            .iter()
            .all(|place| !place.contains("/Python/"))
    );
    // Only pictures are moved to `img`.
    assert!(places("film.webm")[0].ends_with("/img-generated/film.webm"));
    let drawn = &layout.diagrams[0].destinations;
    assert_eq!(drawn.len(), 18);
    assert!(
        drawn
            .iter()
            .all(|place| place.at.path().starts_with("C-en/"))
    );
}

#[test]
fn a_dir_group_may_be_for_one_language() {
    let course = COURSE.replace("<dir-group><name/>", "<dir-group lang='en'><name/>");
    let files = [
        "slides/m/topic_1_a/slides_a.py",
        "slides/m/topic_2_b/slides_b.py",
        "code/one/x.py",
        "root/r.txt",
    ];
    let (layout, _) = laid_out(&course, &files, &Selection::default());
    let copied = |name: &str| {
        let mut copies = layout.copies.iter();
        let copy = copies.find(|copy| copy.source.as_str() == name).unwrap();
        copy.destinations.len()
    };
    assert_eq!((copied("code/one/x.py"), copied("root/r.txt")), (6, 3));
    let wrong = COURSE.replace("<dir-group><name/>", "<dir-group lang='fr'><name/>");
    assert!(spec::parse(&wrong, "course.xml").is_err());
}
