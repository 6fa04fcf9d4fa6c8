//! What fails waits by itself, and what keeps failing is a dead letter: with every attempt, to be
//! looked at, tried again and thrown away, over the API and the CLI. `notify-webhook` posts to a server
//! of the test's, which says what fails.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};

use crate::harness::{Host, Plugins, Reply, Server, Setup, ennio, event, eventually};

/// A plugin folder whose `notify` posts every event of a session to `server`.
fn posting(server: &Server, more: &str) -> (Plugins, Setup) {
    let plugins = Plugins::new();
    write_sidecar(&plugins, server, more);
    plugins.install("notify", "notify-webhook");
    let setup = Setup::new().plugins(plugins.path());
    (plugins, setup)
}

fn write_sidecar(plugins: &Plugins, server: &Server, more: &str) {
    let sidecar = format!(
        "subscribe = [\"ennio.sessions.>\"]\nmin_priority = \"info\"\n[config]\nurl = {:?}\ntext = \"{{message}}\"\n\
         [capabilities]\nhttp = [\"{}\"]\n{more}",
        server.url("/hook"),
        server.address,
    );
    plugins.write("notify.toml", sidecar);
}

fn saying(session: &str, message: &str) -> Value {
    let mut event = event("activity_changed");
    event["session_id"] = session.into();
    event["message"] = message.into();
    event
}

/// The messages that were posted, in their order.
fn posted(server: &Server) -> Vec<String> {
    let text = |body: &str| -> String {
        let body: Value = serde_json::from_str(body).unwrap();
        body["text"].as_str().unwrap().to_owned()
    };
    server.seen().iter().map(|seen| text(&seen.body)).collect()
}

async fn letters(host: &Host, query: &str) -> Vec<Value> {
    let (status, mut page) = host.get(&format!("/v1/dead-letters{query}")).await;
    assert_eq!(status, 200, "{page}");
    serde_json::from_value(page["dead_letters"].take()).unwrap()
}

/// `notify`, once it has so many dead letters.
async fn with_letters(host: &Host, count: u64) -> Value {
    host.plugin_where("notify", "its dead letters", |plugin| plugin["dead_letters"] == count).await
}

/// Asks the API to do something; its status and its answer.
async fn ask(host: &Host, method: reqwest::Method, path: &str) -> (u16, Value) {
    let request = reqwest::Client::new().request(method, format!("{}{path}", host.url));
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

/// Runs `ennio dead-letters …`; exit code, stdout, stderr.
async fn cli(host: &Host, arguments: &[&str]) -> (i32, String, String) {
    let mut command = ennio();
    command.arg("dead-letters").args(arguments).env("ENNIO_URL", &host.url);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A server that fails on what contains `bad`, until it is mended.
async fn fickle() -> (Server, Arc<AtomicBool>) {
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    let server = Server::start(move |request, _| {
        match request.body.contains("bad") && !is_mended.load(Ordering::Relaxed) {
            true => Reply::status(500),
            false => Reply::ok("ok"),
        }
    })
    .await;
    (server, mended)
}

/// A server that refuses what contains `bad` with these headers.
async fn away(headers: &'static str) -> Server {
    Server::start(move |request, _| match request.body.contains("bad") {
        true => Reply::Answer(503, headers, String::new()),
        false => Reply::ok("ok"),
    })
    .await
}

#[tokio::test]
async fn an_event_that_waits_for_its_retry_does_not_hold_up_those_behind_it() {
    let server = away("retry-after: 3600\r\n").await;
    let (_plugins, setup) = posting(&server, "");
    let host = setup.start();
    for message in ["bad", "next", "the one after"] {
        host.publish(&saying("s-1", message)).await;
    }
    let wanted = ["bad", "next", "the one after"];
    eventually("all three", async || (posted(&server) == wanted).then_some(())).await;
    let done = |plugin: &Value| plugin["cursor"].as_u64() >= Some(3) && plugin["waiting"] == 1;
    let plugin = host.plugin_where("notify", "one waits", done).await;
    assert_eq!(plugin["dead_letters"], 0);
    assert_eq!(host.get("/v1/status").await.1["waiting"], 1);
    let (_, metrics) = host.get("/metrics").await;
    let metrics = metrics.as_str().unwrap();
    assert!(metrics.contains("ennio_reaction_waiting_events{plugin=\"notify\"} 1"), "{metrics}");
}

#[tokio::test]
async fn what_is_ordered_holds_back_its_own_key_alone_and_goes_on_in_order() {
    for (ordered, same, other) in
        [("session", "s-1", ("s-2", "atlas")), ("project", "s-2", ("s-1", "borealis"))]
    {
        let (server, mended) = fickle().await;
        // Until it is mended, and then soon.
        let more = format!("[reaction]\nretries = 100\nordered = \"{ordered}\"\n");
        let (_plugins, setup) = posting(&server, &more);
        let host = setup.start();
        host.publish(&saying("s-1", "bad")).await;
        let mut events = vec![saying(same, "behind 1"), saying(same, "behind 2")];
        let mut free = saying(other.0, "free");
        free["project_id"] = other.1.into();
        events.push(free);
        for event in &events {
            host.publish(event).await;
        }
        eventually("the other key", async || {
            posted(&server).contains(&"free".into()).then_some(())
        })
        .await;
        host.plugin_where("notify", "three wait", |plugin| plugin["waiting"] == 3).await;
        let early = posted(&server);
        assert!(!early.iter().any(|message| message.starts_with("behind")), "{early:?}");
        mended.store(true, Ordering::Relaxed);
        host.settled().await;
        let mut all = posted(&server);
        all.retain(|message| message != "free");
        all.dedup();
        assert_eq!(all, ["bad", "behind 1", "behind 2"], "{ordered}");
        assert!(letters(&host, "").await.is_empty());
    }
}

#[tokio::test]
async fn a_dead_letter_has_its_event_and_every_attempt() {
    let (server, _) = fickle().await;
    let (_plugins, setup) = posting(&server, "[reaction]\nretries = 3\n");
    let host = setup.start();
    let (_, receipt) = host.publish(&saying("s-1", "bad")).await;
    with_letters(&host, 1).await;
    let listed = letters(&host, "").await;
    assert_eq!(listed[0]["event_id"], receipt["id"]);
    assert_eq!(listed[0]["attempts"], 4);
    let (_, letter) = host.get(&format!("/v1/dead-letters/{}", listed[0]["id"])).await;
    assert_eq!(letter["event"]["message"], "bad");
    let history = letter["history"].as_array().unwrap();
    let numbers: Vec<_> = history.iter().map(|attempt| attempt["attempt"].clone()).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    for attempt in history {
        assert!(attempt["error"].as_str().unwrap().contains("500"), "{attempt}");
        assert!(attempt["at"].as_str().unwrap().ends_with('Z'), "{attempt}");
    }
    assert_eq!(posted(&server).len(), 4);

    let id = listed[0]["id"].to_string();
    let (code, shown, error) = cli(&host, &["show", &id]).await;
    assert_eq!(code, 0, "{error}");
    assert!(shown.starts_with(&format!("dead letter {id} of notify, 4 attempts")), "{shown}");
    assert!(shown.contains("message    bad"), "{shown}");
    let (_, json, _) = cli(&host, &["show", &id, "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), letter);
    let (_, metrics) = host.get("/metrics").await;
    assert!(metrics.as_str().unwrap().contains("ennio_dead_letters{plugin=\"notify\"} 1"));
}

#[tokio::test]
async fn dead_letters_are_retried_and_discarded_by_number_plugin_pattern_and_all() {
    let (server, mended) = fickle().await;
    let (_plugins, setup) = posting(&server, "[reaction]\nretries = 0\n");
    let host = setup.start();
    for n in 1..=6 {
        let mut event = saying("s-1", &format!("bad {n}"));
        event["project_id"] = if n % 2 == 0 { "even" } else { "odd" }.into();
        host.publish(&event).await;
    }
    with_letters(&host, 6).await;
    let page = letters(&host, "?limit=2&after=1&plugin=notify").await;
    assert_eq!(page.iter().map(|letter| &letter["id"]).collect::<Vec<_>>(), [2, 3]);
    let even = letters(&host, "?subject=ennio.sessions.even.*").await;
    assert_eq!(even.len(), 3, "{even:?}");
    let (code, lines, _) =
        cli(&host, &["list", "--subject", "ennio.sessions.odd.>", "--json"]).await;
    assert_eq!((code, lines.lines().count()), (0, 3));

    // It dies again: another number, and the attempts of both lives.
    let (status, told) = ask(&host, reqwest::Method::POST, "/v1/dead-letters/1/retry").await;
    assert_eq!((status, told), (200, json!({"retried": 1, "left": 0})));
    let again = eventually("its second death", async || {
        letters(&host, "").await.into_iter().find(|letter| letter["id"] == 7)
    })
    .await;
    assert_eq!((&again["event_seq"], &again["attempts"]), (&json!(1), &json!(1)));
    let (_, whole) = host.get("/v1/dead-letters/7").await;
    assert_eq!(whole["history"].as_array().unwrap().len(), 2);
    assert_eq!(host.get("/v1/dead-letters/1").await.0, 404);

    mended.store(true, Ordering::Relaxed);
    let (code, words, error) = cli(&host, &["retry", "7", "3"]).await;
    assert_eq!((code, &*words), (0, "2 are tried again\n"), "{error}");
    let path = "/v1/dead-letters/retry?subject=ennio.sessions.even.%3E&plugin=notify";
    let (status, told) = ask(&host, reqwest::Method::POST, path).await;
    assert_eq!((status, told), (200, json!({"retried": 3, "left": 0})));
    with_letters(&host, 1).await;
    host.settled().await;
    assert_eq!(posted(&server).len(), 6 + 1 + 5);

    let (code, json, _) = cli(&host, &["discard", "--all", "--json"]).await;
    assert_eq!((code, &*json), (0, "{\"discarded\":1}\n"));
    assert!(letters(&host, "").await.is_empty());
    assert_eq!(host.events().await.len(), 6, "events stay");
}

#[tokio::test]
async fn what_is_not_there_or_not_said_is_refused_with_the_way_out() {
    let host = Setup::new().start();
    for (method, path, status, words) in [
        (reqwest::Method::GET, "/v1/dead-letters/7", 404, "there is no dead letter 7"),
        (reqwest::Method::POST, "/v1/dead-letters/7/retry", 404, "there is no dead letter 7"),
        (reqwest::Method::DELETE, "/v1/dead-letters/7", 404, "there is no dead letter 7"),
        (reqwest::Method::GET, "/v1/dead-letters/x", 400, "is not the number of a dead letter"),
        (reqwest::Method::DELETE, "/v1/dead-letters", 400, "give plugin, subject or all=true"),
        (reqwest::Method::POST, "/v1/dead-letters/retry", 400, "give plugin, subject or all=true"),
        (reqwest::Method::GET, "/v1/dead-letters?plugn=x", 400, "did you mean `plugin`?"),
    ] {
        let (found, problem) = ask(&host, method, path).await;
        assert_eq!(found, status, "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{path}: {problem}");
    }
    let (code, _, error) = cli(&host, &["show", "7"]).await;
    assert_eq!(code, 1);
    assert!(error.contains("there is no dead letter 7"), "{error}");
    assert_eq!(cli(&host, &["discard"]).await.0, 2);
    assert_eq!(cli(&host, &["retry", "1", "--all"]).await.0, 2);
}

#[tokio::test]
async fn a_kill_between_attempts_loses_neither_the_attempts_nor_the_event() {
    let server = away("retry-after: 1\r\n").await;
    let (_plugins, setup) = posting(&server, "[reaction]\nretries = 5\n");
    let mut host = setup.start();
    host.publish(&saying("s-1", "bad")).await;
    for attempts in 1..=4 {
        eventually("an attempt on disk", async || {
            let database = rusqlite::Connection::open(setup.database()).unwrap();
            let sql = "SELECT attempts FROM reaction_waiting WHERE plugin = 'notify'";
            database.query_row(sql, [], |row| row.get::<_, i64>(0)).ok().filter(|n| *n >= attempts)
        })
        .await;
        host.kill();
        host = setup.start();
    }
    with_letters(&host, 1).await;
    let (_, letter) = host.get("/v1/dead-letters/1").await;
    let history = letter["history"].as_array().unwrap();
    let numbers: Vec<_> = history.iter().map(|attempt| attempt["attempt"].clone()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6], "{letter}");
}

#[tokio::test]
async fn a_dead_letter_of_a_plugin_that_is_not_loaded_waits_for_it() {
    let (server, mended) = fickle().await;
    let (plugins, setup) = posting(&server, "[reaction]\nretries = 0\n");
    let host = setup.start();
    host.publish(&saying("s-1", "bad")).await;
    with_letters(&host, 1).await;
    std::fs::remove_file(plugins.file("notify.wasm")).unwrap();
    eventually("the plugin is gone", async || host.plugin("notify").await.is_none().then_some(()))
        .await;
    mended.store(true, Ordering::Relaxed);
    assert_eq!(cli(&host, &["retry", "--plugin", "notify"]).await.1, "1 is tried again\n");
    assert_eq!(host.get("/v1/status").await.1["waiting"], 1);
    plugins.install("notify", "notify-webhook");
    eventually("it is tried again", async || (posted(&server).len() == 2).then_some(())).await;
    host.settled().await;
    assert!(letters(&host, "").await.is_empty());
}

#[tokio::test]
async fn a_new_plugin_begins_where_its_sidecar_says() {
    let (server, _) = fickle().await;
    let (plugins, setup) = posting(&server, "");
    std::fs::remove_file(plugins.file("notify.wasm")).unwrap();
    let host = setup.start();
    for message in ["one", "two"] {
        host.publish(&saying("s-1", message)).await;
    }
    let second = host.events().await[1]["committed_at"].as_str().unwrap().to_owned();
    for (name, start, expected) in [
        ("all", "beginning", &["one", "two"][..]),
        ("some", &*second, &["two"]),
        ("none", "end", &[]),
    ] {
        let server = Server::start(|_, _| Reply::ok("ok")).await;
        write_sidecar(&plugins, &server, &format!("[reaction]\nstart = {start:?}\n"));
        std::fs::rename(plugins.file("notify.toml"), plugins.file(&format!("{name}.toml")))
            .unwrap();
        plugins.install(name, "notify-webhook");
        host.plugin_where(name, "it has caught up", |plugin| plugin["cursor"].as_u64() >= Some(2))
            .await;
        host.settled().await;
        assert_eq!(posted(&server), expected, "{name}");
    }
}

#[tokio::test]
async fn a_plugin_reacts_to_as_many_events_at_once_as_its_sidecar_says() {
    // Nobody is answered, so all that is seen is under way at once.
    let server = Server::start(|_, _| Reply::Silence).await;
    let more = "[limits]\ndeadline_ms = 60000\n[reaction]\nconcurrency = 3\n";
    let (_plugins, setup) = posting(&server, more);
    let host = setup.start();
    for n in 0..5 {
        host.publish(&saying("s-1", &format!("event {n}"))).await;
    }
    eventually("three at once", async || (posted(&server).len() == 3).then_some(())).await;
    host.kill();
    let host = setup.start();
    eventually("all come again", async || (posted(&server).len() == 6).then_some(())).await;
    assert_eq!(host.plugin("notify").await.unwrap()["cursor"], 0, "none of them is done");
}

#[tokio::test]
async fn what_has_state_reacts_to_one_event_at_a_time() {
    let plugins =
        Plugins::new().with_sidecar("counter", "counter", "[reaction]\nconcurrency = 2\n");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let plugin = host.plugin("counter").await.unwrap();
    assert_eq!(plugin["state"], "failed");
    let error = plugin["load_error"].as_str().unwrap();
    assert!(error.contains("wasi:keyvalue") && error.contains("concurrency"), "{error}");
}
