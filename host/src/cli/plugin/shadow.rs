//! `ennio plugin shadow`: what a plugin would do with the events that a running host takes in.

use std::{
    path::{Path, PathBuf},
    pin::pin,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::{select, time::sleep};

use crate::{
    cli::{
        answers::{Plugins, Status},
        backtest::{Page, State, Terms},
        client::{Client, Connection, Params},
        filters::parse,
        gentle::giving_way,
        output::{Closed, note, stdout_closed},
        times::parse_span,
        trouble,
    },
    event::{PluginName, Selection, Seq, Timestamp},
    store::{History, Remembered},
    trial::Backtest,
};

/// How often the log is looked at.
const LOOK: Duration = Duration::from_millis(100);

const EXAMPLES: &str = "\
Examples:
  ennio plugin shadow ci-triage build/ci-triage.wasm --for 1h
  ennio plugin shadow noise-filter plugins/noise-filter.wasm --sidecar stricter.toml

Exit codes: 0 done, 1 something differs (with --fail-on-diff), 2 it could not be run.";

/// Run a candidate beside a plugin on live events, without effect, and compare.
///
/// Follows the log of a running host in a process of its own, and nothing that the candidate decides
/// leaves it. Each event that the host has committed goes through the candidate, as in `ennio
/// backtest`, and its decision is compared with what the running plugin did. Ends with Ctrl-C, after
/// --for or after --events, and then prints the summary.
///
/// The sidecar is the one beside the candidate, or else the running plugin's; the candidate
/// remembers at first what the plugin does. One that reacts comes as far as the running plugin's
/// reaction has come.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The plugin that runs
    #[arg(value_name = "NAME", value_parser = parse::<PluginName>)]
    name: PluginName,
    /// The candidate
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// End after this time (30s, 15m, 2h)
    #[arg(long = "for", value_name = "SPAN", value_parser = parse_span)]
    span: Option<Duration>,
    /// End after so many events that the host takes in
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..))]
    events: Option<u64>,
    /// SQLite file of the host's log, as this machine sees it; the host says it by default
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
    /// What the candidate remembers at first
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = State::Copy)]
    state: State,
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    trouble(giving_way(move || shadow(args)).await)
}

async fn shadow(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.connection)?;
    let status: Status = client.get(&["status"], &Params::new()).await?;
    is_known(&client, &args.name).await?;
    let database = args.db.clone().or(status.database).context("the host does not say its log")?;
    let history = History::open(&database)
        .context("the host's log has to be a file on this machine (name it with --db)")?;
    let sidecar = sidecar(&args, status.plugins_folder.as_deref());

    let now = history.remembered(&args.name, &Backtest::cursor(&args.name))?;
    let last = args.events.map_or(Seq::MAX, |events| now.head.saturating_add(events));
    let remembered = match args.state {
        State::Copy => now,
        State::Empty => {
            Remembered { entries: now.entries.map(|(side, _)| (side, Vec::new())), ..now }
        }
    };
    let environment = args.terms.environment(Timestamp::now())?;
    let (name, selection) = (args.name.clone(), Selection::default());
    let terms = args.terms.trial(&args.file, name, sidecar.as_deref(), selection, Some(remembered));
    let mut backtest = Backtest::load(terms, history, environment).await?;
    let begin = backtest.begin();
    let mut page = Page::begin(&args.terms, backtest.plugin(), begin)?;
    page.flush()?;
    note(&format!("in the shadow of {} behind seq {begin} (Ctrl-C ends it)", args.name));
    let done = follow(&mut backtest, &mut page, begin, (last, args.span)).await?;
    page.end(backtest.tally(), done)?;
    Ok(args.terms.verdict(backtest.tally()))
}

/// Follows the log behind `begin`, up to a place or for a time, or until Ctrl-C; how far it came.
async fn follow(
    backtest: &mut Backtest,
    page: &mut Page,
    begin: Seq,
    (last, span): (Seq, Option<Duration>),
) -> anyhow::Result<Seq> {
    let mut end = pin!(end(span));
    let mut done = begin;
    while done < last {
        let to = backtest.settled()?.min(last);
        if to > done {
            select! {
                ended = &mut end => return ended.map(|()| done),
                result = backtest.run(done, to, |deviation| page.deviation(&deviation)) => result?,
            }
            page.flush()?;
            done = to;
            continue;
        }
        select! {
            ended = &mut end => return ended.map(|()| done),
            () = sleep(LOOK) => {}
        }
    }
    Ok(done)
}

/// Comes with Ctrl-C, or after `span`.
async fn end(span: Option<Duration>) -> anyhow::Result<()> {
    let passed = async {
        match span {
            Some(span) => sleep(span).await,
            None => std::future::pending().await,
        }
    };
    select! {
        () = passed => Ok(()),
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("Ctrl-C cannot be waited for")
        }
        closed = stdout_closed() => Err(Closed::into(closed)),
    }
}

async fn is_known(client: &Client, name: &PluginName) -> anyhow::Result<()> {
    let plugins: Plugins = client.get(&["plugins"], &Params::new()).await?;
    let names: Vec<String> = plugins.read()?.into_iter().map(|plugin| plugin.name).collect();
    if names.iter().any(|known| known == name.as_str()) {
        return Ok(());
    }
    bail!(
        "the host at {} has no plugin {name} (it has: {})",
        client.url(),
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    )
}

/// The running plugin's sidecar, where the candidate has none of its own.
fn sidecar(args: &Args, folder: Option<&Path>) -> Option<PathBuf> {
    if args.file.with_extension("toml").exists() {
        return None;
    }
    let file = folder?.join(format!("{}.toml", args.name));
    file.exists().then_some(file)
}
