//! `ennio dead-letters refused`: messages that came in over NATS and are no events.

use std::process::ExitCode;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use clap::Subcommand;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    client::{Client, Connection, Params},
    output::{Colour, Colours, Output, json_line, note, plain},
    table::{Cell, Table, figures, text, whole},
    times::{date_and_clock, day_and_clock},
};

/// What the host gives at most at once.
const PAGE: usize = 500;

/// Look at messages that came in over NATS and were refused, or throw them away
///
/// The newest 10,000 are kept, of each its first 256 KiB, 64 MiB in all. One that was mended can be sent
/// with `ennio emit`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(List),
    Show(Show),
    Discard(Discard),
}

/// List refused messages, the oldest first
#[derive(Debug, clap::Args)]
struct List {
    /// Messages to show at most; 0 for all
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

/// Show a refused message with its bytes
#[derive(Debug, clap::Args)]
struct Show {
    /// Its number, as `list` shows it
    id: u64,
    /// Print the host's JSON, on one line
    #[arg(long, conflicts_with = "raw")]
    json: bool,
    /// Write the bytes alone, as they came
    #[arg(long)]
    raw: bool,
    /// When to colour
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    color: Colour,
    #[command(flatten)]
    connection: Connection,
}

/// Throw refused messages away
#[derive(Debug, clap::Args)]
struct Discard {
    /// Their numbers, as `list` shows them
    #[arg(value_name = "ID", conflicts_with = "all", required_unless_present = "all")]
    ids: Vec<u64>,
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
    refused: Vec<Box<RawValue>>,
    next: Option<i64>,
    pushed_out: u64,
}

#[derive(Deserialize)]
struct Message {
    id: i64,
    at: String,
    subject: String,
    reason: String,
    size: u64,
    kept: u64,
    text: Option<String>,
    base64: Option<String>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::List(args) => list(args).await,
        Action::Show(args) => show(args).await,
        Action::Discard(args) => discard(args).await,
    }
}

async fn list(args: List) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.connection)?;
    let mut output = Output::stdout();
    let colours = output.colours(args.color);
    let mut left = if args.limit == 0 { usize::MAX } else { args.limit };
    let mut heading = Some(colours.heading());
    let (mut next, mut pushed_out) = (None, 0);
    while left > 0 {
        let mut params = Params::new();
        params.extend(next.map(|after: i64| ("after".into(), after.to_string())));
        params.push(("limit".into(), left.min(PAGE).to_string()));
        let page: Page = client.get(&["dead-letters", "refused"], &params).await?;
        left = left.saturating_sub(page.refused.len());
        (next, pushed_out) = (page.next, page.pushed_out);
        if args.json {
            page.refused.iter().try_for_each(|raw| output.line(&json_line(raw.get())))?;
        } else if !page.refused.is_empty() {
            let messages = page.refused.iter().map(|raw| serde_json::from_str(raw.get()));
            let table = table(&messages.collect::<Result<Vec<_>, _>>()?, colours);
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
    if pushed_out > 0 && !args.json {
        note(&format!("{pushed_out} older ones were pushed out by newer ones"));
    }
    Ok(ExitCode::SUCCESS)
}

fn table(messages: &[Message], colours: Colours) -> Table {
    let mut table = Table::new([
        figures("ID"),
        whole("REFUSED"),
        text("SUBJECT"),
        figures("BYTES"),
        text("REASON"),
    ]);
    for message in messages {
        table.row([
            Cell::new(message.id),
            Cell::new(day_and_clock(&message.at)),
            Cell::styled(&message.subject, colours.subject()),
            Cell::new(message.size),
            Cell::styled(&message.reason, colours.bad()),
        ]);
    }
    table
}

async fn show(args: Show) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.connection)?;
    let path = ["dead-letters", "refused", &args.id.to_string()];
    let raw: Box<RawValue> = client.get(&path, &Params::new()).await?;
    let mut output = Output::stdout();
    if args.json {
        output.line(&json_line(raw.get()))?;
    } else {
        let message: Message = serde_json::from_str(raw.get())?;
        match args.raw {
            true => output.write(&bytes(&message)?)?,
            false => {
                let lines = describe(&message, output.colours(args.color));
                lines.iter().try_for_each(|line| output.line(line))?;
            }
        }
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn bytes(message: &Message) -> anyhow::Result<Vec<u8>> {
    Ok(match (&message.text, &message.base64) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(base64)) => BASE64.decode(base64)?,
        (None, None) => Vec::new(),
    })
}

fn describe(message: &Message, colours: Colours) -> Vec<String> {
    let Message { id, at, subject, reason, size, kept, text, .. } = message;
    let reason = colours.bad().style(plain(reason).into_owned()).to_string();
    let mut lines = vec![
        plain(&format!("refused message {id} on {subject}, {}, {size} bytes", date_and_clock(at)))
            .into_owned(),
        format!("  {reason}"),
        String::new(),
    ];
    match text {
        Some(text) => lines.extend(text.lines().map(|line| plain(line).into_owned())),
        None => lines.push("its bytes are no text (--raw writes them)".into()),
    }
    if kept < size {
        lines.push(format!("(the first {kept} bytes are kept)"));
    }
    lines
}

async fn discard(args: Discard) -> anyhow::Result<ExitCode> {
    #[derive(Deserialize)]
    struct Answer {
        discarded: u64,
    }
    let client = Client::new(&args.connection)?;
    let path = |id: Option<u64>| -> Vec<String> {
        let parts = ["dead-letters", "refused"].map(str::to_owned).into_iter();
        parts.chain(id.map(|id| id.to_string())).collect()
    };
    let requests: Vec<_> = match args.all {
        true => vec![(path(None), vec![("all".into(), "true".into())])],
        false => args.ids.iter().map(|id| (path(Some(*id)), Params::new())).collect(),
    };
    let mut discarded = 0;
    for (path, params) in requests {
        let answer: Answer = client.delete_some(&path, &params).await?;
        discarded += answer.discarded;
    }
    let mut output = Output::stdout();
    match args.json {
        true => output.line(&serde_json::json!({"discarded": discarded}).to_string())?,
        false => output.line(&format!("{discarded} are discarded"))?,
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}
