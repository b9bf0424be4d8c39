//! What diagrams refer to: files that are there, appear later or are refused, and what the author is told of them.

use clm::testing::worker::request::ImageFormat;

use super::lab::{Lab, uml};
use crate::support::Course;

/// Look-ups of files that are not there: literal and computed names, followed by what is discovered.
const LOOKED_FOR_IN_VAIN: &[(&str, &[&str])] = &[
    ("!$f = \"late.iuml\"\n!include $f", &["slides/pu/late.iuml"]),
    (
        "!$f = \"late.iuml\"\n!includesub $f!X",
        &["slides/pu/late.iuml"],
    ),
    (
        "!$f = \"cfg\"\n!if %file_exists($f + \".iuml\")\n!include cfg.iuml\n!endif\nclass A",
        &["slides/pu/cfg.iuml"],
    ),
    (
        "!if %file_exists(\"../cfg.iuml\")\n!endif\nclass A",
        &["slides/cfg.iuml"],
    ),
    (
        "!$d = \"late.json\"\n!$x = %load_json($d)\nclass A",
        &["slides/pu/late.json"],
    ),
    (
        "!$t = \"late\"\n!theme $t from none\nclass A",
        &["slides/pu/none/puml-theme-late.puml"],
    ),
    ("!theme late\nclass A", &["slides/pu/puml-theme-late.puml"]),
    (
        "!$p = \"late.png\"\nnote \"<img:$p>\" as N",
        &["slides/pu/late.png"],
    ),
    (
        "!$p = \"late.png\"\nsprite s $p\nclass A",
        &["slides/pu/late.png"],
    ),
    ("!import late.zip\nclass A", &["slides/pu/late.zip"]),
    ("skin late\nclass A", &["slides/pu/late.skin"]),
    ("!include ::late.iuml", &["slides/pu/late.iuml"]),
    ("!if 1 == 2\n!include late.iuml\n!endif\nclass A", &[]),
];

#[tokio::test]
async fn files_that_are_looked_for_in_vain_are_discovered() {
    let lab = Lab::new();
    for (body, discovered) in LOOKED_FOR_IN_VAIN {
        let rendered = lab.render(&uml(body), ImageFormat::Svg).await;
        assert_eq!(rendered.discovered(), *discovered, "{body}");
    }
}

#[test]
fn diagrams_are_drawn_again_when_a_file_appears_and_libraries_are_no_diagrams() {
    let topic = "slides/m/topic_010_one";
    let course = Course::with_topics(&["one"]);
    course.write(
        &format!("{topic}/slides_one.py"),
        "# %% [markdown]\n# text\n",
    );
    for (name, body) in [
        ("late", "!$f = \"late.iuml\"\n!include $f\nA -> B"),
        (
            "exists",
            "!if %file_exists(\"cfg.iuml\")\n!include cfg.iuml\n!else\nA -> B: none\n!endif",
        ),
        ("themed", "!theme mine from themes\nA -> B"),
    ] {
        course.write(&format!("{topic}/pu/{name}.pu"), uml(body));
    }
    course.write(
        &format!("{topic}/pu/themes/puml-theme-mine.puml"),
        "skinparam sequenceArrowColor red\n",
    );
    let action = |name: &str| format!("plantuml {topic}/pu/{name}.pu");
    let ran = course.build(&["--formats", "notebook"]);
    let errors: Vec<_> = ran
        .errors()
        .into_iter()
        .map(|error| error.file.clone().unwrap())
        .collect();
    assert_eq!(
        errors,
        [format!("{topic}/pu/late.pu")],
        "{:#?}",
        ran.errors()
    );
    assert_eq!(
        ran.jobs(),
        [action("exists"), action("late"), action("themed")]
    );

    course.write(&format!("{topic}/pu/late.iuml"), "A -> B: late\n");
    course.write(&format!("{topic}/pu/cfg.iuml"), "A -> B: configured\n");
    let ran = course.build(&["--formats", "notebook"]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    assert_eq!(ran.jobs(), [action("exists"), action("late")]);
    for name in ["exists", "late"] {
        assert!(
            ran.reasons(&action(name))[0].contains("appeared"),
            "{:?}",
            ran.reasons(&action(name))
        );
    }
    assert_eq!(course.build(&["--formats", "notebook", "--check"]).code, 0);
}

#[test]
fn a_diagram_that_ends_the_jvm_fails_alone_and_is_remembered() {
    let topic = "slides/m/topic_010_one";
    let course = Course::with_topics(&["one"]);
    course.write(
        &format!("{topic}/slides_one.py"),
        "# %% [markdown]\n# text\n",
    );
    for name in ["a", "c", "d"] {
        course.write(&format!("{topic}/pu/{name}.pu"), uml("A -> B"));
    }
    course.write(
        &format!("{topic}/pu/b.pu"),
        uml("!include grow.iuml\nA -> B"),
    );
    // A directory in an include's place is a file that is not there.
    course.write(
        &format!("{topic}/pu/e.pu"),
        uml("!if %file_exists(\"parts\")\n!endif\n!include parts"),
    );
    course.write(&format!("{topic}/pu/parts/x.iuml"), "A -> B\n");
    let part = format!("{topic}/pu/grow.iuml");
    course.write(
        &part,
        "!$s = \"xxxxxxxxxxxxxxxx\"\n!while %strlen($s) > 0\n!$s = $s + $s\n!endwhile\n",
    );
    let build = || course.build(&["--formats", "notebook"]);
    let is_blamed = |ran: &crate::support::Ran| {
        let errors = ran.errors();
        assert_eq!(errors.len(), 2, "{errors:#?}");
        let error = ran.error_in(&format!("{topic}/pu/b.pu"));
        assert!(error.message.contains("ran out of memory"), "{error}");
        assert!(error.hint.is_some());
        let error = ran.error_in(&format!("{topic}/pu/e.pu"));
        assert!(error.message.contains("cannot include parts"), "{error}");
    };
    let ran = build();
    assert_eq!(ran.code, 1);
    is_blamed(&ran);
    for name in ["a", "c", "d"] {
        assert!(
            course
                .path(&format!("{topic}/img-generated/{name}.png"))
                .is_file(),
            "{name}"
        );
    }
    let again = build();
    assert_eq!(again.jobs(), [] as [&str; 0], "the failure is remembered");
    is_blamed(&again);

    // What it had read until then is known.
    course.write(&part, "A -> B: small\n");
    std::fs::remove_dir_all(course.path(&format!("{topic}/pu/parts"))).unwrap();
    course.write(&format!("{topic}/pu/parts"), "A -> B: a file now\n");
    let ran = build();
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    assert_eq!(
        ran.jobs(),
        [
            format!("plantuml {topic}/pu/b.pu"),
            format!("plantuml {topic}/pu/e.pu")
        ]
    );
}

#[tokio::test]
async fn a_file_exists_where_the_diagram_lies() {
    let lab = Lab::new();
    lab.write("slides/pu/cfg.iuml", "class Configured");
    lab.write("slides/part.iuml", "class Part");
    lab.write("slides/pu/dir/x.iuml", "class X");
    for (name, is_there) in [
        ("cfg.iuml", true),
        ("./cfg.iuml", true),
        ("../part.iuml", true),
        ("dir/x.iuml", true),
        ("dir", false),
        ("none.iuml", false),
    ] {
        let literal = format!("!if %file_exists(\"{name}\")\nclass Yes\n!else\nclass No\n!endif");
        let computed = format!(
            "!$n = \"{name}\"\n{}",
            literal.replace(&format!("\"{name}\""), "$n")
        );
        for body in [literal, computed] {
            let svg = lab.svg(&uml(&body)).await;
            assert_eq!(svg.contains("Yes"), is_there, "{body}");
        }
    }
    // Two links: the one that is followed now, and the file it leads to, decide about the picture.
    std::os::unix::fs::symlink("cfg.iuml", lab.root().join("slides/pu/link.iuml")).unwrap();
    let linked = lab
        .render(&uml("!include link.iuml"), ImageFormat::Svg)
        .await;
    assert_eq!(
        linked.discovered(),
        ["slides/pu/cfg.iuml", "slides/pu/link.iuml"]
    );
}

#[tokio::test]
async fn a_link_on_the_way_to_a_file_is_a_part_of_what_is_discovered() {
    let lab = Lab::new();
    lab.write("slides/lib/x.iuml", "class X");
    std::fs::create_dir_all(lab.root().join("slides/pu")).unwrap();
    std::os::unix::fs::symlink("../lib", lab.root().join("slides/pu/inc")).unwrap();
    for (body, discovered) in [
        (
            "!include inc/x.iuml",
            ["slides/lib/x.iuml", "slides/pu/inc/x.iuml"],
        ),
        (
            "!if %file_exists(\"inc/y.iuml\")\n!endif\nclass A",
            ["slides/lib/y.iuml", "slides/pu/inc/y.iuml"],
        ),
    ] {
        let rendered = lab.render(&uml(body), ImageFormat::Svg).await;
        assert_eq!(rendered.discovered(), discovered, "{body}");
    }
}

#[tokio::test]
async fn a_url_is_refused_however_it_is_written() {
    let lab = Lab::new();
    let url = "https://example.org/lib/x.puml";
    for (body, line) in [
        (format!("!include {url}\na -> b"), 2),
        (
            "!define LIB https://example.org/lib\n!include LIB/x.puml\na -> b".to_owned(),
            3,
        ),
        (
            "!$base = \"https://example.org/lib\"\n!include $base/x.puml\na -> b".to_owned(),
            3,
        ),
        (format!("!$u = \"{url}\"\n!$x = %load_json($u)\na -> b"), 1),
        (format!("!$u = \"{url}\"\nnote \"<img:$u>\" as N"), 1),
    ] {
        let error = lab.error(&uml(&body)).await;
        assert_eq!(
            error.message,
            format!("`{url}` is on the network, which diagrams may not use"),
            "{body}"
        );
        assert!(error.hint.unwrap().contains("copy the file"), "{body}");
        assert_eq!(error.line, Some(line), "{body}");
    }
    let not_taken = format!("!if 1 == 2\n!include {url}\n!include /etc/passwd\n!endif\nclass A");
    lab.svg(&uml(&not_taken)).await;
}

#[tokio::test]
async fn hints_speak_of_what_the_author_did() {
    let lab = Lab::with(|renderers| {
        if let Some(tool) = &mut renderers.plantuml {
            (tool.dot, tool.own_dot) = (None, None);
        }
    });
    for (text, message, hint) in [
        (
            uml("foo bar baz"),
            "Syntax Error?",
            Some("does not understand this line"),
        ),
        (
            uml("!include none.iuml"),
            "cannot include none.iuml",
            Some("beside the diagram"),
        ),
        (
            uml("!theme none"),
            "Cannot load theme none",
            Some("`!theme NAME from DIRECTORY`"),
        ),
        (
            uml("!theme none from t"),
            "`t/puml-theme-none.puml` is not there",
            Some("`!theme NAME from DIRECTORY`"),
        ),
        (
            uml("!import x.zip"),
            "Cannot import",
            Some("use `!include`"),
        ),
        (
            uml("sprite s x.png\nclass A"),
            "Cannot read: x.png",
            Some("pictures"),
        ),
        (
            uml("<style>\n@import x.css\n</style>\nclass A"),
            "PlantUML fails at this line",
            Some("another way"),
        ),
        (
            "@startdot\ndigraph x {\n a -> b\n}\n@enddot\n".to_owned(),
            "needs Graphviz",
            Some("`clm setup`"),
        ),
        (
            "@startuml\nA -> B\n".to_owned(),
            "has no end",
            Some("put `@enduml` after"),
        ),
        (
            "words".to_owned(),
            "no diagram",
            Some("put `@startuml` before"),
        ),
        // A picture that is not there, in the line of an error, does not take its place.
        (
            "words <img:none.png>".to_owned(),
            "no diagram",
            Some("put `@startuml` before"),
        ),
        // Long lines and many references are looked through in no time that anybody would notice.
        (
            format!(
                "!include x{}y\n{}",
                " ".repeat(400_000),
                "<img:a.png>".repeat(20_000)
            ),
            "no diagram",
            Some("put `@startuml` before"),
        ),
        (
            "@startjson\n{\"a\": }\n@endjson\n".to_owned(),
            "not valid JSON",
            Some("comma"),
        ),
        (uml("!assert 1 == 2 : \"never\"\nclass A"), "never", None),
    ] {
        let error = lab.error(&text).await;
        assert!(error.message.contains(message), "{text}: {error}");
        let told = error.hint.clone().unwrap_or_default();
        match hint {
            Some(hint) => assert!(told.contains(hint), "{text}: {error}"),
            None => assert_eq!(error.hint, None, "{text}: {error}"),
        }
    }
}
