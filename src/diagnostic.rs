//! Diagnostics: messages for the author, with the place that each is about.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The severity of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Information.
    Note,
    /// The output was made, but probably not as meant.
    Warning,
    /// The output was not made.
    Error,
}

/// A message for the author, with the place that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Diagnostic {
    /// The severity.
    pub severity: Severity,
    /// The file, relative to the course root if it lies inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line in that file, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column in that line, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// Number of the cell in the deck, counted from 1 over all cells of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<u32>,
    /// One sentence without a full stop.
    pub message: String,
    /// A longer text such as a traceback, possibly with ANSI colours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What the author can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A diagnostic with its reporter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reported {
    /// Identity of the action that reported it; `None` if it is about the course or the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Arc<str>>,
    /// What was reported.
    #[serde(flatten)]
    pub diagnostic: Diagnostic,
}

impl From<Diagnostic> for Reported {
    fn from(diagnostic: Diagnostic) -> Self {
        Self {
            action: None,
            diagnostic,
        }
    }
}

/// Serializes diagnostics as one JSON text (the empty text if there are none), for `#[serde(with = ..)]`. Formats
/// without field names cannot omit fields, as the derived implementation does.
pub(crate) mod as_json {
    use serde::de::{DeserializeOwned, Error as _};
    use serde::ser::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize, Serializer};

    /// Serializes diagnostics.
    pub(crate) fn serialize<S: Serializer, D: Serialize, V: AsRef<[D]>>(
        diagnostics: &V,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match diagnostics.as_ref() {
            [] => serializer.serialize_str(""),
            some => {
                let text = serde_json::to_string(some).map_err(S::Error::custom)?;
                serializer.serialize_str(&text)
            }
        }
    }

    /// Deserializes diagnostics.
    pub(crate) fn deserialize<'de, S: Deserializer<'de>, D: DeserializeOwned, V: From<Vec<D>>>(
        deserializer: S,
    ) -> Result<V, S::Error> {
        let found = match <&str>::deserialize(deserializer)? {
            "" => Vec::new(),
            text => serde_json::from_str(text).map_err(S::Error::custom)?,
        };
        Ok(found.into())
    }
}

impl Diagnostic {
    /// Returns a diagnostic without a file.
    pub fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self {
            severity,
            file: None,
            line: None,
            column: None,
            cell: None,
            message: message.into(),
            detail: None,
            hint: None,
        }
    }

    /// Returns an error.
    pub fn error(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, message)
    }

    /// Returns a warning.
    pub fn warning(message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, message)
    }

    /// Returns whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Sets the file and line.
    #[must_use]
    pub fn at(mut self, file: impl Into<String>, line: Option<u32>) -> Self {
        self.file = Some(file.into());
        self.line = line;
        self
    }

    /// Sets the column.
    #[must_use]
    pub fn column(mut self, column: u32) -> Self {
        self.column = Some(column);
        self
    }

    /// Sets the cell number.
    #[must_use]
    pub fn cell(mut self, cell: u32) -> Self {
        self.cell = Some(cell);
        self
    }

    /// Sets the longer text.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Sets the hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Formats as `file:line:column: severity: message`, which editors parse, with the hint on its own line.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            for number in [self.line, self.column].into_iter().flatten() {
                write!(f, "{number}:")?;
            }
            write!(f, " ")?;
        }
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}: {}", self.message)?;
        if let Some(cell) = self.cell {
            write!(f, " (cell {cell})")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}
