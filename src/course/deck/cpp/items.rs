//! Classifies the pieces of a cell: definitions that must be outside of functions, variables, statements, and
//! expressions whose value a notebook would show.

use super::declarations::Reader;
use super::pieces::{self, Piece, directive_name};
use super::tokens::Token;

/// The class of an item, which decides about its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemKind {
    /// An `#include` line.
    Include,
    /// A definition that must be outside of functions.
    Outside,
    /// A variable: local, unless code outside of the function uses it.
    Variable,
    /// A variable that cannot be local.
    StaticVariable,
    /// A statement.
    Statement,
    /// An expression whose value is shown.
    Display,
}

/// A classified piece of a cell, with the names that it defines.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    pub(super) kind: ItemKind,
    /// Its text, including the comments before it.
    pub(super) text: &'a str,
    pub(super) tokens: Vec<Token<'a>>,
    /// Names for lists of definitions: `f`, `S::f`, `operator+`.
    pub(super) shown: Vec<String>,
    /// Names that other code can use without qualification.
    pub(super) names: Vec<&'a str>,
    /// Names of members that are defined outside of their class.
    pub(super) members: Vec<&'a str>,
    /// The namespace that it opens for all following code.
    pub(super) opens_namespace: Option<&'a str>,
    /// Words in the parameters of an operator, which include the types of its operands.
    pub(super) operands: Vec<&'a str>,
}

/// Splits a cell into items. `is_variable` returns whether a name is a variable elsewhere in the deck.
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

/// Classifies a block between `#if` and `#endif`, which is one item: it belongs into a function if it contains
/// statements.
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
        item.operands.extend(inner.operands);
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
        let code = "#if 1\nS operator+(S a, S b) { return a; }\n#endif";
        let items = super::items(code, &|_| false);
        assert!(items[0].operands.contains(&"S"));
    }
}
