//! What the pieces of a cell are: definitions that must stand outside of functions, variables, statements, and
//! expressions whose value a notebook would show.

use super::pieces::{
    self, Piece, after_template, angle_end, bracket_end, depth_zero, directive_name, name_end,
};
use super::tokens::{Token, TokenKind};

/// Where a piece goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemKind {
    /// An `#include` line.
    Include,
    /// What stands outside of functions.
    Outside,
    /// A variable: local, unless others need it outside.
    Variable,
    /// A variable that cannot be local.
    StaticVariable,
    /// A statement.
    Statement,
    /// An expression whose value is shown.
    Display,
}

/// A piece of a cell and what it defines.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    pub(super) kind: ItemKind,
    /// Its text with the comments before it.
    pub(super) text: &'a str,
    pub(super) tokens: Vec<Token<'a>>,
    /// Names as a reader of the code would list them: `f`, `S::f`, `operator+`.
    pub(super) shown: Vec<String>,
    /// Names that other code can use without qualification.
    pub(super) names: Vec<&'a str>,
    /// Names of members that are defined outside of their class.
    pub(super) members: Vec<&'a str>,
    /// The namespace that it opens to all that follows.
    pub(super) opens_namespace: Option<&'a str>,
    /// Words in the parameters of an operator: its operands' types are among them.
    pub(super) operands: Vec<&'a str>,
}

/// The pieces of a cell. `is_variable` tells of a name that it is a variable elsewhere in the deck.
pub(super) fn items<'a>(code: &'a str, is_variable: &dyn Fn(&str) -> bool) -> Vec<Item<'a>> {
    pieces::split(code)
        .into_iter()
        .map(|piece| item(piece, is_variable))
        .collect()
}

fn item<'a>(piece: Piece<'a>, is_variable: &dyn Fn(&str) -> bool) -> Item<'a> {
    let mut item = Item {
        kind: ItemKind::Statement,
        text: piece.text,
        tokens: Vec::new(),
        shown: Vec::new(),
        names: Vec::new(),
        members: Vec::new(),
        opens_namespace: None,
        operands: Vec::new(),
    };
    if piece.is_conditional {
        conditional(&piece, is_variable, &mut item);
    } else if let Some(name) = piece.tokens.first().and_then(directive_name) {
        item.kind = match name {
            "include" => ItemKind::Include,
            _ => ItemKind::Outside,
        };
    } else {
        let mut reader = Reader {
            piece: &piece,
            tokens: &piece.tokens,
            has_semicolon: piece.has_semicolon,
            is_variable,
            item: &mut item,
        };
        reader.read();
    }
    item.tokens = piece.tokens;
    item
}

/// A block between `#if` and `#endif` is one thing: inside of a function when it does something.
fn conditional<'a>(piece: &Piece<'a>, is_variable: &dyn Fn(&str) -> bool, item: &mut Item<'a>) {
    let start = piece.tokens.first().map_or(0, Token::end);
    let end = piece.tokens.last().map_or(start, |last| last.start);
    let inner = items(piece.between(start, end), is_variable);
    let acts = |inner: &Item| matches!(inner.kind, ItemKind::Statement | ItemKind::Display);
    item.kind = if inner.iter().any(acts) {
        ItemKind::Statement
    } else {
        ItemKind::Outside
    };
    for inner in inner {
        item.shown.extend(inner.shown);
        item.names.extend(inner.names);
        item.members.extend(inner.members);
    }
}

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
const SPECIFIERS: [&str; 15] = [
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
const BUILTIN: [&str; 15] = [
    "void", "bool", "char", "short", "int", "long", "float", "double", "signed", "unsigned",
    "wchar_t", "char8_t", "char16_t", "char32_t", "auto",
];

struct Reader<'r, 'a> {
    piece: &'r Piece<'a>,
    tokens: &'r [Token<'a>],
    has_semicolon: bool,
    is_variable: &'r dyn Fn(&str) -> bool,
    item: &'r mut Item<'a>,
}

impl<'a> Reader<'_, 'a> {
    fn at(&self, at: usize) -> Option<&Token<'a>> {
        self.tokens.get(at)
    }

    fn is(&self, at: usize, text: &str) -> bool {
        self.at(at).is_some_and(|token| token.is(text))
    }

    fn is_one_of(&self, at: usize, texts: &[&str]) -> bool {
        self.at(at).is_some_and(|token| token.is_one_of(texts))
    }

    fn outside(&mut self) {
        self.item.kind = ItemKind::Outside;
    }

    fn define(&mut self, name: &'a str) {
        self.item.names.push(name);
        self.item.shown.push(name.to_owned());
    }

    fn read(&mut self) {
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

    /// The members of a namespace can be missed like everything else, but the namespace is what is listed.
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
            // `struct S s;` and `struct S f() {…}` declare something of the type.
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

    /// A declaration of variables or of a function; everything else is an expression.
    fn read_declarators(&mut self) {
        let mut at = 0;
        let mut is_static = false;
        while self.is_one_of(at, &SPECIFIERS) {
            is_static |= self.is(at, "constinit");
            at += 1;
        }
        let type_start = at;
        let is_builtin = self.is_one_of(at, &BUILTIN);
        if is_builtin || self.is(at, "decltype") {
            while self.is_one_of(at, &BUILTIN) || self.is_one_of(at, &["const", "volatile"]) {
                at += 1;
            }
            if self.is(at, "decltype") {
                at += 1;
            }
            if self.is(at, "(") && (self.is(at + 1, "auto") || self.is(at - 1, "decltype")) {
                at = bracket_end(self.tokens, at);
            }
        } else {
            at = name_end(self.tokens, at);
        }
        if at == type_start {
            // `static x = 1` is not C++, and `~x` no declaration.
            return self.expression();
        }
        let type_end = at;
        if type_start == 0 && !is_builtin && self.is_member_definition(type_end) {
            return self.function(0, type_end);
        }
        while self.is_one_of(at, &["const", "volatile"]) {
            at += 1;
        }
        let signs = at;
        while self.is_one_of(at, &["*", "&", "const", "volatile"]) {
            at += 1;
        }
        let kind = if is_static {
            ItemKind::StaticVariable
        } else {
            ItemKind::Variable
        };
        if self.is(at, "[")
            && self.tokens[type_start..type_end]
                .iter()
                .any(|token| token.is("auto"))
        {
            let end = bracket_end(self.tokens, at);
            for index in at..end {
                if let Some(name) = self
                    .at(index)
                    .filter(|token| token.is_word())
                    .map(|token| token.text)
                {
                    self.define(name);
                }
            }
            self.item.kind = kind;
            return;
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
        let name_start = at;
        let name_end = name_end(self.tokens, at);
        if self.is(at, "operator") || self.qualified_operator(at) {
            return self.function(at, name_end);
        }
        let is_name = name_end > name_start
            && !self.is_one_of(
                at,
                &[
                    "and", "or", "xor", "bitand", "bitor", "not_eq", "and_eq", "or_eq", "xor_eq",
                ],
            );
        if !is_name || self.is_product(signs, name_start, name_end) {
            return self.expression();
        }
        if self.is(name_end, "(") {
            let end = bracket_end(self.tokens, name_end);
            let rest_is_function = self.is_one_of(
                end,
                &[
                    "{", "const", "noexcept", "override", "final", "->", "requires", "try", ":",
                    "&",
                ],
            ) || (self.is(end, "=")
                && self.is_one_of(end + 1, &["default", "delete", "0"]));
            if rest_is_function
                || (end == self.tokens.len() && self.are_parameters(name_end + 1, end - 1))
            {
                return self.function(name_start, name_end);
            }
        }
        self.variables(name_start, kind);
    }

    /// `A::A(…) {`, `A::~A() {`, `A::operator bool() {`: definitions without a type before the name.
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

    /// `a * b` with equal blanks around the sign is a product, unless it is initialized.
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

    /// Whether what stands between parentheses declares parameters; values would initialize a variable.
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
            // One name alone: of a type, or of a variable.
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

    /// A function whose name stands at these positions.
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
            // The name of the call operator is a pair of parentheses itself.
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
            // Of a specialization `f<int>`, the name comes first.
            self.item
                .names
                .extend(name_tokens.first().map(|token| token.text));
        }
    }

    /// The variables of a declaration, from the name of the first one on.
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
            // `int A::count = 0;` defines a member, which stands outside.
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

    /// The comma before the next variable.
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

    fn expression(&mut self) {
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

#[cfg(test)]
mod tests {
    use super::ItemKind::{Display, Include, Outside, Statement, StaticVariable, Variable};
    use super::*;

    #[test]
    fn pieces_are_told_apart() {
        let cases: &[(&str, ItemKind, &str)] = &[
            ("int x = 1;", Variable, "x"),
            ("int x{1}, y = 2, *z;", Variable, "x y z"),
            ("std::vector<int> v = {1, 2};", Variable, "v"),
            ("std::map<std::string, std::vector<int>> m;", Variable, "m"),
            ("const int& x = y;", Variable, "x"),
            ("int const& x = y;", Variable, "x"),
            ("int* p = &x;", Variable, "p"),
            ("Foo *p;", Variable, "p"),
            ("unsigned long long u;", Variable, "u"),
            ("int a[2][3]{};", Variable, "a"),
            ("auto [a, b] = pair;", Variable, "a b"),
            ("auto const& [k, v] = *m.begin();", Variable, "k v"),
            ("int (*f)(int) = g;", Variable, "f"),
            ("int (&r)[3] = a;", Variable, "r"),
            ("volatile int x;", Variable, "x"),
            ("decltype(x) y = x;", Variable, "y"),
            ("std::string s(\"abc\");", Variable, "s"),
            ("std::vector<int> v(n);", Variable, "v"),
            ("std::vector<int> v(3, 4);", Variable, "v"),
            ("std::lock_guard lock(m);", Variable, "lock"),
            ("struct Foo foo;", Variable, "foo"),
            (
                "std::function<int(int)> f = [](int a) { return a; };",
                Variable,
                "f",
            ),
            ("[[maybe_unused]] int x = 1;", Variable, "x"),
            ("constinit int x = 1;", StaticVariable, "x"),
            ("int f(int a) { return a; }", Outside, "f"),
            ("int f(int a);", Outside, "f"),
            ("Foo foo(Bar b);", Outside, "foo"),
            ("Foo foo(Bar);", Outside, "foo"),
            ("Foo foo();", Outside, "foo"),
            ("auto f() -> int { return 1; }", Outside, "f"),
            ("decltype(auto) f() { return 1; }", Outside, "f"),
            (
                "template <typename T> T f(T a) requires C<T> { return a; }",
                Outside,
                "f",
            ),
            ("template <> struct S<int> { int x; };", Outside, "S<int>"),
            (
                "template <typename T> constexpr T pi = T(3.1);",
                Outside,
                "pi",
            ),
            ("template class S<int>;", Outside, "S<int>"),
            (
                "template <typename T> concept C = requires(T t) { t.f(); };",
                Outside,
                "C",
            ),
            ("struct Foo { int x; } foo, bar;", Outside, "Foo foo bar"),
            ("class Foo final : public Bar { };", Outside, "Foo"),
            ("enum class Color : int { red, green };", Outside, "Color"),
            ("struct Foo;", Outside, "Foo"),
            ("int Foo::f(int x) const { return x; }", Outside, "Foo::f"),
            ("Foo::Foo(int x) : x{x} { }", Outside, "Foo::Foo"),
            ("Foo::~Foo() { }", Outside, "Foo::~Foo"),
            ("int Foo::count = 0;", Outside, "count"),
            (
                "template <typename T> void Stack<T>::push(T x) { }",
                Outside,
                "Stack<T>::push",
            ),
            (
                "std::ostream& operator<<(std::ostream& os, const Foo& f) { return os; }",
                Outside,
                "operator<<",
            ),
            (
                "bool Foo::operator==(const Foo& o) const { return true; }",
                Outside,
                "Foo::operator==",
            ),
            (
                "Foo& Foo::operator=(const Foo&) = default;",
                Outside,
                "Foo::operator=",
            ),
            ("using namespace std;", Outside, ""),
            ("using V = std::vector<int>;", Outside, "V"),
            ("using std::cout;", Outside, "cout"),
            ("namespace a { int x; }", Outside, ""),
            ("extern \"C\" { int f(); }", Outside, ""),
            ("#define X 1", Outside, ""),
            ("#include <a>", Include, ""),
            ("#ifdef A\nint f();\n#endif", Outside, "f"),
            ("#ifdef A\nf();\n#endif", Statement, ""),
            ("if (x) { y(); }", Statement, ""),
            ("std::cout << x", Statement, ""),
            ("static_assert(true);", Statement, ""),
            ("{ int x = 1; }", Statement, ""),
            ("f(x);", Statement, ""),
            ("x = 3;", Statement, ""),
            ("a < b;", Statement, ""),
            ("a * b;", Statement, ""),
            ("delete p;", Statement, ""),
            ("std::tie(a, b) = f();", Statement, ""),
            ("std::sort(v.begin(), v.end());", Statement, ""),
            ("foo<int>();", Statement, ""),
            ("SHOW(x)", Statement, ""),
            ("x", Display, ""),
            ("x + 1", Display, ""),
            ("a * b", Display, ""),
            ("a & b", Display, ""),
            ("f(x)", Display, ""),
            ("ns::f(1)", Display, ""),
            ("v.size()", Display, ""),
            ("std::is_same_v<int, int>", Display, ""),
            ("static_cast<int>(x)", Display, ""),
            ("std::string{\"a\"}", Display, ""),
            ("Foo{1}", Display, ""),
            ("\"a\" + s", Display, ""),
            ("42", Display, ""),
            ("*p", Display, ""),
            ("i++", Display, ""),
            ("a ? b : c", Display, ""),
        ];
        for (code, kind, shown) in cases {
            let items = items(code, &|name| name == "m");
            assert_eq!(items.len(), 1, "{code}: {items:#?}");
            assert_eq!(
                (items[0].kind, items[0].shown.join(" ").as_str()),
                (*kind, *shown),
                "{code}"
            );
        }
    }

    #[test]
    fn members_of_namespaces_and_operands_are_known() {
        let code = "// c\nnamespace a { struct S { int x; }; S operator+(S a, S b) { return a; } void S::f() {} }";
        let items = items(code, &|_| false);
        assert_eq!(items[0].names, ["S"]);
        assert_eq!(items[0].members, ["f"]);
        assert!(items[0].operands.contains(&"S"));
    }
}
