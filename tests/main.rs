//! The integration suite: one binary, a file a story, with the real renderers.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod support;

mod add;
mod affected;
mod archive;
mod bad_input;
mod build;
mod chaos;
mod check_spec;
mod checkpoint;
mod ci;
mod counts;
mod course_languages;
mod cpp;
mod daemon;
mod daemon_auto;
mod demo;
mod doc_architecture;
mod doc_format;
mod doc_links;
mod drawio;
mod editors;
mod entrance;
mod farm;
mod folder;
mod folder_beside;
mod format;
mod hostile;
mod imports;
mod install;
mod languages;
mod layering;
mod links;
mod markdown;
mod new;
mod notebook;
mod options;
mod ownership;
mod percent;
mod pipelines;
mod plain;
mod plantuml;
mod pool;
mod preview;
mod private;
mod processes;
mod properties;
mod restless;
mod servers;
mod setup;
mod shard;
mod shared;
mod simulation;
mod status;
mod survival;
mod timings;
mod tools;
mod verify;
mod watching;
