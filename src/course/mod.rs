//! The model of a course: the specification, the tree of sources, the decks, and the names of all outputs.
//!
//! Everything here is pure: functions get bytes and return values. They access no files and start no processes.

pub mod deck;
pub mod file_name;
pub mod layout;
pub mod lfs;
mod names;
pub mod path;
pub mod spec;
pub mod tree;
pub mod words;
pub mod xml;

pub use names::Names;
pub use path::RelPath;
pub use words::{Format, Kind, Lang, Localized, ProgLang};
