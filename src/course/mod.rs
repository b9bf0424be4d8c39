//! What the author wrote: the specification, the tree of sources, the decks, and the names of all outputs.
//!
//! Everything here is pure: it is given bytes and returns values. It knows no hashing and no processes.

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
