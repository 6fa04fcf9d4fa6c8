//! `ennio replay`: history sent once more, in its order.
//!
//! Reads the log page by page (`history`), waits where the spacing is to be kept (`pace`), sends
//! chunks (`sink`) and notes each that was taken whole (`journal`). It asks a host for what is to be
//! read and never writes to a log. Whoever is killed sends at most one chunk again.

mod history;
mod journal;
mod pace;
mod sink;

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _},
    path::PathBuf,
    process::ExitCode,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    Usage,
    client::Connection,
    filters::{Filters, parse},
    output::{Closed, Output, note, plain, stdout_closed},
    progress::Progress,
    range::Range,
    serve::Signals,
    tally::thousands,
};
use crate::{
    event::{Category, Seq, SubjectPattern, Timestamp},
    nats::{NatsUrl, Prefix, ReplayId},
};
use history::{History, Item, Part};
use journal::Journal;
use pace::{Pace, Speed};
use sink::Sink;

/// Events that are sent before one waits for all of them to be taken. As many as the NATS room has
/// under way.
const CHUNK: usize = 256;

/// The exit code of a command that was interrupted.
const INTERRUPTED: u8 = 130;

const EXAMPLES: &str = "\
Examples:
  ennio replay --from 7d --to-nats --dry-run                        what would be sent
  ennio replay --from 7d --subject 'ennio.ci.>' --to-nats           a week of CI, on its subjects
  ennio replay --from 1200 --to 1300 --to-stdout                    101 events as JSON
  ennio replay --to-nats --prefix staging --speed 10x               ten times as fast as it happened
  ennio replay --resume 3f9c01d7be42                                after Ctrl-C, or a kill

A message of a replay has the header Ennio-Replay with the id of the replay, and the Nats-Msg-Id
EVENT-replay-ID: a stream takes it although it has the event, and takes it once for each replay.";

/// Send history once more
///
/// Events go out in the order of the log, to NATS as the host publishes them but marked, or to
/// standard output as JSON. Nothing is added to the log, and what is committed after the beginning is
/// not sent. History is asked of the running host, or read from a file with --db. Ctrl-C ends it in
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
    #[arg(long, value_name = "ID", conflicts_with_all = ["to_stdout", "to_nats", "dry_run", "from",
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
    /// To standard output, the JSON of `ennio events --json`
    #[arg(long)]
    to_stdout: bool,
}

impl Args {
    fn check(&self) -> Result<(), Usage> {
        let Target { to_nats, to_stdout } = self.to;
        if !to_nats && !to_stdout && !self.dry_run {
            return Err(Usage("where to? (--to-nats, --to-stdout, or only --dry-run)".into()));
        }
        if to_nats && self.filters.include_dropped() {
            return Err(Usage(
                "what a filter hid is never published (--include-dropped goes with --to-stdout)"
                    .into(),
            ));
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
    if let Some(id) = &args.resume {
        let journal = Journal::read(id)?;
        let args = journal.args(journal::more(journal::words()?))?;
        let history = History::open(&args, journal.part()?).await?;
        return go(&args, history, journal).await;
    }
    args.check()?;
    let history = History::open(&args, args.part()).await?;
    if args.dry_run {
        return count(history).await;
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
    let mut run = Run { sink, journal, progress, stop, end, skipped: 0 };
    let outcome = run.send(&mut history, Pace::new(args.speed)).await;
    run.progress.clear();
    let Run { journal, skipped, .. } = run;
    let sent = format!("{} events", thousands(journal.events()));
    let skipped = match skipped {
        0 => String::new(),
        skipped => format!(", {} were skipped", thousands(skipped)),
    };
    match outcome {
        Ok(Outcome::Done) => {
            journal.remove()?;
            note(&format!("replay {id}: done, {sent}{skipped}"));
            Ok(ExitCode::SUCCESS)
        }
        Ok(Outcome::Interrupted) => {
            note(&format!(
                "replay {id}: interrupted behind seq {}, {sent}{skipped}",
                journal.done()
            ));
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
    skipped: u64,
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
                return Ok(Outcome::Done);
            };
            for item in page {
                if let Some(due) = due(&mut pace, &item) {
                    self.deliver(&mut chunk).await?;
                    self.wait(due, item.entry.seq).await?;
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

    /// Sends a chunk, and notes that it is done.
    async fn deliver(&mut self, chunk: &mut Vec<Item>) -> anyhow::Result<()> {
        let Some(last) = chunk.last().map(|item| item.entry.seq) else { return Ok(()) };
        for skipped in self.sink.deliver(chunk).await? {
            let reason = plain(&skipped.reason).into_owned();
            self.progress.note(&format!("seq {} is not sent: {reason}", skipped.seq));
            self.skipped += 1;
        }
        self.journal.save(last, chunk.len() as u64)?;
        self.progress.at(last, self.end);
        chunk.clear();
        Ok(())
    }

    /// Until then, or a signal.
    async fn wait(&mut self, due: Instant, seq: Seq) -> anyhow::Result<()> {
        let seconds = due.saturating_duration_since(Instant::now()).as_secs();
        if seconds > 0 {
            self.progress.message(format!("(seq {seq} in {seconds} s)"));
        }
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

/// Reads all of it and sends nothing.
async fn count(mut history: History) -> anyhow::Result<ExitCode> {
    let end = history.part().end;
    let mut progress = Progress::new("counting", history.part().after);
    let mut by_category = BTreeMap::<&str, u64>::new();
    let mut places: Option<(Seq, Seq)> = None;
    let mut times: Option<(Timestamp, Timestamp)> = None;
    while let Some(page) = history.page().await? {
        for Item { entry, .. } in &page {
            *by_category.entry(entry.event.event_type.category().token()).or_default() += 1;
            let (seq, at) = (entry.seq, entry.event.timestamp);
            places = Some(places.map_or((seq, seq), |(first, _)| (first, seq)));
            times = Some(times.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
        }
        progress.at(history.part().after, end);
    }
    progress.clear();
    let mut output = Output::stdout();
    for line in counted(&by_category, places, times) {
        output.line(&line)?;
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn counted(
    by_category: &BTreeMap<&str, u64>,
    places: Option<(Seq, Seq)>,
    times: Option<(Timestamp, Timestamp)>,
) -> Vec<String> {
    let (Some((first, last)), Some((earliest, latest))) = (places, times) else {
        return vec!["would send nothing: no event is chosen".into()];
    };
    let all: u64 = by_category.values().sum();
    let mut lines = vec![
        format!("would send {} events, seq {first} to {last}", thousands(all)),
        format!("happened from {earliest} to {latest}"),
    ];
    let chosen = Category::ALL.into_iter().map(Category::token);
    let counts = chosen.filter_map(|token| Some((token, by_category.get(token)?)));
    lines.extend(counts.map(|(token, count)| format!("{:>9}  {token}", thousands(*count))));
    lines
}
