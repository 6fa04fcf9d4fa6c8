//! `ennio replay --to-plugin`: a reaction comes back to history, and what it did is not done to the log
//! again. `notify-webhook` posts to a server of the test's, which so sees every reaction.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};

use crate::harness::{Host, Plugins, Reply, Server, Setup, ennio, event, eventually, numbered};

/// A plugin folder whose `notify` posts urgent events to `server`.
fn posting(server: &Server) -> Plugins {
    let sidecar = format!(
        "min_priority = \"urgent\"\n[config]\nurl = {:?}\ntext = \"{{message}}\"\n\
         [capabilities]\nhttp = [\"{}\"]\n",
        server.url("/hook"),
        server.address,
    );
    Plugins::new().with_sidecar("notify", "notify-webhook", &sidecar)
}

/// A server that answers each request as `is_well` says at that moment.
async fn fickle(unwell: fn() -> Reply) -> (Server, Arc<AtomicBool>) {
    let is_well = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&is_well);
    let server = Server::start(move |_, _| match flag.load(Ordering::SeqCst) {
        true => Reply::ok("ok"),
        false => unwell(),
    })
    .await;
    (server, is_well)
}

/// The messages that were posted, in their order.
fn posted(server: &Server) -> Vec<String> {
    let text = |body: &str| -> String {
        let body: Value = serde_json::from_str(body).unwrap();
        body["text"].as_str().unwrap().to_owned()
    };
    server.seen().iter().map(|seen| text(&seen.body)).collect()
}

fn urgent(number: usize) -> Value {
    let mut event = numbered(number);
    event["priority"] = "urgent".into();
    event
}

fn replay(state: &Path, host: &Host, words: &[impl AsRef<std::ffi::OsStr>]) -> Child {
    let mut command = ennio();
    command.arg("replay").args(words).env("XDG_STATE_HOME", state).env("ENNIO_URL", &host.url);
    command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Its exit code and what it said. Waits elsewhere: a server of the test's has to go on meanwhile.
async fn end_of(child: Child) -> (i32, String) {
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await;
    let output = ended.unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn a_reaction_gets_its_part_of_history_once_more_in_order_and_the_log_stays_as_it_is() {
    let (server, _) = fickle(|| Reply::status(500)).await;
    let plugins = posting(&server);
    plugins.write("both.toml", "[capabilities]\nemit = [\"ennio.custom.>\"]\n");
    plugins.install("both", "two-roles");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let mut events: Vec<Value> = (0..600).map(numbered).collect();
    for number in (0..600).step_by(5) {
        events[number] = urgent(number);
    }
    events[10]["message"] = "chatty, so it is hidden".into();
    events[11]["message"] = "react to this".into();
    host.publish_lines(&events).await;
    host.settled().await;
    let first = posted(&server);
    assert_eq!(first.len(), 119);
    let log = host.log().await;
    let state = tempfile::tempdir().unwrap();
    let (code, said) = end_of(replay(state.path(), &host, &["--to-plugin", "notify"])).await;
    assert_eq!(code, 0, "{said}");
    let more = log.len() - 1 - 119;
    let expected = format!("done, 119 events, {more} more are not for it");
    assert!(said.contains(&expected), "{said}");
    eventually("all of it was posted again", async || {
        (posted(&server).len() == 2 * first.len()).then_some(())
    })
    .await;
    assert_eq!(posted(&server)[first.len()..], first);
    // What this one emits has the id that it had, and is in the log.
    let (code, said) = end_of(replay(state.path(), &host, &["--to-plugin", "both"])).await;
    assert_eq!(code, 0, "{said}");
    host.plugin_where("both", "nothing waits", |plugin| plugin["waiting"] == 0).await;
    host.settled().await;
    assert_eq!(host.log().await, log);
}

#[tokio::test]
async fn a_dead_letter_of_history_is_tried_again() {
    let (server, is_well) = fickle(|| Reply::Answer(400, "", "no".into())).await;
    let plugins = posting(&server);
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    is_well.store(false, Ordering::SeqCst);
    host.publish_lines(&[urgent(1), urgent(2)]).await;
    host.plugin_where("notify", "two dead letters", |plugin| plugin["dead_letters"] == 2).await;
    is_well.store(true, Ordering::SeqCst);
    let state = tempfile::tempdir().unwrap();
    let words = ["--to-plugin", "notify", "--to", "1"];
    let (code, said) = end_of(replay(state.path(), &host, &words)).await;
    assert_eq!(code, 0, "{said}");
    host.plugin_where("notify", "one dead letter", |plugin| {
        plugin["dead_letters"] == 1 && plugin["waiting"] == 0
    })
    .await;
    assert_eq!(posted(&server), ["event 1", "event 2", "event 1"]);
}

#[tokio::test]
async fn a_reaction_that_stands_still_is_not_flooded_and_its_replay_can_be_interrupted() {
    const EVENTS: usize = 1300;
    let (server, is_well) = fickle(|| Reply::Silence).await;
    let plugins = posting(&server);
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let events: Vec<Value> = (0..EVENTS).map(urgent).collect();
    host.publish_lines(&events).await;
    host.settled().await;
    let log = host.log().await;
    assert_eq!(posted(&server).len(), EVENTS);
    is_well.store(false, Ordering::SeqCst);
    let state = tempfile::tempdir().unwrap();
    let child = replay(state.path(), &host, &["--to-plugin", "notify"]);
    let full = |plugin: &Value| plugin["waiting"].as_u64() >= Some(1000);
    let notify = host.plugin_where("notify", "no room for history", full).await;
    assert_eq!((&notify["waiting"], &notify["waiting_full"]), (&json!(1000), &json!(false)));
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let (code, said) = end_of(child).await;
    assert_eq!(code, 130, "{said}");
    let way_on = said.lines().find_map(|line| line.trim().strip_prefix("ennio replay ")).unwrap();
    let words: Vec<&str> = way_on.split(' ').collect();
    is_well.store(true, Ordering::SeqCst);
    let (code, said) = end_of(replay(state.path(), &host, &words)).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("done, 1,300 events"), "{said}");
    host.plugin_where("notify", "nothing waits", |plugin| plugin["waiting"] == 0).await;
    let again: BTreeSet<String> = posted(&server).split_off(EVENTS).into_iter().collect();
    assert_eq!(again.len(), EVENTS, "every event was posted again");
    assert_eq!(host.log().await, log);
}

#[tokio::test]
async fn only_a_reaction_that_runs_is_handed_history() {
    let plugins = Plugins::new().with("quiet", "drop-chatty").with("echo", "echo-reaction");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    host.publish(&event("ci_failing")).await;
    host.settled().await;
    host.order("echo", "disable").await;
    let state = tempfile::tempdir().unwrap();
    for (name, part) in [
        ("nobody", "there is no plugin nobody (`ennio plugin list` shows those that are)"),
        (
            "quiet",
            "quiet is no reaction that runs (disabled, not loaded, or a plugin of another kind)",
        ),
        ("echo", "echo is no reaction that runs"),
    ] {
        let (code, said) = end_of(replay(state.path(), &host, &["--to-plugin", name])).await;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    for (body, expected) in [("{\"events\":[1],\"more\":1}", 400), ("[]", 400), ("{}", 400)] {
        let url = format!("{}/v1/plugins/echo/replay", host.url);
        let answer = reqwest::Client::new().post(url).body(body).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{body}");
    }
}
