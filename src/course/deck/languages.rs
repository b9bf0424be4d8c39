//! What notebooks say of each programming language.

use serde_json::{Value, json};

use crate::course::ProgLang;

/// The name of the kernelspec that runs a language.
pub fn kernel_name(prog_lang: ProgLang) -> &'static str {
    match prog_lang {
        ProgLang::Python => "python3",
        ProgLang::Cpp => "xcpp20",
        ProgLang::CSharp => ".net-csharp",
        ProgLang::Java => "java",
        ProgLang::TypeScript => "deno",
    }
}

/// The `kernelspec` of a notebook's metadata.
pub fn kernelspec(prog_lang: ProgLang) -> Value {
    let (display_name, language) = match prog_lang {
        ProgLang::Python => ("Python 3 (ipykernel)", "python"),
        ProgLang::Cpp => ("C++20", "cpp"),
        ProgLang::CSharp => (".NET (C#)", "C#"),
        ProgLang::Java => ("Java", "java"),
        ProgLang::TypeScript => ("Deno", "typescript"),
    };
    json!({ "display_name": display_name, "language": language, "name": kernel_name(prog_lang) })
}

/// The `language_info` of a notebook's metadata.
pub fn language_info(prog_lang: ProgLang) -> Value {
    match prog_lang {
        ProgLang::Python => json!({
            "codemirror_mode": { "name": "ipython", "version": 3 },
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

/// What the notebook format calls the language of a text notebook.
pub fn main_language(prog_lang: ProgLang) -> &'static str {
    match prog_lang {
        ProgLang::Cpp => "c++",
        other => other.name(),
    }
}
