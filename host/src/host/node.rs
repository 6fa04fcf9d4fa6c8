//! The host as a node of the fleet: its name, and what it tells of itself as ordinary events through the
//! pipeline. `node_connected` once its connection to NATS stands for the first time, `node_health_check`
//! at intervals from then on, `node_disconnected` on a clean stop.
//!
//! Knows the pipeline and how NATS is doing. May not know who reads these events.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval_at, timeout},
};
use tracing::{debug, warn};

use crate::{
    bus::Bus,
    event::{Draft, EventType, NodeName, ProjectId, Reason, Seq, SessionId},
    nats::{NatsState, NatsStatus},
    pipeline::Pipeline,
};

/// What the last event may take to get to NATS while the host stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// Which node the host is, and what it tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeOptions {
    /// Its name. Default: the machine's host name, with `-` in place of what no subject token has.
    pub name: NodeName,
    /// The project of its events. Default `ennio`.
    pub project: ProjectId,
    /// Whether it tells of itself at all, which it does only with NATS. Default: it does.
    pub events: bool,
    /// The time between two health checks; `None` for none. Default 60 s.
    pub health_check: Option<Duration>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            name: name_of_machine(),
            project: known("ennio"),
            events: true,
            health_check: Some(Duration::from_secs(60)),
        }
    }
}

/// The running teller.
pub(super) struct Node {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

pub(super) struct Teller {
    pub(super) options: NodeOptions,
    pub(super) pipeline: Pipeline,
    pub(super) bus: Bus,
    pub(super) nats: NatsStatus,
}

impl Node {
    pub(super) fn start(teller: Teller) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self { stop, task: tokio::spawn(teller.run(stopped)) }
    }

    /// Tells that it goes. To be called before the pipeline is closed.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(e) = self.task.await {
            warn!("the node's teller ended badly: {e}");
        }
    }
}

impl Teller {
    async fn run(self, mut stop: watch::Receiver<bool>) {
        let begun = Instant::now();
        let connected = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            connected = self.nats.wait_for(|nats| nats.connections > 0) => connected,
        };
        if connected.is_none() {
            return;
        }
        self.tell(EventType::NodeConnected, "connected", Value::Null).await;
        let every = self.options.health_check;
        let mut due = every.map(|every| {
            let mut due = interval_at(tokio::time::Instant::now() + every, every);
            due.set_missed_tick_behavior(MissedTickBehavior::Delay);
            due
        });
        loop {
            let tick = async {
                match &mut due {
                    Some(due) => drop(due.tick().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                () = tick => {}
            }
            let health = self.health(begun.elapsed());
            self.tell(EventType::NodeHealthCheck, "is alive", health).await;
        }
        let told = self.tell(EventType::NodeDisconnected, "disconnected", Value::Null).await;
        if let Some(seq) = told {
            self.see_off(seq).await;
        }
    }

    /// Publishes an event of the node; where it stands in the log then.
    async fn tell(&self, event_type: EventType, verb: &str, said: Value) -> Option<Seq> {
        let name = &self.options.name;
        let mut data = json!({"host": name, "version": env!("CARGO_PKG_VERSION")});
        if let (Some(data), Value::Object(said)) = (data.as_object_mut(), said) {
            data.extend(said);
        }
        let (project, session) = (self.options.project.clone(), session(name));
        let mut draft = Draft::new(event_type, project, session);
        draft.message = format!("node {name} {verb}").parse().ok();
        draft.data = data.to_string().parse().ok();
        let told = self.pipeline.publish(draft).await;
        told.inspect_err(|e| warn!("node {name} {verb}, which is not in the log: {e}"))
            .ok()
            .map(|receipt| receipt.seq)
    }

    fn health(&self, up: Duration) -> Value {
        let head = self.bus.head();
        let nats = self.nats.snapshot();
        json!({
            "uptime_seconds": up.as_secs(),
            "head": head,
            "nats": nats.state.as_str(),
            "nats_lag": head.saturating_sub(nats.cursor),
            "resident_bytes": resident_bytes(),
        })
    }

    /// Waits a moment for the last event to be with NATS; else the next start publishes it.
    async fn see_off(&self, seq: Seq) {
        if self.nats.snapshot().state != NatsState::Publishing {
            return;
        }
        if timeout(FAREWELL, self.nats.wait_for(|nats| nats.cursor >= seq)).await.is_err() {
            debug!("that the node disconnected is published by the next start");
        }
    }
}

/// A node's events are about a session of its own name.
fn session(name: &NodeName) -> SessionId {
    known(name.as_str())
}

/// What cannot be wrong.
#[expect(clippy::expect_used, reason = "a subject token is a project's and a session's name")]
fn known<T: std::str::FromStr<Err = Reason>>(token: &str) -> T {
    token.parse().expect("a subject token")
}

fn name_of_machine() -> NodeName {
    let system = rustix::system::uname();
    token(&system.nodename().to_string_lossy()).parse().unwrap_or_else(|_| known("node"))
}

/// `text` as one subject token, as far as that goes.
fn token(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    text.chars().take(NodeName::MAX).map(|c| if fits(c) { c } else { '-' }).collect()
}

/// The memory that the process occupies, in bytes; `None` where the system does not tell.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machines_name_becomes_one_token() {
        assert_eq!(token("build-3"), "build-3");
        assert_eq!(token("build.example.com"), "build-example-com");
        assert_eq!(token(&"é".repeat(80)), "-".repeat(64));
        assert_eq!(NodeOptions::default().name, name_of_machine());
        assert!(resident_bytes().is_none_or(|bytes| bytes > 1 << 20));
    }
}
