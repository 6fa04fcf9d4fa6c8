//! The `ennio` command.

use std::process::ExitCode;

use clap::Parser as _;
use ennio::cli::{self, Cli};

/// Events are made on one thread and dropped on another, which the system's allocator answers with
/// locks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return cli::report(&error.into()),
    };
    let outcome = runtime.block_on(cli::run(cli));
    // What is left is at most a name lookup, which must not hold up the exit.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| cli::report(&error))
}
