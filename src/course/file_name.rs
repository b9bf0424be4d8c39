//! Titles as file names.

/// Makes a text fit for a file name, as the course format defines it.
pub fn sanitize(text: &str) -> String {
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
            // Not in the format, but no file system takes it.
            '\0'..='\x1f' => None,
            c => Some(c),
        })
        .collect();
    if name.chars().all(|c| c == '.' || c == ' ') {
        return name.replace('.', "_");
    }
    name
}
