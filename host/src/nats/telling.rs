//! What the host tells of itself over NATS, to whoever listens at that moment: its figures on
//! `<prefix>.metrics.snapshot`, and changes on `<prefix>.dashboard.<action>`.
//!
//! Neither is an event, and neither is kept: while the server is away, the last 256 changes wait for it,
//! and figures do not. Each message says which host it is from (`node`).

use std::{sync::Arc, time::Duration};

use async_nats::client::PublishErrorKind;
use bytes::Bytes;
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::{
    NatsOptions, Prefix,
    connection::{Connection, Heard},
    retry::End,
    service::{Service, Session, Stop, asked_to_stop},
};
use crate::{
    dashboard::{Listener, Notice},
    event::{NodeName, Timestamp},
};

/// What knows the host's figures.
pub trait Figures: Send + Sync {
    /// The figures now, by their names.
    ///
    /// # Errors
    /// Why they cannot be told at the moment.
    fn figures(&self) -> BoxFuture<'_, Result<Map<String, Value>, String>>;
}

/// The running teller.
pub struct Teller(Service);

struct Telling {
    prefix: Prefix,
    node: NodeName,
    figures: Arc<dyn Figures>,
    every: Option<Duration>,
    changes: Option<Listener>,
    /// A change that the last connection did not take.
    unsent: Option<Notice>,
}

impl Teller {
    /// Tells the figures once a connection stands and then `every` so often, never without it, and each
    /// change that `changes` hears, if anything. Returns at once, with the server away or not.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn spawn(
        options: NatsOptions,
        node: NodeName,
        figures: Arc<dyn Figures>,
        every: Option<Duration>,
        changes: Option<Listener>,
    ) -> Self {
        let prefix = options.prefix.clone();
        let telling = Telling { prefix, node, figures, every, changes, unsent: None };
        Self(Service::spawn(options, telling))
    }

    /// Ends after the changes that were told so far.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}

impl Session for Telling {
    const NAME: &'static str = "ennio dashboard";

    async fn run(&mut self, mut connection: Connection, stop: &mut Stop) -> (End, bool) {
        info!("telling of the host on {0}.dashboard.* and {0}.metrics.*", self.prefix);
        let mut due = self.every.map(|every| {
            let mut due = interval(every);
            due.set_missed_tick_behavior(MissedTickBehavior::Delay);
            due
        });
        let end = loop {
            let sent = match self.unsent.take() {
                Some(notice) => self.tell(&connection, notice).await,
                None => tokio::select! {
                    biased;
                    () = asked_to_stop(stop) => break End::Stopped,
                    heard = connection.hear() => match heard {
                        Heard::Reply(_) => Ok(()),
                        Heard::Complaint(text) => break End::Held(text),
                        Heard::End => Err("the connection was lost".into()),
                    },
                    notice = heard(&mut self.changes) => match notice {
                        Some(notice) => self.tell(&connection, notice).await,
                        None => break End::Stopped,
                    },
                    () = tick(&mut due) => self.tell_figures(&connection).await,
                },
            };
            if let Err(reason) = sent {
                break End::Lost(reason);
            }
        };
        while end == End::Stopped
            && let Some(notice) = self.changes.as_mut().and_then(Listener::told)
            && self.tell(&connection, notice).await.is_ok()
        {}
        if end == End::Stopped {
            let _ = connection.client().flush().await;
        }
        (end, true)
    }
}

impl Telling {
    async fn tell(&mut self, connection: &Connection, notice: Notice) -> Result<(), String> {
        let subject = format!("{}.dashboard.{}", self.prefix, notice.change.action());
        let mut body = json!({"node": self.node});
        if let (Some(body), Ok(Value::Object(said))) =
            (body.as_object_mut(), serde_json::to_value(&notice))
        {
            body.extend(said);
        }
        let sent = send(connection, subject, &body).await;
        if sent.is_err() {
            self.unsent = Some(notice);
        }
        sent
    }

    async fn tell_figures(&self, connection: &Connection) -> Result<(), String> {
        let mut body = json!({"node": self.node, "at": Timestamp::now()});
        match self.figures.figures().await {
            Ok(figures) => body.as_object_mut().into_iter().for_each(|b| b.extend(figures.clone())),
            Err(e) => {
                warn!("no figures are told over NATS: {e}");
                return Ok(());
            }
        }
        send(connection, format!("{}.metrics.snapshot", self.prefix), &body).await
    }
}

async fn heard(changes: &mut Option<Listener>) -> Option<Notice> {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}

async fn tick(due: &mut Option<Interval>) {
    match due {
        Some(due) => drop(due.tick().await),
        None => std::future::pending().await,
    }
}

/// `Err` when the connection takes nothing more.
async fn send(connection: &Connection, subject: String, body: &Value) -> Result<(), String> {
    let payload = Bytes::from(body.to_string());
    match connection.client().publish(subject.clone(), payload).await {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == PublishErrorKind::MaxPayloadExceeded => {
            warn!("not told on {subject}: {e}");
            Ok(())
        }
        Err(e) => Err(e.to_string()),
    }
}
