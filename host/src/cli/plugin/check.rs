//! `ennio plugin check`: whether a component would be loaded, without a host.

use std::{path::PathBuf, process::ExitCode};

use crate::{
    cli::output::{Output, plain},
    event::SubjectPattern,
    plugin::{
        KeySource, OnError, Ordered, Provision, Reaction, Registry, Start, TrustedKeys, limits,
    },
    store::state::State,
};

/// Say whether a component would be loaded, what it is, and what it imports and is granted.
///
/// Does what a host does when the file appears in its plugin folder, sidecar beside it included,
/// without a host: compile, link, instantiate, describe, configure. Exits with 1, and the step at
/// which it stopped, when it would not be loaded.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The component, `NAME.wasm`; `NAME.toml` beside it is its sidecar
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Ask for a signature, as a host with this key does: a public key of minisign, or its file
    #[arg(long, value_name = "KEY")]
    trusted_key: Vec<KeySource>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let trusted = TrustedKeys::read(&args.trusted_key)?;
    let registry = Registry::new(None, None, State::in_memory())?.trusting(trusted);
    let plugin = registry.examine(&args.file).await?;
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
        ("may call", listed(manifest.capabilities.http.iter())),
        ("may read", listed(manifest.capabilities.fs.iter().map(|folder| folder.display()))),
        ("may know", listed(manifest.capabilities.env.iter())),
    ];
    let roles = plugin.roles();
    if roles.filter || roles.enricher {
        facts.push(("runs", format!("order {}, on_error {on_error}", manifest.order)));
    }
    if roles.reaction {
        facts.push(("reacts", reacts(&manifest.reaction)));
    }
    let imports = plugin.imports();
    // Every standard library imports folders and an environment; who imports HTTP means it.
    if imports.iter().any(|(_, provision)| *provision == Provision::Ungranted("http")) {
        facts.push(("needs", "[capabilities] http: it sends requests, which are denied".into()));
    }
    let mut output = Output::stdout();
    output.line(&format!("{}: would be loaded", args.file.display()))?;
    for (name, fact) in facts {
        output.line(&format!("  {name:<9} {}", plain(&fact)))?;
    }
    output.line("  imports")?;
    for (name, provision) in imports {
        let note = match provision {
            Provision::Full => String::new(),
            Provision::Empty => "  (nothing behind it)".into(),
            Provision::Ungranted(key) => {
                format!("  (nothing behind it: [capabilities] {key} grants nothing)")
            }
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

fn listed(things: impl Iterator<Item = impl ToString>) -> String {
    let things: Vec<_> = things.map(|thing| thing.to_string()).collect();
    match things.is_empty() {
        true => "nothing".into(),
        false => things.join(" "),
    }
}

/// How a reaction gets its events.
fn reacts(reaction: &Reaction) -> String {
    let mut facts = vec![
        format!("{} retries", reaction.retries.get()),
        format!("{} at once", reaction.concurrency.get()),
    ];
    facts.extend(reaction.ordered.map(|ordered| match ordered {
        Ordered::Session => "each session in order".to_owned(),
        Ordered::Project => "each project in order".to_owned(),
    }));
    facts.push(match reaction.start {
        Start::End => "begins at the log's end".to_owned(),
        Start::Beginning => "begins with the first event".to_owned(),
        Start::At(time) => format!("begins with what was committed at {time}"),
    });
    facts.join(", ")
}
