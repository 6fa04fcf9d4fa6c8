//! The stages over events that nobody sent and nobody commits: what a trial of a plugin shares with
//! the host, so that both do the same.

use crate::{
    event::{Digest, Draft, Dropped, Event, Subject, Timestamp},
    plugin::PluginSet,
    store::{Did, Step},
};

use super::{item::Item, messages::Origin, sequencer::run_plugins};

/// What filters and enrichers made of one event.
pub(crate) struct Rehearsed {
    /// As it was sent.
    pub(crate) sent: Event,
    /// As they left it.
    pub(crate) event: Event,
    /// Where it is published.
    pub(crate) subject: Subject,
    /// Set when it is hidden.
    pub(crate) dropped: Option<Dropped>,
    /// Set when it is refused for now, with what its sender is told.
    pub(crate) held: Option<String>,
    /// How plugins failed on it.
    pub(crate) failures: Vec<String>,
}

/// Runs `drafts` through the stages as one batch. What plugins write stays with them until it is
/// taken.
pub(crate) async fn rehearse(
    plugins: &PluginSet,
    drafts: Vec<Draft>,
    now: Timestamp,
) -> Vec<Rehearsed> {
    // Only the log asks for digests.
    let item = |draft| Item::new(draft, Digest([0; 16]), &Origin::Outside, now);
    let mut items: Vec<Item> = drafts.into_iter().map(item).collect();
    // Nobody keeps a trace of it.
    drop(run_plugins(plugins, &mut items, &[]).await);
    items.into_iter().map(Into::into).collect()
}

impl From<Item> for Rehearsed {
    fn from(item: Item) -> Self {
        Self {
            sent: item.sent(),
            event: item.event,
            subject: item.subject,
            dropped: item.dropped,
            held: item.held.map(|held| held.to_string()),
            failures: item.steps.into_iter().filter_map(failure).collect(),
        }
    }
}

fn failure(step: Step) -> Option<String> {
    match step.did {
        Did::Failed(error) => Some(error),
        Did::Changed(_) | Did::Dropped => None,
    }
}
