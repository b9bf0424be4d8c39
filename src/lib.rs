//! clm builds courses: it determines the inputs of every output, and makes only the outputs that are stale.
//!
//! Data flows in one direction: [`course`] (the author's files) -> [`plan`] (the outputs of the course) -> [`store`]
//! (records of earlier builds) -> [`engine`] (which outputs are stale) -> [`worker`] (makes them) -> published outputs
//! -> [`events`] -> [`ui`]. [`watch`] reports changed files; [`tools`] finds and installs the renderers; [`profile`]
//! measures runs; [`cli`] is the command line.

pub mod cli;
pub mod config;
pub mod course;
pub mod daemon;
pub mod digest;
pub mod engine;
pub mod error;
pub mod events;
pub mod files;
mod memory;
mod mounts;
pub mod owner;
mod parallel;
pub mod plan;
mod private;
pub mod profile;
pub mod store;
pub mod tools;
pub mod ui;
pub mod watch;
pub mod web;
pub mod worker;
