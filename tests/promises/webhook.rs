//! `notify-webhook` against a real server: told once, tried again when that may help, given up when it
//! cannot.

use serde_json::{Value, json};

use crate::harness::{Host, Plugins, Reply, Server, Setup, event, eventually};

/// A host whose urgent events are posted to `server`.
fn posting(server: &Server, grant: &str) -> (Plugins, Setup) {
    let sidecar = format!(
        "min_priority = \"urgent\"\n[config]\nurl = {:?}\ntext = \"{{project_id}}: {{message}}\"\n\
         channel = \"#builds\"\n[capabilities]\nhttp = [{grant:?}]\n[reaction]\nretries = 3\n",
        server.url("/services/secret"),
    );
    let plugins = Plugins::new().with_sidecar("notify", "notify-webhook", &sidecar);
    let setup = Setup::new().plugins(plugins.path());
    (plugins, setup)
}

fn urgent(message: &str) -> Value {
    let mut event = event("ci_failing");
    event["priority"] = "urgent".into();
    event["message"] = message.into();
    event
}

async fn dead_letters(host: &Host) -> u64 {
    host.get("/v1/status").await.1["dead_letters"].as_u64().unwrap()
}

#[tokio::test]
async fn an_event_is_posted_once_with_its_id_as_the_key() {
    let server = Server::start(|_, _| Reply::ok("ok")).await;
    let (_plugins, setup) = posting(&server, &server.address.to_string());
    let host = setup.start();
    let (_, receipt) = host.publish(&urgent("<!channel> is red")).await;
    host.publish(&event("ci_failing")).await;
    host.settled().await;
    let seen = server.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].line, "POST /services/secret HTTP/1.1");
    assert_eq!(seen[0].header("idempotency-key"), receipt["id"].as_str());
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_str(&seen[0].body).unwrap();
    assert_eq!(body, json!({"text": "atlas: &lt;!channel&gt; is red", "channel": "#builds"}));
    assert_eq!(dead_letters(&host).await, 0);
}

#[tokio::test]
async fn a_server_that_fails_is_asked_again_with_the_same_key() {
    let server = Server::start(|_, before| match before {
        0 => Reply::status(500),
        1 => Reply::Cut,
        _ => Reply::ok("ok"),
    })
    .await;
    let (_plugins, setup) = posting(&server, &server.address.to_string());
    let host = setup.start();
    // Cut in the middle of a success: nobody knows what the server did, so it is asked again.
    let (_, receipt) = host.publish(&urgent("again")).await;
    host.settled().await;
    let seen = server.seen();
    assert_eq!(seen.len(), 3, "{seen:?}");
    for request in &seen {
        assert_eq!(request.header("idempotency-key"), receipt["id"].as_str());
    }
    assert_eq!(dead_letters(&host).await, 0);
}

#[tokio::test]
async fn what_the_server_refuses_is_given_up_at_once() {
    let server = Server::start(|_, _| Reply::Answer(400, "", "invalid_payload".into())).await;
    let (_plugins, setup) = posting(&server, &server.address.to_string());
    let host = setup.start();
    host.publish(&urgent("refused")).await;
    eventually("a dead letter", async || (dead_letters(&host).await == 1).then_some(())).await;
    assert_eq!(server.seen().len(), 1);
    let log = host.interrupt();
    assert!(log.contains("the webhook answered 400: invalid_payload"), "{log}");
    assert!(!log.contains("secret"), "the URL of a webhook is in no log:\n{log}");
}

#[tokio::test]
async fn a_server_is_asked_again_no_earlier_than_it_says() {
    let server = Server::start(|_, before| match before {
        0 => Reply::Answer(429, "retry-after: 2\r\n", String::new()),
        _ => Reply::ok("ok"),
    })
    .await;
    let (_plugins, setup) = posting(&server, &server.address.to_string());
    let host = setup.start();
    host.publish(&urgent("slow down")).await;
    host.settled().await;
    assert_eq!(server.seen().len(), 2);
    let log = host.interrupt();
    // The first wait of the back-off is a fraction of a second.
    assert!(log.contains("attempt 1 failed, next in 2.0s: the webhook answered 429"), "{log}");
}

#[tokio::test]
async fn a_host_that_is_not_granted_is_denied_and_the_event_is_a_dead_letter() {
    let server = Server::start(|_, _| Reply::ok("reached")).await;
    let (_plugins, setup) = posting(&server, "hooks.test:443");
    let host = setup.start();
    host.publish(&urgent("denied")).await;
    eventually("a dead letter", async || (dead_letters(&host).await == 1).then_some(())).await;
    assert_eq!(host.plugin("notify").await.unwrap()["denials"], 1);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_server_that_is_away_is_asked_again_until_the_retries_are_used_up() {
    let server = Server::start(|_, _| Reply::ok("reached")).await;
    let (_plugins, setup) = posting(&server, &server.address.to_string());
    drop(server);
    let host = setup.start();
    host.publish(&urgent("away")).await;
    eventually("a dead letter", async || (dead_letters(&host).await == 1).then_some(())).await;
    assert!(host.interrupt().contains("dead letter after 4 attempts: ConnectionRefused"));
}
