//! The flags of whatever runs a candidate over the log.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::anyhow;

use crate::{
    cli::{output::Colour, plugin::recording::key_value},
    event::{PluginName, Selection, SubjectPattern, Timestamp},
    plugin::{Environment, Recorded},
    store::Remembered,
    trial::{self, Tally},
};

/// Events of one call, as in a host.
const BATCH: u8 = 64;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Terms {
    /// Another sidecar than the one beside the candidate
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) sidecar: Option<PathBuf>,
    /// Only events published where this pattern says, like ennio.ci.>; may be given several times
    #[arg(long, value_name = "PATTERN")]
    subject: Vec<SubjectPattern>,
    /// Take the plugin's turn to have been the first among filters or enrichers, and not the last:
    /// it gets events without what others changed, and those that other filters dropped
    #[arg(long)]
    first: bool,
    /// Answer the candidate's requests from this file (TOML: [[answer]] with method, url, status,
    /// headers, body), as far as its sidecar grants them; without it, all are refused
    #[arg(long, value_name = "FILE")]
    http_table: Option<PathBuf>,
    /// A value of the configuration instead of the sidecar's; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    config: Vec<(String, String)>,
    /// Other random numbers
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// Events of one call at most
    #[arg(long, value_name = "EVENTS", default_value_t = BATCH)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=i64::from(BATCH)))]
    batch: u8,
    /// Show this many events for each way to differ; 0 for all
    #[arg(long, value_name = "EVENTS", default_value_t = 5)]
    samples: u64,
    /// Exit with 1 when anything differs, or the candidate fails on an event
    #[arg(long)]
    fail_on_diff: bool,
    /// Print everything as JSON, one object a line: the candidate, each sample, and a summary
    #[arg(long)]
    pub(super) json: bool,
    /// When to colour
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub(super) color: Colour,
}

impl Terms {
    /// What the candidate lives in, from `start` on.
    pub(in crate::cli) fn environment(&self, start: Timestamp) -> anyhow::Result<Environment> {
        let environment =
            Environment::following(start, self.seed).config(self.config.iter().cloned());
        Ok(match &self.http_table {
            Some(file) => environment.answering(Recorded::read(file)?),
            None => environment,
        })
    }

    /// The same for the trial. `sidecar` is what counts unless a flag names another.
    pub(in crate::cli) fn trial<'a>(
        &'a self,
        file: &'a Path,
        name: PluginName,
        sidecar: Option<&'a Path>,
        selection: Selection,
        remembered: Option<Remembered>,
    ) -> trial::Terms<'a> {
        trial::Terms {
            file,
            name,
            sidecar: self.sidecar.as_deref().or(sidecar),
            selection: Selection { patterns: self.subject.clone(), ..selection },
            remembered,
            batch: self.batch.into(),
            first: self.first,
            samples: if self.samples == 0 { u64::MAX } else { self.samples },
        }
    }

    pub(in crate::cli) fn verdict(&self, tally: Tally) -> ExitCode {
        match self.fail_on_diff && tally.different > 0 {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        }
    }
}

/// The plugin that a component is by its file's name.
pub(super) fn name_of(file: &Path) -> anyhow::Result<PluginName> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    stem.parse().map_err(|reason| {
        anyhow!("{}: {stem:?} {reason} (name the plugin with --as)", file.display())
    })
}
