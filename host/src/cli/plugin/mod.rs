//! `ennio plugin`: what runs in the host, and what would; and what is to run.
//!
//! One file a subcommand: its flags, and what it does. A new one is a module, and a line in
//! `subcommands!` below.

// Declared here and not by the macro, where rustfmt would not find them.
mod check;
mod disable;
mod enable;
mod list;
mod order;
mod reload;
mod rollback;
mod state;

use std::process::ExitCode;

use clap::Subcommand;

/// Look at plugins, of a host or before they get there, and say which are to run.
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
    State: state,
}
