//! `ennio tail`: events as they come.
//!
//! A stream that ends is taken up again behind the last event that was shown, so nothing is missed
//! and nothing is shown twice. To have such a place from the beginning, the head of the log is
//! asked for first.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt as _};
use serde_json::value::RawValue;

use super::{
    answers::{Entry, Gone, Status},
    client::{Client, ClientError, Connection, Message, Params, waits},
    filters::Filters,
    output::{Colour, Colours, Output, json_line, note, plain, stdout_closed},
    times::clock,
};
use crate::event::{Seq, SubjectPattern};

/// A stream that was open for longer was a good one.
const HEALTHY: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  ennio tail                                   every event from now on
  ennio tail 'ennio.ci.*.failing'              one kind, of all projects
  ennio tail 'ennio.*.atlas.>' --after 0       all of one project, from the beginning of the log
  ennio tail --data branch=main --text 'flak*' what is about main, and flaky
  ennio tail --min-priority urgent --json      for another program

A pattern is a subject in which `*` stands for one token and a last `>` for the rest:
ennio.<sessions|pr|ci|review|merge|reactions|custom>.<project>.<action>,
ennio.node.<host>.<action>, ennio.lifecycle.<action>.";

/// Follow events as the host commits them.
///
/// One line an event: local time, priority, subject, session, message. A host that goes away is
/// waited for, without end; its events are then continued where they stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Which subjects; several are joined [default: ennio.>]
    #[arg(value_name = "PATTERN")]
    patterns: Vec<SubjectPattern>,
    /// Begin behind this place in the log (0: from its beginning) instead of now
    #[arg(long, value_name = "SEQ")]
    after: Option<Seq>,
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

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.connection)?;
    let mut output = Output::stdout();
    tokio::select! {
        ended = follow(&client, &args, &mut output) => ended?,
        // Otherwise only the next event would tell, which may be long in coming.
        closed = stdout_closed() => return Err(closed.into()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends only with an error.
pub(super) async fn follow(
    client: &Client,
    args: &Args,
    output: &mut Output,
) -> anyhow::Result<()> {
    let form = Form { json: args.json, colours: output.colours(args.color) };
    let last = match args.after {
        Some(seq) => seq,
        None => client.get::<Status>(&["status"], &Params::new()).await?.head,
    };
    go_on(client, &args.filters.params(&args.patterns), last, form, output).await
}

/// Shows what was asked for behind `last`, for ever. Ends only with an error.
pub(super) async fn go_on(
    client: &Client,
    wanted: &Params,
    mut last: Seq,
    form: Form,
    output: &mut Output,
) -> anyhow::Result<()> {
    let mut was_connected = false;
    let mut away: Option<Away> = None;
    loop {
        let mut params = wanted.clone();
        params.push(("after_seq".into(), last.to_string()));
        let reason = match client.stream(&params).await {
            Ok(messages) => {
                // Once for each absence, however often its streams break.
                if let Some(away) = away.as_mut().filter(|away| !away.was_back) {
                    away.was_back = true;
                    note(&format!("{} is back; continuing behind seq {last}", client.url()));
                }
                was_connected = true;
                let (before, opened) = (last, Instant::now());
                let reason = show(messages, &mut last, form, output).await?;
                // A stream that ends at once and brings nothing is no sign of health.
                if last > before || opened.elapsed() > HEALTHY {
                    away = None;
                }
                reason
            }
            Err(error) if was_connected && error.is_passing() => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        let away = away.get_or_insert_with(|| {
            note(&format!("{}; continuing behind seq {last} when it is back", plain(&reason)));
            Away { waits: Box::new(waits()), was_back: false }
        });
        tokio::time::sleep(away.waits.next().unwrap_or_default()).await;
    }
}

/// A host that is away, or comes and goes.
struct Away {
    waits: Box<dyn Iterator<Item = Duration> + Send>,
    was_back: bool,
}

/// How events are shown.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) json: bool,
    pub(super) colours: Colours,
}

impl Form {
    /// One event on one line.
    pub(super) fn show(self, raw: &RawValue, output: &mut Output) -> anyhow::Result<()> {
        self.show_read(raw, &serde_json::from_str(raw.get())?, output)
    }

    fn show_read(self, raw: &RawValue, entry: &Entry, output: &mut Output) -> anyhow::Result<()> {
        match self.json {
            true => output.line(&json_line(raw.get())),
            false => output.line(&line(entry, self.colours)),
        }
    }
}

/// Shows one stream to its end; says why it ended.
async fn show(
    messages: impl Stream<Item = Result<Message, ClientError>> + Unpin,
    last: &mut Seq,
    form: Form,
    output: &mut Output,
) -> anyhow::Result<String> {
    // What is there is written in one go, and nothing waits for more to come.
    let mut ready = messages.ready_chunks(256);
    while let Some(messages) = ready.next().await {
        for message in messages {
            match message {
                Ok(message) => show_one(&message, last, form, output)?,
                Err(error) => {
                    output.flush()?;
                    return Ok(error.to_string());
                }
            }
        }
        output.flush()?;
    }
    Ok("the host ended the stream".into())
}

fn show_one(
    message: &Message,
    last: &mut Seq,
    form: Form,
    output: &mut Output,
) -> anyhow::Result<()> {
    if message.event == "pruned"
        && let Ok(gone) = serde_json::from_str::<Gone>(&message.data)
    {
        *last = gone.to.max(*last);
        note(&gone.to_string());
        return Ok(());
    }
    let (raw, entry) = match read(&message.data) {
        Ok(read) => read,
        Err(_) => {
            note(&format!("host: {} {}", plain(&message.event), plain(message.data.trim())));
            return Ok(());
        }
    };
    if entry.seq <= *last {
        return Ok(());
    }
    *last = entry.seq;
    form.show_read(raw, &entry, output)
}

fn read(json: &str) -> serde_json::Result<(&RawValue, Entry)> {
    Ok((serde_json::from_str(json)?, serde_json::from_str(json)?))
}

/// One event on one line.
pub(super) fn line(entry: &Entry, colours: Colours) -> String {
    let subject = entry.subject();
    let [subject, session, message] = [&*subject, &*entry.session_id, &*entry.message].map(plain);
    let dropped = match &entry.dropped_by {
        None => String::new(),
        Some(by) => {
            let reason = entry.drop_reason.as_deref().unwrap_or("no reason given");
            let text = format!("[dropped by {}: {}] ", plain(by), plain(reason));
            colours.faint().style(text).to_string()
        }
    };
    let line = format!(
        "{} {} {} {} {dropped}{message}",
        clock(&entry.timestamp),
        colours.priority(entry.priority()).style(format!("{:<8}", plain(&entry.priority))),
        colours.subject().style(subject),
        session,
    );
    // A message may be empty.
    line.trim_end().to_owned()
}
