//! How an event came to be: from what came from outside, over each reaction, to itself. For people.

use crate::{
    event::{Cause, LogEntry, MAX_HOPS},
    store::Reader,
};

/// The chain of reactions that leads to `entry`, the first event first. What the log does not have any
/// more is named by its id.
pub(super) async fn chain(reader: &Reader, entry: &LogEntry) -> String {
    let mut links = vec![link(entry)];
    let mut cause = entry.caused_by.clone();
    while let Some(Cause { event_id, plugin }) = cause
        && links.len() <= usize::from(MAX_HOPS)
    {
        if let Some(last) = links.last_mut() {
            *last = format!("{plugin}: {last}");
        }
        match reader.by_id(event_id).await {
            Ok(Some(before)) => {
                links.push(link(&before));
                cause = before.caused_by;
            }
            Ok(None) | Err(_) => {
                links.push(event_id.to_string());
                cause = None;
            }
        }
    }
    links.reverse();
    links.join(" -> ")
}

fn link(entry: &LogEntry) -> String {
    format!("{} {}", entry.event.event_type, entry.event.id)
}
