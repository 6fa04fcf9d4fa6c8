//! Events as plain messages and requests.

use std::sync::Arc;

use async_nats::{Client, Message};
use futures::StreamExt as _;

use super::{
    flow::flow,
    intake::{Arrived, Intake, Outcome},
};
use crate::nats::{
    connection::Connection,
    retry::End,
    service::{Session, Stop},
};

/// Of the hosts in it, one takes a message.
const QUEUE_GROUP: &str = "ennio";

pub(super) struct Core {
    pub(super) intake: Arc<Intake>,
}

impl Session for Core {
    const NAME: &'static str = "ennio ingest";

    async fn run(&mut self, mut connection: Connection, stop: &mut Stop) -> (End, bool) {
        let client = connection.client().clone();
        let subject = self.intake.subject();
        let messages = match client.queue_subscribe(subject.clone(), QUEUE_GROUP.into()).await {
            Ok(messages) => messages,
            Err(e) => return (End::Lost(e.to_string()), false),
        };
        if let Err(e) = client.flush().await {
            return (End::Lost(e.to_string()), false);
        }
        self.intake.report.listening(&subject);
        let work = |group| work(Arc::clone(&self.intake), client.clone(), group);
        let size = |message: &Message| message.payload.len();
        (flow(messages.map(Ok), &mut connection, stop, size, work).await, true)
    }

    fn ended(&mut self, end: &End) {
        self.intake.report.ended(end);
    }
}

/// Commits a group, and answers who asked. What nobody would hear of is kept.
async fn work(intake: Arc<Intake>, client: Client, group: Vec<Message>) {
    let (asked, group): (Vec<_>, Vec<_>) = group.into_iter().map(arrived).unzip();
    let outcomes = intake.take(&group).await;
    let mut kept = Vec::new();
    for ((asked, message), outcome) in asked.iter().zip(&group).zip(&outcomes) {
        let told = intake.answer(&client, asked.as_ref(), message, outcome).await;
        match outcome {
            Outcome::Refused(problem) | Outcome::Later(problem) if !told => {
                kept.push(message.refused(problem));
            }
            Outcome::Stored(_) | Outcome::Refused(_) | Outcome::Later(_) => {}
        }
    }
    // Said in the log when it fails; there is nobody else to tell.
    let _ = intake.keep(kept).await;
}

fn arrived(message: Message) -> (Option<async_nats::Subject>, Arrived) {
    let Message { subject, reply, headers, payload, .. } = message;
    (reply, Arrived { subject, headers, payload, place: None })
}
