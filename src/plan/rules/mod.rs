//! The rules that plan the actions of a source, one for each kind of source.

pub(super) mod copy;
pub(super) mod deck;
pub(super) mod diagram;
pub(super) mod index;
pub(super) mod notebook;
pub(super) mod program;
pub(super) mod project;
pub(super) mod surroundings;
mod warnings;
