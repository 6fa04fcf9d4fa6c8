//! One question to every host that listens for commands under a prefix, and all their answers.
//!
//! Nobody knows how many there are, so the answers are over when none has come for a second.

use std::time::Duration;

use async_nats::StatusCode;
use bytes::Bytes;
use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use tokio::time::timeout;

use super::{NatsOptions, connection::Connection};
use crate::control::CommandName;

/// The first answer.
const FIRST_WITHIN: Duration = Duration::from_secs(5);
/// Each one after that.
const NEXT_WITHIN: Duration = Duration::from_secs(1);
/// Answers that are read; a host gives one.
const ANSWERS: usize = 10_000;

/// Why no host was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SurveyError {
    /// There is no connection, or none any more.
    #[error("{0}")]
    Lost(String),
    /// Nobody listens, or nobody answers.
    #[error(
        "no host answers on {subject} (a host listens there with `status` in `commands` of [nats], \
         which is the default)"
    )]
    Nobody {
        /// Where hosts were asked.
        subject: String,
    },
}

/// What one host says.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    result: Value,
    error: Option<String>,
}

/// Asks every host `question`, a command that needs no plugin. What each answers, or why it does not.
///
/// # Errors
/// [`SurveyError`] when there is no connection or no answer at all.
pub async fn ask_every_host(
    options: &NatsOptions,
    question: CommandName,
) -> Result<Vec<Result<Value, String>>, SurveyError> {
    let mut connection =
        Connection::first(options, "ennio survey").await.map_err(SurveyError::Lost)?;
    let client = connection.client().clone();
    let subject = format!("{}.commands.{question}", options.prefix);
    let gather = async {
        let inbox = client.new_inbox();
        let lost = |e: &dyn std::fmt::Display| SurveyError::Lost(e.to_string());
        let mut replies = client.subscribe(inbox.clone()).await.map_err(|e| lost(&e))?;
        let asked = client.publish_with_reply(subject.clone(), inbox, Bytes::new()).await;
        asked.map_err(|e| lost(&e))?;
        client.flush().await.map_err(|e| lost(&e))?;
        let mut answers = Vec::new();
        let mut within = FIRST_WITHIN;
        while answers.len() < ANSWERS {
            let Ok(Some(reply)) = timeout(within, replies.next()).await else { break };
            if reply.status == Some(StatusCode::NO_RESPONDERS) {
                break;
            }
            within = NEXT_WITHIN;
            answers.push(match serde_json::from_slice::<Answer>(&reply.payload) {
                Ok(Answer { error: Some(error), .. }) => Err(error),
                Ok(Answer { result, error: None }) => Ok(result),
                Err(e) => Err(format!("its answer cannot be read: {e}")),
            });
        }
        Ok(answers)
    };
    let answers = connection.ask(gather).await.map_err(SurveyError::Lost).flatten()?;
    match answers.is_empty() {
        true => Err(SurveyError::Nobody { subject }),
        false => Ok(answers),
    }
}
