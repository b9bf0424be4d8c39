//! A parser for the subset of YAML in a script's metadata block: nested keys with plain values.

use serde_json::{Map, Value};

/// Parses nested `key: value` lines. Other lines are ignored: this metadata describes the author's tools and does not
/// affect any output.
pub(super) fn parse(lines: &[String]) -> Map<String, Value> {
    let mut root = Map::new();
    // The open maps: the indentation of their keys, and their keys.
    let mut open: Vec<(usize, String)> = Vec::new();
    for line in lines {
        let body = line.trim_start();
        let indent = line.len() - body.len();
        let Some((key, value)) = body.split_once(':') else {
            continue;
        };
        if body.starts_with(['#', '-']) {
            continue;
        }
        while open.last().is_some_and(|(of_open, _)| *of_open >= indent) {
            open.pop();
        }
        let map = inner_map(&mut root, &open);
        let key = unquote(key.trim()).to_owned();
        let value = value.trim();
        if value.is_empty() {
            map.insert(key.clone(), Value::Null);
            open.push((indent, key));
            // Metadata of notebooks is never nested as deeply as this.
            if open.len() > 16 {
                break;
            }
        } else {
            map.insert(key, scalar(value));
        }
    }
    root
}

/// Returns the map at a path. Other values on the path are replaced by maps.
fn inner_map<'a>(
    map: &'a mut Map<String, Value>,
    path: &[(usize, String)],
) -> &'a mut Map<String, Value> {
    let Some(((_, key), path)) = path.split_first() else {
        return map;
    };
    if !map.get(key).is_some_and(Value::is_object) {
        map.insert(key.clone(), Value::Object(Map::new()));
    }
    match map.get_mut(key) {
        Some(Value::Object(inner)) => inner_map(inner, path),
        // It was replaced by a map above.
        _ => unreachable!("the key has an object"),
    }
}

fn unquote(text: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote)) {
            return inner;
        }
    }
    text
}

fn scalar(text: &str) -> Value {
    let inner = unquote(text);
    if inner.len() != text.len() {
        return inner.into();
    }
    match text {
        "true" => return true.into(),
        "false" => return false.into(),
        "null" | "~" => return Value::Null,
        _ => {}
    }
    match serde_json::from_str::<Value>(text) {
        Ok(value @ Value::Number(_)) => value,
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_keys_are_read() {
        let text = "  kernelspec:\n    display_name: Python 3\n    name: 'python3'\n  jupytext:\n    a:\n      b: 1.5\n  x: true\nnonsense\n- y: 1";
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        assert_eq!(
            Value::Object(parse(&lines)),
            json!({
                "kernelspec": {"display_name": "Python 3", "name": "python3"},
                "jupytext": {"a": {"b": 1.5}},
                "x": true,
            })
        );
    }
}
