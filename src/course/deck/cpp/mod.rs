//! The code format of C++ decks: a program that compiles, with a function for each slide.
//!
//! Notebooks mix what C++ separates: definitions, statements, and expressions whose value is shown. [`program()`] sorts
//! them into a translation unit, or into several if there are workshops. It parses C++ by its tokens and never fails:
//! code that it does not recognize becomes a statement.

mod cells;
mod declarations;
mod declarators;
mod items;
mod names;
mod pieces;
mod placement;
mod program;
mod prose;
mod sections;
mod skeleton;
mod stream;
mod support;
mod tokens;

pub(crate) use names::identifier;
pub(crate) use program::Program;
pub use program::program;
pub(crate) use support::SUPPORT_HEADERS;
