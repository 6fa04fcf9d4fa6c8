//! `ennio summary`: what happened so far, for a person.

use std::{
    env,
    process::ExitCode,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    answers::{Entry, Page, Plugin, Plugins, Status},
    client::{Client, ClientError, Connection, DEFAULT_URL, Params},
    output::{Colour, Output, note, plain},
    tally::Tally,
};
use crate::event::Seq;

/// How long reactions may take to come to the end of the log.
const SETTLE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(200);

/// Sum up the whole history: what was accepted, dropped and why, enriched, reacted to.
///
/// Reads the log from its beginning to where it ends when the command starts: about a second for
/// 100,000 events.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// First wait until every reaction has seen every event, at most 60 s; exit code 1 when that
    /// was not enough
    #[arg(long)]
    wait_settled: bool,
    /// When to colour
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    color: Colour,
    #[command(flatten)]
    pub(super) connection: Connection,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.connection)?;
    let mut output = Output::stdout();
    let is_settled = match args.wait_settled {
        true => settle(&client, SETTLE).await?,
        false => true,
    };
    for line in summary(&client, &output, args.color).await? {
        output.line(&line)?;
    }
    output.flush()?;
    Ok(if is_settled { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) async fn summary(
    client: &Client,
    output: &Output,
    colour: Colour,
) -> anyhow::Result<Vec<String>> {
    let status: Status = client.get(&["status"], &Params::new()).await?;
    let tally = count(client, status.head).await?;
    let plugins: Plugins = client.get(&["plugins"], &Params::new()).await?;
    let is_default = client.url() == DEFAULT_URL || env::var("ENNIO_URL").is_ok();
    let option = if is_default { String::new() } else { format!(" --url {}", client.url()) };
    Ok(tally.page(client.url(), &option, &plugins.read()?, &status, output.colours(colour)))
}

/// Counts everything up to `head`: a busy host has no other end.
async fn count(client: &Client, head: Seq) -> anyhow::Result<Tally> {
    let bar = ProgressBar::with_draw_target(Some(head), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos} of {len} events") {
        bar.set_style(style);
    }
    let mut tally = Tally::default();
    let mut next = Some(0);
    while let Some(after) = next.filter(|after| *after < head) {
        let page: Page = client.get(&["events"], &params(after, head)).await?;
        for event in &page.events {
            let entry: Entry = serde_json::from_str(event.get())?;
            tally.add(&entry);
        }
        next = page.next;
        bar.set_position(next.unwrap_or(head));
    }
    bar.finish_and_clear();
    Ok(tally)
}

fn params(after: Seq, head: Seq) -> Params {
    vec![
        ("include_dropped".into(), "true".into()),
        ("order".into(), "asc".into()),
        ("after_seq".into(), after.to_string()),
        ("before_seq".into(), (head + 1).to_string()),
        ("limit".into(), "500".into()),
    ]
}

/// Waits until every reaction has done every event; `false`, and a note, when it takes too long.
pub(super) async fn settle(client: &Client, patience: Duration) -> Result<bool, ClientError> {
    let until = Instant::now() + patience;
    loop {
        // Cursors first: one that has then reached a head read later has left nothing undone.
        let plugins: Plugins = client.get(&["plugins"], &Params::new()).await?;
        let status: Status = client.get(&["status"], &Params::new()).await?;
        let plugins = plugins.read().unwrap_or_default();
        let behind = behind(&plugins, status.head);
        if behind.is_empty() {
            return Ok(true);
        }
        if Instant::now() >= until {
            note(&format!(
                "not settled after {patience:?}, the head being seq {}: {}",
                status.head,
                plain(&behind.join(", "))
            ));
            return Ok(false);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Who has not come to `head` yet, and how far.
fn behind(plugins: &[Plugin], head: Seq) -> Vec<String> {
    plugins
        .iter()
        .filter_map(|plugin| Some((plugin, plugin.cursor.filter(|cursor| *cursor < head)?)))
        .map(|(plugin, cursor)| format!("{} is at seq {cursor}", plugin.name))
        .collect()
}
