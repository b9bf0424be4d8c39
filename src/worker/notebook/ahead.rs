//! Kernels that are started before a request needs them.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::kernel::{Kernel, KernelStart};
use super::launch::Launcher;
use super::zygote::{Needs, Zygotes};
use crate::worker::WorkerError;

/// A kernel that was started ahead of need. Dropping it kills the kernel.
pub(super) struct KernelAhead {
    name: String,
    directory: Option<PathBuf>,
    /// Locked until the first kernel has started.
    kernel: Arc<Mutex<Option<Kernel>>>,
    starting: JoinHandle<()>,
}

impl Drop for KernelAhead {
    fn drop(&mut self) {
        self.starting.abort();
    }
}

impl KernelAhead {
    /// Starts a kernel for a deck that will probably need the same as the last one. Returns at once.
    ///
    /// With zygotes, the imports of recent decks are prepared as well, and the kernel is replaced by one that has them.
    pub(super) fn start(start: KernelStart, needs: Needs, zygotes: Option<Arc<Zygotes>>) -> Self {
        let kernel = Arc::new(Mutex::new(None));
        let (name, directory) = (start.name.clone(), start.directory.clone());
        let first = Arc::clone(&kernel).try_lock_owned();
        let slot = Arc::clone(&kernel);
        let starting = tokio::spawn(async move {
            if let Ok(mut first) = first {
                // The first request will fail with the same error and report it.
                *first = start_kernel(&start, &needs, zygotes.as_deref()).await.ok();
            }
            let Some(zygotes) = zygotes else { return };
            zygotes.learn(&start.name, &start.spec).await;
            let launcher = zygotes.launcher(&start.name, &start.spec, &needs).await;
            let has_the_same = |kernel: &Kernel| kernel.launcher().is_same(&launcher);
            if slot.lock().await.as_ref().is_some_and(has_the_same) {
                return;
            }
            if let Ok(better) = Kernel::start(&start, &launcher).await {
                let old = slot.lock().await.replace(better);
                if let Some(old) = old {
                    old.end().await;
                }
            }
        });
        Self {
            name,
            directory,
            kernel,
            starting,
        }
    }

    /// Returns whether it was started in the same way.
    pub(super) fn is_like(&self, start: &KernelStart) -> bool {
        self.name == start.name && self.directory == start.directory
    }

    /// Returns the kernel when it is ready; `None` if it could not be started.
    pub(super) async fn take(self) -> Option<Kernel> {
        self.kernel.lock().await.take()
    }

    /// Ends the kernel and waits until it has ended.
    pub(super) async fn end(mut self) {
        self.starting.abort();
        let _ = (&mut self.starting).await;
        if let Some(kernel) = self.kernel.lock().await.take() {
            kernel.end().await;
        }
    }
}

/// Starts a kernel in the fastest way that the deck cannot distinguish from a kernel of its own; if that fails, by its
/// command.
pub(super) async fn start_kernel(
    start: &KernelStart,
    needs: &Needs,
    zygotes: Option<&Zygotes>,
) -> Result<Kernel, WorkerError> {
    // The further attempts are for zygotes that ended unnoticed or whose modules changed: one with imports and one
    // without.
    for _ in 0..3 {
        let Some(zygotes) = zygotes else { break };
        let launcher = zygotes.launcher(&start.name, &start.spec, needs).await;
        let Launcher::Zygote(zygote) = &launcher else {
            break;
        };
        match Kernel::start(start, &launcher).await {
            Ok(kernel) => return Ok(kernel),
            Err(error) => {
                let reason = error.to_string();
                zygotes
                    .distrust(&start.name, &start.spec, zygote, &reason)
                    .await;
            }
        }
    }
    Kernel::start(start, &Launcher::Command).await
}
