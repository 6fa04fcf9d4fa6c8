//! `ennio config check`: says whether a configuration file would be taken.

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;

use super::{nats::NatsArgs, output::Output};
use crate::{config::Config, host::StartError, plugin::TrustedKeys};

/// Look at the configuration
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a configuration file and print what it says
    Check {
        /// The file
        #[arg(env = "ENNIO_CONFIG", default_value = "ennio.toml")]
        file: PathBuf,
    },
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Command::Check { file } = args.command;
    let config = Config::read(&file)?;
    let shown =
        |path: Option<&PathBuf>| path.map_or("(none)".into(), |path| path.display().to_string());
    let wanted = NatsArgs::default().wanted(&config.nats, &config.follow)?;
    if wanted.publish.is_some() && wanted.follow.is_some() {
        return Err(StartError::FollowsAndPublishes.into());
    }
    let nats = wanted.publish.map_or("(none)".into(), |nats| match nats.stream {
        Some(_) => format!("{} (JetStream)", nats.url),
        None => nats.url.to_string(),
    });
    let mut output = Output::stdout();
    output.line(&format!("{}: good", file.display()))?;
    output.line(&format!("  database  {}", config.store.database.display()))?;
    output.line(&format!("  listen    {}", config.api.listen))?;
    output.line(&format!("  plugins   {}", shown(config.plugins.folder.as_ref())))?;
    if !config.plugins.trusted_keys.is_empty() {
        TrustedKeys::read(&config.plugins.trusted_keys)?;
        let keys = config.plugins.trusted_keys.len();
        output.line(&format!("  trust     {keys} keys, unsigned plugins are not loaded"))?;
    }
    if let Some(bucket) = &config.plugins.mirror {
        output.line(&format!("  mirror    bucket {bucket} into the plugin folder"))?;
    }
    output.line(&format!("  nats      {nats}"))?;
    if let Some(follow) = &wanted.follow {
        output.line(&format!("  follow    {follow}"))?;
    }
    let limits = config.retention.limits();
    let limits: Vec<String> = limits
        .iter()
        .map(|(cause, limit)| format!("{} {limit}", config.retention.name(*cause)))
        .collect();
    let limits = if limits.is_empty() { "everything stays".into() } else { limits.join(", ") };
    output.line(&format!("  retention {limits}"))?;
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}
