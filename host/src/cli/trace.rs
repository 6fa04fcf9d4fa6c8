//! `ennio trace`: one event's whole story, drawn as a tree.

mod answer;
mod tree;

use std::process::ExitCode;

use serde_json::value::RawValue;

use super::{
    answers::Entry,
    client::{Client, Connection, Params},
    filters::parse,
    output::{Colour, Colours, Output, json_line, plain},
    table::cut,
    times::{clock_millis, date_and_clock},
};
use crate::event::EventRef;
use answer::{Attempt, Call, Causes, Difference, Line, Passed, Published, Reaction, Story};
use tree::Node;

/// Of a message, in columns.
const MESSAGE: usize = 120;
/// Of a hash; enough to tell versions apart.
const HASH: usize = 12;

const EXAMPLES: &str = "\
Examples:
  ennio trace 3417                                      by its place in the log
  ennio trace 0198f2c0-7a52-7000-8000-3c6a0f6f1e11      by its id
  ennio trace 3417 --json | jq '.reactions[].plugin'

What a filter or an enricher says in a call about several events may be about any of them. What was
in an event before an enricher changed it is not kept, but for its priority.";

/// Tell one event's whole story.
///
/// What it came from, each plugin that saw it, with its version, what it did, said and took, when the
/// event was published, and what it caused, with the story of that.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The event: its id, or its place in the log
    #[arg(value_name = "ID|SEQ", value_parser = parse::<EventRef>)]
    event: EventRef,
    /// Print the host's JSON, on one line
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
    let mut output = Output::stdout();
    let path = ["events", &args.event.to_string(), "trace"];
    let raw: Box<RawValue> = client.get(&path, &Params::new()).await?;
    if args.json {
        output.line(&json_line(raw.get()))?;
    } else {
        let Causes { causes } = serde_json::from_str(raw.get())?;
        let story: Story = serde_json::from_str(raw.get())?;
        let pen = Pen(output.colours(args.color));
        for line in pen.trace(&causes, &story).draw() {
            output.line(&line)?;
        }
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Makes lines of what the host says.
struct Pen(Colours);

impl Pen {
    fn trace(&self, causes: &[Entry], story: &Story) -> Node {
        let mut tree = self.story(story);
        let mut caused = &story.event;
        for cause in causes.iter().rev() {
            let by = caused.caused_by.as_ref().map_or("", |cause| cause.plugin.as_str());
            let mut reaction = Node::new(format!("reaction {}", plain(by)));
            reaction.push(tree);
            tree = self.event(cause);
            tree.push(reaction);
            caused = cause;
        }
        if let Some(cause) = &caused.caused_by {
            let (plugin, event) = (plain(&cause.plugin), plain(&cause.event_id));
            tree.line(self.faint(&format!(
                "emitted by {plugin} in reaction to {event}, which is not in the log any more"
            )));
        }
        tree
    }

    fn story(&self, story: &Story) -> Node {
        let mut node = self.event(&story.event);
        if !story.event.message.is_empty() {
            node.line(plain(&cut(&story.event.message, MESSAGE)));
        }
        story.pipeline.iter().for_each(|passed| node.push(self.passed(passed)));
        story.published.iter().for_each(|published| node.push(self.published(published)));
        story.reactions.iter().for_each(|reaction| node.push(self.reaction(reaction)));
        node
    }

    fn event(&self, entry: &Entry) -> Node {
        let subject = self.0.subject().style(plain(&entry.subject())).to_string();
        let priority = self.0.priority(entry.priority());
        let priority = priority.style(plain(&entry.priority)).to_string();
        let at = entry.committed_at.as_deref().map(date_and_clock).unwrap_or_default();
        let id = self.faint(&plain(&entry.id));
        Node::new(format!("{subject}  seq {}  {priority}  {at}  {id}", entry.seq))
    }

    fn passed(&self, passed: &Passed) -> Node {
        let Passed { plugin, role, version, hash, reason, error, .. } = passed;
        let name = self.name(role, plugin, version.as_deref(), hash.as_deref());
        let reason = plain(reason.as_deref().unwrap_or("no reason given"));
        let error = plain(error.as_deref().unwrap_or("no reason given"));
        let did = match passed.outcome.as_str() {
            "kept" => self.faint("kept"),
            "dropped" => self.bad(&format!("dropped: {reason}")),
            "failed" => self.bad(&format!("failed, and lets the event pass: {error}")),
            "failed_dropped" => self.bad(&format!("failed, and hides the event: {error}")),
            other => plain(other).into_owned(),
        };
        let mut node = Node::new(format!("{name}  {did}{}", self.took(passed.took_us)));
        passed.changes.iter().for_each(|change| self.change(change, &mut node));
        passed.calls.iter().for_each(|call| self.call(call, &mut node));
        node
    }

    fn change(&self, change: &Difference, node: &mut Node) {
        let path = plain(&change.path);
        let side =
            |sign: char, value: &RawValue| format!("{sign} {path} {}", json_line(value.get()));
        if let Some(from) = &change.from {
            node.line(self.bad(&side('-', from)));
        }
        if let Some(to) = &change.to {
            node.line(self.good(&side('+', to)));
        }
        if change.removed {
            node.line(self.bad(&format!("- {path}")));
        }
    }

    fn call(&self, call: &Call, node: &mut Node) {
        let Call { first_seq, last_seq, events, took_us, .. } = call;
        if let Some(error) = &call.error {
            let hash = short(call.hash.as_deref());
            let error = plain(error);
            node.line(self.bad(&format!("{hash} {error}; the version before answers")));
        }
        if *events > 1 {
            let took = micros(*took_us);
            node.line(self.faint(&format!(
                "in a call about {events} events of seq {first_seq} to {last_seq}, {took}:"
            )));
        } else if call.error.is_none() && call.said.is_empty() {
            node.line(self.faint(&format!("the call took {}", micros(*took_us))));
        }
        self.said(&call.said, call.unsaid, node);
    }

    fn said(&self, said: &[Line], unsaid: u64, node: &mut Node) {
        for Line { level, context, message } in said {
            let context = match context.as_str() {
                "" => String::new(),
                context => format!(" {}", plain(context)),
            };
            node.line(format!("{}{context}: {}", plain(level), plain(message)));
        }
        if unsaid > 0 {
            node.line(self.faint(&format!("{unsaid} further lines are in the host's log")));
        }
    }

    fn published(&self, published: &Published) -> Node {
        let sink = plain(&published.sink);
        let time = |time: &Option<String>| time.as_deref().map(clock_millis).unwrap_or_default();
        let reason = plain(published.reason.as_deref().unwrap_or("no reason given"));
        Node::new(match published.state.as_str() {
            "published" if published.by.is_some() => {
                let (after, by) = (time(&published.after), time(&published.by));
                format!("published to {sink} between {after} and {by}")
            }
            "published" => format!("published to {sink}"),
            "pending" => self.faint(&format!("not yet published to {sink}")),
            "skipped" => self.bad(&format!("cannot be published to {sink}: {reason}")),
            other => format!("{sink}: {}", plain(other)),
        })
    }

    fn reaction(&self, reaction: &Reaction) -> Node {
        let Reaction { plugin, version, hash, .. } = reaction;
        let name = self.name("reaction", plugin, version.as_deref(), hash.as_deref());
        let came = self.came(reaction);
        let mut node = Node::new(format!("{name}  {came}{}", self.took(reaction.took_us)));
        for attempt in &reaction.failed_attempts {
            let Attempt { attempt: number, at, error, took_us, .. } = attempt;
            let (at, took) = (clock_millis(at), self.took(*took_us));
            let by = match &attempt.hash {
                Some(other) if attempt.hash != *hash => format!(" ({})", short(Some(other))),
                _ => String::new(),
            };
            let failed = self.bad(&format!("attempt {number} failed at {at}: {}", plain(error)));
            node.line(format!("{failed}{by}{took}"));
            self.said(&attempt.said, attempt.unsaid, &mut node);
        }
        self.said(&reaction.said, reaction.unsaid, &mut node);
        reaction.commands.iter().for_each(|command| {
            node.line(format!("gave the command {}", plain(command)));
        });
        reaction.emitted.iter().for_each(|story| node.push(self.story(story)));
        if reaction.left_out > 0 {
            let left_out = reaction.left_out;
            let words =
                format!("{left_out} further events are left out (trace one of those above)");
            node.push(Node::new(self.faint(&words)));
        }
        node
    }

    /// What came of it, in words.
    fn came(&self, reaction: &Reaction) -> String {
        // That it reacted is told by the host.
        let told = |story: &&Story| story.event.subject().starts_with("ennio.reactions.");
        let own = reaction.emitted.iter().filter(|story| !told(story)).count();
        let emitted = own as u64 + reaction.left_out;
        let at = |time: &Option<String>| time.as_deref().map(clock_millis).unwrap_or_default();
        match reaction.outcome.as_str() {
            "done" if reaction.at.is_none() && emitted == 0 => self.faint("nothing to do"),
            "done" => {
                let did = match emitted {
                    0 => "done".into(),
                    1 => "emitted 1 event".into(),
                    _ => format!("emitted {emitted} events"),
                };
                match reaction.at {
                    Some(_) => self.good(&format!("{did} at {}", at(&reaction.at))),
                    None => self.good(&did),
                }
            }
            "pending" => self.faint("has not come to it, or not said so"),
            "waiting" => format!("comes back to it at {}", at(&reaction.next_at)),
            "dead_letter" => {
                let id = reaction.dead_letter.unwrap_or_default();
                self.bad(&format!("gave up: dead letter {id} (ennio dead-letters show {id})"))
            }
            "discarded" => self.bad("gave up, and its dead letter was discarded"),
            other => plain(other).into_owned(),
        }
    }

    fn name(&self, role: &str, plugin: &str, version: Option<&str>, hash: Option<&str>) -> String {
        let version = version.map(|version| format!(" {}", plain(version))).unwrap_or_default();
        let hash = self.faint(&format!("({})", short(hash)));
        format!("{} {}{version} {hash}", plain(role), plain(plugin))
    }

    fn took(&self, micros_: Option<f64>) -> String {
        micros_.map(|time| format!(", {}", micros(time))).unwrap_or_default()
    }

    fn faint(&self, text: &str) -> String {
        self.0.faint().style(text).to_string()
    }

    fn good(&self, text: &str) -> String {
        self.0.good().style(text).to_string()
    }

    fn bad(&self, text: &str) -> String {
        self.0.bad().style(text).to_string()
    }
}

fn short(hash: Option<&str>) -> String {
    match hash {
        Some(hash) => plain(hash).chars().take(HASH).collect(),
        None => "version unknown".into(),
    }
}

fn micros(time: f64) -> String {
    match time {
        _ if time < 1e3 => format!("{time:.1} µs"),
        _ if time < 1e6 => format!("{:.1} ms", time / 1e3),
        _ => format!("{:.1} s", time / 1e6),
    }
}

#[cfg(test)]
mod tests;
