//! The loop that gives events their order. Collect what waits, admit, filter, enrich, hand over to
//! the writer; its answer goes to the senders without coming back here.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use tokio::{
    sync::{mpsc, oneshot},
    task::yield_now,
};
use tracing::warn;

use crate::{
    event::{Draft, LogEntry, Timestamp},
    metrics::Metrics,
    plugin::{PluginSet, Registry},
    store::{Batch, Effect, Known, Lineup, NewEntry, Store, StoreError, state::Pending},
};

use super::{
    admit::{Admission, Admitter},
    enrich, filter,
    item::Item,
    lineup::{ItemCall, Lineups},
    messages::{Command, PublishError, Receipt, Reply, Status, Submission},
    recent::{self, Memory, Recent},
};

/// The most events of one batch: large enough to share a flush, small enough that plugins and
/// writer work side by side.
const BATCH: usize = 512;
/// A batch is complete once its messages and data are larger, in bytes.
const BATCH_BYTES: usize = 4 << 20;

pub(super) struct Sequencer {
    store: Arc<Store>,
    plugins: Arc<Registry>,
    metrics: Metrics,
    /// The notice of their end, for each batch at the writer, oldest first.
    at_writer: VecDeque<oneshot::Receiver<()>>,
    /// Batches that went to the writer and ended there.
    ended: u64,
    recent: Recent,
    lineups: Lineups,
}

/// What a sender will be told about one draft.
enum Outcome {
    Told(Result<Receipt, PublishError>),
    /// What becomes of this entry of the batch.
    Entry(usize),
    /// The same entry as an earlier draft: a duplicate of it.
    Twin(usize),
    /// Another content under the id of this entry.
    Clash(usize),
}

impl Sequencer {
    pub(super) async fn run(
        store: Arc<Store>,
        plugins: Arc<Registry>,
        metrics: Metrics,
        mut inbox: mpsc::Receiver<Command>,
    ) {
        let range = recent::range(Timestamp::now());
        let recent = match store.reader().greatest_id(range.clone()).await {
            Ok(greatest) => Recent::new(range, greatest),
            Err(e) => {
                warn!("every id will be looked up in the log: {e}");
                Recent::new(range.start..range.start, None)
            }
        };
        let (at_writer, lineups) = (VecDeque::new(), Lineups::default());
        let mut this = Self { store, plugins, metrics, at_writer, ended: 0, recent, lineups };
        this.work(&mut inbox).await;
        // Everybody who was taken in is answered before the end.
        while let Some(end) = this.at_writer.pop_front() {
            let _ = end.await;
        }
    }

    async fn work(&mut self, inbox: &mut mpsc::Receiver<Command>) {
        loop {
            let Some(Command::Submit(first)) = inbox.recv().await else { break };
            // Who is about to submit as well comes along: one turn of the scheduler, no timer.
            yield_now().await;
            let mut events = first.drafts.len();
            let mut bytes = size(&first);
            let mut submissions = vec![first];
            let mut closing = false;
            while events < BATCH && bytes < BATCH_BYTES && !closing {
                match inbox.try_recv() {
                    Ok(Command::Submit(next)) => {
                        events += next.drafts.len();
                        bytes += size(&next);
                        submissions.push(next);
                    }
                    Ok(Command::Close) => closing = true,
                    Err(_) => break,
                }
            }
            self.process(submissions).await;
            if closing {
                break;
            }
        }
    }

    async fn process(&mut self, submissions: Vec<Submission>) {
        self.forget_ended();
        let known = match self.known(&submissions).await {
            Ok(known) => known,
            Err(e) => return refuse(submissions, &PublishError::Store(e)),
        };
        let mut known = known.into_iter();
        let now = Timestamp::now();
        let mut admitter = Admitter::default();
        let mut items = Vec::new();
        let mut answers = Vec::new();
        let mut groups = Vec::new();
        for submission in submissions {
            let Submission { drafts, digests, origin, effects, state, reply } = submission;
            let first = items.len();
            let outcomes: Vec<Outcome> = drafts
                .into_iter()
                .zip(digests)
                .map(|(draft, digest)| {
                    let known = draft.id.and_then(|_| known.next()).flatten();
                    match admitter.judge(items.len(), &draft, digest, known) {
                        Admission::New => {
                            items.push(Item::new(draft, digest, &origin, now));
                            Outcome::Entry(items.len() - 1)
                        }
                        Admission::Answered(answer) => {
                            let stage = if answer.is_ok() { "duplicate" } else { "conflict" };
                            self.metrics.events(stage, [&draft.event_type].into_iter());
                            Outcome::Told(answer)
                        }
                        Admission::Twin(first) => Outcome::Twin(first),
                        Admission::Clash(first) => Outcome::Clash(first),
                    }
                })
                .collect();
            answers.push((outcomes, reply));
            groups.push(Group { items: first..items.len(), effects, state });
        }
        // Nobody else writes plugins' state until what they write here is with the writer.
        let turn = Arc::clone(self.plugins.state().pipeline_turn()).lock_owned().await;
        // One snapshot a batch: that is the boundary at which a reload takes over.
        let plugins = self.plugins.snapshot();
        let calls = run_plugins(&plugins, &mut items, &groups).await;
        let written = plugins.take_written();
        let lineup = self.lineups.of(&plugins);
        drop(plugins);
        let Consequences { effects, state } = consequences(groups, &items, written);
        let passed = Passed { items, lineup, calls, effects, state };
        self.commit(passed, answers).await;
        drop(turn);
    }

    /// What the log knows of the ids that senders gave, in their order.
    async fn known(
        &mut self,
        submissions: &[Submission],
    ) -> Result<Vec<Option<Known>>, StoreError> {
        let ids = submissions.iter().flat_map(|s| &s.drafts).filter_map(|draft| draft.id);
        let mut known = Vec::new();
        let mut doubtful = Vec::new();
        let mut last_batch = None;
        for (at, id) in ids.enumerate() {
            known.push(None);
            match self.recent.recall(id) {
                Memory::New => continue,
                Memory::Batch(batch) => last_batch = last_batch.max(Some(batch)),
                Memory::Nothing => {}
            }
            doubtful.push((at, id));
        }
        // A repetition of what is just being committed: its place is known in a moment.
        while last_batch.is_some_and(|last| self.ended <= last)
            && let Some(end) = self.at_writer.pop_front()
        {
            let _ = end.await;
            self.ended += 1;
        }
        if !doubtful.is_empty() {
            let ids = doubtful.iter().map(|(_, id)| *id).collect();
            let answers = self.store.lookups().known(ids).await?;
            for ((at, _), answer) in doubtful.into_iter().zip(answers) {
                if let Some(known) = known.get_mut(at) {
                    *known = answer;
                }
            }
        }
        Ok(known)
    }

    fn forget_ended(&mut self) {
        while let Some(end) = self.at_writer.front_mut() {
            if matches!(end.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
                break;
            }
            self.at_writer.pop_front();
            self.ended += 1;
        }
        self.recent.forget(self.ended);
    }

    async fn commit(&mut self, passed: Passed, answers: Vec<(Vec<Outcome>, Reply)>) {
        let Passed { items, lineup, calls, effects, state } = passed;
        // Where each item stands among the entries, or why it is none.
        let mut fates: Vec<Result<usize, PublishError>> = Vec::with_capacity(items.len());
        let mut entries: Vec<NewEntry> = Vec::with_capacity(items.len());
        for item in items {
            match item.held {
                Some(held) => {
                    self.metrics.events("held", [&item.event.event_type].into_iter());
                    fates.push(Err(held));
                }
                None => {
                    fates.push(Ok(entries.len()));
                    entries.push(item.into_entry(&lineup));
                }
            }
        }
        let place = |item: usize| fates.get(item).and_then(|fate| fate.as_ref().ok()).copied();
        for (first, call) in calls.into_iter().filter_map(|call| call.place(place)) {
            if let Some(entry) = entries.get_mut(first) {
                entry.passage.calls.push(call);
            }
        }
        let is_written = state.iter().any(|writes| !writes.is_empty());
        if entries.is_empty() && effects.is_empty() && !is_written {
            return answer(answers, &fates, &[]);
        }
        self.metrics.batch_events.observe(entries.len() as f64);
        let batch = self.ended + self.at_writer.len() as u64;
        entries.iter().for_each(|entry| self.recent.add(entry.event.id, batch));
        let (ended, end) = oneshot::channel();
        self.at_writer.push_back(end);
        let metrics = self.metrics.clone();
        let done = Box::new(move |committed: Result<Vec<Arc<LogEntry>>, StoreError>| {
            match committed {
                Ok(entries) => {
                    for (stage, is_dropped) in [("accepted", false), ("dropped", true)] {
                        let of_stage = entries.iter().filter(|e| e.dropped.is_some() == is_dropped);
                        metrics.events(stage, of_stage.map(|entry| &entry.event.event_type));
                    }
                    answer(answers, &fates, &entries);
                }
                Err(e) => {
                    let fates: Vec<_> = fates.into_iter().map(|_| Err(e.clone().into())).collect();
                    answer(answers, &fates, &[]);
                }
            }
            let _ = ended.send(());
        });
        self.store.submit(Batch { entries, effects, state, done }).await;
    }
}

/// The items of one submission, and what is to become true with them.
pub(super) struct Group {
    items: Range<usize>,
    effects: Vec<Effect>,
    state: Option<Pending>,
}

impl Group {
    fn is_whole(&self) -> bool {
        !self.effects.is_empty() || self.state.is_some()
    }
}

/// What becomes true with a batch besides its entries.
struct Consequences {
    effects: Vec<Effect>,
    state: Vec<Pending>,
}

/// A batch behind the plugins.
struct Passed {
    items: Vec<Item>,
    /// The filters and enrichers.
    lineup: Arc<Lineup>,
    calls: Vec<ItemCall>,
    effects: Vec<Effect>,
    state: Vec<Pending>,
}

/// Filters and enriches; gives the calls that are worth a row. A plugin that has judged an event which is then held back has written what
/// must not become true: then all of it is given up and done again without that event.
pub(super) async fn run_plugins(
    plugins: &PluginSet,
    items: &mut [Item],
    groups: &[Group],
) -> Vec<ItemCall> {
    loop {
        let held_before = count_held(items);
        let mut calls = Vec::new();
        filter::filter(plugins, items, &mut calls).await;
        enrich::enrich(plugins, items, &mut calls).await;
        hold_groups(groups, items);
        if count_held(items) == held_before || !plugins.has_written() {
            return calls;
        }
        plugins.give_up_written();
        items.iter_mut().filter(|item| item.held.is_none()).for_each(Item::reset);
    }
}

fn count_held(items: &[Item]) -> usize {
    items.iter().filter(|item| item.held.is_some()).count()
}

/// A submission with effects is all or nothing: where one of its events is held back, the others
/// are held as well and the effects do not happen. A reaction's cursor must not pass what it emits.
fn hold_groups(groups: &[Group], items: &mut [Item]) {
    for group in groups.iter().filter(|group| group.is_whole()) {
        let Some(items) = items.get_mut(group.items.clone()) else { continue };
        if let Some(held) = items.iter().find_map(|item| item.held.clone()) {
            items.iter_mut().for_each(|item| item.held = Some(held.clone()));
        }
    }
}

/// What is to become true: of submissions that are not held back, and what plugins wrote.
fn consequences(groups: Vec<Group>, items: &[Item], written: Vec<Pending>) -> Consequences {
    let mut all = Consequences { effects: Vec::new(), state: written };
    for group in groups {
        let held = |items: &[Item]| items.iter().any(|item| item.held.is_some());
        if group.is_whole() && items.get(group.items.clone()).is_some_and(held) {
            continue;
        }
        all.effects.extend(group.effects);
        all.state.extend(group.state);
    }
    all
}

fn size(submission: &Submission) -> usize {
    let one = |draft: &Draft| {
        draft.message.as_ref().map_or(0, |m| m.as_str().len())
            + draft.data.as_ref().map_or(0, |d| d.as_str().len())
    };
    submission.drafts.iter().map(one).sum()
}

fn refuse(submissions: Vec<Submission>, error: &PublishError) {
    for submission in submissions {
        let outcomes = submission.drafts.iter().map(|_| Err(error.clone())).collect();
        // A sender that no longer waits needs no answer; here and below.
        let _ = submission.reply.send(outcomes);
    }
}

fn answer(
    answers: Vec<(Vec<Outcome>, Reply)>,
    fates: &[Result<usize, PublishError>],
    entries: &[Arc<LogEntry>],
) {
    let entry = |item: usize| match fates.get(item) {
        Some(Ok(at)) => entries.get(*at).ok_or(PublishError::Closed),
        Some(Err(e)) => Err(e.clone()),
        None => Err(PublishError::Closed),
    };
    let receipt =
        |entry: &Arc<LogEntry>, status| Receipt { id: entry.event.id, seq: entry.seq, status };
    for (outcomes, reply) in answers {
        let outcomes = outcomes.into_iter().map(|outcome| match outcome {
            Outcome::Told(told) => told,
            Outcome::Entry(item) => entry(item).map(|e| match e.dropped {
                Some(_) => receipt(e, Status::Dropped),
                None => receipt(e, Status::Accepted),
            }),
            Outcome::Twin(item) => entry(item).map(|e| receipt(e, Status::Duplicate)),
            Outcome::Clash(item) => {
                entry(item).and_then(|e| Err(PublishError::Conflict { id: e.event.id, seq: e.seq }))
            }
        });
        let _ = reply.send(outcomes.collect());
    }
}
