//! Splits the code of a cell into statements and definitions.

use super::tokens::{Token, TokenKind, tokens};

/// One statement, definition, declaration, expression or preprocessor line at the outermost level of a cell.
#[derive(Clone, Debug)]
pub(super) struct Piece<'a> {
    /// Its text, including the comments before it.
    pub(super) text: &'a str,
    /// The position of the text in the cell.
    start: usize,
    /// Its tokens, without a semicolon at the end.
    pub(super) tokens: Vec<Token<'a>>,
    /// Whether it ends with a semicolon.
    pub(super) has_semicolon: bool,
    /// Whether it is a block between `#if` and `#endif`.
    pub(super) is_conditional: bool,
}

impl<'a> Piece<'a> {
    /// Returns the part of its text between two positions in the cell.
    pub(super) fn between(&self, start: usize, end: usize) -> &'a str {
        let range = start.saturating_sub(self.start)..end.saturating_sub(self.start);
        self.text.get(range).unwrap_or_default()
    }
}

/// Splits the code of a cell. Comments after the last piece are omitted.
pub(super) fn split(code: &str) -> Vec<Piece<'_>> {
    let tokens = tokens(code);
    let mut pieces = Vec::new();
    let mut first = 0;
    let mut text_start = 0;
    while first < tokens.len() {
        let (next, is_conditional) = match conditional_end(&tokens, first) {
            Some(next) => (next, true),
            None => (piece_end(&tokens, first), false),
        };
        let inner = &tokens[first..next];
        let has_semicolon = inner.last().is_some_and(|token| token.is(";"));
        let mut end = inner.last().map_or(text_start, Token::end);
        if next == tokens.len() && !has_semicolon && is_open(inner) {
            // Only a comment may follow an expression without a semicolon.
            end = code.len();
        }
        let is_empty = has_semicolon && inner.len() == 1;
        if !is_empty {
            let text = code[text_start..end].trim_start();
            pieces.push(Piece {
                text: text.trim_end(),
                start: end - text.len(),
                tokens: inner[..inner.len() - usize::from(has_semicolon)].to_vec(),
                has_semicolon,
                is_conditional,
            });
        }
        text_start = end;
        first = next;
    }
    pieces
}

/// Returns whether the tokens end neither with a block nor with a directive, so that they are not complete.
fn is_open(tokens: &[Token]) -> bool {
    tokens
        .last()
        .is_some_and(|last| !last.is("}") && last.kind != TokenKind::Directive)
}

/// Returns the end of a block between `#if` and `#endif` that begins here.
fn conditional_end(tokens: &[Token], first: usize) -> Option<usize> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(first) {
        match directive_name(token) {
            Some("if" | "ifdef" | "ifndef") => depth += 1,
            Some("endif") => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (at > first).then_some(at + 1);
        }
    }
    None
}

/// Returns the word after the `#` of a directive.
pub(super) fn directive_name<'a>(token: &Token<'a>) -> Option<&'a str> {
    if token.kind != TokenKind::Directive {
        return None;
    }
    let rest = token.text.strip_prefix('#')?.trim_start();
    let end = rest
        .find(|c: char| !c.is_alphanumeric())
        .unwrap_or(rest.len());
    Some(&rest[..end])
}

/// Returns the position after a piece.
fn piece_end(tokens: &[Token], first: usize) -> usize {
    if tokens[first].kind == TokenKind::Directive {
        return first + 1;
    }
    let mut depth = 0_u32;
    // After `do`, one `while` ends the piece.
    let mut open_do = tokens[first].is("do");
    for at in first..tokens.len() {
        let token = &tokens[at];
        if token.kind == TokenKind::Directive && depth == 0 {
            return at;
        }
        if token.is_one_of(&["(", "[", "{"]) {
            depth += 1;
        } else if token.is_one_of(&[")", "]", "}"]) {
            depth = depth.saturating_sub(1);
        }
        if depth > 0 || !token.is_one_of(&[";", "}"]) {
            continue;
        }
        let next = tokens.get(at + 1);
        let follows = |texts: &[&str]| next.is_some_and(|next| next.is_one_of(texts));
        if open_do && follows(&["while"]) {
            open_do = false;
            continue;
        }
        let is_branch = tokens[first].is_one_of(&["if", "else"]) && follows(&["else"]);
        let is_caught = token.is("}") && follows(&["catch"]);
        if is_branch || is_caught {
            continue;
        }
        if token.is(";") {
            return at + 1;
        }
        if follows(&[";"]) {
            return at + 2;
        }
        if !goes_on(&tokens[first..=at], next) {
            return at + 1;
        }
    }
    tokens.len()
}

/// Returns whether a piece continues after a closing brace.
fn goes_on(piece: &[Token], next: Option<&Token>) -> bool {
    let Some(next) = next else { return false };
    if is_type(piece) {
        let declares = next.is_word() || next.is_one_of(&["*", "&"]);
        return declares && !next.on_new_line;
    }
    if in_initializer_list(piece) {
        return next.is_one_of(&[",", "{"]);
    }
    if ends_with_block(piece) || next.kind == TokenKind::Directive {
        return false;
    }
    // An expression: a sign that can only follow a value continues it; one that can also begin a statement, only on
    // this line.
    next.is_one_of(&[
        ".", "->", ",", "?", ":", "=", "<", ">", "|", "/", "%", "^", "==", "::",
    ]) || (next.kind == TokenKind::Sign && !next.on_new_line)
}

/// Returns whether the piece defines a class, union or enumeration.
fn is_type(piece: &[Token]) -> bool {
    let rest = after_template(piece);
    rest.first()
        .is_some_and(|first| first.is_one_of(&["struct", "class", "union", "enum", "typedef"]))
        && !rest
            .iter()
            .take_while(|token| !token.is("{"))
            .any(|token| token.is_one_of(&["(", "="]))
}

/// Returns whether the last brace closes the value of a member in the initializer list of a constructor.
fn in_initializer_list(piece: &[Token]) -> bool {
    let Some(open) = opening(piece) else {
        return false;
    };
    let starts_list =
        |at: usize| piece[at].is(":") && at > 0 && piece[at - 1].is_one_of(&[")", "noexcept"]);
    let has_list = (0..open).any(starts_list) && depth_zero(piece, "=").is_none();
    has_list && open > 0 && (piece[open - 1].is_word() || piece[open - 1].is(">"))
}

/// Returns whether the last brace closes the body of a function or statement, and not a value.
fn ends_with_block(piece: &[Token]) -> bool {
    let rest = after_template(piece);
    let Some(first) = rest.first() else {
        return false;
    };
    if first.is_one_of(&[
        "if",
        "for",
        "while",
        "do",
        "switch",
        "try",
        "else",
        "{",
        "namespace",
        "extern",
        "inline",
        "catch",
    ]) {
        return true;
    }
    let Some(open) = opening(rest) else {
        return false;
    };
    if first.is("[") && !rest.get(1).is_some_and(|second| second.is("[")) {
        return false;
    }
    let has_parameters = rest[..open].iter().any(|token| token.is(")"));
    let is_operator = rest[..open].iter().any(|token| token.is("operator"));
    let has_value = depth_zero(&rest[..open], "=").is_some() && !is_operator;
    let before = open.checked_sub(1).map(|at| &rest[at]);
    let after_declarator = before.is_some_and(|before| {
        before.is_one_of(&[
            ")", "const", "noexcept", "override", "final", "try", "&", "&&",
        ]) || depth_zero(&rest[..open], "->").is_some()
            || rest[..open].iter().any(|token| token.is("requires"))
            || (0..open).any(|at| rest[at].is(":") && at > 0 && rest[at - 1].is(")"))
    });
    has_parameters && after_declarator && !has_value
}

/// Returns the position of the outermost brace that the last token closes.
fn opening(piece: &[Token]) -> Option<usize> {
    let mut depth = 0_u32;
    for (at, token) in piece.iter().enumerate().rev() {
        if token.is_one_of(&[")", "]", "}"]) {
            depth += 1;
        } else if token.is_one_of(&["(", "[", "{"]) {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return token.is("{").then_some(at);
            }
        }
    }
    None
}

/// Returns the position of the first token with this text outside of all brackets.
pub(super) fn depth_zero(tokens: &[Token], text: &str) -> Option<usize> {
    let mut depth = 0_u32;
    for (at, token) in tokens.iter().enumerate() {
        if depth == 0 && token.is(text) {
            return Some(at);
        }
        if token.is_one_of(&["(", "[", "{"]) {
            depth += 1;
        } else if token.is_one_of(&[")", "]", "}"]) {
            depth = depth.saturating_sub(1);
        }
    }
    None
}

/// Returns the tokens after `template <…>` and its constraint.
pub(super) fn after_template<'p, 'a>(piece: &'p [Token<'a>]) -> &'p [Token<'a>] {
    let mut rest = piece;
    while rest.first().is_some_and(|token| token.is("template"))
        && rest.get(1).is_some_and(|token| token.is("<"))
    {
        let Some(end) = angle_end(rest, 1) else {
            return rest;
        };
        rest = &rest[end..];
        if rest.first().is_some_and(|token| token.is("requires")) {
            rest = after_constraint(rest);
        }
    }
    rest
}

/// Returns the tokens after `requires` and its constraint: a chain of concepts, calls or blocks.
fn after_constraint<'p, 'a>(piece: &'p [Token<'a>]) -> &'p [Token<'a>] {
    let mut at = 1;
    loop {
        while piece
            .get(at)
            .is_some_and(|token| token.is_one_of(&["!", "requires"]))
        {
            at += 1;
        }
        if piece.get(at).is_some_and(|token| token.is("(")) {
            at = bracket_end(piece, at);
            if piece.get(at).is_some_and(|token| token.is("{")) {
                at = bracket_end(piece, at);
            }
        } else {
            at = name_end(piece, at);
        }
        let joined = |at: usize, sign: &str| {
            piece.get(at).is_some_and(|token| token.is(sign))
                && piece.get(at + 1).is_some_and(|token| token.is(sign))
        };
        if !joined(at, "&") && !joined(at, "|") {
            return piece.get(at..).unwrap_or_default();
        }
        at += 2;
    }
}

/// Returns the position after a name with its qualifiers and template arguments, or `at` if there is none.
pub(super) fn name_end(tokens: &[Token], at: usize) -> usize {
    let mut end = at;
    let mut next = at;
    if tokens.get(next).is_some_and(|token| token.is("::")) {
        next += 1;
    }
    while tokens.get(next).is_some_and(Token::is_word) {
        next += 1;
        if tokens.get(next).is_some_and(|token| token.is("<"))
            && let Some(after) = angle_end(tokens, next)
        {
            next = after;
        }
        end = next;
        if !tokens.get(next).is_some_and(|token| token.is("::")) {
            break;
        }
        next += 1;
        if tokens.get(next).is_some_and(|token| token.is("template")) {
            next += 1;
        }
    }
    end
}

/// Returns the position after the brackets that open at a position.
pub(super) fn bracket_end(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_u32;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if token.is_one_of(&["(", "[", "{"]) {
            depth += 1;
        } else if token.is_one_of(&[")", "]", "}"]) {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return at + 1;
            }
        }
    }
    tokens.len()
}

/// Returns the position after the template arguments that open at a position, or `None` if the sign is a comparison.
pub(super) fn angle_end(tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0_u32;
    let mut at = open;
    while let Some(token) = tokens.get(at) {
        let is_shift = token.is("<") && tokens.get(at + 1).is_some_and(|next| next.is("<"));
        let is_no_argument = token.is_one_of(&[";", ")", "]", "}", "|"]);
        if is_shift || is_no_argument || token.kind == TokenKind::Directive {
            return None;
        } else if token.is("<") {
            depth += 1;
        } else if token.is(">") {
            depth -= 1;
            if depth == 0 {
                return Some(at + 1);
            }
        } else if token.is_one_of(&["(", "[", "{"]) {
            at = bracket_end(tokens, at);
            continue;
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_where_statements_do() {
        let cases: &[(&str, &[&str])] = &[
            ("int x = 1; x", &["int x = 1;", "x"]),
            (
                "if (x) f(); else g(); h();",
                &["if (x) f(); else g();", "h();"],
            ),
            (
                "do { f(); } while (x); y();",
                &["do { f(); } while (x);", "y();"],
            ),
            ("do f(); while (x); y();", &["do f(); while (x);", "y();"]),
            (
                "try { a(); } catch (E&) { b(); } catch (...) { c(); } d();",
                &[
                    "try { a(); } catch (E&) { b(); } catch (...) { c(); }",
                    "d();",
                ],
            ),
            (
                "struct S { int a; } s; struct T {}\nint x;",
                &["struct S { int a; } s;", "struct T {}", "int x;"],
            ),
            (
                "A::A(int x) : a{x}, b(x) { f(); } g();",
                &["A::A(int x) : a{x}, b(x) { f(); }", "g();"],
            ),
            (
                "auto f = [](int x) { return x; }; f(1)",
                &["auto f = [](int x) { return x; };", "f(1)"],
            ),
            (
                "int f() { return 1; } *p = 2;",
                &["int f() { return 1; }", "*p = 2;"],
            ),
            ("if (a) { b(); }\n*p = 2;", &["if (a) { b(); }", "*p = 2;"]),
            ("Foo{1}.bar() + Foo{2}.x", &["Foo{1}.bar() + Foo{2}.x"]),
            (
                "[](int a) { return a; }(3)",
                &["[](int a) { return a; }(3)"],
            ),
            ("int a{1}, b{2};", &["int a{1}, b{2};"]),
            (
                "#define A 1\nint x;\n#ifdef A\nf();\n#endif\ng();",
                &["#define A 1", "int x;", "#ifdef A\nf();\n#endif", "g();"],
            ),
            (
                "template <typename T> requires C<T> && D<T> T f(T a) { return a; } x",
                &[
                    "template <typename T> requires C<T> && D<T> T f(T a) { return a; }",
                    "x",
                ],
            ),
            (
                "for (int i = 0; i < 3; ++i) f(i); g();",
                &["for (int i = 0; i < 3; ++i) f(i);", "g();"],
            ),
            (";;", &[]),
            ("f(1) // here", &["f(1) // here"]),
            ("f(); // gone", &["f();"]),
            (
                "// before\nf(); // with g\ng();",
                &["// before\nf();", "// with g\ng();"],
            ),
        ];
        for (code, wanted) in cases {
            let found: Vec<&str> = split(code).iter().map(|piece| piece.text).collect();
            assert_eq!(found, *wanted, "{code}");
        }
    }
}
