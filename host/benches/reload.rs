//! A thousand reloads under full load: `cargo bench --bench reload`.
//!
//! Senders publish as fast as the host takes it, first with one version of a plugin running all the
//! time, then while two versions take turns. Prints how long the log stood still at a swap, beside the
//! time between two commits when nothing is reloaded, and fails when an event was lost, repeated, out
//! of order, or met none or two versions.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a measurement that is surprised should stop"
)]

#[path = "../../tests/promises/harness/reloading.rs"]
mod reloading;

use std::{path::Path, time::Duration};

use reloading::{Ground, Run};

const RELOADS: usize = 1_000;

#[tokio::main]
async fn main() {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-guests");
    let [v1, v2] = ["tag-v1.wasm", "tag-v2.wasm"].map(|name| guests.join(name));
    assert!(v2.exists(), "the components are not built (run `make guests`)");
    let mut ground = Ground::new([&v1, &v2]).await;
    // Fills caches, compiles both versions.
    ground.run(2, Duration::from_secs(1)).await;
    let calm = ground.run(0, Duration::from_secs(10)).await;
    let resident = resident_mib();
    let busy = ground.run(RELOADS, Duration::ZERO).await;

    println!("{RELOADS} reloads under full load, {} events\n", busy.events);
    println!("{:<34}{:>11}{:>11}{:>11}", "", "p50", "p99", "max");
    row("between commits, no reload", &calm.gaps);
    row("between commits, with reloads", &busy.gaps);
    row("from the old version to the new", &busy.pauses);
    row("one reload, beside the events", &busy.reloads);
    println!("\nevents a second: {:.0} without reloads, {:.0} with", rate(&calm), rate(&busy));
    println!(
        "reloads a second: {:.0}; resident memory {resident} MiB before, {} MiB after",
        busy.reloads.len() as f64 / busy.took.as_secs_f64(),
        resident_mib()
    );
    println!("\nfrom the last event of the old version to the first of the new:");
    histogram(&busy.pauses);
    for run in [&calm, &busy] {
        assert!(run.faults.is_empty(), "{:#?}", run.faults);
    }
    println!("\n0 lost, 0 repeated, 0 out of order, each event met one version");
    ground.end().await;
}

fn rate(run: &Run) -> f64 {
    run.events as f64 / run.took.as_secs_f64()
}

fn row(what: &str, times: &[Duration]) {
    let mut times = times.to_vec();
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| format!("{:.2?}", at(share)));
    println!("{what:<34}{p50:>11}{p99:>11}{max:>11}");
}

/// By powers of two of a millisecond.
fn histogram(times: &[Duration]) {
    let mut below = Duration::from_micros(250);
    let mut from = Duration::ZERO;
    let longest = times.iter().max().copied().unwrap_or_default();
    while from <= longest {
        let count = times.iter().filter(|time| (from..below).contains(*time)).count();
        let bar = "#".repeat((count * 60).div_ceil(times.len()));
        println!("  < {:>8} {count:>5} {bar}", format!("{below:?}"));
        (from, below) = (below, below * 2);
    }
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}
