//! One engine with many callers: `clm watch` keeps an engine for a course running, and other commands of the same user
//! connect to it.
//!
//! ```text
//! watch -> gate -> asks -> driver of the engine -> events -> hub -> terminal, preview, clients
//!            ^                                                    |
//!            +------- server <------- socket (JSON lines) <------ clients
//! ```

pub(crate) mod client;
mod gate;
mod hub;
mod lock;
pub(crate) mod protocol;
mod server;
mod service;

pub(crate) use hub::{Hub, Sink};
pub(crate) use lock::{DaemonInfo, DaemonLock, Reason, running};
pub(crate) use service::{Daemon, MakeEngine, log_file};
