//! What the commands about one plugin of a host have in common, and what they print.

use std::process::ExitCode;

use serde_json::value::RawValue;

use crate::cli::{
    answers::Plugin,
    client::{Client, Connection, Params},
    output::{Output, json_line, plain},
};

/// One plugin of a host.
#[derive(Debug, clap::Args)]
pub(super) struct Order {
    /// The plugin's name, the stem of its file
    #[arg(value_name = "NAME")]
    name: String,
    /// Print the plugin as the host's JSON, on one line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn give(order: &Order, command: &str) -> anyhow::Result<ExitCode> {
    let client = Client::new(&order.connection)?;
    let path = ["plugins", &order.name, command];
    // `null` for a plugin whose file is gone.
    let answer: Option<Box<RawValue>> = client.post(&path, &Params::new(), Vec::new()).await?;
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
pub(super) fn notes(plugin: &Plugin) -> Vec<String> {
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
    if plugin.mirrored {
        notes.push("mirrored from a bucket".into());
    }
    if plugin.waiting > 0 {
        let full = if plugin.waiting_full { ", and no new ones are taken" } else { "" };
        notes.push(format!("{} events wait to be tried again{full}", plugin.waiting));
    }
    if plugin.dead_letters > 0 {
        notes.push(format!("{} dead letters", plugin.dead_letters));
    }
    if plugin.unresolved > 0 {
        notes.push(format!("{} reactions wait to be resolved", plugin.unresolved));
    }
    notes
}
