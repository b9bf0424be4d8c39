//! The URLs in texts: which of them name files beside the text.

/// Returns the path that a URL names, relative to the directory of its text and without percent-encoding, and the rest of
/// the URL: `#part` or `?query`. Returns `None` if the URL leads to another machine, to the root of a site or of a
/// machine, or to a place in the same page.
pub(crate) fn local(url: &str) -> Option<(String, &str)> {
    let url = url.trim();
    if has_scheme(url) || url.starts_with(['/', '\\']) {
        return None;
    }
    let (path, rest) = url.split_at(url.find(['#', '?']).unwrap_or(url.len()));
    (!path.is_empty()).then(|| (decoded(path), rest))
}

/// Returns whether a URL begins with a scheme, such as `https:` or `data:`, or with a drive.
fn has_scheme(url: &str) -> bool {
    url.split_once(':').is_some_and(|(scheme, _)| {
        let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(is_sign)
    })
}

/// Decodes the percent-encoding of a URL.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, following)) = rest.split_first() {
        let code = following.get(..2).filter(|_| *first == b'%');
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &following[2..];
            }
            None => {
                bytes.push(*first);
                rest = following;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_relative_paths_are_local() {
        for elsewhere in [
            "",
            "#top",
            "?x=1",
            "/root.md",
            "//host/x.md",
            "\\\\host\\x",
            "https://e.org/x.md",
            "mailto:a@b",
            "data:image/png;base64,AA",
            "git+ssh:x",
            "C:\\x.png",
            " https://e.org ",
        ] {
            assert_eq!(local(elsewhere), None, "{elsewhere}");
        }
        for (url, path, rest) in [
            ("../x.md", "../x.md", ""),
            ("img/p%20q.png", "img/p q.png", ""),
            ("a%.md?x#y", "a%.md", "?x#y"),
            ("10:30.png", "10:30.png", ""),
            ("a/b:c.png", "a/b:c.png", ""),
            (" x.md#y ", "x.md", "#y"),
        ] {
            assert_eq!(local(url), Some((path.to_owned(), rest)), "{url}");
        }
    }
}
