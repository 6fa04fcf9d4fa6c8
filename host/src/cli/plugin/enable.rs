//! `ennio plugin enable`: a plugin back in.

use std::process::ExitCode;

use super::order::{Order, give};

/// Let a disabled plugin take part again, with what is in the plugin folder now.
///
/// A reaction continues where it was when it was disabled.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    order: Order,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    give(&args.order, "enable").await
}
