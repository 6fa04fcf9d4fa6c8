//! The whole way in one process: publish, filter, enrich, commit, subscriber.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use ennio::{
    event::{Draft, Selection},
    host::Host,
    store::NewEntry,
};
use futures::StreamExt;
use tokio::{runtime::Runtime, time::MissedTickBehavior};

use crate::{
    Scale,
    bare::BareLog,
    commit,
    events::{Source, check_places},
    plugins::guest,
    table::{Goal, Table, in_turns, quantile},
};

const BATCH: usize = 512;
/// Senders at once.
const SENDERS: usize = 4;

pub fn rows(runtime: &Runtime, scale: Scale, table: &mut Table) {
    let events = scale.stream / 2;
    for (name, plugins, goal) in [
        ("publish to subscriber, no plugin", &[][..], Goal::None),
        (
            "publish, filter, enrich, commit, subscriber",
            &[("keep-all", ""), ("tag-v1", "")][..],
            Goal::Share(0.7),
        ),
    ] {
        let (commit, ennio) = in_turns(
            || commit_alone(runtime, events),
            || runtime.block_on(through(plugins, events)),
        );
        table.row(name, Some(commit), ennio, "events/s", goal);
    }
}

/// The commit row's rate at the size of these rows.
pub fn commit_alone(runtime: &Runtime, events: u64) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    commit::rate(runtime, &folder.path().join("ennio.db"), events)
}

fn install(folder: &Path, plugins: &[(&str, &str)]) {
    std::fs::create_dir_all(folder).unwrap();
    for (number, (component, sidecar)) in plugins.iter().enumerate() {
        let name = format!("{component}-{number}");
        std::fs::copy(guest(component), folder.join(format!("{name}.wasm"))).unwrap();
        std::fs::write(folder.join(format!("{name}.toml")), sidecar).unwrap();
    }
}

/// So many events through a host with these plugins, and out at a subscriber; events a second.
async fn through(plugins: &[(&str, &str)], events: u64) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let plugin_folder = folder.path().join("plugins");
    install(&plugin_folder, plugins);
    let host = Host::builder(folder.path().join("ennio.db")).plugins(plugin_folder).start();
    let host = Arc::new(host.await.unwrap());
    assert_eq!(host.plugins().await.iter().filter(|p| p.hash.is_some()).count(), plugins.len());
    let mut source = Source::new();
    let mut batches: Vec<Vec<Draft>> =
        (0..events / BATCH as u64).map(|_| source.drafts(BATCH)).collect();
    let events = batches.len() * BATCH;
    let mut subscription = host.bus().subscribe(Selection::everything());
    let begun = Instant::now();
    let receiver = tokio::spawn(async move {
        let mut received = Vec::with_capacity(events);
        while received.len() < events {
            received.push(subscription.next().await.unwrap());
        }
        (received, Instant::now())
    });
    // In turn, as they were made: senders share a clock.
    let mut shares = vec![Vec::new(); SENDERS];
    for (number, batch) in batches.drain(..).enumerate() {
        shares[number % SENDERS].push(batch);
    }
    let mut senders = Vec::new();
    for mine in shares {
        let host = Arc::clone(&host);
        senders.push(tokio::spawn(async move {
            // Two on their way at once, as the HTTP door has it.
            let outcomes = futures::stream::iter(mine)
                .map(|batch| host.pipeline().publish_all(batch))
                .buffered(2);
            outcomes.for_each(async |batch| assert!(batch.iter().all(Result::is_ok))).await;
        }));
    }
    for sender in senders {
        sender.await.unwrap();
    }
    let (received, at) = receiver.await.unwrap();
    check_places(received.iter().map(|entry| &**entry), events as u64);
    host.shutdown().await;
    events as f64 / (at - begun).as_secs_f64()
}

/// What a hundred plugins cost that do not want the events, in turns with none.
pub fn hundred(runtime: &Runtime, scale: Scale, table: &mut Table) {
    let never = vec![("keep-all", "subscribe = [\"ennio.custom.nobody.never\"]\n"); 100];
    let events = scale.stream / 3;
    let (bare, ennio) = in_turns(
        || runtime.block_on(through(&[], events)),
        || runtime.block_on(through(&never, events)),
    );
    let name = "with 100 plugins that do not subscribe";
    table.row(name, Some(bare), ennio, "events/s", Goal::Share(0.95));
}

/// From the call of `publish` to the subscriber, at a thousand events a second, beside commits of one
/// event each.
pub fn latency(runtime: &Runtime, scale: Scale, table: &mut Table) {
    let folder = tempfile::tempdir().unwrap();
    let mut source = Source::new();
    let entries: Vec<NewEntry> = (0..2000).map(|_| source.entry()).collect();
    let mut bare: Vec<f64> = BareLog::new(folder.path())
        .commit_times(&entries)
        .into_iter()
        .map(|took| took.as_secs_f64() * 1000.0)
        .collect();
    let mut times = runtime.block_on(async {
        let host = Host::builder(folder.path().join("ennio.db")).start().await.unwrap();
        let mut subscription = host.bus().subscribe(Selection::everything());
        let mut clock = tokio::time::interval(Duration::from_millis(1));
        clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut times = Vec::new();
        for draft in source.drafts(scale.seconds as usize * 1000) {
            clock.tick().await;
            let begun = Instant::now();
            let id = draft.id;
            let (receipt, received) = tokio::join!(host.publish(draft), async {
                let entry = subscription.next().await.unwrap();
                (entry, begun.elapsed())
            });
            receipt.unwrap();
            assert_eq!(Some(received.0.event.id), id);
            times.push(received.1.as_secs_f64() * 1000.0);
        }
        host.shutdown().await;
        times
    });
    let bare = quantile(&mut bare, 0.5);
    for (name, share, most) in [("p50", 0.5, 2.0), ("p99", 0.99, 5.0)] {
        let name = format!("publish to subscriber at 1,000/s, {name}, of one bare commit");
        let time = quantile(&mut times, share);
        table.row(&name, Some(bare), time, "ms", Goal::Multiple(most));
    }
}
