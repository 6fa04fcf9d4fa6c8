//! What a plugin may do besides answering: what its sidecar grants, and nothing else.

use std::{fmt::Write as _, os::unix::fs::symlink, path::Path};

use rcgen::CertifiedKey;
use serde_json::{Value, json};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer},
};

use crate::harness::{Host, Plugins, Reply, Server, Setup, ennio, event, eventually, guest};

/// A host with the guest `fetch`, whose sidecar grants these `http` destinations.
fn fetching(granted: &[&str], more: &str) -> (Plugins, Setup) {
    let sidecar =
        format!("[capabilities]\nemit = [\"ennio.custom.>\"]\nhttp = {granted:?}\n{more}");
    let plugins = Plugins::new().with_sidecar("fetch", "fetch", &sidecar);
    let setup = Setup::new().plugins(plugins.path());
    (plugins, setup)
}

fn told(fetch: Value) -> Value {
    let mut event = event("activity_changed");
    event["data"] = json!({"fetch": fetch});
    event
}

/// Publishes an event that makes the reaction fetch something, and waits for what it found.
async fn fetched(host: &Host, mut fetch: Value) -> Value {
    fetch["in"] = "reaction".into();
    let (_, receipt) = host.publish(&told(fetch)).await;
    let id = receipt["id"].as_str().unwrap();
    eventually("what was fetched", async || {
        let log = host.log().await;
        let found = log.iter().find(|entry| entry["caused_by"]["event_id"] == id)?;
        Some(found["data"]["fetched"].clone())
    })
    .await
}

async fn denials(host: &Host) -> u64 {
    host.plugin("fetch").await.unwrap()["denials"].as_u64().unwrap()
}

#[tokio::test]
async fn reactions_and_enrichers_reach_what_is_granted_and_filters_nothing() {
    let server = Server::start(|_, _| Reply::ok("hello")).await;
    let address = server.address.to_string();
    let (_plugins, setup) = fetching(&[&address], "");
    let host = setup.start();
    let url = server.url("/a?b=c#d");
    assert_eq!(fetched(&host, json!({"url": url})).await, json!([[200, "hello"]]));
    let seen = &server.seen()[0];
    assert_eq!(seen.line, "GET /a?b=c HTTP/1.1");
    assert_eq!(seen.header("host"), Some(&*address));

    host.publish(&told(json!({"url": url, "in": "enricher"}))).await;
    let log = host.log().await;
    assert_eq!(log.last().unwrap()["data"]["fetched"], json!([[200, "hello"]]));
    assert_eq!((server.seen().len(), denials(&host).await), (2, 0));

    host.publish(&told(json!({"url": url, "in": "filter"}))).await;
    let log = host.log().await;
    let reason = log.last().unwrap()["drop_reason"].as_str().unwrap();
    assert!(reason.contains("denied"), "{reason}");
    assert_eq!((server.seen().len(), denials(&host).await), (2, 1));
}

#[tokio::test]
async fn a_request_that_was_not_granted_is_denied_counted_and_logged_and_nothing_else_happens() {
    let server = Server::start(|_, _| Reply::ok("reached")).await;
    let port = server.address.port();
    let other = format!("127.0.0.1:{}", port.wrapping_add(1).max(1));
    let (_plugins, setup) = fetching(&[&other], "");
    let host = setup.start();
    let answers = fetched(&host, json!({"url": server.url("/"), "times": 100})).await;
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 100, "a guest lives on after a denial");
    for answer in answers {
        assert!(answer.as_str().unwrap().starts_with("denied: "), "{answer}");
    }
    assert!(server.seen().is_empty());
    let status = host.plugin("fetch").await.unwrap();
    assert_eq!(json!([status["denials"], status["failures"]]), json!([100, 0]));
    let (_, metrics) = host.get("/metrics").await;
    let metrics = metrics.as_str().unwrap();
    assert!(metrics.contains("ennio_plugin_denials_total{plugin=\"fetch\"} 100\n"), "{metrics}");

    let log = host.interrupt();
    let lines = log.lines().filter(|line| line.contains("is not granted")).count();
    assert_eq!(lines, 4, "each call has so many lines:\n{log}");
    assert!(log.contains(&format!("add \"127.0.0.1:{port}\" to [capabilities] http")), "{log}");
    assert!(log.contains("the rest of the call is counted, not logged"), "{log}");
}

#[tokio::test]
async fn without_a_sidecar_nothing_can_be_reached() {
    let server = Server::start(|_, _| Reply::ok("reached")).await;
    let plugins = Plugins::new().with("fetch", "fetch");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    host.publish(&told(json!({"url": server.url("/"), "in": "enricher"}))).await;
    let fetched = host.log().await[0]["data"]["fetched"][0].clone();
    assert!(fetched.as_str().unwrap().starts_with("denied: "), "{fetched}");
    assert!(server.seen().is_empty());
    assert_eq!(denials(&host).await, 1);
}

#[tokio::test]
async fn a_redirect_is_checked_like_any_request() {
    let server = Server::start(|seen, _| match seen.line.split(' ').nth(1) {
        Some("/metadata") => {
            let location = "location: http://169.254.169.254/latest/meta-data/\r\n";
            Reply::Answer(302, location, String::new())
        }
        Some("/on") => Reply::Answer(302, "location: /off\r\n", String::new()),
        _ => Reply::ok("here"),
    })
    .await;
    let (_plugins, setup) = fetching(&[&server.address.to_string()], "");
    let host = setup.start();
    let answer = fetched(&host, json!({"url": server.url("/metadata")})).await;
    assert_eq!(answer, json!([[302, ""]]), "the host follows none itself");
    assert_eq!(denials(&host).await, 0);
    let answer = fetched(&host, json!({"url": server.url("/metadata"), "follow": 3})).await;
    assert!(answer[0].as_str().unwrap().starts_with("denied: "), "{answer}");
    assert_eq!(denials(&host).await, 1);
}

#[tokio::test]
async fn a_granted_name_may_not_stand_for_an_address_of_this_machine() {
    let server = Server::start(|_, _| Reply::ok("reached")).await;
    let port = server.address.port();
    // Spellings that only the operating system's resolver takes for 127.0.0.1.
    for name in ["127.1", "2130706433", "0x7f.1"] {
        let granted = format!("{name}:{port}");
        let (_plugins, setup) = fetching(&[&granted], "");
        let host = setup.start();
        let answer = fetched(&host, json!({"url": format!("http://{granted}/")})).await;
        assert!(answer[0].as_str().unwrap().starts_with("denied: "), "{name}: {answer}");
        assert_eq!(denials(&host).await, 1, "{name}");
        assert!(host.interrupt().contains("resolves to 127.0.0.1, which is loopback"), "{name}");
    }
    assert!(server.seen().is_empty());
    // Whoever names localhost means it.
    let granted = format!("localhost:{port}");
    let (_plugins, setup) = fetching(&[&granted], "");
    let host = setup.start();
    let answer = fetched(&host, json!({"url": format!("http://{granted}/")})).await;
    assert_eq!(answer, json!([[200, "reached"]]));
}

#[tokio::test]
async fn a_hostile_server_costs_a_bounded_answer_and_no_more() {
    let server = Server::start(|seen, _| match seen.line.split(' ').nth(1) {
        Some("/endless") => Reply::Endless,
        Some("/large") => Reply::Large,
        Some("/head") => Reply::EndlessHead,
        Some("/silence") => Reply::Silence,
        Some("/cut") => Reply::Cut,
        _ => Reply::ok("fine"),
    })
    .await;
    let (_plugins, setup) = fetching(&[&server.address.to_string()], "");
    let host = setup.start();
    for (path, expected) in [
        ("/endless", "body size exceeds limit"),
        ("/large", "body size exceeds limit"),
        ("/head", "HttpResponseHeaderSectionSize"),
        ("/silence", "no answer in time"),
        ("/cut", "incomplete"),
    ] {
        let answer = fetched(&host, json!({"url": server.url(path), "timeout_ms": 3000})).await;
        let text = answer[0].as_str().unwrap_or_default();
        assert!(text.contains(expected), "{path}: {answer}");
    }
    let answer = fetched(&host, json!({"url": server.url("/"), "body_kib": 2048})).await;
    assert!(answer[0].as_str().unwrap().contains("HttpRequestBodySize"), "{answer}");
    let answers = fetched(&host, json!({"url": server.url("/"), "times": 17})).await;
    let answers = answers.as_array().unwrap();
    assert!(answers[..16].iter().all(|answer| answer == &json!([200, "fine"])), "{answers:?}");
    assert_eq!(answers[16], "ConnectionLimitReached");
    let status = host.plugin("fetch").await.unwrap();
    assert_eq!(json!([status["denials"], status["failures"]]), json!([0, 0]), "{status}");
}

#[tokio::test]
async fn waiting_for_a_server_ends_with_the_calls_deadline() {
    let server = Server::start(|_, _| Reply::Silence).await;
    let more = "[limits]\ndeadline_ms = 300\n[reaction]\nretries = 0\n";
    let (_plugins, setup) = fetching(&[&server.address.to_string()], more);
    let host = setup.start();
    let silence = json!({"url": server.url("/"), "timeout_ms": 3_600_000, "in": "enricher"});
    let (status, _) = host.publish(&told(silence)).await;
    assert_eq!(status, 201, "on_error is pass");
    let error = host.plugin("fetch").await.unwrap()["last_error"].clone();
    assert_eq!(error, "missed its deadline of 300 ms");
    host.publish(&event("pr_created")).await;
    assert_eq!(host.log().await.len(), 2);
}

#[tokio::test]
async fn https_trusts_the_roots_of_the_machine_and_no_other() {
    let CertifiedKey { cert, key_pair } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(key_pair.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .unwrap();
    let tls = TlsAcceptor::from(std::sync::Arc::new(config));
    let server = Server::start_with(Some(tls), |_, _| Reply::ok("secret")).await;
    let granted = format!("localhost:{}", server.address.port());
    let url = format!("https://{granted}/");

    let roots = tempfile::tempdir().unwrap();
    let trusted = roots.path().join("trusted.pem");
    std::fs::write(&trusted, cert.pem()).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let others = roots.path().join("others.pem");
    std::fs::write(&others, other.cert.pem()).unwrap();

    for (roots, expected) in
        [(&trusted, json!([[200, "secret"]])), (&others, json!(["TlsCertificateError"]))]
    {
        let (_plugins, setup) = fetching(&[&granted], "");
        let setup = setup.variable("SSL_CERT_FILE", roots.to_str().unwrap());
        let host = setup.start();
        assert_eq!(fetched(&host, json!({"url": url})).await, expected);
        drop(host);
    }
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn http_can_not_be_granted_to_a_plugin_that_only_filters() {
    let sidecar = "[capabilities]\nhttp = [\"hooks.test:443\"]\n";
    let plugins = Plugins::new().with_sidecar("quiet", "drop-chatty", sidecar);
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let error = host.plugin("quiet").await.unwrap()["load_error"].clone();
    let error = error.as_str().unwrap();
    assert!(error.contains("capability: [capabilities] http is for reactions"), "{error}");
}

#[tokio::test]
async fn a_grant_that_is_no_destination_is_refused_with_its_line() {
    let sidecar = "[capabilities]\nhttp = [\"https://hooks.test/x\"]\n";
    let plugins = Plugins::new().with_sidecar("fetch", "fetch", sidecar);
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let error = host.plugin("fetch").await.unwrap()["load_error"].clone();
    let error = error.as_str().unwrap();
    assert!(error.contains("fetch.toml: sidecar: line 2: "), "{error}");
    assert!(error.contains("is not host:port"), "{error}");
}

/// Publishes an event with this data, and says what the enricher `look-around` found.
async fn found(host: &Host, data: Value) -> Value {
    let mut event = event("activity_changed");
    event["data"] = data;
    let (_, receipt) = host.publish(&event).await;
    let path = format!("/v1/events/{}", receipt["id"].as_str().unwrap());
    host.get(&path).await.1["data"]["found"].clone()
}

fn looking(capabilities: &str) -> (Plugins, Setup) {
    let sidecar = format!("[capabilities]\n{capabilities}");
    let plugins = Plugins::new().with_sidecar("look", "look-around", &sidecar);
    let setup = Setup::new()
        .plugins(plugins.path())
        .variable("HOME_REGION", "eu-north")
        .variable("HOME_SECRET", "canary");
    (plugins, setup)
}

#[tokio::test]
async fn a_plugin_sees_the_variables_that_are_granted_and_no_other() {
    let (_plugins, setup) = looking("env = [\"HOME_REGION\", \"NEVER_SET_HERE\"]\n");
    let host = setup.start();
    assert_eq!(found(&host, json!({"env": "HOME_REGION"})).await, "eu-north");
    assert_eq!(found(&host, json!({"env": "HOME_SECRET"})).await, Value::Null);
    assert_eq!(found(&host, json!({"envs": true})).await, 1);
    let log = host.interrupt();
    assert!(log.contains("plugin look: [capabilities] env: NEVER_SET_HERE"), "{log}");

    let (_plugins, setup) = looking("");
    let host = setup.start();
    assert_eq!(found(&host, json!({"envs": true})).await, 0);
}

#[tokio::test]
async fn a_plugin_reads_the_folders_that_are_granted_and_cannot_leave_or_change_them() {
    let folder = tempfile::tempdir().unwrap();
    let (open, secret) = (folder.path().join("open"), folder.path().join("secret"));
    std::fs::create_dir_all(open.join("deep")).unwrap();
    std::fs::create_dir(&secret).unwrap();
    std::fs::write(open.join("deep/file"), "readable").unwrap();
    std::fs::write(secret.join("file"), "canary").unwrap();
    symlink(secret.join("file"), open.join("absolute")).unwrap();
    symlink("../secret/file", open.join("relative")).unwrap();
    symlink("..", open.join("up")).unwrap();
    symlink("deep/file", open.join("within")).unwrap();

    let (_plugins, setup) = looking(&format!("fs = [{:?}]\n", open.to_str().unwrap()));
    let host = setup.start();
    let path = |path: &str| open.join(path).to_str().unwrap().to_owned();
    assert_eq!(found(&host, json!({"read": path("deep/file")})).await, "readable");
    assert_eq!(found(&host, json!({"read": path("within")})).await, "readable");
    for escape in ["absolute", "relative", "up/secret/file", "../secret/file"] {
        let answer = found(&host, json!({"read": path(escape)})).await;
        assert!(answer.as_str().unwrap().starts_with("error: "), "{escape}: {answer}");
    }
    for target in ["deep/file", "new"] {
        let answer = found(&host, json!({"write": path(target)})).await;
        assert!(answer.as_str().unwrap().starts_with("error: "), "{target}: {answer}");
    }
    assert_eq!(std::fs::read(open.join("deep/file")).unwrap(), b"readable");
    assert!(!open.join("new").exists());

    let (_plugins, setup) = looking("");
    let host = setup.start();
    let answer = found(&host, json!({"read": path("deep/file")})).await;
    assert!(answer.as_str().unwrap().starts_with("error: "), "{answer}");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named_by_the_load_error() {
    for (folder, expected) in [
        ("/nowhere/at/all", "/nowhere/at/all: No such file or directory"),
        ("relative", "relative: not an absolute path"),
    ] {
        let (_plugins, setup) = looking(&format!("fs = [{folder:?}]\n"));
        let host = setup.start();
        let error = host.plugin("look").await.unwrap()["load_error"].clone();
        let error = error.as_str().unwrap();
        assert!(error.contains("capability: [capabilities] fs: "), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_socket_can_not_be_had() {
    let server = Server::start(|_, _| Reply::ok("reached")).await;
    let address = server.address.to_string();
    let (_plugins, setup) = looking(&format!("http = [{address:?}]\n"));
    let host = setup.start();
    let answer = found(&host, json!({"connect": address})).await;
    assert!(answer.as_str().unwrap().starts_with("error: "), "{answer}");
}

#[tokio::test]
async fn an_event_that_may_not_be_emitted_counts_as_a_denial() {
    let plugins = Plugins::new().with("echo", "echo-reaction");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let mut echo = event("pr_created");
    echo["data"] = json!({"echo": true});
    host.publish(&echo).await;
    host.settled().await;
    assert_eq!(host.plugin("echo").await.unwrap()["denials"], 1);
    let mut list = ennio();
    list.args(["plugin", "list", "--url", &host.url]);
    let list = String::from_utf8(list.output().unwrap().stdout).unwrap();
    assert!(list.contains("denials: 1, of what its sidecar does not grant"), "{list}");
}

fn check(file: &Path) -> String {
    let output = ennio().args(["plugin", "check"]).arg(file).output().unwrap();
    let mut text = String::from_utf8(output.stdout).unwrap();
    write!(text, "{}", String::from_utf8_lossy(&output.stderr)).unwrap();
    text
}

#[test]
fn plugin_check_says_what_is_imported_needed_and_granted() {
    let text = check(&guest("fetch"));
    assert!(text.contains("needs     [capabilities] http"), "{text}");
    assert!(text.contains("wasi:http/outgoing-handler"), "{text}");
    assert!(text.contains("[capabilities] http grants nothing"), "{text}");

    let sidecar = "[capabilities]\nhttp = [\"Hooks.Test:443\"]\nenv = [\"HOME\"]\nfs = [\"/\"]\n";
    let plugins = Plugins::new().with_sidecar("fetch", "fetch", sidecar);
    let text = check(&plugins.file("fetch.wasm"));
    for granted in ["may call  hooks.test:443\n", "may read  /\n", "may know  HOME\n"] {
        assert!(text.contains(granted), "{text}");
    }
    assert!(!text.contains("needs") && !text.contains("grants nothing"), "{text}");

    let text = check(&guest("noise-filter"));
    assert!(!text.contains("wasi:http"), "a plugin that sends nothing imports nothing: {text}");
}
