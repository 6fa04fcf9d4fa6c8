//! `ennio serve`: the life of a host, from the configuration to the last checkpoint.

use std::{
    io::{IsTerminal, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};
use tracing_subscriber::EnvFilter;

use super::filters::parse;
use super::nats::{NatsArgs, Wanted};
use crate::{
    api::{Guard, Server, Token},
    config::{Config, LogConfig, LogFormat, NodeConfig},
    host::{Host, NodeOptions},
    nats::BucketName,
    plugin::{TrustedKeys, WatchMode, WatchOptions},
};

/// Run a host
///
/// Prints one line when it is ready, and ends in order on SIGINT or SIGTERM: it stops accepting,
/// commits what it has taken, and moves everything into the database file. Flags win over ENNIO_*
/// variables, and those over the configuration file.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration file; `examples/deploy/ennio.toml` shows every key
    #[arg(long, env = "ENNIO_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// SQLite file of the log; made when it does not exist [default: ennio.db]
    #[arg(long, env = "ENNIO_DB", value_name = "FILE")]
    db: Option<PathBuf>,
    /// Address and port of the HTTP server; port 0 takes a free one [default: 127.0.0.1:7117]
    #[arg(long, env = "ENNIO_LISTEN", value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Folder of plugins, watched for changes [default: none]
    #[arg(long, env = "ENNIO_PLUGINS", value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// How changes of the plugin folder are found: `auto`, or `poll` for a network file system [default: auto]
    #[arg(long, env = "ENNIO_WATCH", value_name = "MODE")]
    watch: Option<WatchMode>,
    /// Bucket on the NATS server whose plugins are kept in the folder [default: none]
    #[arg(long, env = "ENNIO_MIRROR", value_name = "BUCKET", value_parser = parse::<BucketName>)]
    mirror: Option<BucketName>,
    #[command(flatten)]
    nats: NatsArgs,
    /// Bearer token that every request has to carry [default: none]
    #[arg(long, env = "ENNIO_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Log filter, like `info` or `info,ennio::guest=debug` [default: info]
    #[arg(long, env = "ENNIO_LOG", value_name = "FILTER")]
    log: Option<String>,
}

/// Serves until a signal or a failed database ends it.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let (config, token, wanted) = configure(args)?;
    start_logging(&config.log)?;
    let guard = Guard::new(config.api.listen, token, config.api.hosts.clone())?;

    // The address first: a second host then stops before it touches anything.
    let listener = Server::bind(config.api.listen).await?;
    let mut builder = Host::builder(&config.store.database).watch(WatchOptions {
        mode: config.plugins.watch,
        interval: Duration::from_millis(config.plugins.watch_interval_ms),
    });
    if let Some(folder) = &config.plugins.folder {
        builder = builder.plugins(folder);
    }
    if let Some(cache) = &config.plugins.cache {
        builder = builder.plugin_cache(cache);
    }
    builder = builder.trusted_keys(TrustedKeys::read(&config.plugins.trusted_keys)?);
    builder = builder.nats_commands(config.nats.commands.clone());
    if let Some(bucket) = config.plugins.mirror.clone() {
        builder = builder.mirror(bucket);
    }
    builder = builder.retention(config.retention.clone());
    builder = builder.ingest(config.nats.ingest).metrics_every(config.nats.metrics_interval);
    builder = builder.dashboard(config.nats.dashboard).node(node(&config.node));
    let mut source = String::new();
    if let Some(options) = wanted.publish {
        builder = builder.nats(options);
    }
    if let Some(options) = wanted.follow {
        source = format!(", a copy from {options}");
        builder = builder.follow(options);
    }
    let host = Arc::new(builder.start().await?);
    // Before anybody is told that the host is ready: whoever waits for that may send a signal at once.
    let signals = Signals::listen()?;
    let server = Server::start(listener, Arc::clone(&host), guard)?;
    let plugins = host.plugins().await;
    let running = plugins.iter().filter(|plugin| plugin.hash.is_some()).count();
    say(&format!(
        "ennio {} is ready on http://{} (log {}{source}, {} events, {running} plugins{}, {} ms)",
        env!("CARGO_PKG_VERSION"),
        server.address(),
        config.store.database.display(),
        host.bus().head(),
        match plugins.len() - running {
            0 => String::new(),
            failed => format!(", {failed} not loaded"),
        },
        begun.elapsed().as_millis(),
    ));

    let (reason, code) = wait_for_the_end(&host, signals).await;
    say(&format!("ennio is stopping: {reason}"));
    server.stop().await;
    host.shutdown().await;
    say(&format!(
        "ennio has stopped, everything accepted is on disk ({} events)",
        host.bus().head()
    ));
    Ok(code)
}

fn node(config: &NodeConfig) -> NodeOptions {
    let by_default = NodeOptions::default();
    NodeOptions {
        name: config.name.clone().unwrap_or(by_default.name),
        project: config.project.clone().unwrap_or(by_default.project),
        events: config.events,
        health_check: config.health_check,
    }
}

/// One line on standard output. A host goes on when nobody reads it.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Flags win over variables, which clap has merged, and those over the file.
fn configure(args: Args) -> anyhow::Result<(Config, Option<Token>, Wanted)> {
    let mut config = match &args.config {
        Some(path) => Config::read(path)?,
        None => Config::default(),
    };
    if let Some(database) = args.db {
        config.store.database = database;
    }
    if let Some(listen) = args.listen {
        config.api.listen = listen;
    }
    if let Some(folder) = args.plugins {
        config.plugins.folder = Some(folder);
    }
    if let Some(mode) = args.watch {
        config.plugins.watch = mode;
    }
    if let Some(bucket) = args.mirror {
        config.plugins.mirror = Some(bucket);
    }
    if let Some(filter) = args.log {
        config.log.filter = filter;
    }
    let token = match (args.token, &config.api.token_file) {
        (Some(token), _) => Some(Token::new(&token)),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("token file {}", path.display()))?;
            Some(Token::new(&text))
        }
        (None, None) => None,
    };
    let wanted = args.nats.wanted(&config.nats, &config.follow)?;
    Ok((config, token, wanted))
}

fn start_logging(config: &LogConfig) -> anyhow::Result<()> {
    // What libraries say at `info` is no news to an operator; their own filter still wins.
    let filter =
        EnvFilter::try_new(format!("rusqlite_migration=warn,async_nats=off,{}", config.filter))
            .with_context(|| {
                format!("log filter {:?} (write a level like `info`)", config.filter)
            })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match config.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    started.map_err(|e| anyhow::anyhow!("logging cannot be started: {e}"))
}

/// What asks a host, or another long command, to end.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot wait for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "interrupted",
            _ = self.terminate.recv() => "asked to terminate",
        }
    }
}

/// Why the host ends, and the exit code that says so. A second signal ends the process at once.
async fn wait_for_the_end(host: &Host, mut signals: Signals) -> (String, ExitCode) {
    let reason = tokio::select! {
        reason = signals.next() => reason.to_owned(),
        origin = host.asked_to_stop() => format!("asked to by {origin}"),
        reason = host.failed() => {
            error!("{reason}");
            return (reason, ExitCode::FAILURE);
        }
    };
    tokio::spawn(async move {
        signals.next().await;
        info!("second signal, ending at once; everything that was answered is on disk");
        std::process::exit(130);
    });
    (reason, ExitCode::SUCCESS)
}
