//! What commands are told about NATS: flags and variables over the file's `[nats]` and, for `serve`,
//! `[follow]`.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::{
    config::{FollowConfig, NatsConfig},
    nats::{Access, AccessOptions, FollowOptions, NatsOptions, NatsUrl, Secret},
};

#[derive(Debug, Default, clap::Args)]
pub(super) struct NatsArgs {
    /// NATS server that committed events are published to [default: none]
    #[arg(long, env = "ENNIO_NATS", value_name = "URL", hide_env_values = true)]
    nats: Option<NatsUrl>,
    /// Make this host's log a copy of the one that a host publishes to its stream on this NATS server
    /// [default: none]
    #[arg(long, env = "ENNIO_FOLLOW", value_name = "URL", hide_env_values = true)]
    follow: Option<NatsUrl>,
    /// Publish to a JetStream stream of the host's own, made when it does not exist
    #[arg(long, env = "ENNIO_NATS_JETSTREAM")]
    nats_jetstream: bool,
    #[command(flatten)]
    login: Login,
}

/// Who this is to the server. A flag or variable wins over the file.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct Login {
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

/// What the host is to do with NATS.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Where it publishes.
    pub(super) publish: Option<NatsOptions>,
    /// What it follows.
    pub(super) follow: Option<FollowOptions>,
}

impl NatsArgs {
    pub(super) fn wanted(self, nats: &NatsConfig, follow: &FollowConfig) -> anyhow::Result<Wanted> {
        let [publish, source] = [(&self.nats, &nats.url), (&self.follow, &follow.url)]
            .map(|(flag, file)| flag.as_ref().or(file.as_ref()).cloned());
        let publish = publish.map(|url| self.publish(url, nats)).transpose()?;
        let follow = source
            .map(|url| {
                let (stream, on_gap) = (follow.stream.clone(), follow.on_gap);
                let server = self.login.server(url, nats).context("[follow]")?;
                anyhow::Ok(FollowOptions { server, stream, on_gap })
            })
            .transpose()?;
        Ok(Wanted { publish, follow })
    }

    fn publish(&self, url: NatsUrl, file: &NatsConfig) -> anyhow::Result<NatsOptions> {
        let stream = (self.nats_jetstream || file.jetstream).then(|| file.stream.clone());
        if let Some(stream) = &stream {
            stream.check().map_err(anyhow::Error::msg).context("[nats.stream]")?;
        }
        Ok(NatsOptions { stream, ..self.login.server(url, file)? })
    }
}

impl Login {
    /// A server, and who this is to it.
    pub(super) fn server(&self, url: NatsUrl, file: &NatsConfig) -> anyhow::Result<NatsOptions> {
        let secret = |given: &Option<String>, file: &Option<PathBuf>| {
            given.clone().map(Secret::Given).or_else(|| file.clone().map(Secret::File))
        };
        let access = AccessOptions {
            credentials_file: self
                .nats_credentials
                .clone()
                .or_else(|| file.credentials_file.clone()),
            nkey: secret(&self.nats_nkey, &file.nkey_file),
            user: self.nats_user.clone().or_else(|| file.user.clone()),
            password: secret(&self.nats_password, &file.password_file),
            token: secret(&self.nats_token, &file.token_file),
            ca_file: file.ca_file.clone(),
            cert_file: file.cert_file.clone(),
            key_file: file.key_file.clone(),
        };
        let access = Access::new(access, &url)?;
        let prefix = file.prefix.clone().unwrap_or_default();
        Ok(NatsOptions { url, access, prefix, stream: None })
    }
}
