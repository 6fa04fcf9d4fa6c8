//! What a stream's answer means. Plain reading, no network.

use async_nats::StatusCode;
use serde::Deserialize;

/// A message is larger than the stream takes: the one refusal that no waiting cures.
const MESSAGE_EXCEEDS_MAXIMUM: u64 = 10_054;

/// The condition on what the stream ends with does not hold.
const OUT_OF_PLACE: u64 = 10_071;

/// A cluster without a leader; a stream that is off line; this event, which is just being stored.
const AGAIN: [u64; 5] = [10_008, 10_009, 10_118, 10_158, 10_194];

/// An answer to an event that was sent to a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The named stream has it, under this sequence; `duplicate` when it had it before.
    Stored { stream: String, seq: u64, duplicate: bool },
    /// The stream never takes it.
    TooLarge(String),
    /// The stream does not take it now.
    Refused(String),
    /// The stream does not end where it should for this event: one before it is missing, or somebody
    /// else's message took its place.
    OutOfPlace(String),
    /// Nobody is to blame, and sending it again helps: a stream between two leaders.
    Again(String),
    /// Not from a stream: anybody who listens to the subject may answer, and means nothing by it.
    Foreign,
}

#[derive(Deserialize)]
struct Body {
    stream: Option<String>,
    seq: Option<u64>,
    #[serde(default)]
    duplicate: bool,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    pub(super) err_code: u64,
    #[serde(default)]
    pub(super) description: String,
}

/// Reads an answer.
pub(super) fn read(status: Option<StatusCode>, payload: &[u8]) -> Answer {
    if status == Some(StatusCode::NO_RESPONDERS) {
        return Answer::Again("no stream answers for the subject any more".into());
    }
    let Ok(body) = serde_json::from_slice::<Body>(payload) else { return Answer::Foreign };
    match body {
        Body { error: Some(refusal), .. } if refusal.err_code == MESSAGE_EXCEEDS_MAXIMUM => {
            Answer::TooLarge(refusal.description)
        }
        Body { error: Some(refusal), .. } if refusal.err_code == OUT_OF_PLACE => {
            Answer::OutOfPlace(refusal.to_string())
        }
        Body { error: Some(refusal), .. } if AGAIN.contains(&refusal.err_code) => {
            Answer::Again(refusal.to_string())
        }
        Body { error: Some(refusal), .. } => Answer::Refused(refusal.to_string()),
        Body { stream: Some(stream), seq: Some(seq), duplicate, .. } => {
            Answer::Stored { stream, seq, duplicate }
        }
        _ => Answer::Foreign,
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (JetStream error {})", self.description, self.err_code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_only_when_it_is_a_streams() {
        let read = |json: &str| read(None, json.as_bytes());
        let stored = |duplicate| Answer::Stored { stream: "E".into(), seq: 7, duplicate };
        assert_eq!(read(r#"{"stream":"E","seq":7}"#), stored(false));
        assert_eq!(read(r#"{"stream":"E","seq":7,"duplicate":true,"new":[]}"#), stored(true));
        for foreign in ["", "ok", "{}", "[]", r#"{"seq":7}"#, r#"{"stream":7,"seq":7}"#] {
            assert_eq!(read(foreign), Answer::Foreign, "{foreign}");
        }
        assert_eq!(
            read(
                r#"{"error":{"code":400,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"E","seq":0}"#
            ),
            Answer::Refused("maximum bytes exceeded (JetStream error 10077)".into())
        );
        assert_eq!(
            read(
                r#"{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"}}"#
            ),
            Answer::TooLarge("message size exceeds maximum allowed".into())
        );
        let nobody = super::read(Some(StatusCode::NO_RESPONDERS), b"");
        assert!(matches!(nobody, Answer::Again(_)), "{nobody:?}");
        let missing =
            read(r#"{"error":{"err_code":10071,"description":"wrong last sequence: 5"}}"#);
        assert!(matches!(missing, Answer::OutOfPlace(_)), "{missing:?}");
    }
}
