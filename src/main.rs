//! The `clm` command.

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    clm::main()
}

#[cfg(not(unix))]
compile_error!("clm runs on Linux and macOS; on Windows use WSL 2 (see contrib/doc/platforms.md)");

// So that the error above is the only one.
#[cfg(not(unix))]
fn main() {}
