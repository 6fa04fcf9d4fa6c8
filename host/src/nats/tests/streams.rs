use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_acknowledges_what_it_covers_and_the_rest_goes_out_over_core() {
    let server = NatsServer::jetstream();
    let client = connect(&server).await;
    create_stream(&client, "CI", &["ennio.ci.>"]).await;
    let mut heard = listen(&client, "ennio.>").await;
    let log = Log::new();
    let publisher = log.publish_to(&server);
    let kinds = [EventType::CiFailing, EventType::PrCreated, EventType::MergeReady];
    let committed =
        log.commit((0..3000).map(|i| entry(kinds[i % kinds.len()].clone())).collect()).await;
    for entry in &committed {
        let message = within("an event", heard.next()).await.unwrap();
        assert_eq!(seq_of(&message), entry.seq);
        assert_eq!(message.reply.is_some(), entry.event.event_type == EventType::CiFailing);
    }
    let status = reaches(&publisher, 3000).await;
    assert_eq!((status.acknowledged, status.sent), (1000, 3000));
    assert_eq!(status.streams, ["CI"]);
    let stored: Vec<_> = contents(&client, "CI").await.into_iter().map(|entry| entry.0).collect();
    assert_eq!(stored, (1..=3000).step_by(3).collect::<Vec<Seq>>());
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_stream_holds_the_publisher_until_there_is_room() {
    let server = NatsServer::jetstream();
    let client = connect(&server).await;
    let jetstream = jetstream::new(client.clone());
    let mut config = jetstream::stream::Config {
        name: "EVENTS".into(),
        subjects: vec!["ennio.>".into()],
        max_messages: 100,
        discard: jetstream::stream::DiscardPolicy::New,
        ..Default::default()
    };
    jetstream.create_stream(config.clone()).await.unwrap();
    let log = Log::new();
    let committed = log.commit_some(600, EventType::CiFailing).await;
    let publisher = log.publish_to(&server);
    // The first refusal finds a whole window under way, of which the stream could take a later
    // event as soon as there is room. From the second on, the refused one is alone.
    let held = is(&publisher, |now| now.state == NatsState::Held && now.connections == 2).await;
    assert_eq!(held.cursor, 100);
    let (_, reason) = held.last_error.unwrap();
    assert!(reason.starts_with("event 101: maximum messages exceeded"), "{reason}");
    config.max_messages = 10_000;
    jetstream.update_stream(config).await.unwrap();
    reaches(&publisher, 600).await;
    let stored = contents(&client, "EVENTS").await;
    assert_eq!(without_subject(stored), places_and_ids(&committed));
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_larger_than_the_stream_takes_is_skipped_aloud() {
    let server = NatsServer::jetstream();
    let client = connect(&server).await;
    let config = jetstream::stream::Config {
        name: "EVENTS".into(),
        subjects: vec!["ennio.>".into()],
        max_message_size: 2048,
        ..Default::default()
    };
    jetstream::new(client.clone()).create_stream(config).await.unwrap();
    let log = Log::new();
    let mut large = entry(EventType::CiFailing);
    large.event.message = "x".repeat(4000).parse().unwrap();
    log.commit(vec![entry(EventType::CiFailing), large, entry(EventType::CiFailing)]).await;
    let publisher = log.publish_to(&server);
    let status = reaches(&publisher, 3).await;
    assert_eq!((status.skipped, status.acknowledged), (1, 2));
    let (_, reason) = status.last_error.unwrap();
    assert!(reason.starts_with("event 2 is not published: "), "{reason}");
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_deleted_is_noticed_and_nothing_before_its_end_is_lost() {
    let server = NatsServer::jetstream();
    let client = connect(&server).await;
    create_stream(&client, "EVENTS", &["ennio.>"]).await;
    let log = Log::new();
    let publisher = log.publish_to(&server);
    log.commit_some(300, EventType::CiFailing).await;
    reaches(&publisher, 300).await;
    jetstream::new(client.clone()).delete_stream("EVENTS").await.unwrap();
    log.commit_some(10, EventType::CiFailing).await;
    let held = is(&publisher, |now| now.state == NatsState::Held).await;
    let (_, reason) = held.last_error.unwrap();
    assert_eq!(reason, "event 301: no stream answers for the subject any more");
    // A look at the streams later, there is none to wait for.
    let status = reaches(&publisher, 310).await;
    assert!(status.streams.is_empty());
    // One that comes while the publisher runs is found as well.
    create_stream(&client, "NEW", &["ennio.>"]).await;
    is(&publisher, |now| now.streams == ["NEW"]).await;
    log.commit_some(10, EventType::CiFailing).await;
    let acknowledged = is(&publisher, |now| now.acknowledged == 310).await;
    assert!(acknowledged.cursor <= 320);
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_elses_answer_is_no_acknowledgement() {
    let server = NatsServer::jetstream();
    let client = connect(&server).await;
    create_stream(&client, "CI", &["ennio.ci.>"]).await;
    // Answers faster than any stream, and claims to be one.
    let mut impostor = listen(&client, "ennio.ci.>").await;
    let answering = tokio::spawn({
        let client = client.clone();
        async move {
            while let Some(message) = impostor.next().await {
                let reply = message.reply.unwrap();
                client.publish(reply.clone(), "ok".into()).await.unwrap();
                client.publish(reply, r#"{"stream":"X","seq":1}"#.into()).await.unwrap();
            }
        }
    });
    let log = Log::new();
    log.commit_some(200, EventType::CiFailing).await;
    let publisher = log.publish_to(&server);
    let status = reaches(&publisher, 200).await;
    assert_eq!((status.acknowledged, status.connections), (200, 1));
    assert_eq!(contents(&client, "CI").await.len(), 200);
    stop(publisher).await;
    answering.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_lost_its_place_repeats_nothing_in_the_stream() {
    let server = NatsServer::jetstream();
    let client = connect(&server).await;
    create_stream(&client, "EVENTS", &["ennio.>"]).await;
    let log = Log::new();
    let committed = log.commit_some(700, EventType::CiFailing).await;
    let publisher = log.publish_to(&server);
    is(&publisher, |now| now.connections == 1).await;
    // Gone like a killed host: no cursor is saved.
    publisher.abort();
    let again = log.publish_to(&server);
    let status = reaches(&again, 700).await;
    assert_eq!(status.acknowledged, 700);
    let stored = contents(&client, "EVENTS").await;
    assert_eq!(without_subject(stored), places_and_ids(&committed));
    stop(again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_without_jetstream_is_served_over_core() {
    let server = NatsServer::configured(
        r#"
        jetstream { store_dir: "STORE" }
        accounts {
            A { users: [ { user: a, password: a } ] }
            B { jetstream: enabled, users: [ { user: b, password: b } ] }
        }
        "#,
    );
    let log = Log::new();
    log.commit_some(20, EventType::CiFailing).await;
    let url = server.url().replace("nats://", "nats://a:a@");
    let publisher = log.publish_with(NatsOptions::new(url.parse().unwrap()));
    let status = reaches(&publisher, 20).await;
    assert_eq!((status.acknowledged, status.last_error), (0, None));
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_beyond_the_first_page_count_too() {
    let server = NatsServer::jetstream();
    let client = connect(&server).await;
    let jetstream = jetstream::new(client.clone());
    for i in 0..300 {
        let config = jetstream::stream::Config {
            name: format!("A{i:03}"),
            subjects: vec![format!("other.{i}")],
            storage: jetstream::stream::StorageType::Memory,
            ..Default::default()
        };
        jetstream.create_stream(config).await.unwrap();
    }
    create_stream(&client, "Z", &["ennio.>"]).await;
    let log = Log::new();
    log.commit_some(1, EventType::CiFailing).await;
    let publisher = log.publish_to(&server);
    let status = reaches(&publisher, 1).await;
    assert_eq!((status.streams, status.acknowledged), (vec!["Z".to_owned()], 1));
    stop(publisher).await;
}
