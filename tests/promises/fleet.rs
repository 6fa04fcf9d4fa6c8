//! What a host tells of itself over NATS: changes on the dashboard, its figures, and that it comes, is
//! alive and goes.

use async_nats::{
    Subscriber,
    jetstream::{self, stream},
};
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::{
    harness::{PATIENCE, Plugins, Setup, event, eventually, numbered},
    nats_server::NatsServer,
};

async fn listen(server: &NatsServer, subject: &str) -> Subscriber {
    let client = async_nats::connect(server.url()).await.unwrap();
    let messages = client.subscribe(subject.to_owned()).await.unwrap();
    client.flush().await.unwrap();
    messages
}

/// The subject and the body of the next message.
async fn next(messages: &mut Subscriber) -> (String, Value) {
    let message = tokio::time::timeout(PATIENCE, messages.next()).await.unwrap().unwrap();
    (message.subject.to_string(), serde_json::from_slice(&message.payload).unwrap())
}

/// The first message that is as wanted.
async fn first(messages: &mut Subscriber, wanted: impl Fn(&str, &Value) -> bool) -> Value {
    let search = async {
        loop {
            let (subject, body) = next(messages).await;
            if wanted(&subject, &body) {
                return body;
            }
        }
    };
    tokio::time::timeout(PATIENCE, search).await.unwrap()
}

fn told(server: &NatsServer, more: &str) -> Setup {
    Setup::new().config(&format!("[nats]\nurl = \"{}\"\n{more}", server.url()))
}

#[tokio::test]
async fn every_change_of_a_plugin_is_told_on_the_dashboard() {
    // A stream hears what is said before anybody else is back.
    let mut server = NatsServer::jetstream();
    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let config = stream::Config {
        name: "DASHBOARD".into(),
        subjects: vec!["acme.dashboard.*".into()],
        ..stream::Config::default()
    };
    context.create_stream(config).await.unwrap();
    let plugins = Plugins::new().with("tag", "tag-v1");
    let more = "prefix = \"acme\"\nmetrics_interval = \"0s\"\n[node]\nname = \"build-3\"\n";
    let setup = told(&server, more).plugins(plugins.path());
    let host = setup.start();
    let mut heard = 0;
    let mut is = async |action: &str| {
        heard += 1;
        let message = eventually(action, async || {
            context.get_stream("DASHBOARD").await.ok()?.get_raw_message(heard).await.ok()
        })
        .await;
        let change: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(message.subject.as_str(), format!("acme.dashboard.{action}"), "{change}");
        assert_eq!(json!([change["action"], change["node"]]), json!([action, "build-3"]));
        assert!(change["at"].is_string(), "{change}");
        change
    };
    let change = is("plugin_loaded").await;
    assert_eq!(json!([change["plugin"], change["version"]]), json!(["tag", "1.0.0"]));
    plugins.write("tag.wasm", "not a component");
    let change = is("plugin_failed").await;
    assert_eq!(json!([change["plugin"], change["step"]]), json!(["tag", "compile"]));
    assert!(change["reason"].as_str().unwrap().contains("not WebAssembly"), "{change}");

    plugins.install("tag", "tag-v2-fails");
    let change = is("plugin_reloaded").await;
    assert_eq!(change["version"], "2.0.0");
    let mut poison = event("activity_changed");
    poison["message"] = "poison".into();
    host.publish(&poison).await;
    let change = is("plugin_rolled_back").await;
    assert_eq!(change["version"], "1.0.0");
    let reason = change["reason"].as_str().unwrap();
    assert!(reason.contains("version 2.0.0") && reason.contains("trapped"), "{reason}");

    assert_eq!(host.order("tag", "reload").await.0, 200);
    is("plugin_reloaded").await;
    assert_eq!(host.order("tag", "rollback").await.0, 200);
    assert!(is("plugin_rolled_back").await["reason"].as_str().unwrap().contains("by the API"));
    host.order("tag", "disable").await;
    let change = is("plugin_disabled").await;
    assert_eq!(json!([change["plugin"], change["by"]]), json!(["tag", "the API"]));
    host.order("tag", "enable").await;
    is("plugin_enabled").await;

    plugins.install("trap", "trap-on-poison");
    assert_eq!(is("plugin_loaded").await["plugin"], "trap");
    host.publish_lines(&vec![poison.clone(); 5]).await;
    let change = is("plugin_quarantined").await;
    assert_eq!(json!([change["plugin"], change["seconds"]]), json!(["trap", 1.0]), "{change}");
    assert!(change["reason"].as_str().unwrap().contains("poison"), "{change}");
    eventually("it takes part again", async || {
        host.publish(&event("activity_changed")).await;
        let trap = host.plugin("trap").await.unwrap();
        (trap["state"] == "running").then_some(())
    })
    .await;
    is("plugin_recovered").await;

    // What happens while the server is away is told when it is back.
    server.kill();
    std::fs::remove_file(plugins.file("trap.wasm")).unwrap();
    eventually("it is unloaded", async || host.plugin("trap").await.is_none().then_some(())).await;
    server.start();
    assert_eq!(is("plugin_unloaded").await["plugin"], "trap");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_falls_behind_is_told_of_once_and_once_when_it_has_caught_up() {
    let server = NatsServer::core();
    let mut all = listen(&server, "ennio.dashboard.*").await;
    let plugins = Plugins::new().with_sidecar("slow", "fail-reaction", "[reaction]\nretries = 0\n");
    let more = "metrics_interval = \"0s\"\n[node]\nevents = false\n";
    let setup = told(&server, more).plugins(plugins.path());
    let host = setup.start();
    next(&mut all).await;
    // Its circuit breaker opens again and again, and the reaction waits on its cursor meanwhile.
    let trap = || {
        let mut trap = event("activity_changed");
        trap["message"] = "trap".into();
        trap
    };
    let events: Vec<Value> = (0..8).map(|_| trap()).chain((0..12_000).map(numbered)).collect();
    host.publish_lines(&events).await;
    let mut is = async |action: &str| {
        let is_of_cursors = |subject: &str| subject.starts_with("ennio.dashboard.cursor_");
        let change = first(&mut all, |subject, _| is_of_cursors(subject)).await;
        assert_eq!(change["action"], action, "{change}");
        change
    };
    let lagging = is("cursor_lagging").await;
    assert_eq!(lagging["cursor"], "reaction/slow", "{lagging}");
    let behind = lagging["head"].as_u64().unwrap() - lagging["seq"].as_u64().unwrap();
    assert!(behind > 10_000, "{lagging}");
    let caught_up = is("cursor_caught_up").await;
    assert_eq!(json!([caught_up["cursor"], caught_up["head"]]), json!(["reaction/slow", 12_008]));
}

#[tokio::test]
async fn the_hosts_figures_are_told_again_and_again() {
    let server = NatsServer::core();
    let mut snapshots = listen(&server, "ennio.metrics.*").await;
    let plugins = Plugins::new().with("tag", "tag-v1");
    let more = "metrics_interval = \"100ms\"\n[node]\nname = \"build-3\"\nevents = false\n";
    let setup = told(&server, more).plugins(plugins.path());
    let host = setup.start();
    let (subject, before) = next(&mut snapshots).await;
    assert_eq!(subject, "ennio.metrics.snapshot");
    assert_eq!(
        json!([before["node"], before["status"]["head"]]),
        json!(["build-3", 0]),
        "{before}"
    );
    host.publish_lines(&[event("ci_failing"), event("ci_failing")]).await;
    let accepted = "ennio_events_total{stage=\"accepted\",event_type=\"ci_failing\"}";
    let snapshot = first(&mut snapshots, |_, said| said["figures"][accepted] == 2).await;
    assert!(snapshot["at"].as_str() > before["at"].as_str(), "{snapshot}");
    assert_eq!(snapshot["status"]["head"], 2);
    assert_eq!(snapshot["figures"]["ennio_log_head"], 2);
    assert_eq!(snapshot["figures"]["ennio_plugin_events_total{plugin=\"tag\"}"], 2);
    // The same names as Prometheus has.
    let (_, metrics) = host.get("/metrics").await;
    let scraped = metrics.as_str().unwrap();
    for name in snapshot["figures"].as_object().unwrap().keys() {
        assert!(scraped.contains(name), "{name}: {scraped}");
    }
}

#[tokio::test]
async fn a_host_tells_that_it_comes_is_alive_and_goes_as_events_on_its_own_subject() {
    let mut server = NatsServer::core();
    server.kill();
    let more = "metrics_interval = \"0s\"\n[node]\nname = \"build-3\"\nproject = \"fleet\"\n\
                health_check = \"100ms\"\n";
    let setup = told(&server, more);
    let host = setup.start();
    host.publish(&event("ci_failing")).await;
    assert_eq!(host.log().await.len(), 1, "it has joined nothing yet");
    server.start();
    let mut events = listen(&server, "ennio.node.build-3.*").await;
    eventually("it joins", async || (host.log().await.len() > 1).then_some(())).await;
    let joined = host.log().await[1].clone();
    assert_eq!(joined["event_type"], "node_connected");
    assert_eq!(joined["data"]["host"], "build-3");
    assert_eq!(json!([joined["project_id"], joined["session_id"]]), json!(["fleet", "build-3"]));
    let is_alive = |subject: &str| subject == "ennio.node.build-3.health_check";
    let alive = first(&mut events, |subject, _| is_alive(subject)).await;
    let data = &alive["data"];
    assert!(data["resident_bytes"].as_u64() > Some(1 << 20), "{data}");
    assert_eq!(data["nats"], "publishing");
    assert!(data["head"].as_u64() >= Some(2) && data["uptime_seconds"].is_u64(), "{data}");

    assert!(host.interrupt().contains("everything accepted is on disk"));
    let gone = first(&mut events, |subject, _| !is_alive(subject)).await;
    assert_eq!(gone["event_type"], "node_disconnected");
    assert_eq!(gone["message"], "node build-3 disconnected");
    let database = rusqlite::Connection::open(setup.database()).unwrap();
    let sql = "SELECT event_type FROM events ORDER BY seq DESC LIMIT 1";
    let last: String = database.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(last, "node_disconnected", "and nothing comes behind it");
}

#[tokio::test]
async fn a_host_without_nats_or_that_was_told_not_to_tells_nothing_of_itself() {
    let server = NatsServer::core();
    let mut all = listen(&server, "ennio.>").await;
    let setups = [Setup::new().publishing_to(&server.url()), Setup::new()];
    let [quiet, alone] = setups.each_ref().map(Setup::start);
    for host in [&quiet, &alone] {
        host.publish(&event("ci_failing")).await;
    }
    let (subject, _) = next(&mut all).await;
    assert_eq!(subject, "ennio.ci.atlas.failing", "the first thing that is said");
    quiet.interrupt();
    let log = alone.log().await;
    assert_eq!(log.len(), 1);
    let name = alone.get("/v1/status").await.1["node"].clone();
    assert!(!name.as_str().unwrap().is_empty(), "it has a name all the same");
}

#[tokio::test]
async fn changes_are_server_sent_events_as_well_without_nats() {
    let plugins = Plugins::new();
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let answer = reqwest::get(format!("{}/v1/dashboard", host.url)).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut stream = answer.bytes_stream();
    plugins.install("tag", "tag-v1");
    let mut said = String::new();
    while !said.ends_with("\n\n") {
        let piece = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap();
        said.push_str(std::str::from_utf8(&piece).unwrap());
    }
    let data = said.strip_prefix("event: plugin_loaded\ndata: ").unwrap();
    let change: Value = serde_json::from_str(data).unwrap();
    assert_eq!(json!([change["plugin"], change["version"]]), json!(["tag", "1.0.0"]), "{change}");
    assert!(
        host.interrupt().contains("everything accepted is on disk"),
        "the stream holds nobody up"
    );
}
