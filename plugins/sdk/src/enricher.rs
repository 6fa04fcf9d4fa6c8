use serde_json::Value;

use crate::{Event, Plugin, Priority};

/// Adds to events before they are stored.
pub trait Enricher: Plugin {
    /// Enriches one event, as the enrichers before this one left it. An `Err` sends the event to
    /// `on_error` of the sidecar, with the text as the reason.
    ///
    /// As with [`Filter::filter`](crate::Filter::filter), an event may be seen twice.
    fn enrich(&mut self, event: &Event) -> Enrichment;

    /// Enriches a batch of 1 to 64 events in the order in which they arrived. It must return
    /// exactly one result an event, in the same order, or the whole call counts as failed.
    fn enrich_batch(&mut self, events: &[Event]) -> Vec<Enrichment> {
        events.iter().map(|event| self.enrich(event)).collect()
    }
}

/// What an enricher answers for one event: `Ok(None)` leaves it as it is.
pub type Enrichment = Result<Option<Patch>, String>;

/// What to change in an event. A field that is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// The new priority.
    pub priority: Option<Priority>,
    /// The new message. At most 8 192 bytes.
    pub message: Option<String>,
    /// An RFC 7396 merge patch of `data`, as JSON text. The result must keep the bounds of
    /// [`Event::data_json`].
    pub data_json: Option<String>,
}

impl Patch {
    /// A patch that changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the priority.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Sets the message.
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// Merges this into `data` by RFC 7396: members are added or replaced, null removes one, and
    /// arrays are replaced whole. Mind that a patch with members turns data that is no object into
    /// one.
    pub fn data(mut self, patch: Value) -> Self {
        self.data_json = Some(patch.to_string());
        self
    }

    /// `None` when the patch changes nothing, which spares the host the work.
    pub fn non_empty(self) -> Option<Self> {
        if self == Self::default() { None } else { Some(self) }
    }
}
