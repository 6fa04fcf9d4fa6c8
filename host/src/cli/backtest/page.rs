//! What a candidate did otherwise, for people or for programs.

use owo_colors::Style;
use serde::Serialize;
use serde_json::json;

use super::Terms;
use crate::{
    cli::{
        differences::{SHOWN, difference_lines},
        output::{Colours, Output, plain},
        table::cut,
    },
    event::Seq,
    plugin::Plugin,
    trial::{AnswerDeviation, Deviation, Emitted, Sides, Tally, Ways},
};

/// Standard output.
pub(in crate::cli) struct Page {
    output: Output,
    colours: Colours,
    json: bool,
    after: Seq,
}

impl Page {
    /// `after`: the place of the log behind which the candidate begins.
    pub(in crate::cli) fn begin(
        terms: &Terms,
        candidate: &Plugin,
        after: Seq,
    ) -> anyhow::Result<Self> {
        let output = Output::stdout();
        let colours = output.colours(terms.color);
        let mut page = Self { output, colours, json: terms.json, after };
        let roles = candidate.roles().names().collect::<Vec<_>>();
        let (name, version) = (candidate.name(), candidate.version());
        if page.json {
            let sha256 = &**candidate.hash();
            let about = json!({"name": name, "version": version, "sha256": sha256, "roles": roles});
            page.output.object("candidate", &about)?;
        } else {
            let line = format!("{name} {version} ({})", roles.join(", "));
            page.styled(page.colours.heading(), &plain(&line))?;
        }
        Ok(page)
    }

    /// One event that would have fared otherwise.
    pub(in crate::cli) fn deviation(&mut self, deviation: &Deviation) -> anyhow::Result<()> {
        if self.json {
            return self.output.object("deviation", deviation);
        }
        let Deviation { seq, id, subject, dropped, changes, answers, failures, .. } = deviation;
        let subject = self.colours.subject().style(subject.to_string()).to_string();
        self.output.line(&format!("seq {seq}  {subject}  {id}"))?;
        self.sides(dropped.as_ref(), |reason| format!("dropped: {reason}"))?;
        self.lines(difference_lines("", changes, self.colours))?;
        for AnswerDeviation { sides, changes, .. } in answers {
            match sides {
                Sides { history: Some(emitted), candidate: Some(_) } => {
                    self.output.line(&format!("    emits {} otherwise", emitted.event_type))?;
                    self.lines(difference_lines("", changes, self.colours))?;
                }
                sides => self.sides(sides.as_ref(), emits)?,
            }
        }
        for failure in failures {
            let line = format!("    failed: {}", cut(&plain(failure), SHOWN));
            self.styled(self.colours.bad(), &line)?;
        }
        Ok(())
    }

    /// What has been printed reaches who reads it.
    pub(in crate::cli) fn flush(&mut self) -> anyhow::Result<()> {
        self.output.flush()
    }

    /// The summary. `to`: the last place of the log that was looked at.
    pub(in crate::cli) fn end(&mut self, tally: Tally, to: Seq) -> anyhow::Result<()> {
        if self.json {
            #[derive(Serialize)]
            struct Summary {
                after_seq: Seq,
                to_seq: Seq,
                #[serde(flatten)]
                tally: Tally,
            }
            let summary = Summary { after_seq: self.after, to_seq: to, tally };
            self.output.object("summary", &summary)?;
            return self.output.flush();
        }
        let Tally { events, seen, different, ways, history, candidate, .. } = tally;
        let first = self.after + 1;
        self.output.line(&format!("{events} events of seq {first} to {to}, {seen} seen"))?;
        for (what, before, now) in [
            ("dropped", history.dropped, candidate.dropped),
            ("patched", history.patched, candidate.patched),
            ("answered", history.answered, candidate.answered),
        ] {
            if before + now > 0 {
                self.output
                    .line(&format!("  {before} {what} in history, {now} by the candidate"))?;
            }
        }
        self.lines(remarks(&tally).map(|line| format!("  {line}")))?;
        let (style, line) = match different {
            0 => (self.colours.good(), "no event would have fared otherwise".to_owned()),
            _ => (
                self.colours.bad(),
                format!("{different} would have fared otherwise: {}", list(ways)),
            ),
        };
        self.styled(style, &line)?;
        self.output.flush()
    }

    /// What stands on one side only, or on both.
    fn sides<T>(&mut self, sides: Sides<&T>, says: impl Fn(&T) -> String) -> anyhow::Result<()> {
        let (good, bad) = (self.colours.good(), self.colours.bad());
        for (sign, style, side) in [('-', bad, sides.history), ('+', good, sides.candidate)] {
            if let Some(side) = side {
                let line = format!("    {sign} {}", cut(&plain(&says(side)), SHOWN));
                self.styled(style, &line)?;
            }
        }
        Ok(())
    }

    fn lines(&mut self, lines: impl IntoIterator<Item = String>) -> anyhow::Result<()> {
        lines.into_iter().try_for_each(|line| self.output.line(&line))
    }

    fn styled(&mut self, style: Style, line: &str) -> anyhow::Result<()> {
        self.output.line(&style.style(line).to_string())
    }
}

fn emits(emitted: &Emitted) -> String {
    let Emitted { event_type, subject, priority, session_id, message, data, .. } = emitted;
    format!(
        "emits {event_type} to {subject}: {priority} {session_id} {:?} {}",
        message.as_str(),
        data.as_str()
    )
}

/// What else there is to know about the figures.
fn remarks(tally: &Tally) -> impl Iterator<Item = String> {
    let remarks = [
        (tally.candidate.failed, "failed by the candidate"),
        (tally.commands, "commands given by the candidate, of which history keeps nothing"),
        (tally.denied, "requests, events or commands denied to the candidate"),
        (tally.hidden, "dropped by other plugins, and not shown to the candidate"),
        (tally.as_stored, "seen as stored, since what an enricher overwrote is not in the log"),
        (tally.pruned, "deleted from the log by retention, of which nothing is known"),
        (tally.answers_pruned, "of which retention has deleted answers, and not compared in those"),
        (tally.unanswered, "not yet come to by the reaction in the log, and not compared in that"),
    ];
    remarks
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, text)| format!("{count} {text}"))
}

fn list(ways: Ways) -> String {
    let Ways { drops, keeps, reason, patches, answers, fails, holds } = ways;
    let named = [
        (drops, "dropped that were kept"),
        (keeps, "kept that were dropped"),
        (reason, "dropped for another reason"),
        (patches, "patched otherwise"),
        (answers, "answered otherwise"),
        (fails, "failed"),
        (holds, "held"),
    ];
    let found = named.into_iter().filter(|(count, _)| *count > 0);
    found.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}
