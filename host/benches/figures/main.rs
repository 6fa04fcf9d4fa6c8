//! The figures that Ennio is to reach, each beside the bare thing in the same run.
//!
//!     cargo bench --bench figures                 the short form
//!     cargo bench --bench figures -- --full       with ten million events
//!     cargo bench --bench figures -- commit http  only rows whose names begin so
//!     cargo bench --bench figures -- --scale      instead, how the host grows, and the pictures of it
//!
//! Prints a table and writes `target/bench.json`. What is measured is the real thing: a file on
//! disk with `synchronous=FULL`, the real binary, a real nats-server, real components, HTTP over
//! loopback from another process. Counts and order are checked after the clock has stopped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark that is surprised should stop"
)]

mod backtest;
mod bare;
mod commit;
mod events;
mod http;
mod load;
mod nats;
#[allow(dead_code, reason = "tests use more of it")]
#[path = "../../src/nats/testing.rs"]
mod nats_server;
mod pipeline;
mod plot;
mod plugins;
mod process;
mod scale;
mod table;

use table::Table;

/// As the host has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Events of the commit row's first stretch.
    pub million: u64,
    /// Events in the end; as many as the first stretch in the short form.
    pub in_the_end: u64,
    /// Events of rows that go through the whole pipeline.
    pub stream: u64,
    /// Seconds of rows that last as long as they are told to.
    pub seconds: u64,
}

/// Measures some rows and adds them to the table.
type Rows = fn(&tokio::runtime::Runtime, Scale, &mut Table);

const SHORT: Scale =
    Scale { million: 1_000_000, in_the_end: 1_000_000, stream: 300_000, seconds: 4 };
const FULL: Scale =
    Scale { million: 1_000_000, in_the_end: 10_000_000, stream: 1_000_000, seconds: 10 };

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The other process of the HTTP rows is this one again.
    if let Some("load") = arguments.first().map(String::as_str) {
        return load::main(&arguments[1..]);
    }
    let scale = if arguments.iter().any(|a| a == "--full") { FULL } else { SHORT };
    let wanted: Vec<&String> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if arguments.iter().any(|a| a == "--scale") {
        return scale::run(&runtime);
    }
    let mut table = Table::new();
    let groups: [(&str, Rows); 10] = [
        ("commit", commit::rows),
        ("trace", commit::trace),
        ("filter", plugins::rows),
        ("pipeline", pipeline::rows),
        ("hundred", pipeline::hundred),
        ("latency", pipeline::latency),
        ("nats", nats::rows),
        ("http", http::rows),
        ("process", process::rows),
        ("backtest", backtest::rows),
    ];
    for (name, rows) in groups {
        if wanted.is_empty() || wanted.iter().any(|wanted| name.starts_with(wanted.as_str())) {
            rows(&runtime, scale, &mut table);
        }
    }
    table.finish();
}
