//! One rule for each kind of source: which actions it gives.

pub mod copy;
pub mod deck;
pub mod diagram;
pub mod program;
pub mod project;
pub mod surroundings;
mod warnings;
