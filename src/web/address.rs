//! Addresses of outputs: `/out/<target>/<path below the target's directory>`.

/// The prefix of the addresses of outputs.
pub const OUTPUTS: &str = "/out/";

/// Returns the address of an output.
pub fn address(target: &str, path: &str) -> String {
    let mut text = String::from(OUTPUTS);
    encode(target, &mut text);
    for segment in path.split('/') {
        text.push('/');
        encode(segment, &mut text);
    }
    text
}

/// Parses an address to a target and the path below it. Returns `None` if the address is not of an output, or its path
/// tries to leave the target's directory.
pub fn parse(address: &str) -> Option<(String, String)> {
    let (target, path) = address.strip_prefix(OUTPUTS)?.split_once('/')?;
    let target = decode(target)?;
    let mut segments = Vec::new();
    for segment in path.split('/') {
        let segment = decode(segment)?;
        let is_escape = segment.is_empty()
            || segment == "."
            || segment == ".."
            || segment.contains(['/', '\\', '\0']);
        if is_escape {
            return None;
        }
        segments.push(segment);
    }
    Some((target, segments.join("/")))
}

/// Returns the decoded value of a field in a query such as `a=1&b=2`.
pub fn query_value(query: &str, name: &str) -> Option<String> {
    query
        .split('&')
        .filter_map(|field| field.split_once('='))
        .find(|(field, _)| *field == name)
        .and_then(|(_, value)| decode(value))
}

fn encode(segment: &str, text: &mut String) {
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// Decodes percent-encoding. Returns `None` if it is invalid or the result is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let value = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive() {
        for (target, path) in [
            (
                "shared",
                "c-de/Folien/Html/Code-Along/Größe & Maß/01 Was%20?.html",
            ),
            ("a/b c", "x#y/ü.png"),
            ("t", "..x/...y"),
        ] {
            let text = address(target, path);
            assert!(
                text.is_ascii() && !text.contains([' ', '?', '#', '&']),
                "{text}"
            );
            assert_eq!(parse(&text), Some((target.to_owned(), path.to_owned())));
        }
    }

    #[test]
    fn nothing_leaves_a_directory() {
        for bad in [
            "/out/t/../x",
            "/out/t/%2e%2e/x",
            "/out/t/%2E./x",
            "/out/t/a/./x",
            "/out/t//x",
            "/out/t/a/",
            "/out/t/..%2fx",
            "/out/t/..%5cx",
            "/out/t/a\\b",
            "/out/t/a%00.html",
            "/out/t/%ff",
            "/out/t/%4",
            "/out/t/%+1",
            "/out/t/%zz",
            "/out/t",
            "/etc/passwd",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn values_of_queries() {
        let query = "page=%2Fout%2Ft%2Fa%2520b&token=x";
        assert_eq!(query_value(query, "page").as_deref(), Some("/out/t/a%20b"));
        assert_eq!(query_value(query, "token").as_deref(), Some("x"));
        assert_eq!(query_value(query, "tok"), None);
    }
}
