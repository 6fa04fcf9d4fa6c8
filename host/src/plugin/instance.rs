//! One live copy of a component, in a store of its own.
//!
//! Every call has a deadline that covers waiting as well as computing. An endless loop is stopped
//! by the epoch callback, which also lets other tasks of the thread have a turn; a guest that
//! waits in a host call is stopped by dropping the call. After any error the instance must not be
//! called again: whoever holds it throws it away.

use std::time::{Duration, Instant};

use wasmtime::{Store, Trap, UpdateDeadline, component::InstancePre};

use super::{
    call::{
        Action, CallError, CommandWish, Delivery, Emission, Lowered, MAX_REASON, Patch, ReactError,
        Verdict, lower_cause,
    },
    component::Exports,
    contract::{enricher, filter, guest, reaction, types},
    guest::{Guest, Sandbox},
    logging::Words,
};
use crate::event::{Event, EventPriority, MAX_ACTIONS};

/// What instantiating, `describe` and `configure` of a version that is being loaded may take, each.
pub(super) const LOAD_DEADLINE: Duration = Duration::from_secs(10);

/// What instantiating and `configure` may take, each, when events wait for the fresh instance.
pub(super) const RESTART_DEADLINE: Duration = Duration::from_secs(2);

/// What one call may make the host allocate for the guest's answers, in bytes. A batch is at most
/// 1 MiB of messages and data, and an enricher may answer with all of it.
pub(super) const ANSWER_BYTES: usize = 8 << 20;

/// Live handles of component resources.
pub(super) const HANDLES: usize = 1_000;

/// The longest version and summary, in bytes; the rest is cut.
const MAX_VERSION: usize = 64;
const MAX_SUMMARY: usize = 256;

pub(super) struct Instance {
    store: Store<Guest>,
    guest: guest::Guest,
    filter: Option<filter::Guest>,
    enricher: Option<enricher::Guest>,
    reaction: Option<reaction::Guest>,
}

/// What a guest says of itself.
pub(super) struct Description {
    pub(super) version: String,
    pub(super) summary: String,
    pub(super) subscribe: Vec<String>,
    pub(super) min_priority: EventPriority,
}

impl Instance {
    pub(super) async fn start(
        pre: &InstancePre<Guest>,
        exports: &Exports,
        sandbox: Sandbox<'_>,
        limit: Duration,
    ) -> Result<Self, CallError> {
        let start = |e: wasmtime::Error| CallError::Start(format!("{e:#}"));
        let guest = Guest::new(sandbox).map_err(start)?;
        let mut store = Store::new(pre.engine(), guest);
        store.limiter(|guest| &mut guest.limits);
        store.set_hostcall_fuel(ANSWER_BYTES);
        store.set_max_component_handles(HANDLES);
        store.epoch_deadline_callback(|context| match Instant::now() < context.data().deadline {
            true => Ok(UpdateDeadline::Yield(1)),
            false => Ok(UpdateDeadline::Interrupt),
        });
        let instance =
            timed(&mut store, limit, async |store| pre.instantiate_async(&mut *store).await)
                .await?;
        Ok(Self {
            guest: exports.guest.load(&mut store, &instance).map_err(start)?,
            filter: match &exports.filter {
                Some(filter) => Some(filter.load(&mut store, &instance).map_err(start)?),
                None => None,
            },
            enricher: match &exports.enricher {
                Some(enricher) => Some(enricher.load(&mut store, &instance).map_err(start)?),
                None => None,
            },
            reaction: match &exports.reaction {
                Some(reaction) => Some(reaction.load(&mut store, &instance).map_err(start)?),
                None => None,
            },
            store,
        })
    }

    /// What the last call said.
    pub(super) fn take_words(&self) -> Words {
        self.store.data().log.take_words()
    }

    /// Its memory, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.store.data().limits.memory
    }

    /// HTTP requests of the last call that were granted.
    pub(super) fn requests(&self) -> u32 {
        self.store.data().http.requests()
    }

    pub(super) async fn describe(&mut self) -> Result<Description, CallError> {
        let guest = &self.guest;
        let description =
            timed(&mut self.store, LOAD_DEADLINE, async |store| guest.call_describe(store).await)
                .await?;
        Ok(Description {
            version: cut(description.version, MAX_VERSION),
            summary: cut(description.summary, MAX_SUMMARY),
            subscribe: description.subscribe,
            min_priority: lift_priority(description.min_priority),
        })
    }

    pub(super) async fn configure(&mut self, limit: Duration) -> Result<(), CallError> {
        let guest = &self.guest;
        timed(&mut self.store, limit, async |store| guest.call_configure(store).await)
            .await?
            .map_err(|reason| CallError::Failed(cut(reason, MAX_REASON)))
    }

    pub(super) async fn filter(
        &mut self,
        events: &[&Event],
        deadline: Duration,
    ) -> Result<Vec<Verdict>, CallError> {
        let Some(filter) = &self.filter else {
            return Err(CallError::Start("the component is no filter".into()));
        };
        let lowered: Vec<_> = events.iter().map(|event| Lowered::new(event)).collect();
        let events: Vec<_> = lowered.iter().map(lower).collect();
        self.store.data_mut().http.begin_call(Some("from a filter"));
        let verdicts = timed(&mut self.store, deadline, async |store| {
            filter.call_filter(store, &events).await
        })
        .await?;
        count("verdicts", verdicts.len(), events.len())?;
        Ok(verdicts
            .into_iter()
            .map(|verdict| match verdict {
                filter::Verdict::Keep => Verdict::Keep,
                filter::Verdict::Drop(reason) => Verdict::Drop(cut(reason, MAX_REASON)),
            })
            .collect())
    }

    pub(super) async fn enrich(
        &mut self,
        events: &[&Event],
        deadline: Duration,
    ) -> Result<Vec<Result<Option<Patch>, CallError>>, CallError> {
        let Some(enricher) = &self.enricher else {
            return Err(CallError::Start("the component is no enricher".into()));
        };
        let lowered: Vec<_> = events.iter().map(|event| Lowered::new(event)).collect();
        let events: Vec<_> = lowered.iter().map(lower).collect();
        self.store.data_mut().begin_call();
        let patches = timed(&mut self.store, deadline, async |store| {
            enricher.call_enrich(store, &events).await
        })
        .await?;
        count("results", patches.len(), events.len())?;
        let lift = |patch: enricher::Patch| Patch {
            priority: patch.priority.map(lift_priority),
            message: patch.message,
            data: patch.data,
        };
        Ok(patches
            .into_iter()
            .map(|answer| match answer {
                Ok(patch) => Ok(patch.map(lift)),
                Err(reason) => Err(CallError::Failed(cut(reason, MAX_REASON))),
            })
            .collect())
    }

    pub(super) async fn react(
        &mut self,
        delivery: Delivery<'_>,
        deadline: Duration,
    ) -> Result<Result<Vec<Action>, ReactError>, CallError> {
        let Some(reaction) = &self.reaction else {
            return Err(CallError::Start("the component is no reaction".into()));
        };
        let lowered = Lowered::new(&delivery.entry.event);
        let cause = delivery.entry.caused_by.as_ref().map(lower_cause);
        let lowered_delivery = reaction::Delivery {
            event: lower(&lowered),
            seq: delivery.entry.seq,
            hops: delivery.entry.hops.into(),
            caused_by: cause.as_ref().map(|(event_id, plugin)| types::Cause { event_id, plugin }),
            attempt: delivery.attempt,
        };
        self.store.data_mut().begin_call();
        let answer = timed(&mut self.store, deadline, async |store| {
            reaction.call_react(store, lowered_delivery).await
        })
        .await?;
        match answer {
            Ok(actions) if actions.len() > MAX_ACTIONS => Err(CallError::Nonsense(format!(
                "{} actions for one event, at most {MAX_ACTIONS} are allowed",
                actions.len()
            ))),
            Ok(actions) => Ok(Ok(actions
                .into_iter()
                .map(|action| match action {
                    reaction::Action::Emit(emission) => Action::Emit(Emission {
                        event_type: emission.event_type,
                        priority: lift_priority(emission.priority),
                        session_id: emission.session_id,
                        project_id: emission.project_id,
                        message: emission.message,
                        data: emission.data,
                    }),
                    reaction::Action::Command(command) => {
                        Action::Command(CommandWish { name: command.name, plugin: command.plugin })
                    }
                })
                .collect())),
            Err(reaction::Failure::Retry(retry)) => Ok(Err(ReactError::Retry {
                reason: cut(retry.reason, MAX_REASON),
                after: retry.delay_ms.map(Duration::from_millis),
            })),
            Err(reaction::Failure::Fatal(reason)) => {
                Ok(Err(ReactError::Fatal(cut(reason, MAX_REASON))))
            }
        }
    }
}

/// Runs one call within `limit`.
async fn timed<T>(
    store: &mut Store<Guest>,
    limit: Duration,
    call: impl AsyncFnOnce(&mut Store<Guest>) -> wasmtime::Result<T>,
) -> Result<T, CallError> {
    let log = store.data().log.clone();
    log.begin_call();
    store.data_mut().deadline = Instant::now() + limit;
    store.set_epoch_deadline(1);
    let ended = tokio::time::timeout(limit, call(&mut *store)).await;
    store.data().http.end_call();
    match ended {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(e)) => Err(match e.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => CallError::Deadline(limit),
            _ => {
                let cause = e.root_cause().to_string();
                CallError::Trap(match log.last_words() {
                    Some(words) => format!("{cause} (last words: {words})"),
                    None => cause,
                })
            }
        }),
        Err(_) => Err(CallError::Deadline(limit)),
    }
}

fn lower<'a>(lowered: &'a Lowered<'_>) -> types::Event<'a> {
    let event = lowered.event;
    types::Event {
        id: &lowered.id,
        event_type: event.event_type.as_str(),
        priority: match event.priority {
            EventPriority::Info => types::Priority::Info,
            EventPriority::Action => types::Priority::Action,
            EventPriority::Urgent => types::Priority::Urgent,
            EventPriority::Critical => types::Priority::Critical,
        },
        session_id: event.session_id.as_str(),
        project_id: event.project_id.as_str(),
        timestamp: &lowered.timestamp,
        message: event.message.as_str(),
        data: event.data.as_str(),
    }
}

fn lift_priority(priority: types::Priority) -> EventPriority {
    match priority {
        types::Priority::Info => EventPriority::Info,
        types::Priority::Action => EventPriority::Action,
        types::Priority::Urgent => EventPriority::Urgent,
        types::Priority::Critical => EventPriority::Critical,
    }
}

fn count(what: &str, found: usize, expected: usize) -> Result<(), CallError> {
    match found == expected {
        true => Ok(()),
        false => Err(CallError::Nonsense(format!("{found} {what} for {expected} events"))),
    }
}

pub(super) fn cut(mut text: String, limit: usize) -> String {
    text.truncate(text.floor_char_boundary(limit));
    // SQLite's own tools would end the text here.
    text.replace('\0', "\u{fffd}")
}
