//! Converts text cells to comments. The HTML that decks commonly use is written as Markdown.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is constant")
}

/// Returns a text as a block of comment lines, or an empty text if it has no words.
pub(super) fn comment(text: &str) -> String {
    let text = from_html(text);
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let first = lines.iter().position(|line| !line.is_empty());
    let last = lines.iter().rposition(|line| !line.is_empty());
    let (Some(first), Some(last)) = (first, last) else {
        return String::new();
    };
    let mut block = commented(&lines[first..=last].join("\n"));
    // A backslash at the end would make the next line of code part of the comment.
    block.truncate(block.trim_end_matches('\\').len());
    block
}

/// Adds comment signs to all lines.
pub(super) fn commented(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| format!("// {line}").trim_end().to_owned())
        .collect();
    lines.join("\n")
}

/// Returns the first heading of a text.
pub(super) fn heading(text: &str) -> Option<String> {
    static HEADING: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"(?m)^[ \t]*#{1,6}[ \t]+(\S.*?)[ \t]*#*[ \t]*$"));
    let text = from_html(text);
    Some(HEADING.captures(&text)?[1].to_owned())
}

/// Replaces the HTML of a text by Markdown, except in code between backticks.
fn from_html(text: &str) -> Cow<'_, str> {
    static CODE: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?s)```.*?```|`[^`\n]*`"));
    if !text.contains('<') {
        return Cow::Borrowed(text);
    }
    let mut result = String::with_capacity(text.len());
    let mut end = 0;
    for code in CODE.find_iter(text) {
        result.push_str(&without_tags(&text[end..code.start()]));
        result.push_str(code.as_str());
        end = code.end();
    }
    result.push_str(&without_tags(&text[end..]));
    Cow::Owned(without_gaps(&result))
}

/// Reduces successive empty lines, which removed tags leave, to one.
fn without_gaps(text: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines().map(str::trim_end) {
        let is_gap = line.is_empty() && lines.last().is_some_and(|last| last.is_empty());
        if !is_gap {
            lines.push(line);
        }
    }
    lines.join("\n")
}

fn without_tags(text: &str) -> String {
    static TAG: LazyLock<Regex> =
        LazyLock::new(|| pattern(r#"<(/?)([A-Za-z][A-Za-z0-9]*)((?:\s[^<>]*)?/?)>"#));
    static LINK: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?is)<a(\s[^<>]*)?>(.*?)</a\s*>"));
    let linked = LINK.replace_all(text, |link: &Captures| {
        let attributes = link.get(1).map_or("", |found| found.as_str());
        format!("[{}]({})", &link[2], attribute(attributes, "href"))
    });
    let replaced = TAG.replace_all(&linked, |tag: &Captures| {
        let is_end = !tag[1].is_empty();
        let attributes = &tag[3];
        let is_bare = attributes.trim().trim_end_matches('/').is_empty();
        let name = tag[2].to_ascii_lowercase();
        let markdown = match name.as_str() {
            "br" => "\n",
            "b" | "strong" if is_bare => "**",
            "i" | "em" if is_bare => "*",
            "tt" | "code" if is_bare => "`",
            "s" | "del" | "strike" if is_bare => "~~",
            "div" | "span" | "font" | "center" => "",
            "p" | "ul" | "ol" | "table" | "thead" | "tbody" => "\n",
            "li" if is_end => "",
            "li" => "\n- ",
            "tr" if is_end => "\n",
            "tr" => "\n|",
            "td" | "th" if is_end => " |",
            "td" | "th" => " ",
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" if is_end => "\n",
            "h1" => "\n# ",
            "h2" => "\n## ",
            "h3" => "\n### ",
            "h4" => "\n#### ",
            "h5" => "\n##### ",
            "h6" => "\n###### ",
            "img" if !is_end => {
                let (text, url) = (attribute(attributes, "alt"), attribute(attributes, "src"));
                return format!("![{text}]({url})");
            }
            _ => return tag[0].to_owned(),
        };
        markdown.to_owned()
    });
    replaced.into_owned()
}

/// Returns the value of an attribute, or an empty text.
fn attribute<'a>(attributes: &'a str, name: &str) -> &'a str {
    static ATTRIBUTE: LazyLock<Regex> = LazyLock::new(|| pattern(r#"\s([a-z]+)="([^"]*)""#));
    ATTRIBUTE
        .captures_iter(attributes)
        .find(|found| &found[1] == name)
        .and_then(|found| found.get(2))
        .map_or("", |value| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_becomes_markdown_in_comments() {
        let cases = [
            ("plain\n\n\ntext  \n\n", "// plain\n//\n//\n// text"),
            (
                "<b>x</b> <i>z</i> <tt>a</tt> <del>e</del>",
                "// **x** *z* `a` ~~e~~",
            ),
            ("a<br>b<br/>c", "// a\n// b\n// c"),
            (
                "<ul><li>a</li><li>b <b>c</b></li></ul>",
                "// - a\n// - b **c**",
            ),
            (
                "<ul>\n  <li>a</li>\n  <li>b</li>\n</ul>\nafter",
                "// - a\n//\n// - b\n//\n// after",
            ),
            (
                "<img src=\"img/a.png\" alt=\"Alt text\" style=\"width:50%\"> <img alt=\"x\">",
                "// ![Alt text](img/a.png) ![x]()",
            ),
            (
                "<a href=\"http://x\">y</a> <a name=\"q\">z</a>",
                "// [y](http://x) [z]()",
            ),
            (
                "<div>\n <b>T</b>\n</div>\n<br/>\n\nx",
                "//  **T**\n//\n// x",
            ),
            (
                "<table>\n<tr><th>A</th><th>B</th></tr>\n<tr><td>1</td><td>2</td></tr>\n</table>",
                "// | A | B |\n//\n// | 1 | 2 |",
            ),
            (
                "`std::vector<b>` and <b>`x<i>`</b>",
                "// `std::vector<b>` and **`x<i>`**",
            ),
            (
                "```cpp\nstd::vector<b> x;\n```\n<br>",
                "// ```cpp\n// std::vector<b> x;\n// ```",
            ),
            (
                "<p>para</p> <h1>Head</h1><h3 class=\"x\">H3</h3>",
                "// para\n//\n// # Head\n//\n// ### H3",
            ),
            (
                "std::vector<int> <unknown>x</unknown> a < b",
                "// std::vector<int> <unknown>x</unknown> a < b",
            ),
            ("x\\", "// x"),
            ("  \n\n", ""),
            ("<div></div>", ""),
        ];
        for (text, wanted) in cases {
            assert_eq!(comment(text), wanted, "{text}");
        }
    }

    #[test]
    fn headings_are_found() {
        assert_eq!(heading("text\n## A *b* ##\n# B").as_deref(), Some("A *b*"));
        assert_eq!(heading("<h2>x <b>y</b></h2>").as_deref(), Some("x **y**"));
        assert_eq!(heading("#none\n# "), None);
    }
}
