//! Methods of Python's strings and dictionaries that templates commonly call.

use std::borrow::Cow;

use minijinja::value::{Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};

/// Calls a method that the template engine does not have.
pub(super) fn call(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        // The engine only charges for generated text, so the input is charged here.
        charge(state, text.len())?;
    }
    match value.kind() {
        ValueKind::String => of_text(state, value.as_str().unwrap_or_default(), method, args),
        ValueKind::Map => of_map(value, method, args),
        _ => Err(unknown(method)),
    }
}

fn unknown(method: &str) -> Error {
    Error::new(
        ErrorKind::UnknownMethod,
        format!("there is no method `{method}`"),
    )
}

fn invalid(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// Consumes fuel for bytes.
fn charge(state: &State, bytes: usize) -> Result<(), Error> {
    state.consume_fuel(bytes as u64 / 64 + 1)
}

fn of_text(state: &State, text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    let no_args = || from_args::<()>(args);
    let signs = || from_args::<(Option<&str>,)>(args).map(|(signs,)| signs);
    let is_end = |signs: Option<&str>, c: char| match signs {
        Some(signs) => signs.contains(c),
        None => super::text::is_space(c),
    };
    Ok(match method {
        "upper" => {
            no_args()?;
            text.to_uppercase().into()
        }
        "lower" => {
            no_args()?;
            text.to_lowercase().into()
        }
        "strip" => {
            let signs = signs()?;
            text.trim_matches(|c| is_end(signs, c)).into()
        }
        "lstrip" => {
            let signs = signs()?;
            text.trim_start_matches(|c| is_end(signs, c)).into()
        }
        "rstrip" => {
            let signs = signs()?;
            text.trim_end_matches(|c| is_end(signs, c)).into()
        }
        "startswith" => {
            let (start,) = from_args::<(&str,)>(args)?;
            text.starts_with(start).into()
        }
        "endswith" => {
            let (end,) = from_args::<(&str,)>(args)?;
            text.ends_with(end).into()
        }
        "replace" => {
            let (old, new) = from_args::<(&str, &str)>(args)?;
            if text.len().saturating_mul(new.len() + 1) > MAX_TEXT {
                return Err(invalid("the text grows too long"));
            }
            text.replace(old, new).into()
        }
        "split" => split(text, signs()?)?,
        "splitlines" => {
            no_args()?;
            super::text::split_lines(text)
                .into_iter()
                .map(Value::from)
                .collect()
        }
        "join" => {
            let (items,) = from_args::<(&Value,)>(args)?;
            join(state, text, items)?.into()
        }
        _ => return Err(unknown(method)),
    })
}

fn split(text: &str, separator: Option<&str>) -> Result<Value, Error> {
    match separator {
        None => Ok(text.split_whitespace().map(Value::from).collect()),
        Some("") => Err(invalid("the separator is empty")),
        Some(separator) => Ok(text.split(separator).map(Value::from).collect()),
    }
}

fn join(state: &State, separator: &str, items: &Value) -> Result<String, Error> {
    let mut joined = String::new();
    for (index, item) in items.try_iter()?.enumerate() {
        let Some(item) = item.as_str() else {
            // As in Python. This also prevents nested lists from growing into long texts.
            let kind = item.kind();
            return Err(invalid(format!(
                "`join` joins texts, and item {index} is a {kind}"
            )));
        };
        let separator = if index > 0 { separator } else { "" };
        charge(state, separator.len() + item.len())?;
        joined.push_str(separator);
        joined.push_str(item);
    }
    Ok(joined)
}

/// The maximum length of a text.
const MAX_TEXT: usize = 10_000_000;

fn of_map(map: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    if method == "get" {
        let (key, default) = from_args::<(&Value, Option<Value>)>(args)?;
        let found = map.get_item(key)?;
        return Ok(if found.is_undefined() {
            default.unwrap_or(Value::from(()))
        } else {
            found
        });
    }
    from_args::<()>(args)?;
    let keys = map.try_iter()?;
    match method {
        "keys" => Ok(keys.collect()),
        "values" => keys.map(|key| map.get_item(&key)).collect(),
        "items" => keys
            .map(|key| Ok(Value::from(vec![key.clone(), map.get_item(&key)?])))
            .collect(),
        _ => Err(unknown(method)),
    }
}
