//! Notebooks outside of courses, in all their forms.

use std::collections::HashSet;

use clm::testing::course::RelPath;
use clm::testing::course::deck::plain;

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
    }
}
