//! `ennio plugin status`: which host runs which version.

use std::{collections::BTreeMap, process::ExitCode};

use serde::Deserialize;
use serde_json::Value;

use super::server::NatsServer;
use crate::{
    cli::{
        output::{Colour, Colours, Output, json_line, note},
        table::{Cell, Table, text, whole},
    },
    control::CommandName,
    nats::ask_every_host,
};

/// Ask every host over NATS which plugins it runs, and in which version.
///
/// A host answers unless `status` is taken out of `commands` in its [nats]. HASH is the beginning of
/// the component's SHA-256. A line below says why what a host has does not run there, or what is
/// wrong with the bucket that it mirrors. The answers are over when none has come for a second.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print each host's answer as JSON: `node`, `plugins`, `mirror`; one line each
    #[arg(long)]
    json: bool,
    /// When to colour
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    color: Colour,
    #[command(flatten)]
    server: NatsServer,
}

/// What a host says of itself; one of another version may say less.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Host {
    node: String,
    plugins: Vec<Plugin>,
    mirror: Option<Mirror>,
}

impl Default for Host {
    fn default() -> Self {
        Self { node: "-".into(), plugins: Vec::new(), mirror: None }
    }
}

#[derive(Debug, Deserialize)]
struct Plugin {
    name: String,
    state: String,
    version: Option<String>,
    hash: Option<String>,
    load_error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Mirror {
    bucket: String,
    state: String,
    reason: Option<String>,
    refused: BTreeMap<String, String>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (options, _) = args.server.options()?;
    let mut hosts = Vec::new();
    for answer in ask_every_host(&options, CommandName::Status).await? {
        match answer {
            Ok(answer) => hosts.push((serde_json::from_value::<Host>(answer.clone())?, answer)),
            Err(reason) => note(&format!("a host does not say: {reason}")),
        }
    }
    // Hosts of one name stay apart by what else they say.
    hosts.sort_by_cached_key(|(host, answer)| (host.node.clone(), answer["database"].to_string()));
    let mut output = Output::stdout();
    if args.json {
        for (_, answer) in &hosts {
            output.line(&json_line(&brief(answer).to_string()))?;
        }
    } else {
        let colours = output.colours(args.color);
        let hosts: Vec<Host> = hosts.into_iter().map(|(host, _)| host).collect();
        let lines = table(&hosts, colours).lines(Some(colours.heading()), output.width());
        lines.iter().try_for_each(|line| output.line(line))?;
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn brief(answer: &Value) -> Value {
    let keys = ["node", "plugins", "mirror"];
    keys.iter()
        .map(|key| ((*key).to_owned(), answer[*key].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn table(hosts: &[Host], colours: Colours) -> Table {
    let mut table =
        Table::new([text("NODE"), text("PLUGIN"), text("VERSION"), whole("HASH"), whole("STATE")]);
    for host in hosts {
        for plugin in &host.plugins {
            let hash = plugin.hash.as_deref().unwrap_or("-");
            let state = match &*plugin.state {
                "running" | "loading" | "disabled" => Cell::new(&plugin.state),
                _ => Cell::styled(&plugin.state, colours.bad()),
            };
            table.row([
                Cell::new(&host.node),
                Cell::new(&plugin.name),
                Cell::new(plugin.version.as_deref().unwrap_or("-")),
                Cell::new(hash.get(..12).unwrap_or(hash)),
                state,
            ]);
            if let Some(error) = &plugin.load_error {
                table.under(Cell::styled(format!("not loaded: {error}"), colours.bad()));
            }
        }
        if host.plugins.is_empty() {
            table.row([&*host.node, "-", "-", "-", "-"].map(Cell::new));
        }
        if let Some(mirror) = &host.mirror {
            let trouble = (mirror.state != "following").then(|| {
                let reason = mirror.reason.as_ref().map(|reason| format!(": {reason}"));
                format!("bucket {}: {}{}", mirror.bucket, mirror.state, reason.unwrap_or_default())
            });
            let refused = mirror.refused.iter().map(|(object, reason)| {
                format!("bucket {}: object {object} is not taken: {reason}", mirror.bucket)
            });
            for line in trouble.into_iter().chain(refused) {
                table.under(Cell::styled(line, colours.bad()));
            }
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_host_says_what_it_runs_and_what_it_does_not() {
        let hosts = [
            json!({
                "node": "atlas-1",
                "plugins": [{"name": "tag", "state": "running", "version": "1.0.0",
                    "hash": "045553e3e14f00", "load_error": "tag.wasm: probation: it trapped"}],
                "mirror": {"bucket": "b", "state": "following", "reason": null,
                    "refused": {"../x": "is no plugin's name"}},
            }),
            json!({"version": "0.0.1", "plugins": [], "mirror": {"bucket": "b", "state": "held",
                "reason": "permissions violation", "refused": {}}}),
        ];
        let hosts: Vec<Host> =
            hosts.into_iter().map(|host| serde_json::from_value(host).unwrap()).collect();
        let lines = table(&hosts, Colours::none()).lines(None, None);
        let wanted = [
            "atlas-1  tag     1.0.0    045553e3e14f  running",
            "    not loaded: tag.wasm: probation: it trapped",
            "    bucket b: object ../x is not taken: is no plugin's name",
            "-        -       -        -             -",
            "    bucket b: held: permissions violation",
        ];
        assert_eq!(lines, wanted);
    }
}
