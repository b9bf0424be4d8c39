//! The workers of a farm: run one action in the directory where a farm's own worker put it, once or again and again, with
//! renderers that stay warm.
//!
//! - [`once`]: one action in the working directory. Any farm can start that.
//! - [`persistent`](mod@persistent): one process for many actions, by Bazel's protocol for persistent workers.
//! - [`buildbox`]: the calling convention of `buildbox-run`, with which buildbox-casd and buildbox-worker start a program for
//!   each action. A process of its own for each would start cold, so it passes the action to the [resident](mod@resident) one.

mod buildbox;
mod persistent;
mod resident;
mod slot;
mod wire;

use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::tools::{Context, locate};
use crate::worker::Renderers;

pub(crate) use persistent::persistent;
pub(crate) use resident::{hand_over, resident};

use slot::{Slot, told};

/// Runs the action in `dir`. Returns its exit code and what it says.
///
/// # Errors
///
/// Why it cannot be run.
pub(crate) async fn once(dir: &Path, cancel: CancellationToken) -> std::io::Result<(i32, String)> {
    let runtime = tempfile::tempdir()?;
    let slot = Slot::new(dir, runtime.path(), renderers())?;
    let answer = slot.run(cancel).await;
    slot.shutdown().await;
    Ok((answer.exit_code(), told(&answer)))
}

/// Returns the renderers of this machine.
fn renderers() -> Renderers {
    locate::locate(&Context::of_process(None)).0
}
