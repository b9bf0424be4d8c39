//! Kernels that are started before anybody asks for them.

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
    /// Locked until the first kernel is there.
    kernel: Arc<Mutex<Option<Kernel>>>,
    starting: JoinHandle<()>,
}

impl Drop for KernelAhead {
    fn drop(&mut self) {
        self.starting.abort();
    }
}

impl KernelAhead {
    /// Starts one for a deck that probably will need the same as the last one. Returns at once.
    ///
    /// With zygotes, what decks import is made ahead as well, and the kernel is replaced by one that has it.
    pub(super) fn start(start: KernelStart, needs: Needs, zygotes: Option<Arc<Zygotes>>) -> Self {
        let kernel = Arc::new(Mutex::new(None));
        let name = start.name.clone();
        let first = Arc::clone(&kernel).try_lock_owned();
        let slot = Arc::clone(&kernel);
        let starting = tokio::spawn(async move {
            if let Ok(mut first) = first {
                // The first request will meet the same error, and report it.
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
            kernel,
            starting,
        }
    }

    /// The name of the kernelspec.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The kernel, as soon as it is ready; none if it could not be started.
    pub(super) async fn take(self) -> Option<Kernel> {
        self.kernel.lock().await.take()
    }

    /// Ends it, and waits until it is gone.
    pub(super) async fn end(mut self) {
        self.starting.abort();
        let _ = (&mut self.starting).await;
        if let Some(kernel) = self.kernel.lock().await.take() {
            kernel.end().await;
        }
    }
}

/// Starts a kernel in the fastest way in which a deck runs as in one of its own; when that fails, by its command.
pub(super) async fn start_kernel(
    start: &KernelStart,
    needs: &Needs,
    zygotes: Option<&Zygotes>,
) -> Result<Kernel, WorkerError> {
    // Others are for zygotes that ended unnoticed, or whose modules changed: one with imports and one without.
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
