//! The integration suite: one binary, a file a story, with the real renderers.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, unreachable_pub)]

mod support;

mod build;
mod layering;
mod notebook;
mod plantuml;
mod pool;
