use proptest::prelude::*;

use super::*;

fn errors(text: &str) -> Vec<String> {
    parse(text, "course.xml")
        .map(|(_, warnings)| warnings)
        .unwrap_or_else(|errors| errors)
        .iter()
        .map(ToString::to_string)
        .collect()
}

const SMALL: &str = "<course><name><de>Kurs</de><en>Course</en></name><prog-lang>python</prog-lang>
<sections><section><name>Week</name><topics>
<topic>one</topic>
<topic id='two' evaluate='no' skip-errors='1' author='A'/>
<subsection><name>x</name><topic>three<dir-group><name/><path>code</path><subdirs><s>a</s><s/></subdirs></dir-group></topic></subsection>
<subsection enabled='false'><topic>four</topic></subsection>
</topics></section>
<section enabled='false'><topics><topic>five</topic></topics></section>
</sections></course>";

#[test]
fn a_small_course_is_read() {
    let (spec, warnings) = parse(SMALL, "course.xml").unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(spec.name.get(Lang::EN), "Course");
    assert_eq!(spec.sections.len(), 1);
    let topics = &spec.sections[0].topics;
    let ids: Vec<&str> = topics.iter().map(|topic| topic.id.as_str()).collect();
    assert_eq!(ids, ["one", "two", "three"]);
    assert!(topics[0].evaluate && !topics[1].evaluate && topics[1].skip_errors);
    assert_eq!((topics[1].line, topics[1].column), (4, 1));
    assert_eq!(topics[2].dir_groups[0].subdirs.len(), 2);
    let names: Vec<&str> = spec
        .targets
        .iter()
        .map(|target| target.name.as_str())
        .collect();
    assert_eq!(names, ["shared", "trainer", "speaker"]);
    assert_eq!(spec.targets[2].kinds, [Kind::Recording]);
}

#[test]
fn every_mistake_is_listed_with_its_place() {
    let text = "<course>
<name>K</name><prog-lang>pyton</prog-lang>
<secions/>
<sections><section><name><x>x</x></name><topics>
<topic id='a'>b</topic>
<topic/>
<topic evaluate='maybe'>c</topic>
</topics></section></sections>
<output-targets><output-target name='x'><path>../out</path><kinds><kind>traner</kind></kinds></output-target></output-targets>
</course>";
    insta::assert_snapshot!(errors(text).join("\n"), @r#"
    course.xml:3:1: warning: the element `<secions>` is unknown here and ignored
    hint: did you mean `<sections>`?
    course.xml:2:15: error: `pyton` is not a programming language of courses
    hint: did you mean `python`?
    course.xml:4:26: error: `<x>` cannot stand in `<name>`
    hint: use either plain text, or `<de>` and `<en>`
    course.xml:5:1: error: the topic has two ids, as attribute and as text
    hint: keep one of them
    course.xml:6:1: warning: the topic has no id and is left out
    hint: write `<topic>my_id</topic>` or `<topic id="my_id"/>`, or remove it
    course.xml:7:1: error: `evaluate="maybe"` is neither true nor false
    hint: write `true` or `false`
    course.xml:9:41: error: `<path>`: `../out` contains `..`, but paths must stay inside the course
    hint: name a directory inside the course, relative to its root
    course.xml:9:67: error: `traner` is not one of the kinds
    hint: did you mean `trainer`?
    "#);
}

/// Oddities that are not fatal are reported with a line, and the rest is read: faults `empty-topic`, `weekday-case`,
/// `nested-subsection`, `section-http-replay`, and elements at a wrong place.
#[test]
fn odd_elements_are_told_and_the_rest_is_read() {
    let text = "<course><name>K</name><prog-lang>Python</prog-lang><sections><topic>lost</topic>
<section http-replay='yes'><name>S</name><topics>
<topic/>
<topic id=' '/>
<topic>a</topic>
<subsection weekday='MON, tue, Friday'><topic>b</topic></subsection>
<subsection weekday='Mon, TUE'><topic>b</topic>
<subsection><topic>c</topic><topic id='d'/></subsection></subsection>
<section/>
</topics></section>
<section><name><de/><en> </en></name><topics/></section>
</sections><image-options><format>SVG</format></image-options></course>";
    insta::assert_snapshot!(errors(text).join("\n"), @r#"
    course.xml:1:62: warning: the element `<topic>` has no meaning in `<sections>` and is ignored
    hint: it belongs in the `<topics>` of a section, or in a `<subsection>` there
    course.xml:2:1: warning: `http-replay` is not supported: the decks reach out for themselves
    hint: remove the attribute, or give the decks data of their own
    course.xml:9:1: warning: the element `<section>` has no meaning in `<topics>` and is ignored
    hint: it belongs in `<sections>`
    course.xml:3:1: warning: the topic has no id and is left out
    hint: write `<topic>my_id</topic>` or `<topic id="my_id"/>`, or remove it
    course.xml:4:1: warning: the topic has no id and is left out
    hint: write `<topic>my_id</topic>` or `<topic id="my_id"/>`, or remove it
    course.xml:6:1: error: `Friday` is not a weekday
    hint: there are mon, tue, wed, thu, fri, sat, sun
    course.xml:8:1: warning: a `<subsection>` in a `<subsection>`: its topics are not built: `c`, `d`
    hint: put it beside the outer one, directly in `<topics>`
    course.xml:11:10: warning: the section's `<name>` is empty, so its outputs get no directory of their own
    hint: write a name, or `<de>` and `<en>`
    "#);
    let text = text.replace(", Friday", "");
    let (spec, _) = parse(&text, "course.xml").unwrap();
    let topics = &spec.sections[0].topics;
    let ids: Vec<&str> = topics.iter().map(|topic| topic.id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "b"]);
    assert_eq!(spec.images.format, ImageKind::Svg);
}

#[test]
fn malformed_xml_and_entity_bombs_are_refused_with_their_place() {
    let cut = errors("<course>\n<name>K</nam>\n</course>");
    assert!(
        cut[0].starts_with("course.xml:2:8: error: the specification is not well-formed XML"),
        "{cut:?}"
    );
    let bomb =
        errors("<!DOCTYPE c [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]>\n<course>&b;</course>");
    assert!(bomb[0].contains("hint: remove the `<!DOCTYPE"), "{bomb:?}");
}

#[test]
fn targets_are_read_in_their_usual_order() {
    let text = "<course><name>K</name><prog-lang>python</prog-lang><sections/><output-targets>
<output-target name='a'><path>out/a</path><kinds><kind>speaker</kind><kind>completed</kind></kinds>
<formats><format>code</format></formats><languages><language>en</language></languages></output-target></output-targets></course>";
    let (spec, warnings) = parse(text, "course.xml").unwrap();
    assert_eq!(warnings.len(), 1);
    assert_eq!(spec.targets[0].kinds, [Kind::Completed, Kind::Recording]);
    assert_eq!(spec.targets[0].formats, [Format::Code]);
    assert_eq!(spec.targets[0].languages, [Lang::EN]);
}

#[test]
fn languages_are_those_of_the_targets() {
    let course = |targets: &[&str]| {
        let targets: String = targets
            .iter()
            .enumerate()
            .map(|(number, languages)| {
                format!("<output-target name='{number}'><path>o{number}</path>{languages}</output-target>")
            })
            .collect();
        let text = format!(
            "<course><name><fr>Cours</fr><nds>Koors</nds></name><prog-lang>python</prog-lang><sections/>\
             <organization><en>O</en><fr>P</fr></organization><output-targets>{targets}</output-targets></course>"
        );
        parse_leniently(&text, "course.xml")
    };
    let names = |targets: &[&str]| {
        let (spec, _) = course(targets);
        let spec = spec.unwrap();
        let all = spec.languages();
        crate::course::languages::listed(&all, |lang| lang.to_string())
    };
    let [none, fr, en, it] = ["", "fr", "en", "it"].map(|lang| match lang {
        "" => String::new(),
        lang => format!("<languages><language>{lang}</language></languages>"),
    });
    assert_eq!(names(&[&none]), "de and en");
    assert_eq!(names(&[&en]), "en");
    assert_eq!(names(&[&en, &none]), "de and en");
    assert_eq!(names(&[&fr]), "fr");
    // A target without languages has all that others name, if the course is not one that CLM can have.
    assert_eq!(names(&[&fr, &none, &it]), "fr and it");
    let (spec, diagnostics) = course(&[&fr, "<languages><language>nds</language></languages>"]);
    let spec = spec.unwrap();
    let lang = |code: &str| Lang::parse(code).unwrap();
    assert_eq!(spec.name.get(lang("nds")), "Koors");
    assert_eq!(spec.organization.get(lang("fr")), "P");
    assert_eq!(
        (spec.author.as_str(), spec.marked("fr")),
        ("", Some(lang("fr")))
    );
    assert_eq!(
        (spec.marked("it"), spec.marked("de")),
        (None, Some(Lang::DE))
    );
    assert!(
        diagnostics.iter().all(|found| !found.is_error()),
        "{diagnostics:?}"
    );
    let (_, diagnostics) =
        course(&["<languages><language>français</language><language>EN</language></languages>"]);
    let found: Vec<_> = diagnostics
        .iter()
        .filter(|found| found.is_error())
        .map(|found| (found.message.as_str(), found.hint.as_deref().unwrap_or("")))
        .collect();
    assert_eq!(
        found,
        [
            (
                "`<nds>` cannot stand in `<name>`",
                "use either plain text, or `<de>` and `<en>`"
            ),
            (
                "`français` is not one of the languages",
                "a language is a code of two or three small letters, such as `de`, `en` or `fr`"
            ),
            ("`EN` is not one of the languages", "did you mean `en`?"),
        ]
    );
}

proptest! {
    #[test]
    fn any_text_gives_a_course_or_diagnostics(text in "(<(course|name|de|topic|section|sections|topics)( id='[a-z]')?/?>|</(course|name|topic)>|[a-z<&]){0,30}") {
        match parse(&text, "course.xml") {
            Ok(_) => {}
            Err(diagnostics) => prop_assert!(!diagnostics.is_empty()),
        }
    }
}
