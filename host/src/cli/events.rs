//! `ennio events`: questions to the log.

use std::{num::NonZeroUsize, process::ExitCode};

use clap::ValueEnum;
use owo_colors::Style;
use serde_json::value::RawValue;

use super::{
    answers::{Entry, Page, Status},
    client::{Client, Connection, Params},
    filters::{Filters, Past, parse},
    output::{Colour, Colours, Output, json_line, json_pretty, note, plain, stdout_closed},
    table::{self, Cell, Table, figures, text},
    tail::{self, Form},
    times::day_and_clock,
};
use crate::event::{EventId, Seq};

/// What the host gives at most at once.
const PAGE: usize = 500;
/// What is shown where nothing is said.
const LIMIT: usize = 50;

const EXAMPLES: &str = "\
Examples:
  ennio events                                          the newest 50
  ennio events --since 2h --min-priority urgent         the newest 50 of two hours that matter
  ennio events --subject 'ennio.ci.*.failing' --limit 0 all of them
  ennio events --after 1200 --limit 100                 what follows seq 1200
  ennio events --include-dropped --project atlas        also what a filter hid
  ennio events --data branch=main --text 'reset'        by what stands in data and message
  ennio events --first 20 --type ci_failing             the 20 oldest
  ennio events --last 20 --follow                       the newest 20, and then what comes
  ennio events 0198f2c0-7a52-7000-8000-3c6a0f6f1e11     one event, whole";

/// Look events up in the log.
///
/// Without --order and --after: the newest events, the newest last. Times are shown as local time;
/// a table is cut to the width of the terminal, and not cut elsewhere. `ennio stats` counts.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Show this event whole
    #[arg(value_name = "ID", value_parser = parse::<EventId>, conflicts_with_all = ["subject", "since", "until", "after", "before", "order", "first", "last", "follow"])]
    id: Option<EventId>,
    #[command(flatten)]
    past: Past,
    /// Which end of the log to begin at, and which way to go
    #[arg(long, value_enum)]
    order: Option<Order>,
    /// Events to show at most; 0 for all [default: 50]
    #[arg(long, value_name = "EVENTS")]
    limit: Option<usize>,
    /// The oldest ones, this many of them
    #[arg(long, value_name = "EVENTS", conflicts_with_all = ["limit", "order", "last"])]
    first: Option<NonZeroUsize>,
    /// The newest ones, this many of them
    #[arg(long, value_name = "EVENTS", conflicts_with_all = ["limit", "order"])]
    last: Option<NonZeroUsize>,
    /// Go on with events as the host commits them, a line each. Begins with the newest 50, or as
    /// many as --last says, or with everything behind --after; nothing is missed or shown twice
    #[arg(long, short, conflicts_with_all = ["first", "order", "until", "before"])]
    follow: bool,
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
        None if args.follow => tokio::select! {
            ended = follow(&client, &args, &mut output) => ended?,
            // Otherwise only the next event would tell, which may be long in coming.
            closed = stdout_closed() => return Err(closed.into()),
        },
        None => list(&client, &args, &mut output).await?,
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// What is there, and then what comes. Ends only with an error.
pub(super) async fn follow(
    client: &Client,
    args: &Args,
    output: &mut Output,
) -> anyhow::Result<()> {
    // The page ends where the stream begins: at the head, as it is now.
    let head = client.get::<Status>(&["status"], &Params::new()).await?.head;
    let plan = Plan { before: Some(head.saturating_add(1)), ..Plan::of(args) };
    let form = Form { json: args.json, colours: output.colours(args.color) };
    let print = |events: &[Box<RawValue>], output: &mut Output| {
        events.iter().try_for_each(|event| form.show(event, output))
    };
    read(client, args, &plan, output, print).await?;
    output.flush()?;
    let wanted = args.past.params(&args.filters);
    tail::go_on(client, &wanted, head.max(args.past.after.unwrap_or(0)), form, output).await
}

pub(super) async fn list(client: &Client, args: &Args, output: &mut Output) -> anyhow::Result<()> {
    let plan = Plan::of(args);
    let mut listing = Listing {
        json: args.json,
        colours: output.colours(args.color),
        width: output.width(),
        is_first: true,
    };
    let print = |events: &[Box<RawValue>], output: &mut Output| listing.print(events, output);
    let next = read(client, args, &plan, output, print).await?;
    output.flush()?;
    if let (Some(seq), false) = (next, args.json) {
        let more = if plan.ascending { "--after" } else { "--before" };
        note(&format!("there are more: {more} {seq} continues, --limit 0 shows all"));
    }
    Ok(())
}

/// Reads the log as planned; where the rest begins.
async fn read(
    client: &Client,
    args: &Args,
    plan: &Plan,
    output: &mut Output,
    mut print: impl FnMut(&[Box<RawValue>], &mut Output) -> anyhow::Result<()>,
) -> anyhow::Result<Option<Seq>> {
    let mut kept = Vec::new();
    let mut left = plan.limit;
    let mut next = None;
    while left > 0 {
        let page: Page = client.get(&["events"], &plan.params(args, next, left)).await?;
        left = left.saturating_sub(page.events.len());
        next = page.next;
        match plan.reversed {
            true => kept.extend(page.events),
            false => print(&page.events, output)?,
        }
        if next.is_none() {
            break;
        }
    }
    kept.reverse();
    if plan.reversed {
        print(&kept, output)?;
    }
    Ok(next)
}

/// How the log is read.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    limit: usize,
    ascending: bool,
    /// Read newest first, shown oldest first; therefore held whole.
    reversed: bool,
    before: Option<Seq>,
}

impl Plan {
    fn of(args: &Args) -> Self {
        let asked = args.limit.map(|limit| if limit == 0 { usize::MAX } else { limit });
        let (first, last) = (args.first.map(usize::from), args.last.map(usize::from));
        let is_known = args.past.after.is_some();
        // What is followed has to be shown up to its end.
        let whole = (args.follow && is_known).then_some(usize::MAX);
        let limit = asked.or(first).or(last).or(whole).unwrap_or(LIMIT);
        let ascending = match args.order {
            Some(order) => order == Order::Asc,
            // Either the beginning is known, or it is the log's.
            None if limit == usize::MAX || first.is_some() => true,
            None => is_known && last.is_none() && !args.follow,
        };
        let reversed = args.order.is_none() && !ascending;
        Self { limit, ascending, reversed, before: args.past.before }
    }

    fn params(&self, args: &Args, next: Option<Seq>, left: usize) -> Params {
        let (mut after, mut before) = (args.past.after, self.before);
        match self.ascending {
            true => after = next.or(after),
            false => before = next.or(before),
        }
        let mut params = args.past.params(&args.filters);
        params.extend(after.map(|seq| ("after_seq".into(), seq.to_string())));
        params.extend(before.map(|seq| ("before_seq".into(), seq.to_string())));
        params.push(("order".into(), if self.ascending { "asc" } else { "desc" }.into()));
        params.push(("limit".into(), left.min(PAGE).to_string()));
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
