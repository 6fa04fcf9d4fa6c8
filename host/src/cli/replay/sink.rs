//! Where history goes to. A chunk is done when it was taken whole; one that was not may have been
//! taken in part.

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::json;

use super::{
    super::{
        Usage,
        client::{Client, ClientError, Params},
        output::{Output, json_line},
    },
    Args,
    history::Item,
};
use crate::{
    config::{Config, NatsConfig},
    event::{PluginName, Seq},
    nats::{NatsOptions, ReplayId, Replayer, Skipped},
};

pub(super) enum Sink {
    Stdout(Output),
    Nats(Box<Replayer>),
    Plugin { client: Client, name: PluginName },
}

/// What became of a chunk.
pub(super) struct Taken {
    /// The first so many events are done; for the others there is no room yet.
    pub(super) handled: usize,
    /// Those of them that are too large.
    pub(super) skipped: Vec<Skipped>,
    /// How many of them are not for whom they were handed to.
    pub(super) passed: u64,
}

impl Sink {
    pub(super) async fn open(args: &Args, id: &ReplayId) -> anyhow::Result<Self> {
        if args.to.to_stdout {
            return Ok(Self::Stdout(Output::stdout()));
        }
        if let Some(name) = &args.to.to_plugin {
            let client = Client::new(&args.connection)?;
            // Nothing at all is taken: tells whether it could be.
            hand_over(&client, name, &[]).await?;
            return Ok(Self::Plugin { client, name: name.clone() });
        }
        let replayer = Replayer::connect(nats(args)?, id.clone()).await?;
        Ok(Self::Nats(Box::new(replayer)))
    }

    /// For people.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stdout(_) => "standard output".into(),
            Self::Nats(replayer) => match &*replayer.streams() {
                [] => format!("{} (no stream covers it)", replayer.server()),
                streams => format!("{} (stream {})", replayer.server(), streams.join(", ")),
            },
            Self::Plugin { client, name } => format!("plugin {name} at {}", client.url()),
        }
    }

    /// Returns when all of the chunk was taken, or as much as there is room for.
    pub(super) async fn deliver(&mut self, chunk: &[Item]) -> anyhow::Result<Taken> {
        let (mut skipped, mut passed) = (Vec::new(), 0);
        let mut handled = chunk.len();
        match self {
            Self::Stdout(output) => {
                for item in chunk {
                    output.line(&json_line(item.json()))?;
                }
                output.flush()?;
            }
            Self::Nats(replayer) => {
                let entries = chunk.iter().map(|item| &item.entry);
                skipped = replayer.deliver(entries).await?;
            }
            Self::Plugin { client, name } => {
                let events: Vec<Seq> = chunk.iter().map(|item| item.entry.seq).collect();
                let answer = hand_over(client, name, &events).await?;
                handled = usize::try_from(answer.handled).unwrap_or(handled).min(handled);
                passed = answer.handled.saturating_sub(answer.taken);
            }
        }
        Ok(Taken { handled, skipped, passed })
    }
}

#[derive(Deserialize)]
struct HandedOver {
    handled: u64,
    taken: u64,
}

async fn hand_over(
    client: &Client,
    plugin: &PluginName,
    events: &[Seq],
) -> Result<HandedOver, ClientError> {
    let body = json!({ "events": events }).to_string().into_bytes();
    client.post(&["plugins", plugin.as_str(), "replay"], &Params::new(), body).await
}

/// Flags and variables win over the file, as they do for `serve`.
fn nats(args: &Args) -> anyhow::Result<NatsOptions> {
    let file = match &args.config {
        Some(path) => Config::read(path).context("where NATS is")?.nats,
        None => NatsConfig::default(),
    };
    let url = args.nats.clone().or_else(|| file.url.clone()).ok_or_else(|| {
        Usage(
            "no NATS server is named (name one with --nats, or a file with [nats] with --config)"
                .into(),
        )
    })?;
    let server = args.login.server(url, &file)?;
    let prefix = args.prefix.clone().unwrap_or(server.prefix);
    Ok(NatsOptions { prefix, ..server })
}
