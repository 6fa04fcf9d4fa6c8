//! Where NATS is, for the commands that talk to it themselves.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::{
    cli::{Usage, filters::parse, nats::Login},
    config::Config,
    nats::{NatsOptions, NatsUrl, Prefix},
};

/// A NATS server, or the configuration of a host that names it.
#[derive(Debug, clap::Args)]
pub(super) struct NatsServer {
    /// NATS server
    #[arg(
        long,
        env = "ENNIO_NATS",
        value_name = "URL",
        hide_env_values = true,
        help_heading = "Connection"
    )]
    nats: Option<NatsUrl>,
    #[command(flatten)]
    login: Login,
    /// Configuration file of a host, which says where NATS is
    #[arg(long, env = "ENNIO_CONFIG", value_name = "FILE", help_heading = "Connection")]
    config: Option<PathBuf>,
    /// First token of the hosts' subjects [default: as in the configuration, or ennio]
    #[arg(long, value_name = "TOKEN", value_parser = parse::<Prefix>, help_heading = "Connection")]
    prefix: Option<Prefix>,
}

impl NatsServer {
    /// The server, and what else the configuration says. Flags and variables win over the file, as they
    /// do for `serve`.
    pub(super) fn options(&self) -> anyhow::Result<(NatsOptions, Config)> {
        let config = match &self.config {
            Some(path) => Config::read(path).context("where NATS is")?,
            None => Config::default(),
        };
        let url = self.nats.clone().or(config.nats.url.clone()).ok_or_else(|| {
            Usage(
                "no NATS server is named (name one with --nats, or a file with [nats] with --config)"
                    .into(),
            )
        })?;
        let server = self.login.server(url, &config.nats)?;
        let prefix = self.prefix.clone().unwrap_or(server.prefix);
        Ok((NatsOptions { prefix, ..server }, config))
    }
}
