//! Inserts the preview's script into the pages of decks.

use super::answer::escape;

/// The data of a page that its script needs.
pub struct Tag<'a> {
    /// The version of the page's file; `None` if there is no file yet.
    pub version: Option<&'a str>,
    /// The number of the last change when the page was read.
    pub change: u64,
    /// The identity of this server.
    pub epoch: u64,
}

impl Tag<'_> {
    /// Returns the element that loads the script.
    pub fn html(&self) -> String {
        format!(
            "<script src=\"/assets/overlay.js\" data-version=\"{}\" data-change=\"{}\" data-epoch=\"{}\"></script>",
            escape(self.version.unwrap_or_default()),
            self.change,
            self.epoch
        )
    }
}

/// Inserts an element at the end of a page's body, or at the end of the page if it has no body.
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
