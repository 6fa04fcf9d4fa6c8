//! The component's side of [`export!`](crate::export!): the one instance of the plugin, and the
//! way of each call from the contract's types to the plugin's and back.
//!
//! Nothing here decides anything. A call that the contract rules out (an event before `configure`)
//! ends in a panic, which is a trap, and so is the host's to judge.

use std::cell::RefCell;

use crate::bindings::ennio::plugin::types as wit;
use crate::bindings::enricher::exports::ennio::plugin::enricher as wit_enricher;
use crate::bindings::filter::exports::ennio::plugin::filter as wit_filter;
use crate::bindings::guest::exports::ennio::plugin::guest as wit_guest;
use crate::bindings::reaction::exports::ennio::plugin::reaction as wit_reaction;
use crate::{
    Action, Cause, Command, Delivery, Emission, Enricher, Event, Failure, Filter, Patch, Plugin,
    Priority, Reaction, Verdict, plugin,
};

/// The one plugin of an instance.
pub struct Instance<P>(RefCell<Option<P>>);

impl<P> Instance<P> {
    /// Before `configure`.
    pub const fn new() -> Self {
        Instance(RefCell::new(None))
    }
}

impl<P: Plugin> Instance<P> {
    /// `guest.describe`.
    pub fn describe() -> wit_guest::Description {
        let description = P::description();
        wit_guest::Description {
            version: description.version,
            summary: description.summary,
            subscribe: description.subscribe,
            min_priority: description.min_priority.into(),
        }
    }

    /// `guest.configure`.
    pub fn configure(&self) -> Result<(), String> {
        *self.0.borrow_mut() = Some(plugin::configured()?);
        Ok(())
    }

    #[expect(clippy::expect_used, reason = "a call against the contract ends the instance")]
    fn with<T>(&self, call: impl FnOnce(&mut P) -> T) -> T {
        call(self.0.borrow_mut().as_mut().expect("the host configures before the first event"))
    }
}

impl<P: Filter> Instance<P> {
    /// `filter.filter`.
    pub fn filter(&self, events: Vec<wit::Event>) -> Vec<wit_filter::Verdict> {
        let verdicts = self.with(|plugin| plugin.filter_batch(&from_host(events)));
        verdicts.into_iter().map(Into::into).collect()
    }
}

impl<P: Enricher> Instance<P> {
    /// `enricher.enrich`.
    pub fn enrich(
        &self,
        events: Vec<wit::Event>,
    ) -> Vec<Result<Option<wit_enricher::Patch>, String>> {
        let enrichments = self.with(|plugin| plugin.enrich_batch(&from_host(events)));
        enrichments.into_iter().map(|one| one.map(|patch| patch.map(Into::into))).collect()
    }
}

impl<P: Reaction> Instance<P> {
    /// `reaction.react`.
    pub fn react(
        &self,
        delivery: wit_reaction::Delivery,
    ) -> Result<Vec<wit_reaction::Action>, wit_reaction::Failure> {
        match self.with(|plugin| plugin.react(&delivery.into())) {
            Ok(actions) => Ok(actions.into_iter().map(Into::into).collect()),
            Err(failure) => Err(failure.into()),
        }
    }
}

fn from_host(events: Vec<wit::Event>) -> Vec<Event> {
    events.into_iter().map(Into::into).collect()
}

impl From<wit::Event> for Event {
    fn from(event: wit::Event) -> Self {
        Event {
            id: event.id,
            event_type: event.event_type,
            priority: event.priority.into(),
            session_id: event.session_id,
            project_id: event.project_id,
            timestamp: event.timestamp,
            message: event.message,
            data_json: event.data,
        }
    }
}

impl From<wit::Priority> for Priority {
    fn from(priority: wit::Priority) -> Self {
        match priority {
            wit::Priority::Info => Priority::Info,
            wit::Priority::Action => Priority::Action,
            wit::Priority::Urgent => Priority::Urgent,
            wit::Priority::Critical => Priority::Critical,
        }
    }
}

impl From<Priority> for wit::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Info => wit::Priority::Info,
            Priority::Action => wit::Priority::Action,
            Priority::Urgent => wit::Priority::Urgent,
            Priority::Critical => wit::Priority::Critical,
        }
    }
}

impl From<Verdict> for wit_filter::Verdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Keep => wit_filter::Verdict::Keep,
            Verdict::Drop(reason) => wit_filter::Verdict::Drop(reason),
        }
    }
}

impl From<Patch> for wit_enricher::Patch {
    fn from(patch: Patch) -> Self {
        wit_enricher::Patch {
            priority: patch.priority.map(Into::into),
            message: patch.message,
            data: patch.data_json,
        }
    }
}

impl From<wit_reaction::Delivery> for Delivery {
    fn from(delivery: wit_reaction::Delivery) -> Self {
        Delivery {
            event: delivery.event.into(),
            seq: delivery.seq,
            hops: delivery.hops,
            caused_by: delivery
                .caused_by
                .map(|cause| Cause { event_id: cause.event_id, plugin: cause.plugin }),
            attempt: delivery.attempt,
        }
    }
}

impl From<Action> for wit_reaction::Action {
    fn from(action: Action) -> Self {
        match action {
            Action::Emit(emission) => wit_reaction::Action::Emit(emission.into()),
            Action::Command(Command { name, plugin }) => {
                wit_reaction::Action::Command(wit_reaction::Command { name, plugin })
            }
        }
    }
}

impl From<Emission> for wit_reaction::Emission {
    fn from(emission: Emission) -> Self {
        wit_reaction::Emission {
            event_type: emission.event_type,
            priority: emission.priority.into(),
            session_id: emission.session_id,
            project_id: emission.project_id,
            message: emission.message,
            data: emission.data_json,
        }
    }
}

impl From<Failure> for wit_reaction::Failure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Retry { reason, delay } => wit_reaction::Failure::Retry(wit_reaction::Retry {
                reason,
                delay_ms: delay.map(|delay| delay.as_millis().try_into().unwrap_or(u64::MAX)),
            }),
            Failure::Fatal(reason) => wit_reaction::Failure::Fatal(reason),
        }
    }
}
