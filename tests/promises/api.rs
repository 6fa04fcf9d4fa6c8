//! Publishing and asking over HTTP.

use serde_json::{Value, json};

use crate::harness::{Plugins, Setup, event, eventually, numbered};

#[tokio::test]
async fn one_event_is_answered_with_its_receipt_and_can_be_read_back() {
    let setup = Setup::new();
    let host = setup.start();
    let sent = json!({
        "id": "01987d2e-0000-7000-8000-000000000001",
        "event_type": "CiFailing",
        "priority": "urgent",
        "session_id": "agent:7.a",
        "project_id": "web-checkout",
        "timestamp": "2026-08-03T09:30:00.123456789+02:00",
        "message": "CI failing ☂",
        "data": {"n": 9007199254740993u64, "nested": [1.0, {"a": null}]},
    });
    let (status, receipt) = host.publish(&sent).await;
    assert_eq!(status, 201);
    assert_eq!(receipt, json!({"id": sent["id"], "seq": 1, "status": "accepted"}));

    let (status, read) = host.get("/v1/events/01987d2e-0000-7000-8000-000000000001").await;
    assert_eq!(status, 200);
    assert_eq!(read["event_type"], "ci_failing");
    assert_eq!(read["timestamp"], "2026-08-03T07:30:00.123456Z");
    assert_eq!(read["data"], sent["data"]);
    let envelope = json!([read["seq"], read["caused_by"], read["hops"], read["dropped_by"]]);
    assert_eq!(envelope, json!([1, null, 0, null]));
    assert_eq!(host.get("/v1/events/01987d2e-0000-7000-8000-000000000002").await.0, 404);
}

#[tokio::test]
async fn what_a_sender_leaves_out_gets_its_default() {
    let setup = Setup::new();
    let host = setup.start();
    let (_, receipt) = host.publish(&event("pr_created")).await;
    let (_, read) = host.get(&format!("/v1/events/{}", receipt["id"].as_str().unwrap())).await;
    assert_eq!(json!([read["priority"], read["message"], read["data"]]), json!(["info", "", null]));
    assert!(read["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn a_repetition_is_answered_with_its_place_and_other_content_with_a_conflict() {
    let setup = Setup::new();
    let host = setup.start();
    let mut sent = numbered(1);
    let (_, first) = host.publish(&sent).await;
    let (status, again) = host.publish(&sent).await;
    assert_eq!(status, 201);
    assert_eq!(again, json!({"id": sent["id"], "seq": first["seq"], "status": "duplicate"}));

    sent["message"] = "something else".into();
    let (status, conflict) = host.publish(&sent).await;
    assert_eq!(status, 409);
    assert_eq!(conflict["seq"], first["seq"]);
    assert!(conflict["detail"].as_str().unwrap().contains("is taken by another event"));
    assert_eq!(host.log().await.len(), 1);
}

#[tokio::test]
async fn many_senders_of_one_id_get_one_place() {
    let setup = Setup::new();
    let host = std::sync::Arc::new(setup.start());
    let events: Vec<Value> = (0..200).map(numbered).collect();
    let senders = (0..16).map(|_| {
        let host = std::sync::Arc::clone(&host);
        let events = events.clone();
        tokio::spawn(async move {
            let mut answers = Vec::new();
            for event in &events {
                answers.push(host.publish(event).await.1);
            }
            answers
        })
    });
    let mut places = std::collections::BTreeMap::new();
    let mut accepted = 0;
    for sender in senders.collect::<Vec<_>>() {
        for receipt in sender.await.unwrap() {
            accepted += usize::from(receipt["status"] == "accepted");
            let id = receipt["id"].as_str().unwrap().to_owned();
            let seq = receipt["seq"].as_u64().unwrap();
            assert_eq!(*places.entry(id).or_insert(seq), seq);
        }
    }
    assert_eq!(accepted, 200);
    assert_eq!(host.log().await.len(), 200);
}

#[tokio::test]
async fn an_array_and_lines_are_answered_one_by_one_and_in_order() {
    let setup = Setup::new();
    let host = setup.start();
    let good = numbered(1);
    let many = json!([good, {"event_type": "nope"}, good, numbered(2), 7]);
    let response = host.post("application/json", many.to_string()).await;
    assert_eq!(response.status(), 200);
    let answer: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 5);
    assert_eq!(json!([results[0]["seq"], results[0]["status"]]), json!([1, "accepted"]));
    assert_eq!(json!([results[1]["status"], results[1]["field"]]), json!([400, "event_type"]));
    assert_eq!(json!([results[2]["seq"], results[2]["status"]]), json!([1, "duplicate"]));
    assert_eq!(json!([results[3]["seq"], results[3]["status"]]), json!([2, "accepted"]));
    assert_eq!(json!([results[4]["status"], results[4]["field"]]), json!([400, "body"]));

    let lines = format!("{}\n\r\n{{\"broken\n{}", numbered(3), numbered(4));
    let response = host.post("application/x-ndjson", lines).await;
    let answer: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 3, "an empty line is no event");
    assert_eq!(
        json!([results[0]["seq"], results[1]["field"], results[2]["seq"]]),
        json!([3, "body", 4])
    );

    let empty = host.post("application/x-ndjson", "").await;
    assert_eq!(empty.text().await.unwrap(), r#"{"results":[]}"#);
}

#[tokio::test]
async fn a_long_body_of_lines_is_taken_whole() {
    let setup = Setup::new();
    let host = setup.start();
    // About 50 MB, and an answer that no longer fits the host's memory budget for it.
    let padding = "x".repeat(700);
    let events: Vec<Value> = (0..60_000)
        .map(|n| {
            let mut event = numbered(n);
            event["message"] = padding.clone().into();
            event
        })
        .collect();
    let results = host.publish_lines(&events).await;
    assert_eq!(results.len(), events.len());
    for (expected, (event, receipt)) in (1..).zip(events.iter().zip(&results)) {
        assert_eq!(json!([receipt["id"], receipt["seq"]]), json!([event["id"], expected]));
    }
}

#[tokio::test]
async fn lines_do_not_wait_for_those_that_are_yet_to_come() {
    let setup = Setup::new();
    let host = setup.start();
    let (send, mut lines) = tokio::sync::mpsc::unbounded_channel::<String>();
    let body = futures::stream::poll_fn(move |context| lines.poll_recv(context));
    let body = reqwest::Body::wrap_stream(futures::StreamExt::map(body, Ok::<_, std::io::Error>));
    let client = reqwest::Client::new().post(format!("{}/v1/events", host.url));
    let request = client.header("content-type", "application/x-ndjson").body(body).send();
    let request = tokio::spawn(request);
    for expected in 1..=3 {
        send.send(format!("{}\n", numbered(expected))).unwrap();
        eventually("the line is in the log", async || {
            (host.log().await.len() == expected).then_some(())
        })
        .await;
    }
    drop(send);
    let answer = request.await.unwrap().unwrap().text().await.unwrap();
    assert_eq!(answer.matches("accepted").count(), 3, "{answer}");
}

#[tokio::test]
async fn the_log_is_asked_by_everything_that_an_event_has() {
    let setup = Setup::new();
    let host = setup.start();
    let at = |event_type: &str, project: &str, session: &str, priority: &str, hour: u32| {
        json!({"event_type": event_type, "project_id": project, "session_id": session,
               "priority": priority, "timestamp": format!("2026-08-03T{hour:02}:00:00Z")})
    };
    host.publish_lines(&[
        at("session_spawned", "atlas", "s-1", "info", 8),
        at("ci_failing", "atlas", "s-1", "action", 9),
        at("ci_failing", "billing", "s-2", "urgent", 10),
        at("ci_passing", "billing", "s-2", "info", 11),
        at("custom.deploy_started", "atlas", "s-3", "critical", 12),
    ])
    .await;
    for (query, expected) in [
        ("", vec![1, 2, 3, 4, 5]),
        ("order=desc", vec![5, 4, 3, 2, 1]),
        ("type=ci_failing", vec![2, 3]),
        ("type=ci_failing&type=custom.deploy_started", vec![2, 3, 5]),
        ("project=atlas", vec![1, 2, 5]),
        ("session=s-2", vec![3, 4]),
        ("subject=ennio.ci.%3E", vec![2, 3, 4]),
        ("subject=ennio.ci.*.failing&project=billing", vec![3]),
        ("min_priority=urgent", vec![3, 5]),
        ("since=2026-08-03T09:00:00Z&until=2026-08-03T11:00:00Z", vec![2, 3]),
        ("after_seq=2&before_seq=5", vec![3, 4]),
        ("type=all_complete", vec![]),
    ] {
        let (status, page) = host.get(&format!("/v1/events?{query}")).await;
        assert_eq!(status, 200, "{query}: {page}");
        let found: Vec<u64> =
            page["events"].as_array().unwrap().iter().map(|e| e["seq"].as_u64().unwrap()).collect();
        assert_eq!(found, expected, "{query}");
    }
    let (_, first) = host.get("/v1/events?limit=2&order=desc").await;
    assert_eq!(first["next"], 4);
    let (_, last) = host.get("/v1/events?limit=2&order=desc&before_seq=2").await;
    assert_eq!(last["next"], Value::Null);
}

#[tokio::test]
async fn a_token_guards_everything_but_the_signs_of_life() {
    let setup = Setup::new().argument("--token").argument("s3cret-token");
    let host = setup.start();
    for path in ["/v1/events", "/v1/events/stream", "/v1/plugins", "/v1/status", "/metrics"] {
        assert_eq!(host.get(path).await.0, 401, "{path}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(host.get(path).await.0, 200, "{path}");
    }
    assert_eq!(host.publish(&event("pr_created")).await.0, 401);
    let client = reqwest::Client::new().get(format!("{}/v1/events", host.url));
    let answer = client.bearer_auth("s3cret-token").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(!host.output().contains("s3cret-token"));
}

#[tokio::test]
async fn a_foreign_name_or_page_is_not_answered() {
    let setup = Setup::new();
    let host = setup.start();
    for (header, value) in [("host", "evil.test"), ("origin", "http://evil.test")] {
        let client = reqwest::Client::new().get(format!("{}/v1/events", host.url));
        let answer = client.header(header, value).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{header}");
    }
    let form = host.post("text/plain", event("pr_created").to_string()).await;
    assert_eq!(form.status(), 415);
    assert!(host.log().await.is_empty());
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let setup = Setup::new();
    let host = setup.start();
    let sent = numbered(1);
    host.publish(&sent).await;
    host.publish(&sent).await;
    let text = reqwest::get(format!("{}/metrics", host.url)).await.unwrap().text().await.unwrap();
    for line in [
        "ennio_events_total{stage=\"accepted\",event_type=\"activity_changed\"} 1",
        "ennio_events_total{stage=\"duplicate\",event_type=\"activity_changed\"} 1",
        "ennio_log_head 1",
        "ennio_commit_seconds_count 1",
        "ennio_batch_events_count 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
}

#[tokio::test]
async fn scrapes_at_the_same_time_tell_the_same() {
    let plugins = Plugins::new().with("quiet", "drop-chatty");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    host.publish(&event("pr_created")).await;
    let scrape =
        async || reqwest::get(format!("{}/metrics", host.url)).await.unwrap().text().await.unwrap();
    for _ in 0..20 {
        for text in futures::future::join_all((0..16).map(|_| scrape())).await {
            let line = "ennio_plugin_events_total{plugin=\"quiet\"} 1";
            assert!(text.lines().any(|l| l == line), "{text}");
        }
    }
}
