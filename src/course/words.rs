//! The fixed sets of words in the course format: formats, kinds, programming languages.

use std::fmt;

use serde::{Deserialize, Serialize};

pub use super::languages::{Lang, Localized};

/// Returns the known name that an unknown one was probably meant to be.
pub(crate) fn nearest<T: AsRef<str>>(name: &str, known: impl IntoIterator<Item = T>) -> Option<T> {
    let name = name.to_lowercase();
    known
        .into_iter()
        .map(|known| {
            (
                strsim::damerau_levenshtein(&name, &known.as_ref().to_lowercase()),
                known,
            )
        })
        .filter(|(distance, known)| {
            let length = known.as_ref().chars().count();
            let shorter = length.min(name.chars().count());
            // In short words, two different letters are too many.
            let tolerated = if shorter < 4 { 1 } else { 2.max(length / 3) };
            *distance <= tolerated && *distance < shorter
        })
        .min_by(|one, other| (one.0, one.1.as_ref()).cmp(&(other.0, other.1.as_ref())))
        .map(|(_, known)| known)
}

/// The format of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A page with executed cells.
    Html,
    /// An `.ipynb` file without outputs.
    Notebook,
    /// A script.
    Code,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::Html, Self::Notebook, Self::Code];

    /// Returns the name in the specification and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Notebook => "notebook",
            Self::Code => "code",
        }
    }

    /// Parses a name as in the specification and on the command line.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == text)
    }
}

/// The audience of an output, which decides which cells it has and which of them are emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// For students who type along: most code cells are empty.
    CodeAlong,
    /// With all solutions.
    Completed,
    /// With solutions and notes.
    Trainer,
    /// With solutions, notes and the speaker's text.
    Recording,
    /// Completed, but workshops are empty.
    Partial,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::CodeAlong,
        Self::Completed,
        Self::Trainer,
        Self::Recording,
        Self::Partial,
    ];

    /// Returns the name in the specification and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::CodeAlong => "code-along",
            Self::Completed => "completed",
            Self::Trainer => "trainer",
            Self::Recording => "recording",
            Self::Partial => "partial",
        }
    }

    /// Parses a name as in the specification and on the command line; `speaker` is an old name of `recording`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "speaker" {
            return Some(Self::Recording);
        }
        Self::ALL.into_iter().find(|kind| kind.name() == text)
    }

    /// Returns whether its HTML shows the results of an execution.
    pub fn is_executed(self) -> bool {
        self != Self::CodeAlong
    }
}

/// The programming language of a deck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProgLang {
    /// Python.
    Python,
    /// C++ (and C).
    Cpp,
    /// C#.
    CSharp,
    /// Java.
    Java,
    /// TypeScript.
    TypeScript,
}

impl ProgLang {
    /// All programming languages.
    pub const ALL: [Self; 5] = [
        Self::Python,
        Self::Cpp,
        Self::CSharp,
        Self::Java,
        Self::TypeScript,
    ];

    /// Returns the name in the specification.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Cpp => "cpp",
            Self::CSharp => "csharp",
            Self::Java => "java",
            Self::TypeScript => "typescript",
        }
    }

    /// Parses a name as in the specification.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lang| lang.name() == text)
    }

    /// Returns the language of a deck by its extension (without the dot).
    pub fn of_extension(extension: &str) -> Option<Self> {
        match extension {
            "py" => Some(Self::Python),
            "c" | "cpp" => Some(Self::Cpp),
            "cs" => Some(Self::CSharp),
            "java" => Some(Self::Java),
            "ts" => Some(Self::TypeScript),
            _ => None,
        }
    }

    /// Returns the extension of its scripts, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Python => "py",
            Self::Cpp => "cpp",
            Self::CSharp => "cs",
            Self::Java => "java",
            Self::TypeScript => "ts",
        }
    }

    /// Returns the prefix of a comment line. Followed by ` j2`, it is the prefix of a Jinja line statement.
    pub fn comment(self) -> &'static str {
        match self {
            Self::Python => "#",
            _ => "//",
        }
    }
}

macro_rules! display_name {
    ($($word:ty),*) => {$(
        impl fmt::Display for $word {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    )*};
}
display_name!(Format, Kind, ProgLang);

/// The format of rendered diagrams.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum ImageKind {
    /// A bitmap.
    #[default]
    Png,
    /// A vector image.
    Svg,
}

impl ImageKind {
    /// Returns the file extension, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Svg => "svg",
        }
    }
}
