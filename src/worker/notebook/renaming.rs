//! Replaces names in outputs that differ in every run by fixed ones. Pure.

use serde_json::Value;

/// Names that differ in every run and appear in warnings and tracebacks: the kernel's directory, its process id. They
/// are replaced by fixed ones, so that the same cells produce the same bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Renaming(pub(super) Vec<(String, String)>);

impl Renaming {
    /// Replaces the names in all texts of a value.
    pub(super) fn apply(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                for (from, to) in &self.0 {
                    if text.contains(from.as_str()) {
                        *text = text.replace(from.as_str(), to);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.apply(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.apply(field)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn accidental_names_become_fixed_ones_wherever_they_are() {
        let renaming = Renaming(vec![
            ("ipykernel_123/".into(), "ipykernel/".into()),
            ("/run/k1/work".into(), "/tmp/clm".into()),
        ]);
        let mut output = json!({"text": "/tmp/ipykernel_123/4.py:1: W", "count": 1,
            "traceback": ["in /run/k1/work/a.py", "and /run/k1/work"]});
        renaming.apply(&mut output);
        assert_eq!(
            output,
            json!({"text": "/tmp/ipykernel/4.py:1: W", "count": 1,
                "traceback": ["in /tmp/clm/a.py", "and /tmp/clm"]})
        );
    }
}
