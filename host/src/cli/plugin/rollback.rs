//! `ennio plugin rollback`: the version before.

use std::process::ExitCode;

use super::order::{Order, give};

/// Go back to the version that ran before.
///
/// One version back is kept, and only while the host runs. What is in the plugin folder is left
/// alone until it changes, or is reloaded; a restart of the host loads it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    order: Order,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    give(&args.order, "rollback").await
}
