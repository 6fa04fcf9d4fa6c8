//! `ennio replay`: history sent once more, in its order.
//!
//! Reads the log page by page (`history`), waits where the spacing is to be kept (`pace`), sends
//! chunks (`sink`) and notes each that was taken whole (`journal`). It asks a host for what is to be
//! read and never writes to a log. Whoever is killed sends at most one chunk again. Its threads give
//! way to everybody.

mod dry_run;
mod history;
mod journal;
mod pace;
mod sink;

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    Usage,
    client::Connection,
    filters::{Filters, parse},
    gentle::giving_way,
    nats::Login,
    output::{Closed, note, plain, stdout_closed},
    progress::Progress,
    range::Range,
    serve::Signals,
    tally::thousands,
};
use crate::{
    event::{PluginName, Seq, SubjectPattern},
    nats::{NatsUrl, Prefix, ReplayId},
};
use history::{History, Item, Part};
use journal::Journal;
use pace::{Pace, Speed};
use sink::{Sink, Taken};

/// Events that are sent before one waits for all of them to be taken. As many as the NATS room has
/// under way.
const CHUNK: usize = 256;

/// Before one who had no room is asked again.
const ROOM_EVERY: Duration = Duration::from_millis(200);

/// The exit code of a command that was interrupted.
const INTERRUPTED: u8 = 130;

const EXAMPLES: &str = "\
Examples:
  ennio replay --from 7d --to-nats --dry-run                        what would be sent
  ennio replay --from 7d --subject 'ennio.ci.>' --to-nats           a week of CI, on its subjects
  ennio replay --from 1200 --to 1300 --to-stdout                    101 events as JSON
  ennio replay --to-nats --prefix staging --speed 10x               ten times as fast as it happened
  ennio replay --from 2h --to-plugin notify-webhook                 a reaction once more
  ennio replay --resume 3f9c01d7be42                                after Ctrl-C, or a kill

A message of a replay has the header Ennio-Replay with the id of the replay, and the Nats-Msg-Id
EVENT-replay-ID: a stream takes it although it has the event, and takes it once for each replay.";

/// Send history once more
///
/// Events go out in the order of the log, to NATS as the host publishes them but marked, or to
/// standard output as JSON. Nothing is added to the log, and what is committed after the beginning is
/// not sent. A reaction comes back to events as to a dead letter that is retried: it acts again and
/// changes its state again, while what it has emitted already is not emitted again. History is asked of the running host, or read from a file with --db. Ctrl-C ends it in
/// order and says how to go on; a replay that was killed sends at most 256 events again.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub(super) struct Args {
    #[command(flatten)]
    to: Target,
    /// max, or a multiple of the speed at which it happened, by the events' timestamps: 1x, 10x,
    /// 0.5x; what reactions emitted follows at once
    #[arg(long, value_name = "SPEED", default_value = "max")]
    speed: Speed,
    /// Only count what would be sent
    #[arg(long)]
    dry_run: bool,
    /// Go on with this replay, as it was begun; --url, --token, --nats and --config may be given anew
    #[arg(long, value_name = "ID", conflicts_with_all = ["to_stdout", "to_nats", "to_plugin", "dry_run", "from",
        "to", "subject", "types", "project", "session", "min_priority", "include_dropped", "db", "prefix"])]
    resume: Option<ReplayId>,
    /// Published where this pattern says, like ennio.ci.*.failing; may be given several times
    #[arg(long, value_name = "PATTERN", help_heading = "Which events")]
    subject: Vec<SubjectPattern>,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    filters: Filters,
    /// Read history from this log file instead of asking a host
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    db: Option<PathBuf>,
    /// NATS server to send to
    #[arg(
        long,
        env = "ENNIO_NATS",
        value_name = "URL",
        hide_env_values = true,
        help_heading = "Connection"
    )]
    nats: Option<NatsUrl>,
    #[command(flatten)]
    login: Login,
    /// Configuration file whose [nats] says where to send to
    #[arg(long, env = "ENNIO_CONFIG", value_name = "FILE", help_heading = "Connection")]
    config: Option<PathBuf>,
    /// First token of the subjects that are sent to [default: as in the configuration, or ennio]
    #[arg(long, value_name = "TOKEN", value_parser = parse::<Prefix>, help_heading = "Connection")]
    prefix: Option<Prefix>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Target {
    /// To NATS, on the events' subjects
    #[arg(long)]
    to_nats: bool,
    /// To a reaction of the running host, which comes back to events that it has passed
    #[arg(long, value_name = "NAME", value_parser = parse::<PluginName>)]
    to_plugin: Option<PluginName>,
    /// To standard output, the JSON of `ennio events --json`
    #[arg(long)]
    to_stdout: bool,
}

impl Args {
    fn check(&self) -> Result<(), Usage> {
        let Target { to_nats, to_plugin, to_stdout } = &self.to;
        let to_others = *to_nats || to_plugin.is_some();
        let usage = |text: &str| Err(Usage(text.into()));
        if !to_others && !to_stdout && !self.dry_run {
            return usage(
                "where to? (--to-nats, --to-plugin NAME, --to-stdout, or only --dry-run)",
            );
        }
        if to_others && self.filters.include_dropped() {
            return usage(
                "what a filter hid goes to nobody (--include-dropped is for --to-stdout)",
            );
        }
        if to_plugin.is_some() && self.db.is_some() {
            return usage("--to-plugin is about the log of the host (--db reads another)");
        }
        Ok(())
    }

    fn part(&self) -> Part {
        Part {
            after: self.range.after(),
            end: self.range.last().unwrap_or(Seq::MAX),
            since: self.range.since(),
            until: self.range.until(),
        }
    }
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    giving_way(move || replay(args)).await
}

async fn replay(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(id) = &args.resume {
        let journal = Journal::read(id)?;
        let args = journal.args(journal::more(journal::words()?))?;
        let history = History::open(&args, journal.part()?).await?;
        return go(&args, history, journal).await;
    }
    args.check()?;
    let history = History::open(&args, args.part()).await?;
    if args.dry_run {
        return dry_run::count(history).await;
    }
    let journal = Journal::begin(journal::words()?, history.part())?;
    go(&args, history, journal).await
}

/// Sends what is left, and says how it ended.
async fn go(args: &Args, mut history: History, journal: Journal) -> anyhow::Result<ExitCode> {
    // Before anything is sent, so that no signal finds it undone.
    let stop = stop_on_signals()?;
    let sink = Sink::open(args, &journal.id).await?;
    let (id, name) = (journal.id.clone(), sink.name());
    let Part { after, end, .. } = *history.part();
    note(&format!("replay {id}: seq {} to {end} to {}", after.min(end) + 1, plain(&name)));
    let progress = match args.to.to_stdout && io::stdout().is_terminal() {
        true => Progress::hidden(),
        false => Progress::new("replaying", after),
    };
    let mut run = Run { sink, journal, progress, stop, end, skipped: 0, passed: 0 };
    let outcome = run.send(&mut history, Pace::new(args.speed)).await;
    run.progress.clear();
    let Run { journal, skipped, passed, .. } = run;
    let mut sent = format!("{} events", thousands(journal.events()));
    for (count, what) in [(skipped, "are too large"), (passed, "are not for it")] {
        if count > 0 {
            sent += &format!(", {} more {what}", thousands(count));
        }
    }
    match outcome {
        Ok(Outcome::Done) => {
            journal.remove()?;
            note(&format!("replay {id}: done, {sent}"));
            Ok(ExitCode::SUCCESS)
        }
        Ok(Outcome::Interrupted) => {
            note(&format!("replay {id}: interrupted behind seq {}, {sent}", journal.done()));
            tell_the_way_on(&journal);
            Ok(ExitCode::from(INTERRUPTED))
        }
        Err(error) if error.is::<Closed>() => {
            journal.remove()?;
            Err(error)
        }
        Err(error) => {
            tell_the_way_on(&journal);
            Err(error)
        }
    }
}

fn tell_the_way_on(journal: &Journal) {
    match journal.way_on() {
        Some(command) => note(&format!("to go on behind seq {}:\n  {command}", journal.done())),
        None => note("nothing was sent"),
    }
}

enum Outcome {
    Done,
    Interrupted,
}

/// One replay while it runs.
struct Run {
    sink: Sink,
    journal: Journal,
    progress: Progress,
    /// Turns true with the first signal.
    stop: watch::Receiver<bool>,
    end: Seq,
    /// Events that are too large.
    skipped: u64,
    /// Events that are not for whom they were handed to.
    passed: u64,
}

impl Run {
    async fn send(&mut self, history: &mut History, mut pace: Pace) -> anyhow::Result<Outcome> {
        let mut chunk = Vec::with_capacity(CHUNK);
        loop {
            let page = tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return Ok(Outcome::Interrupted),
                page = history.page() => page?,
            };
            let Some(page) = page else {
                self.deliver(&mut chunk).await?;
                return Ok(if chunk.is_empty() { Outcome::Done } else { Outcome::Interrupted });
            };
            for item in page {
                if let Some(due) = due(&mut pace, &item) {
                    self.deliver(&mut chunk).await?;
                    let seconds = due.saturating_duration_since(Instant::now()).as_secs();
                    let next = format!("seq {} in {seconds} s", item.entry.seq);
                    self.wait(due, &next).await?;
                }
                if *self.stop.borrow() {
                    return Ok(Outcome::Interrupted);
                }
                chunk.push(item);
                if chunk.len() == CHUNK {
                    self.deliver(&mut chunk).await?;
                }
            }
        }
    }

    /// Sends a chunk, and notes what is done of it. Something of it is left only when a signal came
    /// while there was no room.
    async fn deliver(&mut self, chunk: &mut Vec<Item>) -> anyhow::Result<()> {
        while !chunk.is_empty() {
            let Taken { handled, skipped, passed } = self.sink.deliver(chunk).await?;
            for skipped in &skipped {
                let reason = plain(&skipped.reason);
                self.progress.note(&format!("seq {} is not sent: {reason}", skipped.seq));
            }
            self.skipped += skipped.len() as u64;
            self.passed += passed;
            match chunk.drain(..handled).next_back().map(|item| item.entry.seq) {
                Some(done) => {
                    let sent = handled as u64 - passed - skipped.len() as u64;
                    self.journal.save(done, sent)?;
                    self.progress.at(done, self.end);
                }
                None if *self.stop.borrow() => return Ok(()),
                None => self.wait(Instant::now() + ROOM_EVERY, "no room yet").await?,
            }
        }
        Ok(())
    }

    /// Until then, or a signal.
    async fn wait(&mut self, due: Instant, what_for: &str) -> anyhow::Result<()> {
        self.progress.message(format!("({what_for})"));
        tokio::select! {
            biased;
            () = stopped(&mut self.stop) => {}
            // Otherwise only the next event would tell.
            closed = stdout_closed(), if matches!(self.sink, Sink::Stdout(_)) => {
                return Err(closed.into());
            }
            () = sleep_until(due) => {}
        }
        self.progress.message(String::new());
        Ok(())
    }
}

/// What a reaction emitted follows at once on what came before it: in a log that was filled with an
/// earlier day, only reactions happened when the host ran.
fn due(pace: &mut Pace, item: &Item) -> Option<Instant> {
    match item.entry.caused_by {
        Some(_) => None,
        None => pace.due(item.entry.event.timestamp, Instant::now()),
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Who tells of signals lives as long as the process.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The first signal ends the replay in order, the second at once.
fn stop_on_signals() -> anyhow::Result<watch::Receiver<bool>> {
    let mut signals = Signals::listen()?;
    let (tell, stop) = watch::channel(false);
    tokio::spawn(async move {
        signals.next().await;
        tell.send_replace(true);
        signals.next().await;
        std::process::exit(INTERRUPTED.into());
    });
    Ok(stop)
}
