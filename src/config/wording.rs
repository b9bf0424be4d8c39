//! Rewording of the settings parser's errors in terms of the settings file.

/// Rewords a message of the parser, which names Rust types and not the setting. `written` is the line with the error.
pub(super) fn reworded(message: &str, written: &str) -> String {
    if let Some((unknown, known)) = message
        .strip_prefix("unknown field ")
        .and_then(|rest| rest.split_once(", expected "))
    {
        let known = known.trim_start_matches("one of ");
        return format!("there is no setting or section {unknown} here; there are {known}");
    }
    let wrong_type = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "));
    let Some((found, expected)) = wrong_type.and_then(|wrong| wrong.split_once(", expected "))
    else {
        return message.to_owned();
    };
    let found = match found.split_once(' ') {
        Some(("string", value)) => format!("the text {value}"),
        // A number that is too large is followed by its Rust type.
        Some(("integer", value)) => {
            format!("the number {}", value.split(" as ").next().unwrap_or(value))
        }
        Some(("floating", value)) => format!("the number {}", value.trim_start_matches("point ")),
        Some(("boolean", value)) => value.to_owned(),
        _ if found == "sequence" => "a list".to_owned(),
        _ if found == "map" => "a section".to_owned(),
        _ => found.to_owned(),
    };
    let expected = match expected {
        "u16" | "u32" | "u64" | "usize"
            if found.starts_with("the number") && !found.contains('-') =>
        {
            "a smaller whole number"
        }
        "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "a boolean" => "`true` or `false`",
        "a string" => "a text in quotes",
        "a sequence" => "a list, such as `[\"a\", \"b\"]`",
        _ if expected.starts_with("struct ") || expected == "a map" => {
            "a section in brackets, such as `[notebook]`"
        }
        other => other,
    };
    let key = written.split('=').next().unwrap_or_default().trim();
    match key.is_empty() || key == written.trim() {
        true => format!("{found} is not {expected}"),
        false => format!("`{key}` must be {expected}, but is {found}"),
    }
}

/// Returns the expected name nearest to the unknown one in a message such as ``unknown field `dip`, expected one of
/// `dpi`, `limit` ``.
pub(super) fn suggestion(message: &str) -> Option<&str> {
    let mut names = message.split('`').skip(1).step_by(2);
    let unknown = names.next()?;
    if !message.starts_with("unknown field") {
        return None;
    }
    names
        .map(|name| (strsim::damerau_levenshtein(unknown, name), name))
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, name)| name)
}
