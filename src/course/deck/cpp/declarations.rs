//! Finds the declarations of a piece: types, namespaces, aliases. Variables and functions are parsed in `declarators`.

use super::items::{Item, ItemKind, items};
use super::pieces::{Piece, after_template, bracket_end, depth_zero, name_end};
use super::tokens::{Token, TokenKind};

const STATEMENTS: [&str; 18] = [
    "if",
    "for",
    "while",
    "do",
    "switch",
    "try",
    "return",
    "throw",
    "goto",
    "break",
    "continue",
    "case",
    "default",
    "else",
    "catch",
    "co_return",
    "co_yield",
    "co_await",
];
const VALUES: [&str; 15] = [
    "delete",
    "new",
    "sizeof",
    "this",
    "true",
    "false",
    "nullptr",
    "not",
    "static_cast",
    "dynamic_cast",
    "const_cast",
    "reinterpret_cast",
    "typeid",
    "alignof",
    "noexcept",
];
pub(super) const SPECIFIERS: [&str; 15] = [
    "const",
    "constexpr",
    "constinit",
    "consteval",
    "static",
    "inline",
    "extern",
    "volatile",
    "mutable",
    "thread_local",
    "register",
    "virtual",
    "friend",
    "explicit",
    "typename",
];
pub(super) const BUILTIN: [&str; 15] = [
    "void", "bool", "char", "short", "int", "long", "float", "double", "signed", "unsigned",
    "wchar_t", "char8_t", "char16_t", "char32_t", "auto",
];

/// A parser of one piece.
pub(super) struct Reader<'r, 'a> {
    pub(super) piece: &'r Piece<'a>,
    pub(super) tokens: &'r [Token<'a>],
    pub(super) has_semicolon: bool,
    pub(super) is_variable: &'r dyn Fn(&str) -> bool,
    pub(super) item: &'r mut Item<'a>,
}

impl<'a> Reader<'_, 'a> {
    pub(super) fn at(&self, at: usize) -> Option<&Token<'a>> {
        self.tokens.get(at)
    }

    pub(super) fn is(&self, at: usize, text: &str) -> bool {
        self.at(at).is_some_and(|token| token.is(text))
    }

    pub(super) fn is_one_of(&self, at: usize, texts: &[&str]) -> bool {
        self.at(at).is_some_and(|token| token.is_one_of(texts))
    }

    pub(super) fn outside(&mut self) {
        self.item.kind = ItemKind::Outside;
    }

    pub(super) fn define(&mut self, name: &'a str) {
        self.item.names.push(name);
        self.item.shown.push(name.to_owned());
    }

    pub(super) fn read(&mut self) {
        let all = self.tokens;
        let rest = after_template(all);
        let is_explicit = rest.first().is_some_and(|token| token.is("template"));
        let is_template = rest.len() < all.len() || is_explicit;
        self.tokens = &rest[usize::from(is_explicit)..];
        let mut at = 0;
        while self.is(at, "[") && self.is(at + 1, "[") {
            at = bracket_end(self.tokens, at);
        }
        self.tokens = &self.tokens[at..];
        self.read_declaration();
        if is_template {
            self.outside();
        }
    }

    fn read_declaration(&mut self) {
        let Some(first) = self.tokens.first() else {
            return;
        };
        if first.is_one_of(&STATEMENTS) || first.is_one_of(&["{", "static_assert", "asm"]) {
            return;
        }
        match first.text {
            "using" => self.read_using(),
            "typedef" => {
                self.outside();
                let name = self.tokens.iter().rfind(|token| token.is_word());
                self.item.names.extend(name.map(|token| token.text));
            }
            "namespace" => self.read_namespace(),
            "inline" if self.is(1, "namespace") => self.read_namespace(),
            "extern"
                if self
                    .at(1)
                    .is_some_and(|token| token.kind == TokenKind::Literal) =>
            {
                self.outside();
                let before = self.item.kind;
                self.tokens = &self.tokens[2..];
                if !self.is(0, "{") {
                    self.read_declaration();
                }
                self.item.kind = before;
            }
            "concept" => {
                self.outside();
                if let Some(name) = self.at(1).map(|token| token.text) {
                    self.define(name);
                }
            }
            "struct" | "class" | "union" | "enum" => self.read_type(),
            _ if first.is_one_of(&VALUES) => self.expression(),
            _ => self.read_declarators(),
        }
    }

    fn read_using(&mut self) {
        self.outside();
        if self.is(1, "namespace") {
            let name = self.tokens[2..].iter().find(|token| token.is_word());
            self.item.opens_namespace = name.map(|token| token.text);
            return;
        }
        if self.is(1, "enum") {
            return;
        }
        let end = depth_zero(self.tokens, "=").unwrap_or(self.tokens.len());
        let name = self.tokens[..end].iter().rfind(|token| token.is_word());
        if let Some(name) = name.map(|token| token.text) {
            self.define(name);
        }
    }

    /// Parses a namespace. Its members count as defined names, but only the namespace itself is listed for readers.
    fn read_namespace(&mut self) {
        self.outside();
        let (Some(open), Some(close)) = (
            self.tokens.iter().position(|token| token.is("{")),
            self.tokens.iter().rposition(|token| token.is("}")),
        ) else {
            return;
        };
        let start = self.tokens[open].end();
        let body = self
            .piece
            .between(start, self.tokens[close].start.max(start));
        for inner in items(body, self.is_variable) {
            self.item.names.extend(inner.names);
            self.item.members.extend(inner.members);
            self.item.operands.extend(inner.operands);
        }
    }

    fn read_type(&mut self) {
        let mut at = 1;
        if self.is(0, "enum") && self.is_one_of(1, &["class", "struct"]) {
            at = 2;
        }
        while self.is(at, "[") {
            at = bracket_end(self.tokens, at);
        }
        let name_start = at;
        at = name_end(self.tokens, at);
        let open = depth_zero(self.tokens, "{");
        let declares_only = at == self.tokens.len();
        let is_definition = open.is_some_and(|open| {
            self.tokens[at..open]
                .iter()
                .all(|token| !token.is_one_of(&["=", "("]))
        });
        if !declares_only && !is_definition {
            // `struct S s;` and `struct S f() {…}` declare a variable or function of the type.
            self.tokens = &self.tokens[usize::from(!self.is(0, "enum") || name_start == 1)..];
            return self.read_declarators();
        }
        self.outside();
        if at > name_start
            && let Some(name) = self.at(name_start).map(|token| token.text)
        {
            self.item.names.push(name);
            let whole: String = self.tokens[name_start..at]
                .iter()
                .map(|token| token.text)
                .collect();
            self.item.shown.push(whole);
        }
        if let Some(open) = open {
            let mut after = bracket_end(self.tokens, open);
            while let Some(token) = self.at(after) {
                if token.is_word() && !token.is("const") {
                    let name = token.text;
                    self.define(name);
                    let next = self.tokens[after..].iter().position(|token| token.is(","));
                    after = next.map_or(self.tokens.len(), |next| after + next);
                }
                after += 1;
            }
        }
    }
}
