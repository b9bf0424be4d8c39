//! Decks: their code cells run in Jupyter kernels driven from here, their HTML comes from a warm nbconvert process.
//!
//! [`start_kernel_worker`] runs cells: a kernel serves one execution and no more, and the next one is started
//! while nobody waits for it. [`start_html_worker`] renders pages: one Python process, one exporter, many pages.

mod ahead;
mod bundle;
mod connection;
mod diagnose;
mod execute;
mod html;
mod imported;
mod kernel;
mod launch;
mod outputs;
mod renaming;
mod replay;
mod widgets;
mod workdir;
mod worker;
mod zygote;

pub use html::{HtmlConfig, html_program_digest, start_html_worker};
pub use kernel::execution_program_digest;
pub use outputs::MAX_STREAM_BYTES;
#[doc(hidden)]
pub use replay::replay;
pub use worker::{KernelConfig, start_kernel_worker};
pub use zygote::SharedZygotes;
