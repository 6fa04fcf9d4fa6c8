//! `ennio serve --nats-jetstream`, and who the host is to a NATS server.

use async_nats::jetstream;
use serde_json::{Value, json};

use crate::{
    harness::{Host, Setup, ennio, event, eventually},
    nats_server::NatsServer,
};

/// A host with this configuration, which tells nothing of itself that would be counted.
fn configured(toml: &str) -> Setup {
    Setup::new().config(&format!("{toml}\n[node]\nevents = false\n"))
}

async fn nats(host: &Host) -> Value {
    host.get("/v1/status").await.1["nats"].take()
}

#[tokio::test]
async fn a_flag_is_enough_for_a_stream_that_has_every_event() {
    let server = NatsServer::jetstream();
    let setup = Setup::new().config("[node]\nevents = false\n").argument("--nats");
    let setup = setup.argument(&server.url()).argument("--nats-jetstream");
    let host = setup.start();
    let (_, receipt) = host.publish(&event("ci_failing")).await;
    eventually("the event is acknowledged", async || {
        let nats = nats(&host).await;
        (json!([nats["state"], nats["lag"], nats["acknowledged"]]) == json!(["publishing", 0, 1]))
            .then_some(())
    })
    .await;
    assert_eq!(host.get("/readyz").await.1, "ready\nnats publishing, 0 events behind\n");
    let client = async_nats::connect(server.url()).await.unwrap();
    let stream = jetstream::new(client).get_stream("ENNIO_EVENTS").await.unwrap();
    let message = stream.get_raw_message(1).await.unwrap();
    let header = |name: &'static str| message.headers.get(name).unwrap().as_str().to_owned();
    let (_, stored) = host.get(&format!("/v1/events/{}", receipt["id"].as_str().unwrap())).await;
    assert_eq!(header("Nats-Msg-Id"), receipt["id"].as_str().unwrap());
    assert_eq!(header("Ennio-Committed"), stored["committed_at"].as_str().unwrap());
    let (_, status) = host.get("/v1/status").await;
    assert_eq!(header("Ennio-Origin"), status["origin"].as_str().unwrap());
}

#[tokio::test]
async fn a_stream_that_does_not_fit_holds_publishing_and_everybody_who_asks_is_told() {
    let server = NatsServer::jetstream();
    let toml = |age: &str| {
        format!("[nats]\nurl = {:?}\njetstream = true\n[nats.stream]\n{age}\n", server.url())
    };
    let first = configured(&toml("max_age = \"1h\"")).start();
    first.publish(&event("ci_failing")).await;
    eventually("a stream", async || (nats(&first).await["lag"] == 0).then_some(())).await;
    first.interrupt();

    let host = configured(&toml("")).start();
    let (status, _) = host.publish(&event("ci_failing")).await;
    assert_eq!(status, 201, "the host works on");
    let reason = eventually("a reason", async || {
        let nats = nats(&host).await;
        (nats["state"] == "held").then(|| nats["last_error"]["error"].as_str().unwrap().to_owned())
    })
    .await;
    assert_eq!(
        reason,
        "stream ENNIO_EVENTS is not as [nats.stream] says: max_age is 1h, not unlimited (write \
         `max_age = \"1h\"` in [nats.stream], or run `nats stream edit ENNIO_EVENTS --max-age=0s`)"
    );
    assert_eq!(host.get("/readyz").await, (200, "ready\nnats held, 1 events behind\n".into()));
    let (_, metrics) = host.get("/metrics").await;
    let metrics = metrics.as_str().unwrap();
    for line in ["ennio_nats_held 1", "ennio_cursor_lag_events{sink=\"nats\"} 1"] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    assert!(host.output().contains(&reason), "{}", host.output());
}

#[tokio::test]
async fn two_hosts_of_different_prefixes_share_a_server_without_meeting() {
    let server = NatsServer::jetstream();
    let client = async_nats::connect(server.url()).await.unwrap();
    let start = |prefix: &str| {
        configured(&format!(
            "[nats]\nurl = {:?}\nprefix = {prefix:?}\njetstream = true\n",
            server.url()
        ))
        .start()
    };
    let hosts = [("blue", start("blue")), ("green", start("green"))];
    for (at, (prefix, host)) in hosts.iter().enumerate() {
        for _ in 0..=at {
            host.publish(&event("ci_failing")).await;
        }
        eventually("all is published", async || (nats(host).await["lag"] == 0).then_some(())).await;
        let name = format!("{}_EVENTS", prefix.to_uppercase());
        assert_eq!(nats(host).await["streams"], json!([name]));
        let stream = jetstream::new(client.clone()).get_stream(&name).await.unwrap();
        assert_eq!(stream.get_info().await.unwrap().state.messages, at as u64 + 1);
        let status = eventually("an answer", async || {
            let answer =
                client.request(format!("{prefix}.commands.status"), "".into()).await.ok()?;
            serde_json::from_slice::<Value>(&answer.payload).ok()
        })
        .await;
        assert_eq!(status["result"]["head"], at + 1, "the other host does not answer: {status}");
    }
}

#[test]
fn contradictions_and_files_that_cannot_be_used_are_refused_with_their_keys() {
    for (keys, variables, said) in [
        (
            "token_file = \"t\"\nnkey_file = \"n\"",
            vec![],
            "nats.nkey_file (or ENNIO_NATS_NKEY) and nats.token_file",
        ),
        ("credentials_file = \"c\"", vec![("ENNIO_NATS_TOKEN", "hush")], "keep one"),
        ("user = \"bob\"", vec![], "nats.user needs nats.password_file"),
        ("", vec![("ENNIO_NATS_PASSWORD", "hush")], "needs nats.user"),
        ("cert_file = \"c\"", vec![], "nats.cert_file needs nats.key_file"),
        ("token_file = \"/not/there\"", vec![], "/not/there: No such file"),
        ("", vec![("ENNIO_NATS_NKEY", "hush")], "no seed of a user's nkey"),
        (
            "jetstream = true\n[nats.stream]\nmax_age = \"1m\"",
            vec![],
            "duplicate_window (2m) is longer than max_age (1m)",
        ),
        ("[nats.stream]\nreplicas = 9", vec![], "line 4: 9 replicas: a stream has 1 to 5"),
    ] {
        let setup = configured(&format!("[nats]\nurl = \"nats://127.0.0.1:1\"\n{keys}\n"));
        let setup =
            variables.into_iter().fold(setup, |setup, (key, value)| setup.variable(key, value));
        let (code, told) = setup.refused();
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains(said) && !told.contains("hush"), "{keys}: {told}");
        assert!(!setup.database().exists(), "before anything is touched");
    }
}

#[tokio::test]
async fn a_wrong_secret_is_said_and_shown_nowhere() {
    let server = NatsServer::configured("authorization { user: host, password: right }");
    let setup = configured(&format!("[nats]\nurl = {:?}\nuser = \"host\"\n", server.url()))
        .argument("--log")
        .argument("trace,async_nats=trace");
    let host = setup.variable("ENNIO_NATS_PASSWORD", "wr0ng-s3cret").start();
    let status = eventually("a refusal", async || {
        let nats = nats(&host).await;
        nats["last_error"].is_object().then_some(nats)
    })
    .await;
    let reason = status["last_error"]["error"].as_str().unwrap();
    assert!(reason.ends_with("authorization violation"), "{reason}");
    assert_eq!(status["state"], "away");
    let said = host.interrupt();
    assert!(said.contains("authorization violation"), "{said}");
    assert!(!format!("{said}{status}").contains("wr0ng-s3cret"), "{said}");
    let check = ennio().args(["config", "check"]).arg(setup_file(&server)).output().unwrap();
    let shown = String::from_utf8(check.stdout).unwrap();
    assert!(shown.contains("nats      nats://127.0.0.1:") && !shown.contains("hush"), "{shown}");
}

/// A configuration with a secret in its URL.
fn setup_file(server: &NatsServer) -> std::path::PathBuf {
    let url = server.url().replace("nats://", "nats://host:hush@");
    let path = server.store().with_extension("toml");
    std::fs::write(&path, format!("[nats]\nurl = {url:?}\n")).unwrap();
    path
}
