//! Settings of the Python tool in `clm.toml`, which both tools read.
//!
//! Settings with an equivalent are taken over if the file does not contain clm's own setting. All others are listed in
//! a single note.

use toml::Table;
use toml::Value;

use crate::diagnostic::{Diagnostic, Severity};

use super::{SETTINGS_FILE, Settings};

/// Sections of the Python tool that clm does not have.
const SECTIONS: &[&str] = &[
    "cassettes",
    "docker",
    "external_tools",
    "git",
    "http_replay",
    "jupyter",
    "llm",
    "logging",
    "paths",
    "recordings",
    "release",
    "retention",
    "telemetry",
    "voiceover",
    "worker_management",
];

/// Keys that only the Python tool has, in a section that both have.
const WORKER_KEYS: &[&str] = &["worker_type", "worker_id", "use_sqlite_queue"];

/// clm's keys in the section `[cache]`, which the Python tool has as well.
const CACHE_KEYS: &[&str] = &["max_size", "max_age"];

/// Returns whether a key of the section `[cache]` belongs to the Python tool. A likely misspelling of one of clm's keys
/// does not.
fn is_foreign_cache_key(key: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    !key.is_empty()
        && key.chars().all(is_name)
        && (CACHE_KEYS.iter()).all(|own| strsim::damerau_levenshtein(key, own) > 3)
}

/// Returns the text of a settings file with the lines of the Python tool emptied, so that line numbers stay the same.
pub(super) fn without_foreign(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut section = String::new();
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim_start();
        if let Some(header) = trimmed.strip_prefix('[') {
            let name = header.trim_start_matches('[').trim_start();
            let end = |c: char| matches!(c, ']' | '.') || c.is_whitespace();
            let name = name.split(end).next().unwrap_or_default();
            section = name.trim_matches(['"', '\'']).to_owned();
        }
        let key = trimmed.split(['=', '.', ' ']).next().unwrap_or_default();
        let is_foreign = SECTIONS.contains(&section.as_str())
            || (section == "workers" && WORKER_KEYS.contains(&key))
            || (section == "cache" && is_foreign_cache_key(key.trim()))
            || (section.is_empty() && SECTIONS.contains(&key));
        if !is_foreign {
            kept.push_str(line);
        } else if line.ends_with('\n') {
            kept.push('\n');
        }
    }
    kept
}

/// Takes over settings of the Python tool that have an equivalent, and adds a note about all of them.
pub(super) fn take_over(text: &str, settings: &mut Settings) {
    let Ok(table) = text.parse::<Table>() else {
        return;
    };
    let mut taken = take_over_workers(&table, settings);
    taken.extend(take_over_kernel(&table, settings));
    let foreign = foreign_keys(&table);
    if foreign.is_empty() {
        return;
    }
    let message = format!("{} belong to the Python tool", foreign.join(", "));
    let message = match taken.is_empty() {
        true => format!("{message} and have no effect"),
        false => format!("{message}; taken over: {}", taken.join(", ")),
    };
    settings
        .notes
        .push(Diagnostic::new(Severity::Note, message).at(SETTINGS_FILE, None));
}

/// Takes over the numbers of workers, and returns what was taken over as parts of the note.
fn take_over_workers(table: &Table, settings: &mut Settings) -> Vec<String> {
    let mut taken = Vec::new();
    let Some(management) = table.get("worker_management") else {
        return taken;
    };
    let count = |value: Option<&Value>| {
        let number = usize::try_from(value?.as_integer()?).ok()?;
        (1..=64).contains(&number).then_some(number)
    };
    let default = count(management.get("default_worker_count"));
    let workers = &mut settings.workers;
    for (name, slot) in [
        ("notebook", &mut workers.notebook),
        ("plantuml", &mut workers.plantuml),
        ("drawio", &mut workers.drawio),
    ] {
        let own = count(management.get(name).and_then(|own| own.get("count")));
        if let Some(number) = own.or(default)
            && slot.is_none()
        {
            *slot = Some(number);
            taken.push(format!("{number} {name} workers"));
        }
    }
    taken
}

/// Takes over the interpreter and the time limit of kernels, and returns what was taken over as parts of the note.
fn take_over_kernel(table: &Table, settings: &mut Settings) -> Vec<String> {
    let mut taken = Vec::new();
    let Some(jupyter) = table.get("jupyter") else {
        return taken;
    };
    let notebook = &mut settings.notebook;
    let own = table.get("notebook");
    let is_set = |key: &str| own.is_some_and(|own| own.get(key).is_some());
    let python = jupyter.get("kernel_python").and_then(Value::as_str);
    if let Some(python) = python.map(str::trim).filter(|python| !python.is_empty())
        && !is_set("kernel_python")
    {
        notebook.kernel_python = Some(python.to_owned());
        taken.push(format!("the kernel's Python `{python}`"));
    }
    let timeout = jupyter.get("cell_timeout_seconds").and_then(|value| {
        // A fraction of a second is rounded up, since 0 would mean no limit.
        let whole = value
            .as_integer()
            .or_else(|| Some(value.as_float()?.ceil() as i64));
        whole.and_then(|seconds| u64::try_from(seconds).ok())
    });
    if let Some(seconds) = timeout
        && !is_set("cell_timeout")
    {
        notebook.cell_timeout = seconds;
        taken.push(format!("{seconds} s for a cell"));
    }
    taken
}

/// Returns the sections and keys that only the Python tool has, as parts of the note.
fn foreign_keys(table: &Table) -> Vec<String> {
    let sections = SECTIONS.iter().filter(|name| table.contains_key(**name));
    let has_worker_key = |key: &&&str| {
        let own = table.get("workers");
        own.is_some_and(|own| own.get(**key).is_some())
    };
    let of_workers = WORKER_KEYS.iter().filter(has_worker_key);
    let cache = table.get("cache").and_then(Value::as_table);
    let of_cache = cache.into_iter().flat_map(Table::keys);
    let of_cache = of_cache.filter(|key| is_foreign_cache_key(key));
    sections
        .map(|name| format!("`[{name}]`"))
        .chain(of_workers.map(|key| format!("`workers.{key}`")))
        .chain(of_cache.map(|key| format!("`cache.{key}`")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_python_tool_are_taken_over_or_noted() {
        let text = "[worker_management]\ndefault_worker_count = 2\n[worker_management.drawio]\ncount = 1\n\n[jupyter]\n\
                    kernel_python = \"\"\ncell_timeout_seconds = 60\n[git]\nremote_path = \"g/x\"\n[workers]\n\
                    use_sqlite_queue = true\nplantuml = 3\n[llm]\nmodel = \"x\"\n";
        let settings = Settings::parse(text).unwrap();
        let workers = &settings.workers;
        assert_eq!(
            (workers.notebook, workers.plantuml, workers.drawio),
            (Some(2), Some(3), Some(1))
        );
        assert_eq!(settings.notebook.cell_timeout, 60);
        assert_eq!(settings.notebook.kernel_python, None);
        let [note] = settings.notes.as_slice() else {
            panic!("{:?}", settings.notes);
        };
        assert!(note.message.contains(
            "`[git]`, `[jupyter]`, `[llm]`, `[worker_management]`, `workers.use_sqlite_queue`"
        ));

        // Both tools have a section of this name.
        let both = Settings::parse("[cache]\npath = \"x.db\"\nmax_size = 5\n").unwrap();
        assert_eq!(both.cache.max_size, Some(5));
        assert!(both.notes[0].message.contains("`cache.path`"));
        assert!(Settings::parse("[cache]\nmax_sise = 5\n").is_err());

        // clm's own settings take precedence, and errors in them have a line.
        let own =
            Settings::parse("[jupyter]\ncell_timeout_seconds = 60\n[notebook]\ncell_timeout = 5\n");
        assert_eq!(own.unwrap().notebook.cell_timeout, 5);
        let error = Settings::parse("[llm]\nmodel = \"x\"\n\n[diagrams]\ndip = 1\n").unwrap_err();
        assert_eq!(error.diagnostics[0].line, Some(5));
        assert!(Settings::parse("[jupiter]\nx = 1\n").is_err());
        assert_eq!(Settings::parse("[diagrams]\ndpi = 1\n").unwrap().notes, []);
    }
}
