//! The machines that agents run on: when they are up, how they go down, how they feel.
//!
//! The timetable is fixed, not thrown: one planned restart at night and one crash in the afternoon,
//! so that every seed has both stories. Sessions ask the timetable where they may run and when
//! their node leaves them; nothing here knows what a session does.

use crate::clock::{Moment, Span};
use crate::dice::{Dice, stream};
use crate::event::{Data, Draft, Kind, Priority};

/// Node events belong to no team; the orchestrator files them under a project of its own.
pub(crate) const FLEET: &str = "fleet";

const HEALTH_CHECK_EVERY: Span = Span::minutes(20);

struct Node {
    host: &'static str,
    cores: i64,
    uptimes: &'static [Uptime],
}

struct Uptime {
    from: Moment,
    to: Moment,
    launched: bool,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Restart,
    Crash,
    ScaledDown,
    /// Still up when the day ends.
    Open,
}

const MIDNIGHT: Moment = Moment::at(23, 59);

static NODES: [Node; 3] = [
    Node {
        host: "build-01",
        cores: 32,
        uptimes: &[
            Uptime {
                from: Moment::at(0, 0),
                to: Moment::at(5, 30),
                launched: false,
                end: End::Restart,
            },
            Uptime { from: Moment::at(5, 33), to: MIDNIGHT, launched: true, end: End::Open },
        ],
    },
    Node {
        host: "build-02",
        cores: 32,
        uptimes: &[
            Uptime {
                from: Moment::at(7, 30),
                to: Moment::at(14, 21),
                launched: true,
                end: End::Crash,
            },
            Uptime {
                from: Moment::at(14, 25),
                to: Moment::at(23, 50),
                launched: true,
                end: End::ScaledDown,
            },
        ],
    },
    Node {
        host: "build-03",
        cores: 16,
        uptimes: &[Uptime {
            from: Moment::at(8, 10),
            to: Moment::at(23, 52),
            launched: true,
            end: End::ScaledDown,
        }],
    },
];

/// A node that goes away under its sessions and comes back.
pub(crate) struct Outage {
    pub(crate) at: Moment,
    pub(crate) back: Moment,
    pub(crate) reason: &'static str,
}

/// A node that is up at this moment. New work goes nowhere else.
pub(crate) fn choose(dice: &mut Dice, at: Moment) -> &'static str {
    let up: Vec<_> = NODES
        .iter()
        .filter(|node| {
            let up = |uptime: &Uptime| uptime.from + BOOT <= at && at < uptime.to;
            node.uptimes.iter().any(up)
        })
        .map(|node| node.host)
        .collect();
    match dice.word(&up) {
        "" => "build-01", // In the minutes of its restart: work queues for the one night node.
        host => host,
    }
}

/// Whether this node leaves its sessions between the two moments.
pub(crate) fn outage(host: &str, from: Moment, to: Moment) -> Option<Outage> {
    let node = NODES.iter().find(|node| node.host == host)?;
    let next = node.uptimes.iter().skip(1);
    node.uptimes.iter().zip(next).find(|(uptime, _)| from < uptime.to && uptime.to <= to).map(
        |(uptime, next)| Outage {
            at: uptime.to,
            back: next.from + BOOT,
            reason: match uptime.end {
                End::Crash => "node lost",
                _ => "node restart",
            },
        },
    )
}

/// From `launched` to `connected`, at the most.
const BOOT: Span = Span::seconds(60);

/// All node events of the day. The sessions' drafts say how loaded each node was.
pub(crate) fn events(seed: u64, sessions: &[Draft]) -> Vec<Draft> {
    let mut dice = Dice::new(seed, stream::NODES);
    let mut drafts = Vec::new();
    for node in &NODES {
        for uptime in node.uptimes {
            let mut at = uptime.from + Span::seconds(dice.between(1, 3));
            if uptime.launched {
                drafts.push(launched(node, at));
                at = at + Span::between(&mut dice, Span::seconds(12), Span::seconds(50));
            }
            drafts.push(connected(node, at, &mut dice));
            loop {
                let jitter = Span::between(&mut dice, Span::seconds(-20), Span::seconds(20));
                at = at + HEALTH_CHECK_EVERY + jitter;
                if at >= uptime.to {
                    break;
                }
                let dying = uptime.end == End::Crash && at + Span::minutes(40) > uptime.to;
                drafts.push(health_check(
                    node,
                    at,
                    running(node.host, at, sessions),
                    dying,
                    &mut dice,
                ));
            }
            let gone = disconnected(node, uptime, sessions, &mut dice);
            if uptime.end == End::Crash {
                drafts.extend(gone.as_ref().map(|gone| relaunch(node, gone.at)));
            }
            drafts.extend(gone);
        }
    }
    drafts
}

/// Sessions on a node at a moment: those that came (spawned, restored) less those that went.
fn running(host: &str, at: Moment, sessions: &[Draft]) -> i64 {
    sessions
        .iter()
        .filter(|draft| draft.at < at && draft.data.text("node") == Some(host))
        .map(|draft| match draft.kind {
            Kind::SessionSpawned | Kind::SessionRestored => 1,
            Kind::SessionExited | Kind::SessionKilled => -1,
            _ => 0,
        })
        .sum()
}

fn launched(node: &Node, at: Moment) -> Draft {
    let data = Data::default()
        .with("host", node.host)
        .with("image", "agent-node-2026.07.2")
        .with("cores", node.cores)
        .with("memory_gb", node.cores * 4);
    let message = format!("launched {} ({} cores)", node.host, node.cores);
    draft(Kind::NodeLaunched, Priority::Info, node, at, message, data)
}

fn connected(node: &Node, at: Moment, dice: &mut Dice) -> Draft {
    let data = Data::default()
        .with("host", node.host)
        .with("agent_version", "0.9.4")
        .with("round_trip_ms", dice.between(1, 9))
        .with("slots", node.cores / 2);
    let message = format!("{} connected, {} slots free", node.host, node.cores / 2);
    draft(Kind::NodeConnected, Priority::Info, node, at, message, data)
}

fn health_check(node: &Node, at: Moment, sessions: i64, dying: bool, dice: &mut Dice) -> Draft {
    let busy = (sessions * 96 / node.cores).min(80);
    let cpu = 3 + busy + dice.between(0, 15);
    let memory =
        if dying { dice.between(95, 99) } else { (12 + busy + dice.between(0, 8)).min(92) };
    let data = Data::default()
        .with("host", node.host)
        .with("cpu_pct", cpu.min(99))
        .with("mem_pct", memory)
        .with("disk_free_gb", dice.between(180, 420))
        .with("sessions", sessions)
        .with("state", if dying { "degraded" } else { "ok" });
    let (priority, message) = if dying {
        let text = format!("{} is short of memory: {memory} % used", node.host);
        (Priority::Urgent, text)
    } else {
        let text = format!("{} healthy, {sessions} sessions", node.host);
        (Priority::Info, text)
    };
    draft(Kind::NodeHealthCheck, priority, node, at, message, data)
}

fn disconnected(
    node: &Node,
    uptime: &Uptime,
    sessions: &[Draft],
    dice: &mut Dice,
) -> Option<Draft> {
    let lost = running(node.host, uptime.to, sessions);
    let (priority, reason, message) = match uptime.end {
        End::Open => return None,
        End::Restart => (
            Priority::Action,
            "planned_restart",
            format!("{} restarts for a kernel update", node.host),
        ),
        End::Crash => (
            Priority::Critical,
            "heartbeat_lost",
            format!("{} is gone: no heartbeat for 15 s, {lost} sessions on it", node.host),
        ),
        End::ScaledDown => {
            (Priority::Info, "scaled_down", format!("{} scaled down for the night", node.host))
        }
    };
    let data = Data::default()
        .with("host", node.host)
        .with("reason", reason)
        .with("sessions", lost)
        .with("uptime_s", (uptime.to - uptime.from).in_seconds());
    let at = uptime.to + Span::between(dice, Span::seconds(1), Span::seconds(4));
    Some(draft(Kind::NodeDisconnected, priority, node, at, message, data))
}

/// The orchestrator's rule answers a crash.
fn relaunch(node: &Node, lost: Moment) -> Draft {
    let data = Data::default()
        .with("rule", "node-down")
        .with("action", "relaunch the node")
        .with("host", node.host);
    let message = format!("rule node-down fired for {}: relaunch the node", node.host);
    let at = lost + Span::seconds(2);
    let kind = Kind::ReactionTriggered;
    draft(kind, Priority::Critical, node, at, message, data)
}

fn draft(
    kind: Kind,
    priority: Priority,
    node: &Node,
    at: Moment,
    message: String,
    data: Data,
) -> Draft {
    Draft {
        at,
        kind,
        priority,
        session: format!("node:{}", node.host),
        project: FLEET,
        message,
        data,
    }
}
