//! `ennio plugin state`: what a plugin remembers, to look at, to mend, to move.

use std::{
    fs,
    io::{self, IsTerminal as _, Read as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use serde::Deserialize;

use super::super::{
    Usage,
    answers::Plugins,
    client::{Client, Connection, Params},
    output::Output,
};

/// Look at what a plugin remembers, change it, or move it to another host
///
/// A plugin has a bucket `pipeline`, which its filter and enricher write, and a bucket `reaction`.
/// A change is made between two calls of the plugin and is on disk when this command ends. Values
/// are bytes; counters are decimal numbers as text. What is shown is what is on disk: what a reaction
/// wrote gets there within 0.2 seconds.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The plugin; it need not be loaded
    #[arg(value_name = "NAME")]
    plugin: String,
    #[command(subcommand)]
    action: Action,
    /// Which bucket, where the plugin uses both
    #[arg(long, value_enum, global = true)]
    bucket: Option<Bucket>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Bucket {
    /// What filter and enricher write
    Pipeline,
    /// What the reaction writes
    Reaction,
}

impl Bucket {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::Reaction => "reaction",
        }
    }
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the value of a key, as it is
    Get {
        /// The key
        key: String,
    },
    /// Set a key
    Set {
        /// The key
        key: String,
        /// Its value; read from standard input when left out
        value: Option<String>,
    },
    /// Delete a key, if it is there
    Delete {
        /// The key
        key: String,
    },
    /// Print every entry, one JSON object a line, as all were at one moment
    Export,
    /// Take the lines of an export: all of them, or none
    Import {
        /// The export; standard input when left out
        file: Option<PathBuf>,
        /// Delete the keys that the export does not have
        #[arg(long)]
        replace: bool,
    },
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.connection)?;
    let plugin = &*args.plugin;
    let bucket = match args.bucket {
        Some(bucket) => bucket,
        None => the_one_in_use(&client, plugin).await?,
    };
    let path = ["plugins", plugin, "state", bucket.as_str()];
    let of_key = |key: &str| -> Vec<String> {
        path.iter().map(ToString::to_string).chain([key.to_owned()]).collect()
    };
    let mut output = Output::stdout();
    match args.action {
        Action::Get { key } => {
            output.write(&client.get_bytes(&of_key(&key)).await?)?;
            if io::stdout().is_terminal() {
                output.line("")?;
            }
        }
        Action::Set { key, value } => {
            let value = match value {
                Some(text) => text.into_bytes(),
                None => standard_input()?,
            };
            client.put(&of_key(&key), value).await?;
        }
        Action::Delete { key } => client.delete(&of_key(&key)).await?,
        Action::Export => output.write(&client.get_bytes(&path).await?)?,
        Action::Import { file, replace } => {
            #[derive(Deserialize)]
            struct Answer {
                imported: u64,
            }
            let lines = match &file {
                Some(file) => fs::read(file).with_context(|| file.display().to_string())?,
                None => standard_input()?,
            };
            let params: Params = match replace {
                true => vec![("replace".into(), "true".into())],
                false => vec![],
            };
            let answer: Answer = client.post(&path, &params, lines).await?;
            let keys = answer.imported;
            output.line(&format!("{keys} keys are in {plugin}'s bucket {}", bucket.as_str()))?;
        }
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn standard_input() -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).context("standard input")?;
    Ok(bytes)
}

/// The bucket that has something in it; else the one that the plugin's roles write.
async fn the_one_in_use(client: &Client, plugin: &str) -> anyhow::Result<Bucket> {
    #[derive(Deserialize)]
    struct State {
        buckets: Vec<Found>,
    }
    #[derive(Deserialize)]
    struct Found {
        bucket: String,
        keys: u64,
    }
    let state: State = client.get(&["plugins", plugin, "state"], &Params::new()).await?;
    let filled = |name: &str| state.buckets.iter().any(|b| b.bucket == name && b.keys > 0);
    let (pipeline, reaction) = match (filled("pipeline"), filled("reaction")) {
        (false, false) => {
            let plugins: Plugins = client.get(&["plugins"], &Params::new()).await?;
            let plugins = plugins.read()?;
            let roles = plugins.iter().find(|p| p.name == plugin).map(|p| p.roles.clone());
            let has = |name: &str| roles.iter().flatten().any(|role| role == name);
            (has("filter") || has("enricher"), has("reaction"))
        }
        filled => filled,
    };
    match (pipeline, reaction) {
        (true, false) => Ok(Bucket::Pipeline),
        (false, true) => Ok(Bucket::Reaction),
        (true, true) => Err(Usage(format!(
            "{plugin} has two buckets (name one with --bucket pipeline or --bucket reaction)"
        ))
        .into()),
        (false, false) => Err(Usage(format!(
            "{plugin} remembers nothing and is not loaded (check the name with `ennio plugin \
             list`, or name a bucket with --bucket)"
        ))
        .into()),
    }
}
