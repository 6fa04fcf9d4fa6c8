//! The promises of the README, tested from outside: over HTTP, NATS, the CLI and files, against the
//! real binary with real components. Knows nothing of the host's inside.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a test that is surprised should stop"
)]

mod api;
mod archive;
mod authors;
mod backtest;
mod bad_input;
mod capabilities;
mod cli;
mod control;
mod dead_letters;
mod durability;
mod fleet;
mod follow;
mod harness;
mod hostile;
mod ingest;
mod languages;
mod mirror;
mod nats;
mod nats_faults;
mod nats_own;
#[allow(dead_code, reason = "the host's own tests use more of it")]
#[path = "../../host/src/nats/testing.rs"]
mod nats_server;
mod plugins;
mod queries;
mod reactions;
mod reload;
mod reload_matrix;
mod replay;
mod replay_reaction;
mod retention;
mod rules;
mod state;
mod stream;
mod trace;
mod trial;
mod trust;
mod webhook;
