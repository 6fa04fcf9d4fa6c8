//! The way in over NATS: one event as JSON, as REST takes it, on `<prefix>.ingest.<project>`.
//!
//! - *Core*: a plain subscription in the queue group `ennio`, so that of several hosts on one prefix one
//!   takes a message. Who asks (with a reply subject) gets the receipt or the problem that REST would
//!   answer, after the commit. It is **at most once**: what comes while no host listens, or faster than
//!   it reads, is gone, and only who asked knows.
//! - *JetStream*: a durable consumer `ennio` of the stream `<PREFIX>_INGEST`. A message is acknowledged,
//!   and the server's confirmation waited for, after its event is committed: **at least once**, and in
//!   the log once, since a redelivery is recognised by the event's id.
//!
//! **Ids.** The body's own; else a header `Nats-Msg-Id` that is a UUID; else, from a stream, one that
//! derives from the stream, the time of its making, and the message's place there.
//!
//! **Order.** Events are committed in the order in which the server delivers them. What it delivers
//! again, after a host died or a message was put off, comes later than what followed it.
//!
//! **What is no event**, or one whose id is taken by another, will not become one by waiting: it is kept
//! in the store with its bytes (`store/refused.rs`) and answered with the problem; a stream is told to
//! deliver it no more. A core message with a reply subject is not kept: who sent it knows. What cannot
//! be stored *now* (no space, a plugin holds it, the host is stopping) is delivered again by a stream
//! after 1 s, 2 s and so on up to 60 s; a core message is answered with the problem, or kept where
//! nobody would hear it.
//!
//! **Answers from a stream.** The stream itself answers a request, so the header `Ennio-Reply` names
//! where the receipt or the problem goes, if anywhere. No answer goes to a subject under the host's own
//! prefix or one of the server's (`$…`): a sender must not have the host say things for it.
//!
//! **Permissions** that the host's NATS user needs: subscribe to `<prefix>.ingest.*` and `_INBOX.>`, and
//! publish to what senders want answers on; for a stream, publish to `$JS.API.>` and `$JS.ACK.>`.
//!
//! `intake` is the one place that turns messages into outcomes, `flow` keeps the pipeline busy with
//! them, in order; `core` and `stream` are the two ways in which messages come, `setup` says what a
//! stream has to be like. Knows the pipeline and the store. May not know plugins or the API.

mod core;
mod flow;
mod intake;
mod setup;
mod status;
mod stream;

use std::sync::{Arc, Mutex};

use serde::Deserialize;

pub use status::{IngestCounts, IngestSnapshot, IngestState, IngestStatus};

use self::{core::Core, intake::Intake, status::Report, stream::FromStream};
use super::{NatsOptions, service::Service};
use crate::{pipeline::Pipeline, store::Store};

/// Whether and how events come in over NATS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ingest {
    /// They do not. The default: whoever may publish there could write into the log.
    #[default]
    Off,
    /// As plain messages and requests.
    Core,
    /// From a stream.
    JetStream,
}

impl Ingest {
    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Core => "core",
            Self::JetStream => "jetstream",
        }
    }
}

/// The running way in.
pub struct Ingester {
    service: Service,
    status: IngestStatus,
}

impl Ingester {
    /// Starts to take events in; `None` where `how` says that none are to be. Returns at once, with the
    /// server away or not.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn spawn(
        options: NatsOptions,
        how: Ingest,
        pipeline: Pipeline,
        store: Arc<Store>,
    ) -> Option<Self> {
        let (report, status) = Report::new(how);
        let intake = Intake {
            prefix: options.prefix.clone(),
            pipeline,
            store,
            report,
            hush: Mutex::default(),
        };
        let intake = Arc::new(intake);
        let service = match how {
            Ingest::Off => return None,
            Ingest::Core => Service::spawn(options, Core { intake }),
            Ingest::JetStream => Service::spawn(options, FromStream { intake }),
        };
        Some(Self { service, status })
    }

    /// How it is doing.
    pub fn status(&self) -> IngestStatus {
        self.status.clone()
    }

    /// Takes no more, and ends after what it has taken is committed and answered, five seconds at most.
    /// To be called before the pipeline is closed.
    pub async fn stop(self) {
        self.service.stop().await;
    }
}
