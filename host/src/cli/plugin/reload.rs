//! `ennio plugin reload`: what is in the folder, now.

use std::process::ExitCode;

use super::order::{Order, give};

/// Load what is in the plugin folder, whether it was tried before or not.
///
/// The running version stays when that cannot run, and the reason is printed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    order: Order,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    give(&args.order, "reload").await
}
