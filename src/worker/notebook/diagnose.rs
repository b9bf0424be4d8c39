//! Diagnostics for errors in cells: line, message, advice. Pure.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::course::ProgLang;
use crate::diagnostic::Diagnostic;
use crate::error::hint_in_text;
use crate::worker::WorkerError;
use crate::worker::renderers::Kernels;
use crate::worker::request::{CodeCell, ExecuteWork};

/// ANSI escape sequences, for colours and the like.
static TERMINAL_CODE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\x1b\[[0-9;?]*[A-Za-z]").ok());
/// A frame of a traceback in a cell: its prompt number and the line.
static CELL_FRAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?:Cell |Input )?In ?\[(\d+)\], (?:line|in <cell line:) (\d+)").ok()
});
/// The name of a cell's file in the kernel: a number in a temporary directory.
static CELL_FILE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[^\s\x22'(<]*ipykernel_?\d*/\d+\.py|\b\d{6,}\.py\b").ok());
/// The end of a syntax error's message that names the file of a cell and the line in it.
static IN_CELL_FILE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r" \(\d{6,}\.py, line \d+\)$").ok());
/// The end of a syntax error's message that names another file.
static IN_FILE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\(([^()]+\.py), line (\d+)\)$").ok());
/// The module that a failed import looked for.
static MISSING_MODULE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"No module named '(?<name>[^']+)'(?:; '(?<file>[^']+)' is not a package)?").ok()
});

/// An exception that a cell raised.
pub(super) struct Exception {
    /// The number in the prompt of the cell.
    pub(super) count: Option<i64>,
    /// The kernel's reply: `ename`, `evalue`, `traceback`.
    pub(super) reply: Value,
    /// What the cell had printed before.
    pub(super) printed: String,
}

/// Where an exception was raised.
pub(super) struct Place<'a> {
    /// The deck.
    pub(super) file: &'a str,
    /// The failing cell.
    pub(super) cell: &'a CodeCell,
    /// The kernelspec's name.
    pub(super) kernel: &'a str,
    /// The executable that runs the kernel.
    pub(super) program: &'a str,
    /// Whether the cells run in the directory of their notebook, as those of folders without `course.xml` do.
    pub(super) is_in_folder: bool,
}

impl Place<'_> {
    /// Returns the diagnostic for an exception.
    pub(super) fn diagnostic(&self, exception: &Exception) -> Diagnostic {
        let reply = &exception.reply;
        let field = |name: &str| reply.get(name).and_then(Value::as_str).unwrap_or_default();
        let (name, text) = (field("ename"), field("evalue"));
        let lines = reply.get("traceback").and_then(Value::as_array);
        let lines = lines.into_iter().flatten().filter_map(Value::as_str);
        let traceback = lines.collect::<Vec<_>>().join("\n");
        let is_own = IN_CELL_FILE.as_ref().is_some_and(|end| end.is_match(text));
        let line = line_in_cell(&traceback, exception.count)
            .and_then(|number| line_of(self.cell, number))
            .or(self.cell.line);
        let first = text.lines().next().unwrap_or_default();
        let message = headline(self.named(name).trim(), self.named(first).trim());
        let diagnostic = Diagnostic::error(message)
            .at(self.file, line)
            .cell(self.cell.cell)
            .hint(self.hint(name, text, is_own));
        // Compilers print their messages instead.
        let detail = if traceback.trim().is_empty() {
            last_lines(&exception.printed)
        } else {
            self.named(&traceback)
        };
        if detail.is_empty() {
            return diagnostic;
        }
        diagnostic.detail(detail)
    }

    /// Replaces the kernel's name for the cell in a text by the name of the deck.
    fn named(&self, text: &str) -> String {
        let text = match &*IN_CELL_FILE {
            Some(end) => end.replace(text, ""),
            None => text.into(),
        };
        match &*CELL_FILE {
            Some(name) => {
                let cell = format!("cell {} of {}", self.cell.cell, self.file);
                name.replace_all(&text, cell).into_owned()
            }
            None => text.into_owned(),
        }
    }

    /// Returns advice about an exception for which it matters where cells run.
    fn hint_in_folder(&self, name: &str) -> Option<String> {
        Some(match name {
            "FileNotFoundError" => {
                "cells run in the directory of their notebook: use a path relative to that"
                    .to_owned()
            }
            "StdinNotImplementedError" => {
                "`input()` gets no answer during a build: use a fixed value, or give the cell \
                 the tag `skip-execution`"
                    .to_owned()
            }
            "PermissionError" => {
                "cells run with your rights, in the directory of their notebook".to_owned()
            }
            _ => return None,
        })
    }

    /// Returns advice about a module that Python does not find. Python names the first part of a dotted name that is
    /// missing, so the packages before the last part are installed.
    fn missing_module(&self, text: &str) -> String {
        let environment = format!(
            "the environment of the kernel `{}` (`{}`)",
            self.kernel, self.program
        );
        let found = MISSING_MODULE
            .as_ref()
            .and_then(|regex| regex.captures(text));
        let name = found.as_ref().map(|found| &found["name"]);
        if let Some(file) = found.as_ref().and_then(|found| found.name("file")) {
            return format!(
                "`{0}` is a single module here, so nothing can be imported from below it: does a file `{0}.py` hide a \
                 package of that name?",
                file.as_str()
            );
        }
        if let Some((package, _)) = name.and_then(|name| name.rsplit_once('.')) {
            return format!(
                "`{package}` is installed, but has no such module: check the name; if it is right, another version of the \
                 package is needed in {environment}"
            );
        }
        let module = name.map_or_else(String::new, |name| format!(" `{name}`"));
        let otherwise = if self.is_in_folder {
            ", or name another environment: `CLM_NOTEBOOK_KERNEL_PYTHON=DIR`"
        } else {
            "; a module of the course must lie in the topic of the deck"
        };
        format!("install the package that provides{module} into {environment}{otherwise}")
    }

    /// Returns advice about an exception; `is_own` says whether Python could not parse the cell itself.
    fn hint(&self, name: &str, text: &str, is_own: bool) -> String {
        if self.is_in_folder
            && let Some(hint) = self.hint_in_folder(name)
        {
            return hint;
        }
        match name {
            "SyntaxError" | "IndentationError" | "TabError" | "_IncompleteInputError" if is_own => {
                "Python cannot read the cell, so that nothing of it runs: correct this line, or the one before it"
                    .to_owned()
            }
            "SyntaxError" | "IndentationError" | "TabError" | "_IncompleteInputError" => {
                let file = IN_FILE.as_ref().and_then(|end| end.captures(text));
                match file {
                    Some(file) => format!(
                        "Python cannot read the module `{}`: correct its line {}",
                        &file[1], &file[2]
                    ),
                    None => "Python cannot read code that the cell makes or loads".to_owned(),
                }
            }
            "ModuleNotFoundError" => self.missing_module(text),
            "NameError" => "every build runs the cells of the deck in order in a fresh kernel: define the name \
                 in an earlier cell"
                .to_owned(),
            "FileNotFoundError" => "cells run in a fresh directory with copies of the other files of the topic \
                 (images only below `imgdata`): put the file into the topic and use a relative path"
                .to_owned(),
            "StdinNotImplementedError" => "`input()` gets no answer during a build: use a fixed value, or do \
                 not run the deck (`evaluate=\"false\"` in `course.xml`)"
                .to_owned(),
            "PermissionError" => "cells run with your rights, in a fresh directory: write files there, by a relative path"
                .to_owned(),
            "MemoryError" => "the cell needs more memory than there is: use less data, or run fewer decks at once \
                 (`--workers notebook=1`)"
                .to_owned(),
            "ImportError" => format!(
                "check the name; if it is right, another version of the package is needed in the environment of the \
                 kernel `{}` (`{}`)",
                self.kernel, self.program
            ),
            "UnicodeDecodeError" => "name the encoding that the file has, as in `open(name, encoding=\"utf-8\")`".to_owned(),
            name if OF_NETWORK.contains(&name) => {
                "the cell needs the network, which failed: put the data into the topic, or build where there is one".to_owned()
            }
            _ if hint_in_text(text).is_some() => hint_in_text(text).unwrap_or_default().to_owned(),
            _ => "if the exception is meant to be shown, give the cell the tag `raises-exception`".to_owned(),
        }
    }
}

/// Returns the error for a deck whose kernel is not installed.
pub(super) fn unknown_kernel(work: &ExecuteWork, known: &Kernels) -> WorkerError {
    let install = match work.prog_lang {
        ProgLang::Python => "`clm setup` installs Python with this kernel",
        ProgLang::Cpp => "install the package `xeus-cpp`, which brings it",
        ProgLang::CSharp => "install .NET Interactive and run `dotnet interactive jupyter install`",
        ProgLang::Java => "install a Java kernel such as JJava or IJava",
        ProgLang::TypeScript => "install Deno and run `deno jupyter --install`",
    };
    let names: Vec<&str> = known.specs.keys().map(String::as_str).collect();
    let found = match names.as_slice() {
        [] => "no kernels were found".to_owned(),
        names => format!("kernels that were found: {}", names.join(", ")),
    };
    WorkerError::Missing {
        what: format!("the kernel `{}`", work.kernel),
        hint: format!(
            "{install} ({found}); `evaluate=\"false\"` in `course.xml` builds the course without it"
        ),
    }
}

/// Exceptions of a network that does not work.
const OF_NETWORK: [&str; 6] = [
    "URLError",
    "ConnectionError",
    "ConnectTimeout",
    "ConnectionRefusedError",
    "ConnectError",
    "gaierror",
];
/// Exceptions whose cause is mostly the machine or the moment, besides those of the network.
const OF_MACHINE: [&str; 9] = [
    "MemoryError",
    "PermissionError",
    "TimeoutError",
    "ReadTimeout",
    "ConnectionResetError",
    "ConnectionAbortedError",
    "BrokenPipeError",
    "HTTPError",
    "ModuleNotFoundError",
];

/// Returns whether an exception may be none on another machine, or at another time.
pub(super) fn is_of_machine(exception: &Exception) -> bool {
    let field = |name: &str| exception.reply.get(name).and_then(Value::as_str);
    let (name, text) = (field("ename"), field("evalue").unwrap_or_default());
    let is_known = |name: &str| OF_NETWORK.contains(&name) || OF_MACHINE.contains(&name);
    name.is_some_and(is_known) || hint_in_text(text).is_some()
}

/// Returns the last lines of a text that may be long.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// Returns `ename: evalue` with only the first line of the latter.
fn headline(name: &str, first: &str) -> String {
    match (name.is_empty(), first.is_empty()) {
        (true, true) => "the cell failed".to_owned(),
        (true, false) => first.to_owned(),
        (false, true) => name.to_owned(),
        (false, false) => format!("{name}: {first}"),
    }
}

/// Returns the last line of the cell with this prompt number that appears in the traceback.
fn line_in_cell(traceback: &str, count: Option<i64>) -> Option<u32> {
    let plain = TERMINAL_CODE.as_ref()?.replace_all(traceback, "");
    let mut line = None;
    for frame in CELL_FRAME.as_ref()?.captures_iter(&plain) {
        if frame[1].parse::<i64>().ok() == count {
            line = frame[2].parse().ok();
        }
    }
    line
}

/// Returns the line in the author's file for a line of the cell, if the cell has that many lines.
fn line_of(cell: &CodeCell, number: u32) -> Option<u32> {
    let lines = u32::try_from(cell.source.lines().count()).ok()?;
    if number == 0 || number > lines {
        return None;
    }
    cell.line_at(number - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn diagnose(name: &str, text: &str, traceback: &[&str]) -> Diagnostic {
        let cell = CodeCell {
            source: "a\nb\nc".into(),
            cell: 7,
            line: Some(40),
            jumps: Box::default(),
            may_fail: false,
        };
        let place = Place {
            file: "slides/a.py",
            cell: &cell,
            kernel: "python3",
            program: "/env/bin/python",
            is_in_folder: false,
        };
        place.diagnostic(&Exception {
            count: Some(3),
            reply: json!({"ename": name, "evalue": text, "traceback": traceback}),
            printed: "a.cpp:1: error\n".into(),
        })
    }

    #[test]
    fn the_line_is_the_last_one_inside_the_failing_cell() {
        let colours =
            "\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[3]\x1b[39m\x1b[32m, line 2\x1b[39m";
        for (traceback, line) in [
            (
                vec![
                    "Cell In[3], line 3\n",
                    "File lib.py:9",
                    "Cell In[1], line 1",
                ],
                Some(42),
            ),
            (
                vec!["Cell In[3], line 3", "Cell In[3], line 1, in f()"],
                Some(40),
            ),
            (vec![colours], Some(41)),
            (vec!["Input In [3], in <cell line: 2>()"], Some(41)),
            (vec!["Cell In[3], line 99"], Some(40)),
            (vec!["Cell In[3], line 99999999999999999999"], Some(40)),
            (vec!["Cell In[2], line 2"], Some(40)),
            (vec![], Some(40)),
        ] {
            assert_eq!(diagnose("E", "e", &traceback).line, line, "{traceback:?}");
        }
    }

    #[test]
    fn a_message_is_one_line_and_the_hint_fits_it() {
        let diagnostic = diagnose("ValueError", "bad\nworse", &["tb"]);
        assert_eq!(diagnostic.message, "ValueError: bad");
        assert_eq!(diagnostic.detail.as_deref(), Some("tb"));
        assert_eq!(diagnostic.cell, Some(7));
        assert!(diagnostic.hint.unwrap().contains("raises-exception"));
        let bare = diagnose("", "", &[]);
        assert_eq!(bare.message, "the cell failed");
        // A text that consists only of the kernel's name for the cell becomes empty.
        let place = " (2363079223.py, line 1)";
        assert_eq!(diagnose(place, "", &[]).message, "the cell failed");
        assert_eq!(diagnose("SyntaxError", place, &[]).message, "SyntaxError");
        assert_eq!(bare.detail.as_deref(), Some("a.cpp:1: error"));
    }

    #[test]
    fn a_package_that_is_installed_is_not_called_missing() {
        for (text, expected) in [
            (
                "No module named 'foo'",
                "install the package that provides `foo`",
            ),
            (
                "No module named 'foo.bar.baz'",
                "`foo.bar` is installed, but has no such module",
            ),
            (
                "No module named 'foo.bar'; 'foo' is not a package",
                "a file `foo.py` hide a package",
            ),
        ] {
            let hint = diagnose("ModuleNotFoundError", text, &[]).hint.unwrap();
            assert!(hint.contains(expected), "{text}: {hint}");
        }
        let hint = diagnose("ModuleNotFoundError", "No module named 'foo'", &[]).hint;
        assert!(hint.unwrap().contains("`/env/bin/python`"));
    }

    #[test]
    fn failures_of_the_system_have_the_hint_of_their_cause() {
        for (name, text, expected) in [
            (
                "OSError",
                "[Errno 28] No space left on device",
                "disk is full",
            ),
            (
                "OSError",
                "[Errno 24] Too many open files: 'x'",
                "ulimit -n",
            ),
            (
                "OSError",
                "[Errno 30] Read-only file system: '/x'",
                "read-only",
            ),
            ("RuntimeError", "can't start new thread", "ulimit -u"),
            (
                "PermissionError",
                "[Errno 13] Permission denied: '/x'",
                "relative path",
            ),
            ("URLError", "<urlopen error x>", "network"),
            ("MemoryError", "", "memory"),
            (
                "UnicodeDecodeError",
                "'utf-8' codec can't decode",
                "encoding",
            ),
            (
                "ImportError",
                "cannot import name 'x' from 'y'",
                "check the name",
            ),
        ] {
            let hint = diagnose(name, text, &[]).hint.unwrap();
            assert!(hint.contains(expected), "{name}: {hint}");
            assert!(!hint.contains("raises-exception"), "{name}: {hint}");
        }
    }

    #[test]
    fn what_python_cannot_read_has_a_hint_of_its_own_and_no_made_up_name() {
        let own = diagnose(
            "SyntaxError",
            "invalid syntax (2363079223.py, line 2)",
            &["  File \"/tmp/ipykernel_12/2363079223.py\", line 2"],
        );
        assert_eq!(own.message, "SyntaxError: invalid syntax");
        assert_eq!(
            own.detail.as_deref(),
            Some("  File \"cell 7 of slides/a.py\", line 2")
        );
        let hint = own.hint.unwrap();
        assert!(
            hint.contains("correct this line") && !hint.contains("raises-exception"),
            "{hint}"
        );
        let module = diagnose(
            "IndentationError",
            "unexpected indent (stats.py, line 4)",
            &[],
        );
        assert_eq!(
            module.message,
            "IndentationError: unexpected indent (stats.py, line 4)"
        );
        assert!(
            module
                .hint
                .unwrap()
                .contains("`stats.py`: correct its line 4")
        );
        let made = diagnose("SyntaxError", "invalid syntax (<string>, line 1)", &[]);
        assert!(!made.hint.unwrap().contains("raises-exception"));
    }

    #[test]
    fn lines_after_a_jump_are_those_of_the_file() {
        let cell = CodeCell {
            source: "a\n\n\nb".into(),
            cell: 1,
            line: Some(5),
            jumps: Box::new([(2, 6)]),
            may_fail: false,
        };
        let lines: Vec<_> = (1..6).map(|number| line_of(&cell, number)).collect();
        assert_eq!(lines, [Some(5), Some(6), Some(6), Some(7), None]);
    }

    #[test]
    fn the_patterns_are_valid() {
        assert!(TERMINAL_CODE.is_some() && CELL_FRAME.is_some() && MISSING_MODULE.is_some());
        assert!(CELL_FILE.is_some() && IN_CELL_FILE.is_some() && IN_FILE.is_some());
    }
}
