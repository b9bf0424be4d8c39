//! The model of a course: the specification, the tree of sources, the decks, and the names of all outputs.
//!
//! Everything here is pure: functions get bytes and return values. They access no files and start no processes.

pub(crate) mod deck;
pub(crate) mod file_name;
pub(crate) mod languages;
pub(crate) mod layout;
pub(crate) mod lfs;
mod names;
pub(crate) mod path;
pub(crate) mod spec;
pub(crate) mod tree;
pub(crate) mod words;
pub(crate) mod xml;

pub(crate) use names::Names;
pub use path::RelPath;
pub(crate) use words::Localized;
pub use words::{Format, Kind, Lang, ProgLang};
