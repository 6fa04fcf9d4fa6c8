//! A candidate over the log: how fast that goes, and what it takes from a host beside it.

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
    let (alone, besides) = in_turns(lines, || beside(folder.path(), lines));
    let name = "HTTP, NDJSON, beside a backtest";
    table.row(name, Some(alone), besides, "events/s", Goal::Share(0.9));

    let seconds = scale.seconds.to_string();
    let p99 = || load(&["paced", &host.address, &seconds]);
    let (alone, besides) = in_turns(p99, || beside(folder.path(), p99));
    let name = "request to receipt at 1,000/s, p99, beside a backtest";
    table.row(name, Some(alone), besides, "ms", Goal::Multiple(1.1));
    host.stop();
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

/// Measures while one backtest after the other runs.
fn beside(folder: &Path, measure: impl Fn() -> f64) -> f64 {
    let over = Arc::new(AtomicBool::new(false));
    let (stop, folder) = (Arc::clone(&over), folder.to_owned());
    let backtests = thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            backtest(&folder);
        }
    });
    let measured = measure();
    over.store(true, Ordering::Relaxed);
    backtests.join().unwrap();
    measured
}
