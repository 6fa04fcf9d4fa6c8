//! `ennio plugin disable`: a plugin out of the flow.

use std::process::ExitCode;

use super::order::{Order, give};

/// Take a plugin out of the flow.
///
/// Events pass as if it were not there, and a reaction waits at its place in the log. It stays so
/// over restarts of the host and new versions of the plugin.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    order: Order,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    give(&args.order, "disable").await
}
