use super::*;

/// The specification with the topic `new` of the module `m`, which has the topics `a` and `b`.
fn inserted(text: &str) -> Inserted {
    try_with(text, &entry()).unwrap_or_else(|error| panic!("{error}"))
}

fn entry() -> TopicEntry<'static> {
    TopicEntry {
        id: "new",
        module: "m",
        neighbours: vec!["a".to_owned(), "b".to_owned()],
        ..TopicEntry::default()
    }
}

fn try_with(text: &str, entry: &TopicEntry<'_>) -> Result<Inserted, Diagnostic> {
    let inserted = insert_topic(text, "course.xml", entry)?;
    let line = inserted.text.lines().nth(inserted.line as usize - 1);
    assert!(line.unwrap().contains("new"), "{inserted:?}");
    Ok(inserted)
}

/// A course with this inside of `<sections>`.
fn course(sections: &str) -> String {
    format!("<course><name>C</name><sections>{sections}</sections></course>\n")
}

/// A section in one line with these topics.
fn section(topics: &str) -> String {
    format!("<section><name>S</name>{topics}</section>")
}

#[test]
fn the_topic_is_written_as_the_one_before_it() {
    for (before, after) in [
        (
            "<topics>\n    <topic>a</topic>\n  </topics>",
            "<topics>\n    <topic>a</topic>\n    <topic>new</topic>\n  </topics>",
        ),
        (
            "<topics>\r\n\t<topic id='a'/>\r\n</topics>",
            "<topics>\r\n\t<topic id='a'/>\r\n\t<topic id=\"new\"/>\r\n</topics>",
        ),
        (
            "<topics><topic>a</topic></topics>",
            "<topics><topic>a</topic><topic>new</topic></topics>",
        ),
        (
            "<topics> <topic>x</topic>  <topic>a</topic> </topics>",
            "<topics> <topic>x</topic>  <topic>a</topic>  <topic>new</topic> </topics>",
        ),
        // What an author says about a topic stays with it, and what follows stays behind the new one.
        (
            "<topics>\n <topic>a</topic> <!-- A --> <!-- B -->\n <!-- C -->\n</topics>",
            "<topics>\n <topic>a</topic> <!-- A --> <!-- B -->\n <topic>new</topic>\n <!-- C -->\n</topics>",
        ),
        (
            "<topics>\n <topic>a\n  <include source='x'/>\n </topic>\n\n</topics>",
            "<topics>\n <topic>a\n  <include source='x'/>\n </topic>\n <topic>new</topic>\n\n</topics>",
        ),
        // The last topic of the section, whichever module it has.
        (
            "<topics>\n <topic>a</topic>\n <topic>other</topic>\n</topics>",
            "<topics>\n <topic>a</topic>\n <topic>other</topic>\n <topic>new</topic>\n</topics>",
        ),
        (
            "<topics>\n <subsection>\n  <topic>a</topic>\n </subsection>\n</topics>",
            "<topics>\n <subsection>\n  <topic>a</topic>\n  <topic>new</topic>\n </subsection>\n</topics>",
        ),
        (
            "<topics>\n <topic>b</topic>\n <subsection enabled=\"false\">\n  <topic>a</topic>\n </subsection>\n</topics>",
            "<topics>\n <topic>b</topic>\n <topic>new</topic>\n <subsection enabled=\"false\">\n  <topic>a</topic>\n </subsection>\n</topics>",
        ),
    ] {
        for mark in ["", "\u{feff}"] {
            let whole = |topics: &str| format!("{mark}{}", course(&section(topics)));
            assert_eq!(inserted(&whole(before)).text, whole(after));
        }
    }
}

#[test]
fn an_empty_list_gets_a_first_topic() {
    let alone = TopicEntry {
        neighbours: Vec::new(),
        ..entry()
    };
    for (before, after) in [
        ("<topics/>", "<topics><topic>new</topic></topics>"),
        ("<topics />", "<topics><topic>new</topic></topics>"),
        ("<topics></topics>", "<topics><topic>new</topic></topics>"),
        (
            "\n  <topics/>\n",
            "\n  <topics>\n    <topic>new</topic>\n  </topics>\n",
        ),
        (
            "\n\t<topics>\n\t\t<!-- soon -->\n\t</topics>\n",
            "\n\t<topics>\n\t\t<!-- soon -->\n\t\t<topic>new</topic>\n\t</topics>\n",
        ),
    ] {
        let text = try_with(&course(&section(before)), &alone).unwrap().text;
        assert_eq!(text, course(&section(after)));
    }
}

#[test]
fn the_section_is_the_one_of_the_module() {
    let topics = |id: &str| section(&format!("<topics><topic>{id}</topic></topics>"));
    let before = [topics("a"), topics("c")].concat();
    let text = inserted(&course(&before)).text;
    assert!(
        text.contains("<topic>a</topic><topic>new</topic>"),
        "{text}"
    );

    // Nothing of the module is there: the last section that is enabled.
    let other = TopicEntry {
        neighbours: Vec::new(),
        ..entry()
    };
    let disabled = topics("d").replace("<section>", "<section enabled='false'>");
    let text = try_with(&course(&[before.as_str(), &disabled].concat()), &other);
    let text = text.unwrap().text;
    assert!(
        text.contains("<topic>c</topic><topic>new</topic>"),
        "{text}"
    );

    // A section may say which module it has, and then another one must be said.
    let bound = topics("c").replace("<section>", "<section module='m'>");
    let text = try_with(&course(&[bound.as_str(), &topics("d")].concat()), &other);
    let text = text.unwrap().text;
    assert!(
        text.contains("<topic>c</topic><topic>new</topic>"),
        "{text}"
    );
    let bound = topics("a").replace("<section>", "<section module='other'>");
    let text = inserted(&course(&bound)).text;
    assert!(text.contains("<topic module=\"m\">new</topic>"), "{text}");

    // A module that is all in a disabled section stays together.
    let disabled = topics("a").replace("<section>", "<section enabled='false'>");
    let found = inserted(&course(&[disabled, topics("c")].concat()));
    assert!(found.is_disabled && found.text.contains("<topic>a</topic><topic>new</topic>"));
}

#[test]
fn a_new_module_gets_a_section() {
    let entry = TopicEntry {
        neighbours: Vec::new(),
        attributes: vec![("evaluate", "no")],
        section: vec![(Some("de"), "Neu & alt"), (Some("en"), "New")],
        ..entry()
    };
    let before = "<course>\n\t<name>C</name>\n\t<sections>\n\t\t<section>\n\t\t\t<name>S</name>\n\t\t\t<topics/>\n\t\t</section>\n\t</sections>\n</course>\n";
    let after = "\n\t\t<section>\n\t\t\t<name>\n\t\t\t\t<de>Neu &amp; alt</de>\n\t\t\t\t<en>New</en>\n\t\t\t</name>\n\t\t\t<topics>\n\t\t\t\t<topic evaluate=\"no\">new</topic>\n\t\t\t</topics>\n\t\t</section>";
    let found = try_with(before, &entry).unwrap();
    assert_eq!(
        found.text,
        before.replace("\n\t</sections>", &format!("{after}\n\t</sections>"))
    );
    assert_eq!(found.line, 14);

    let one = TopicEntry {
        section: vec![(None, "New")],
        ..entry
    };
    let text = try_with(&course(""), &one).unwrap().text;
    let section =
        "<section><name>New</name><topics><topic evaluate=\"no\">new</topic></topics></section>";
    assert_eq!(text, course(section));
}

#[test]
fn what_cannot_be_is_an_error_with_a_place() {
    for (text, line, message, hint) in [
        (
            course("\n<section><name>S</name><topics>\n<topic id=' new '/></topics></section>"),
            Some(3),
            "the course has a topic `new` already",
            "choose another id",
        ),
        (
            "<course>\n<sections>\n".to_owned(),
            Some(2),
            "not well-formed XML",
            "look for an unclosed element",
        ),
        (
            "<course><name>C</name></course>".to_owned(),
            None,
            "no `<sections>`",
            "add `<sections>`",
        ),
        (
            course(&section("")),
            None,
            "no section of the course has `<topics>`",
            "add `<topics>`",
        ),
    ] {
        let error = try_with(&text, &entry()).unwrap_err();
        assert!(error.message.contains(message), "{error}");
        assert!(error.hint.as_deref().unwrap().contains(hint), "{error}");
        assert_eq!(
            (error.file.as_deref(), error.line),
            (Some("course.xml"), line)
        );
    }
}
