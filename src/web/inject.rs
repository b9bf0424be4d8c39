//! Our program in pages of decks.

use super::answer::escape;

/// What the program needs to know of the page it is in.
pub struct Tag<'a> {
    /// Names the content of the page's file; none when there is none yet.
    pub version: Option<&'a str>,
    /// The last change when the page was read.
    pub change: u64,
    /// Names this server.
    pub epoch: u64,
}

impl Tag<'_> {
    /// The element that loads the program.
    pub fn html(&self) -> String {
        format!(
            "<script src=\"/assets/overlay.js\" data-version=\"{}\" data-change=\"{}\" data-epoch=\"{}\"></script>",
            escape(self.version.unwrap_or_default()),
            self.change,
            self.epoch
        )
    }
}

/// Puts an element at the end of a page's body; at the end of the page when the body has none.
pub fn inject(page: &[u8], element: &str) -> Vec<u8> {
    let end = b"</body";
    let found = page
        .windows(end.len())
        .rposition(|window| window.eq_ignore_ascii_case(end));
    let (before, after) = page.split_at(found.unwrap_or(page.len()));
    [before, element.as_bytes(), after].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_end_of_a_body_counts() {
        let injected = |page: &str| String::from_utf8(inject(page.as_bytes(), "<x>")).unwrap();
        assert_eq!(
            injected("<body>a</body></html>"),
            "<body>a<x></body></html>"
        );
        assert_eq!(
            injected("<body><script>'</body>'</script></BODY >\n"),
            "<body><script>'</body>'</script><x></BODY >\n"
        );
        assert_eq!(injected("no body"), "no body<x>");
        assert_eq!(injected(""), "<x>");
        assert_eq!(inject(b"\xff</body>", "<x>"), b"\xff<x></body>");
    }
}
