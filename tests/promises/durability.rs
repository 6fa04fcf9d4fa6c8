//! An accepted event survives a kill at any moment.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tokio::sync::Mutex;

use crate::harness::{Checker, Fault, Setup, ennio, eventually, numbered};

/// Kills under load. Each is followed by a restart and the question whether all is there.
const KILLS: usize = 25;
/// Senders at once.
const SENDERS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_accepted_event_survives_25_kills_under_load_once_and_without_a_gap() {
    let setup = Setup::new();
    let checker = Arc::new(Mutex::new(Checker::default()));
    for round in 0..KILLS {
        let host = setup.start();
        let url = host.url.clone();
        let before = checker.lock().await.count_told();
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                tokio::spawn(send_until_refused(url.clone(), sender, Arc::clone(&checker)))
            })
            .collect();
        // Another moment in each round: the kill meets begins, commits, flushes and checkpoints.
        let wanted = before + 10 + round * 37 % 400;
        eventually("enough events are accepted", async || {
            (checker.lock().await.count_told() >= wanted).then_some(())
        })
        .await;
        host.kill();
        for sender in senders {
            sender.await.unwrap();
        }
    }
    let host = setup.start();
    let log = host.log().await;
    let checker = checker.lock().await;
    assert!(checker.count_told() > KILLS * 10);
    assert_eq!(checker.faults(&log), [], "{} accepted", checker.count_told());
    host.interrupt();
    let database = rusqlite::Connection::open(setup.database()).unwrap();
    let integrity: String =
        database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
}

/// One event a request, and some in lines, until the host is gone.
async fn send_until_refused(url: String, sender: usize, checker: Arc<Mutex<Checker>>) {
    let client = reqwest::Client::new();
    for round in 0.. {
        let events: Vec<Value> =
            (0..if sender == 0 { 50 } else { 1 }).map(|n| numbered(round * 50 + n)).collect();
        for event in &events {
            checker.lock().await.sent(event);
        }
        let body: String = events.iter().map(|event| format!("{event}\n")).collect();
        let request = client
            .post(format!("{url}/v1/events"))
            .header("content-type", "application/x-ndjson")
            .timeout(Duration::from_secs(30))
            .body(body);
        let Ok(response) = request.send().await else { return };
        let Ok(answer) = response.text().await else { return };
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let mut checker = checker.lock().await;
        for receipt in answer["results"].as_array().unwrap() {
            checker.told(receipt);
        }
    }
}

/// The checker is what the promise rests on, so it has to find what it is there to find.
#[tokio::test]
async fn the_checker_finds_a_planted_loss_a_repetition_and_a_gap() {
    let setup = Setup::new();
    let host = setup.start();
    let events: Vec<Value> = (0..10).map(numbered).collect();
    let mut checker = Checker::default();
    events.iter().for_each(|event| checker.sent(event));
    host.publish_lines(&events).await.iter().for_each(|receipt| checker.told(receipt));
    let log = host.log().await;
    assert_eq!(checker.faults(&log), []);
    host.interrupt();

    let database = rusqlite::Connection::open(setup.database()).unwrap();
    database.execute("DELETE FROM events WHERE seq = 5", []).unwrap();
    database.execute("UPDATE events SET seq = 5 WHERE seq = 10", []).unwrap();
    drop(database);
    let log = setup.start().log().await;
    let lost = events[4]["id"].as_str().unwrap().to_owned();
    let moved = events[9]["id"].as_str().unwrap().to_owned();
    let faults = checker.faults(&log);
    assert!(faults.contains(&Fault::Lost(lost)), "{faults:?}");
    assert!(faults.contains(&Fault::Moved(moved)), "{faults:?}");

    let mut repeated = log.clone();
    repeated.push(repeated[0].clone());
    assert!(checker.faults(&repeated).iter().any(|fault| matches!(fault, Fault::Repeated(_))));
    let mut gap = log;
    gap.remove(2);
    assert!(checker.faults(&gap).iter().any(|fault| matches!(fault, Fault::Gap(_))));
    assert!(Checker::default().faults(&gap).iter().any(|fault| matches!(fault, Fault::Phantom(_))));
}

#[tokio::test]
async fn an_interrupted_host_answers_what_it_took_and_says_that_all_is_on_disk() {
    let setup = Setup::new();
    let host = setup.start();
    let checker = Arc::new(Mutex::new(Checker::default()));
    let sender = tokio::spawn(send_until_refused(host.url.clone(), 1, Arc::clone(&checker)));
    eventually("some events are accepted", async || {
        (checker.lock().await.count_told() > 50).then_some(())
    })
    .await;
    let output = tokio::task::spawn_blocking(move || host.interrupt()).await.unwrap();
    sender.await.unwrap();
    assert!(output.contains("everything accepted is on disk"), "{output}");
    let wal = setup.folder.path().join("ennio.db-wal");
    assert!(!wal.exists() || wal.metadata().unwrap().len() == 0, "the WAL was moved into the file");
    let host = setup.start();
    assert_eq!(checker.lock().await.faults(&host.log().await), []);
}

#[test]
fn the_log_is_readable_by_hand() {
    let setup = Setup::new();
    let host = setup.start();
    let emitted = ennio()
        .args(["emit", "ci_failing", "--project", "atlas", "--session", "s-1", "--url", &host.url])
        .args(["--timestamp", "2026-08-03T09:30:00Z"])
        .output()
        .unwrap();
    assert!(emitted.status.success(), "{}", String::from_utf8_lossy(&emitted.stderr));
    // While the host runs, as somebody with a shell would.
    let database = rusqlite::Connection::open(setup.database()).unwrap();
    let row: (String, String, String, String) = database
        .query_row(
            "SELECT event_type, priority, subject, timestamp FROM events_rfc3339 WHERE project_id = 'atlas'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .unwrap();
    let expected = ("ci_failing", "info", "ennio.ci.atlas.failing", "2026-08-03T09:30:00.000000Z");
    assert_eq!((&*row.0, &*row.1, &*row.2, &*row.3), expected);
}
