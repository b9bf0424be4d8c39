//! `clm completions`: completion scripts for shells.

use clap::{Args, CommandFactory};

use crate::error::Result;
use crate::ui;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm completions bash  to be read by `. <(clm completions bash)`")]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

/// Prints the script.
pub(super) fn run<C: CommandFactory>(args: &CompletionsArgs) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut C::command(), "clm", &mut script);
    ui::data(&String::from_utf8_lossy(&script));
    Ok(0)
}
