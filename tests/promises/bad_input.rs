//! Bad input of every kind: a clear error that names the thing, nothing lost, the host still up
//! where it was up.

use serde_json::{Value, json};

use crate::harness::{Host, Plugins, Setup, event};

async fn refused(host: &Host, body: impl Into<reqwest::Body>, expected: u16) -> String {
    let response = host.post("application/json", body).await;
    assert_eq!(response.status(), expected);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(problem["status"], expected);
    problem["detail"].as_str().unwrap().into()
}

fn with(field: &str, value: Value) -> String {
    let mut event = event("ci_failing");
    event[field] = value;
    event.to_string()
}

#[tokio::test]
async fn what_is_no_event_is_refused_with_the_field_and_the_reason() {
    let setup = Setup::new();
    let host = setup.start();
    let deep = "[".repeat(65) + &"]".repeat(65);
    let deep = with("data", Value::Null).replace("null", &deep);
    for (body, expected) in [
        ("not json".to_owned(), "body: not valid JSON"),
        ("{}".to_owned(), "event_type: missing"),
        ("\"text\"".to_owned(), "body: must be a JSON object"),
        (with("event_type", json!("ci_failng")), "did you mean `ci_failing`?"),
        (with("event_type", json!("custom.a.b")), "event_type: holds '.'"),
        (with("project_id", json!("a.b")), "project_id: holds '.'"),
        (with("project_id", json!("a\r\nPUB x")), "project_id: holds '\\r'"),
        (with("project_id", json!("*")), "project_id: holds '*'"),
        (with("session_id", json!("")), "session_id: must not be empty"),
        (
            with("data", json!("x".repeat(300 << 10))),
            "data: too long: 307202 bytes, at most 262144",
        ),
        (deep, "data: nested deeper than 64 levels"),
        (with("colour", json!("red")), "colour: no such field"),
        (with("seq", json!(7)), "seq: set by the host"),
        (with("priority", json!("hihg")), "priority: unknown priority"),
        (with("timestamp", json!("yesterday")), "timestamp: must be an RFC 3339 time"),
        (with("message", json!("a\0b")), "message: holds '\\0'"),
    ] {
        let detail = refused(&host, body.clone(), 400).await;
        assert!(detail.contains(expected), "{expected}: {detail}");
    }
    let detail = refused(&host, vec![b' '; 20 << 20], 413).await;
    assert!(detail.contains("application/x-ndjson"), "{detail}");
    let long = host.post("application/x-ndjson", vec![b'x'; 2 << 20]).await;
    assert_eq!(long.status(), 413);
    assert!(long.text().await.unwrap().contains("line 1 is longer than 1048576 bytes"));
    let invalid = host.post("application/json", vec![b'{', b'"', 0xff, b'"', b'}']).await;
    assert_eq!(invalid.status(), 400);

    // Nothing of it is in the log, and the next event is the first.
    let (status, receipt) = host.publish(&event("ci_failing")).await;
    assert_eq!((status, receipt["seq"].as_u64()), (201, Some(1)));
}

#[tokio::test]
async fn a_bad_question_is_refused_with_the_parameter() {
    let setup = Setup::new();
    let host = setup.start();
    for (path, parameter, reason) in [
        ("/v1/events?limt=1", "limt", "did you mean `limit`?"),
        ("/v1/events?limit=0", "limit", "1 to 500"),
        ("/v1/events?limit=501", "limit", "1 to 500"),
        ("/v1/events?after_seq=-1", "after_seq", "0 or more"),
        ("/v1/events?type=ci_failng", "type", "did you mean `ci_failing`?"),
        ("/v1/events?subject=ennio..x", "subject", "token 2 is empty"),
        ("/v1/events?project=a%27%20OR%201=1", "project", "holds '\\''"),
        ("/v1/events?since=monday", "since", "RFC 3339"),
        ("/v1/events?order=down", "order", "asc or desc"),
        ("/v1/events?limit=1&limit=2", "limit", "given twice"),
        ("/v1/events/stream?limit=1", "limit", "no such parameter"),
        ("/v1/events/stream?after_seq=9", "after_seq", "past the end of the log"),
        ("/v1/events/nonsense", "id", "a UUID"),
    ] {
        let (status, problem) = host.get(path).await;
        assert_eq!(status, 400, "{path}");
        assert_eq!(problem["parameter"], parameter, "{path}");
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{path}: {problem}");
    }
    assert_eq!(host.get("/v1/nothing").await.0, 404);
}

#[tokio::test]
async fn a_plugin_that_cannot_be_loaded_is_named_with_the_reason_and_the_host_is_up() {
    let plugins = Plugins::new().with_sidecar("misspelt", "keep-all", "subscibe = []\n");
    plugins.write("random.wasm", [0xd3; 5000]);
    plugins.write("module.wasm", wat::parse_str("(module)").unwrap());
    plugins.write("stranger.wasm", wat::parse_str("(component)").unwrap());
    plugins.write("bad name.wasm", std::fs::read(crate::harness::guest("keep-all")).unwrap());
    plugins.install("trapping", "trap-in-configure");
    plugins.install("needs-config", "config-echo");
    let importing = r#"(component (import "wasi:sockets/nothing@9.9.9" (instance)))"#;
    plugins.write("importing.wasm", wat::parse_str(importing).unwrap());
    plugins.install("good", "drop-chatty");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    for (name, step, reason) in [
        (
            "misspelt",
            "misspelt.toml: sidecar: line 1",
            "unknown key `subscibe` (did you mean `subscribe`?)",
        ),
        ("random", "random.wasm: compile", "not WebAssembly"),
        ("module", "module.wasm: compile", "a core module, not a component"),
        (
            "stranger",
            "stranger.wasm: roles",
            "exports none of ennio:plugin's filter, enricher and reaction",
        ),
        ("bad name", "bad name.wasm: read", "rename the file"),
        ("trapping", "trapping.wasm: configure", "trapped"),
        ("needs-config", "needs-config.wasm: configure", "word"),
    ] {
        let plugin = host.plugin(name).await.unwrap_or_else(|| panic!("{name} is not shown"));
        let error = plugin["load_error"].as_str().unwrap_or_default();
        assert_eq!(plugin["state"], "failed", "{name}");
        assert!(error.contains(step) && error.contains(reason), "{name}: {error}");
        assert!(host.output().contains(reason), "{name} in the log");
    }
    assert_eq!(host.plugin("good").await.unwrap()["state"], "running");
    assert_eq!(host.publish(&event("pr_created")).await.0, 201);
}

#[test]
fn a_plugin_folder_that_does_not_exist_is_named() {
    let setup = Setup::new().plugins(std::path::Path::new("/no/such/folder"));
    let (code, error) = setup.refused();
    assert_eq!(code, Some(1));
    assert!(error.contains("plugin folder /no/such/folder:"), "{error}");
    assert!(error.contains("--plugins"), "{error}");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let setup = Setup::new().argument("--listen").argument(&address);
    let (code, error) = setup.refused();
    assert_eq!(code, Some(1));
    assert!(error.contains(&format!("{address} is in use")), "{error}");
    assert!(!setup.database().exists(), "nothing is touched before");
}

#[test]
fn an_address_that_others_can_reach_needs_a_token() {
    let (code, error) = Setup::new().argument("--listen").argument("0.0.0.0:0").refused();
    assert_eq!(code, Some(1));
    assert!(error.contains("there is no token"), "{error}");
}

#[test]
fn a_database_that_is_none_of_ours_is_named_and_left_alone() {
    let setup = Setup::new();
    let text = "this is a diary, not a database\n".repeat(100);
    std::fs::write(setup.database(), &text).unwrap();
    let (code, error) = setup.refused();
    assert_eq!(code, Some(1));
    assert!(error.contains("ennio.db: not a SQLite database"), "{error}");
    assert_eq!(std::fs::read_to_string(setup.database()).unwrap(), text);

    let setup = Setup::new();
    setup.start().interrupt();
    let database = rusqlite::Connection::open(setup.database()).unwrap();
    database.pragma_update(None, "user_version", 4711).unwrap();
    drop(database);
    let (code, error) = setup.refused();
    assert_eq!(code, Some(1));
    assert!(error.contains("written by a newer Ennio (schema version 4711"), "{error}");
}

#[test]
fn a_second_host_on_one_log_is_refused() {
    let setup = Setup::new();
    let _first = setup.start();
    let (code, error) = setup.refused();
    assert_eq!(code, Some(1));
    assert!(error.contains("in use by another Ennio host"), "{error}");
}

#[test]
fn a_misspelt_key_of_the_configuration_is_named_with_its_line() {
    let setup = Setup::new().argument("--config").argument("my.toml");
    std::fs::write(setup.folder.path().join("my.toml"), "[store]\ndatabse = \"x\"\n").unwrap();
    let (code, error) = setup.refused();
    assert_eq!(code, Some(1));
    assert!(
        error.contains("my.toml, line 2: unknown key `databse` (did you mean `database`?)"),
        "{error}"
    );
}
