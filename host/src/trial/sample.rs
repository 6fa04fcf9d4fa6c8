//! Events for a measurement that was given none: of every type, about 420 bytes of JSON each.

use crate::event::{Data, Draft, Event, EventPriority, EventType, Timestamp};

/// How many are made at most.
const EVENTS: usize = 512;
/// How many are looked at for those.
const TRIES: usize = 31 * 4 * 64;
/// 2026-08-03T00:00:00Z, in microseconds.
const START: i64 = 1_785_715_200_000_000;

/// Events that `wants` chooses.
pub(super) fn events(wants: impl Fn(&Event) -> bool) -> Vec<Event> {
    (0..TRIES).filter_map(event).filter(wants).take(EVENTS).collect()
}

fn event(number: usize) -> Option<Event> {
    let event_type = match EventType::BUILT_IN.get(number % 31) {
        Some(event_type) => event_type.clone(),
        None => "custom.sample".parse().ok()?,
    };
    let priority = *EventPriority::ALL.get(number / 31 % 4)?;
    let project = format!("project-{}", number % 101).parse().ok()?;
    let session = format!("session-{}", number % 2_003).parse().ok()?;
    let mut draft = Draft::new(event_type, project, session);
    draft.priority = Some(priority);
    draft.timestamp = Timestamp::from_micros(START + number as i64 * 1_000_000);
    draft.message = format!("run {number} of feat/checkout-flow: 3 of 212 checks").parse().ok();
    let data = format!(
        r#"{{"pr":{},"branch":"feat/checkout-flow","run":{number},"job":"unit-tests","log":"assertion failed: left == right at src/cart.rs:{}"}}"#,
        number % 400,
        number % 900,
    );
    draft.data = Some(data.parse::<Data>().ok()?);
    Some(draft.into_event(Timestamp::now()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn there_are_events_of_every_type_and_priority_and_of_the_usual_size() {
        let all: Vec<Event> = (0..TRIES).filter_map(event).collect();
        assert_eq!(all.len(), TRIES);
        let kinds: HashSet<_> =
            all.iter().map(|e| (e.event_type.clone(), e.priority as u8)).collect();
        assert_eq!(kinds.len(), 31 * 4);
        let bytes: usize = all.iter().map(|e| serde_json::to_string(e).unwrap().len()).sum();
        assert!((380..460).contains(&(bytes / all.len())), "{}", bytes / all.len());
    }
}
