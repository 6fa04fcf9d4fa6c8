//! `ennio stats`: how many events there are, by what they have in common.

use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::value::RawValue;

use super::{
    answers::Stats,
    client::{Client, Connection},
    filters::{Filters, Past},
    output::{Colour, Output, json_line},
    table::{Cell, Table, figures, text},
    tally::thousands,
};

const EXAMPLES: &str = "\
Examples:
  ennio stats                                     how many of each type
  ennio stats --by hour --since 24h               one day, hour by hour (UTC)
  ennio stats --by project --type ci_failing      where CI fails
  ennio stats --text timeout --data branch=main   of what `ennio events` would list";

/// Count events, by type, project or hour.
///
/// Types and projects with the most events come first; hours are in their order, as they begin in
/// UTC. Groups without an event are not shown.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// What to count by
    #[arg(long, value_enum, default_value_t = By::Type)]
    by: By,
    #[command(flatten)]
    past: Past,
    /// Print the host's JSON
    #[arg(long)]
    json: bool,
    /// When to colour
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    color: Colour,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// The type, like ci_failing
    Type,
    /// The project
    Project,
    /// The hour in which they happened, in UTC
    Hour,
}

impl By {
    /// As the host has it, and as a heading.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Type => ("type", "TYPE"),
            Self::Project => ("project", "PROJECT"),
            Self::Hour => ("hour", "HOUR (UTC)"),
        }
    }
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.connection)?;
    let (by, heading) = args.by.names();
    let mut params = args.past.params(&args.filters);
    params.extend(args.past.after.map(|seq| ("after_seq".into(), seq.to_string())));
    params.extend(args.past.before.map(|seq| ("before_seq".into(), seq.to_string())));
    params.push(("by".into(), by.into()));
    let raw: Box<RawValue> = client.get(&["events", "stats"], &params).await?;
    let mut output = Output::stdout();
    if args.json {
        output.line(&json_line(raw.get()))?;
        output.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let stats: Stats = serde_json::from_str(raw.get())?;
    let colours = output.colours(args.color);
    let mut table = Table::new([figures("EVENTS"), text(heading)]);
    for count in &stats.counts {
        table.row([Cell::new(thousands(count.count)), Cell::new(count.group(by))]);
    }
    table.row([
        Cell::styled(thousands(stats.total), colours.faint()),
        Cell::styled("in all", colours.faint()),
    ]);
    for line in table.lines(Some(colours.heading()), output.width()) {
        output.line(&line)?;
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}
