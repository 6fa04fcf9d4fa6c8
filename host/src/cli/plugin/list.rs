//! `ennio plugin list`: what runs in the host.

use std::process::ExitCode;

use super::order::notes;
use crate::cli::{
    answers::{Plugin, Plugins},
    client::{Client, Connection, Params},
    output::{Colour, Colours, Output, json_line},
    table::{Cell, Table, figures, text, whole},
};

/// List the plugins: what they are, and what they have done since they were loaded.
///
/// HASH is the beginning of the component's SHA-256. EVENTS is how many a plugin was given, CHANGED
/// how many of these it dropped, patched, or answered with actions, FAILURES how often it failed,
/// and µs/EVENT the mean time in the guest. A line below a plugin says why the version in the
/// folder does not run, how it failed last, how often it asked for what its sidecar does not grant, or
/// what else is special about it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print each plugin as the host's JSON, one line each
    #[arg(long)]
    json: bool,
    /// When to colour
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    color: Colour,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.connection)?;
    let plugins: Plugins = client.get(&["plugins"], &Params::new()).await?;
    let mut output = Output::stdout();
    if args.json {
        plugins.plugins.iter().try_for_each(|plugin| output.line(&json_line(plugin.get())))?;
    } else {
        let colours = output.colours(args.color);
        let lines = table(&plugins.read()?, colours).lines(Some(colours.heading()), output.width());
        lines.iter().try_for_each(|line| output.line(line))?;
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn table(plugins: &[Plugin], colours: Colours) -> Table {
    let mut table = Table::new([
        text("NAME"),
        whole("STATE"),
        text("ROLES"),
        text("VERSION"),
        whole("HASH"),
        figures("ORDER"),
        figures("EVENTS"),
        figures("CHANGED"),
        figures("FAILURES"),
        figures("µs/EVENT"),
    ]);
    for plugin in plugins {
        let hash = plugin.hash.as_deref().unwrap_or("-");
        let state = match &*plugin.state {
            "running" | "loading" | "disabled" => Cell::new(&plugin.state),
            _ => Cell::styled(&plugin.state, colours.bad()),
        };
        let mean = match plugin.events {
            0 => "-".to_owned(),
            events => format!("{:.1}", plugin.time_seconds * 1e6 / events as f64),
        };
        table.row([
            Cell::new(&plugin.name),
            state,
            Cell::new(plugin.roles.join(", ")),
            Cell::new(plugin.version.as_deref().unwrap_or("-")),
            Cell::new(hash.get(..12).unwrap_or(hash)),
            Cell::new(plugin.order),
            Cell::new(plugin.events),
            Cell::new(plugin.events_changed),
            Cell::new(plugin.failures),
            Cell::new(mean),
        ]);
        let notes = notes(plugin);
        if !notes.is_empty() {
            table.under(Cell::styled(notes.join(", "), colours.faint()));
        }
        if plugin.denials > 0 {
            let denials =
                format!("denials: {}, of what its sidecar does not grant", plugin.denials);
            table.under(Cell::styled(denials, colours.bad()));
        }
        let faults = [("not loaded", &plugin.load_error), ("last failure", &plugin.last_error)];
        for (what, fault) in faults {
            if let Some(fault) = fault {
                table.under(Cell::styled(format!("{what}: {fault}"), colours.bad()));
            }
        }
    }
    table
}
