//! clm builds courses: it determines the inputs of every output, and makes only the outputs that are stale.
//!
//! Data flows in one direction: `course` (the author's files) -> `plan` (the outputs of the course) -> `store`
//! (records of earlier builds), `remote` (those of other machines) -> `engine` (which outputs are stale) -> `worker`
//! (makes them) -> published outputs
//! -> `events` -> `ui`. `watch` reports changed files; `tools` finds and installs the renderers; `profile`
//! measures runs; `compare` compares the outputs of builds; `cli` is the command line.

// Without Unix there is nothing, so that `main.rs` can say so in one error instead of hundreds.
#![cfg(unix)]

mod cli;
mod clock;
mod compare;
mod config;
mod course;
mod daemon;
mod diagnostic;
mod digest;
mod engine;
mod error;
mod events;
#[cfg(feature = "farm")]
mod farm;
#[cfg(not(feature = "farm"))]
#[path = "farm/none.rs"]
mod farm;
mod files;
mod memory;
mod mounts;
mod owner;
mod parallel;
mod plan;
mod private;
mod profile;
mod remote;
#[cfg(feature = "farm")]
mod runner;
mod scaffold;
mod store;
#[doc(hidden)]
pub mod testing;
mod tools;
mod ui;
mod watch;
mod web;
mod worker;

pub use cli::main;
