//! The whole day: every story, merged, sorted, dated and numbered.
//!
//! What holds of the file: timestamps rise strictly, and so do ids, since an id carries its
//! timestamp down to the microsecond (RFC 9562, section 6.2, method 3). Two readers that sort by
//! one or the other see the same day.

use std::collections::HashMap;

use anyhow::Context;
use chrono::{DateTime, Duration, NaiveDate, NaiveTime, SecondsFormat, Utc};
use uuid::Builder;

use crate::clock::Moment;
use crate::dice::{Dice, stream};
use crate::event::{Draft, Event};
use crate::session::Session;
use crate::{fleet, nodes, noise, secrets, tools};

/// The seed of the committed day.
pub const DEFAULT_SEED: u64 = 42;

/// The date of the committed day, a Monday.
pub const DEFAULT_DATE: NaiveDate = match NaiveDate::from_ymd_opt(2026, 8, 3) {
    Some(date) => date,
    None => NaiveDate::MIN,
};

/// The day as NDJSON: one event a line, by time.
///
/// # Errors
///
/// When the date lies outside of what RFC 3339 and UUIDv7 can hold (1970 to 9999).
pub fn ndjson(seed: u64, date: NaiveDate) -> anyhow::Result<String> {
    let drafts = drafts(seed);
    let midnight = date.and_time(NaiveTime::MIN).and_utc();
    let mut ids = Dice::new(seed, stream::IDS);
    let mut lines = String::new();
    for draft in &drafts {
        let at = midnight
            .checked_add_signed(Duration::microseconds(draft.at.micros()))
            .filter(|at| (0..=LAST_SECOND).contains(&at.timestamp()))
            .with_context(|| format!("{date} is outside of 1970-01-01 to 9999-12-31"))?;
        let event = Event {
            id: id(at, &mut ids),
            event_type: draft.kind,
            priority: draft.priority,
            session_id: &draft.session,
            project_id: draft.project,
            timestamp: at.to_rfc3339_opts(SecondsFormat::Micros, true),
            message: &draft.message,
            data: &draft.data,
        };
        lines += &serde_json::to_string(&event)?;
        lines.push('\n');
    }
    Ok(lines)
}

/// 9999-12-31T23:59:59Z.
const LAST_SECOND: i64 = 253_402_300_799;

fn drafts(seed: u64) -> Vec<Draft> {
    let mut drafts = stories(seed);
    let nodes = nodes::events(seed, &drafts);
    let tools = tools::events(seed, &drafts);
    drafts.extend(nodes);
    drafts.extend(tools);
    drafts.sort_by_key(|draft| draft.at);
    drafts.extend(noise::duplicates(seed, &drafts));
    drafts.sort_by_key(|draft| draft.at);
    secrets::leak(seed, &mut drafts);
    spread_ties(&mut drafts);
    drafts
}

/// All sessions' stories. PR numbers are given out half-way, in the order in which PRs are opened.
fn stories(seed: u64) -> Vec<Draft> {
    let mut sessions: Vec<(Session, bool)> = fleet::roster(seed)
        .into_iter()
        .zip(0..)
        .map(|(plan, number)| {
            let mut session = Session::new(plan, seed, number);
            let opens_pr = session.work();
            (session, opens_pr)
        })
        .collect();
    sessions.sort_by_key(|(session, _)| session.now);
    let mut next_pr: HashMap<&str, i64> = HashMap::new();
    for (session, opens_pr) in &mut sessions {
        if *opens_pr {
            let project = session.plan.project;
            let next = next_pr.entry(project.name).or_insert(project.first_pr);
            session.open_pr(*next);
            *next += 1;
            session.see_through();
        }
    }
    sessions.into_iter().flat_map(|(session, _)| session.drafts).collect()
}

/// Moves an event that shares its microsecond with the one before to the next free one.
fn spread_ties(drafts: &mut [Draft]) {
    let mut last: Option<Moment> = None;
    for draft in drafts {
        if let Some(last) = last.filter(|last| *last >= draft.at) {
            draft.at = last.next();
        }
        last = Some(draft.at);
    }
}

/// A UUIDv7: milliseconds, then the microseconds as a fraction of 4096, then dice.
fn id(at: DateTime<Utc>, dice: &mut Dice) -> String {
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or(0);
    let fraction = (at.timestamp_subsec_micros() % 1_000) * 4_096 / 1_000;
    let [_, _, high, low] = fraction.to_be_bytes();
    let [a, b, c, d, e, f, g, h] = dice.bytes();
    Builder::from_unix_timestamp_millis(millis, &[high, low, a, b, c, d, e, f, g, h])
        .into_uuid()
        .hyphenated()
        .to_string()
}
