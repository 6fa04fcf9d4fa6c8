//! Reactions: what they emit is in the log once, with its cause; what fails ends visibly.

use serde_json::{Value, json};

use crate::harness::{Host, Plugins, Setup, event, eventually, numbered};

const MAY_EMIT: &str = "[capabilities]\nemit = [\"ennio.custom.>\"]\n";

fn saying(message: &str) -> Value {
    let mut event = event("activity_changed");
    event["message"] = message.into();
    event
}

fn echo() -> Value {
    let mut event = event("pr_created");
    event["data"] = json!({"echo": true});
    event
}

async fn dead_letters(host: &Host) -> u64 {
    host.get("/v1/status").await.1["dead_letters"].as_u64().unwrap()
}

/// As somebody with a shell would look at them.
fn dead_letters_by_hand(setup: &Setup) -> Vec<(String, i64, String, u32)> {
    let database = rusqlite::Connection::open(setup.database()).unwrap();
    let mut find = database
        .prepare("SELECT plugin, event_seq, reason, attempts FROM dead_letters ORDER BY id")
        .unwrap();
    let rows =
        find.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn a_loop_of_reactions_ends_after_sixteen_hops_in_a_dead_letter() {
    let plugins = Plugins::new().with_sidecar("echo", "echo-reaction", MAY_EMIT);
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let (_, first) = host.publish(&echo()).await;
    eventually("the loop's end", async || (dead_letters(&host).await == 1).then_some(())).await;
    let log = host.log().await;
    assert_eq!(log.len(), 17);
    for (before, entry) in log.iter().zip(log.iter().skip(1)) {
        assert_eq!(entry["caused_by"], json!({"event_id": before["id"], "plugin": "echo"}));
        assert_eq!(entry["hops"].as_u64().unwrap(), before["hops"].as_u64().unwrap() + 1);
        assert_eq!(json!([entry["session_id"], entry["project_id"]]), json!(["s-1", "atlas"]));
    }
    assert_eq!(log[0]["id"], first["id"]);
    let letters = dead_letters_by_hand(&setup);
    assert_eq!((&*letters[0].0, letters[0].1), ("echo", 17));
    assert!(letters[0].2.contains("at most 16 are allowed"), "{}", letters[0].2);
    // The cursor has moved on: the next event is reacted to.
    host.publish(&echo()).await;
    eventually("the second loop's end", async || (dead_letters(&host).await == 2).then_some(()))
        .await;
    assert_eq!(host.log().await.len(), 34);
}

#[tokio::test]
async fn what_was_not_granted_is_not_emitted_and_says_what_to_grant() {
    let plugins = Plugins::new().with("echo", "echo-reaction");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    host.publish(&echo()).await;
    eventually("a dead letter", async || (dead_letters(&host).await == 1).then_some(())).await;
    assert_eq!(host.log().await.len(), 1);
    let letters = dead_letters_by_hand(&setup);
    assert!(letters[0].2.contains("not granted: emit ennio.custom.atlas.echo"), "{}", letters[0].2);
    assert!(letters[0].2.contains("[capabilities] emit in echo.toml"), "{}", letters[0].2);
}

#[tokio::test]
async fn a_failing_reaction_is_tried_again_and_then_a_dead_letter_while_the_rest_goes_on() {
    let plugins =
        Plugins::new().with_sidecar("failing", "fail-reaction", "[reaction]\nretries = 2\n");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    for message in ["fine", "retry me", "fatal for me", "trap now", "fine again"] {
        host.publish(&saying(message)).await;
    }
    host.settled().await;
    let letters = dead_letters_by_hand(&setup);
    let mut summary: Vec<_> = letters.iter().map(|letter| (letter.1, letter.3)).collect();
    summary.sort_unstable();
    assert_eq!(summary, [(2, 3), (3, 1), (4, 3)], "retries, but not of what is fatal: {letters:?}");
    let trapped = letters.iter().find(|letter| letter.1 == 4).unwrap();
    assert!(trapped.2.contains("trapped"), "{}", trapped.2);
}

#[tokio::test]
async fn a_reaction_that_keeps_trapping_is_left_alone_and_loses_no_event() {
    let sidecar = "[reaction]\nretries = 0\n";
    let plugins = Plugins::new().with_sidecar("failing", "fail-reaction", sidecar);
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    for message in ["trap"; 6] {
        host.publish(&saying(message)).await;
    }
    host.plugin_where("failing", "left alone", |plugin| plugin["state"] == "quarantined").await;
    host.publish(&saying("fine")).await;
    host.settled().await;
    assert_eq!(host.plugin("failing").await.unwrap()["state"], "running");
    assert_eq!(dead_letters(&host).await, 6, "each of them was tried, the last after a pause");
}

#[tokio::test]
async fn a_reaction_goes_on_where_it_was_after_a_kill_and_its_effects_happen_once() {
    let plugins = Plugins::new().with_sidecar("both", "two-roles", MAY_EMIT);
    let setup = Setup::new().plugins(plugins.path());
    let mut sent = 0;
    for round in 0..8 {
        let host = setup.start();
        let events: Vec<Value> = (0..100)
            .map(|n| {
                let mut event = numbered(n);
                event["message"] = format!("react {round} {n}").into();
                event
            })
            .collect();
        host.publish_lines(&events).await;
        sent += events.len();
        // Some reactions have happened, most have not.
        let wanted = sent + round * 7;
        eventually("some reactions", async || {
            (host.get("/v1/status").await.1["head"].as_u64()? >= wanted as u64).then_some(())
        })
        .await;
        host.kill();
    }
    let host = setup.start();
    eventually("every reaction", async || {
        (host.get("/v1/status").await.1["head"].as_u64()? >= 2 * sent as u64).then_some(())
    })
    .await;
    host.settled().await;
    let log = host.log().await;
    let (caused, outside): (Vec<_>, Vec<_>) =
        log.iter().partition(|entry| entry["caused_by"].is_object());
    let mut causes: Vec<&str> =
        caused.iter().map(|entry| entry["caused_by"]["event_id"].as_str().unwrap()).collect();
    causes.sort_unstable();
    causes.dedup();
    assert_eq!((outside.len(), caused.len(), causes.len()), (sent, sent, sent));
}

#[tokio::test]
async fn a_new_reaction_plugin_starts_at_the_end_of_the_log() {
    let plugins = Plugins::new();
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    host.publish(&echo()).await;
    plugins.write("echo.toml", MAY_EMIT);
    plugins.install("echo", "echo-reaction");
    host.plugin_where("echo", "the plugin has its cursor", |plugin| plugin["cursor"] == 1).await;
    host.publish(&saying("nothing to echo")).await;
    host.settled().await;
    assert_eq!(host.log().await.len(), 2, "what was before is not reacted to");
}
