//! Converts the content of one message to an output of `nbformat`. Pure.

use serde_json::{Map, Value, json};

/// Returns the `nbformat` output of a message; `None` if the message lacks a required part.
pub(super) fn output_of(kind: &str, mut content: Value) -> Option<Value> {
    let mut take = |name: &str| content.get_mut(name).map(Value::take);
    Some(match kind {
        "error" => json!({
            "output_type": "error",
            "ename": take("ename")?,
            "evalue": take("evalue")?,
            "traceback": take("traceback")?,
        }),
        _ => {
            let data = joined(take("data")?);
            let metadata = take("metadata").unwrap_or_else(|| Value::Object(Map::new()));
            let mut output = json!({"output_type": kind, "data": data, "metadata": metadata});
            if kind == "execute_result" {
                output["execution_count"] = take("execution_count").unwrap_or(Value::Null);
            }
            output
        }
    })
}

/// Joins the texts of a MIME bundle that are lists of lines, as `nbformat` does in memory.
fn joined(data: Value) -> Value {
    let Value::Object(bundle) = data else {
        return Value::Object(Map::new());
    };
    let join = |(mime, value): (String, Value)| {
        let is_json = mime == "application/json" || mime.ends_with("+json");
        let value = match value {
            Value::Array(parts) if !is_json && parts.iter().all(Value::is_string) => {
                Value::String(parts.iter().filter_map(Value::as_str).collect())
            }
            value => value,
        };
        (mime, value)
    };
    Value::Object(bundle.into_iter().map(join).collect())
}

/// Returns the approximate size of a value as JSON, in bytes.
pub(super) fn size_of(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| size_of(item) + 1).sum::<usize>() + 2,
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| name.len() + 4 + size_of(value);
            fields.iter().map(field).sum::<usize>() + 2
        }
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_in_pieces_are_joined_but_not_json() {
        let data = json!({"text/html": ["<b>", "</b>"], "application/json": ["a", "b"]});
        let content = json!({"data": data, "execution_count": 3, "transient": {}});
        assert_eq!(
            output_of("execute_result", content),
            Some(
                json!({"output_type": "execute_result", "execution_count": 3, "metadata": {},
                "data": {"text/html": "<b></b>", "application/json": ["a", "b"]}})
            )
        );
    }
}
