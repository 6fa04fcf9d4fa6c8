//! Tells an event's way: what it came from, whom it met, what was done with it, what came of it.

use rusqlite::{Connection, types::Type};

use super::{
    Member, Role,
    diff::differences,
    read::{self, StepRow},
    story::{MAX_STORIES, Outcome, Passed, Published, Reaction, ReactionOutcome, Story, Trace},
};
use crate::event::{
    EventId, EventPriority, EventRef, LogEntry, MAX_ACTIONS, MAX_HOPS, PluginName, Subject,
};

/// The trace of an event; `None` when it is not in the log.
pub(in crate::store) fn trace(db: &Connection, which: EventRef) -> rusqlite::Result<Option<Trace>> {
    // One look at the file's state, so that the parts fit together.
    let db = db.unchecked_transaction()?;
    let Some(entry) = read::entry(&db, which)? else { return Ok(None) };
    let causes = causes(&db, &entry)?;
    let reactions = read::reactions(&db)?;
    let story = Teller { db: &db, reactions, left: MAX_STORIES - 1 }.story(entry)?;
    Ok(Some(Trace { causes, story }))
}

fn causes(db: &Connection, entry: &LogEntry) -> rusqlite::Result<Vec<LogEntry>> {
    let mut causes = Vec::new();
    let mut next = entry.caused_by.as_ref().map(|cause| cause.event_id);
    // A chain is no longer, whatever the file says.
    while let Some(id) = next.filter(|_| causes.len() <= usize::from(MAX_HOPS)) {
        let Some(cause) = read::by_id(db, id)? else { break };
        next = cause.caused_by.as_ref().map(|cause| cause.event_id);
        causes.push(cause);
    }
    causes.reverse();
    Ok(causes)
}

struct Teller<'a> {
    db: &'a Connection,
    reactions: Vec<PluginName>,
    /// How many events may yet be told of.
    left: usize,
}

impl Teller<'_> {
    fn story(&mut self, event: LogEntry) -> rusqlite::Result<Story> {
        let pipeline = self.pipeline(&event)?;
        let mut story = Story { event, pipeline, published: Vec::new(), reactions: Vec::new() };
        if story.event.dropped.is_none() {
            story.published = self.published(&story.event)?;
            for plugin in self.reactions.clone() {
                story.reactions.extend(self.reaction(plugin, &story.event)?);
            }
        }
        Ok(story)
    }

    fn pipeline(&self, event: &LogEntry) -> rusqlite::Result<Vec<Passed>> {
        let mut steps = read::steps(self.db, event.seq)?;
        let members = read::lineup(self.db, event.seq)?;
        let mut views = views(event, &steps).into_iter();
        let mut view = views.next().unwrap_or_else(|| View::of(event));
        let mut passed = Vec::new();
        for member in members {
            let is_its = |step: &StepRow| step.plugin == member.plugin && step.role == member.role;
            let step = steps.iter().position(is_its).map(|at| steps.remove(at));
            if step.is_none() && !member.wants(&view.subject, view.priority) {
                continue;
            }
            let is_last = step.as_ref().is_some_and(|step| step.hides(event));
            if step.is_some() {
                view = views.next().unwrap_or(view);
            }
            passed.push(self.passed(event, &member.plugin, member.role, Some(&member), step)?);
            if is_last {
                return Ok(passed);
            }
        }
        // Of before lineups were recorded.
        for step in steps {
            let plugin = step.plugin.clone();
            passed.push(self.passed(event, &plugin, step.role, None, Some(step))?);
        }
        if let Some(dropped) = &event.dropped {
            passed.push(Passed {
                plugin: dropped.by.clone(),
                role: Role::Filter,
                version: None,
                hash: None,
                outcome: Outcome::Dropped,
                reason: Some(dropped.reason.clone()),
                error: None,
                changes: Vec::new(),
                took_us: None,
                calls: Vec::new(),
            });
        }
        Ok(passed)
    }

    /// Of a member of the lineup, a recorded step, or both.
    fn passed(
        &self,
        event: &LogEntry,
        plugin: &PluginName,
        role: Role,
        member: Option<&Member>,
        step: Option<StepRow>,
    ) -> rusqlite::Result<Passed> {
        let hides = step.as_ref().is_some_and(|step| step.hides(event));
        let outcome = match step.as_ref().map(|step| step.outcome.as_str()) {
            None => Outcome::Kept,
            Some("changed") => Outcome::Changed,
            Some("dropped") => Outcome::Dropped,
            Some(_) if hides => Outcome::FailedDropped,
            Some(_) => Outcome::Failed,
        };
        let reason = event.dropped.as_ref().filter(|_| outcome == Outcome::Dropped);
        let detail = step.as_ref().and_then(|step| step.detail.as_deref());
        let changes = match (outcome, detail) {
            (Outcome::Changed, Some(patch)) => {
                differences(patch, step.as_ref().and_then(|step| step.was_priority)).map_err(
                    |e| rusqlite::Error::FromSqlConversionFailure(4, Type::Text, Box::new(e)),
                )?
            }
            _ => Vec::new(),
        };
        let error = detail.filter(|_| matches!(outcome, Outcome::Failed | Outcome::FailedDropped));
        let hash = step.as_ref().map(|step| &step.version).or(member.map(|m| &m.hash));
        Ok(Passed {
            plugin: plugin.clone(),
            role,
            // The version before answered for one that failed: then its own name is not known.
            version: member.filter(|m| Some(&m.hash) == hash).map(|m| m.version.clone()),
            hash: hash.cloned(),
            outcome,
            reason: reason.map(|dropped| dropped.reason.clone()),
            error: error.map(str::to_owned),
            changes,
            took_us: step.as_ref().and_then(|step| step.took).map(micros),
            calls: read::calls(self.db, plugin, role, event.seq)?,
        })
    }

    fn published(&self, event: &LogEntry) -> rusqlite::Result<Vec<Published>> {
        let mut published = Vec::new();
        for (sink, cursor) in read::sinks(self.db)? {
            let skipped = read::undelivered(self.db, &sink, event.seq)?;
            published.push(match skipped {
                Some(reason) => Published::Skipped { sink, reason },
                None if cursor < event.seq => Published::Pending { sink },
                None => {
                    let (after, by) = read::marks(self.db, &sink, event.seq)?;
                    // Marks of before it was committed say less than that.
                    let after = after.map_or(event.committed_at, |t| t.max(event.committed_at));
                    Published::Published { sink, after, by }
                }
            });
        }
        Ok(published)
    }

    /// How a reaction went; `None` when the event is not for it.
    fn reaction(
        &mut self,
        plugin: PluginName,
        event: &LogEntry,
    ) -> rusqlite::Result<Option<Reaction>> {
        let (db, seq) = (self.db, event.seq);
        let member = read::reaction_version(db, &plugin, seq)?;
        let done = read::reacted(db, &plugin, seq)?;
        let failed_attempts = read::attempts(db, &plugin, seq)?;
        let next_at = read::waits_until(db, &plugin, seq)?;
        let dead_letter = read::dead_letter(db, &plugin, seq)?;
        // What is not recorded may have emitted all the same.
        let may_have = done.as_ref().map_or(member.is_none(), |done| done.emitted > 0);
        let emitted = if may_have { self.emitted(&plugin, event)? } else { Vec::new() };
        let sees = member.as_ref().is_some_and(|m| m.wants(&event.subject, event.event.priority));
        let outcome = match (&done, next_at, dead_letter) {
            (_, _, Some(_)) => ReactionOutcome::DeadLetter,
            (_, Some(_), _) => ReactionOutcome::Waiting,
            (Some(_), ..) => ReactionOutcome::Done,
            _ if !emitted.is_empty() => ReactionOutcome::Done,
            _ if !failed_attempts.is_empty() => ReactionOutcome::Discarded,
            _ if !sees => return Ok(None),
            _ if read::has_passed(db, &plugin, seq)? => ReactionOutcome::Done,
            _ => ReactionOutcome::Pending,
        };
        let called = done.as_ref().map(|done| &done.called);
        let last = failed_attempts.last().and_then(|attempt| attempt.called.as_ref());
        let hash =
            called.or(last).map(|called| &called.version).or(member.as_ref().map(|m| &m.hash));
        let hash = hash.cloned();
        let (told, left_out) = self.tell(emitted)?;
        Ok(Some(Reaction {
            version: member.filter(|m| Some(&m.hash) == hash.as_ref()).map(|m| m.version),
            hash,
            outcome,
            attempt: done.as_ref().map(|done| done.attempt),
            at: done.as_ref().map(|done| done.at),
            took_us: called.map(|called| micros(called.took)),
            said: called.map(|called| called.said.clone()).unwrap_or_default(),
            unsaid: called.map_or(0, |called| called.unsaid),
            failed_attempts,
            next_at,
            dead_letter,
            commands: done.map(|done| done.commands).unwrap_or_default(),
            emitted: told,
            left_out,
            plugin,
        }))
    }

    /// What a plugin emitted in reaction to an event. The ids derive from both.
    fn emitted(&self, plugin: &PluginName, event: &LogEntry) -> rusqlite::Result<Vec<LogEntry>> {
        let cause = event.event.id;
        // A sender may have taken the id before.
        let find = |id: EventId| -> rusqlite::Result<Option<LogEntry>> {
            let is_its = |found: &LogEntry| {
                found.caused_by.as_ref().is_some_and(|cause| cause.plugin == *plugin)
            };
            Ok(read::by_id(self.db, id)?.filter(is_its))
        };
        let mut emitted = Vec::new();
        for index in 0..MAX_ACTIONS {
            emitted.extend(find(EventId::of_reaction(cause, plugin, index))?);
        }
        emitted.extend(find(EventId::of_triggered(cause, plugin))?);
        for times in 1.. {
            match find(EventId::of_escalated(cause, plugin, times))? {
                Some(escalated) => emitted.push(escalated),
                None => break,
            }
        }
        Ok(emitted)
    }

    /// The stories of as many events as there may yet be, and how many are left out.
    fn tell(&mut self, events: Vec<LogEntry>) -> rusqlite::Result<(Vec<Story>, u64)> {
        let mut told = Vec::new();
        let mut left_out = 0;
        for event in events {
            match self.left.checked_sub(1) {
                Some(left) => {
                    self.left = left;
                    told.push(self.story(event)?);
                }
                None => left_out += 1,
            }
        }
        Ok((told, left_out))
    }
}

impl StepRow {
    /// Whether nobody behind this step saw the event.
    fn hides(&self, event: &LogEntry) -> bool {
        let is_its = event.dropped.as_ref().is_some_and(|dropped| dropped.by == self.plugin);
        is_its && self.outcome != "changed"
    }
}

/// What decides who sees an event.
#[derive(Debug, Clone)]
struct View {
    subject: Subject,
    priority: EventPriority,
}

impl View {
    fn of(event: &LogEntry) -> Self {
        Self { subject: event.subject.clone(), priority: event.event.priority }
    }
}

/// How the event was before the first step, and how after each of them.
fn views(event: &LogEntry, steps: &[StepRow]) -> Vec<View> {
    let mut view = View::of(event);
    let mut views = vec![view.clone()];
    for step in steps.iter().rev() {
        view.priority = step.was_priority.unwrap_or(view.priority);
        view.subject = step.was_subject.clone().unwrap_or(view.subject);
        views.push(view.clone());
    }
    views.reverse();
    views
}

fn micros(time: std::time::Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}
