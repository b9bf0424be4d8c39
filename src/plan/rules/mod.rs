//! The rules that plan the actions of a source, one for each kind of source.

pub mod copy;
pub mod deck;
pub mod diagram;
pub mod program;
pub mod project;
pub mod surroundings;
mod warnings;
