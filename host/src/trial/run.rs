//! Events through one plugin as through a host that has no other: the stages of the pipeline in
//! batches, then the reaction event by event, and what the plugin writes committed after each.

use std::{path::Path, sync::Arc, time::Duration};

use thiserror::Error;

use super::{
    difference::{Difference, differences},
    story::{Commanded, Cost, Emitted, Story, Totals},
};
use crate::{
    event::{Draft, Event, EventId, LogEntry, Seq, Timestamp},
    pipeline::{Rehearsed, rehearse},
    plugin::{
        Action, Delivery, Environment, LoadError, Plugin, PluginSet, ReactError, Registry,
        RegistryError, Said,
    },
    reaction::decision::{self, Wish},
    store::state::State,
};

/// Why there is no trial.
#[derive(Debug, Error)]
pub enum TrialError {
    /// WebAssembly cannot run here.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A host would not load it either.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// An event and its place in the input.
pub struct Placed {
    /// From 1.
    pub line: u64,
    /// The event. Without an id it gets one that is another at every run.
    pub draft: Draft,
}

/// What became of a batch.
pub struct Told {
    /// One story an event, in their order.
    pub stories: Vec<Story>,
    /// What the plugin said that may be about any of them.
    pub said: Vec<Said>,
}

/// A plugin on trial.
pub struct Trial {
    plugin: Arc<Plugin>,
    /// The plugin alone.
    plugins: PluginSet,
    environment: Environment,
    /// Its engine's clock is what interrupts guests.
    _registry: Registry,
    /// Of the last event that was committed.
    seq: Seq,
    /// When the next event happened, if it does not say so.
    clock: Timestamp,
    totals: Totals,
    /// One for each event that was seen.
    nanos: Vec<u64>,
}

impl Trial {
    /// Loads a component as a host would, its sidecar included, with empty state in memory.
    /// `start` is when events happened that do not say so, if none before them does.
    ///
    /// # Errors
    /// [`TrialError`] when a host would not load it.
    pub async fn load(
        file: &Path,
        environment: Environment,
        start: Timestamp,
    ) -> Result<Self, TrialError> {
        let registry =
            Registry::new(None, None, State::in_memory())?.with_environment(environment.clone());
        let plugin = Arc::new(registry.examine(file).await?);
        Ok(Self {
            plugins: PluginSet::new([Arc::clone(&plugin)].into_iter()),
            plugin,
            environment,
            _registry: registry,
            seq: 0,
            clock: start,
            totals: Totals::default(),
            nanos: Vec::new(),
        })
    }

    /// The plugin.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// What it said since it was loaded or run last.
    pub fn take_said(&self) -> Vec<Said> {
        self.environment.take_said()
    }

    /// Runs events as one batch.
    pub async fn run(&mut self, events: Vec<Placed>) -> Told {
        let lines: Vec<u64> = events.iter().map(|event| event.line).collect();
        let drafts = events.into_iter().map(|event| self.timed(event.draft)).collect();
        let before = self.plugin.stats().time();
        let rehearsed = rehearse(&self.plugins, drafts, self.clock).await;
        let spent = self.plugin.stats().time() - before;
        self.plugins.take_written().into_iter().for_each(|written| written.commit_in_memory());
        let said = self.take_said();
        let (stories, entries): (Vec<_>, Vec<_>) =
            rehearsed.into_iter().zip(lines).map(|(one, line)| self.story(line, one)).unzip();
        let mut told = Told { stories, said };
        let seen = told.stories.iter().filter(|story| story.seen).count();
        if seen == 1
            && let Some(only) = told.stories.iter_mut().find(|story| story.seen)
        {
            only.said = std::mem::take(&mut told.said);
        }
        for (story, entry) in told.stories.iter_mut().zip(entries) {
            let share = if story.seen { spent / seen.max(1) as u32 } else { Duration::ZERO };
            let before = self.plugin.stats().time();
            if let Some(entry) = entry.filter(|entry| self.reacts_to(entry)) {
                story.seen = true;
                self.react(&entry, story).await;
                story.said.extend(self.take_said());
            }
            if story.seen {
                let spent = share + (self.plugin.stats().time() - before);
                self.nanos.push(spent.as_nanos() as u64);
            }
            self.totals.add(story);
        }
        told
    }

    /// What it did so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// What that cost.
    pub fn cost(&self) -> Cost {
        let mut nanos = self.nanos.clone();
        nanos.sort_unstable();
        let quantile = |part: f64| {
            let at = (nanos.len() as f64 * part).ceil() as usize;
            nanos.get(at.saturating_sub(1)).map_or(0.0, |nanos| *nanos as f64 / 1e3)
        };
        Cost {
            calls: self.plugin.stats().calls(),
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            memory_bytes: self.plugin.stats().memory_bytes(),
        }
    }

    fn timed(&mut self, mut draft: Draft) -> Draft {
        self.clock = draft.timestamp.unwrap_or(self.clock);
        draft.timestamp = Some(self.clock);
        draft
    }

    /// The story so far, and the event as the log would have it.
    fn story(&mut self, line: u64, one: Rehearsed) -> (Story, Option<LogEntry>) {
        let Rehearsed { sent, event, subject, dropped, held, failures } = one;
        let roles = self.plugin.roles();
        let sent_to = sent.subject();
        let story = Story {
            line,
            id: sent.id,
            event_type: sent.event_type.clone(),
            seen: (roles.filter || roles.enricher) && self.plugin.wants(&sent, &sent_to),
            subject: sent_to,
            changes: changes(&sent, &event),
            emits: Vec::new(),
            commands: Vec::new(),
            attempts: 1,
            said: Vec::new(),
            failures,
            dropped: dropped.as_ref().map(|dropped| dropped.reason.clone()),
            held,
        };
        if story.held.is_some() {
            return (story, None);
        }
        self.seq += 1;
        let committed_at = event.timestamp;
        let entry = LogEntry::new(self.seq, event, subject, None, 0, dropped, committed_at);
        (story, Some(entry))
    }

    fn reacts_to(&self, entry: &LogEntry) -> bool {
        self.plugin.roles().reaction
            && entry.dropped.is_none()
            && self.plugin.wants(&entry.event, &entry.subject)
    }

    /// Reacts to one event until it is done or given up, without the waits of a host.
    async fn react(&self, entry: &LogEntry, story: &mut Story) {
        let retries = self.plugin.manifest().reaction.retries.get();
        loop {
            let delivery = Delivery { entry, attempt: story.attempts };
            match self.plugin.react(delivery).await.1 {
                Ok(actions) => {
                    self.act(entry, actions, story);
                    break;
                }
                Err(ReactError::Retry { .. }) if story.attempts <= retries => story.attempts += 1,
                Err(e) => {
                    story.failures.push(e.to_string());
                    break;
                }
            }
        }
        // With the cursor, or with the dead letter.
        self.plugin
            .reaction_state()
            .take()
            .into_iter()
            .for_each(|written| written.commit_in_memory());
    }

    fn act(&self, entry: &LogEntry, actions: Vec<Action>, story: &mut Story) {
        for (index, action) in actions.iter().enumerate() {
            let emission = match action {
                Action::Emit(emission) => emission.clone(),
                Action::Command(wish) => {
                    if let Ok((command, granted)) = decision::command(&self.plugin, wish) {
                        let command = command.to_string();
                        story.commands.push(Commanded { command, granted });
                    }
                    continue;
                }
            };
            let Ok(Wish { draft, subject, is_granted }) =
                decision::wish(&self.plugin, entry, index, emission)
            else {
                continue;
            };
            let Event { id, event_type, priority, session_id, project_id, message, data, .. } =
                draft.into_event(entry.event.timestamp);
            story.emits.push(Emitted {
                id,
                subject,
                granted: is_granted,
                event_type,
                priority,
                session_id,
                project_id,
                message,
                data,
            });
        }
        // The host's own verdict: all of them, or why none.
        if let Err(refusal) = decision::decide(&self.plugin, entry, actions) {
            story.failures.push(refusal.reason);
        }
    }
}

/// What is different between an event before and after.
fn changes(before: &Event, after: &Event) -> Vec<Difference> {
    let mut found = Vec::new();
    let texts = [
        ("priority", before.priority.as_str(), after.priority.as_str()),
        ("message", before.message.as_str(), after.message.as_str()),
    ];
    for (field, before, after) in texts {
        if before != after {
            let raw = |text: &str| serde_json::value::to_raw_value(text).ok();
            found.push(Difference { path: field.into(), from: raw(before), to: raw(after) });
        }
    }
    differences("data", before.data.raw(), after.data.raw(), &mut found);
    found
}

/// The id of the event that has none of its own and stands in this line: the same at every run.
pub fn id_of_line(line: u64) -> String {
    let id: Result<EventId, _> =
        format!("00000000-0000-0000-0000-{:012}", line % 1_000_000_000_000).parse();
    id.unwrap_or_else(|_| EventId::mint()).to_string()
}
