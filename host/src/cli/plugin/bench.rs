//! `ennio plugin bench`: what a plugin costs, beside an empty one.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use serde_json::json;

use super::recording::Recording;
use crate::{
    cli::{
        output::{Colour, Output, json_line, note, plain},
        table::{Cell, Table, figures, text},
    },
    event::{Event, Timestamp},
    trial::{Bench, Figure, Unit},
};

/// Events that are read of a file at most: what is measured has to fit into memory.
const EVENTS: usize = 100_000;

/// Measure what a plugin costs, beside an empty one in the same run.
///
/// The empty plugin takes the same events and does nothing: what it costs is the border between
/// host and guest. Both are called in turns, and the median of the turns counts. Each pass over the
/// events has new ids and goes on in time. Without --events, they are made up: about 420 bytes of
/// JSON each, of every type and priority that the plugin sees.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The component, `NAME.wasm`; `NAME.toml` beside it is its sidecar
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Events to call it with, in the forms that `ennio emit` takes; the first 100,000 are used,
    /// `-` is standard input
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// How long to call it, loads not included
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: u16,
    /// Print the figures as one JSON object
    #[arg(long)]
    json: bool,
    /// When to colour
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    color: Colour,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if cfg!(debug_assertions) {
        note(
            "this ennio is a debug build: its figures say nothing about a host (build with --release)",
        );
    }
    let events = match &args.events {
        Some(file) => Some(read(Recording::open(file)?)?),
        None => None,
    };
    let time = Duration::from_secs(args.seconds.into());
    let bench = Bench::run(&args.file, events, time).await?;
    let mut output = Output::stdout();
    if args.json {
        output.line(&json_line(&object(&args, &bench).to_string()))?;
    } else {
        let colours = output.colours(args.color);
        let events = match &args.events {
            Some(file) => format!("{} events of {} that it sees", bench.events, file.display()),
            None => format!("{} made up events", bench.events),
        };
        let heading = format!("{} ({}), {events}", args.file.display(), bench.roles.join(", "));
        output.line(&colours.heading().style(plain(&heading)).to_string())?;
        let lines = table(&bench.figures).lines(Some(colours.heading()), output.width());
        lines.iter().try_for_each(|line| output.line(line))?;
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn read(mut recording: Recording) -> anyhow::Result<Vec<Event>> {
    let mut clock = Timestamp::now();
    let events = recording.next(EVENTS)?.into_iter().map(|placed| {
        clock = placed.draft.timestamp.unwrap_or(clock);
        placed.draft.into_event(clock)
    });
    Ok(events.collect())
}

fn table(rows: &[Figure]) -> Table {
    let mut table = Table::new([text(""), figures("PLUGIN"), figures("EMPTY"), figures("RATIO")]);
    for row in rows {
        table.row([
            Cell::new(&row.what),
            Cell::new(shown(row.unit, row.plugin)),
            Cell::new(shown(row.unit, row.empty)),
            Cell::new(format!("{:.2}", row.ratio())),
        ]);
    }
    table
}

fn shown(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Micros if value >= 1e3 => format!("{:.1} ms", value / 1e3),
        Unit::Micros => format!("{value:.2} µs"),
        Unit::EventsPerSecond => format!("{:.0} k/s", value / 1e3),
        Unit::Bytes => format!("{:.0} KiB", value / 1024.0),
    }
}

fn object(args: &Args, bench: &Bench) -> serde_json::Value {
    let figures: serde_json::Map<_, _> = bench
        .figures
        .iter()
        .map(|f| {
            (f.name.clone(), json!({"plugin": f.plugin, "empty": f.empty, "ratio": f.ratio()}))
        })
        .collect();
    json!({
        "file": args.file.display().to_string(),
        "roles": bench.roles,
        "events": bench.events,
        "seconds": args.seconds,
        "figures": figures,
    })
}
