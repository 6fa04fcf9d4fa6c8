//! `ennio plugin dev`: an author's working day. At every change of the source: test, build, check,
//! put it where a running host looks, and say what the host made of it.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::time::{Instant, sleep};

use super::{
    build::{build, place},
    project::{Project, Sources},
};
use crate::cli::{
    answers::{Plugin, Plugins, Status},
    client::{Client, Connection, Params},
    output::{note, plain},
};

/// How often the source is looked at. What has not changed between two looks is written to its end.
const LOOK: Duration = Duration::from_millis(300);
/// How often the host is asked.
const ASK: Duration = Duration::from_millis(200);
/// What a host may take to load a component: a large one compiles for seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Test, build and load a plugin into the running host at every change of its source.
///
/// Until Ctrl-C: runs the project's own tests, builds it, checks it, puts component and sidecar into the
/// host's plugin folder, and says whether the host runs it. Whatever fails leaves what runs in
/// place, and the next change tries again.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The project
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The host's plugin folder, as this machine sees it; the host says it by default
    #[arg(long, value_name = "FOLDER")]
    plugins: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let project = Project::open(&args.dir)?;
    let client = Client::new(&args.connection)?;
    let folder = match args.plugins {
        Some(folder) => folder,
        None => folder_of(&client).await?,
    };
    if !folder.is_dir() {
        bail!(
            "{}: there is no such folder on this machine (name the host's plugin folder with \
             --plugins)",
            folder.display()
        );
    }
    note(&format!("{} goes into {} (Ctrl-C ends this)", project.name, folder.display()));
    tokio::select! {
        ended = follow(&project, &client, &folder) => ended,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("Ctrl-C cannot be waited for")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The plugin folder that the host says it has.
async fn folder_of(client: &Client) -> anyhow::Result<PathBuf> {
    let status: Status = client.get(&["status"], &Params::new()).await?;
    status.plugins_folder.with_context(|| {
        format!("the host at {} has no plugin folder (start it with --plugins)", client.url())
    })
}

async fn follow(project: &Project, client: &Client, folder: &Path) -> anyhow::Result<ExitCode> {
    loop {
        let built_from = Sources::look(&project.folder)?;
        match once(project, client, folder).await {
            Ok(said) => note(&plain(&said)),
            Err(error) => note(&format!("{error:#}; what runs stays")),
        }
        note("waiting for a change");
        let mut last = built_from.clone();
        loop {
            sleep(LOOK).await;
            let now = Sources::look(&project.folder)?;
            if now == last && now != built_from {
                break;
            }
            last = now;
        }
    }
}

/// One round. Returns what came of it.
async fn once(project: &Project, client: &Client, folder: &Path) -> anyhow::Result<String> {
    project.test().await?;
    let (built, _) = build(project).await?;
    let name = project.name.as_str();
    let before = status(client, name).await?;
    if before.as_ref().is_some_and(|before| before.mirrored) {
        bail!(
            "{name} is mirrored from a bucket, which has the say over its files \
             (`ennio plugin push` changes it there, or give the plugin another name)"
        );
    }
    if !place(&built, &folder.join(format!("{name}.wasm")))? && before.is_some() {
        return Ok(format!("{name}: as it was"));
    }
    let before = before.unwrap_or_default();
    let patience = Instant::now() + PATIENCE;
    while Instant::now() < patience {
        if let Some(now) = status(client, name).await? {
            if now.loads > before.loads {
                let version = now.version.as_deref().unwrap_or("?");
                return Ok(format!("{name} {version}: loaded, {}", now.state));
            }
            if let Some(reason) = &now.load_error
                && now.load_error != before.load_error
            {
                bail!("the host did not load it: {reason}");
            }
        }
        sleep(ASK).await;
    }
    bail!(
        "the host at {} took no notice within {} s (is {} its plugin folder?)",
        client.url(),
        PATIENCE.as_secs(),
        folder.display()
    )
}

async fn status(client: &Client, name: &str) -> anyhow::Result<Option<Plugin>> {
    let plugins: Plugins = client.get(&["plugins"], &Params::new()).await?;
    Ok(plugins.read()?.into_iter().find(|plugin| plugin.name == name))
}
