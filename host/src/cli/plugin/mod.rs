//! `ennio plugin`: what runs in the host, what is to run, what would, and making some.
//!
//! One file a subcommand: its flags, and what it does. A new one is a module, and a line in
//! `subcommands!` below.

// Declared here and not by the macro, where rustfmt would not find them.
mod bench;
mod build;
mod check;
mod dev;
mod disable;
mod enable;
mod list;
mod new;
mod order;
mod project;
mod push;
pub(super) mod recording;
mod reload;
mod rollback;
mod server;
mod shadow;
mod state;
mod status;
mod test;

use std::process::ExitCode;

use clap::Subcommand;

/// Look at plugins, of a host or before they get there; say which are to run; make some.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

/// One line a subcommand, in the order in which `--help` shows them: its name and its module, which
/// has `Args` and `async fn run(Args) -> anyhow::Result<ExitCode>`.
macro_rules! subcommands {
    ($($name:ident: $module:ident,)+) => {
        #[derive(Debug, Subcommand)]
        enum Command {
            $($name($module::Args),)+
        }

        pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
            match args.command {
                $(Command::$name(args) => $module::run(args).await,)+
            }
        }
    };
}

subcommands! {
    List: list,
    Check: check,
    Reload: reload,
    Rollback: rollback,
    Disable: disable,
    Enable: enable,
    Push: push,
    Status: status,
    State: state,
    New: new,
    Build: build,
    Test: test,
    Bench: bench,
    Shadow: shadow,
    Dev: dev,
}
