//! `ennio status`: how far everything has come.

use std::{collections::BTreeMap, process::ExitCode};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    answers::Gone,
    client::{Client, Connection, Params},
    output::{Output, json_line, plain},
    tally::thousands,
    times::date_and_clock,
};
use crate::{amount::ByteSize, event::Seq};

/// Show how far everything has come: the log, NATS, reactions, retention.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the host's JSON, on one line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// `GET /v1/status`, as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    version: String,
    head: Seq,
    events: u64,
    pruned: u64,
    nats: Option<Nats>,
    cursors: BTreeMap<String, Seq>,
    overtaken: BTreeMap<String, Missed>,
    retention: Option<Retention>,
    dead_letters: u64,
}

#[derive(Debug, Deserialize)]
struct Nats {
    state: String,
    cursor: Seq,
}

#[derive(Debug, Deserialize)]
struct Missed {
    events: u64,
    last: Gone,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Retention {
    pruned: BTreeMap<String, u64>,
    last_pruned_at: Option<String>,
    held: Option<Held>,
    used_bytes: u64,
    free_bytes: u64,
    last_error: Option<Trouble>,
}

#[derive(Debug, Deserialize)]
struct Trouble {
    at: String,
    error: String,
}

#[derive(Debug, Deserialize)]
struct Held {
    cursor: String,
    at: Seq,
    until: Seq,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.connection)?;
    let raw: Box<RawValue> = client.get(&["status"], &Params::new()).await?;
    let mut output = Output::stdout();
    match args.json {
        true => output.line(&json_line(raw.get()))?,
        false => {
            let status: Status = serde_json::from_str(raw.get())?;
            lines(client.url(), &status).iter().try_for_each(|line| output.line(line))?;
        }
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn lines(url: &str, status: &Status) -> Vec<String> {
    let mut lines = vec![format!("ennio {} at {}", plain(&status.version), plain(url))];
    let mut line = |name: &str, text: String| lines.push(format!("{name:<12}  {}", plain(&text)));
    let head = status.head;
    let place = |at: Seq| match head.saturating_sub(at) {
        0 => "at the head".to_owned(),
        behind => format!("at seq {}, {} behind", thousands(at), thousands(behind)),
    };
    let [events, last, pruned] = [status.events, head, status.pruned].map(thousands);
    line("log", format!("{events} events, the last is seq {last}; {pruned} pruned"));
    if let Some(nats) = &status.nats {
        line("nats", format!("{}, {}", nats.state, place(nats.cursor)));
    }
    for (plugin, at) in &status.cursors {
        line("reaction", format!("{plugin} {}", place(*at)));
    }
    line("dead letters", thousands(status.dead_letters));
    match &status.retention {
        None => line("retention", "everything stays".into()),
        Some(retention) => of_retention(retention, &mut line),
    }
    for (cursor, Missed { events, last }) in &status.overtaken {
        let (events, Gone { from, to, count }) = (thousands(*events), last);
        let last = format!("the last time {count} from seq {from} to {to}");
        line("overtaken", format!("{cursor} missed {events} events, {last}"));
    }
    lines
}

fn of_retention(retention: &Retention, line: &mut impl FnMut(&str, String)) {
    let counts = retention.pruned.iter();
    let counts: Vec<String> =
        counts.map(|(rule, count)| format!("{rule} {}", thousands(*count))).collect();
    let when = match &retention.last_pruned_at {
        Some(at) => format!(", the last at {}", date_and_clock(at)),
        None => String::new(),
    };
    line("retention", format!("pruned since the start: {}{when}", counts.join(", ")));
    let [used, free] = [retention.used_bytes, retention.free_bytes].map(ByteSize);
    line("", format!("{used} in use, {free} free"));
    if let Some(Held { cursor, at, until }) = &retention.held {
        line(
            "",
            format!("waits for {cursor}, done up to seq {at}; without it, up to {until} would go"),
        );
    }
    if let Some(Trouble { at, error }) = &retention.last_error {
        line("", format!("last error at {}: {error}", date_and_clock(at)));
    }
}
