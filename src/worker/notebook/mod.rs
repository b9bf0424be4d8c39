//! Decks: their code cells run in Jupyter kernels driven by clm, and their HTML is rendered by a running nbconvert
//! process.
//!
//! [`start_kernel_worker`] runs cells: each kernel is used for one execution, and the next one is started while no
//! request waits for it. [`start_html_worker`] renders pages: one Python process, one exporter, many pages.

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

pub(crate) use html::html_program_digest;
pub use html::{HtmlConfig, start_html_worker};
pub(crate) use kernel::execution_program_digest;
pub use outputs::MAX_STREAM_BYTES;
#[doc(hidden)]
pub use replay::replay;
pub use worker::{KernelConfig, start_kernel_worker};
pub(crate) use zygote::SharedZygotes;
