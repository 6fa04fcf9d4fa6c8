//! What a sidecar's rule adds to a reaction: it is told of, escalated when nothing resolves it, and
//! counted before. Time is a clock that the test moves; where the host is another process, an
//! escalation's second has to pass.

use std::time::Duration;

use ennio::{clock::Clock, event::Timestamp, host, store::Query};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Host, Plugins, Reply, Server, Setup, event, eventually};

const MAY_EMIT: &str = "[capabilities]\nemit = [\"ennio.custom.>\"]\n";

const ESCALATES: &str = "[capabilities]\nemit = [\"ennio.custom.>\"]\n[reaction]\nrule = \"tell\"\n\
     escalate_after = \"15m\"\nresolved_by = [\"ennio.ci.*.passing\"]\n";

/// An event that `two-roles` reacts to.
fn reacted(session: &str) -> Value {
    let mut event = event("ci_failing");
    event["message"] = "react to this".into();
    event["session_id"] = session.into();
    event
}

fn of_type<'a>(log: &'a [Value], event_type: &str) -> Vec<&'a Value> {
    log.iter().filter(|entry| entry["event_type"] == event_type).collect()
}

/// A host in this process, with a clock of the test's.
struct Inside {
    host: host::Host,
    clock: Clock,
}

impl Inside {
    async fn start(folder: &TempDir, plugins: &Plugins, clock: &Clock) -> Self {
        let host = host::Host::builder(folder.path().join("ennio.db"))
            .plugins(plugins.path())
            .clock(clock.clone());
        Self { host: host.start().await.unwrap(), clock: clock.clone() }
    }

    async fn publish(&self, event: &Value) -> u64 {
        let draft = ennio::event::Draft::parse(event.to_string().as_bytes()).unwrap();
        self.host.publish(draft).await.unwrap().seq
    }

    async fn log(&self) -> Vec<Value> {
        let page = self.host.log().page(Query::default(), 500).await.unwrap();
        page.entries.iter().map(|entry| serde_json::from_str(entry.json()).unwrap()).collect()
    }

    /// Waits until so many events of a type are in the log.
    async fn until(&self, event_type: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} of {event_type}"), async || {
            let log = self.log().await;
            (of_type(&log, event_type).len() >= count).then_some(log)
        })
        .await
    }

    /// Waits until `two-roles` waits for so many resolutions.
    async fn unresolved(&self, count: u64) {
        eventually(&format!("{count} unresolved"), async || {
            let status = self.host.status().await.unwrap();
            (status["unresolved"] == count).then_some(())
        })
        .await;
    }

    /// Waits until the reaction has seen the whole log.
    async fn settled(&self) {
        eventually("the reaction at the head", async || {
            let head = self.host.bus().head();
            (self.host.reactions().get("tell") == Some(&head)).then_some(())
        })
        .await;
    }

    fn pass(&self, minutes: u64) {
        self.clock.advance(Duration::from_secs(minutes * 60));
    }
}

fn noon() -> Clock {
    Clock::by_hand("2026-08-01T12:00:00Z".parse::<Timestamp>().unwrap())
}

#[tokio::test]
async fn what_a_reaction_did_is_told_once_and_what_it_did_not_is_not() {
    let plugins = Plugins::new().with_sidecar("tell", "two-roles", MAY_EMIT);
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let (_, receipt) = host.publish(&reacted("s-1")).await;
    host.publish(&event("pr_created")).await;
    host.settled().await;
    let log = host.log().await;
    let told = of_type(&log, "reaction_triggered");
    assert_eq!(told.len(), 1, "{told:#?}");
    let told = told[0];
    let hash = host.plugin("tell").await.unwrap()["hash"].clone();
    assert_eq!(
        told["data"],
        json!({"plugin": "tell", "version": "1.0.0", "hash": hash, "rule": "tell",
               "event_id": receipt["id"], "event_type": "ci_failing"})
    );
    assert_eq!(told["caused_by"], json!({"event_id": receipt["id"], "plugin": "tell"}));
    assert_eq!(
        json!([told["priority"], told["session_id"], told["hops"]]),
        json!(["info", "s-1", 1])
    );
}

#[tokio::test]
async fn a_request_is_an_act_and_a_plugin_is_not_told_of_itself() {
    let server = Server::start(|_, _| Reply::ok("ok")).await;
    // Two that subscribe to everything: neither they nor each by itself go round in circles.
    let sidecar = format!(
        "min_priority = \"info\"\n[config]\nurl = {:?}\n[capabilities]\nhttp = [{:?}]\n",
        server.url("/"),
        server.address.to_string(),
    );
    let plugins = Plugins::new().with_sidecar("first", "notify-webhook", &sidecar).with_sidecar(
        "second",
        "notify-webhook",
        &sidecar,
    );
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    host.publish(&event("pr_created")).await;
    host.settled().await;
    let log = host.log().await;
    assert_eq!(of_type(&log, "reaction_triggered").len(), 2, "{log:#?}");
    assert_eq!(log.len(), 3);
    // Each posts the event, and what is told of the other.
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn what_nothing_resolves_is_escalated_once_after_its_time_also_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = Plugins::new().with_sidecar("tell", "two-roles", ESCALATES);
    let clock = noon();
    let inside = Inside::start(&folder, &plugins, &clock).await;
    inside.publish(&reacted("s-1")).await;
    inside.publish(&reacted("s-2")).await;
    inside.unresolved(2).await;
    inside.pass(14);
    // Of another session, and of the same before: neither resolves anything.
    let mut other = event("ci_passing");
    other["session_id"] = "s-3".into();
    inside.publish(&other).await;
    other["session_id"] = "s-2".into();
    inside.publish(&other).await;
    inside.settled().await;
    assert!(of_type(&inside.log().await, "reaction_escalated").is_empty());
    inside.host.shutdown().await;
    drop(inside);

    // The time passes while nobody is there.
    clock.advance(Duration::from_secs(3600));
    let inside = Inside::start(&folder, &plugins, &clock).await;
    let log = inside.until("reaction_escalated", 1).await;
    inside.unresolved(0).await;
    let escalated = of_type(&log, "reaction_escalated");
    assert_eq!(escalated[0]["session_id"], "s-1");
    assert_eq!(escalated[0]["priority"], "action", "one more than the event's");
    assert_eq!(escalated[0]["data"]["times"], 1);
    assert_eq!(escalated[0]["data"]["rule"], "tell");
    inside.pass(600);
    // A new one shows that the old ones are not looked at again.
    inside.publish(&reacted("s-4")).await;
    inside.unresolved(1).await;
    assert_eq!(of_type(&inside.log().await, "reaction_escalated").len(), 1);
}

#[tokio::test]
async fn with_repeat_it_is_escalated_again_higher_each_time_until_it_is_resolved() {
    let folder = tempfile::tempdir().unwrap();
    let plugins =
        Plugins::new().with_sidecar("tell", "two-roles", &format!("{ESCALATES}repeat = \"1h\"\n"));
    let inside = Inside::start(&folder, &plugins, &noon()).await;
    inside.publish(&reacted("s-1")).await;
    inside.unresolved(1).await;
    inside.pass(15);
    for (count, priority) in [(1, "action"), (2, "urgent"), (3, "critical"), (4, "critical")] {
        let log = inside.until("reaction_escalated", count).await;
        let escalated = of_type(&log, "reaction_escalated");
        assert_eq!(escalated.len(), count, "one for each time");
        assert_eq!(escalated[count - 1]["priority"], priority);
        assert_eq!(escalated[count - 1]["data"]["times"], count);
        inside.pass(60);
    }
    let log = inside.until("reaction_escalated", 5).await;
    assert_eq!(of_type(&log, "reaction_escalated").len(), 5);
    let mut passing = event("ci_passing");
    passing["session_id"] = "s-1".into();
    inside.publish(&passing).await;
    inside.pass(60);
    inside.unresolved(0).await;
    assert_eq!(of_type(&inside.log().await, "reaction_escalated").len(), 5);
}

#[tokio::test]
async fn an_escalation_survives_a_kill_and_comes_once() {
    let sidecar = ESCALATES.replace("15m", "1s");
    let plugins = Plugins::new().with_sidecar("tell", "two-roles", &sidecar);
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    for n in 0..40 {
        host.publish(&reacted(&format!("s-{n}"))).await;
    }
    host.settled().await;
    host.kill();
    // Killed again and again while it escalates.
    let mut most = 0;
    while most < 40 {
        let host = setup.start();
        most = eventually("some more escalations", async || {
            let count = of_type(&host.log().await, "reaction_escalated").len();
            (count > most).then_some(count)
        })
        .await;
        host.kill();
    }
    let host = setup.start();
    host.settled().await;
    let log = host.log().await;
    let escalated = of_type(&log, "reaction_escalated");
    let mut sessions: Vec<_> = escalated.iter().map(|e| e["session_id"].to_string()).collect();
    sessions.sort_unstable();
    sessions.dedup();
    assert_eq!((escalated.len(), sessions.len()), (40, 40));
}

/// An event that is `seconds` after noon.
fn at(second: u64, session: &str) -> Value {
    let mut event = reacted(session);
    event["timestamp"] = format!("2026-08-01T12:00:{second:02}Z").into();
    event
}

async fn acted_on(host: &Host) -> Vec<Value> {
    host.settled().await;
    let log = host.log().await;
    let seq = |id: &Value| log.iter().find(|e| e["id"] == *id).unwrap()["seq"].clone();
    of_type(&log, "reaction_triggered").iter().map(|e| seq(&e["data"]["event_id"])).collect()
}

#[tokio::test]
async fn with_a_threshold_only_the_last_of_so_many_within_a_time_is_seen() {
    let sidecar = "subscribe = [\"ennio.ci.>\"]\n[capabilities]\nemit = [\"ennio.custom.>\"]\n\
         [reaction]\nthreshold = { count = 3, within = \"10s\" }\n";
    let plugins = Plugins::new().with_sidecar("tell", "two-roles", sidecar);
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    // 1, 2 and 4 are three of a session within ten seconds; 3 is of another one.
    for event in [at(0, "s-1"), at(4, "s-1"), at(5, "s-2"), at(10, "s-1")] {
        host.publish(&event).await;
    }
    assert_eq!(acted_on(&host).await, [4]);
    // Seen or not, and whatever it did: counting begins anew, over a kill as well.
    host.kill();
    let host = setup.start();
    let head = host.get("/v1/status").await.1["head"].as_u64().unwrap();
    for event in [at(11, "s-1"), at(12, "s-1")] {
        host.publish(&event).await;
    }
    assert_eq!(acted_on(&host).await, [4], "two are not three");
    host.publish(&at(13, "s-1")).await;
    assert_eq!(acted_on(&host).await, [4, head + 3]);
    // Three, but not within ten seconds.
    for event in [at(20, "s-3"), at(21, "s-3"), at(31, "s-3")] {
        host.publish(&event).await;
    }
    assert_eq!(acted_on(&host).await.len(), 2);
}

fn echo() -> Value {
    let mut event = event("pr_created");
    event["data"] = json!({"echo": true});
    event
}

#[tokio::test]
async fn a_loop_ends_in_a_dead_letter_that_names_the_whole_chain() {
    let plugins = Plugins::new().with_sidecar("ping", "echo-reaction", MAY_EMIT);
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let (_, first) = host.publish(&echo()).await;
    let letters = eventually("a dead letter", async || {
        let (_, page) = host.get("/v1/dead-letters").await;
        page["dead_letters"].as_array().filter(|letters| !letters.is_empty()).cloned()
    })
    .await;
    let reason = letters[0]["reason"].as_str().unwrap();
    let log = host.log().await;
    let mut chain = format!("pr_created {}", first["id"].as_str().unwrap());
    for entry in of_type(&log, "custom.echo") {
        chain.push_str(&format!(" -> ping: custom.echo {}", entry["id"].as_str().unwrap()));
    }
    assert!(reason.contains(&format!("(the chain: {chain})")), "{reason}");
    assert_eq!(of_type(&log, "custom.echo").len(), 16);
}

#[tokio::test]
async fn a_plugin_that_answers_itself_in_width_is_stopped_before_its_hops_are() {
    let plugins = Plugins::new().with_sidecar("ping", "echo-reaction", MAY_EMIT);
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    // Two for each: 65,536 after sixteen hops. The first are no answers to its own.
    let mut bomb = echo();
    bomb["data"]["times"] = 2.into();
    host.publish(&bomb).await;
    host.settled().await;
    let echoes = of_type(&host.log().await, "custom.echo").len();
    assert_eq!(echoes, 2 + 2 * 64);
    let (_, page) = host.get("/v1/dead-letters?limit=500").await;
    let letters = page["dead_letters"].as_array().unwrap();
    assert_eq!(letters.len(), echoes - 64, "what was not answered");
    for letter in letters {
        let reason = letter["reason"].as_str().unwrap();
        assert!(reason.contains("64 times within 60 s"), "{reason}");
        assert!(reason.contains("(the chain: pr_created"), "{reason}");
    }
    // Of another event it may answer as many.
    host.publish(&echo()).await;
    host.settled().await;
    assert_eq!(of_type(&host.log().await, "custom.echo").len(), echoes + 16);
}
