//! What `serve` is told about NATS: flags and `ENNIO_NATS_*` variables over the file's `[nats]`.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::{
    config::NatsConfig,
    nats::{Access, AccessOptions, NatsOptions, NatsUrl, Secret},
};

#[derive(Debug, Default, clap::Args)]
pub(super) struct NatsArgs {
    /// NATS server that committed events are published to [default: none]
    #[arg(long, env = "ENNIO_NATS", value_name = "URL", hide_env_values = true)]
    nats: Option<NatsUrl>,
    /// Publish to a JetStream stream of the host's own, made when it does not exist
    #[arg(long, env = "ENNIO_NATS_JETSTREAM")]
    nats_jetstream: bool,
    /// NATS credentials file (`.creds`) [default: none]
    #[arg(long, env = "ENNIO_NATS_CREDENTIALS", value_name = "FILE")]
    nats_credentials: Option<PathBuf>,
    /// Seed of the NATS user's nkey [default: none]
    #[arg(long, env = "ENNIO_NATS_NKEY", value_name = "SEED", hide_env_values = true)]
    nats_nkey: Option<String>,
    /// Name of the NATS user [default: none]
    #[arg(long, env = "ENNIO_NATS_USER", value_name = "NAME")]
    nats_user: Option<String>,
    /// The NATS user's password [default: none]
    #[arg(long, env = "ENNIO_NATS_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    nats_password: Option<String>,
    /// NATS token [default: none]
    #[arg(long, env = "ENNIO_NATS_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    nats_token: Option<String>,
}

impl NatsArgs {
    /// As if only the server had been said.
    pub(super) fn at(nats: Option<NatsUrl>) -> Self {
        Self { nats, ..Self::default() }
    }

    /// What the host is to do with NATS; `None` without a server.
    pub(super) fn options(self, file: &NatsConfig) -> anyhow::Result<Option<NatsOptions>> {
        let Some(url) = self.nats.or_else(|| file.url.clone()) else { return Ok(None) };
        let secret = |given: Option<String>, file: &Option<PathBuf>| {
            given.map(Secret::Given).or_else(|| file.clone().map(Secret::File))
        };
        let access = AccessOptions {
            credentials_file: self.nats_credentials.or_else(|| file.credentials_file.clone()),
            nkey: secret(self.nats_nkey, &file.nkey_file),
            user: self.nats_user.or_else(|| file.user.clone()),
            password: secret(self.nats_password, &file.password_file),
            token: secret(self.nats_token, &file.token_file),
            ca_file: file.ca_file.clone(),
            cert_file: file.cert_file.clone(),
            key_file: file.key_file.clone(),
        };
        let access = Access::new(access, &url)?;
        let stream = (self.nats_jetstream || file.jetstream).then(|| file.stream.clone());
        if let Some(stream) = &stream {
            stream.check().map_err(anyhow::Error::msg).context("[nats.stream]")?;
        }
        let prefix = file.prefix.clone().unwrap_or_default();
        Ok(Some(NatsOptions { url, access, prefix, stream }))
    }
}
