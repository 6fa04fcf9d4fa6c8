//! `ennio plugin test`: what a plugin does with recorded events, without a host.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, anyhow};
use serde::Serialize;

use super::recording::{Recording, key_value};
use crate::{
    cli::{
        differences::{SHOWN, difference_lines},
        filters::parse,
        output::{Colour, Colours, Output, note, plain},
        table::cut,
    },
    event::Timestamp,
    plugin::{Environment, Said},
    trial::{Commanded, Cost, Difference, Snapshot, Story, Told, Totals, Trial},
};

/// Events of one call, as in a host.
const BATCH: u8 = 64;
/// When events happen of which no one says when: 2026-01-01T00:00:00Z, in microseconds.
const SOME_TIME: i64 = 1_767_225_600_000_000;

const EXAMPLES: &str = "\
Examples:
  ennio plugin test noise.wasm --events day.ndjson
  ennio plugin test noise.wasm --events day.ndjson --expect noise.expected.ndjson
  ennio plugin test noise.wasm --events day.ndjson --config window_s=60 --json

Exit codes: 0 as expected, 1 the plugin failed on an event or did something else than expected, 2 used wrongly.";

/// Run a plugin over recorded events, and show what it does with each.
///
/// Loads the component as a host does, with the sidecar beside it, and takes the events through
/// what a host's pipeline and reactions do: subscription, batches, a fresh instance after a
/// failure, retries, on_error, the check of what is emitted. What the plugin remembers is empty at
/// first and committed as it goes on. What it emits is shown, and goes nowhere.
///
/// Two runs have the same outcome: the guest's wall clock stands at the newest event of a call, and
/// its random numbers derive from the events. Events without an id get one of their line; without
/// a timestamp, they happen when the one before did.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The component, `NAME.wasm`; `NAME.toml` beside it is its sidecar
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The events, in the forms that `ennio emit` takes; `-` is standard input
    #[arg(long, value_name = "FILE")]
    events: PathBuf,
    /// Compare with what this file says the plugin does; write the file when there is none
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Write the file of --expect anew
    #[arg(long, requires = "expect")]
    update: bool,
    /// Exit with 0 although the plugin fails on events
    #[arg(long)]
    allow_failures: bool,
    /// Let the guest's wall clock stand at this time, in RFC 3339
    #[arg(long, value_name = "TIME", value_parser = parse::<Timestamp>)]
    now: Option<Timestamp>,
    /// Other random numbers
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// Events of one call at most
    #[arg(long, value_name = "EVENTS", default_value_t = BATCH)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=i64::from(BATCH)))]
    batch: u8,
    /// A value of the configuration instead of the sidecar's; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    config: Vec<(String, String)>,
    /// Print everything as JSON, one object a line: each event that the plugin saw, what it said,
    /// and a summary
    #[arg(long)]
    json: bool,
    /// When to colour
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    color: Colour,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut recording = Recording::open(&args.events)?;
    // The clock stands at the first event when the plugin is loaded.
    let mut events = recording.next(args.batch.into())?;
    let first = events.iter().find_map(|event| event.draft.timestamp);
    let start = args.now.or(first).or(Timestamp::from_micros(SOME_TIME));
    let start = start.unwrap_or_else(Timestamp::now);
    let environment = match args.now {
        Some(now) => Environment::fixed(now, args.seed),
        None => Environment::following(start, args.seed),
    };
    let environment = environment.config(args.config.clone());
    let mut trial = Trial::load(&args.file, environment, start).await?;

    let output = Output::stdout();
    let colours = output.colours(args.color);
    let mut page = Page { output, colours, json: args.json };
    page.begin(&trial, &args)?;
    let mut snapshot = Snapshot::default();
    while !events.is_empty() {
        let range = (events.first().map_or(0, |e| e.line), events.last().map_or(0, |e| e.line));
        let told = trial.run(events).await;
        // Without --expect nobody wants it, and it grows with the input.
        if args.expect.is_some() {
            told.stories.iter().for_each(|story| snapshot.add(story));
        }
        page.told(&told, range)?;
        events = recording.next(args.batch.into())?;
    }
    let totals = trial.totals();
    snapshot.close(totals);
    page.summary(totals, trial.cost())?;
    let is_expected = match &args.expect {
        Some(file) => expect(&mut page, file, &snapshot, args.update)?,
        None => true,
    };
    page.output.flush()?;
    let is_sound = totals.failed == 0 || args.allow_failures;
    Ok(if is_expected && is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the plugin did what `file` says; writes it where it is to be written.
fn expect(page: &mut Page, file: &PathBuf, found: &Snapshot, update: bool) -> anyhow::Result<bool> {
    let name = file.display().to_string();
    let text = match std::fs::read_to_string(file) {
        Ok(text) if !update => text,
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(anyhow!(e).context(name)),
        _ => {
            std::fs::write(file, found.text()).with_context(|| name.clone())?;
            note(&format!("{name} is written"));
            return Ok(true);
        }
    };
    let expected = Snapshot::parse(&text).with_context(|| name.clone())?;
    let differences = expected.differences(found);
    for (about, parts) in &differences {
        page.unexpected(about, parts)?;
    }
    if !differences.is_empty() {
        page.output.flush()?;
        note(&format!(
            "the plugin does something else than {name} says (write it anew with --update)"
        ));
    }
    Ok(differences.is_empty())
}

/// Standard output, for people or for programs.
struct Page {
    output: Output,
    colours: Colours,
    json: bool,
}

impl Page {
    fn begin(&mut self, trial: &Trial, args: &Args) -> anyhow::Result<()> {
        let plugin = trial.plugin();
        let roles = plugin.roles().names().collect::<Vec<_>>();
        let said = trial.take_said();
        if self.json {
            let (name, version) = (plugin.name(), plugin.version());
            self.output.object("plugin", &serde_json::json!({"name": name, "version": version, "sha256": **plugin.hash(), "roles": roles, "said": said}))?;
            return Ok(());
        }
        let line = format!(
            "{} {} ({}) over {}",
            plugin.name(),
            plugin.version(),
            roles.join(", "),
            args.events.display()
        );
        let line = plain(&line).into_owned();
        self.styled(self.colours.heading(), &line)?;
        self.said(&said)
    }

    fn told(&mut self, told: &Told, (first, last): (u64, u64)) -> anyhow::Result<()> {
        for story in &told.stories {
            match self.json {
                true if story.seen => self.output.object("event", story)?,
                true => {}
                false => self.story(story)?,
            }
        }
        match (told.said.is_empty(), self.json) {
            (true, _) => Ok(()),
            (false, true) => self
                .output
                .object("said", &serde_json::json!({"lines": [first, last], "said": told.said})),
            (false, false) => {
                self.output.line(&format!("lines {first} to {last}"))?;
                self.said(&told.said)
            }
        }
    }

    /// An event, where there is something to tell.
    fn story(&mut self, story: &Story) -> anyhow::Result<()> {
        if !story.is_news() && story.said.is_empty() {
            return Ok(());
        }
        let subject = self.colours.subject().style(story.subject.to_string()).to_string();
        self.output.line(&format!("line {}  {subject}  {}", story.line, story.id))?;
        if let Some(reason) = &story.dropped {
            self.fact(self.colours.bad(), "dropped", reason)?;
        }
        if let Some(reason) = &story.held {
            self.fact(self.colours.bad(), "held", reason)?;
        }
        self.differences(&story.changes)?;
        for event in &story.emits {
            let denied = if event.granted { "" } else { ", which is not granted" };
            self.fact(
                if event.granted { self.colours.good() } else { self.colours.bad() },
                "emits",
                &format!("{} to {}{denied}", event.event_type, event.subject),
            )?;
            let what = format!(
                "{} {} {} {:?} {}",
                event.priority,
                event.project_id,
                event.session_id,
                event.message.as_str(),
                event.data.as_str()
            );
            self.styled(self.colours.faint(), &format!("        {}", cut(&plain(&what), SHOWN)))?;
        }
        for Commanded { command, granted } in &story.commands {
            let (style, denied) = match granted {
                true => (self.colours.good(), ""),
                false => (self.colours.bad(), ", which is not granted"),
            };
            self.fact(style, "commands", &format!("{command}{denied}"))?;
        }
        if story.attempts > 1 {
            let end = if story.failures.is_empty() { "it reacted" } else { "given up" };
            self.fact(
                self.colours.bad(),
                "retried",
                &format!("{} attempts, then {end}", story.attempts),
            )?;
        }
        for failure in &story.failures {
            self.fact(self.colours.bad(), "failed", failure)?;
        }
        self.said(&story.said)
    }

    fn differences(&mut self, differences: &[Difference]) -> anyhow::Result<()> {
        let lines = difference_lines("", differences, self.colours);
        lines.into_iter().try_for_each(|line| self.output.line(&line))
    }

    fn said(&mut self, said: &[Said]) -> anyhow::Result<()> {
        for Said { level, context, message } in said {
            let context = if context.is_empty() { String::new() } else { format!("{context}: ") };
            let line = format!("{level}: {context}{message}");
            self.styled(self.colours.faint(), &format!("    says {}", cut(&plain(&line), SHOWN)))?;
        }
        Ok(())
    }

    /// Where the plugin did something else than was expected.
    fn unexpected(&mut self, about: &str, parts: &[Difference]) -> anyhow::Result<()> {
        if self.json {
            let parts: Vec<_> = parts.iter().map(|part| serde_json::json!({"path": part.path, "expected": part.from, "found": part.to})).collect();
            return self
                .output
                .object("unexpected", &serde_json::json!({"about": about, "differences": parts}));
        }
        self.output.line(&format!("not as expected: {}", plain(about)))?;
        self.differences(parts)
    }

    fn summary(&mut self, totals: Totals, cost: Cost) -> anyhow::Result<()> {
        #[derive(Serialize)]
        struct Summary {
            #[serde(flatten)]
            totals: Totals,
            #[serde(flatten)]
            cost: Cost,
        }
        if self.json {
            return self.output.object("summary", &Summary { totals, cost });
        }
        let Totals { events, seen, dropped, held, patched, emitted, failed } = totals;
        self.output.line(&format!(
            "{events} events: {seen} seen, {dropped} dropped, {patched} patched, {emitted} emitted, {held} held, {failed} failed"
        ))?;
        self.output.line(&format!(
            "{} calls, {:.1} µs an event at p50, {:.1} µs at p99, {:.1} MiB of memory",
            cost.calls,
            cost.p50_us,
            cost.p99_us,
            cost.memory_bytes as f64 / f64::from(1 << 20)
        ))
    }

    fn fact(&mut self, style: owo_colors::Style, what: &str, text: &str) -> anyhow::Result<()> {
        self.styled(style, &format!("    {what}: {}", cut(&plain(text), SHOWN)))
    }

    fn styled(&mut self, style: owo_colors::Style, line: &str) -> anyhow::Result<()> {
        self.output.line(&style.style(line).to_string())
    }
}
