//! `ennio plugin`: what runs in the host, and what would.

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;
use serde_json::value::RawValue;

use super::{
    answers::{Plugin, Plugins},
    client::{Client, Connection, Params},
    output::{Colour, Colours, Output, json_line, plain},
    table::{Cell, Table, figures, text, whole},
};
use crate::{
    event::SubjectPattern,
    plugin::{KeySource, OnError, Provision, Registry, TrustedKeys},
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
    /// Load what is in the plugin folder, whether it was tried before or not
    ///
    /// The running version stays when that cannot run, and the reason is printed.
    Reload(Order),
    /// Go back to the version that ran before
    ///
    /// One version back is kept, and only while the host runs. What is in the plugin folder is left
    /// alone until it changes, or is reloaded; a restart of the host loads it.
    Rollback(Order),
    /// Let a disabled plugin take part again, with what is in the plugin folder now
    ///
    /// A reaction continues where it was when it was disabled.
    Enable(Order),
    /// Take a plugin out of the flow
    ///
    /// Events pass as if it were not there, and a reaction waits at its place in the log. It stays so
    /// over restarts of the host and new versions of the plugin.
    Disable(Order),
}

/// One plugin of a host.
#[derive(Debug, clap::Args)]
struct Order {
    /// The plugin's name, the stem of its file
    #[arg(value_name = "NAME")]
    name: String,
    /// Print the plugin as the host's JSON, on one line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
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
    /// Ask for a signature, as a host with this key does: a public key of minisign, or its file
    #[arg(long, value_name = "KEY")]
    trusted_key: Vec<KeySource>,
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
        Command::Reload(order) => give(&order, "reload").await,
        Command::Rollback(order) => give(&order, "rollback").await,
        Command::Enable(order) => give(&order, "enable").await,
        Command::Disable(order) => give(&order, "disable").await,
    }
}

async fn give(order: &Order, command: &str) -> anyhow::Result<ExitCode> {
    let client = Client::new(&order.connection)?;
    // `null` for a plugin whose file is gone.
    let answer: Option<Box<RawValue>> = client.post(&["plugins", &order.name, command]).await?;
    let mut output = Output::stdout();
    match answer {
        None => output.line(&format!("{}: not in the plugin folder", plain(&order.name)))?,
        Some(json) if order.json => output.line(&json_line(json.get()))?,
        Some(json) => output.line(&plain(&summary(&serde_json::from_str(json.get())?)))?,
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// What became of a plugin, on one line.
fn summary(plugin: &Plugin) -> String {
    let hash = plugin.hash.as_deref().unwrap_or("-");
    let came_by = plugin.came_by.as_deref().unwrap_or("not loaded").replace('_', " ");
    let version = plugin.version.as_deref().unwrap_or("-");
    let mut parts = vec![
        format!("{}: {}", plugin.name, plugin.state),
        format!("version {version} ({})", hash.get(..12).unwrap_or(hash)),
        came_by,
    ];
    parts.extend(notes(plugin));
    parts.join(", ")
}

/// What is special about a plugin at the moment.
fn notes(plugin: &Plugin) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(disabled) = &plugin.disabled {
        notes.push(format!("disabled by {} since {}", disabled.by, disabled.since));
    }
    if let Some(left) = &plugin.probation {
        let (events, seconds) = (left.events, left.seconds);
        notes.push(format!("on probation for {events} more events or {seconds:.0} s"));
    }
    if let Some(previous) = &plugin.previous {
        notes.push(format!("version {} before is kept", previous.version));
    }
    notes
}

async fn check(args: &Check) -> anyhow::Result<ExitCode> {
    let trusted = TrustedKeys::read(&args.trusted_key)?;
    let plugin = Registry::new(None, None)?.trusting(trusted).examine(&args.file).await?;
    let manifest = plugin.manifest();
    let patterns = |patterns: &[SubjectPattern]| match patterns {
        [] => "nothing".to_owned(),
        patterns => patterns.iter().map(SubjectPattern::as_str).collect::<Vec<_>>().join(" "),
    };
    let commands = match manifest.capabilities.commands.as_slice() {
        [] => "nothing".to_owned(),
        names => names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" "),
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
        ("commands", commands),
        ("memory", format!("at most {} MiB", manifest.limits.memory_mib.get())),
    ];
    let roles = plugin.roles();
    if roles.filter || roles.enricher {
        let time = manifest.pipeline_deadline().as_millis();
        facts.push((
            "runs",
            format!("order {}, {time} ms a call, on_error {on_error}", manifest.order),
        ));
    }
    if roles.reaction {
        let time = manifest.reaction_deadline().as_millis();
        let retries = manifest.reaction.retries.get();
        facts.push(("reacts", format!("{time} ms a call, {retries} retries")));
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
            "running" | "disabled" => Cell::new(&plugin.state),
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
        if !notes(plugin).is_empty() {
            table.under(Cell::styled(notes(plugin).join(", "), colours.faint()));
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
