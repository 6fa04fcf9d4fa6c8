//! `ennio events`: questions to the log.

use std::process::ExitCode;

use clap::ValueEnum;
use owo_colors::Style;
use serde_json::value::RawValue;

use super::{
    answers::{Entry, Page},
    client::{Client, Connection, Params},
    filters::{Filters, parse},
    output::{Colour, Colours, Output, json_line, json_pretty, note, plain},
    table::{self, Cell, Table, figures, text},
    times::{day_and_clock, parse_when_now},
};
use crate::event::{EventId, Seq, SubjectPattern, Timestamp};

/// What the host gives at most at once.
const PAGE: usize = 500;

const EXAMPLES: &str = "\
Examples:
  ennio events                                          the newest 50
  ennio events --since 2h --min-priority urgent         the newest 50 of two hours that matter
  ennio events --subject 'ennio.ci.*.failing' --limit 0 all of them
  ennio events --after 1200 --limit 100                 what follows seq 1200
  ennio events --include-dropped --project atlas        also what a filter hid
  ennio events 0198f2c0-7a52-7000-8000-3c6a0f6f1e11     one event, whole";

/// Look events up in the log.
///
/// Without --order and --after: the newest events, the newest last. Times are shown as local time;
/// a table is cut to the width of the terminal, and not cut elsewhere.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Show this event whole
    #[arg(value_name = "ID", value_parser = parse::<EventId>, conflicts_with_all = ["subject", "since", "until", "after", "before", "order"])]
    id: Option<EventId>,
    /// Published where this pattern says, like ennio.ci.*.failing; may be given several times
    #[arg(long, value_name = "PATTERN")]
    subject: Vec<SubjectPattern>,
    /// Happened at this time (RFC 3339) or later, or within this span (15m, 2h, 7d)
    #[arg(long, value_name = "TIME", value_parser = parse_when_now)]
    since: Option<Timestamp>,
    /// Happened before this time (RFC 3339), or longer ago than this span (15m, 2h, 7d)
    #[arg(long, value_name = "TIME", value_parser = parse_when_now)]
    until: Option<Timestamp>,
    /// Behind this place in the log
    #[arg(long, value_name = "SEQ")]
    after: Option<Seq>,
    /// Before this place in the log
    #[arg(long, value_name = "SEQ")]
    before: Option<Seq>,
    /// Which end of the log to begin at, and which way to go
    #[arg(long, value_enum)]
    order: Option<Order>,
    /// Events to show at most; 0 for all
    #[arg(long, value_name = "EVENTS", default_value_t = 50)]
    limit: usize,
    /// Print each event as the host's JSON, one line each
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
enum Order {
    /// Oldest first
    Asc,
    /// Newest first
    Desc,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.connection)?;
    let mut output = Output::stdout();
    match &args.id {
        Some(id) => show(&client, id, &args, &mut output).await?,
        None => list(&client, &args, &mut output).await?,
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn list(client: &Client, args: &Args, output: &mut Output) -> anyhow::Result<()> {
    let plan = Plan::of(args);
    let mut listing = Listing {
        json: args.json,
        colours: output.colours(args.color),
        width: output.width(),
        is_first: true,
    };
    let mut kept = Vec::new();
    let mut left = plan.limit;
    let mut next = None;
    while left > 0 {
        let page: Page = client.get(&["events"], &plan.params(args, next, left)).await?;
        left = left.saturating_sub(page.events.len());
        next = page.next;
        match plan.reversed {
            true => kept.extend(page.events),
            false => listing.print(&page.events, output)?,
        }
        if next.is_none() {
            break;
        }
    }
    kept.reverse();
    if plan.reversed {
        listing.print(&kept, output)?;
    }
    output.flush()?;
    if let (Some(seq), false) = (next, args.json) {
        let more = if plan.ascending { "--after" } else { "--before" };
        note(&format!("there are more: {more} {seq} continues, --limit 0 shows all"));
    }
    Ok(())
}

/// How the log is read.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    limit: usize,
    ascending: bool,
    /// Read newest first, shown oldest first; therefore held whole.
    reversed: bool,
}

impl Plan {
    fn of(args: &Args) -> Self {
        let limit = if args.limit == 0 { usize::MAX } else { args.limit };
        let ascending = match args.order {
            Some(order) => order == Order::Asc,
            // Either the beginning is known, or it is the log's.
            None => args.after.is_some() || limit == usize::MAX,
        };
        Self { limit, ascending, reversed: args.order.is_none() && !ascending }
    }

    fn params(&self, args: &Args, next: Option<Seq>, left: usize) -> Params {
        let (mut after, mut before) = (args.after, args.before);
        match self.ascending {
            true => after = next.or(after),
            false => before = next.or(before),
        }
        let mut params = args.filters.params(&args.subject);
        params.extend(args.since.map(|time| ("since", time.to_string())));
        params.extend(args.until.map(|time| ("until", time.to_string())));
        params.extend(after.map(|seq| ("after_seq", seq.to_string())));
        params.extend(before.map(|seq| ("before_seq", seq.to_string())));
        params.push(("order", if self.ascending { "asc" } else { "desc" }.into()));
        params.push(("limit", left.min(PAGE).to_string()));
        params
    }
}

/// What is printed page by page.
struct Listing {
    json: bool,
    colours: Colours,
    width: Option<usize>,
    is_first: bool,
}

impl Listing {
    fn print(&mut self, events: &[Box<RawValue>], output: &mut Output) -> anyhow::Result<()> {
        if self.json {
            return events.iter().try_for_each(|event| output.line(&json_line(event.get())));
        }
        let entries: Vec<Entry> = events
            .iter()
            .map(|event| serde_json::from_str(event.get()))
            .collect::<Result<_, _>>()?;
        let heading = (std::mem::take(&mut self.is_first) && !entries.is_empty())
            .then(|| self.colours.heading());
        for line in table(&entries, self.colours).lines(heading, self.width) {
            output.line(&line)?;
        }
        Ok(())
    }
}

pub(super) fn table(entries: &[Entry], colours: Colours) -> Table {
    let mut table = Table::new([
        figures("SEQ"),
        table::whole("TIME"),
        table::whole("PRIORITY"),
        text("SUBJECT"),
        text("SESSION"),
        text("MESSAGE"),
    ]);
    for entry in entries {
        let hidden = match entry.dropped_by {
            Some(_) => colours.faint(),
            None => Style::new(),
        };
        let message = match &entry.dropped_by {
            None => Cell::new(&entry.message),
            Some(by) => {
                let reason = entry.drop_reason.as_deref().unwrap_or("no reason given");
                Cell::styled(format!("[dropped by {by}: {reason}] {}", entry.message), hidden)
            }
        };
        table.row([
            Cell::styled(entry.seq, hidden),
            Cell::styled(day_and_clock(&entry.timestamp), hidden),
            Cell::styled(&entry.priority, colours.priority(entry.priority())),
            Cell::styled(entry.subject(), colours.subject()),
            Cell::styled(&entry.session_id, hidden),
            message,
        ]);
    }
    table
}

async fn show(
    client: &Client,
    id: &EventId,
    args: &Args,
    output: &mut Output,
) -> anyhow::Result<()> {
    let raw: Box<RawValue> = client.get(&["events", &id.to_string()], &Params::new()).await?;
    if args.json {
        return output.line(&json_line(raw.get()));
    }
    let entry: Entry = serde_json::from_str(raw.get())?;
    let colours = output.colours(args.color);
    for line in whole(&entry, colours) {
        output.line(&line)?;
    }
    Ok(())
}

/// One event over several lines, with all that is known of it.
pub(super) fn whole(entry: &Entry, colours: Colours) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: &str| {
        let name = colours.faint().style(format!("{name:<10}")).to_string();
        lines.push(format!("{name} {}", plain(value)));
    };
    line("id", &entry.id);
    line("seq", &entry.seq.to_string());
    line("type", &entry.event_type);
    line("subject", &entry.subject());
    line("priority", &entry.priority);
    line("project", &entry.project_id);
    line("session", &entry.session_id);
    line("happened", &entry.timestamp);
    line("committed", entry.committed_at.as_deref().unwrap_or("unknown"));
    if let Some(cause) = &entry.caused_by {
        let hops = entry.hops;
        line(
            "caused by",
            &format!("{} in reaction to {} (hop {hops})", cause.plugin, cause.event_id),
        );
    }
    if let Some(by) = &entry.dropped_by {
        line(
            "dropped by",
            &format!("{by}: {}", entry.drop_reason.as_deref().unwrap_or("no reason given")),
        );
    }
    line("message", &entry.message);
    let name = colours.faint().style(format!("{:<10}", "data")).to_string();
    // Escaped already, and over several lines on purpose.
    lines.push(format!("{name} {}", json_pretty(entry.data())));
    lines
}
