//! Finds the names that code uses.

use unicode_normalization::UnicodeNormalization as _;

use super::tokens::Token;

/// Returns whether code uses this name without a qualifier: neither as a member nor in a namespace.
pub(super) fn refers(tokens: &[Token], name: &str) -> bool {
    positions(tokens, name).any(|at| !follows(tokens, at, &[".", "->", "::"]))
}

/// Returns whether code uses this name, possibly in a namespace, but not as a member of an object.
pub(super) fn uses(tokens: &[Token], name: &str) -> bool {
    positions(tokens, name).any(|at| !follows(tokens, at, &[".", "->"]))
}

/// Returns whether code uses this name as a member.
pub(super) fn uses_member(tokens: &[Token], name: &str) -> bool {
    positions(tokens, name).any(|at| follows(tokens, at, &[".", "->", "::"]))
}

fn positions<'t>(tokens: &'t [Token], name: &'t str) -> impl Iterator<Item = usize> + 't {
    let is_named = move |(_, token): &(usize, &Token)| token.is_word() && token.text == name;
    tokens.iter().enumerate().filter(is_named).map(|(at, _)| at)
}

fn follows(tokens: &[Token], at: usize, signs: &[&str]) -> bool {
    at.checked_sub(1)
        .is_some_and(|before| tokens[before].is_one_of(signs))
}

/// Returns the words of a text joined by underscores, in letters that every compiler accepts: `Einführung-2` is
/// `Einfuhrung_2`.
pub(crate) fn identifier(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    for c in text.nfkd() {
        if c.is_ascii_alphanumeric() {
            words.push(c);
        } else if c.is_ascii() && !words.is_empty() && !words.ends_with('_') {
            words.push('_');
        }
    }
    words.truncate(words.trim_end_matches('_').len());
    words
}

#[cfg(test)]
mod tests {
    use super::super::tokens::tokens;
    use super::*;

    #[test]
    fn uses_are_told_from_members_and_texts() {
        let tokens = tokens("p.a + q->b + n::c + \"d\" /* e */ + f");
        let found = |test: fn(&[Token], &str) -> bool| -> String {
            ["a", "b", "c", "d", "e", "f"]
                .into_iter()
                .filter(|name| test(&tokens, name))
                .collect()
        };
        assert_eq!(found(refers), "f");
        assert_eq!(found(uses), "cf");
        assert_eq!(found(uses_member), "abc");
    }

    #[test]
    fn identifiers_are_plain() {
        assert_eq!(identifier("brace-initialization"), "brace_initialization");
        assert_eq!(identifier("Einführung--2 "), "Einfuhrung_2");
        assert_eq!(identifier("--"), "");
    }
}
