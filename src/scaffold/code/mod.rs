//! The code of new decks, by programming language. All of it does the same.

mod cpp;
mod csharp;
mod java;
mod python;
mod typescript;

use crate::course::ProgLang;

use super::texts::Texts;

/// The cells of code of the decks in one programming language, with words of one language in them.
pub(super) struct Code {
    /// What both decks begin with: the two temperatures.
    pub given: String,
    /// Makes the list of temperatures, and prints one of them: kernels show the value of a loop in TypeScript, unless
    /// something follows.
    pub series: String,
    /// Draws all of them.
    pub plot: String,
    /// The function of the task, as participants find it.
    pub start: String,
    /// The function of the task, completed.
    pub completed: String,
    /// Calls it.
    pub call: String,
    /// The first code of a new topic.
    pub hello: String,
    /// The task of a new topic, as participants find it.
    pub own_start: String,
    /// The task of a new topic, completed.
    pub own_completed: String,
}

impl Code {
    /// Returns the code in a programming language with the words of a language.
    pub(super) fn of(prog_lang: ProgLang, texts: &Texts) -> Self {
        match prog_lang {
            ProgLang::Python => python::code(texts),
            ProgLang::Cpp => cpp::code(texts),
            ProgLang::CSharp => csharp::code(texts),
            ProgLang::Java => java::code(texts),
            ProgLang::TypeScript => typescript::code(texts),
        }
    }
}

/// Returns the name of the function of the task, as it is written in a language.
pub(super) fn function(prog_lang: ProgLang) -> &'static str {
    match prog_lang {
        ProgLang::Python | ProgLang::Cpp => "minutes_until",
        ProgLang::CSharp => "MinutesUntil",
        ProgLang::Java | ProgLang::TypeScript => "minutesUntil",
    }
}

/// Returns the name of a language in sentences.
pub(super) fn name(prog_lang: ProgLang) -> &'static str {
    match prog_lang {
        ProgLang::Python => "Python",
        ProgLang::Cpp => "C++",
        ProgLang::CSharp => "C#",
        ProgLang::Java => "Java",
        ProgLang::TypeScript => "TypeScript",
    }
}
