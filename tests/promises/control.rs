//! Plugins under an operator's hand: what a bad new version cannot do, what can be undone, and who
//! may give commands.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};

use crate::{
    harness::{Host, Plugins, Setup, ennio, event, eventually, numbered},
    nats_server::NatsServer,
};

fn saying(message: &str) -> Value {
    let mut event = event("activity_changed");
    event["message"] = message.into();
    event
}

/// `ennio plugin COMMAND NAME`: its exit code, and all that it says.
fn by_hand(host: &Host, command: &str, plugin: &str) -> (i32, String) {
    let output = ennio()
        .args(["plugin", command, plugin, "--url", &host.url])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// Waits for a line of the host's log, which comes through a pipe.
async fn said(host: &Host, part: &str) {
    eventually(part, async || host.output().contains(part).then_some(())).await;
}

async fn dead_letters(host: &Host) -> u64 {
    host.get("/v1/status").await.1["dead_letters"].as_u64().unwrap()
}

/// The versions that changed events, with what they changed, in the order of the log.
fn changes(setup: &Setup) -> Vec<(String, String)> {
    let database = rusqlite::Connection::open(setup.database()).unwrap();
    let sql = "SELECT version, detail FROM steps WHERE outcome = 'changed' ORDER BY seq, position";
    let mut find = database.prepare(sql).unwrap();
    let rows = find.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// While events stream in, one of twenty of which the new version breaks down on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_that_traps_or_hangs_is_rolled_back_and_not_one_event_suffers() {
    for (word, reason) in [("poison", "trapped"), ("endless", "missed its deadline of 300 ms")] {
        let sidecar = "on_error = \"drop\"\n[limits]\ndeadline_ms = 300\n";
        let plugins = Plugins::new().with_sidecar("tag", "tag-v1", sidecar);
        let setup = Setup::new().plugins(plugins.path());
        let host = Arc::new(setup.start());
        let first = host.plugin("tag").await.unwrap();
        assert_eq!(json!([first["came_by"], first["previous"]]), json!(["loaded", null]));
        let done = Arc::new(AtomicBool::new(false));
        let stream = tokio::spawn({
            let (host, done) = (Arc::clone(&host), Arc::clone(&done));
            async move {
                let mut sent = 0;
                while !done.load(Ordering::Relaxed) {
                    let lines: Vec<Value> = (sent..sent + 100)
                        .map(|n| {
                            let mut event = numbered(n);
                            if n % 20 == 7 {
                                event["message"] = word.into();
                            }
                            event
                        })
                        .collect();
                    let results = host.publish_lines(&lines).await;
                    assert!(results.iter().all(|receipt| receipt["status"] == "accepted"));
                    sent += lines.len();
                }
                sent
            }
        });
        plugins.install("tag", "tag-v2-fails");
        let tag = host.plugin_where("tag", "rolled back", |p| p["came_by"] == "rolled_back").await;
        assert_eq!(json!([tag["version"], tag["state"]]), json!(["1.0.0", "running"]), "{tag}");
        assert_eq!(json!([tag["loads"], tag["previous"]]), json!([2, null]), "{tag}");
        let error = tag["load_error"].as_str().unwrap();
        assert!(error.contains("probation: version 2.0.0") && error.contains(reason), "{error}");
        // It stays so when the folder is looked at again.
        plugins.install("other", "keep-all");
        host.plugin_where("other", "another look", |plugin| plugin["state"] == "running").await;
        assert_eq!(host.plugin("tag").await.unwrap()["loads"], 2);
        done.store(true, Ordering::Relaxed);
        let sent = stream.await.unwrap();
        said(&host, "plugin tag rolled back to version 1.0.0").await;
        let (_, metrics) = host.get("/metrics").await;
        let line = "ennio_plugin_rollbacks_total{plugin=\"tag\"} 1";
        assert!(metrics.as_str().unwrap().contains(line), "{metrics}");

        let log = host.log().await;
        assert_eq!(log.len(), sent);
        for (n, entry) in log.iter().enumerate() {
            assert_eq!(entry["data"]["n"], n, "in the order in which they were sent");
            assert_eq!(entry["dropped_by"], Value::Null, "on_error met nobody: {entry}");
            let tag = &entry["data"]["tag"];
            assert!(tag == "v1" || (tag == "v2" && entry["message"] != word), "{entry}");
        }
        let changes = changes(&setup);
        assert_eq!(changes.len(), sent);
        for (version, patch) in changes {
            let is_first = first["hash"] == version.as_str();
            assert_eq!(is_first, patch.contains("v1"), "recorded with the version that made it");
        }

        plugins.install("tag", "tag-v2");
        let tag = host.plugin_where("tag", "a repaired version", |p| p["loads"] == 3).await;
        assert_eq!(json!([tag["came_by"], tag["load_error"]]), json!(["reloaded", null]), "{tag}");
    }
}

#[tokio::test]
async fn a_reaction_that_traps_on_probation_leaves_its_event_to_the_version_before() {
    let sidecar = "[capabilities]\nemit = [\"ennio.custom.>\"]\n[reaction]\nretries = 0\n";
    let plugins = Plugins::new().with_sidecar("react", "two-roles", sidecar);
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    plugins.install("react", "react-v2-traps");
    host.plugin_where("react", "the new version", |plugin| plugin["version"] == "2.0.0").await;
    let (_, receipt) = host.publish(&saying("react to this")).await;
    host.plugin_where("react", "rolled back", |plugin| plugin["came_by"] == "rolled_back").await;
    host.settled().await;
    let log = host.events().await;
    assert_eq!(log.len(), 2);
    assert_eq!(log[1]["caused_by"]["event_id"], receipt["id"]);
    assert_eq!(dead_letters(&host).await, 0, "without a single retry");
}

#[tokio::test]
async fn after_its_probation_a_version_is_left_alone_and_can_be_rolled_back_and_reloaded_by_hand() {
    let plugins = Plugins::new().with("tag", "tag-v1");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let (code, said) = by_hand(&host, "rollback", "tag");
    assert_eq!(code, 1);
    assert!(said.contains("no version before"), "{said}");
    assert_eq!(host.order("tag", "rollback").await.0, 409);
    assert_eq!(host.order("tug", "rollback").await.0, 404);
    assert_eq!(host.order("tag", "restart").await.0, 404);
    assert_eq!(host.order("t.g", "reload").await.0, 400);

    plugins.install("tag", "tag-v2-fails");
    let tag = host.plugin_where("tag", "the new version", |plugin| plugin["loads"] == 2).await;
    assert_eq!(tag["probation"]["events"], 1000, "{tag}");
    assert_eq!(tag["previous"]["version"], "1.0.0", "{tag}");
    host.publish_lines(&(0..1000).map(numbered).collect::<Vec<_>>()).await;
    let tag = host.plugin("tag").await.unwrap();
    assert_eq!(json!([tag["probation"], tag["version"]]), json!([null, "2.0.0"]), "{tag}");
    host.publish_lines(&vec![saying("poison"); 20]).await;
    let tag = host.plugin("tag").await.unwrap();
    assert_eq!(json!([tag["state"], tag["came_by"]]), json!(["quarantined", "reloaded"]), "{tag}");

    let (code, said) = by_hand(&host, "rollback", "tag");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("tag: running, version 1.0.0") && said.contains("rolled back"), "{said}");
    assert_eq!(host.publish(&saying("poison")).await.1["status"], "accepted");
    assert_eq!(host.log().await.last().unwrap()["data"]["tag"], "v1");
    let tag = host.plugin("tag").await.unwrap();
    let why = tag["load_error"].as_str().unwrap();
    assert!(why.contains("rolled back by the API"), "{why}");
    assert_eq!(by_hand(&host, "rollback", "tag").0, 1, "one version back is kept");

    let (code, said) = by_hand(&host, "reload", "tag");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("running, version 2.0.0") && said.contains("on probation"), "{said}");
    let tag = host.plugin("tag").await.unwrap();
    assert_eq!(json!([tag["load_error"], tag["failures"]]), json!([null, 0]), "{tag}");

    plugins.write("tag.wasm", "not a component");
    let (status, problem) = host.order("tag", "reload").await;
    assert_eq!((status, &problem["step"]), (422, &json!("compile")), "{problem}");
    let (code, said) = by_hand(&host, "reload", "tag");
    assert_eq!(code, 1);
    assert!(said.contains("compile: not WebAssembly"), "{said}");
    assert_eq!(host.plugin("tag").await.unwrap()["version"], "2.0.0", "what ran still does");
    // What the folder has wins over a rollback that nobody remembers.
    plugins.install("tag", "tag-v2");
    host.order("tag", "rollback").await;
    host.interrupt();
    let tag = setup.start().plugin("tag").await.unwrap();
    assert_eq!(json!([tag["version"], tag["came_by"]]), json!(["2.0.0", "loaded"]), "{tag}");
}

#[tokio::test]
async fn a_disabled_plugin_is_as_if_it_were_not_there_over_new_files_and_restarts() {
    let plugins = Plugins::new().with("quiet", "drop-chatty");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let status = async |host: &Host| host.publish(&saying("chatty")).await.1["status"].clone();
    assert_eq!(status(&host).await, "dropped");
    let (code, said) = by_hand(&host, "disable", "quiet");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("quiet: disabled") && said.contains("disabled by the API"), "{said}");
    assert_eq!(status(&host).await, "accepted");
    let (_, metrics) = host.get("/metrics").await;
    let line = "ennio_plugin_disabled{plugin=\"quiet\"} 1";
    assert!(metrics.as_str().unwrap().contains(line), "{metrics}");
    assert_eq!(host.order("quiet", "reload").await.0, 409, "not before it is enabled");

    // A new file changes nothing.
    plugins.write("quiet.toml", "order = 7\n");
    plugins.install("other", "keep-all");
    host.plugin_where("other", "another look", |plugin| plugin["state"] == "running").await;
    let quiet = host.plugin("quiet").await.unwrap();
    assert_eq!(json!([quiet["state"], quiet["loads"]]), json!(["disabled", 1]), "{quiet}");
    assert_eq!(status(&host).await, "accepted");

    // Nor does a power cut.
    host.kill();
    let host = setup.start();
    let quiet = host.plugin("quiet").await.unwrap();
    assert_eq!(json!([quiet["state"], quiet["hash"]]), json!(["disabled", null]), "{quiet}");
    assert_eq!(quiet["disabled"]["by"], "the API");
    assert_eq!(status(&host).await, "accepted");
    let (code, said) = by_hand(&host, "enable", "quiet");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("quiet: running"), "{said}");
    assert_eq!(status(&host).await, "dropped");
    assert_eq!(host.plugin("quiet").await.unwrap()["order"], 7);
    host.kill();
    assert_eq!(status(&setup.start()).await, "dropped");
}

#[tokio::test]
async fn a_disabled_reaction_continues_from_its_cursor_when_it_is_enabled() {
    let sidecar = "[capabilities]\nemit = [\"ennio.custom.>\"]\n";
    let plugins = Plugins::new().with_sidecar("both", "two-roles", sidecar);
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    host.publish(&saying("react 0")).await;
    host.settled().await;
    assert_eq!(host.order("both", "disable").await.0, 200);
    for n in 1..=5 {
        host.publish(&saying(&format!("react {n}"))).await;
    }
    host.kill();
    let host = setup.start();
    host.publish(&saying("react 6")).await;
    assert_eq!(host.events().await.len(), 8, "nothing was reacted to meanwhile");
    assert_eq!(host.order("both", "enable").await.0, 200);
    eventually("the reactions", async || (host.events().await.len() == 14).then_some(())).await;
    let log = host.events().await;
    let causes = log.iter().filter(|entry| entry["caused_by"].is_object());
    let causes: Vec<&Value> = causes.map(|entry| &entry["caused_by"]["event_id"]).collect();
    let events = log.iter().filter(|entry| entry["caused_by"].is_null());
    assert_eq!(causes, events.map(|entry| &entry["id"]).collect::<Vec<_>>(), "once, in order");
}

#[tokio::test]
async fn commands_over_nats_are_carried_out_when_they_are_allowed_and_refused_when_not() {
    let mut server = NatsServer::core();
    let plugins = Plugins::new().with("quiet", "drop-chatty");
    let setup = Setup::new().plugins(plugins.path());
    let setup = setup.config(&format!(
        "[nats]\nurl = \"{}\"\nprefix = \"acme\"\n\
         commands = [\"status\", \"plugin_disable\", \"plugin_enable\", \"shutdown\"]\n\
         [node]\nevents = false\n",
        server.url()
    ));
    let host = setup.start();
    let client = async_nats::connect(server.url()).await.unwrap();
    let ask = async |command: &str, body: &str| {
        let subject = format!("acme.commands.{command}");
        let answer = client.request(subject, body.to_owned().into()).await.ok()?;
        Some(serde_json::from_slice::<Value>(&answer.payload).unwrap())
    };
    let status = eventually("an answer", async || ask("status", "").await).await;
    assert_eq!(json!([status["ok"], status["result"]["head"]]), json!([true, 0]), "{status}");

    let quiet = ask("plugin_disable", "{\"plugin\":\"quiet\"}").await.unwrap();
    assert_eq!(json!([quiet["ok"], quiet["result"]["state"]]), json!([true, "disabled"]));
    assert_eq!(quiet["result"]["disabled"]["by"], "NATS");
    for (command, body, part) in [
        ("plugin_rollback", "{\"plugin\":\"quiet\"}", "is not allowed over NATS (add it to"),
        ("reload", "", "is not allowed over NATS"),
        ("restart", "", "there is no command \"restart\""),
        ("plugin_disable", "", "needs a plugin"),
        ("plugin_disable", "quiet", "the body of plugin_disable"),
        ("plugin_disable", "{\"plugin\":\"tug\"}", "there is no plugin tug"),
        ("plugin_disable", "{\"plugn\":\"quiet\"}", "unknown field `plugn`"),
    ] {
        let answer = ask(command, body).await.unwrap();
        assert_eq!(answer["ok"], false, "{command} {body}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(part), "{command} {body}: {answer}");
    }
    for part in ["command from NATS: plugin_disable quiet", "command from NATS refused: reload"] {
        said(&host, part).await;
    }

    // After the server was away, and without anybody who waits for the answer.
    server.kill();
    server.start();
    eventually("the host is back", async || ask("status", "").await).await;
    client.publish("acme.commands.plugin_enable", "{\"plugin\":\"quiet\"}".into()).await.unwrap();
    host.plugin_where("quiet", "enabled", |plugin| plugin["state"] == "running").await;
    assert_eq!(ask("shutdown", "").await.unwrap(), json!({"ok": true, "result": null}));
    assert!(host.ended().contains("ennio is stopping: asked to by NATS"));
}

#[tokio::test]
async fn over_nats_a_plugin_is_reloaded_and_rolled_back() {
    let server = NatsServer::core();
    let plugins = Plugins::new().with("tag", "tag-v1");
    let setup = Setup::new().plugins(plugins.path()).config(&format!(
        "[plugins]\nwatch = \"poll\"\nwatch_interval_ms = 3600000\n\
         [nats]\nurl = \"{}\"\ncommands = [\"reload\", \"plugin_rollback\"]\n",
        server.url()
    ));
    let host = setup.start();
    let client = async_nats::connect(server.url()).await.unwrap();
    let ask = async |command: &str, body: &str| {
        let subject = format!("ennio.commands.{command}");
        let answer = client.request(subject, body.to_owned().into()).await.ok()?;
        Some(serde_json::from_slice::<Value>(&answer.payload).unwrap())
    };
    // Nobody looks at the folder but who is told to.
    plugins.install("tag", "tag-v2");
    let all = eventually("an answer", async || ask("reload", "").await).await;
    assert_eq!(all["result"]["plugins"][0]["version"], "2.0.0", "{all}");
    let tag = ask("plugin_rollback", "{\"plugin\":\"tag\"}").await.unwrap();
    assert_eq!(json!([tag["ok"], tag["result"]["version"]]), json!([true, "1.0.0"]), "{tag}");
    let again = ask("plugin_rollback", "{\"plugin\":\"tag\"}").await.unwrap();
    assert!(again["error"].as_str().unwrap().contains("no version before"), "{again}");
    let tag = ask("reload", "{\"plugin\":\"tag\"}").await.unwrap();
    assert_eq!(tag["result"]["version"], "2.0.0", "{tag}");
    for part in ["command from NATS: reload", "command from NATS: plugin_rollback tag"] {
        said(&host, part).await;
    }
}

#[tokio::test]
async fn a_host_that_was_told_nothing_else_lets_nats_ask_for_its_status_alone() {
    let server = NatsServer::core();
    let setup = Setup::new().argument("--nats").argument(&server.url());
    let _host = setup.start();
    let client = async_nats::connect(server.url()).await.unwrap();
    eventually("an answer", async || client.request("ennio.commands.status", "".into()).await.ok())
        .await;
    let refused = client.request("ennio.commands.shutdown", "".into()).await.unwrap();
    let refused: Value = serde_json::from_slice(&refused.payload).unwrap();
    assert!(refused["error"].as_str().unwrap().contains("shutdown is not allowed"), "{refused}");
}

#[tokio::test]
async fn a_reaction_gives_the_commands_that_it_was_granted_and_no_others() {
    let plugins = Plugins::new().with("boss", "command-reaction").with("quiet", "drop-chatty");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let mut letters = 0;
    for (message, sidecar, part) in [
        (
            "command plugin_disable quiet",
            "",
            "not granted: command plugin_disable quiet (add commands = [\"plugin_disable\"] to \
             [capabilities] in boss.toml)",
        ),
        ("command shutdown", "[capabilities]\ncommands = [\"plugin_disable\"]\n", "not granted"),
        ("command restart", "", "there is no command"),
        ("command plugin_disable tug", "", "there is no plugin tug"),
    ] {
        if !sidecar.is_empty() {
            plugins.write("boss.toml", sidecar);
            host.plugin_where("boss", "the grant", |plugin| plugin["loads"] == 2).await;
        }
        host.publish(&saying(message)).await;
        letters += 1;
        eventually("a dead letter", async || (dead_letters(&host).await == letters).then_some(()))
            .await;
        let database = rusqlite::Connection::open(setup.database()).unwrap();
        let sql = "SELECT reason FROM dead_letters ORDER BY id DESC LIMIT 1";
        let reason: String = database.query_row(sql, [], |row| row.get(0)).unwrap();
        assert!(reason.contains(part), "{message}: {reason}");
    }
    assert_eq!(host.plugin("quiet").await.unwrap()["state"], "running");
    host.publish(&saying("command plugin_disable quiet")).await;
    let quiet = host.plugin_where("quiet", "disabled", |p| p["state"] == "disabled").await;
    assert_eq!(quiet["disabled"]["by"], "plugin boss");
    said(&host, "command from plugin boss: plugin_disable quiet").await;
    host.settled().await;
    assert_eq!(dead_letters(&host).await, letters, "and it was no dead letter");

    let output = ennio().args(["plugin", "check"]).arg(plugins.file("boss.wasm")).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("commands  plugin_disable"), "{said}");

    // A trial tells of commands, and gives none.
    let events = setup.folder.path().join("events.ndjson");
    std::fs::write(&events, saying("command plugin_enable quiet").to_string()).unwrap();
    let mut trial = ennio();
    trial.args(["plugin", "test"]).arg(plugins.file("boss.wasm")).arg("--events").arg(&events);
    let output = trial.output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(said.contains("plugin_enable quiet, which is not granted"), "{said}");
}
