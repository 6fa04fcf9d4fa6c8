//! `ennio plugin push`: a plugin for every host that mirrors a bucket.

use std::{path::PathBuf, process::ExitCode};

use anyhow::bail;

use super::server::NatsServer;
use crate::{
    cli::{
        filters::parse,
        output::{Output, plain},
    },
    event::PluginName,
    nats::{Bucket, BucketName},
    plugin::{Bundle, KeySource, Plugin, Registry, TrustedKeys},
    store::state::State,
};

const EXAMPLES: &str = "\
Examples:
  ennio plugin push noise-filter.wasm --nats nats://127.0.0.1:4222
  ennio plugin push noise-filter.wasm --config ennio.toml    server, bucket and keys of a host
  ennio plugin push --remove noise-filter --nats nats://127.0.0.1:4222
  ennio plugin status --nats nats://127.0.0.1:4222           which host runs which version";

/// Put a plugin into a bucket on NATS, for every host that mirrors it.
///
/// The component goes there with its sidecar and their signatures, NAME.toml, NAME.wasm.minisig and
/// NAME.toml.minisig, as they lie beside it. Each host with this bucket as `mirror` loads it as if the
/// files had been put into its plugin folder. The bucket is made when there is none.
///
/// Refuses what a host would not load, as `ennio plugin check` does.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The component, NAME.wasm
    #[arg(value_name = "FILE", required_unless_present = "remove")]
    file: Option<PathBuf>,
    /// Take a plugin out of the bucket, and so out of every host that mirrors it
    #[arg(long, value_name = "NAME", value_parser = parse::<PluginName>, conflicts_with = "file")]
    remove: Option<PluginName>,
    /// Push without loading it here first: where it needs what only the hosts have
    #[arg(long, conflicts_with = "remove")]
    unchecked: bool,
    /// Ask for a signature, as a host with this key does: a public key of minisign, or its file
    #[arg(long, value_name = "KEY", conflicts_with_all = ["remove", "unchecked"])]
    trusted_key: Vec<KeySource>,
    /// The object store [default: `mirror` in the configuration, or PREFIX-plugins]
    #[arg(long, env = "ENNIO_MIRROR", value_name = "BUCKET", value_parser = parse::<BucketName>, help_heading = "Connection")]
    bucket: Option<BucketName>,
    #[command(flatten)]
    server: NatsServer,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (options, config) = args.server.options()?;
    let bucket = args.bucket.clone().or(config.plugins.mirror.clone());
    let bucket = bucket.unwrap_or_else(|| BucketName::of(&options.prefix));
    let mut output = Output::stdout();
    if let Some(name) = &args.remove {
        Bucket::connect(&options, bucket.clone()).await?.remove(name).await?;
        output.line(&format!("{name}: removed from bucket {bucket}"))?;
    }
    if let Some(file) = args.file {
        let (name, bundle) = gather(file.clone()).await?;
        let checked = match args.unchecked {
            true => None,
            false => {
                let keys = [config.plugins.trusted_keys, args.trusted_key].concat();
                Some(check(file, &keys, &bundle).await?)
            }
        };
        let version = checked.as_ref().map(Plugin::version);
        let mut texts = bundle.beside().texts();
        texts.extend(version.map(|version| ("version".to_owned(), version.to_owned())));
        let beside = match (bundle.beside().has_sidecar(), bundle.beside().signed()) {
            (true, true) => "with its sidecar and signatures",
            (true, false) => "with its sidecar, not signed",
            (false, true) => "with its signature, no sidecar",
            (false, false) => "no sidecar, not signed",
        };
        let mut server = Bucket::connect(&options, bucket.clone()).await?;
        server.put(&name, bundle.component(), texts).await?;
        let version = version.unwrap_or("of an unchecked version");
        output.line(&plain(&format!("{name} {version}: pushed to bucket {bucket}, {beside}")))?;
        output.line(&format!("  sha256  {}", bundle.sha256()))?;
        output.line(&format!("  size    {} bytes", bundle.component().len()))?;
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

async fn gather(file: PathBuf) -> anyhow::Result<(PluginName, Bundle)> {
    Ok(tokio::task::spawn_blocking(move || Bundle::gather(&file)).await??)
}

/// Whether a host would load it.
async fn check(file: PathBuf, keys: &[KeySource], bundle: &Bundle) -> anyhow::Result<Plugin> {
    let trusted = TrustedKeys::read(keys)?;
    let registry = Registry::new(None, None, State::in_memory())?.trusting(trusted);
    let plugin = registry.examine(&file).await?;
    // What was checked has to be what is sent.
    if gather(file.clone()).await?.1 != *bundle {
        bail!("{}: changed while it was checked (push it again)", file.display());
    }
    Ok(plugin)
}
