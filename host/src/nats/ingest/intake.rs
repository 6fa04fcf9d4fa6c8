//! What becomes of a message: the same parsing, the same pipeline and the same answers as over HTTP.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_nats::{Client, HeaderMap, Subject};
use bytes::Bytes;
use tracing::{debug, warn};

use super::status::{IngestCounts, Report};
use crate::{
    event::{Draft, EventError, EventId, ProjectId},
    nats::Prefix,
    pipeline::{Pipeline, PublishError, Receipt, Status},
    problem::Problem,
    store::{Effect, MAX_REFUSED_BYTES, Refused, Store, StoreError},
};

/// The largest message, in bytes; as over HTTP.
const MAX_BODY: usize = 1 << 20;
/// A header that names the event where its body has no id.
const MESSAGE_ID: &str = "Nats-Msg-Id";
/// A header that says where the answer goes.
const REPLY: &str = "Ennio-Reply";

pub(super) struct Intake {
    pub(super) prefix: Prefix,
    pub(super) pipeline: Pipeline,
    pub(super) store: Arc<Store>,
    pub(super) report: Report,
    pub(super) hush: Mutex<Hush>,
}

/// A message that came in.
pub(super) struct Arrived {
    pub(super) subject: Subject,
    pub(super) headers: Option<HeaderMap>,
    pub(super) payload: Bytes,
    /// Where it stands, if it came from a stream.
    pub(super) place: Option<Place>,
}

/// A place in a stream.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The stream and when it was made.
    pub(super) stream: Arc<str>,
    pub(super) seq: u64,
    /// How often it was delivered, this time included.
    pub(super) delivered: u32,
}

/// At most one line a second about what is refused, which says how much that was since the last one.
#[derive(Debug, Default)]
pub(super) struct Hush {
    last: Option<Instant>,
    unsaid: u64,
}

impl Hush {
    fn say(&mut self, count: u64, now: Instant) -> Option<u64> {
        self.unsaid += count;
        if self.last.is_some_and(|last| now.duration_since(last) < Duration::from_secs(1)) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// What became of a message.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is in the log.
    Stored(Receipt),
    /// It never will be.
    Refused(Problem),
    /// It is not, but may be later.
    Later(Problem),
}

impl Outcome {
    /// The body of the answer.
    fn answer(&self) -> Bytes {
        let json = match self {
            Self::Stored(receipt) => serde_json::to_vec(receipt),
            Self::Refused(problem) | Self::Later(problem) => serde_json::to_vec(problem),
        };
        json.unwrap_or_default().into()
    }
}

impl Intake {
    /// `<prefix>.ingest.*`.
    pub(super) fn subject(&self) -> String {
        format!("{}.ingest.*", self.prefix)
    }

    /// Publishes what is an event, in order and together; what became of each message.
    pub(super) async fn take(&self, messages: &[Arrived]) -> Vec<Outcome> {
        let mut good = Vec::with_capacity(messages.len());
        let mut faults = Vec::with_capacity(messages.len());
        for message in messages {
            faults.push(self.read(message).map(|draft| good.push(draft)).err());
        }
        let mut published = match good.is_empty() {
            true => Vec::new(),
            false => self.pipeline.publish_all(good).await,
        }
        .into_iter();
        let outcome = |fault: Option<Problem>| match fault {
            Some(fault) => Outcome::Refused(fault),
            None => judge(published.next().unwrap_or(Err(PublishError::Closed))),
        };
        let outcomes: Vec<_> = faults.into_iter().map(outcome).collect();
        self.report.count(counts(messages, &outcomes));
        outcomes
    }

    fn read(&self, message: &Arrived) -> Result<Draft, Problem> {
        let size = message.payload.len();
        if size > MAX_BODY {
            let detail = format!("this message has {size} bytes, at most {MAX_BODY} are taken");
            return Err(Problem::of(413, "urn:ennio:problem:too-large", "too large", detail));
        }
        let project = message.subject.rsplit('.').next().unwrap_or_default();
        let project: ProjectId =
            project.parse().map_err(|reason| EventError::new("subject", reason))?;
        let mut draft = Draft::parse_for(&message.payload, &project)?;
        let named = || message.header(MESSAGE_ID)?.parse().ok();
        let place = message.place.as_ref();
        let derived = || place.map(|place| EventId::of_message(&place.stream, place.seq));
        draft.id = draft.id.or_else(named).or_else(derived);
        Ok(draft)
    }

    /// Keeps messages with the reasons why they are not in the log.
    pub(super) async fn keep(&self, refused: Vec<Refused>) -> Result<(), StoreError> {
        if refused.is_empty() {
            return Ok(());
        }
        let (count, last) = (refused.len() as u64, refused.last().map(|r| r.reason.clone()));
        let kept = self.store.apply(vec![Effect::Refuse(refused)]).await;
        let said =
            self.hush.lock().unwrap_or_else(PoisonError::into_inner).say(count, Instant::now());
        let last = last.unwrap_or_default();
        match (&kept, said) {
            (Ok(()), Some(count)) => warn!(
                "not taken in from NATS, and kept: {count} (ennio dead-letters refused list); the last: \
                 {last}"
            ),
            (Err(e), Some(count)) => {
                warn!("neither taken in from NATS nor kept, {e}: {count}; the last: {last}");
            }
            (_, None) => {}
        }
        if let Err(e) = &kept {
            self.report.failed(format!("a refused message cannot be kept: {e}"));
        }
        kept
    }

    /// Sends the answer to who wants one; whether anybody does. `asked` is the reply subject of a
    /// message that came as a request.
    pub(super) async fn answer(
        &self,
        client: &Client,
        asked: Option<&Subject>,
        message: &Arrived,
        outcome: &Outcome,
    ) -> bool {
        let named = || message.header(REPLY).filter(|to| is_a_subject(to)).map(Subject::from);
        let Some(to) = asked.cloned().or_else(named) else { return false };
        if !self.may_answer(&to) {
            warn!("no answer is sent to {to}, which a message on {} asks for", message.subject);
            return false;
        }
        // Who asked may have gone; the event is stored all the same.
        if let Err(e) = client.publish(to, outcome.answer()).await {
            debug!("an answer was not sent: {e}");
        }
        true
    }

    fn may_answer(&self, to: &str) -> bool {
        let first = to.split('.').next().unwrap_or_default();
        first != self.prefix.as_str() && !first.starts_with('$')
    }
}

impl Arrived {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.as_ref()?.get(name).map(|value| value.as_str())
    }

    /// What is kept of it.
    pub(super) fn refused(&self, problem: &Problem) -> Refused {
        let bytes = self.payload.get(..MAX_REFUSED_BYTES).unwrap_or(&self.payload);
        Refused {
            at: crate::event::Timestamp::now(),
            subject: self.subject.to_string(),
            reason: problem.detail().to_owned(),
            size: self.payload.len() as u64,
            bytes: bytes.to_vec(),
            place: self.place.as_ref().map(|place| (place.stream.to_string(), place.seq)),
        }
    }
}

/// A subject without wildcards that a client may publish to.
fn is_a_subject(text: &str) -> bool {
    text.split('.').all(|token| {
        !token.is_empty()
            && token.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'*' | b'>'))
    })
}

/// One exhaustive match: what is worth another try.
fn judge(published: Result<Receipt, PublishError>) -> Outcome {
    match published {
        Ok(receipt) => Outcome::Stored(receipt),
        Err(e @ (PublishError::Conflict { .. } | PublishError::Barred(_))) => {
            Outcome::Refused(e.into())
        }
        Err(e @ (PublishError::Held { .. } | PublishError::Store(_) | PublishError::Closed)) => {
            Outcome::Later(e.into())
        }
    }
}

fn counts(messages: &[Arrived], outcomes: &[Outcome]) -> IngestCounts {
    let mut counts = IngestCounts::default();
    for (message, outcome) in messages.iter().zip(outcomes) {
        let count = match outcome {
            Outcome::Stored(Receipt { status: Status::Duplicate, .. }) => &mut counts.duplicate,
            Outcome::Stored(_) => &mut counts.accepted,
            Outcome::Refused(_) => &mut counts.refused,
            Outcome::Later(_) => &mut counts.deferred,
        };
        *count += 1;
        let again = message.place.as_ref().is_some_and(|place| place.delivered > 1);
        counts.redelivered += u64::from(again);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_goes_only_where_a_client_could_send_it() {
        for good in ["_INBOX.a.b", "answers", "a-b.C_1.$x"] {
            assert!(is_a_subject(good), "{good}");
        }
        for bad in ["", "a..b", ".a", "a.*", "a.>", "a b", "a\r\nPUB x", "é"] {
            assert!(!is_a_subject(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_flood_of_refusals_is_one_line_a_second_that_counts_them_all() {
        let mut hush = Hush::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(hush.say(2, at(0)), Some(2));
        assert_eq!(hush.say(3, at(500)), None);
        assert_eq!(hush.say(4, at(999)), None);
        assert_eq!(hush.say(1, at(1000)), Some(8));
    }

    #[test]
    fn what_waiting_does_not_cure_is_refused_and_the_rest_put_off() {
        let id = EventId::mint();
        let stored = Receipt { id, seq: 1, status: Status::Accepted };
        assert!(matches!(judge(Ok(stored)), Outcome::Stored(_)));
        let conflict = PublishError::Conflict { id, seq: 1 };
        assert!(matches!(judge(Err(conflict)), Outcome::Refused(_)));
        for e in [StoreError::Full("disk".into()), StoreError::Stale, StoreError::Closed] {
            assert!(matches!(judge(Err(e.into())), Outcome::Later(_)));
        }
        assert!(matches!(judge(Err(PublishError::Closed)), Outcome::Later(_)));
    }
}
