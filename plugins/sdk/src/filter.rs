use crate::{Event, Plugin};

/// Keeps events or drops them, before they are stored.
pub trait Filter: Plugin {
    /// Judges one event.
    ///
    /// After a trap or a missed deadline the host judges the events of the batch again, each alone
    /// and in a fresh instance, so an event may be seen twice; the last verdict counts.
    fn filter(&mut self, event: &Event) -> Verdict;

    /// Judges a batch of 1 to 64 events in the order in which they arrived. Overriding it pays
    /// when events can be judged together; it must return exactly one verdict an event, in the
    /// same order, or the whole call counts as failed.
    fn filter_batch(&mut self, events: &[Event]) -> Vec<Verdict> {
        events.iter().map(|event| self.filter(event)).collect()
    }
}

/// What becomes of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The event goes on.
    Keep,
    /// The event is hidden from subscribers and default queries. It is stored all the same, with
    /// this reason, which the host cuts at 1 024 bytes.
    Drop(String),
}

impl Verdict {
    /// Drops the event for this reason.
    pub fn drop(reason: impl Into<String>) -> Self {
        Verdict::Drop(reason.into())
    }
}
