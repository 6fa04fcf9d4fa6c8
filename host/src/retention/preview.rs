//! What a policy would delete from a log, without a host and without deleting anything.

use std::path::Path;

use super::{
    Held, Holder,
    policy::{Cause, Policy},
};
use crate::{
    event::{Seq, Timestamp},
    store::{Aged, OpenError, Survey},
};

/// What an event takes of the file besides its message and data, in bytes, roughly. Only relations
/// between events rest on it.
const ENVELOPE: u64 = 300;

/// What one limit would delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// The rule or limit.
    pub name: String,
    /// How far it lets things go, for people.
    pub limit: String,
    /// Events.
    pub events: u64,
    /// The first and the last of them.
    pub range: Option<(Seq, Seq)>,
    /// Of their messages and data.
    pub bytes: u64,
}

/// What a policy would delete from a log as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// By limit, in the order of the configuration.
    pub forecasts: Vec<Forecast>,
    /// Events in the log.
    pub events: u64,
    /// The cursor that keeps more from being deleted.
    pub held: Option<Held>,
}

/// Looks at the log at `database` with the eyes of a round at `now`. `holders` picks those of its
/// cursors that have to be waited for. What `max_size` would delete is an estimate.
///
/// # Errors
/// [`OpenError`] when the log cannot be read.
pub fn preview(
    policy: &Policy,
    database: &Path,
    now: Timestamp,
    holders: impl FnOnce(&Survey) -> Result<Vec<Holder>, OpenError>,
) -> Result<Preview, OpenError> {
    let survey = Survey::open(database)?;
    let cursors = survey.cursors()?;
    let places = holders(&survey)?.into_iter().filter_map(|holder| {
        let saved = cursors.get(&holder.cursor).copied();
        Some((saved.or(holder.begins_at_zero.then_some(0))?, holder.cursor))
    });
    let mut counting = Counting::new(policy, places.min());

    let (mut events, mut weight) = (0, 0);
    let (mut left, mut left_weight) = (0u64, 0);
    survey.each(|event| {
        (events, weight) = (events + 1, weight + weight_of(event));
        let goes = policy.too_old(event, now).is_some_and(|cause| counting.takes(event, cause));
        if !goes {
            (left, left_weight) = (left + 1, left_weight + weight_of(event));
        }
    })?;

    // What is too many and too large are the oldest of those that are left.
    let mut too_many = policy.max_events().map_or(0, |most| left.saturating_sub(most));
    let used = u128::from(survey.space()?.used);
    let mut too_large = policy.max_size().map_or(0, |most| {
        // The share of the file, in weights, that is above the limit.
        let most = u128::from(most) * u128::from(weight) / used.max(1);
        left_weight.saturating_sub(u64::try_from(most).unwrap_or(u64::MAX))
    });
    if too_many > 0 || too_large > 0 {
        survey.each(|event| {
            let is_old = policy.too_old(event, now).is_some_and(|_| counting.may_take(event));
            if is_old || (too_many == 0 && too_large == 0) {
                return;
            }
            let goes = match too_many > 0 && counting.takes(event, Cause::Events) {
                true => {
                    too_many -= 1;
                    true
                }
                false => too_large > 0 && counting.takes(event, Cause::Size),
            };
            if goes {
                too_large = too_large.saturating_sub(weight_of(event));
            }
        })?;
    }
    let Counting { counts, held, .. } = counting;
    Ok(Preview {
        forecasts: counts.into_iter().map(|(_, forecast)| forecast).collect(),
        events,
        held,
    })
}

fn weight_of(event: &Aged) -> u64 {
    event.bytes + ENVELOPE
}

struct Counting {
    slowest: Option<(Seq, String)>,
    counts: Vec<(Cause, Forecast)>,
    held: Option<Held>,
}

impl Counting {
    fn new(policy: &Policy, slowest: Option<(Seq, String)>) -> Self {
        let counts = policy.limits().into_iter().map(|(cause, limit)| {
            let name = policy.name(cause).to_owned();
            (cause, Forecast { name, limit, events: 0, range: None, bytes: 0 })
        });
        Self { slowest, counts: counts.collect(), held: None }
    }

    fn may_take(&self, event: &Aged) -> bool {
        self.slowest.as_ref().is_none_or(|(at, _)| event.seq <= *at)
    }

    /// Whether `event` goes; if so, it is counted.
    fn takes(&mut self, event: &Aged, cause: Cause) -> bool {
        if cause != Cause::Size && !self.may_take(event) {
            if let Some((at, cursor)) = &self.slowest {
                self.held = Some(Held { cursor: cursor.clone(), at: *at, until: event.seq });
            }
            return false;
        }
        if let Some((_, forecast)) = self.counts.iter_mut().find(|(of, _)| *of == cause) {
            let (first, _) = forecast.range.unwrap_or((event.seq, event.seq));
            forecast.range = Some((first, event.seq));
            forecast.events += 1;
            forecast.bytes += event.bytes;
        }
        true
    }
}
