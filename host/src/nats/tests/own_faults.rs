//! What happens to the stream that the host owns, and to what is under way to it.

use super::{
    own::{complains, own},
    *,
};

/// Rounds of whatever is done to a cluster.
const ROUNDS: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_deleted_is_made_anew_and_begins_where_the_old_one_ended() {
    let server = NatsServer::jetstream();
    let client = connect(&server).await;
    let log = Log::new();
    let publisher = log.publish_with(own(&server.url(), ""));
    log.commit_some(300, EventType::CiFailing).await;
    reaches(&publisher, 300).await;
    jetstream::new(client.clone()).delete_stream("ENNIO_EVENTS").await.unwrap();
    let committed = log.commit_some(10, EventType::CiFailing).await;
    reaches(&publisher, 310).await;
    assert_eq!(
        without_subject(contents(&client, "ENNIO_EVENTS").await),
        places_and_ids(&committed)
    );
    assert_eq!(first_previous(&client).await, 300, "a reader can tell that it misses some");
    // Noticed without an event, too.
    jetstream::new(client.clone()).delete_stream("ENNIO_EVENTS").await.unwrap();
    let connections = publisher.status().snapshot().connections;
    is(&publisher, |now| now.connections > connections).await;
    jetstream::new(client.clone()).get_stream("ENNIO_EVENTS").await.unwrap();
    stop(publisher).await;
}

async fn first_previous(client: &async_nats::Client) -> Seq {
    let stream = jetstream::new(client.clone()).get_stream("ENNIO_EVENTS").await.unwrap();
    let first = stream.get_info().await.unwrap().state.first_sequence;
    let message = stream.get_raw_message(first).await.unwrap();
    message.headers.get(message::PREVIOUS).unwrap().as_str().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_in_the_stream_once_however_long_the_host_was_gone() {
    let server = NatsServer::jetstream();
    let client = connect(&server).await;
    let log = Log::new();
    let mut committed = log.commit_some(700, EventType::CiFailing).await;
    let toml = "duplicate_window = \"100ms\"";
    let publisher = log.publish_with(own(&server.url(), toml));
    // Before the first saving of the cursor: the next one has to ask the stream.
    is(&publisher, |now| now.connections == 1).await;
    let stream = jetstream::new(client.clone()).get_stream("ENNIO_EVENTS").await.unwrap();
    within("events in the stream", async {
        while stream.get_info().await.unwrap().state.messages < 100 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    publisher.abort();
    within("the end of the duplicate window", async {
        let probe = || {
            let mut headers = async_nats::HeaderMap::new();
            headers.insert("Nats-Msg-Id", committed[0].event.id.to_string());
            headers.insert("Nats-Expected-Last-Sequence", "999999");
            headers
        };
        // A repetition within the window is answered as one, and else refused for its condition.
        let jetstream = jetstream::new(client.clone());
        let send = || jetstream.publish_with_headers("ennio.ci.atlas.failing", probe(), "".into());
        while send().await.unwrap().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let again = log.publish_with(own(&server.url(), toml));
    committed.extend(log.commit_some(50, EventType::PrMerged).await);
    let status = reaches(&again, 750).await;
    assert!(status.sent <= 650, "{status:?}");
    assert_eq!(
        without_subject(contents(&client, "ENNIO_EVENTS").await),
        places_and_ids(&committed)
    );
    stop(again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_lost_with_its_disk_is_published_again() {
    let mut server = NatsServer::jetstream();
    let log = Log::new();
    let publisher = log.publish_with(own(&server.url(), ""));
    let mut committed = log.commit_some(200, EventType::CiFailing).await;
    reaches(&publisher, 200).await;
    server.kill();
    let old = tempfile::tempdir().unwrap();
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        let copied = std::process::Command::new("cp").arg("-r").arg(from).arg(to).status();
        assert!(copied.unwrap().success());
    };
    copy(&server.store(), &old.path().join("store"));
    server.start();
    committed.extend(log.commit_some(100, EventType::PrMerged).await);
    reaches(&publisher, 300).await;
    server.kill();
    std::fs::remove_dir_all(server.store()).unwrap();
    copy(&old.path().join("store"), &server.store());
    server.start();
    committed.extend(log.commit_some(10, EventType::PrClosed).await);
    reaches(&publisher, 310).await;
    let client = connect(&server).await;
    assert_eq!(
        without_subject(contents(&client, "ENNIO_EVENTS").await),
        places_and_ids(&committed)
    );
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_of_the_database_publishes_nothing_over_what_it_does_not_know() {
    let server = NatsServer::jetstream();
    let log = Log::new();
    log.commit_some(5, EventType::CiFailing).await;
    let log = log.restart().await;
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(log.folder.path().join("ennio.db"), copy.path().join("ennio.db")).unwrap();
    log.commit_some(5, EventType::CiFailing).await;
    let publisher = log.publish_with(own(&server.url(), ""));
    reaches(&publisher, 10).await;
    stop(publisher).await;
    let older = Log::open(copy);
    older.commit_some(1, EventType::PrMerged).await;
    let publisher = older.publish_with(own(&server.url(), ""));
    let reason =
        complains(&publisher, "stream ENNIO_EVENTS holds events of this log up to 10").await;
    assert!(reason.contains("but the log ends at 6: the database is an older copy"), "{reason}");
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_elses_messages_in_the_stream_hold_nobody_up_and_no_event_is_lost_over_them() {
    let server = NatsServer::jetstream();
    let client = connect(&server).await;
    let log = Log::new();
    let publisher = log.publish_with(own(&server.url(), ""));
    log.commit_some(10, EventType::CiFailing).await;
    reaches(&publisher, 10).await;
    for round in 1..=3 {
        let jetstream = jetstream::new(client.clone());
        let sent = jetstream.publish("ennio.ci.atlas.failing", "by hand".into()).await.unwrap();
        sent.await.unwrap();
        log.commit_some(100, EventType::CiFailing).await;
        reaches(&publisher, 10 + 100 * round).await;
    }
    // As fast as the stream takes them.
    let flood = tokio::spawn({
        let jetstream = jetstream::new(client.clone());
        async move {
            loop {
                let sent = jetstream.publish("ennio.ci.atlas.failing", "by hand".into()).await;
                sent.unwrap().await.unwrap();
            }
        }
    });
    log.commit_some(300, EventType::CiFailing).await;
    reaches(&publisher, 610).await;
    flood.abort();
    log.commit_some(300, EventType::CiFailing).await;
    reaches(&publisher, 910).await;
    let jetstream = jetstream::new(client.clone());
    let stream = jetstream.get_stream("ENNIO_EVENTS").await.unwrap();
    let mut ours = Vec::new();
    for number in 1..=stream.get_info().await.unwrap().state.messages {
        let message = stream.get_raw_message(number).await.unwrap();
        ours.extend(
            message.headers.get(message::SEQ).map(|seq| seq.as_str().parse::<Seq>().unwrap()),
        );
    }
    // One whose place they took comes late.
    ours.sort_unstable();
    assert_eq!(ours, (1..=910).collect::<Vec<_>>());
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_changes_its_leader_under_load_has_every_event_once_and_in_order() {
    let cluster = NatsCluster::new(3);
    let log = Arc::new(Log::new());
    let publisher = log.publish_with(own(&cluster.url(), "replicas = 3"));
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
    reaches(&publisher, 1).await;
    let client = async_nats::connect(cluster.servers[0].url()).await.unwrap();
    let subject = "$JS.API.STREAM.LEADER.STEPDOWN.ENNIO_EVENTS";
    for _ in 0..ROUNDS {
        let before = publisher.status().snapshot().cursor;
        reaches(&publisher, before + 500).await;
        within("a leader that gives up", async {
            loop {
                let answer = client.request(subject, "".into()).await;
                if answer
                    .is_ok_and(|answer| String::from_utf8_lossy(&answer.payload).contains("true"))
                {
                    break;
                }
            }
        })
        .await;
    }
    let before = publisher.status().snapshot().cursor;
    reaches(&publisher, before + 500).await;
    enough.send_replace(true);
    let committed = within("the writer", writing).await.unwrap();
    reaches(&publisher, committed.len() as Seq).await;
    assert_eq!(
        without_subject(contents(&client, "ENNIO_EVENTS").await),
        places_and_ids(&committed)
    );
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_overtakes_one_that_got_lost_on_its_way() {
    let config = |deny: &str| {
        format!(
            "jetstream {{ store_dir: \"STORE\" }}\n\
             authorization {{ users: [ {{ user: host, password: pw, permissions: \
             {{ publish: {{ allow: \">\", deny: [{deny}] }} }} }} ] }}"
        )
    };
    // Of a whole window that is under way, the server throws one event away.
    let mut server = NatsServer::configured(&config("\"ennio.pr.>\""));
    let url = server.url().replace("nats://", "nats://host:pw@");
    let log = Log::new();
    let mut committed = log.commit_some(50, EventType::CiFailing).await;
    committed.extend(log.commit_some(1, EventType::PrCreated).await);
    committed.extend(log.commit_some(100, EventType::CiFailing).await);
    let publisher = log.publish_with(own(&url, ""));
    is(&publisher, |now| now.state == NatsState::Held && now.cursor == 50).await;
    server.kill();
    server.reconfigure(&config(""));
    server.start();
    reaches(&publisher, 151).await;
    let options = async_nats::ConnectOptions::with_user_and_password("host".into(), "pw".into());
    let client = options.connect(server.url()).await.unwrap();
    assert_eq!(
        without_subject(contents(&client, "ENNIO_EVENTS").await),
        places_and_ids(&committed)
    );
    stop(publisher).await;
}
