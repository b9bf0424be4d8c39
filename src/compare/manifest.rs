//! The first difference of two lists of outputs. Times, commits and digests do not matter: the files are compared
//! themselves. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::texts::{self, Found};

/// The name of the list in the directory of a target.
pub(super) const NAME: &str = ".clm-manifest.json";

/// What may differ between two builds of the same sources.
const ANY: [&str; 5] = [
    "built_at",
    "source_commit",
    "source_dirty",
    "adopted",
    "files",
];

/// Returns the first difference of two lists, or `None` if they mean the same. A file that only one of them has is none if
/// it is reported itself: `is_in_both` is whether both builds have it.
pub(super) fn first_difference(
    before: &str,
    after: &str,
    is_in_both: &dyn Fn(&str) -> bool,
) -> Option<Found> {
    let parse = |text: &str| serde_json::from_str::<Map<String, Value>>(text).ok();
    let (Some(one), Some(other)) = (parse(before), parse(after)) else {
        return Some(texts::first_difference(before, after));
    };
    let shown = |value: Option<&Value>| value.map(Value::to_string);
    for name in one.keys().chain(other.keys()) {
        let values = (one.get(name), other.get(name));
        if values.0 != values.1 && !ANY.contains(&name.as_str()) {
            return Some(Found::between(
                format!("`{name}`"),
                shown(values.0),
                shown(values.1),
            ));
        }
    }
    let (one, other) = (files(&one), files(&other));
    for path in one.keys().chain(other.keys()) {
        let values = (one.get(path), other.get(path));
        let is_listed = values.0.is_some() && values.1.is_some();
        if values.0 != values.1 && (is_listed || is_in_both(path)) {
            return Some(Found::between(
                format!("the entry of `{path}`"),
                shown(values.0),
                shown(values.1),
            ));
        }
    }
    None
}

/// Returns the entries by their paths, without digests.
fn files(manifest: &Map<String, Value>) -> BTreeMap<String, Value> {
    let files = manifest.get("files").and_then(Value::as_array);
    let entries = files.into_iter().flatten().filter_map(|entry| {
        let mut entry = entry.clone();
        let fields = entry.as_object_mut()?;
        fields.remove("content_hash");
        let path = fields.get("path")?.as_str()?.to_owned();
        Some((path, entry))
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn list(target: &str, time: &str, files: &[(&str, &str)]) -> String {
        let files: Vec<Value> = files
            .iter()
            .map(|(path, kind)| json!({"path": path, "kind": kind, "content_hash": time}))
            .collect();
        json!({"target": target, "built_at": time, "source_commit": time, "files": files})
            .to_string()
    }

    fn compared(before: &str, after: &str) -> Option<String> {
        first_difference(before, after, &|path| path == "both").and_then(|found| found.what)
    }

    #[test]
    fn times_commits_and_digests_do_not_matter() {
        let files = [("a", "x"), ("b", "y")];
        assert_eq!(
            compared(&list("t", "1", &files), &list("t", "2", &files)),
            None
        );
    }

    #[test]
    fn heads_and_entries_do() {
        let one = list("t", "1", &[("a", "x")]);
        assert_eq!(
            compared(&one, &list("u", "1", &[("a", "x")])).as_deref(),
            Some("`target`")
        );
        assert_eq!(
            compared(&one, &list("t", "1", &[("a", "y")])).as_deref(),
            Some("the entry of `a`")
        );
    }

    #[test]
    fn files_that_are_reported_themselves_are_not_reported_again() {
        let one = list("t", "1", &[("a", "x")]);
        assert_eq!(
            compared(&one, &list("t", "1", &[("a", "x"), ("new", "x")])),
            None
        );
        assert_eq!(
            compared(&one, &list("t", "1", &[("a", "x"), ("both", "x")])).as_deref(),
            Some("the entry of `both`")
        );
    }

    #[test]
    fn a_list_that_is_none_is_compared_as_text() {
        let found = first_difference("[", "{", &|_| true).unwrap();
        assert_eq!(found.line, Some(1));
    }
}
