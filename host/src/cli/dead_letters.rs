//! `ennio dead-letters`: what reactions gave up on; `refused` below it, what never became an event.

use std::process::ExitCode;

use clap::Subcommand;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    answers::Entry,
    client::{Client, Connection, Params},
    events,
    filters::parse,
    output::{Colour, Colours, Output, json_line, note, plain},
    refused,
    table::{Cell, Table, figures, text, whole},
    times::{date_and_clock, day_and_clock},
};
use crate::event::{PluginName, Seq, SubjectPattern};

/// What the host gives at most at once.
const PAGE: usize = 500;

const EXAMPLES: &str = "\
Examples:
  ennio dead-letters list --plugin notify-webhook
  ennio dead-letters show 12                        with its event and every attempt
  ennio dead-letters retry 12 13                    try these again
  ennio dead-letters retry --subject 'ennio.ci.>'   all of these subjects
  ennio dead-letters discard --all
  ennio dead-letters refused list                   what came in over NATS and is no event";

/// Look at what reactions gave up on, have it tried again, or throw it away
///
/// An event that a reaction plugin failed on more often than its sidecar's `retries` is a dead letter
/// of that plugin. The event itself stays in the log, whatever happens to the dead letter.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(List),
    Show(Show),
    /// Have dead letters tried again, as often as new events: at once where their plugin is loaded,
    /// else as soon as it is
    Retry(Choice),
    /// Throw dead letters away
    Discard(Choice),
    Refused(refused::Args),
}

/// List dead letters, the oldest first
#[derive(Debug, clap::Args)]
struct List {
    /// Of this plugin
    #[arg(long, value_name = "NAME", value_parser = parse::<PluginName>)]
    plugin: Option<PluginName>,
    /// Published where this pattern says, like ennio.ci.*.failing; may be given several times
    #[arg(long, value_name = "PATTERN")]
    subject: Vec<SubjectPattern>,
    /// Dead letters to show at most; 0 for all
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
    /// Print each as the host's JSON, one line each
    #[arg(long)]
    json: bool,
    /// When to colour
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    color: Colour,
    #[command(flatten)]
    connection: Connection,
}

/// Show a dead letter with its event and every attempt
#[derive(Debug, clap::Args)]
struct Show {
    /// Its number, as `list` shows it
    id: u64,
    /// Print the host's JSON, on one line
    #[arg(long)]
    json: bool,
    /// When to colour
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    color: Colour,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Args)]
struct Choice {
    /// Their numbers, as `list` shows them
    #[arg(value_name = "ID", conflicts_with_all = ["plugin", "subject", "all"])]
    #[arg(required_unless_present_any = ["plugin", "subject", "all"])]
    ids: Vec<u64>,
    /// Those of this plugin
    #[arg(long, value_name = "NAME", value_parser = parse::<PluginName>, conflicts_with = "all")]
    plugin: Option<PluginName>,
    /// Those published where this pattern says; may be given several times
    #[arg(long, value_name = "PATTERN", conflicts_with = "all")]
    subject: Vec<SubjectPattern>,
    /// All of them
    #[arg(long)]
    all: bool,
    /// Print what became of them as JSON, on one line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Page {
    dead_letters: Vec<Box<RawValue>>,
    next: Option<i64>,
}

#[derive(Deserialize)]
struct Letter {
    id: i64,
    plugin: String,
    event_seq: Seq,
    subject: String,
    reason: String,
    attempts: u32,
    died_at: String,
}

#[derive(Deserialize)]
struct Whole {
    #[serde(flatten)]
    letter: Letter,
    history: Vec<Attempt>,
}

/// Apart, since what is flattened cannot keep an event's data as it is.
#[derive(Deserialize)]
struct Event {
    event: Entry,
}

#[derive(Deserialize)]
struct Attempt {
    attempt: u32,
    at: String,
    error: String,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::List(args) => list(args).await,
        Action::Show(args) => show(args).await,
        Action::Retry(choice) => retry(choice).await,
        Action::Discard(choice) => discard(choice).await,
        Action::Refused(args) => refused::run(args).await,
    }
}

async fn list(args: List) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.connection)?;
    let mut output = Output::stdout();
    let colours = output.colours(args.color);
    let mut left = if args.limit == 0 { usize::MAX } else { args.limit };
    let mut heading = Some(colours.heading());
    let mut next = None;
    while left > 0 {
        let mut params = narrowed(args.plugin.as_ref(), &args.subject);
        params.extend(next.map(|after: i64| ("after".into(), after.to_string())));
        params.push(("limit".into(), left.min(PAGE).to_string()));
        let page: Page = client.get(&["dead-letters"], &params).await?;
        left = left.saturating_sub(page.dead_letters.len());
        next = page.next;
        if args.json {
            page.dead_letters.iter().try_for_each(|raw| output.line(&json_line(raw.get())))?;
        } else if !page.dead_letters.is_empty() {
            let letters = page.dead_letters.iter().map(|raw| serde_json::from_str(raw.get()));
            let table = table(&letters.collect::<Result<Vec<_>, _>>()?, colours);
            let lines = table.lines(heading.take(), output.width());
            lines.iter().try_for_each(|line| output.line(line))?;
        }
        if next.is_none() {
            break;
        }
    }
    output.flush()?;
    if next.is_some() && !args.json {
        note("there may be more: --limit 0 shows all");
    }
    Ok(ExitCode::SUCCESS)
}

fn table(letters: &[Letter], colours: Colours) -> Table {
    let mut table = Table::new([
        figures("ID"),
        whole("DIED"),
        text("PLUGIN"),
        figures("SEQ"),
        text("SUBJECT"),
        figures("ATTEMPTS"),
        text("REASON"),
    ]);
    for letter in letters {
        table.row([
            Cell::new(letter.id),
            Cell::new(day_and_clock(&letter.died_at)),
            Cell::new(&letter.plugin),
            Cell::new(letter.event_seq),
            Cell::styled(&letter.subject, colours.subject()),
            Cell::new(letter.attempts),
            Cell::styled(&letter.reason, colours.bad()),
        ]);
    }
    table
}

async fn show(args: Show) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.connection)?;
    let path = ["dead-letters", &args.id.to_string()];
    let raw: Box<RawValue> = client.get(&path, &Params::new()).await?;
    let mut output = Output::stdout();
    if args.json {
        output.line(&json_line(raw.get()))?;
    } else {
        let colours = output.colours(args.color);
        let lines = describe(raw.get(), colours)?;
        lines.iter().try_for_each(|line| output.line(line))?;
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn describe(json: &str, colours: Colours) -> anyhow::Result<Vec<String>> {
    let Whole { letter, history } = serde_json::from_str(json)?;
    let Event { event } = serde_json::from_str(json)?;
    let mut lines = vec![
        plain(&format!(
            "dead letter {} of {}, {} attempts, died {}",
            letter.id,
            letter.plugin,
            letter.attempts,
            date_and_clock(&letter.died_at)
        ))
        .into_owned(),
    ];
    for Attempt { attempt, at, error } in history {
        let error = colours.bad().style(plain(&error).into_owned()).to_string();
        lines.push(format!("  {attempt:>3}  {}  {error}", date_and_clock(&at)));
    }
    lines.push(String::new());
    lines.extend(events::whole(&event, colours));
    Ok(lines)
}

async fn retry(choice: Choice) -> anyhow::Result<ExitCode> {
    #[derive(Deserialize)]
    struct Answer {
        retried: u64,
        left: u64,
    }
    let client = Client::new(&choice.connection)?;
    let (mut retried, mut left) = (0, 0);
    for (path, params) in choice.requests(Some("retry")) {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let answer: Answer = client.post(&path, &params, Vec::new()).await?;
        retried += answer.retried;
        left += answer.left;
    }
    let words = match left {
        0 => format!("{} tried again", are(retried)),
        left => format!(
            "{} tried again, {} left: as many events wait as may (repeat this when some have ended)",
            are(retried),
            are(left)
        ),
    };
    say(choice.json, &serde_json::json!({"retried": retried, "left": left}), &words)
}

async fn discard(choice: Choice) -> anyhow::Result<ExitCode> {
    #[derive(Deserialize)]
    struct Answer {
        discarded: u64,
    }
    let client = Client::new(&choice.connection)?;
    let mut discarded = 0;
    for (path, params) in choice.requests(None) {
        let answer: Answer = client.delete_some(&path, &params).await?;
        discarded += answer.discarded;
    }
    let words = format!("{} discarded", are(discarded));
    say(choice.json, &serde_json::json!({"discarded": discarded}), &words)
}

/// So many of them are.
fn are(count: u64) -> String {
    let verb = if count == 1 { "is" } else { "are" };
    format!("{count} {verb}")
}

impl Choice {
    /// What is asked of the host: a path for each number, or one for all that are chosen.
    fn requests(&self, action: Option<&str>) -> Vec<(Vec<String>, Params)> {
        let path = |id: Option<String>| -> Vec<String> {
            let parts = std::iter::once("dead-letters".to_owned()).chain(id);
            parts.chain(action.map(str::to_owned)).collect()
        };
        if !self.ids.is_empty() {
            return self.ids.iter().map(|id| (path(Some(id.to_string())), Params::new())).collect();
        }
        let mut params = narrowed(self.plugin.as_ref(), &self.subject);
        if self.all {
            params.push(("all".into(), "true".into()));
        }
        vec![(path(None), params)]
    }
}

fn narrowed(plugin: Option<&PluginName>, subjects: &[SubjectPattern]) -> Params {
    let mut params = Params::new();
    params.extend(plugin.map(|plugin| ("plugin".into(), plugin.to_string())));
    params.extend(subjects.iter().map(|subject| ("subject".into(), subject.to_string())));
    params
}

fn say(json: bool, value: &serde_json::Value, words: &str) -> anyhow::Result<ExitCode> {
    let mut output = Output::stdout();
    match json {
        true => output.line(&value.to_string())?,
        false => output.line(words)?,
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}
