//! `ennio plugin`: what runs in the host, and what would.

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;

use super::{
    answers::{Plugin, Plugins},
    client::{Client, Connection, Params},
    output::{Colour, Colours, Output, json_line, plain},
    table::{Cell, Table, figures, text, whole},
};
use crate::{
    event::SubjectPattern,
    plugin::{OnError, Provision, Registry, limits},
};

/// Look at plugins: of a host, or before they get there.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Check(Check),
}

/// Say whether a component would be loaded, what it is, and what it imports and is granted.
///
/// Does what a host does when the file appears in its plugin folder, sidecar beside it included,
/// without a host: compile, link, instantiate, describe, configure. Exits with 1, and the step at
/// which it stopped, when it would not be loaded.
#[derive(Debug, clap::Args)]
struct Check {
    /// The component, `NAME.wasm`; `NAME.toml` beside it is its sidecar
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// List the plugins: what they are, and what they have done since they were loaded.
///
/// HASH is the beginning of the component's SHA-256. EVENTS is how many a plugin was given, CHANGED
/// how many of these it dropped, patched, or answered with actions, FAILURES how often it failed,
/// and µs/EVENT the mean time in the guest. A line below a plugin says why the version in the
/// folder does not run.
#[derive(Debug, clap::Args)]
struct List {
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
    match args.command {
        Command::List(args) => list(args).await,
        Command::Check(args) => check(&args).await,
    }
}

async fn check(args: &Check) -> anyhow::Result<ExitCode> {
    let plugin = Registry::new(None, None)?.examine(&args.file).await?;
    let manifest = plugin.manifest();
    let patterns = |patterns: &[SubjectPattern]| match patterns {
        [] => "nothing".to_owned(),
        patterns => patterns.iter().map(SubjectPattern::as_str).collect::<Vec<_>>().join(" "),
    };
    let on_error = match manifest.on_error {
        OnError::Pass => "pass",
        OnError::Drop => "drop",
        OnError::Hold => "hold",
    };
    let mut facts = vec![
        ("is", plugin.roles().names().collect::<Vec<_>>().join(", ")),
        ("version", format!("{}: {}", plugin.version(), plugin.summary())),
        ("sha256", plugin.hash().to_string()),
        ("sees", format!("{} from {}", patterns(plugin.subscribe()), plugin.min_priority())),
        ("may emit", patterns(&manifest.capabilities.emit)),
    ];
    let roles = plugin.roles();
    if roles.filter || roles.enricher {
        facts.push(("runs", format!("order {}, on_error {on_error}", manifest.order)));
    }
    if roles.reaction {
        facts.push(("reacts", format!("{} retries", manifest.reaction.retries.get())));
    }
    let mut output = Output::stdout();
    output.line(&format!("{}: would be loaded", args.file.display()))?;
    for (name, fact) in facts {
        output.line(&format!("  {name:<9} {}", plain(&fact)))?;
    }
    output.line("  imports")?;
    for (name, provision) in plugin.imports() {
        let note = match provision {
            Provision::Full => "",
            Provision::Empty => "  (nothing behind it)",
        };
        output.line(&format!("    {}{note}", plain(&name)))?;
    }
    output.line("  limits")?;
    for (what, limit) in limits(manifest) {
        output.line(&format!("    {what:<9} {limit}"))?;
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

async fn list(args: List) -> anyhow::Result<ExitCode> {
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
            "running" => Cell::new(&plugin.state),
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
        let faults = [("not loaded", &plugin.load_error), ("last failure", &plugin.last_error)];
        for (what, fault) in faults {
            if let Some(fault) = fault {
                table.under(Cell::styled(format!("{what}: {fault}"), colours.bad()));
            }
        }
    }
    table
}
