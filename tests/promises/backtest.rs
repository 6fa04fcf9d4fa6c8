//! A candidate over the log: what it would have done otherwise than history did, without an effect.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::harness::{Host, Plugins, Reply, Server, Setup, ennio, eventually, guest};

const EMITS: &str = "[capabilities]\nemit = [\"ennio.custom.>\"]\n";

/// The exit code, and what was said for people, for programs and on standard error.
struct Said {
    code: i32,
    text: String,
    note: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap(),
            text: text(output.stdout),
            note: text(output.stderr),
        }
    }

    /// The objects of `--json` of one kind.
    fn objects(&self, kind: &str) -> Vec<Value> {
        let lines = self.text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|object| object["kind"] == kind).collect()
    }

    fn summary(&self) -> Value {
        let mut summaries = self.objects("summary");
        assert_eq!(summaries.len(), 1, "{}\n{}", self.text, self.note);
        summaries.remove(0)
    }

    /// The counts of the ways that occur.
    fn ways(&self) -> Value {
        let summary = self.summary();
        let ways = summary["ways"].as_object().unwrap().iter();
        ways.filter(|(_, count)| **count != 0).map(|(way, n)| (way.clone(), n.clone())).collect()
    }
}

fn backtest(setup: &Setup, candidate: &Path, flags: &[&str]) -> Said {
    let mut ennio = ennio();
    ennio.arg("backtest").arg(candidate).arg("--db").arg(setup.database()).args(flags);
    Said::of(ennio.stdin(Stdio::null()).output().unwrap())
}

fn saying(message: &str) -> Value {
    json!({"event_type": "custom.said", "project_id": "atlas", "session_id": "s-1",
        "message": message, "data": {"n": 1}})
}

fn failing(second: u32) -> Value {
    json!({"event_type": "ci_failing", "project_id": "atlas", "session_id": "s-1",
        "timestamp": format!("2026-08-01T00:00:{second:02}Z"), "message": "red",
        "data": {"branch": "main", "log": "connection reset by peer"}})
}

/// A host with plugins that has taken in these events and reacted to all of them.
async fn with_history(plugins: &Plugins, events: &[Value]) -> (Setup, Host) {
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    for outcome in host.publish_lines(events).await {
        assert!(outcome["seq"].is_number(), "{outcome}");
    }
    host.settled().await;
    // A place in the log is on disk a moment after it is reached.
    let database = rusqlite::Connection::open(setup.database()).unwrap();
    let behind = "SELECT count(*) FROM cursors WHERE seq < (SELECT max(seq) FROM events)";
    eventually("every place on disk", async || {
        let behind: i64 = database.query_row(behind, [], |row| row.get(0)).unwrap();
        (behind == 0).then_some(())
    })
    .await;
    (setup, host)
}

#[tokio::test]
async fn the_version_that_ran_differs_in_nothing_over_a_recorded_day() {
    let day = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/day/day.ndjson");
    let day = std::fs::read_to_string(day).unwrap();
    let events: Vec<Value> = day.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names = ["noise-filter", "redact-secrets", "ci-triage", "merge-ready", "all-complete"];
    let mut plugins = Plugins::new();
    for name in names {
        let sidecar = std::fs::read_to_string(guest(name).with_extension("toml")).unwrap();
        plugins = plugins.with_sidecar(name, name, &sidecar);
    }
    let (setup, _host) = with_history(&plugins, &events).await;
    for (name, effect, least) in [
        ("noise-filter", "dropped", 100),
        ("redact-secrets", "patched", 10),
        ("ci-triage", "patched", 90),
        ("merge-ready", "answered", 60),
        ("all-complete", "answered", 6),
    ] {
        let component = plugins.file(&format!("{name}.wasm"));
        let said = backtest(&setup, &component, &["--json", "--fail-on-diff"]);
        let summary = said.summary();
        assert_eq!(said.code, 0, "{name}: {}", said.text);
        assert_eq!(summary["different"], 0, "{name}: {}", said.text);
        assert!(summary["history"][effect].as_u64().unwrap() >= least, "{summary}");
        // Where a secret was taken out, the event is seen as it is stored, changes included.
        let as_stored =
            if effect == "patched" { summary["as_stored"].as_u64().unwrap() } else { 0 };
        let count = |side: &str| summary[side][effect].as_u64().unwrap();
        assert_eq!(count("candidate") + as_stored, count("history"), "{name}: {summary}");
        assert!(name == "redact-secrets" || as_stored < 10, "{name}: {summary}");
        let again = backtest(&setup, &component, &["--json", "--fail-on-diff"]);
        assert_eq!(again.text, said.text, "{name}: two runs, one outcome");
    }
}

#[tokio::test]
async fn a_changed_sidecar_shows_exactly_what_it_would_have_changed() {
    let plugins = Plugins::new().with_sidecar("echo", "config-echo", "[config]\nword = \"one\"\n");
    let events = ["one", "two", "three", "one", "two", "two"].map(saying);
    let (setup, host) = with_history(&plugins, &events).await;
    // Where the log says who it was, and not only in memory.
    host.interrupt();
    let before = std::fs::read(setup.database()).unwrap();
    plugins.write("changed", "[config]\nword = \"two\"\n");
    let (component, changed) = (plugins.file("echo.wasm"), plugins.file("changed"));
    let sidecar = ["--sidecar", changed.to_str().unwrap()];
    let run = |flags: &[&str]| backtest(&setup, &component, &[&sidecar, flags].concat());

    let said = run(&["--json"]);
    assert_eq!(said.code, 0, "{}", said.note);
    assert_eq!(said.ways(), json!({"drops": 3, "keeps": 2}));
    let summary = said.summary();
    assert_eq!((&summary["events"], &summary["seen"]), (&json!(6), &json!(6)));
    assert_eq!(summary["different"], 5);
    assert_eq!(summary["history"]["dropped"], 2);
    assert_eq!(summary["candidate"]["dropped"], 3);
    let deviations = said.objects("deviation");
    let places: Vec<u64> = deviations.iter().map(|d| d["seq"].as_u64().unwrap()).collect();
    assert_eq!(places, [1, 2, 4, 5, 6]);
    assert_eq!(deviations[0]["dropped"], json!({"history": "is the word one", "candidate": null}));
    assert_eq!(deviations[1]["ways"], json!(["drops"]));

    let said = run(&["--samples", "1", "--color", "always"]);
    for part in [
        "echo 1.0.0 (filter)",
        "seq 1  ",
        "\u{1b}[31m    - dropped: is the word one",
        "\u{1b}[32m    + dropped: is the word two",
        "  2 dropped in history, 3 by the candidate",
        "5 would have fared otherwise: 3 dropped that were kept, 2 kept that were dropped",
    ] {
        assert!(said.text.contains(part), "{part} in {}", said.text);
    }
    assert!(!said.text.contains("seq 4"), "one sample of each way: {}", said.text);

    assert_eq!(run(&["--fail-on-diff"]).code, 1);
    assert_eq!(backtest(&setup, &component, &["--fail-on-diff"]).code, 0);
    let said = run(&["--since", "3", "--until", "5", "--json"]);
    assert_eq!(said.ways(), json!({"keeps": 1}));
    let said = run(&["--since", "2099-01-01T00:00:00Z", "--json"]);
    assert_eq!((said.code, &said.summary()["events"]), (0, &json!(0)));
    let said = run(&["--subject", "ennio.ci.>", "--json"]);
    assert_eq!(said.summary()["events"], 0);
    assert_eq!(std::fs::read(setup.database()).unwrap(), before, "nothing is written");
}

#[tokio::test]
async fn what_cannot_be_run_is_exit_code_2_and_says_why() {
    let nothing = backtest(&Setup::new(), &guest("keep-all"), &["--fail-on-diff"]);
    assert_eq!(nothing.code, 2);
    assert!(nothing.note.contains("ennio.db: No such file"), "{}", nothing.note);
    let (setup, _host) = with_history(&Plugins::new(), &[saying("one")]).await;
    for (candidate, flags, reason) in [
        (guest("keep-all"), &["--sidecar", "/nowhere.toml"][..], "/nowhere.toml: read: "),
        (guest("keep-all"), &["--since", "2"], "has no events there: its places are 1 to 1"),
        (guest("keep-all"), &["--since", "soon"], "or a place in the log"),
        (PathBuf::from("a b.wasm"), &[], "name the plugin with --as"),
        (guest("keep-all"), &["--http-table", "/nowhere"], "/nowhere: No such file"),
    ] {
        let said = backtest(&setup, &candidate, flags);
        assert_eq!(said.code, 2, "{}", said.text);
        assert!(said.note.contains(reason), "{reason} in {}", said.note);
    }
}

#[tokio::test]
async fn an_enricher_gets_each_event_as_it_was_at_its_turn() {
    let sidecar = |escalate_at: u32| {
        format!("subscribe = [\"ennio.ci.>\"]\n[config]\nescalate_at = {escalate_at}\n")
    };
    // The tag comes before it, and changes the event too.
    let tag = "order = 1\n";
    let plugins = Plugins::new()
        .with_sidecar("ci-triage", "ci-triage", &sidecar(3))
        .with_sidecar("tag", "tag-v1", tag);
    let events: Vec<Value> = (0..4).map(failing).collect();
    let (setup, _host) = with_history(&plugins, &events).await;
    let ci_triage = plugins.file("ci-triage.wasm");
    for (escalate_at, expected) in [
        (3, json!([])),
        // History raised these two; that they were `info` before is not in the log as such.
        (9, json!([[3, "urgent", "info"], [4, "urgent", "info"]])),
        (2, json!([[2, "info", "urgent"]])),
    ] {
        plugins.write("changed", sidecar(escalate_at));
        let changed = plugins.file("changed");
        let flags = ["--sidecar", changed.to_str().unwrap(), "--json"];
        let said = backtest(&setup, &ci_triage, &flags);
        let found: Vec<Value> = said
            .objects("deviation")
            .iter()
            .map(|d| {
                let changes = d["changes"].as_object().unwrap();
                assert_eq!(changes.len(), 1, "{d}");
                json!([d["seq"], changes["priority"]["from"], changes["priority"]["to"]])
            })
            .collect();
        assert_eq!(json!(found), expected, "{}", said.text);
        assert_eq!(said.summary()["as_stored"], 0);
    }
    let said = backtest(&setup, &guest("tag-v2"), &["--as", "tag", "--json"]);
    assert_eq!(said.ways(), json!({"patches": 4}));
    assert_eq!(
        said.objects("deviation")[0]["changes"],
        json!({"data.tag": {"from": "v1", "to": "v2"}})
    );
}

#[tokio::test]
async fn a_filter_gets_each_event_as_it_was_sent() {
    let plugins = Plugins::new().with("ci-triage", "ci-triage");
    let (setup, _host) = with_history(&plugins, &[failing(0), failing(30), failing(50)]).await;
    // What was added to the second one makes it another event than the first.
    let said = backtest(&setup, &guest("noise-filter"), &["--json"]);
    assert_eq!(said.ways(), json!({"drops": 2}), "{}", said.text);
}

#[tokio::test]
async fn a_newcomer_is_the_last_of_its_stage_or_the_first() {
    let plugins = Plugins::new()
        .with_sidecar("echo", "config-echo", "[config]\nword = \"chatty\"\n")
        .with("tag", "tag-v1");
    let (setup, _host) =
        with_history(&plugins, &["chatty", "chatty too", "fine"].map(saying)).await;
    for (flags, hidden, dropped, from) in [
        (&["--json"][..], 1, 1, json!({"from": "v1", "to": "v2"})),
        // What another filter dropped is hidden all the same.
        (&["--json", "--first"], 0, 2, json!({"to": "v2"})),
    ] {
        let said = backtest(&setup, &guest("drop-chatty"), flags);
        let summary = said.summary();
        assert_eq!(said.ways(), json!({"drops": 1}), "{}", said.text);
        assert_eq!((&summary["hidden"], &summary["seen"]), (&json!(hidden), &json!(3 - hidden)));
        assert_eq!(summary["candidate"]["dropped"], dropped);
        let said = backtest(&setup, &guest("tag-v2"), flags);
        assert_eq!(said.ways(), json!({"patches": 2}), "{}", said.text);
        assert_eq!(said.objects("deviation")[0]["changes"], json!({"data.tag": from}));
    }
}

#[tokio::test]
async fn a_reaction_is_compared_with_what_was_emitted_under_its_name() {
    let plugins = Plugins::new().with_sidecar("echo", "two-roles", EMITS);
    let events = ["react", "quiet", "chatty react", "react again"].map(saying);
    let (setup, host) = with_history(&plugins, &events).await;
    let component = plugins.file("echo.wasm");
    let said = backtest(&setup, &component, &["--json", "--fail-on-diff"]);
    assert_eq!((said.code, said.ways()), (0, json!({})), "{}", said.text);
    assert_eq!(
        said.summary()["candidate"],
        json!({"dropped": 1, "patched": 0, "answered": 2, "failed": 0})
    );

    plugins.write("denied", "");
    let denied = plugins.file("denied");
    let said = backtest(&setup, &component, &["--sidecar", denied.to_str().unwrap(), "--json"]);
    assert_eq!(said.ways(), json!({"answers": 2, "fails": 2}), "{}", said.text);
    let deviation = &said.objects("deviation")[0];
    assert_eq!(deviation["answers"][0]["history"]["event_type"], "custom.seen");
    assert_eq!(deviation["answers"][0]["candidate"], Value::Null);
    assert_eq!(deviation["answers"][0]["id"], host.log().await[4]["id"]);

    let said = backtest(&setup, &component, &["--as", "other"]);
    assert!(
        said.text.contains("    + emits custom.seen to ennio.custom.atlas.seen"),
        "{}",
        said.text
    );
    assert!(said.text.contains("1 dropped by other plugins, and not shown"), "{}", said.text);
    let said = backtest(&setup, &component, &["--as", "other", "--json"]);
    assert_eq!(said.ways(), json!({"answers": 2}), "{}", said.text);
}

#[tokio::test]
async fn what_retention_has_deleted_is_no_difference_and_is_counted() {
    let plugins = Plugins::new().with_sidecar("echo", "two-roles", EMITS);
    let events = ["react", "quiet", "react again"].map(saying);
    let (setup, host) = with_history(&plugins, &events).await;
    host.interrupt();
    let file = setup.folder.path().join("ennio.toml");
    let rules = "{ subject = [\"ennio.custom.atlas.seen\"], max_age = \"1ms\" }";
    std::fs::write(&file, format!("[retention]\nrules = [{rules}]\n")).unwrap();
    let setup = setup.argument("--config").argument(file.to_str().unwrap());
    let host = setup.start();
    eventually("the answers are gone", async || {
        (host.get("/v1/status").await.1["pruned"] == 2).then_some(())
    })
    .await;
    let component = plugins.file("echo.wasm");
    let said = backtest(&setup, &component, &["--json", "--fail-on-diff"]);
    assert_eq!((said.code, said.ways()), (0, json!({})), "{}", said.text);
    let summary = said.summary();
    assert_eq!(
        (&summary["pruned"], &summary["answers_pruned"], &summary["to_seq"]),
        (&json!(2), &json!(2), &json!(7)),
        "{}",
        said.text
    );
    let said = backtest(&setup, &component, &[]);
    assert!(said.text.contains("2 deleted from the log by retention"), "{}", said.text);
}

#[tokio::test]
async fn what_it_remembers_is_a_copy_or_nothing() {
    let plugins = Plugins::new().with_sidecar("counter", "counter", EMITS);
    let events: Vec<Value> = (0..5).map(|n| saying(&format!("event {n}"))).collect();
    let (setup, host) = with_history(&plugins, &events).await;
    let component = plugins.file("counter.wasm");
    let said = backtest(&setup, &component, &["--json"]);
    assert_eq!(said.ways(), json!({}), "{}", said.text);
    // The tenth that it reacts to is the fifth again.
    let said = backtest(&setup, &component, &["--json", "--state", "copy"]);
    assert_eq!(said.ways(), json!({"answers": 1}), "{}", said.text);
    let deviation = &said.objects("deviation")[0];
    assert_eq!(deviation["seq"], 5);
    assert_eq!(deviation["answers"][0]["candidate"]["message"], "10");
    let (_, kept) = host.get("/v1/plugins/counter/state/reaction/reacted").await;
    assert_eq!(kept, 5, "the copy is nobody else's");
}

#[tokio::test]
async fn requests_are_refused_or_answered_from_a_table() {
    let server = Server::start(|_, _| Reply::ok("hello")).await;
    let grants = format!("[capabilities]\nhttp = [\"{}\"]\n", server.address);
    let plugins = Plugins::new().with_sidecar("fetch", "fetch", &grants);
    let mut asks = saying("fetch");
    asks["data"] = json!({"fetch": {"in": "enricher", "url": server.url("/greeting")}});
    let mut posts = saying("post");
    posts["data"] =
        json!({"fetch": {"in": "enricher", "url": server.url("/form"), "body_kib": 100}});
    let (setup, _host) = with_history(&plugins, &[asks, posts]).await;
    let component = plugins.file("fetch.wasm");
    assert_eq!(server.seen().len(), 2);

    let said = backtest(&setup, &component, &["--json"]);
    assert_eq!(said.ways(), json!({"patches": 2}), "{}", said.text);
    assert_eq!(said.summary()["denied"], 2);
    let found = said.objects("deviation")[0]["changes"].to_string();
    assert!(found.contains("hello") && found.contains("denied"), "{found}");

    let answer = |method: &str, path: &str, body: &str| {
        let url = server.url(path);
        format!("[[answer]]\nmethod = \"{method}\"\nurl = \"{url}\"\nbody = \"{body}\"\n")
    };
    let with_table = |table: String| {
        plugins.write("table", table);
        let table = plugins.file("table");
        backtest(&setup, &component, &["--json", "--http-table", table.to_str().unwrap()])
    };
    let both = answer("GET", "/greeting", "hello") + &answer("POST", "/form", "hello");
    let said = with_table(both.clone());
    assert_eq!(said.ways(), json!({}), "{}", said.text);
    assert_eq!(said.summary()["candidate"]["patched"], 2);
    let said = with_table(answer("GET", "/greeting", "goodbye"));
    assert_eq!(said.ways(), json!({"patches": 2}), "{}", said.text);
    assert_eq!(said.summary()["denied"], 1, "no answer to the other");
    let changes = said.objects("deviation")[0]["changes"].to_string();
    assert!(changes.contains("goodbye"), "{changes}");
    plugins.write("fetch.toml", "");
    let said = with_table(both);
    assert_eq!(said.summary()["denied"], 2, "a table grants nothing: {}", said.text);
    assert_eq!(server.seen().len(), 2, "nothing left the sandbox");
}

#[tokio::test]
async fn time_and_chance_are_the_events() {
    let plugins = Plugins::new();
    let events: Vec<Value> = (0..70).map(|n| failing(n % 60)).collect();
    let (setup, _host) = with_history(&plugins, &events).await;
    let candidate = guest("clock-and-random");
    let run = |flags: &[&str]| {
        backtest(&setup, &candidate, &[&["--json", "--samples", "0"], flags].concat())
    };
    let said = run(&[]);
    assert_eq!(said.ways(), json!({"patches": 70}));
    assert_eq!(run(&[]).text, said.text, "two runs, one outcome");
    assert_ne!(run(&["--seed", "1"]).text, said.text);
    let start = 1_785_542_400_000_000_u64;
    for (deviation, second) in run(&["--batch", "1"]).objects("deviation").iter().zip(0_u64..) {
        let wall = &deviation["changes"]["data.wall_micros"]["to"];
        assert_eq!(wall.as_u64().unwrap(), start + second % 60 * 1_000_000, "{deviation}");
    }
}

/// A shadow of `tag` that has begun.
struct Shadow(Child, BufReader<std::process::ChildStderr>);

impl Shadow {
    fn begin(host: &Host, candidate: &Path, flags: &[&str]) -> Self {
        let mut command = ennio();
        command.args(["plugin", "shadow", "tag"]).arg(candidate).args(["--url", &host.url]);
        command.args(flags).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut notes = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        notes.read_line(&mut line).unwrap();
        assert!(line.starts_with("in the shadow of tag behind seq "), "{line}");
        Self(child, notes)
    }

    /// What works is at the lowest priority, and on one processor.
    fn gives_way(&self) -> bool {
        let mut tasks = std::fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        tasks.any(|task| {
            let read =
                |name: &str| std::fs::read_to_string(task.as_ref().unwrap().path().join(name));
            let (stat, status) = (read("stat").unwrap(), read("status").unwrap());
            let (name, rest) = stat.rsplit_once(") ").unwrap();
            let processors = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
            name.ends_with("(ennio-gentle")
                && rest.split(' ').nth(16) == Some("19")
                && processors.unwrap().trim().parse::<u32>().is_ok()
        })
    }

    fn end(mut self) -> Said {
        let output = self.0.wait_with_output().unwrap();
        let mut said = Said::of(output);
        self.1.read_to_string(&mut said.note).unwrap();
        said
    }
}

#[tokio::test]
async fn a_shadow_sees_live_events_and_leaves_no_trace() {
    let plugins =
        Plugins::new().with_sidecar("tag", "tag-v1", "subscribe = [\"ennio.custom.>\"]\n");
    let (setup, host) = with_history(&plugins, &[saying("before")]).await;
    let shadow = Shadow::begin(&host, &guest("tag-v2"), &["--events", "30", "--json"]);
    assert!(shadow.gives_way());
    for n in 0..30 {
        let event = if n % 3 == 0 { failing(n) } else { saying(&format!("event {n}")) };
        assert_eq!(host.publish(&event).await.0, 201);
    }
    let said = shadow.end();
    assert_eq!(said.code, 0, "{}", said.note);
    assert_eq!(said.ways(), json!({"patches": 20}), "{}", said.text);
    let summary = said.summary();
    assert_eq!((&summary["after_seq"], &summary["to_seq"]), (&json!(1), &json!(31)));
    assert_eq!((&summary["events"], &summary["seen"]), (&json!(30), &json!(20)));
    let log = host.log().await;
    assert_eq!(log.len(), 31);
    let tags = log.iter().filter(|entry| entry["data"]["tag"] == "v1").count();
    assert_eq!(tags, 21, "the running version went on alone");

    let shadow = Shadow::begin(&host, &guest("tag-v2"), &["--fail-on-diff"]);
    host.publish(&saying("one more")).await;
    // There is one sample, in time.
    let mut child = shadow;
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().starts_with("tag 2.0.0 (enricher)"));
    assert!(lines.next().unwrap().starts_with("seq 32  ennio.custom.atlas.said"));
    let signal = Command::new("kill").args(["-INT", &child.0.id().to_string()]).status();
    assert!(signal.unwrap().success());
    let rest: Vec<String> = lines.collect();
    assert!(
        rest.iter().any(|line| line == "1 would have fared otherwise: 1 patched otherwise"),
        "{rest:?}"
    );
    assert_eq!(child.end().code, 1);
    drop(setup);
}

#[tokio::test]
async fn a_shadow_remembers_what_its_plugin_does_and_waits_for_its_reaction() {
    let plugins = Plugins::new().with_sidecar("tag", "counter", EMITS);
    let events: Vec<Value> = (0..7).map(|n| saying(&format!("event {n}"))).collect();
    let (_setup, host) = with_history(&plugins, &events).await;
    let shadow = Shadow::begin(&host, &guest("counter"), &["--events", "4", "--json"]);
    for n in 0..4 {
        host.publish(&saying(&format!("later {n}"))).await;
    }
    let said = shadow.end();
    // Both emit for the tenth, and the emitted event is the log's own eleventh.
    assert_eq!(said.ways(), json!({}), "{}", said.text);
    assert_eq!(said.summary()["candidate"]["answered"], 1, "{}", said.text);
    eventually("the emitted event", async || (host.events().await.len() == 12).then_some(())).await;
}

#[tokio::test]
async fn there_is_no_shadow_of_what_does_not_run() {
    let plugins = Plugins::new().with("tag", "tag-v1");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let run = |name: &str, flags: &[&str]| {
        let mut command = ennio();
        command.args(["plugin", "shadow", name]).arg(guest("tag-v2")).args(flags);
        Said::of(command.args(["--url", &host.url]).stdin(Stdio::null()).output().unwrap())
    };
    let said = run("tags", &[]);
    assert_eq!(said.code, 2);
    assert!(said.note.contains("has no plugin tags (it has: tag)"), "{}", said.note);
    let said = run("tag", &["--for", "1ms"]);
    assert_eq!(said.code, 0, "{}", said.note);
    assert!(said.text.contains("no event would have fared otherwise"), "{}", said.text);
}
