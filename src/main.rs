//! The `clm` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    clm::main()
}
