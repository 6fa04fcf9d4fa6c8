//! The host's configuration: one typed file, strict about unknown keys. Flags and `ENNIO_*`
//! variables are laid over it by `cli/serve.rs`; this module knows the file alone.

use std::{
    fmt::Display,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use serde::Deserialize;
use thiserror::Error;

use crate::{
    control::CommandName,
    event::{NodeName, ProjectId},
    nats::{BucketName, Ingest, NatsUrl, OnGap, Prefix, StreamName, StreamOptions},
    plugin::{KeySource, WatchMode},
    retention::Policy,
    span::Span,
    strict_toml,
};

/// Everything that can be configured. Every key is optional.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The log.
    #[serde(default)]
    pub store: StoreConfig,
    /// The HTTP server.
    #[serde(default)]
    pub api: ApiConfig,
    /// Plugins.
    #[serde(default)]
    pub plugins: PluginsConfig,
    /// NATS. Off without a URL.
    #[serde(default)]
    pub nats: NatsConfig,
    /// Another host's log, to be a copy of. Off without a URL.
    #[serde(default)]
    pub follow: FollowConfig,
    /// What is deleted from the log. Nothing unless something is said here.
    #[serde(default)]
    pub retention: Policy,
    /// Which node of a fleet the host is.
    #[serde(default)]
    pub node: NodeConfig,
    /// The host's own log lines.
    #[serde(default)]
    pub log: LogConfig,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// The SQLite file; made when it does not exist. Default `ennio.db`.
    pub database: PathBuf,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { database: "ennio.db".into() }
    }
}

/// The HTTP server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Address and port. Default `127.0.0.1:7117`; port 0 takes a free one.
    pub listen: SocketAddr,
    /// A file that holds the bearer token. Needed when other machines can reach `listen`.
    pub token_file: Option<PathBuf>,
    /// Host names, besides the loopback ones, that a server on loopback answers to.
    pub hosts: Vec<String>,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7117)),
            token_file: None,
            hosts: Vec::new(),
        }
    }
}

/// Plugins.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PluginsConfig {
    /// The folder of `NAME.wasm` and `NAME.toml`. No plugin runs without one.
    pub folder: Option<PathBuf>,
    /// The folder that keeps compiled plugins, for this user alone. Default: the database's name
    /// with `-plugins` behind it.
    pub cache: Option<PathBuf>,
    /// How changes of the folder are found: `auto` or `poll`. Default `auto`.
    pub watch: WatchMode,
    /// Milliseconds between two looks at the folder where the file system tells nothing, 50 to
    /// 3 600 000. Default 1 000.
    #[serde(deserialize_with = "interval")]
    pub watch_interval_ms: u64,
    /// Public keys of minisign, or files that hold one. With at least one, every component and every
    /// sidecar needs a signature by one of them. Default: none.
    #[serde(deserialize_with = "all_parsed")]
    pub trusted_keys: Vec<KeySource>,
    /// A JetStream object store whose plugins are kept in the folder; needs `url` in `[nats]`.
    /// Default: none.
    #[serde(deserialize_with = "parsed")]
    pub mirror: Option<BucketName>,
}

impl Default for PluginsConfig {
    fn default() -> Self {
        let (watch, watch_interval_ms) = (WatchMode::Auto, 1000);
        Self {
            folder: None,
            cache: None,
            watch,
            watch_interval_ms,
            trusted_keys: Vec::new(),
            mirror: None,
        }
    }
}

fn interval<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let range = 50..=3_600_000;
    let value = i64::deserialize(from)?;
    u64::try_from(value).ok().filter(|value| range.contains(value)).ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        serde::de::Error::custom(format!("{value} is not within {least} to {most}"))
    })
}

/// NATS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NatsConfig {
    /// Like `nats://127.0.0.1:4222`. Nothing is published without one.
    #[serde(deserialize_with = "parsed")]
    pub url: Option<NatsUrl>,
    /// A credentials file (`.creds`): a user's JWT and the seed of its nkey.
    pub credentials_file: Option<PathBuf>,
    /// A file that holds the seed of a user's nkey.
    pub nkey_file: Option<PathBuf>,
    /// A user's name; its password is in `password_file`.
    pub user: Option<String>,
    /// A file that holds the user's password.
    pub password_file: Option<PathBuf>,
    /// A file that holds a token.
    pub token_file: Option<PathBuf>,
    /// The authorities that may have signed the server's certificate, PEM. Default: the system's.
    pub ca_file: Option<PathBuf>,
    /// The host's own certificate, PEM.
    pub cert_file: Option<PathBuf>,
    /// Its private key, PEM.
    pub key_file: Option<PathBuf>,
    /// Publish to a JetStream stream of the host's own. Default: no.
    pub jetstream: bool,
    /// That stream.
    pub stream: StreamOptions,
    /// The first token of every subject on the wire. Default `ennio`.
    #[serde(deserialize_with = "parsed")]
    pub prefix: Option<Prefix>,
    /// The commands that are carried out when they come over NATS. Default `["status"]`; with none,
    /// the host does not listen for commands.
    pub commands: Vec<CommandName>,
    /// Whether and how events come in over NATS: `off`, `core` or `jetstream`. Default `off`.
    pub ingest: Ingest,
    /// The time between two tellings of the host's figures, 100 ms at least; `0s` for never. Default
    /// `10s`.
    #[serde(deserialize_with = "every")]
    pub metrics_interval: Option<Duration>,
    /// Whether changes, like a plugin that was loaded, are told over NATS. Default `true`.
    pub dashboard: bool,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            url: None,
            credentials_file: None,
            nkey_file: None,
            user: None,
            password_file: None,
            token_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            jetstream: false,
            stream: StreamOptions::default(),
            prefix: None,
            commands: vec![CommandName::Status],
            ingest: Ingest::Off,
            metrics_interval: Some(Duration::from_secs(10)),
            dashboard: true,
        }
    }
}

/// Which node of a fleet the host is, and what it tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeConfig {
    /// A subject token. Default: the machine's host name, with `-` for what no token has.
    pub name: Option<NodeName>,
    /// The project of the host's own events. Default `ennio`.
    pub project: Option<ProjectId>,
    /// Whether a host with NATS tells of itself as events. Default `true`.
    pub events: bool,
    /// The time between two health checks, 100 ms at least; `0s` for none. Default `60s`.
    #[serde(deserialize_with = "every")]
    pub health_check: Option<Duration>,
}

impl Default for NodeConfig {
    fn default() -> Self {
        let health_check = Some(Duration::from_secs(60));
        Self { name: None, project: None, events: true, health_check }
    }
}

/// A span between two times of something that happens again and again; nothing is never.
fn every<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let span = Span::deserialize(from)?.get();
    let least = Duration::from_millis(100);
    match span {
        Duration::ZERO => Ok(None),
        span if span < least => {
            Err(serde::de::Error::custom("too short (write at least 100ms, or 0s for never)"))
        }
        span => Ok(Some(span)),
    }
}

/// Another host's log. Who this host is to the server, and the prefix, are those of `[nats]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FollowConfig {
    /// Like `nats://127.0.0.1:4222`. The log is a host's own without one.
    #[serde(deserialize_with = "parsed")]
    pub url: Option<NatsUrl>,
    /// The stream. Default: the prefix in capitals and `_EVENTS`.
    pub stream: Option<StreamName>,
    /// What to do when events are missing from the stream: `continue` or `stop`. Default `continue`.
    pub on_gap: OnGap,
}

/// A text that has to be what its type says.
fn parsed<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: Display>,
    D: serde::Deserializer<'de>,
{
    let text = String::deserialize(from)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// Texts that each have to be what their type says.
fn all_parsed<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
where
    T: FromStr<Err: Display>,
    D: serde::Deserializer<'de>,
{
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

/// The host's own log lines, on stderr.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// A level (`error`, `warn`, `info`, `debug`, `trace`) or `target=level` pairs. Default `info`.
    pub filter: String,
    /// `text` or `json`. Default `text`.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Text }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The file is wrong.
    #[error("configuration {0}")]
    Toml(#[from] strict_toml::TomlError),
}

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`ConfigError`] when it cannot be read, has an unknown key or a value out of its bounds.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Ok(strict_toml::from_str(&text, path)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The commented file that ships is the documentation, so it has to say what is true.
    #[test]
    fn the_shipped_file_says_every_default() {
        let text = include_str!("../../examples/deploy/ennio.toml");
        let shipped: Config = strict_toml::from_str(text, Path::new("ennio.toml")).unwrap();
        assert_eq!(shipped, Config::default());
        let uncommented: String = text
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(key) if key.contains(" = ") && !key.contains(": ") => format!("{key}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let full: Config = strict_toml::from_str(&uncommented, Path::new("ennio.toml")).unwrap();
        assert!(
            full.api.token_file.is_some()
                && full.plugins.folder.is_some()
                && full.plugins.mirror.is_some()
                && full.nats.url.is_some()
                && full.nats.stream.max_age.is_some()
                && full.follow.url.is_some()
                && full.follow.stream.is_some()
                && !full.retention.keeps_everything()
        );
    }
}
