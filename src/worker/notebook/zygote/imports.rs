//! What the cells of a deck import, and whether they could notice that it was imported before. Pure.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use crate::worker::request::{CodeCell, ExecuteWork};

/// Which parts of a kernel's start may have happened before a deck runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::worker::notebook) enum Trust {
    /// Nothing: the deck inspects the interpreter.
    Nothing,
    /// The start of the kernel, but no imports of the deck's modules: the deck changes how imports work.
    Kernel,
    /// The start of the kernel and the imports of all modules that the deck imports.
    #[default]
    Imports,
}

/// The requirements of a deck on its kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::worker::notebook) struct Needs {
    /// Its imports at the beginning of lines: `a.b`, or `a.b:c` for a name in a module.
    pub(in crate::worker::notebook) imports: BTreeSet<String>,
    /// What may have been done before.
    pub(in crate::worker::notebook) trust: Trust,
    /// The first parts of the names in the working directory, without extension: these may be modules of the deck.
    pub(in crate::worker::notebook) own: BTreeSet<String>,
}

/// Words in cells that inspect the memory or the stack of the interpreter.
static LOOKS_AT_INTERPRETER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"\b(gc|tracemalloc|getrefcount|faulthandler|print_stack|extract_stack|format_stack|walk_stack|getouterframes|__subclasses__)\b|\binspect\.stack\b|\bsys\.modules\b",
    )
    .ok()
});

/// Words in cells after which an import may behave differently, or find another module.
static CHANGES_IMPORTS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"\b(environ|putenv|set_env|meta_path|path_hooks|importlib|__import__|builtins|reload|chdir|setlocale|pip|pip3|conda|uv",
        r"|basicConfig|dictConfig|fileConfig|setLevel|addLevelName)\b",
        r"|\bsys\.path\b|%env\b|%cd\b|%%writefile|%load_ext|%reload_ext|\bmatplotlib\.use\b|\.py['\x22]",
        r"|\b(filterwarnings|simplefilter)\b.*\b(error|always|default|module|once)\b",
    ))
    .ok()
});

impl Needs {
    /// Returns the requirements of the cells of a request.
    pub(in crate::worker::notebook) fn of(work: &ExecuteWork) -> Self {
        // If the pattern is invalid, the deck is treated as if it contained all of these words.
        let matches = |words: &LazyLock<Option<Regex>>, cell: &CodeCell| {
            let words = words.as_ref();
            words.is_none_or(|words| words.is_match(&cell.source))
        };
        let cells = &work.cells;
        // Words after the last import do not affect any import.
        let last = cells
            .iter()
            .rposition(|cell| cell.source.contains("import"));
        let until_last = &cells[..last.map_or(0, |last| last + 1)];
        let trust = if cells
            .iter()
            .any(|cell| matches(&LOOKS_AT_INTERPRETER, cell))
        {
            Trust::Nothing
        } else if until_last
            .iter()
            .any(|cell| matches(&CHANGES_IMPORTS, cell))
        {
            Trust::Kernel
        } else {
            Trust::Imports
        };
        // Cells in other languages begin with `%%`.
        let python = cells
            .iter()
            .filter(|cell| !cell.source.trim_start().starts_with("%%"));
        let lines = python.flat_map(|cell| cell.source.lines());
        let first = |path: &str| {
            let name = path.split('/').next().unwrap_or_default();
            name.split('.').next().unwrap_or_default().to_owned()
        };
        Self {
            imports: lines.flat_map(imported).collect(),
            trust,
            own: work
                .files
                .iter()
                .map(|(_, path)| first(path.as_str()))
                .collect(),
        }
    }
}

/// Returns the imports of a line: only plain names of modules and of names in modules.
fn imported(line: &str) -> Vec<String> {
    let line = line.split(['#', ';']).next().unwrap_or_default();
    let is_name = |text: &str| {
        let begins_well = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
        begins_well && text.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    let is_path = |text: &str| text.split('.').all(is_name);
    // Strips the alias: `a as b` becomes `a`.
    let original = |text: &str| {
        text.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    if let Some(modules) = line.strip_prefix("import ") {
        let modules = modules.split(',').map(original);
        return modules.filter(|module| is_path(module)).collect();
    }
    let Some((module, names)) = line
        .strip_prefix("from ")
        .and_then(|rest| rest.split_once(" import "))
    else {
        return Vec::new();
    };
    let module = module.trim();
    if !is_path(module) {
        return Vec::new();
    }
    // A list in parentheses may continue in the next lines; the names there are ignored.
    let names = names.trim().trim_start_matches('(').trim_end_matches(')');
    let names = names.split(',').map(original);
    let members = names.filter(|name| is_name(name) || name == "*");
    members.map(|name| format!("{module}:{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::{ProgLang, RelPath};

    fn needs(cells: &[&str]) -> Needs {
        let cell = |source: &&str| CodeCell {
            source: (*source).to_owned(),
            cell: 1,
            line: None,
            jumps: Box::default(),
            may_fail: false,
        };
        let path = |text: &str| RelPath::new(text).unwrap();
        Needs::of(&ExecuteWork {
            prog_lang: ProgLang::Python,
            kernel: "python3".to_owned(),
            cells: cells.iter().map(cell).collect(),
            files: vec![
                (path("a/stats.py"), path("stats.py")),
                (path("b/d/e.csv"), path("data/e.csv")),
            ],
            directory: None,
            skip_errors: false,
            cell_timeout: None,
        })
    }

    #[test]
    fn imports_at_the_beginning_of_lines_are_found() {
        let found = needs(&[
            "import numpy as np, pandas\nimport os.path  # x",
            "from a.b import c as d, e\nfrom f import (g,\n  h)\nfrom . import x\nfrom k import *",
            "if x:\n    import indented\n# import not_this\nimport 3d\nimportant = 1",
            "%%bash\nimport shell",
        ]);
        let expected = ["a.b:c", "a.b:e", "f:g", "k:*", "numpy", "os.path", "pandas"];
        assert_eq!(found.imports, expected.map(str::to_owned).into());
        assert_eq!(found.own, ["stats", "data"].map(str::to_owned).into());
        assert_eq!(found.trust, Trust::Imports);
    }

    #[test]
    fn decks_that_could_notice_are_told_apart() {
        for (cell, trust) in [
            ("import numpy\nprint(numpy.pi)", Trust::Imports),
            (
                "import warnings\nwarnings.filterwarnings('ignore')",
                Trust::Imports,
            ),
            ("warnings.simplefilter('error')", Trust::Kernel),
            ("os.environ['A'] = 'b'", Trust::Kernel),
            ("sys.path.insert(0, 'x')", Trust::Kernel),
            ("%%writefile calendar.py\nx = 1", Trust::Kernel),
            ("!pip install x", Trust::Kernel),
            ("logging.basicConfig(level=logging.DEBUG)", Trust::Kernel),
            ("matplotlib.use('svg')", Trust::Kernel),
            ("open('calendar.py', 'w')", Trust::Kernel),
            ("import gc\ngc.collect()", Trust::Nothing),
            ("'numpy' in sys.modules", Trust::Nothing),
            ("inspect.stack()", Trust::Nothing),
            (
                "magic = 1\npipeline = environment = logic = 2",
                Trust::Imports,
            ),
        ] {
            assert_eq!(needs(&["1", cell, "import b"]).trust, trust, "{cell}");
        }
        assert_eq!(needs(&["import a", "os.environ"]).trust, Trust::Imports);
        assert_eq!(
            needs(&["sys.path", "import a", "gc.collect()"]).trust,
            Trust::Nothing
        );
    }
}
