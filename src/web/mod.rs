//! The preview: the course in the browser, which shows a change as soon as it is built.

mod server;

use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::index::Index;
use crate::events::Event;

pub use server::{bind, serve};

/// Who may look.
#[derive(Clone, Debug)]
pub enum Access {
    /// This user on this machine.
    Loopback,
    /// Whoever knows the token.
    Network {
        /// The secret that the first address of a visit brings.
        token: String,
    },
}

/// What the preview shows, fed by the engine and read by the server.
pub struct Preview {
    #[allow(dead_code)]
    root: PathBuf,
}

impl Preview {
    /// The preview of a course; it is empty until the first index.
    pub fn new(course_root: PathBuf) -> Arc<Self> {
        Arc::new(Self { root: course_root })
    }

    /// What the course consists of now; to be called after each planning.
    pub fn set_index(&self, _index: Arc<Index>) {}

    /// Something happened; to be called for every event of every run, in their order.
    pub fn event(&self, _event: &Event) {}
}
