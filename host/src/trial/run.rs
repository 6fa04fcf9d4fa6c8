//! Events through one plugin as through a host that has no other: the stages of the pipeline in
//! batches, then the reaction event by event, and what the plugin writes committed after each.

use std::{path::Path, sync::Arc, time::Duration};

use thiserror::Error;

use super::{
    difference::changes,
    react::{Reacted, react},
    story::{Cost, Story, Totals},
};
use crate::{
    event::{Draft, EventId, LogEntry, Seq, Timestamp},
    pipeline::{Rehearsed, rehearse},
    plugin::{Environment, LoadError, Plugin, PluginSet, Registry, RegistryError, Said},
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
                let Reacted { emits, commands, failures, attempts } =
                    react(&self.plugin, &entry).await;
                (story.emits, story.commands, story.attempts) = (emits, commands, attempts);
                story.failures.extend(failures);
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
}

/// The id of the event that has none of its own and stands in this line: the same at every run.
pub fn id_of_line(line: u64) -> String {
    let id: Result<EventId, _> =
        format!("00000000-0000-0000-0000-{:012}", line % 1_000_000_000_000).parse();
    id.unwrap_or_else(|_| EventId::mint()).to_string()
}
