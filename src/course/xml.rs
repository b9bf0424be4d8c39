//! Places and messages of XML errors, in a form for authors.

/// Returns the line and column of an error, from 1. If something is missing at the end, that is the end of the text.
pub(crate) fn place(error: &roxmltree::Error, text: &str) -> (u32, u32) {
    if matches!(
        error,
        roxmltree::Error::UnclosedRootNode | roxmltree::Error::UnexpectedEndOfStream
    ) {
        let text = text.trim_end();
        let line = text.matches('\n').count() as u32 + 1;
        let last = text.rsplit('\n').next().unwrap_or_default();
        return (line, last.chars().count() as u32 + 1);
    }
    let position = error.pos();
    (position.row, position.col)
}

/// Returns the message without the place, which is reported separately.
pub(crate) fn message(error: &roxmltree::Error) -> String {
    let text = error.to_string();
    text.split(" at ").next().unwrap_or(&text).to_owned()
}

/// Returns a text as it is written in an element or an attribute.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
