//! What is wrong with XML, as its author sees it.

/// Line and column of an error, from 1. What is missing at the end is missing there.
pub fn place(error: &roxmltree::Error, text: &str) -> (u32, u32) {
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

/// The message without the place, which is reported separately.
pub fn message(error: &roxmltree::Error) -> String {
    let text = error.to_string();
    text.split(" at ").next().unwrap_or(&text).to_owned()
}
