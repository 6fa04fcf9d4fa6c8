use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_published_in_order_with_its_envelope_and_its_eight_fields() {
    let server = NatsServer::core();
    let client = connect(&server).await;
    let mut heard = listen(&client, "ennio.>").await;
    let log = Log::new();
    // What was committed before the publisher came counts too.
    let mut reaction = entry(EventType::ReactionTriggered);
    let cause = Cause { event_id: EventId::mint(), plugin: "ci-triage".parse().unwrap() };
    (reaction.caused_by, reaction.hops) = (Some(cause.clone()), 3);
    reaction.event.message = "two\r\nlines: ☂".parse().unwrap();
    reaction.event.data = r#"{"n":9007199254740993}"#.parse::<Data>().unwrap();
    let mut committed = log.commit(vec![reaction, entry(EventType::AllComplete)]).await;
    let publisher = log.publish_to(&server);
    for _ in 0..20 {
        committed.extend(log.commit_some(100, EventType::CiFailing).await);
    }
    for entry in &committed {
        let message = within("an event", heard.next()).await.unwrap();
        assert_eq!(message.subject.as_str(), entry.subject.as_str());
        assert_eq!(message.payload, serde_json::to_vec::<Event>(&entry.event).unwrap());
        let headers = message.headers.unwrap();
        let header = |name: &'static str| headers.get(name).map(|value| value.as_str());
        assert_eq!(header("Nats-Msg-Id"), Some(&*entry.event.id.to_string()));
        assert_eq!(header("Ennio-Seq"), Some(&*entry.seq.to_string()));
        assert_eq!(header("Ennio-Hops"), Some(&*entry.hops.to_string()));
        assert_eq!(header("Ennio-Previous"), Some(&*(entry.seq - 1).to_string()));
        assert_eq!(header("Ennio-Origin"), Some(&*log.store.origin().to_string()));
        assert_eq!(header("Ennio-Committed"), Some(&*entry.committed_at.to_string()));
        assert_eq!(header("Ennio-Digest"), Some(&*entry.digest.unwrap().to_string()));
        let expected = (entry.seq == 1).then(|| format!("{} ci-triage", cause.event_id));
        assert_eq!(header("Ennio-Caused-By"), expected.as_deref());
    }
    let status = reaches(&publisher, 2002).await;
    assert_eq!((status.state, status.sent), (NatsState::Publishing, 2002));
    assert_eq!((status.acknowledged, status.skipped, status.last_error), (0, 0, None));
    stop(publisher).await;
    assert_eq!(log.cursor().await, Some(2002));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_prefix_is_the_first_token_on_the_wire_and_streams_are_found_under_it() {
    let server = NatsServer::jetstream();
    let client = connect(&server).await;
    create_stream(&client, "OURS", &["acme.ci.>"]).await;
    create_stream(&client, "OTHERS", &["ennio.>"]).await;
    let log = Log::new();
    log.commit_some(5, EventType::CiFailing).await;
    let prefix = "acme".parse().unwrap();
    let publisher =
        log.publish_with(NatsOptions { prefix, ..NatsOptions::new(server.url().parse().unwrap()) });
    let status = reaches(&publisher, 5).await;
    assert_eq!((status.streams, status.acknowledged), (vec!["OURS".to_owned()], 5));
    let contents = contents(&client, "OURS").await;
    assert!(contents.iter().all(|(_, _, subject)| subject == "acme.ci.atlas.failing"));
    assert_eq!(contents.len(), 5);
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_publisher_goes_on_where_the_last_one_stopped() {
    let server = NatsServer::core();
    let client = connect(&server).await;
    let mut heard = listen(&client, "ennio.>").await;
    let mut log = Log::new();
    let mut last = 0;
    for round in 0..4 {
        log.commit_some(500, EventType::PrUpdated).await;
        let publisher = log.publish_to(&server);
        // Stopped somewhere in the middle, the last time at the end.
        let target = if round == 3 { 2000 } else { last + 1 };
        reaches(&publisher, target).await;
        stop(publisher).await;
        last = log.cursor().await.unwrap();
        log = log.restart().await;
    }
    for expected in 1..=2000 {
        assert_eq!(seq_of(&within("an event", heard.next()).await.unwrap()), expected);
    }
    round_trip(&client).await;
    assert!(waiting(&mut heard).is_none(), "nothing is published twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hidden_events_are_not_published_and_the_next_one_names_what_was_published_before_it() {
    let server = NatsServer::core();
    let client = connect(&server).await;
    let mut heard = listen(&client, "ennio.>").await;
    let log = Log::new();
    let publisher = log.publish_to(&server);
    is(&publisher, |now| now.state == NatsState::Publishing).await;
    let hidden = || {
        let dropped = Some(Dropped { by: "noise".parse().unwrap(), reason: "noise".into() });
        NewEntry { dropped, ..entry(EventType::StatusChanged) }
    };
    log.commit(vec![hidden(), entry(EventType::PrCreated), hidden(), hidden()]).await;
    assert_eq!(places_of(&within("an event", heard.next()).await.unwrap()), (2, 0));
    let status = reaches(&publisher, 4).await;
    assert_eq!(status.sent, 1);
    stop(publisher).await;
    // What was published last is known to the next publisher too, past what nobody gets to see.
    let origin = log.store.origin();
    let log = log.restart().await;
    assert_eq!(log.store.origin(), origin);
    log.commit(vec![hidden(), entry(EventType::PrMerged), entry(EventType::PrMerged)]).await;
    let publisher = log.publish_to(&server);
    for expected in [(6, 2), (7, 6)] {
        assert_eq!(places_of(&within("an event", heard.next()).await.unwrap()), expected);
    }
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_the_server_never_takes_is_skipped_aloud_and_holds_nothing_up() {
    let server = NatsServer::configured("max_payload: 4096");
    let client = connect(&server).await;
    let mut heard = listen(&client, "ennio.>").await;
    let log = Log::new();
    let mut large = entry(EventType::CiFailing);
    large.event.message = "x".repeat(8000).parse().unwrap();
    // Headers count: this one fits without them only.
    let mut edge = entry(EventType::CiFailing);
    let rest = 4096 - serde_json::to_vec(&edge.event).unwrap().len();
    edge.event.message = "x".repeat(rest).parse().unwrap();
    log.commit(vec![entry(EventType::CiFailing), large, edge, entry(EventType::CiFailing)]).await;
    let publisher = log.publish_to(&server);
    let status = reaches(&publisher, 4).await;
    assert_eq!((status.skipped, status.sent, status.connections), (2, 2, 1));
    let (_, reason) = status.last_error.unwrap();
    assert!(reason.starts_with("event 3 is not published: "), "{reason}");
    assert!(reason.contains("at most 4096 (raise its max_payload)"), "{reason}");
    for expected in [(1, 0), (4, 1)] {
        assert_eq!(places_of(&within("an event", heard.next()).await.unwrap()), expected);
    }
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_size_that_is_counted_is_the_servers() {
    let server = NatsServer::core();
    let client = connect(&server).await;
    let mut heard = listen(&client, "ennio.>").await;
    let log = Log::new();
    let mut reaction = entry(EventType::ReactionTriggered);
    reaction.caused_by = Some(Cause { event_id: EventId::mint(), plugin: "p".parse().unwrap() });
    let committed = log.commit(vec![reaction, entry(EventType::PrCreated)]).await;
    let publisher = log.publish_to(&server);
    for entry in committed {
        let message = within("an event", heard.next()).await.unwrap();
        let ours = message::Message::new(
            &entry,
            &Prefix::default(),
            Some(message::Link { origin: log.store.origin(), previous: entry.seq - 1 }),
        )
        .unwrap()
        .size();
        // The library counts the subject as well.
        assert_eq!(ours, message.length - message.subject.len());
    }
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_account_may_not_publish_waits_until_it_may() {
    let config = |allow: &str| {
        format!(
            "authorization {{ users: [ \
             {{ user: host, password: \"p@ss\", permissions: {{ publish: [{allow}], subscribe: \"_INBOX.>\" }} }}, \
             {{ user: all, password: all }} ] }}"
        )
    };
    let narrow = config("\"ennio.ci.>\", \"_INBOX.>\", \"$JS.API.STREAM.LIST\"");
    let mut server = NatsServer::configured(&narrow);
    let all = server.url().replace("nats://", "nats://all:all@");
    let options = async_nats::ConnectOptions::with_user_and_password("all".into(), "all".into());
    let client = options.connect(all).await.unwrap();
    let mut heard = listen(&client, "ennio.>").await;
    let log = Log::new();
    log.commit_some(3, EventType::CiFailing).await;
    log.commit_some(3, EventType::PrCreated).await;
    let url = server.url().replace("nats://", "nats://host:p%40ss@");
    let publisher = log.publish_with(NatsOptions::new(url.parse().unwrap()));
    let held = is(&publisher, |now| now.state == NatsState::Held && now.connections == 3).await;
    assert_eq!(held.cursor, 3);
    round_trip(&client).await;
    let mut times = [0; 6];
    while let Some(message) = waiting(&mut heard) {
        times[seq_of(&message) as usize - 1] += 1;
    }
    // The first refusal cannot tell how far it reaches back; from the second on, it repeats itself
    // and nothing else.
    assert!(times[..3].iter().all(|times| (1..=2).contains(times)), "{times:?}");
    assert_eq!(times[3..], [0, 0, 0]);
    let (_, reason) = held.last_error.unwrap();
    assert!(reason.contains("ermissions") && reason.contains("ennio.pr.atlas.created"), "{reason}");
    server.kill();
    server.reconfigure(&config("\">\""));
    server.start();
    reaches(&publisher, 6).await;
    stop(publisher).await;
}
