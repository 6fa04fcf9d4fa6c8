//! Where history goes to. A chunk is done when it was taken whole; one that was not may have been
//! taken in part.

use anyhow::Context as _;

use super::{
    super::{
        Usage,
        output::{Output, json_line},
    },
    Args,
    history::Item,
};
use crate::{
    config::{Config, NatsConfig},
    nats::{NatsOptions, ReplayId, Replayer, Skipped},
};

pub(super) enum Sink {
    Stdout(Output),
    Nats(Box<Replayer>),
}

impl Sink {
    pub(super) async fn open(args: &Args, id: &ReplayId) -> anyhow::Result<Self> {
        if args.to.to_stdout {
            return Ok(Self::Stdout(Output::stdout()));
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
        }
    }

    /// Returns when all of the chunk was taken; with what cannot be.
    pub(super) async fn deliver(&mut self, chunk: &[Item]) -> anyhow::Result<Vec<Skipped>> {
        match self {
            Self::Stdout(output) => {
                for item in chunk {
                    output.line(&json_line(item.json()))?;
                }
                output.flush()?;
                Ok(Vec::new())
            }
            Self::Nats(replayer) => {
                let entries = chunk.iter().map(|item| &item.entry);
                Ok(replayer.deliver(entries).await?)
            }
        }
    }
}

/// Flags and variables win over the file, as they do for `serve`.
fn nats(args: &Args) -> anyhow::Result<NatsOptions> {
    let file = match &args.config {
        Some(path) => Config::read(path).context("where NATS is")?.nats,
        None => NatsConfig::default(),
    };
    let url = args.nats.clone().or(file.url).ok_or_else(|| {
        Usage(
            "no NATS server is named (name one with --nats, or a file with [nats] with --config)"
                .into(),
        )
    })?;
    Ok(NatsOptions { url, prefix: args.prefix.clone().or(file.prefix).unwrap_or_default() })
}
