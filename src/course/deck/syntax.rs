//! Differences between the programming languages of decks: names, kernels, prefixes of magics.

use serde_json::{Map, Value, json};

use crate::course::ProgLang;

/// Returns the name of the kernelspec.
pub(crate) fn kernel_name(prog_lang: ProgLang) -> &'static str {
    match prog_lang {
        ProgLang::Python => "python3",
        ProgLang::Cpp => "xcpp20",
        ProgLang::CSharp => ".net-csharp",
        ProgLang::Java => "java",
        ProgLang::TypeScript => "deno",
    }
}

/// Returns the notebook metadata `kernelspec`.
pub(super) fn kernelspec(prog_lang: ProgLang) -> Value {
    let (display, language) = match prog_lang {
        ProgLang::Python => ("Python 3 (ipykernel)", "python"),
        ProgLang::Cpp => ("C++20", "cpp"),
        ProgLang::CSharp => (".NET (C#)", "C#"),
        ProgLang::Java => ("Java", "java"),
        ProgLang::TypeScript => ("Deno", "typescript"),
    };
    json!({"display_name": display, "language": language, "name": kernel_name(prog_lang)})
}

/// Returns the notebook metadata `language_info`.
pub(super) fn language_info(prog_lang: ProgLang) -> Value {
    match prog_lang {
        ProgLang::Python => json!({
            "codemirror_mode": {"name": "ipython", "version": 3},
            "file_extension": ".py",
            "mimetype": "text/x-python",
            "name": "python",
            "nbconvert_exporter": "python",
            "pygments_lexer": "ipython3",
        }),
        ProgLang::Cpp => json!({
            "codemirror_mode": "text/x-c++src",
            "file_extension": ".cpp",
            "mimetype": "text/x-c++src",
            "name": "C++",
            "version": "20",
        }),
        ProgLang::CSharp => json!({
            "file_extension": ".cs",
            "mimetype": "text/x-csharp",
            "name": "C#",
            "pygments_lexer": "csharp",
            "version": "12.0",
        }),
        ProgLang::Java => json!({
            "codemirror_mode": "java",
            "file_extension": ".java",
            "mimetype": "text/java",
            "name": "Java",
            "pygments_lexer": "java",
            "version": "",
        }),
        ProgLang::TypeScript => json!({
            "codemirror_mode": "typescript",
            "file_extension": ".ts",
            "mimetype": "text/x.typescript",
            "name": "typescript",
            "pygments_lexer": "typescript",
            "version": "5.6.2",
        }),
    }
}

/// Returns the name of the language in the metadata `jupytext.main_language`.
pub(super) fn main_language(prog_lang: ProgLang) -> &'static str {
    match prog_lang {
        ProgLang::Cpp => "c++",
        other => other.name(),
    }
}

/// Languages that a cell can name with `language="…"`; the cell then starts with the kernel's magic for it.
const CELL_LANGUAGES: &[&str] = &[
    "R",
    "bash",
    "c#",
    "c++",
    "clojure",
    "coconut",
    "cs",
    "csharp",
    "cython",
    "f#",
    "fs",
    "fsharp",
    "gnuplot",
    "go",
    "groovy",
    "haskell",
    "html",
    "idl",
    "java",
    "javascript",
    "jenner",
    "js",
    "julia",
    "latex",
    "logtalk",
    "lua",
    "markdown",
    "matlab",
    "maxima",
    "ocaml",
    "octave",
    "perl",
    "powershell",
    "pypy",
    "python",
    "python2",
    "python3",
    "q",
    "robotframework",
    "ruby",
    "rust",
    "sage",
    "sas",
    "scala",
    "scheme",
    "script",
    "sh",
    "sos",
    "spark",
    "sql",
    "stata",
    "svg",
    "tcl",
    "typescript",
    "wolfram language",
    "xonsh",
];

/// Moves the metadata `language` of a cell into its first source line (`%%bash`), where kernels expect it. Returns
/// whether it did.
pub(super) fn move_cell_language(
    prog_lang: ProgLang,
    metadata: &mut Map<String, Value>,
    source: &mut String,
) -> bool {
    move_language(main_language(prog_lang), metadata, source)
}

/// Moves the metadata `language` as [`move_cell_language`] does, for a deck with this main language.
pub(super) fn move_language(
    main_language: &str,
    metadata: &mut Map<String, Value>,
    source: &mut String,
) -> bool {
    let Some(Value::String(language)) = metadata.get("language") else {
        return false;
    };
    if language == main_language {
        metadata.remove("language");
        return false;
    }
    let is_own = usual_name(language) == main_language;
    if is_own || !CELL_LANGUAGES.contains(&language.as_str()) {
        return false;
    }
    let sign = if main_language == ProgLang::CSharp.name() {
        CSHARP_SIGN
    } else {
        SIGN
    };
    let mut line = format!("{sign}{language}");
    if let Some(Value::String(arguments)) = metadata.get("magic_args") {
        line.push(' ');
        line.push_str(arguments);
        metadata.remove("magic_args");
    }
    metadata.remove("language");
    line.push('\n');
    *source = line + source;
    true
}

const SIGN: &str = "%%";
const CSHARP_SIGN: &str = "#!";

/// Returns the canonical name of a language.
pub(super) fn usual_name(language: &str) -> String {
    let lower = language.to_lowercase();
    match lower.as_str() {
        "r" => "R".into(),
        "sas" => "SAS".into(),
        "octave" => "matlab".into(),
        "c#" | "cs" => "csharp".into(),
        "f#" | "fs" => "fsharp".into(),
        _ => lower,
    }
}

/// Returns the name of a language at the start of a text, as a separate word: as in cells, or in capitals.
pub(super) fn leading_cell_language(text: &str) -> Option<&str> {
    CELL_LANGUAGES.iter().find_map(|name| {
        let start = text.get(..name.len())?;
        let is_named = start == *name || start == name.to_uppercase();
        let rest = &text[name.len()..];
        let is_word = rest.is_empty() || rest.starts_with(super::text::is_space);
        (is_named && is_word).then_some(start)
    })
}

/// Returns the prefix of the name of another language in the first line of a cell.
pub(super) fn language_sign(prog_lang: ProgLang) -> &'static str {
    match prog_lang {
        ProgLang::CSharp => CSHARP_SIGN,
        _ => SIGN,
    }
}

/// Returns whether a cell can name this language.
pub(super) fn is_cell_language(language: &str) -> bool {
    CELL_LANGUAGES.contains(&language)
}
