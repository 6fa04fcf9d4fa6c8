//! `ennio emit`: events into the host, one from flags or many from a stream.
//!
//! Order is kept: one request is under way at a time. A host that goes away is tried again, which
//! is safe since every event has an id before it is first sent: what the host has already is
//! answered as a duplicate.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read},
    path::PathBuf,
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use tokio::sync::mpsc;

use super::{
    Usage,
    answers::Outcome,
    batches::{Batches, Limits, read_all},
    client::{Client, Connection},
    filters::parse,
    input::Item,
    output::{Output, json_line, note, plain},
    sender::Sender,
};
use crate::{
    amount::parse_span,
    event::{
        Data, Draft, EventId, EventPriority, EventType, Message, ProjectId, SessionId, Timestamp,
    },
};

/// A request is at most this large, in bytes, unless one event alone is larger.
const MAX_REQUEST_BYTES: usize = 1 << 20;
/// Chunks that are read ahead of the host.
const READ_AHEAD: usize = 8;
/// Refused events that are shown.
const SHOWN: usize = 10;

const EXAMPLES: &str = "\
Examples:
  ennio emit ci_failing --project atlas --session s-1 --message 'unit tests fail'
  ennio emit custom.deploy --project atlas --session s-1 --priority action --data '{\"to\":\"eu-1\"}'
  ennio emit --file day.ndjson
  my-agent | ennio emit --json > receipts.ndjson

Types are session_spawned, pr_created, ci_failing, review_approved, merge_ready, ... and a team's own custom.<action>. An event of an id that the host has already, with the same content, is a duplicate and no failure; with other content it is refused.";

/// Send events to a host.
///
/// With a type: one event, from flags. Without one, or with `-`: events from standard input or a
/// file, as NDJSON (one event a line), a JSON array, or JSON objects one after the other.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// What happened; left out or `-`, events are read from standard input
    #[arg(value_name = "TYPE", value_parser = parse_source)]
    event_type: Option<Source>,
    /// The project that owns the event
    #[arg(long, requires = "event_type", value_parser = parse::<ProjectId>)]
    project: Option<ProjectId>,
    /// The session that the event is about
    #[arg(long, requires = "event_type", value_parser = parse::<SessionId>)]
    session: Option<SessionId>,
    /// How much attention it wants: info (when left out), action, urgent, critical
    #[arg(long, requires = "event_type", value_parser = parse::<EventPriority>)]
    priority: Option<EventPriority>,
    /// A text for people, at most 8 KiB
    #[arg(long, requires = "event_type", value_parser = parse::<Message>)]
    message: Option<Message>,
    /// A structured payload, any JSON of at most 256 KiB
    #[arg(long, value_name = "JSON", requires = "event_type", value_parser = parse::<Data>)]
    data: Option<Data>,
    /// The event's UUID, so that sending it again changes nothing; minted when left out
    #[arg(long, value_name = "UUID", requires = "event_type", value_parser = parse::<EventId>)]
    id: Option<EventId>,
    /// When it happened, in RFC 3339; the present when left out
    #[arg(long, value_name = "TIME", requires = "event_type", value_parser = parse::<Timestamp>)]
    timestamp: Option<Timestamp>,
    /// Read events from this file instead of standard input
    #[arg(long, value_name = "FILE", conflicts_with = "event_type")]
    file: Option<PathBuf>,
    /// Events in one request, which never is larger than 1 MiB
    #[arg(long, value_name = "EVENTS", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=10_000))]
    batch: u16,
    /// Try a host again that went away, for so long (30s, 5m; 0s gives up at once) [default: 30s
    /// once it was reached; a host that never answered fails at once]
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    retry_for: Option<Duration>,
    /// Print a receipt or a problem for each event, one JSON object a line, in the input's order
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone)]
enum Source {
    Flags(EventType),
    Stdin,
}

fn parse_source(text: &str) -> Result<Source, String> {
    match text {
        "-" => Ok(Source::Stdin),
        text => parse(text).map(Source::Flags),
    }
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut output = Output::stdout();
    let outcome = match &args.event_type {
        Some(Source::Flags(event_type)) => one(event_type, &args, &mut output).await,
        None if args.file.is_some() => many(&args, &mut output).await,
        None if io::stdin().is_terminal() => {
            Err(Usage("nothing to send (name a type, as in `ennio emit ci_failing --project P --session S`, or pipe events in)".into()).into())
        }
        None => many(&args, &mut output).await,
        Some(Source::Stdin) if args.has_event_flags() => {
            Err(Usage("flags describe one event, but `-` reads events from standard input (name a type instead of `-`)".into()).into())
        }
        Some(Source::Stdin) => many(&args, &mut output).await,
    };
    output.flush()?;
    outcome
}

impl Args {
    fn has_event_flags(&self) -> bool {
        self.project.is_some()
            || self.session.is_some()
            || self.priority.is_some()
            || self.message.is_some()
            || self.data.is_some()
            || self.id.is_some()
            || self.timestamp.is_some()
    }

    fn draft(&self, event_type: &EventType) -> Result<Draft, Usage> {
        let missing = |what: &str| {
            Usage(format!(
                "--{what} is missing (every event belongs to a project and is about a session)"
            ))
        };
        let project = self.project.clone().ok_or_else(|| missing("project"))?;
        let session = self.session.clone().ok_or_else(|| missing("session"))?;
        let mut draft = Draft::new(event_type.clone(), project, session);
        draft.id = Some(self.id.unwrap_or_else(EventId::mint));
        draft.priority = self.priority;
        draft.message = self.message.clone();
        draft.data = self.data.clone();
        draft.timestamp = self.timestamp;
        Ok(draft)
    }
}

/// One event, from flags.
async fn one(event_type: &EventType, args: &Args, output: &mut Output) -> anyhow::Result<ExitCode> {
    let line = line_of(&args.draft(event_type)?)?;
    let client = Client::new(&args.connection)?;
    let mut sender = Sender::new(&client, args.retry_for, ProgressBar::hidden());
    let results = sender.send([&*line]).await?;
    let Some(result) = results.into_iter().next() else { return Ok(ExitCode::FAILURE) };
    if args.json {
        output.line(&json_line(result.get()))?;
    }
    match Outcome::parse(result.get())? {
        Outcome::Stored(receipt) if !args.json => {
            let fate = match &*receipt.status {
                "duplicate" => "known already",
                "dropped" => "dropped by a filter, kept in the log",
                _ => "accepted",
            };
            output.line(&format!("{fate}: seq {}, id {}", receipt.seq, plain(&receipt.id)))?;
        }
        Outcome::Stored(_) => {}
        Outcome::Refused(problem) => {
            output.flush()?;
            return Err(anyhow!("refused: {}", plain(&problem.to_string())));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What was said and no more: what is left out is for the host to fill in.
fn line_of(draft: &Draft) -> serde_json::Result<String> {
    let mut event = serde_json::Map::new();
    let mut set = |name: &str, value: Option<String>| {
        event.extend(value.map(|value| (name.to_owned(), value.into())));
    };
    set("id", draft.id.map(|id| id.to_string()));
    set("event_type", Some(draft.event_type.to_string()));
    set("priority", draft.priority.map(|priority| priority.to_string()));
    set("session_id", Some(draft.session_id.to_string()));
    set("project_id", Some(draft.project_id.to_string()));
    set("timestamp", draft.timestamp.map(|timestamp| timestamp.to_string()));
    set("message", draft.message.as_ref().map(|message| message.as_str().to_owned()));
    let mut line = serde_json::to_string(&event)?;
    if let Some(data) = &draft.data {
        line.pop();
        line.push_str(&format!(",\"data\":{}}}", data.as_str()));
    }
    Ok(line)
}

/// Events from a stream.
async fn many(args: &Args, output: &mut Output) -> anyhow::Result<ExitCode> {
    let (from, size): (Box<dyn Read + Send>, _) = match &args.file {
        None => (Box::new(io::stdin()), None),
        Some(path) => {
            let file = File::open(path).with_context(|| path.display().to_string())?;
            let size = file.metadata().ok().filter(|meta| meta.is_file()).map(|meta| meta.len());
            (Box::new(file), size)
        }
    };
    let name =
        args.file.as_ref().map_or("standard input".into(), |path| path.display().to_string());
    let client = Client::new(&args.connection)?;
    let sender = Sender::new(&client, args.retry_for, bar(size));
    let (count, outcome) = stream(from, args.batch.into(), sender, |result| match args.json {
        true => output.line(&json_line(result)),
        false => Ok(()),
    })
    .await;
    for refusal in &count.refusals {
        note(&format!("{name}, line {}: {}", refusal.line, plain(&refusal.reason)));
    }
    if count.refused > SHOWN as u64 {
        note(&format!("... and {} more", count.refused - SHOWN as u64));
    }
    if outcome.is_ok() || count.events > 0 {
        note(&count.to_string());
    }
    outcome.with_context(|| match count.last_line {
        0 => format!("{name}: nothing was sent"),
        line => format!("{name}: stopped behind the event of line {line}"),
    })?;
    Ok(if count.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sends all of `from`; `each` gets a receipt or a problem for every event. What was done is
/// counted even where it ends early.
pub(super) async fn stream(
    from: impl Read + Send + 'static,
    batch: usize,
    mut sender: Sender<'_>,
    mut each: impl FnMut(&str) -> anyhow::Result<()>,
) -> (Count, anyhow::Result<()>) {
    let mut count = Count::default();
    let (to, chunks) = mpsc::channel(READ_AHEAD);
    // A thread of its own: reading a pipe blocks, perhaps for ever, which must not hold up an exit.
    let reader = thread::spawn(move || read_all(from, batch, &to));
    let mut batches = Batches::new(chunks, Limits { events: batch, bytes: MAX_REQUEST_BYTES });
    while let Some(batch) = batches.next().await {
        let lines = batch.items.iter().filter_map(|item| item.event.as_deref().ok());
        let mut answers = match sender.send(lines).await {
            Ok(answers) => answers.into_iter(),
            Err(error) => return (count, Err(error.into())),
        };
        for item in &batch.items {
            let result = match &item.event {
                Ok(_) => answers.next().map(|answer| answer.get().to_owned()),
                Err(reason) => Some(not_an_event(item.line, reason)),
            };
            let result = result.unwrap_or_default();
            if let Err(error) = count.add(item.line, &result).and_then(|()| each(&result)) {
                return (count, Err(error));
            }
        }
        progress(&sender.bar, batch.items.last(), count.events);
    }
    sender.bar.finish_and_clear();
    let read = match reader.join() {
        Ok(read) => read.map_err(|error| anyhow!("cannot be read further: {error}")),
        Err(_) => Err(anyhow!("reading it panicked; this is a fault of ennio")),
    };
    (count, read)
}

/// What never reaches the host gets an answer of the host's form.
fn not_an_event(line: u64, reason: &str) -> String {
    json!({"type": "about:blank", "title": "not an event", "status": 400, "detail": reason, "line": line})
        .to_string()
}

/// A bar where the end is known, a counter where it is not; nothing off a terminal.
fn bar(size: Option<u64>) -> ProgressBar {
    let template = match size {
        Some(_) => "{bar:30} {msg}, {eta} left",
        None => "{spinner} {msg}",
    };
    let bar = ProgressBar::with_draw_target(size, ProgressDrawTarget::stderr());
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn progress(bar: &ProgressBar, last: Option<&Item>, events: u64) {
    let seconds = bar.elapsed().as_secs_f64().max(0.001);
    bar.set_message(format!("{events} events, {:.0}/s", events as f64 / seconds));
    match (bar.length(), last) {
        (Some(_), Some(last)) => bar.set_position(last.end),
        _ => bar.tick(),
    }
}

/// What became of the events.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) events: u64,
    /// Where the last of them began; everything before is done.
    last_line: u64,
    pub(super) accepted: u64,
    pub(super) dropped: u64,
    pub(super) duplicate: u64,
    pub(super) refused: u64,
    pub(super) refusals: Vec<Refusal>,
}

#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) line: u64,
    pub(super) reason: String,
}

impl Count {
    fn add(&mut self, line: u64, result: &str) -> anyhow::Result<()> {
        self.events += 1;
        self.last_line = line;
        match Outcome::parse(result).context("the host's answer is no receipt")? {
            Outcome::Stored(receipt) => match &*receipt.status {
                "dropped" => self.dropped += 1,
                "duplicate" => self.duplicate += 1,
                _ => self.accepted += 1,
            },
            Outcome::Refused(problem) => {
                self.refused += 1;
                if self.refusals.len() < SHOWN {
                    self.refusals.push(Refusal { line, reason: problem.to_string() });
                }
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { events, accepted, dropped, duplicate, refused, .. } = self;
        let noun = if *events == 1 { "event" } else { "events" };
        write!(
            f,
            "{events} {noun}: {accepted} accepted, {dropped} dropped, {duplicate} duplicate, {refused} refused"
        )
    }
}
