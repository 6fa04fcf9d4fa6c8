use super::*;

const KILLS: u64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_late_gets_everything_in_order() {
    let mut server = NatsServer::jetstream();
    create_stream(&connect(&server).await, "EVENTS", &["ennio.>"]).await;
    server.kill();
    let log = Log::new();
    let publisher = log.publish_to(&server);
    let mut committed = log.commit_some(1500, EventType::CiFailing).await;
    let away = is(&publisher, |now| now.last_error.is_some()).await;
    assert_eq!((away.state, away.connections, away.cursor), (NatsState::Away, 0, 0));
    let (_, reason) = away.last_error.unwrap();
    assert!(reason.starts_with(&format!("cannot connect to {}: ", server.url())), "{reason}");
    committed.extend(log.commit_some(500, EventType::PrCreated).await);
    server.start();
    let status = reaches(&publisher, 2000).await;
    assert_eq!((status.state, status.connections), (NatsState::Publishing, 1));
    let stored = contents(&connect(&server).await, "EVENTS").await;
    assert_eq!(without_subject(stored), places_and_ids(&committed));
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_again_and_again_ends_up_with_every_event_once_and_in_order() {
    let mut server = NatsServer::jetstream();
    create_stream(&connect(&server).await, "EVENTS", &["ennio.>"]).await;
    let log = Arc::new(Log::new());
    let publisher = log.publish_to(&server);
    let (enough, told) = tokio::sync::watch::channel(false);
    let writing = tokio::spawn({
        let log = Arc::clone(&log);
        async move {
            let mut committed = Vec::new();
            while !*told.borrow() {
                committed.extend(log.commit_some(50, EventType::ActivityChanged).await);
            }
            committed
        }
    });
    for _ in 0..KILLS {
        // In full flight: further on than the last time, with the writer at work.
        let before = publisher.status().snapshot().cursor;
        reaches(&publisher, before + 1).await;
        server.kill();
        is(&publisher, |now| now.state != NatsState::Publishing).await;
        server.start();
    }
    enough.send_replace(true);
    let committed = within("the writer", writing).await.unwrap();
    let head = committed.len() as Seq;
    let status = reaches(&publisher, head).await;
    let stored = contents(&connect(&server).await, "EVENTS").await;
    assert_eq!(without_subject(stored), places_and_ids(&committed));
    assert!(status.connections > KILLS, "{status:?}");
    assert!(status.sent > head, "some had to be sent again: {status:?}");
    stop(publisher).await;
    assert_eq!(log.cursor().await, Some(head));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_core_nats_the_cursor_waits_for_the_server_and_not_for_the_socket() {
    let mut server = NatsServer::jetstream();
    let client = connect(&server).await;
    // Writes down what the server has taken, but acknowledges nothing, so it does not count.
    let recorder = jetstream::stream::Config {
        name: "RECORDER".into(),
        subjects: vec!["ennio.>".into()],
        no_ack: true,
        ..Default::default()
    };
    jetstream::new(client).create_stream(recorder).await.unwrap();
    let log = Log::new();
    let publisher = log.publish_to(&server);
    let mut committed = log.commit_some(1000, EventType::SessionWorking).await;
    let status = reaches(&publisher, 1000).await;
    assert_eq!((status.acknowledged, status.streams), (0, vec![]));
    // These reach the server's socket, and no further.
    server.freeze();
    committed.extend(log.commit_some(200, EventType::SessionWorking).await);
    is(&publisher, |now| now.sent > 1000).await;
    server.kill();
    committed.extend(log.commit_some(1000, EventType::SessionWorking).await);
    server.start();
    reaches(&publisher, 2200).await;
    let client = connect(&server).await;
    let stored = contents(&client, "RECORDER").await;
    assert_eq!(without_subject(stored), places_and_ids(&committed));
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_found_out_and_what_it_holds_is_neither_lost_nor_repeated() {
    let server = NatsServer::jetstream();
    create_stream(&connect(&server).await, "EVENTS", &["ennio.>"]).await;
    let log = Log::new();
    let publisher = log.publish_to(&server);
    let mut committed = log.commit_some(100, EventType::CiFailing).await;
    reaches(&publisher, 100).await;
    server.freeze();
    committed.extend(log.commit_some(2000, EventType::CiFailing).await);
    is(&publisher, |now| now.state != NatsState::Publishing).await;
    server.thaw();
    reaches(&publisher, 2100).await;
    let stored = contents(&connect(&server).await, "EVENTS").await;
    assert_eq!(without_subject(stored), places_and_ids(&committed));
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_takes_no_longer_than_given_even_when_nobody_answers() {
    let server = NatsServer::core();
    let log = Log::new();
    let publisher = log.publish_to(&server);
    log.commit_some(10, EventType::CiFailing).await;
    reaches(&publisher, 10).await;
    server.freeze();
    log.commit_some(3000, EventType::CiFailing).await;
    let begun = std::time::Instant::now();
    publisher.stop(Duration::from_millis(500)).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(log.cursor().await, Some(10));
    server.thaw();
    let next = log.publish_to(&server);
    reaches(&next, 3010).await;
    stop(next).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_log_is_published_to_its_end() {
    let server = NatsServer::core();
    let log = Log::new();
    let mut publisher = log.publish_to(&server);
    let status = publisher.status();
    log.commit_some(3000, EventType::CiFailing).await;
    log.store.close().await;
    within("the publisher's end", publisher.ended()).await.unwrap();
    assert_eq!(status.snapshot().state, NatsState::Stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_credentials_leave_the_publisher_away_and_say_so_without_the_password() {
    let server = NatsServer::configured("authorization { user: host, password: right }");
    let log = Log::new();
    let url = server.url().replace("nats://", "nats://host:wr0ng@");
    let publisher = log.publish_with(NatsOptions::new(url.parse().unwrap()));
    let status = is(&publisher, |now| now.last_error.is_some()).await;
    let (_, reason) = status.last_error.unwrap();
    assert!(reason.contains("authorization violation") && !reason.contains("wr0ng"), "{reason}");
    assert_eq!(status.state, NatsState::Away);
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_falls_silent_is_found_out_when_there_is_nothing_to_publish() {
    let server = NatsServer::core();
    let log = Log::new();
    let publisher = log.publish_to(&server);
    is(&publisher, |now| now.state == NatsState::Publishing).await;
    let begun = std::time::Instant::now();
    server.freeze();
    is(&publisher, |now| now.state == NatsState::Away).await;
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    server.thaw();
    log.commit_some(1, EventType::PrMerged).await;
    reaches(&publisher, 1).await;
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_has_ended_and_leaves_nothing_behind() {
    let mut server = NatsServer::core();
    let options = NatsOptions::new(server.url().parse().unwrap());
    let tasks = tokio::runtime::Handle::current().metrics();
    assert_eq!(tasks.num_alive_tasks(), 0);
    let mut connection = connection::Connection::open(&options, 0, "ennio test").await.unwrap();
    server.kill();
    // Back at once: whoever reconnects would find it.
    server.start();
    let end = within("the end", connection.hear()).await;
    assert!(matches!(end, connection::Heard::End), "{end:?}");
    connection.mark(0).await.unwrap_err();
    drop(connection);
    within("the end of the client's tasks", async {
        while tasks.num_alive_tasks() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
