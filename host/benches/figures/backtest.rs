//! A candidate over the log: how fast that goes, and what it and a replay take from a host beside them.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use tokio::runtime::Runtime;

use crate::{
    Scale,
    http::load,
    plugins::guest,
    process::{Served, fill},
    table::{Goal, Table, in_turns},
};

/// Events that are taken in beside a backtest, in one body.
const LINES: u64 = 200_000;

pub fn rows(runtime: &Runtime, scale: Scale, table: &mut Table) {
    let folder = tempfile::tempdir().unwrap();
    runtime.block_on(fill(folder.path(), scale.million));
    let begun = Instant::now();
    backtest(folder.path());
    let rate = scale.million as f64 / begun.elapsed().as_secs_f64();
    let name = "backtest of a filter, the whole command";
    table.row(name, None, rate, "events/s", Goal::AtLeast(100_000.0));

    let host = Served::start(folder.path(), &[]);
    let lines = || LINES as f64 / load(&["lines", &host.address, &LINES.to_string(), "0"]);
    let seconds = scale.seconds.to_string();
    let p99 = || load(&["paced", &host.address, &seconds]);
    for (name, work) in [("a backtest", backtest as fn(&Path)), ("a replay", replay)] {
        let (alone, besides) = in_turns(lines, || beside(work, folder.path(), lines));
        let row = format!("HTTP, NDJSON, beside {name}");
        table.row(&row, Some(alone), besides, "events/s", Goal::Share(0.9));
        let (alone, besides) = in_turns(p99, || beside(work, folder.path(), p99));
        let row = format!("request to receipt at 1,000/s, p99, beside {name}");
        table.row(&row, Some(alone), besides, "ms", Goal::Multiple(1.1));
    }
    host.stop();
}

/// The whole command, over the first million events.
fn replay(folder: &Path) {
    let status = Command::new(env!("CARGO_BIN_EXE_ennio"))
        .args(["replay", "--to-stdout", "--to", "1000000", "--db"])
        .arg(folder.join("ennio.db"))
        .env("XDG_STATE_HOME", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success());
}

/// The whole command, from the load of the candidate to the summary.
fn backtest(folder: &Path) {
    let status = Command::new(env!("CARGO_BIN_EXE_ennio"))
        .arg("backtest")
        .arg(guest("keep-all"))
        .arg("--db")
        .arg(folder.join("ennio.db"))
        .args(["--json", "--fail-on-diff"])
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
}

/// Measures while the work is done over and over.
fn beside(work: fn(&Path), folder: &Path, measure: impl Fn() -> f64) -> f64 {
    let over = Arc::new(AtomicBool::new(false));
    let (stop, folder) = (Arc::clone(&over), folder.to_owned());
    let working = thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            work(&folder);
        }
    });
    let measured = measure();
    over.store(true, Ordering::Relaxed);
    working.join().unwrap();
    measured
}
