//! Conversion of titles to file names.

/// Replaces characters that are not allowed in file names, as the course format defines it.
pub(crate) fn sanitize(text: &str) -> String {
    let text = text.replace("C#", "CSharp");
    let name: String = text
        .trim()
        .chars()
        .filter_map(|c| match c {
            '{' | '[' => Some('('),
            '}' | ']' => Some(')'),
            '/' | '\\' | '$' | '#' | '%' | '&' | '<' | '>' | '*' | '=' | '^' | '€' | '|' => {
                Some('_')
            }
            ';' | '!' | '?' | '"' | '\'' | '`' | ':' => None,
            // The format does not exclude these, but they are not allowed in file names.
            '\0'..='\x1f' => None,
            c => Some(c),
        })
        .collect();
    if name.chars().all(|c| c == '.' || c == ' ') {
        return name.replace('.', "_");
    }
    name
}
