//! Notebooks outside of courses, in all their forms.

use std::collections::HashSet;

use clm::testing::course::deck::{self, DeckSource, View, plain};
use clm::testing::course::{Format, Lang, ProgLang, RelPath};

use super::{check_error, text};

/// Every input is read as each of the formats.
pub fn read(bytes: &[u8]) {
    let text = text(bytes);
    for name in ["a.ipynb", "a.md", "a.py", "a.cpp"] {
        let path = RelPath::new(name).unwrap();
        let plain = match plain::read(&path, &text) {
            Ok(Some(plain)) => plain,
            Ok(None) => continue,
            Err(error) => {
                check_error(&error, &text);
                continue;
            }
        };
        assert_eq!(plain.stored.len(), plain.deck.cells.len());
        let ids: HashSet<&str> = plain.stored.iter().map(|cell| cell.id.as_str()).collect();
        assert_eq!(ids.len(), plain.stored.len(), "ids are unique");
        let lines = text.split(['\n', '\r']).count() as u32 + 1;
        for cell in &plain.deck.cells {
            assert_eq!(cell.line.is_none(), name == "a.ipynb");
            assert!(cell.line.is_none_or(|line| (1..=lines).contains(&line)));
        }
        as_deck(&plain);
    }
}

/// The deck of a notebook has the same cells, or clm says what it does not have.
fn as_deck(plain: &plain::Plain) {
    let prog_lang = plain.prog_lang.unwrap_or(ProgLang::Python);
    let deck = plain::as_deck(plain, prog_lang);
    let path = RelPath::new(&format!("slides_x.{}", prog_lang.extension())).unwrap();
    let view = View {
        lang: Lang::EN,
        format: Format::Notebook,
        author: "",
        organization: "",
    };
    let source = DeckSource::new(&path, &deck.text, prog_lang);
    let is_said = !deck.lost.is_empty();
    match deck::read(&source, &view, &|_| None) {
        Err(error) => assert!(is_said, "{error}\n{}", deck.text),
        Ok(read) => assert!(
            is_said || read.cells.len() == plain.deck.cells.len(),
            "{}",
            deck.text
        ),
    }
}
