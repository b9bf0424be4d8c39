//! The first difference of two pages, which are compared as sequences of tags and lines of text: the order of attributes,
//! the ids of cells and the versions of styles and scripts do not matter. Pure.

use std::collections::BTreeMap;

use super::normal::{self, Pictures};
use super::texts::Found;

/// Elements without an end.
const VOID: [&str; 14] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr",
];
/// Elements whose content is text, whatever it looks like.
const RAW: [&str; 4] = ["script", "style", "textarea", "title"];
/// The number of open elements that an end tag may end.
const DEPTH: usize = 256;
/// Elements of the head that carry the version of nbconvert.
const ASSETS: [&str; 4] = ["style", "script", "link", "meta"];
/// What the id of a cell begins with.
const CELL: &str = "cell-id=";
/// The class of what a cell printed.
const OUTPUT: &str = "output_wrapper";

/// A page as it is compared.
#[derive(Debug, Default)]
struct Page {
    head: Vec<Line>,
    body: Vec<Line>,
}

/// A tag, or a line of text.
#[derive(Clone, Debug)]
struct Line {
    text: String,
    /// The number of the cell, or 0 before the first one.
    cell: u32,
    /// The line of the file.
    number: u32,
}

/// Returns whether a file is a page of a deck: any other one of the author counts by its bytes.
pub(super) fn is_page(text: &str) -> bool {
    text.contains(CELL)
}

/// Returns the first difference of two pages, or `None` if they show the same.
pub(super) fn first_difference(
    (before, after): (&str, &str),
    pictures: (&Pictures, &Pictures),
) -> Option<Found> {
    let (one, other) = (page(before, pictures.0), page(after, pictures.1));
    of_lines(&without_assets(&one.head), &without_assets(&other.head))
        .or_else(|| of_lines(&one.body, &other.body))
}

fn of_lines(before: &[Line], after: &[Line]) -> Option<Found> {
    let differ =
        |index: &usize| before.get(*index).map(|l| &l.text) != after.get(*index).map(|l| &l.text);
    let first = (0..before.len().max(after.len())).find(differ)?;
    let place = after.get(first).or(before.get(first))?;
    let in_cell = place.cell > 0;
    let text = |lines: &[Line]| lines.get(first).map(|line| line.text.trim().to_owned());
    Some(Found {
        cell: in_cell.then_some(place.cell),
        line: (!in_cell).then_some(place.number),
        ..Found::of_lines(text(before).as_deref(), text(after).as_deref())
    })
}

/// Returns the head with one line for all of its styles, and so on: that there are some counts, and not which.
fn without_assets(head: &[Line]) -> Vec<Line> {
    let mut kept: Vec<Line> = Vec::new();
    let mut inside: Option<&str> = None;
    for line in head {
        if let Some(name) = inside {
            if line.text == format!("</{name}>") {
                inside = None;
            }
            continue;
        }
        let rest = line.text.strip_prefix('<').unwrap_or_default();
        let asset = ASSETS.iter().find(|name| {
            let after = rest.strip_prefix(**name);
            after.is_some_and(|after| !after.starts_with(|c: char| c.is_alphanumeric()))
        });
        match asset {
            Some(name) => {
                inside = (!VOID.contains(name)).then_some(*name);
                let text = format!("<{name}>");
                if !kept.iter().any(|line| line.text == text) {
                    kept.push(Line {
                        text,
                        ..line.clone()
                    });
                }
            }
            None if line.text.trim().is_empty() => {}
            None => kept.push(line.clone()),
        }
    }
    kept
}

fn page(text: &str, pictures: &Pictures) -> Page {
    let mut reader = Reader {
        text,
        at: 0,
        counted: 0,
        number: 1,
        cell: 0,
        open: Vec::new(),
        pictures,
        page: Page::default(),
        is_head: false,
    };
    while reader.at < text.len() {
        reader.next();
    }
    reader.page
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    /// Up to where lines were counted.
    counted: usize,
    number: u32,
    cell: u32,
    /// The open elements, and whether each is what a cell printed.
    open: Vec<(String, bool)>,
    pictures: &'t Pictures,
    page: Page,
    is_head: bool,
}

impl<'t> Reader<'t> {
    fn next(&mut self) {
        let rest = &self.text[self.at..];
        if let Some((_, raw)) = self
            .open
            .last()
            .filter(|(name, _)| RAW.contains(&&**name))
            .cloned()
            && let Some(length) = self.raw_length()
            && length > 0
        {
            self.words(&rest[..length], raw, false);
            self.at += length;
        } else if let Some(comment) = rest.strip_prefix("<!--") {
            let length = comment.find("-->").unwrap_or(comment.len());
            self.push(format!("<!--{}-->", &comment[..length]));
            self.at += (4 + length + 3).min(rest.len());
        } else if rest.starts_with("<!") || rest.starts_with("<?") {
            self.at += rest.find('>').map_or(rest.len(), |end| end + 1);
        } else if let Some(name) = rest.strip_prefix("</").filter(|name| is_name(name)) {
            let end = name.find('>').unwrap_or(name.len());
            let name = name[..end].trim().to_ascii_lowercase();
            self.close(&name);
            self.at += (2 + end + 1).min(rest.len());
        } else if rest.starts_with('<') && is_name(&rest[1..]) {
            self.tag();
        } else {
            let length = length_of_text(rest);
            let is_output = self.is_output();
            self.words(&rest[..length], is_output, true);
            self.at += length;
        }
    }

    /// Returns the length of the text up to the end tag of the element that only has text.
    fn raw_length(&self) -> Option<usize> {
        let (name, _) = self.open.last()?;
        let end = format!("</{name}");
        let rest = &self.text.as_bytes()[self.at..];
        let found = rest
            .windows(end.len())
            .position(|bytes| bytes.eq_ignore_ascii_case(end.as_bytes()));
        Some(found.unwrap_or(rest.len()))
    }

    fn is_output(&self) -> bool {
        self.open.last().is_some_and(|(_, is_output)| *is_output)
    }

    fn tag(&mut self) {
        let (name, mut attributes, length) = attributes(&self.text[self.at + 1..]);
        let style = attributes.get("style").cloned();
        if let Some(source) = attributes.get_mut("src") {
            if normal::is_logo(source, style.as_ref()) {
                "logo".clone_into(source);
            } else {
                *source = self.pictures.named(source).into_owned();
            }
        }
        match name.as_str() {
            "head" => self.is_head = true,
            "body" => self.is_head = false,
            _ => {}
        }
        let id = attributes.get("id").map_or("", String::as_str);
        let is_cell = name == "div" && id.starts_with(CELL);
        self.cell += u32::from(is_cell);
        if is_cell {
            // It is a digest of the source, which may have a logo, or code that the page does not show.
            attributes.insert("id".to_owned(), CELL.to_owned());
        }
        let class = attributes.get("class").map_or("", String::as_str);
        let is_output = self.is_output() || class.split_whitespace().any(|class| class == OUTPUT);
        let shown: Vec<String> = attributes
            .iter()
            .map(|(name, value)| format!(" {name}='{value}'"))
            .collect();
        self.push(format!("<{name}{}>", shown.concat()));
        self.at += 1 + length;
        if !VOID.contains(&name.as_str()) {
            self.open.push((name, is_output));
        }
    }

    fn close(&mut self, name: &str) {
        let mut innermost = self.open.iter().rev().take(DEPTH);
        if let Some(place) = innermost.position(|(open, _)| open == name) {
            self.open.truncate(self.open.len() - 1 - place);
        }
        self.push(format!("</{name}>"));
        if name == "head" {
            self.is_head = false;
        }
    }

    fn words(&mut self, text: &str, is_output: bool, has_entities: bool) {
        let text = match has_entities {
            true => decoded(text),
            false => text.to_owned(),
        };
        let text = match is_output {
            true => normal::output(&text).into_owned(),
            false => text,
        };
        for line in text.split('\n') {
            self.push(format!("  {line}"));
        }
    }

    fn push(&mut self, text: String) {
        let passed = &self.text.as_bytes()[self.counted..self.at];
        self.number += passed.iter().filter(|byte| **byte == b'\n').count() as u32;
        self.counted = self.at;
        let line = Line {
            text,
            cell: self.cell,
            number: self.number,
        };
        match self.is_head {
            true => self.page.head.push(line),
            false => self.page.body.push(line),
        }
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
}

/// Returns the length of the text at the beginning, up to what is no text. A `<` that begins nothing is text.
fn length_of_text(rest: &str) -> usize {
    let mut at = rest.chars().next().map_or(0, char::len_utf8);
    while let Some(found) = rest[at..].find('<') {
        let after = &rest[at + found + 1..];
        if after.starts_with(['!', '?'])
            || is_name(after)
            || after.strip_prefix('/').is_some_and(is_name)
        {
            return at + found;
        }
        at += found + 1;
    }
    rest.len()
}

/// Reads a tag after its `<`. Returns its name, its attributes and the length up to behind its `>`.
fn attributes(text: &str) -> (String, BTreeMap<String, String>, usize) {
    let end_of_name = text.find(|c: char| c.is_whitespace() || c == '>' || c == '/');
    let mut at = end_of_name.unwrap_or(text.len());
    let name = text[..at].to_ascii_lowercase();
    let mut found = BTreeMap::new();
    loop {
        let rest = &text[at..];
        let skipped = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        at = text.len() - skipped.len();
        if skipped.is_empty() {
            return (name, found, at);
        }
        if skipped.starts_with('>') {
            return (name, found, at + 1);
        }
        // A `=` in the first place belongs to the name.
        let first = skipped.chars().next().map_or(1, char::len_utf8);
        let is_end = |c: char| c.is_whitespace() || matches!(c, '=' | '>' | '/');
        let length = skipped[first..]
            .find(is_end)
            .map_or(skipped.len(), |end| first + end);
        let attribute = skipped[..length].to_ascii_lowercase();
        at += length;
        let rest = text[at..].trim_start();
        let mut value = String::new();
        if let Some(rest) = rest.strip_prefix('=') {
            let rest = rest.trim_start();
            let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
            let (raw, after) = match quote {
                Some(quote) => rest[1..].split_once(quote).unwrap_or((&rest[1..], "")),
                None => {
                    let end = rest.find(|c: char| c.is_whitespace() || c == '>');
                    rest.split_at(end.unwrap_or(rest.len()))
                }
            };
            value = decoded(raw);
            at = text.len() - after.len();
        }
        found.entry(attribute).or_insert(value);
    }
}

/// Replaces the character references that programs write where others write the character itself.
fn decoded(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        decoded.push_str(&rest[..start]);
        rest = &rest[start..];
        let reference = rest.find(';').filter(|end| *end <= 10);
        match reference.and_then(|end| Some((character(&rest[1..end])?, end))) {
            Some((character, end)) => {
                decoded.push(character);
                rest = &rest[end + 1..];
            }
            None => {
                decoded.push('&');
                rest = &rest[1..];
            }
        }
    }
    decoded.push_str(rest);
    decoded
}

fn character(reference: &str) -> Option<char> {
    if let Some(number) = reference.strip_prefix('#') {
        let hex = number.strip_prefix(['x', 'X']);
        let code = match hex {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code);
    }
    Some(match reference {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(before: &str, after: &str) -> Option<Found> {
        let none = Pictures::default();
        first_difference((before, after), (&none, &none))
    }

    fn output(text: &str) -> String {
        format!(
            "<html><head></head><body>\n<div id=\"cell-id=1a\" class=\"cell\"><div class=\"output_wrapper\"><pre>{text}\n\
             </pre></div><p>{text}</p></div></body></html>"
        )
    }

    #[test]
    fn markup_that_means_the_same_is_the_same() {
        let one = "<!DOCTYPE html><html><body><p class=\"a\" id='b'>x &#39;y&#x27; &quot;z&quot; &gt; &lt; 1</p><br/></body></html>";
        let other = "<html><BODY ><p id=b class=a>x 'y' \"z\" > < 1</p><br></body></html>";
        assert_eq!(compared(one, other), None);
    }

    #[test]
    fn text_that_differs_is_found_with_its_cell() {
        let page = |text: &str| {
            format!(
                "<html>\n<body><div id=\"cell-id=1a\">a</div>\n<div id=\"cell-id=2b\"><p>same\n{text}</p></div></body></html>"
            )
        };
        let found = compared(&page("old"), &page("new")).unwrap();
        assert_eq!(
            (found.cell, found.before.as_deref(), found.after.as_deref()),
            (Some(2), Some("old"), Some("new"))
        );
        let found = compared("<body>\n<p>a</p></body>", "<body>\n<p>b</p></body>").unwrap();
        assert_eq!((found.cell, found.line), (None, Some(2)));
    }

    #[test]
    fn what_is_missing_at_the_end_is_found() {
        let found = compared("<body><p>a</p><p>b</p></body>", "<body><p>a</p></body>").unwrap();
        assert_eq!(
            (found.before.as_deref(), found.after.as_deref()),
            (Some("<p>"), Some("</body>"))
        );
        assert_eq!(compared("", "<p>").unwrap().before, None);
    }

    #[test]
    fn styles_of_the_head_may_differ_and_its_title_not() {
        let page = |head: &str| format!("<html><head>{head}</head><body>a</body></html>");
        let one =
            page("<meta charset=a><title>T</title><style>.a < .b {}</style><script>1<2</script>");
        let other = page(
            "<meta charset=b><meta x=y><title>T</title>\n<style>c</style><script src=q></script>",
        );
        assert_eq!(compared(&one, &other), None);
        let other = other.replace("<title>T", "<title>U");
        assert_eq!(compared(&one, &other).unwrap().after.as_deref(), Some("U"));
        // That there is a style counts.
        assert!(
            compared(
                &one,
                &page("<meta charset=a><title>T</title><script></script>")
            )
            .is_some()
        );
        // Styles in the body are content.
        let body = |style: &str| format!("<body><style>{style}</style></body>");
        assert!(compared(&body("a"), &body("b")).is_some());
    }

    #[test]
    fn addresses_may_differ_in_outputs_only() {
        let (one, other) = (
            output("at 0x7f0000000001").replace("<p>at 0x7f0000000001", "<p>x"),
            output("at 0x7f0000000002").replace("<p>at 0x7f0000000002", "<p>x"),
        );
        assert_eq!(compared(&one, &other), None);
        assert!(compared(&output("at 0x7f0000000001"), &output("at 0x7f0000000002")).is_some());
    }

    #[test]
    fn title_slides_have_the_logo_of_their_tool() {
        let page = |id: &str, logo: &str, title: &str| {
            format!(
                "<body><div class='cell' id='cell-id={id}'><img src='data:image/png;base64,{logo}' alt='A' \
                 style='display:block;margin:auto;width:5%'>{title}</div><div id='cell-id=0'>x</div></body>"
            )
        };
        assert_eq!(
            compared(&page("1", "AAAA", "T"), &page("2", "BBBB", "T")),
            None
        );
        assert_eq!(
            compared(&page("1", "AAAA", "T"), &page("2", "BBBB", "U"))
                .unwrap()
                .cell,
            Some(1)
        );
    }

    #[test]
    fn ids_of_cells_are_no_content() {
        let cell = |id: &str, text: &str| format!("<div id='cell-id={id}'><p>{text}</p></div>");
        let body = |first: &str, second: &str| format!("<body>{first}{second}</body>");
        let one = body(&cell("1", "a"), &cell("2", "b"));
        assert_eq!(
            compared(&one, &body(&cell("3", "a"), &cell("4", "b"))),
            None
        );
        let found = compared(&one, &body(&cell("3", "a"), &cell("4", "c"))).unwrap();
        assert_eq!((found.cell, found.after.as_deref()), (Some(2), Some("c")));
        // Other ids are those of headings, which links name.
        let heading = |id: &str| body(&cell("1", "a"), &format!("<h2 id='{id}'>b</h2>"));
        assert!(compared(&heading("b"), &heading("c")).is_some());
    }

    #[test]
    fn anything_can_be_read() {
        for text in [
            "<",
            "</",
            "<a",
            "<a b",
            "<a b=",
            "<a b='",
            "<!--",
            "<!",
            "< b",
            "a<1",
            "<a/><b c=d/>",
            "&",
            "&;",
            "&#;",
            "&#x110000;",
            "<script>",
            "<script></scrip",
            "<ä>",
            "<a ä='ß'>ö",
            "<?",
            "</div",
            "<title>ä",
            "&ääääääääää;",
        ] {
            assert_eq!(compared(text, text), None, "{text}");
        }
    }
}
