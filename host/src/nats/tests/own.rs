//! The stream that the host owns: made, compared, explained.

use super::*;

/// Publishes to a stream of the host's own, as `toml` says it shall be.
pub(super) fn own(url: &str, toml: &str) -> NatsOptions {
    let stream: StreamOptions = toml::from_str(toml).unwrap();
    NatsOptions { stream: Some(stream), ..NatsOptions::new(url.parse().unwrap()) }
}

pub(super) async fn config_of(
    client: &async_nats::Client,
    stream: &str,
) -> jetstream::stream::Config {
    let stream = jetstream::new(client.clone()).get_stream(stream).await.unwrap();
    stream.get_info().await.unwrap().config
}

/// The last thing that went wrong, once it begins with this.
pub(super) async fn complains(publisher: &Publisher, beginning: &str) -> String {
    let now = is(publisher, |now| {
        now.state != NatsState::Publishing
            && now.last_error.as_ref().is_some_and(|(_, reason)| reason.starts_with(beginning))
    });
    now.await.last_error.unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_is_made_as_configured_and_acknowledges_every_category() {
    let server = NatsServer::jetstream();
    let client = connect(&server).await;
    let log = Log::new();
    let committed = log.commit(EventType::BUILT_IN.iter().cloned().map(entry).collect()).await;
    let toml =
        "max_age = \"30d\"\nmax_bytes = 1000000\nstorage = \"memory\"\nduplicate_window = \"1h\"";
    let publisher = log.publish_with(own(&server.url(), toml));
    let status = reaches(&publisher, 30).await;
    assert_eq!((status.acknowledged, status.streams), (30, vec!["ENNIO_EVENTS".to_owned()]));
    assert_eq!(
        without_subject(contents(&client, "ENNIO_EVENTS").await),
        places_and_ids(&committed)
    );
    let config = config_of(&client, "ENNIO_EVENTS").await;
    assert_eq!(config.max_age, Duration::from_hours(30 * 24));
    assert_eq!((config.max_bytes, config.max_messages), (1_000_000, -1));
    assert_eq!(config.storage, jetstream::stream::StorageType::Memory);
    assert_eq!(config.duplicate_window, Duration::from_hours(1));
    assert_eq!(config.subjects.len(), 9);
    stop(publisher).await;
    // Somebody else's subjects are nobody's business.
    create_stream(&client, "ENNIO_INGEST", &["ennio.ingest.>", "ennio.commands.>"]).await;
    let again = log.publish_with(own(&server.url(), toml));
    log.commit_some(10, EventType::CiFailing).await;
    assert_eq!(reaches(&again, 40).await.streams, ["ENNIO_EVENTS"]);
    stop(again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_otherwise_is_left_as_it_is_and_publishing_is_held_until_it_fits() {
    let server = NatsServer::jetstream();
    let client = connect(&server).await;
    let mut there = jetstream::stream::Config {
        name: "ENNIO_EVENTS".into(),
        subjects: stream_options::subjects(&Prefix::default()),
        max_age: Duration::from_hours(1),
        ..Default::default()
    };
    jetstream::new(client.clone()).create_stream(there.clone()).await.unwrap();
    let before = config_of(&client, "ENNIO_EVENTS").await;
    let mut heard = listen(&client, "ennio.>").await;
    let log = Log::new();
    log.commit_some(20, EventType::CiFailing).await;
    let publisher = log.publish_with(own(&server.url(), "max_age = \"2h\""));
    let reason = complains(&publisher, "stream ENNIO_EVENTS is not as [nats.stream] says").await;
    assert_eq!(
        reason,
        "stream ENNIO_EVENTS is not as [nats.stream] says: max_age is 1h, not 2h (write \
         `max_age = \"1h\"` in [nats.stream], or run `nats stream edit ENNIO_EVENTS --max-age=2h`)"
    );
    assert_eq!(publisher.status().snapshot().state, NatsState::Held);
    round_trip(&client).await;
    assert!(waiting(&mut heard).is_none(), "nothing goes out past the stream");
    assert_eq!(config_of(&client, "ENNIO_EVENTS").await, before);
    there.max_age = Duration::from_hours(2);
    jetstream::new(client.clone()).update_stream(there.clone()).await.unwrap();
    reaches(&publisher, 20).await;
    // One that is changed while the host runs is found out as well.
    there.max_messages = 1_000;
    jetstream::new(client.clone()).update_stream(there).await.unwrap();
    let reason = complains(&publisher, "stream ENNIO_EVENTS is not as").await;
    assert!(reason.contains("max_msgs is 1000, not unlimited (run `nats stream edit"), "{reason}");
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_the_way_of_a_stream_is_named_and_nothing_goes_out_past_it() {
    let server = NatsServer::jetstream();
    let client = connect(&server).await;
    create_stream(&client, "CI", &["ennio.ci.>", "other.>"]).await;
    let mut heard = listen(&client, "ennio.pr.>").await;
    let log = Log::new();
    log.commit_some(5, EventType::PrCreated).await;
    let publisher = log.publish_with(own(&server.url(), ""));
    let reason =
        complains(&publisher, "stream ENNIO_EVENTS cannot be made: subjects overlap").await;
    assert!(reason.contains(": CI (ennio.ci.>) (take the subjects"), "{reason}");
    round_trip(&client).await;
    assert!(waiting(&mut heard).is_none());
    jetstream::new(client.clone()).delete_stream("CI").await.unwrap();
    assert_eq!(reaches(&publisher, 5).await.acknowledged, 5);
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_jetstream_publishing_is_held_until_the_account_has_it() {
    let mut server = NatsServer::core();
    let client = connect(&server).await;
    let mut heard = listen(&client, "ennio.>").await;
    let log = Log::new();
    log.commit_some(5, EventType::PrCreated).await;
    let publisher = log.publish_with(own(&server.url(), ""));
    let reason = complains(&publisher, "JetStream is not enabled").await;
    assert!(reason.contains("-js"), "{reason}");
    round_trip(&client).await;
    assert!(waiting(&mut heard).is_none(), "never sent as core");
    server.kill();
    server.reconfigure("jetstream { store_dir: \"STORE\" }");
    server.start();
    assert_eq!(reaches(&publisher, 5).await.acknowledged, 5);
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_user_may_not_ask_is_said() {
    let server = NatsServer::configured(
        "jetstream { store_dir: \"STORE\" }\n\
         authorization { users: [ { user: host, password: pw, permissions: \
         { publish: [\"ennio.>\", \"_INBOX.>\"], subscribe: \"_INBOX.>\" } } ] }",
    );
    let log = Log::new();
    let url = server.url().replace("nats://", "nats://host:pw@");
    let publisher = log.publish_with(own(&url, ""));
    let held = is(&publisher, |now| now.state == NatsState::Held).await;
    let (_, reason) = held.last_error.unwrap();
    assert!(reason.contains("$JS.API.STREAM.INFO.ENNIO_EVENTS"), "{reason}");
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_logs_stream_is_left_alone_until_it_is_emptied() {
    let server = NatsServer::jetstream();
    let client = connect(&server).await;
    let first = Log::new();
    first.commit_some(7, EventType::CiFailing).await;
    let publisher = first.publish_with(own(&server.url(), ""));
    reaches(&publisher, 7).await;
    stop(publisher).await;
    let second = Log::new();
    let committed = second.commit_some(3, EventType::PrCreated).await;
    let publisher = second.publish_with(own(&server.url(), ""));
    let reason = complains(&publisher, "stream ENNIO_EVENTS holds events of another log").await;
    let (theirs, ours) = (first.store.origin(), second.store.origin());
    assert!(
        reason.contains(&format!(": {theirs}, up to its event 7; this one is {ours}")),
        "{reason}"
    );
    let stream = jetstream::new(client.clone()).get_stream("ENNIO_EVENTS").await.unwrap();
    assert_eq!(stream.get_info().await.unwrap().state.messages, 7);
    stream.purge().await.unwrap();
    reaches(&publisher, 3).await;
    assert_eq!(
        without_subject(contents(&client, "ENNIO_EVENTS").await),
        places_and_ids(&committed)
    );
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_prefixes_share_a_server_without_meeting() {
    let server = NatsServer::jetstream();
    let client = connect(&server).await;
    let publish = async |prefix: &str, count| {
        let log = Log::new();
        let committed = log.commit_some(count, EventType::CiFailing).await;
        let prefix = prefix.parse().unwrap();
        let publisher = log.publish_with(NatsOptions { prefix, ..own(&server.url(), "") });
        (log, committed, publisher)
    };
    let (_ennio, ours, one) = publish("ennio", 40).await;
    let (_acme, theirs, other) = publish("acme", 50).await;
    assert_eq!(reaches(&one, 40).await.streams, ["ENNIO_EVENTS"]);
    assert_eq!(reaches(&other, 50).await.streams, ["ACME_EVENTS"]);
    for (stream, committed, first) in
        [("ENNIO_EVENTS", ours, "ennio"), ("ACME_EVENTS", theirs, "acme")]
    {
        let contents = contents(&client, stream).await;
        assert!(contents.iter().all(|(_, _, subject)| subject.starts_with(&format!("{first}."))));
        assert_eq!(without_subject(contents), places_and_ids(&committed));
    }
    stop(one).await;
    stop(other).await;
}
