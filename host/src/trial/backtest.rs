//! A candidate over history: what it would have decided, beside what the log says that the plugin
//! of its name did.
//!
//! **What the candidate is given.** A filter gets each event as it was sent, an enricher as it was
//! when the plugin's turn came, a reaction as it is in the log; `restore` makes the first two out of
//! the log, or says that they are gone. Where history does not tell when the plugin's turn was, it is
//! taken to have been the last one of its stage, or the first one if so told. The consequences of a
//! decision are not played through: what else would have been emitted, dropped or seen by others.
//!
//! **What it is compared with.** The drop that carries the plugin's name, the change that does, the
//! events that were emitted under it. Of a reaction the log tells how far it has come, and what lies
//! beyond is not compared. Neither is what retention has deleted since.
//!
//! One thread reads the log while the plugin works on what was read before.

use std::{path::Path, sync::Arc};

use thiserror::Error;
use tokio::{sync::mpsc, task::spawn_blocking};

use super::{
    answers::Answers,
    case::{Case, Verdict},
    deviation::{AnswerDeviation, Deviation, Effects, Tally},
    react::react,
    run::TrialError,
};
use crate::{
    event::{Draft, PluginName, Selection, Seq, Timestamp},
    pipeline::{Rehearsed, rehearse},
    plugin::{Environment, Plugin, PluginSet, Registry},
    reaction::{cursor_of, is_told},
    store::{
        Answer, History, OpenError, Past, Remembered, StoreError,
        state::{State, StateError},
    },
};

/// Pages that are read ahead.
const AHEAD: usize = 2;

/// Why there is no backtest, or no end of one.
#[derive(Debug, Error)]
pub enum BacktestError {
    /// The log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// A host would not load the candidate either.
    #[error(transparent)]
    Load(#[from] TrialError),
    /// What the plugin remembers cannot be copied.
    #[error("the plugin's state cannot be copied: {0}")]
    State(#[from] StateError),
    /// The thread that reads the log is gone.
    #[error("the log is not read any more: {0}")]
    Reader(String),
}

/// What is tried, and on what.
pub struct Terms<'a> {
    /// The component.
    pub file: &'a Path,
    /// Under which name: that of the plugin in history.
    pub name: PluginName,
    /// Another sidecar than the one beside the component.
    pub sidecar: Option<&'a Path>,
    /// Which events of the log. What filters hid is always read.
    pub selection: Selection,
    /// What it remembers at first, and of what in the log that is; nothing unless given.
    pub remembered: Option<Remembered>,
    /// Events of one call at most.
    pub batch: usize,
    /// Its turn is taken to be the first one of its stage.
    pub first: bool,
    /// How many deviations of each way are told in full.
    pub samples: u64,
}

/// A candidate on its way through history.
pub struct Backtest {
    plugin: Arc<Plugin>,
    /// The candidate alone, by stage, since a stage has its own view of an event.
    filters: PluginSet,
    enrichers: PluginSet,
    environment: Environment,
    /// Its engine's clock is what interrupts guests.
    _registry: Registry,
    history: History,
    selection: Selection,
    batch: usize,
    first: bool,
    samples: u64,
    /// Where the candidate's filter and enricher, and where its reaction, begin: what they remember
    /// holds what came before.
    begins: (Seq, Seq),
    answers: Answers,
    /// Whether anything is gone that may have been an answer.
    has_holes: bool,
    tally: Tally,
}

impl Backtest {
    /// Loads the candidate as a host would, in surroundings that are `environment` from the first
    /// event on.
    ///
    /// # Errors
    /// [`BacktestError`] when a host would not load it, or what it is to remember is out of bounds.
    pub async fn load(
        terms: Terms<'_>,
        history: History,
        environment: Environment,
    ) -> Result<Self, BacktestError> {
        let state = State::in_memory();
        let mut begins = (0, 0);
        if let Some(Remembered { head, reacted, entries }) = terms.remembered {
            begins = (head, reacted.unwrap_or(head));
            for (side, entries) in entries {
                state.fill(&terms.name, side, entries)?;
            }
        }
        let registry = Registry::new(None, None, state)
            .map_err(TrialError::from)?
            .with_environment(environment.clone());
        let plugin = registry.examine_as(terms.file, &terms.name, terms.sidecar).await;
        let plugin = Arc::new(plugin.map_err(TrialError::from)?);
        let alone = || PluginSet::new([Arc::clone(&plugin)].into_iter());
        let selection = Selection { include_dropped: true, ..terms.selection };
        Ok(Self {
            filters: PluginSet { filters: alone().filters, ..PluginSet::default() },
            enrichers: PluginSet { enrichers: alone().enrichers, ..PluginSet::default() },
            plugin,
            environment,
            _registry: registry,
            history,
            selection,
            batch: terms.batch,
            first: terms.first,
            samples: terms.samples,
            begins,
            answers: Answers::default(),
            has_holes: false,
            tally: Tally::default(),
        })
    }

    /// The name under which the log keeps how far a plugin's reaction has come.
    pub fn cursor(plugin: &PluginName) -> String {
        cursor_of(plugin)
    }

    /// The candidate.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// The place behind which the candidate has something to do: what it remembers holds what came
    /// before.
    pub fn begin(&self) -> Seq {
        let roles = self.plugin.roles();
        let (pipeline, reaction) = self.begins;
        match (roles.filter || roles.enricher, roles.reaction) {
            (true, true) => pipeline.min(reaction),
            (false, true) => reaction,
            _ => pipeline,
        }
    }

    /// What was found so far.
    pub fn tally(&self) -> Tally {
        Tally { denied: self.plugin.denials(), ..self.tally }
    }

    /// How far history can be compared by now: the last event that the plugin's reaction has come
    /// to, where it has one.
    ///
    /// # Errors
    /// [`BacktestError::Read`] when the log cannot be read.
    pub fn settled(&self) -> Result<Seq, BacktestError> {
        let reacted = match self.plugin.roles().reaction {
            true => self.history.cursor(&cursor_of(self.plugin.name()))?,
            false => None,
        };
        Ok(reacted.unwrap_or(Seq::MAX).min(self.history.head()?))
    }

    /// Runs the candidate over the events behind `after` and up to `to`, and tells `sample` in full
    /// of the first deviations of each way.
    ///
    /// # Errors
    /// [`BacktestError`] when the log cannot be read, and whatever `sample` fails with.
    pub async fn run<E: From<BacktestError>>(
        &mut self,
        after: Seq,
        to: Seq,
        mut sample: impl FnMut(Deviation) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.plugin.roles().reaction {
            let found = self.answers.find(&self.history, self.plugin.name(), after);
            found.map_err(BacktestError::from)?;
        }
        let head = self.history.head().map_err(BacktestError::from)?;
        let gone = self.history.gap(after, head).map_err(BacktestError::from)?;
        self.has_holes |= gone.is_some();
        let reader = History::open(self.history.path()).map_err(BacktestError::from)?;
        let selection = self.selection.clone();
        let (sender, mut pages) = mpsc::channel(AHEAD);
        let reading = spawn_blocking(move || read(&reader, &selection, after, to, &sender));
        let mut waiting = Vec::with_capacity(self.batch);
        while let Some(page) = pages.recv().await {
            for past in page {
                waiting.push(past);
                if waiting.len() == self.batch {
                    let batch = std::mem::replace(&mut waiting, Vec::with_capacity(self.batch));
                    self.take(batch).await?.into_iter().try_for_each(&mut sample)?;
                }
            }
        }
        let read = reading.await.map_err(|e| BacktestError::Reader(e.to_string()))?;
        read.map_err(BacktestError::from)?;
        // Now, so that what was pruned before the reading came to it is counted.
        let gone = self.history.gap(after, to).map_err(BacktestError::from)?;
        self.tally.pruned += gone.map_or(0, |gone| gone.count);
        if !waiting.is_empty() {
            self.take(waiting).await?.into_iter().try_for_each(&mut sample)?;
        }
        Ok(())
    }

    /// Whether history has answered the event at this place, if it was to; `None` where the candidate
    /// is not asked either.
    fn is_answered(&self, seq: Seq) -> Option<bool> {
        let is_asked = self.plugin.roles().reaction && seq > self.begins.1;
        is_asked.then(|| self.answers.are_known(seq))
    }

    /// Runs one batch through every role; its deviations that are to be told in full.
    async fn take(&mut self, batch: Vec<Past>) -> Result<Vec<Deviation>, BacktestError> {
        let candidate = &self.plugin;
        let case = |past: Past| {
            let mut case = Case::new(past, candidate, self.first);
            if case.entry.seq <= self.begins.0 {
                case.skip_pipeline();
            }
            case
        };
        let mut cases: Vec<Case> = batch.into_iter().map(case).collect();
        let filter = |case: &mut Case| case.for_filter(candidate);
        stage(&self.filters, &mut cases, filter, Case::filtered).await;
        let enrich = |case: &mut Case| case.for_enricher(candidate);
        stage(&self.enrichers, &mut cases, enrich, Case::enriched).await;
        for case in &mut cases {
            if self.is_answered(case.entry.seq) == Some(true)
                && let Some(entry) = case.for_reaction(candidate)
            {
                case.reacted(react(candidate, &entry).await);
            }
        }
        // Nobody reads them, and a talkative guest says much in a week.
        drop(self.environment.take_said());
        let mut told = Vec::new();
        for case in cases {
            told.extend(self.judge(case)?);
        }
        Ok(told)
    }

    /// What history has emitted in reaction to an event; `None` where some of it was pruned.
    fn recorded(&mut self, case: &Case) -> Result<Option<Vec<Answer>>, BacktestError> {
        let answers = self.answers.take(case.entry.event.id);
        if self.has_holes {
            let emitted = self.history.emitted(self.plugin.name(), case.entry.seq)?;
            // What the host tells of it is no answer.
            let expected = emitted.saturating_sub(is_told(&case.entry).into());
            if (answers.len() as u64) < expected {
                self.tally.answers_pruned += 1;
                return Ok(None);
            }
        }
        Ok(Some(answers))
    }

    /// Counts one event; tells of it when it is one of the first of its way.
    fn judge(&mut self, mut case: Case) -> Result<Option<Deviation>, BacktestError> {
        let seq = case.entry.seq;
        let answers = match self.is_answered(seq) {
            Some(true) => self.recorded(&case)?,
            Some(false) => {
                self.tally.unanswered += 1;
                None
            }
            None => None,
        };
        let Verdict { ways, history, candidate, answers } = case.judge(answers);
        self.tally.count(&case, history, candidate);
        if ways.is_empty() {
            return Ok(None);
        }
        self.tally.different += 1;
        let mut is_sample = false;
        for way in &ways {
            is_sample |= self.tally.ways.add(*way) <= self.samples;
        }
        if !is_sample {
            return Ok(None);
        }
        let mut parting = Vec::new();
        for (id, seq, emitted) in answers {
            let recorded = match seq {
                Some(seq) => self.history.entry(seq)?,
                None => None,
            };
            parting.push(AnswerDeviation::new(id, recorded, emitted));
        }
        Ok(Some(Deviation {
            seq,
            id: case.entry.event.id,
            event_type: case.entry.event.event_type.clone(),
            subject: case.entry.subject.clone(),
            ways,
            dropped: case.dropped(),
            changes: case.changes(),
            answers: parting,
            failures: case.take_failures(),
        }))
    }
}

impl Tally {
    fn count(&mut self, case: &Case, history: Effects, candidate: Effects) {
        self.events += 1;
        self.seen += u64::from(case.seen);
        self.hidden += u64::from(case.is_hidden);
        self.as_stored += u64::from(case.as_stored && case.seen);
        self.commands += case.commands();
        self.history.add(history);
        self.candidate.add(candidate);
    }
}

/// Takes the cases through one stage, and commits what the plugin writes there.
async fn stage(
    stage: &PluginSet,
    cases: &mut [Case],
    mut input: impl FnMut(&mut Case) -> Option<Draft>,
    mut outcome: impl FnMut(&mut Case, Rehearsed),
) {
    let (mut wanting, mut drafts) = (Vec::new(), Vec::new());
    for case in cases {
        if let Some(draft) = input(case) {
            wanting.push(case);
            drafts.push(draft);
        }
    }
    // Each event has a time of its own.
    let rehearsed = rehearse(stage, drafts, Timestamp::now()).await;
    stage.take_written().into_iter().for_each(|written| written.commit_in_memory());
    wanting.into_iter().zip(rehearsed).for_each(|(case, rehearsed)| outcome(case, rehearsed));
}

/// Reads page after page for whoever listens.
fn read(
    history: &History,
    selection: &Selection,
    mut after: Seq,
    to: Seq,
    pages: &mpsc::Sender<Vec<Past>>,
) -> Result<(), StoreError> {
    while after < to {
        let (page, end) = history.page(selection, after, to)?;
        if pages.blocking_send(page).is_err() {
            break;
        }
        after = end;
    }
    Ok(())
}
