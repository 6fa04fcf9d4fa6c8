//! A seeded generator of one recorded day of a small fleet of coding agents.
//!
//! What it is for: examples, backtests and benches need a day that looks like a day (office hours,
//! a lunch dip, flaky networks, a chatty agent, leaked keys) and is the same day on every machine.
//!
//! What it may not know: the host. It writes the event format from its description alone, as any
//! client in any language would, so that a mistake in the host's own types cannot hide here too.
//!
//! Reading order is the order in which a day comes about:
//!
//! - `dice`: repeatable chance, one independent stream for each actor
//! - `clock`: moments of the day, office hours, the pace of work
//! - `event`: the eight fields and their JSON
//! - `fleet`: the projects, agents and reviewers, and who starts what when
//! - `topics`: what the projects work on
//! - `nodes`: the machines, when they are up, their health checks
//! - `session`: one agent's life from spawned to cleaned
//! - `pull_request`: the middle of that life: CI, review, merge
//! - `log_tails`: how a failed CI job ends
//! - `tools`: the orchestrator and the teams' own tools: all-complete and custom events
//! - `noise`: bursts of duplicates
//! - `secrets`: leaked keys, obviously fake
//! - `day`: all of it put together, sorted, numbered

mod clock;
mod day;
mod dice;
mod event;
mod fleet;
mod log_tails;
mod nodes;
mod noise;
mod pull_request;
mod secrets;
mod session;
mod tools;
mod topics;

pub use day::{DEFAULT_DATE, DEFAULT_SEED, ndjson};
