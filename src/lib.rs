//! clm builds courses: it knows what every output should be made of and makes only what is stale.
//!
//! Data flows one way: [`course`] (what the author wrote) -> [`plan`] (what should exist) -> [`store`] (what we
//! remember) -> [`engine`] (what is stale) -> [`worker`] (who makes it) -> published outputs -> [`events`] -> [`ui`].
//! [`watch`] tells when to look again; [`tools`] finds and installs the renderers; [`profile`] measures; [`cli`] is the command line over all of it.

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
