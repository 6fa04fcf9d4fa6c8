//! `ennio backtest`: what a plugin would have done with the events of the log.
//!
//! `terms` are the flags that it shares with `plugin shadow`, `page` is what both print.

mod page;
mod terms;

use std::{path::PathBuf, process::ExitCode};

use clap::ValueEnum;

use super::{Usage, filters::parse, gentle::giving_way, times::parse_when_now, trouble};
use crate::{
    event::{PluginName, Selection, Seq, Timestamp},
    store::{History, Remembered},
    trial::Backtest,
};
pub(super) use page::Page;
pub(super) use terms::Terms;

const EXAMPLES: &str = "\
Examples:
  ennio backtest noise-filter.wasm --since 7d
  ennio backtest plugins/noise-filter.wasm --sidecar stricter.toml --since 7d
  ennio backtest build/v2.wasm --as tag --since 2026-08-01T00:00:00Z --fail-on-diff --json

Exit codes: 0 done, 1 something differs (with --fail-on-diff), 2 it could not be run.";

/// Run a plugin over the log, and compare with what the plugin of its name did.
///
/// Reads the log's file, beside a running host if need be, and writes nothing: the candidate gets
/// each event as the plugin got it then, decides in its sandbox with a state of its own, and what it
/// decides is compared with what the log has under its name: drops, changes, emitted events. Its
/// clock stands at the events, its random numbers derive from them, and its requests are refused or
/// answered from a table, so that two runs over the same events have the same outcome. It takes one
/// processor, at the lowest priority, so that a host beside it does not slow down.
///
/// What follows from a decision is not played through. Of what an enricher overwrote, the log has
/// only the new value: where the former one cannot be restored, the candidate gets the event as it is
/// stored, which is counted. An event that another plugin dropped is not shown to the candidate.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The candidate, `NAME.wasm`; `NAME.toml` beside it is its sidecar
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The plugin of the log that it is compared with [default: the file's name]
    #[arg(long = "as", value_name = "NAME", value_parser = parse::<PluginName>)]
    name: Option<PluginName>,
    /// SQLite file of the log
    #[arg(long, env = "ENNIO_DB", value_name = "FILE", default_value = "ennio.db")]
    db: PathBuf,
    /// Events that happened at this time (RFC 3339) or later, or within this span (15m, 2h, 7d), or
    /// that stand at this place of the log or behind it
    #[arg(long, value_name = "WHEN", value_parser = Bound::parse)]
    since: Option<Bound>,
    /// Events that happened before this time, or longer ago than this span, or that stand before
    /// this place of the log
    #[arg(long, value_name = "WHEN", value_parser = Bound::parse)]
    until: Option<Bound>,
    /// What the candidate remembers at first
    #[arg(long, value_name = "WHAT", value_enum, default_value_t)]
    state: State,
    #[command(flatten)]
    terms: Terms,
}

/// Where a stretch of the log begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Time(Timestamp),
    Place(Seq),
}

impl Bound {
    fn parse(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(seq) => Ok(Self::Place(seq)),
            Err(_) => parse_when_now(text)
                .map(Self::Time)
                .map_err(|reason| format!("{reason} (or a place in the log: 1200)")),
        }
    }
}

/// What a candidate remembers at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum State {
    /// Nothing
    #[default]
    Empty,
    /// A copy of what the plugin of its name remembers now
    Copy,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    trouble(giving_way(move || backtest(args)).await)
}

async fn backtest(args: Args) -> anyhow::Result<ExitCode> {
    let name = match args.name {
        Some(name) => name,
        None => terms::name_of(&args.file)?,
    };
    let history = History::open(&args.db)?;
    let mut selection = Selection::default();
    let (mut after, mut to) = (0, history.head()?);
    match args.since {
        Some(Bound::Time(time)) => selection.since = Some(time),
        Some(Bound::Place(seq)) => after = seq.saturating_sub(1),
        None => {}
    }
    match args.until {
        Some(Bound::Time(time)) => selection.until = Some(time),
        Some(Bound::Place(seq)) => to = to.min(seq.saturating_sub(1)),
        None => {}
    }
    if after >= to {
        return Err(Usage(format!(
            "{} has no events there: its places are 1 to {} (see --since and --until)",
            args.db.display(),
            history.head()?
        ))
        .into());
    }
    let remembered = match args.state {
        State::Empty => None,
        State::Copy => {
            let now = history.remembered(&name, &Backtest::cursor(&name))?;
            // As if it had remembered that before the first event.
            Some(Remembered { head: 0, reacted: Some(0), ..now })
        }
    };
    // What the candidate sees when it is loaded is the same at every run, too.
    let start = history.first_time(after)?.unwrap_or_else(Timestamp::now);
    let environment = args.terms.environment(start)?;
    let terms = args.terms.trial(&args.file, name, None, selection, remembered);
    let mut backtest = Backtest::load(terms, history, environment).await?;
    let mut page = Page::begin(&args.terms, backtest.plugin(), after)?;
    backtest.run(after, to, |deviation| page.deviation(&deviation)).await?;
    page.end(backtest.tally(), to)?;
    Ok(args.terms.verdict(backtest.tally()))
}
