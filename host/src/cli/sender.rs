//! Gets events to the host: again while it is away, and in smaller requests where one is too large.
//!
//! Every event has an id, so sending one twice is harmless. An answer of its own that speaks of the
//! moment (503) leaves an event open; every other answer closes it.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use reqwest::StatusCode;
use serde_json::{json, value::RawValue};

use super::{
    answers::{Outcome, Problem},
    client::{Client, ClientError, is_passing, waits},
    output::{note, plain},
};

/// How long a host that was there may be away.
pub(super) const RETRY_FOR: Duration = Duration::from_secs(30);

/// Sends events to one host.
pub(super) struct Sender<'a> {
    client: &'a Client,
    retry_for: Option<Duration>,
    was_reached: bool,
    /// Notes must not be written across it.
    pub(super) bar: ProgressBar,
}

/// One event on its way.
struct Slot<'a> {
    line: &'a str,
    answer: Option<Box<RawValue>>,
}

enum Failure<'s, 'a> {
    /// The request as a whole.
    Request(ClientError),
    /// These events, while others went through.
    Held(Vec<&'s mut Slot<'a>>),
}

impl<'a> Sender<'a> {
    /// Without `retry_for`, only a host that was reached before is waited for.
    pub(super) fn new(client: &'a Client, retry_for: Option<Duration>, bar: ProgressBar) -> Self {
        Self { client, retry_for, was_reached: false, bar }
    }

    /// Sends lines of JSON, one event each; a receipt or a problem for each, in their order.
    pub(super) async fn send(
        &mut self,
        lines: impl IntoIterator<Item = &str>,
    ) -> Result<Vec<Box<RawValue>>, ClientError> {
        let mut slots: Vec<Slot<'_>> =
            lines.into_iter().map(|line| Slot { line, answer: None }).collect();
        let mut at_once = usize::MAX;
        let mut trouble = None;
        loop {
            let mut open: Vec<_> =
                slots.iter_mut().filter(|slot| slot.answer.is_none()).take(at_once).collect();
            if open.is_empty() {
                return Ok(slots.into_iter().filter_map(|slot| slot.answer).collect());
            }
            let lines: Vec<&str> = open.iter().map(|slot| slot.line).collect();
            let failure = match self.client.publish(&lines).await {
                Ok(answers) => {
                    self.was_reached = true;
                    let held = fill(open, answers);
                    if held.is_empty() {
                        trouble = None;
                        continue;
                    }
                    Failure::Held(held)
                }
                Err(error) if let Some(problem) = about_the_events(&error) => {
                    self.was_reached = true;
                    match &mut *open {
                        [only] => only.answer = Some(raw(&problem)),
                        // One of them spoils it for all: half as many, until it stands alone.
                        several => at_once = several.len() / 2,
                    }
                    continue;
                }
                Err(error) if error.is_passing() => {
                    self.was_reached |= !matches!(error, ClientError::Unreachable { .. });
                    Failure::Request(error)
                }
                Err(error) => return Err(error),
            };
            let now = Instant::now();
            let patience = self.patience();
            let trouble = trouble.get_or_insert_with(|| Trouble::new(now, patience));
            match (trouble.next_wait(now), failure) {
                (Some(wait), failure) => {
                    if trouble.tries == 1 {
                        self.tell(&failure, patience);
                    }
                    if let Failure::Held(held) = failure {
                        held.into_iter().for_each(|slot| slot.answer = None);
                    }
                    tokio::time::sleep(wait).await;
                }
                (None, Failure::Request(error)) => return Err(error),
                // Their problems are their answers.
                (None, Failure::Held(_)) => {}
            }
        }
    }

    fn patience(&self) -> Duration {
        self.retry_for.unwrap_or(if self.was_reached { RETRY_FOR } else { Duration::ZERO })
    }

    fn tell(&self, failure: &Failure<'_, '_>, patience: Duration) {
        let what = match failure {
            Failure::Request(error) => plain(&error.to_string()).into_owned(),
            Failure::Held(held) => format!("the host cannot take {} of the events now", held.len()),
        };
        self.bar.suspend(|| note(&format!("{what}; trying again for {patience:?}")));
    }
}

/// Puts the answers into their slots; gives back the slots whose answer may be another one later.
fn fill<'s, 'a>(open: Vec<&'s mut Slot<'a>>, answers: Vec<Box<RawValue>>) -> Vec<&'s mut Slot<'a>> {
    let mut held = Vec::new();
    for (slot, answer) in open.into_iter().zip(answers) {
        let is_held = matches!(
            Outcome::parse(answer.get()),
            Ok(Outcome::Refused(Problem { status: Some(status), .. }))
                if StatusCode::from_u16(status).is_ok_and(is_passing)
        );
        slot.answer = Some(answer);
        if is_held {
            held.push(slot);
        }
    }
    held
}

/// The problem, when a request was refused for what it carries.
fn about_the_events(error: &ClientError) -> Option<serde_json::Value> {
    let (status, title, detail, field) = match error {
        ClientError::Refused { status, problem, .. } => {
            (status, &*problem.title, problem.detail.as_deref(), problem.field.as_deref())
        }
        ClientError::Strange { status, reason, .. } => (status, "refused", Some(&**reason), None),
        _ => return None,
    };
    let is_refusal = matches!(
        *status,
        StatusCode::BAD_REQUEST
            | StatusCode::CONFLICT
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY
    );
    is_refusal.then(|| {
        json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail, "field": field})
    })
}

fn raw(value: &serde_json::Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// A host that is away: how long yet to wait for it.
#[derive(Debug)]
pub(super) struct Trouble<W> {
    until: Instant,
    waits: W,
    tries: u32,
}

impl Trouble<()> {
    pub(super) fn new(now: Instant, patience: Duration) -> Trouble<impl Iterator<Item = Duration>> {
        Trouble { until: now + patience, waits: waits(), tries: 0 }
    }
}

impl<W: Iterator<Item = Duration>> Trouble<W> {
    /// How long to wait before the next try; `None` when it was long enough. The last try is made
    /// when patience ends.
    pub(super) fn next_wait(&mut self, now: Instant) -> Option<Duration> {
        let left = self.until.checked_duration_since(now).filter(|left| !left.is_zero())?;
        self.tries += 1;
        self.waits.next().map(|wait| wait.min(left))
    }
}
