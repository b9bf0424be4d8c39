//! Formats template values as Python does, so that `{{ true }}` is `True`.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Output, State, Value};

use super::text;

/// The maximum depth of a printed value.
const MAX_DEPTH: usize = 100;

/// Writes the value of an expression.
pub(super) fn format(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    if is_plain(value) {
        return minijinja::escape_formatter(out, state, value);
    }
    let mut printed = String::new();
    print(value, MAX_DEPTH, false, &mut printed);
    if printed.len() > MAX_TEXT {
        return Err(ErrorKind::OutOfFuel.into());
    }
    out.write_str(&printed).map_err(Error::from)
}

/// The maximum length of the text of one value, since nested lists grow very quickly.
const MAX_TEXT: usize = 1_000_000;

/// Returns whether the engine formats the value as Python does.
fn is_plain(value: &Value) -> bool {
    match value.kind() {
        ValueKind::Bool | ValueKind::None | ValueKind::Seq | ValueKind::Iterable => false,
        ValueKind::Map => value.as_object().is_none(),
        ValueKind::Number => value.is_integer(),
        _ => true,
    }
}

fn print(value: &Value, depth: usize, quoted: bool, out: &mut String) {
    let Some(depth) = depth.checked_sub(1) else {
        out.push_str("...");
        return;
    };
    if out.len() > MAX_TEXT {
        return;
    }
    match value.kind() {
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::None => out.push_str("None"),
        ValueKind::Number if !value.is_integer() => match f64::try_from(value.clone()) {
            Ok(float) => out.push_str(&text::float_text(float)),
            Err(_) => out.push_str(&value.to_string()),
        },
        ValueKind::String if quoted => quote(value.as_str().unwrap_or_default(), out),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (index, item) in value.try_iter().into_iter().flatten().enumerate() {
                if out.len() > MAX_TEXT {
                    return;
                }
                if index > 0 {
                    out.push_str(", ");
                }
                print(&item, depth, true, out);
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            for (index, key) in value.try_iter().into_iter().flatten().enumerate() {
                if out.len() > MAX_TEXT {
                    return;
                }
                if index > 0 {
                    out.push_str(", ");
                }
                print(&key, depth, true, out);
                out.push_str(": ");
                print(&value.get_item(&key).unwrap_or_default(), depth, true, out);
            }
            out.push('}');
        }
        _ => out.push_str(&value.to_string()),
    }
}

fn quote(text: &str, out: &mut String) {
    let sign = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(sign);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == sign => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.push(sign);
}
