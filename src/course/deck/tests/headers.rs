//! Tests of the header macros: the text must be exactly equal, including blanks.

use super::*;

#[test]
fn the_canonical_header_becomes_two_title_cells() {
    let text = read_as(HEADER, ProgLang::Python, Lang::DE, Format::Code).unwrap();
    let cell = |indent: &str, title: &str| {
        format!(
            "\n<div style=\"text-align:center; font-size:200%;\">\n{indent}<b>{title}</b>\n</div>\n<br/>\n\
             <div style=\"text-align:center;\">AUTHOR</div>\n<br/>\n\n\
             <div style=\"text-align:center;\">ORG</div>\n<br/>"
        )
    };
    assert_eq!(
        sources(&text),
        [
            cell(" ", "Titel"),
            cell("  ", "Title") + "\n\n",
            String::new()
        ]
    );
    assert_eq!(
        text.cells[0].metadata,
        *json!({"lang": "de", "tags": ["slide"]})
            .as_object()
            .unwrap()
    );
    assert_eq!(text.cells[2].line, Some(5));
    assert!(text.included.is_empty());
}

#[test]
fn the_rendered_header_is_exact_in_every_language() {
    for prog_lang in ProgLang::ALL {
        let c = prog_lang.comment();
        for format in Format::ALL {
            for organization in ["ORG", ""] {
                let path = RelPath::new("t/slides_x.py").unwrap();
                let text = HEADER.replace("# ", &format!("{c} "));
                let source = DeckSource::new(&path, &text, prog_lang);
                let view = View {
                    lang: Lang::DE,
                    format,
                    author: "AUTHOR",
                    organization,
                };
                let rendered = jinja::Template::new(&source)
                    .render(&view, &sibling)
                    .unwrap()
                    .text;
                assert_eq!(
                    without_logo(&rendered),
                    expected_header(prog_lang, format, organization),
                    "{prog_lang} {format} {organization}"
                );
            }
        }
    }
}

/// Returns the text with encoded images replaced by `LOGO`.
fn without_logo(text: &str) -> String {
    let mut result = String::new();
    for (index, part) in text.split(";base64,").enumerate() {
        if index == 0 {
            result.push_str(part);
        } else {
            let (logo, rest) = part.split_once('"').unwrap();
            assert!(logo.lines().all(|line| line.len() <= 76) || !logo.contains('\n'));
            result.push_str(";base64,LOGO");
            result.push_str(if logo.ends_with('\n') { "\n\"" } else { "\"" });
            result.push_str(rest);
        }
    }
    result
}

fn expected_header(prog_lang: ProgLang, format: Format, organization: &str) -> String {
    let c = prog_lang.comment();
    let (width, alt, end) = match prog_lang {
        ProgLang::Python => ("10%", "style=W alt=\"Python Logo\"", "\n"),
        ProgLang::Cpp => ("5%", "style=W", ""),
        ProgLang::CSharp => ("5%", "alt=\"C# Logo\" style=W", "\n"),
        ProgLang::Java => ("5%", "alt=\"Java Logo\" style=W", "\n"),
        ProgLang::TypeScript => ("5%", "alt=\"TypeScript Logo\" style=W", "\n"),
    };
    let style = format!("\"display:block;margin:auto;width:{width}\"");
    let attributes = alt.replace('W', &style);
    // C++, whose code format is a program, has a title without HTML in that format.
    let is_program = prog_lang == ProgLang::Cpp;
    let end_gap = if is_program { "\n" } else { "" };
    let gap = if is_program { "" } else { "\n" };
    let image = match format {
        Format::Code => String::new(),
        _ => format!(
            "{c} <img src=\"data:image/svg+xml;base64,LOGO{end}\"\n{c}      {attributes}/>\n{c} <br>\n{gap}"
        ),
    };
    let author_style = match prog_lang {
        ProgLang::Python => "text-align:center;",
        _ => "text-align:center; font-size:120%;",
    };
    let block = match organization {
        "" => String::new(),
        name => format!("{c} <div style=\"text-align:center;\">{name}</div>\n{c} <br/>\n\n"),
    };
    let cell = |lang: &str, title: &str, indent: &str| {
        if is_program && format == Format::Code {
            let name = match organization {
                "" => String::new(),
                name => format!(" — {name}"),
            };
            return format!(
                "{c} %% [markdown] lang=\"{lang}\" tags=[\"slide\"]\n\n\n{c} # {title}\n{c}\n{c} AUTHOR{name}\n\n"
            );
        }
        format!(
            "{c} %% [markdown] lang=\"{lang}\" tags=[\"slide\"]\n\n{image}\
             {c} <div style=\"text-align:center; font-size:200%;\">\n{c} {indent}<b>{title}</b>\n{c} </div>\n{c} <br/>\n\
             {c} <div style=\"{author_style}\">AUTHOR</div>\n{c} <br/>\n\n{block}{end_gap}"
        )
    };
    let indent = if prog_lang == ProgLang::TypeScript {
        "  "
    } else {
        " "
    };
    format!(
        "{}\n{}\n\n{c} %%\n",
        cell("de", "Titel", indent),
        cell("en", "Title", "  ")
    )
}

#[test]
fn one_language_headers_end_as_the_format_says() {
    let text = |macro_name: &str| {
        let text = format!(
            "# j2 from 'macros.j2' import {macro_name}\n# {{{{ {macro_name}(\"T\") }}}}\n\n# %%\n"
        );
        let rendered = read_as(&text, ProgLang::Python, Lang::DE, Format::Code).unwrap();
        rendered.cells[0].source.clone()
    };
    assert!(text("header_de").ends_with("ORG</div>\n<br/>"));
    assert!(text("header_en").ends_with("ORG</div>\n<br/>\n\n"));
}

/// The cells of a header with these arguments, in a view: language and title.
fn titles(arguments: &str, lang: &str) -> Vec<(String, String)> {
    let text = HEADER.replace("\"Titel\", \"Title\"", arguments);
    let lang = Lang::parse(lang).unwrap();
    let deck = read_as(&text, ProgLang::Python, lang, Format::Notebook).unwrap();
    let (_, titles) = deck.cells.split_last().unwrap();
    let title = |cell: &Cell| {
        let (_, rest) = cell.source.split_once("<b>").unwrap();
        let language = cell.metadata.get("lang").and_then(Value::as_str);
        let (title, _) = rest.split_once("</b>").unwrap();
        (language.unwrap_or("all").to_owned(), title.to_owned())
    };
    titles.iter().map(title).collect()
}

#[test]
fn a_header_has_one_title_for_all_languages_or_one_for_each() {
    let pairs = |all: &[(&str, &str)]| -> Vec<(String, String)> {
        let all = all.iter();
        all.map(|(lang, title)| ((*lang).to_owned(), (*title).to_owned()))
            .collect()
    };
    for lang in ["de", "en", "fr"] {
        assert_eq!(titles("\"L'été\"", lang), pairs(&[("all", "L'été")]));
    }
    let named = "fr=\"Titre\", en='Title'";
    let all = [("fr", "Titre"), ("en", "Title")];
    assert_eq!(titles(named, "fr"), pairs(&all));
    assert_eq!(
        titles(named, "it"),
        pairs(&[&all[..], &[("it", "Title")]].concat())
    );
    // A view in a language without a title has the one of its file.
    let both = [("de", "Titel"), ("en", "Title")];
    assert_eq!(titles("'Titel', 'Title'", "en"), pairs(&both));
    assert_eq!(
        titles("'Titel', 'Title'", "fr"),
        pairs(&[&both[..], &[("fr", "Title")]].concat())
    );
    assert_eq!(
        titles("it='A', fr='B'", "en").last(),
        pairs(&[("en", "B")]).last()
    );
}

#[test]
fn titles_by_language_are_those_of_the_macro_for_two() {
    for prog_lang in ProgLang::ALL {
        let rendered = |arguments: &str| {
            let path = RelPath::new("t/slides_x.py").unwrap();
            let text = HEADER.replace("\"Titel\", \"Title\"", arguments);
            let text = text.replace("# ", &format!("{} ", prog_lang.comment()));
            let source = DeckSource::new(&path, &text, prog_lang);
            let view = View {
                lang: Lang::EN,
                format: Format::Html,
                author: "A",
                organization: "O",
            };
            jinja::Template::new(&source)
                .render(&view, &sibling)
                .unwrap()
                .text
        };
        assert_eq!(rendered("de='A', en='B'"), rendered("'A', 'B'"));
    }
}
