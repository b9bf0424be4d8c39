//! `clm check-spec`: all that is wrong, in one run.

use crate::support::Course;

const WRONG: &str = r#"<course>
  <name><x>K</x></name>
  <prog-lang>pyton</prog-lang>
  <project-slug>a/b</project-slug>
  <image-options><format>gif</format><inline>maybe</inline></image-options>
  <colour>red</colour>
  <sections>
    <section enabled="maybe"><name>A</name><topics>
      <topic id="x">x</topic>
      <topic evaluate="maybe">good</topic>
      <topic prog-lang="jav" skip-errors="2">good</topic>
      <topic>missing</topic>
      <topic id="t2"><include source="../x"/></topic>
      <topic id="t3"><include as="y"/></topic>
      <topic id="t4"><include source="a" as="*"/></topic>
      <topic id="t5"><include source="a" as="c"/><include source="b" as="c"/></topic>
      <topic/>
      <topic><dir-group/></topic>
      <subsection weekday="mon,foo"><topic>good</topic></subsection>
      <activity/>
    </topics></section>
    <section><topics/></section>
    <section><name>text<de>a</de></name><topics/></section>
    <section><name>B</name></section>
  </sections>
  <dir-groups>
    <dir-group><name>G</name><path>/abs</path></dir-group>
    <dir-group><name>H</name><path>p</path><subdirs><dir>../q</dir></subdirs></dir-group>
  </dir-groups>
  <output-targets>
    <output-target name="a"><path>.</path><kinds><kind>foo</kind></kinds></output-target>
    <output-target name="a"><path>o</path><formats><format>pdf</format></formats></output-target>
    <output-target name="b" distribute="x"><path>o</path></output-target>
    <output-target name="c"><languages><language>xx</language></languages></output-target>
    <output-target name="d"><path>../up</path></output-target>
    <output-target name="e"><path>slides/x</path></output-target>
  </output-targets>
</course>
"#;

/// Line, column and message of every finding.
fn findings(course: &Course) -> Vec<(u64, u64, String)> {
    let run = course.clm(&["check-spec", "--message-format", "json"]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    run.stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|event| {
            let number = |name: &str| event[name].as_u64().unwrap_or_else(|| panic!("{event}"));
            assert!(
                event["hint"].is_string() || event["severity"] == "warning",
                "{event}"
            );
            let message = event["message"].as_str().unwrap().to_owned();
            (number("line"), number("column"), message)
        })
        .collect()
}

#[test]
fn every_mistake_is_told_with_its_line_and_column_in_one_run() {
    let course = Course::with_topics(&[]);
    course.write("course.xml", WRONG);
    course.write("slides/m/topic_010_good/slides_good.py", "# %%\n1\n");
    let found = findings(&course);
    let expected: &[(u64, u64, &str)] = &[
        (2, 9, "`<x>` cannot stand in `<name>`"),
        (3, 3, "`pyton` is not a programming language"),
        (4, 3, "contains a slash"),
        (5, 18, "`gif` is not an image format"),
        (5, 38, "`maybe` is neither true nor false"),
        (6, 3, "`<colour>` is unknown"),
        (8, 5, "`enabled=\"maybe\"`"),
        (9, 7, "two ids"),
        (10, 7, "`evaluate=\"maybe\"`"),
        (11, 7, "`jav` is not a programming language"),
        (11, 7, "`skip-errors=\"2\"`"),
        (12, 7, "there is no topic `missing`"),
        (13, 22, "contains `..`"),
        (14, 22, "no `source`"),
        (15, 22, "is a pattern"),
        (16, 50, "both included as `c`"),
        (17, 7, "no id"),
        (18, 7, "no id"),
        (19, 7, "`foo` is not a weekday"),
        (20, 7, "`<activity>` has no text"),
        (22, 5, "no `<name>`"),
        (23, 14, "both text and elements"),
        (24, 5, "no `<topics>`"),
        (27, 30, "is absolute"),
        (28, 53, "contains `..`"),
        (31, 29, "cannot be the course root"),
        (31, 50, "`foo` is not one of the kinds"),
        (32, 5, "two output targets named `a`"),
        (32, 52, "`pdf` is not one of the formats"),
        (33, 5, "`distribute=\"x\"`"),
        (33, 5, "the same path"),
        (34, 5, "has no `<path>`"),
        (34, 40, "`xx` is not one of the languages"),
        (35, 29, "contains `..`"),
        (36, 5, "lies in the sources"),
    ];
    for (line, column, message) in expected {
        assert!(
            found
                .iter()
                .any(|(l, c, m)| l == line && c == column && m.contains(message)),
            "{line}:{column}: {message} is not among {found:#?}"
        );
    }
}

/// Faults `silent-broken-options`, `warnings-without-pages` and `broken-image-refs`: a build tells every warning of a deck,
/// whatever it makes of it.
#[test]
fn a_build_tells_the_warnings_that_a_check_tells() {
    let course = Course::with_topics(&["odd"]);
    let deck = "slides/m/topic_010_odd/slides_odd.py";
    course.write(
        deck,
        "# %% [markdown] tags=[slide]\n# x\n\n# %% lang=\"fr\"\nx = 1\n\n# %% tags=[\"solution\"]\ny = 1\n\n\
         # %% tags=[\"solution\"]\nz = 1\n\n# %% [markdown] lang=\"en\"\n# <img src=\"img/nope.png\"> ![x](img/there.png)\n\
         # `![code](img/code.png)` ![u](https://example.org/x.png)\n#\n# <img src=\"img/m.de.png\"> <img src=\"img/d.png\">\n\n\
         # %% [markdown] lang=\"de\"\n# <img src=\"img-generated/g.png\"> ![x](img/alsonot.png) ![y](img/m.de.png)\n",
    );
    for (path, text) in [
        ("img/there.png", "a"),
        ("img/m.de.png", "b"),
        ("img-generated/g.png", "c"),
        ("img/d.png", "d"),
    ] {
        course.write(&format!("slides/m/topic_010_odd/{path}"), text);
    }
    let expected = [
        (1, "`tags=[slide]` of the cell cannot be read"),
        (4, "no output has the language `fr`"),
        (
            7,
            "unknown tag `solution` for a code cell (2 times: lines 7, 10)",
        ),
        (14, "no output has the image `img/nope.png`"),
        (
            17,
            "`img/m.de.png` is not in the outputs of the language `en`",
        ),
        (20, "outputs have no `img-generated/`"),
        (20, "no output has the image `img/alsonot.png`"),
    ];
    let of_deck = |ran: &crate::support::Ran| -> Vec<(u64, String)> {
        let lines = ran.stdout.lines();
        let events = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let warnings =
            events.filter(|event| event["file"] == deck && event["severity"] == "warning");
        let mut found: Vec<(u64, String)> = warnings
            .map(|event| {
                (
                    event["line"].as_u64().unwrap(),
                    event["message"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        found.sort();
        found
    };
    let check = course.clm(&["check-spec", "--message-format", "json"]);
    let told = of_deck(&check);
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (line, message) in expected {
        assert!(
            told.iter().any(|(l, m)| *l == line && m.contains(message)),
            "{line}: {message} is not among {told:#?}"
        );
    }
    let built = |args: &[&str]| {
        let all = [&["build", "--message-format", "json"], args].concat();
        of_deck(&course.clm(&all))
    };
    assert_eq!(built(&["--formats", "notebook,code"]), told);
    assert_eq!(built(&["--formats", "code", "--languages", "de"]), told);
    assert_eq!(built(&["--fast", "--formats", "html,notebook"]), told);
    course.edit("course.xml", "<topic>odd", "<topic html=\"no\">odd");
    assert_eq!(built(&[]), told);
}

#[test]
fn malformed_xml_is_told_with_its_place() {
    let course = Course::with_topics(&[]);
    course.write("course.xml", "<course>\n  <name>K</nam>\n</course>\n");
    let found = findings(&course);
    assert_eq!((found.len(), found[0].0), (1, 2), "{found:?}");
}

#[test]
fn what_a_deck_gets_wrong_is_told_too_and_nothing_is_built() {
    let course = Course::with_topics(&["good", "bad"]);
    course.write("slides/m/topic_010_good/slides_good.py", "# %%\n1\n");
    course.write(
        "slides/m/topic_020_bad/slides_bad.py",
        "# %%\nx = '{{ y }}'\n",
    );
    let run = course.clm(&["check-spec"]);
    assert_eq!(run.code, 2);
    assert!(
        run.stderr.contains("slides_bad.py:2: error:"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("1 error, 0 warnings"), "{}", run.stderr);
    assert!(!course.path("output").exists() && !course.path(".clm").exists());
    course.edit("slides/m/topic_020_bad/slides_bad.py", "{{ y }}", "y");
    let run = course.clm(&["check-spec"]);
    assert_eq!((run.code, run.stderr.trim()), (0, "Nothing is wrong"));
}
