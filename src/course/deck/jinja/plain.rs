//! Decides which templates need no more memory and time than the engine's own limits allow.
//!
//! The engine charges for every instruction and every byte of text that a template generates, but not for everything:
//! lists that are joined lazily, nested lists, and objects that refer to themselves are printed, compared and dropped
//! without a limit. A template is *plain* if it cannot create such values: its expressions have names, texts, numbers
//! and calls of macros, and nothing that creates lists. All templates that clm bundles, and nearly all decks, are
//! plain. The others are rendered in a separate process: see [`super::apart`].
//!
//! The check reads more than the engine does (it also reads comments and raw blocks), so some plain templates are not
//! recognized, which is safe.

/// Functions that create lists or objects, and names of such values.
const FORBIDDEN_NAMES: &[&str] = &[
    "range",
    "dict",
    "lipsum",
    "cycler",
    "joiner",
    "namespace",
    "debug",
    "varargs",
    "kwargs",
    "caller",
    "self",
    "super",
    "recursive",
];

/// Filters that convert a text to a text or a number.
const PLAIN_FILTERS: &[&str] = &[
    "upper",
    "lower",
    "trim",
    "title",
    "capitalize",
    "default",
    "length",
    "int",
];

/// Words that are not the name of a called function.
const OPERATORS: &[&str] = &["and", "or", "not", "in", "is", "if", "else", "loop"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token<'a> {
    Name(&'a str),
    Text,
    Number,
    Sign(&'a str),
}

/// Returns whether a template is plain; `prefix` is the prefix of its line statements.
pub(super) fn is_plain(template: &str, prefix: &str) -> bool {
    let between = |open: &str, close: &str, is_fine: fn(&[Token<'_>]) -> bool| {
        template.match_indices(open).all(|(at, _)| {
            let rest = &template[at + open.len()..];
            let content = rest.find(close).map(|end| &rest[..end]);
            content.is_some_and(|content| {
                let content = content.strip_prefix(['-', '+']).unwrap_or(content);
                let content = content.strip_suffix(['-', '+']).unwrap_or(content);
                tokens(content).is_some_and(|tokens| is_fine(&tokens))
            })
        })
    };
    let is_line_plain = |(at, _): (usize, &str)| {
        let line = &template[at + prefix.len()..];
        let line = line.lines().next().unwrap_or_default().trim_end();
        let line = line.strip_suffix(':').unwrap_or(line);
        tokens(line).is_some_and(|tokens| is_statement_plain(&tokens))
    };
    between("{{", "}}", is_expression_plain)
        && between("{%", "%}", is_statement_plain)
        && template.match_indices(prefix).all(is_line_plain)
}

fn is_statement_plain(statement: &[Token<'_>]) -> bool {
    let Some((Token::Name(word), rest)) = statement.split_first() else {
        return false;
    };
    match (*word, rest) {
        ("else" | "endif" | "endfor" | "endmacro" | "endset" | "raw" | "endraw", []) => true,
        ("from" | "import" | "include", rest) => rest
            .iter()
            .all(|token| matches!(token, Token::Name(_) | Token::Text | Token::Sign(","))),
        ("if" | "elif", rest) => is_expression_plain(rest),
        ("set", [Token::Name(_)]) => true,
        ("set", [Token::Name(_), Token::Sign("="), rest @ ..]) => is_expression_plain(rest),
        ("for", rest) => {
            let is_in = |token: &Token<'_>| *token == Token::Name("in");
            let Some(at) = rest.iter().position(is_in) else {
                return false;
            };
            let mut targets = rest[..at].iter();
            targets.all(|token| matches!(token, Token::Name(_) | Token::Sign(",")))
                && is_expression_plain(&rest[at + 1..])
        }
        // The parameters have the syntax of the arguments of a call.
        ("macro", rest @ [Token::Name(_), Token::Sign("("), ..]) => is_expression_plain(rest),
        _ => false,
    }
}

fn is_expression_plain(expression: &[Token<'_>]) -> bool {
    // For every open parenthesis, whether it belongs to a call, in which commas do not create a tuple.
    let mut calls = Vec::new();
    let mut at = 0;
    while let Some(token) = expression.get(at) {
        match token {
            Token::Name(name) if FORBIDDEN_NAMES.contains(name) => return false,
            Token::Name(_) | Token::Text | Token::Number => {}
            Token::Sign("(") => match is_call(&expression[..at]) {
                Some(is_call) => calls.push(is_call),
                None => return false,
            },
            Token::Sign(")") => {
                if calls.pop().is_none() {
                    return false;
                }
            }
            Token::Sign(",") if calls.last() == Some(&true) => {}
            Token::Sign("[") => match constant_list(&expression[..at], &expression[at + 1..]) {
                Some(length) => at += length,
                None => return false,
            },
            Token::Sign("|") => match expression.get(at + 1) {
                Some(Token::Name(name)) if PLAIN_FILTERS.contains(name) => at += 1,
                _ => return false,
            },
            // The sum of lists is a list; but only a number can be added to a number.
            Token::Sign("+") if expression.get(at + 1) == Some(&Token::Number) => {}
            Token::Sign("." | "~" | "=" | "==" | "!=" | "<" | ">" | "<=" | ">=" | "-") => {}
            Token::Sign(_) => return false,
        }
        at += 1;
    }
    calls.is_empty()
}

/// Returns whether the parenthesis after these tokens belongs to a call, or `None` if the callee is not a name: its
/// result would be unknown.
fn is_call(before: &[Token<'_>]) -> Option<bool> {
    match before {
        [.., Token::Sign("."), Token::Name(name)] if !OPERATORS.contains(name) => None,
        [.., Token::Name(name)] if !OPERATORS.contains(name) => Some(true),
        [
            ..,
            Token::Name("loop") | Token::Text | Token::Number | Token::Sign(")" | "]"),
        ] => None,
        _ => Some(false),
    }
}

/// Returns the number of tokens after a bracket up to its end, or `None` if this is not a list of constants, which is
/// the only use of brackets that is allowed.
fn constant_list(before: &[Token<'_>], after: &[Token<'_>]) -> Option<usize> {
    match before {
        [.., Token::Name(name)] if !OPERATORS.contains(name) => return None,
        [.., Token::Text | Token::Sign(")" | "]")] => return None,
        _ => {}
    }
    let is_constant =
        |token: &Token<'_>| matches!(token, Token::Text | Token::Number | Token::Sign(","));
    let length = after.iter().take_while(|token| is_constant(token)).count();
    (after.get(length) == Some(&Token::Sign("]"))).then_some(length + 1)
}

/// Returns the tokens of a statement or expression, or `None` if a text in it is not closed.
fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '"' | '\'' => {
                let mut is_escaped = false;
                let end = rest[1..].find(|c: char| {
                    let ends = c == first && !is_escaped;
                    is_escaped = c == '\\' && !is_escaped;
                    ends
                });
                (Token::Text, end? + 2)
            }
            '0'..='9' => {
                let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
                (Token::Number, length_while(rest, is_part))
            }
            c if c.is_alphabetic() || c == '_' => {
                let length = length_while(rest, |c| c.is_alphanumeric() || c == '_');
                (Token::Name(&rest[..length]), length)
            }
            c => {
                let double = ["==", "!=", "<=", ">=", "//", "**"];
                let double = double.iter().any(|sign| rest.starts_with(sign));
                let length = if double { 2 } else { c.len_utf8() };
                (Token::Sign(&rest[..length]), length)
            }
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Some(tokens)
}

fn length_while(text: &str, is_part: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is_part(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decks_do_is_plain_and_what_makes_lists_is_not() {
        for template in [
            "# j2 from 'macros.j2' import header, header_de as h\n# {{ header(\"Der }\", 'T, (x)') }}\n",
            "{% if lang == 'de' and not is_html %}a{% elif x is defined %}b{%- endif -%}",
            "{% set x = 'a' ~ lang %}{{ x | upper }} {{ loop.index + 1 }}",
            "{% for a in ['x', 'y'] %}{{ a }}{% endfor %}",
            "{% macro m(a, b='x') %}{{ a }}{{ header(a, title=b) }}{% endmacro %}",
            "# j2 if is_notebook:\n# j2 endif\n",
            "{% raw %}{{ x }}{% endraw %}",
            &super::super::macros::text(),
            "{{ header('T') }} {{ header(fr='T', en=\"U\") }}",
        ] {
            assert!(is_plain(template, "# j2"), "{template}");
        }
        for template in [
            "{{ l + l }}",
            "{{ 'x' * 9 }}",
            "{{ [l, l] }}",
            "{{ (l, l) }}",
            "{% set l = l, l %}",
            "{{ {'a': l} }}",
            "{{ l[1:] }}",
            "{{ x.join(l) }}",
            "{{ l | join }}",
            "{{ range(9) }}",
            "{% set ns = namespace() %}",
            "{% for x in y recursive %}",
            "{{ loop(x) }}",
            "{% call m() %}{% endcall %}",
            "{% filter upper %}",
            "{{ '}}' ~ l + l }}",
            "{% raw %}{{ l + l }}{% endraw %}",
            "# j2 set l = l + l\n",
            "{{ x",
            "{{ (a)(b) }}",
            "{{ m(varargs, varargs) }}",
        ] {
            assert!(!is_plain(template, "# j2"), "{template}");
        }
    }
}
