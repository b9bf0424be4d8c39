//! Parses variables and functions, and distinguishes them from expressions.

use super::declarations::{BUILTIN, Reader, SPECIFIERS};
use super::items::ItemKind;
use super::pieces::{angle_end, bracket_end, depth_zero, name_end};
use super::tokens::Token;

/// Operators that are words, and thus no names.
const OPERATORS: [&str; 9] = [
    "and", "or", "xor", "bitand", "bitor", "not_eq", "and_eq", "or_eq", "xor_eq",
];

impl<'a> Reader<'_, 'a> {
    /// Parses a declaration of variables or of a function; everything else is an expression.
    pub(super) fn read_declarators(&mut self) {
        let mut at = 0;
        let mut kind = ItemKind::Variable;
        while self.is_one_of(at, &SPECIFIERS) {
            if self.is(at, "constinit") {
                kind = ItemKind::StaticVariable;
            }
            at += 1;
        }
        let type_start = at;
        let is_builtin = self.is_one_of(at, &BUILTIN);
        let type_end = self.type_end(type_start);
        if type_end == type_start {
            // `static x = 1` is not C++, and `~x` is not a declaration.
            return self.expression();
        }
        if type_start == 0 && !is_builtin && self.is_member_definition(type_end) {
            return self.function(0, type_end);
        }
        at = type_end;
        while self.is_one_of(at, &["const", "volatile"]) {
            at += 1;
        }
        let signs = at;
        while self.is_one_of(at, &["*", "&", "const", "volatile"]) {
            at += 1;
        }
        let type_tokens = &self.tokens[type_start..type_end];
        if self.is(at, "[") && type_tokens.iter().any(|token| token.is("auto")) {
            return self.structured_binding(at, kind);
        }
        let is_inner = self.is(at, "(")
            && self.is_one_of(at + 1, &["*", "&"])
            && self.at(at + 2).is_some_and(Token::is_word);
        if is_inner && self.is(at + 3, ")") && (is_builtin || self.is_one_of(at + 4, &["(", "["])) {
            let name = self.tokens[at + 2].text;
            self.define(name);
            self.item.kind = kind;
            return;
        }
        let name_end = name_end(self.tokens, at);
        if self.is(at, "operator") || self.qualified_operator(at) {
            return self.function(at, name_end);
        }
        let is_name = name_end > at && !self.is_one_of(at, &OPERATORS);
        if !is_name || self.is_product(signs, at, name_end) {
            return self.expression();
        }
        if self.is(name_end, "(") && self.is_function(name_end) {
            return self.function(at, name_end);
        }
        self.variables(at, kind);
    }

    /// Returns the end of the type that starts here, without `const` and `volatile` after the name of a class.
    fn type_end(&self, start: usize) -> usize {
        let mut at = start;
        if !self.is_one_of(at, &BUILTIN) && !self.is(at, "decltype") {
            return name_end(self.tokens, at);
        }
        while self.is_one_of(at, &BUILTIN) || self.is_one_of(at, &["const", "volatile"]) {
            at += 1;
        }
        if self.is(at, "decltype") {
            at += 1;
        }
        if self.is(at, "(") && (self.is(at + 1, "auto") || self.is(at - 1, "decltype")) {
            at = bracket_end(self.tokens, at);
        }
        at
    }

    /// Records the variables of `auto [a, b]`.
    fn structured_binding(&mut self, open: usize, kind: ItemKind) {
        let names = &self.tokens[open..bracket_end(self.tokens, open)];
        for name in names.iter().filter(|token| token.is_word()) {
            self.define(name.text);
        }
        self.item.kind = kind;
    }

    /// Returns whether the parentheses after a name are those of a function, and do not initialize a variable.
    fn is_function(&self, open: usize) -> bool {
        let end = bracket_end(self.tokens, open);
        let is_followed_like_function = self.is_one_of(
            end,
            &[
                "{", "const", "noexcept", "override", "final", "->", "requires", "try", ":", "&",
            ],
        ) || (self.is(end, "=")
            && self.is_one_of(end + 1, &["default", "delete", "0"]));
        is_followed_like_function
            || (end == self.tokens.len() && self.are_parameters(open + 1, end - 1))
    }

    /// Returns whether this is a definition without a type before the name:
    /// `A::A(…) {`, `A::~A() {`, `A::operator bool() {`.
    fn is_member_definition(&self, end: usize) -> bool {
        let is_qualified = self.tokens[..end].iter().any(|token| token.is("::"));
        let names_special = self.is(end, "::") && self.is_one_of(end + 1, &["~", "operator"])
            || self.tokens[..end].iter().any(|token| token.is("operator"));
        let open = self.tokens.iter().position(|token| token.is("("));
        let Some(open) = open else { return false };
        let after = bracket_end(self.tokens, open);
        let has_body = self.is_one_of(after, &["{", ":", "try", "noexcept", "const"])
            || (self.is(after, "=") && self.is_one_of(after + 1, &["default", "delete"]));
        (names_special || (is_qualified && open == end)) && has_body
    }

    fn qualified_operator(&self, at: usize) -> bool {
        let end = name_end(self.tokens, at);
        self.tokens[at..end]
            .iter()
            .any(|token| token.is("operator"))
            || (end > at && self.is(end, "::") && self.is_one_of(end + 1, &["operator", "~"]))
    }

    /// Returns whether `a * b` is a product: with equal blanks around the sign it is one, unless it is initialized.
    fn is_product(&self, signs: usize, name_start: usize, name_end: usize) -> bool {
        if signs == name_start || self.is_one_of(name_end, &["=", "{", "[", "("]) {
            return false;
        }
        let (Some(sign), Some(name), Some(before)) = (
            self.at(signs),
            self.at(name_start),
            signs.checked_sub(1).and_then(|at| self.at(at)),
        ) else {
            return false;
        };
        if before.is_one_of(&BUILTIN) || before.is("const") {
            return false;
        }
        let is_even = (sign.start > before.end()) == (name.start > sign.end());
        !self.has_semicolon
            || (is_even && name_start == signs + 1)
            || (self.is_variable)(before.text)
    }

    /// Returns whether the tokens between parentheses declare parameters. Values would initialize a variable instead.
    fn are_parameters(&self, start: usize, end: usize) -> bool {
        if start >= end {
            return true;
        }
        let mut at = start;
        loop {
            let next = depth_zero(&self.tokens[at..end], ",").map_or(end, |comma| at + comma);
            if !self.is_parameter(at, next) {
                return false;
            }
            if next == end {
                return true;
            }
            at = next + 1;
        }
    }

    fn is_parameter(&self, start: usize, end: usize) -> bool {
        let mut at = start;
        if self.is(at, "...") {
            return true;
        }
        let mut is_typed = false;
        while self.is_one_of(at, &SPECIFIERS) || self.is_one_of(at, &BUILTIN) {
            is_typed = true;
            at += 1;
        }
        if is_typed {
            return true;
        }
        let type_start = at;
        at = name_end(&self.tokens[..end], at);
        if at == type_start {
            return false;
        }
        if at == end {
            // A single name may be that of a type or of a variable.
            let name = &self.tokens[type_start];
            let is_lower = name.text.starts_with(char::is_lowercase) && end == type_start + 1;
            return !is_lower && !(self.is_variable)(name.text);
        }
        let signs = at;
        while self.is_one_of(at, &["*", "&", "const", "..."]) && at < end {
            at += 1;
        }
        if at == end {
            return true;
        }
        let is_named = self.at(at).is_some_and(Token::is_word)
            && (at + 1 == end || self.is_one_of(at + 1, &["=", "["]));
        is_named && !(signs < at && self.is_product(signs, at, at + 1))
    }

    /// Records a function with the name at these positions.
    fn function(&mut self, start: usize, end: usize) {
        self.outside();
        let tokens = &self.tokens[start..];
        let open = tokens
            .iter()
            .position(|token| token.is("("))
            .unwrap_or(tokens.len());
        let joined =
            |tokens: &[Token]| -> String { tokens.iter().map(|token| token.text).collect() };
        if let Some(operator) = tokens.iter().position(|token| token.is("operator")) {
            // The name of the call operator contains a pair of parentheses.
            let is_call = tokens.get(operator + 1).is_some_and(|token| token.is("("));
            let open = if is_call { operator + 3 } else { open };
            let open = open.clamp(operator, tokens.len());
            self.item.shown.push(joined(&tokens[..open]));
            let close = bracket_end(tokens, open);
            let words = tokens[..operator].iter().chain(&tokens[open..close]);
            let words = words
                .filter(|token| token.is_word())
                .map(|token| token.text);
            self.item.operands.extend(words);
            return;
        }
        let name_tokens = &tokens[..open.max(end - start).min(tokens.len())];
        self.item.shown.push(joined(name_tokens));
        let last = name_tokens
            .iter()
            .rfind(|token| token.is_word())
            .map(|token| token.text);
        if name_tokens.iter().any(|token| token.is("::")) {
            self.item.members.extend(last);
        } else {
            // In a specialization `f<int>`, the first token is the name.
            self.item
                .names
                .extend(name_tokens.first().map(|token| token.text));
        }
    }

    /// Records the variables of a declaration, starting at the name of the first one.
    fn variables(&mut self, start: usize, kind: ItemKind) {
        self.item.kind = kind;
        let mut at = start;
        loop {
            while self.is_one_of(at, &["*", "&", "const"]) {
                at += 1;
            }
            let end = name_end(self.tokens, at);
            let name = self.tokens[at..end]
                .iter()
                .rfind(|token| token.is_word())
                .map(|token| token.text);
            // `int A::count = 0;` defines a member, which must be outside of functions.
            if self.tokens[at..end].iter().any(|token| token.is("::")) {
                self.item.kind = ItemKind::Outside;
                self.item.shown.extend(name.map(str::to_owned));
                self.item.members.extend(name);
            } else if let Some(name) = name {
                let first = self.tokens[at].text;
                self.define(if end > at + 1 { first } else { name });
            }
            let Some(comma) = self.next_declarator(end.max(at)) else {
                return;
            };
            at = comma + 1;
        }
    }

    /// Returns the position of the comma before the next variable.
    fn next_declarator(&self, from: usize) -> Option<usize> {
        let mut at = from;
        while let Some(token) = self.at(at) {
            if token.is(",") {
                return Some(at);
            }
            at = match token.text {
                "(" | "[" | "{" => bracket_end(self.tokens, at),
                "<" => angle_end(self.tokens, at).unwrap_or(at + 1),
                _ => at + 1,
            };
        }
        None
    }

    pub(super) fn expression(&mut self) {
        let is_lambda = self.is(0, "[");
        let writes = {
            let name = self
                .tokens
                .iter()
                .position(|token| token.is_one_of(&["cout", "cerr", "clog"]));
            name.is_some_and(|name| {
                let is_first = name == 0 || (name == 2 && self.is(0, "std") && self.is(1, "::"));
                is_first && self.is(name + 1, "<") && self.is(name + 2, "<")
            })
        };
        let shows = self.is_one_of(0, &["SHOW", "CLM_DISPLAY", "assert"]) && self.is(1, "(");
        if self.is(0, "%") {
            return;
        }
        if !self.has_semicolon && !is_lambda && !writes && !shows {
            self.item.kind = ItemKind::Display;
        }
    }
}
