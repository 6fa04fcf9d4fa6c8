//! The `ennio` command: `serve` runs a host, everything else talks to one over HTTP.
//!
//! One file a subcommand: its flags, and what it does. They share `client` (the only place that
//! speaks HTTP), `answers` (what the host says), `filters` (which events), `output` (standard
//! output, made safe for terminals), `table` and `times`. `emit` reads events out of text with
//! `input`, groups them with `batches` and gets them there with `sender`; `summary` counts with
//! `tally`. `export`, `import` and `doctor` open the file of a log themselves, and `replay` can; it
//! also sends over the NATS room.
//!
//! A client command knows the host's API and the types of `event`, nothing else of the host: it
//! must work against a host on another machine. `plugin check`, `build`, `test` and `bench`, `prune` and
//! `doctor` ask nobody and use the plugin room, the trials, retention and the store themselves; so do
//! `backtest` and `plugin shadow`, which read the log's file and whose output `differences` writes. They
//! and `replay` run on threads that give way to everybody (`gentle`). `plugin push` and `plugin status` talk to a
//! NATS server. What comes back is never trusted:
//! nothing that a sender wrote reaches a terminal unescaped.
//!
//! Exit codes: 0 done, 1 failed, 2 used wrongly, 130 a replay that was interrupted; of `backtest` and
//! `plugin shadow` 1 is an answer, and 2 whatever went wrong. A closed standard output (`| head`) is no
//! failure.

mod answers;
mod backtest;
mod batches;
mod client;
mod completions;
mod config;
mod dead_letters;
mod differences;
mod doctor;
mod emit;
mod events;
mod export;
mod filters;
mod gentle;
mod import;
mod input;
mod nats;
mod output;
mod plugin;
mod progress;
mod prune;
mod range;
mod refused;
mod replay;
mod sender;
mod serve;
mod stats;
mod status;
mod summary;
mod table;
mod tail;
mod tally;
mod times;
mod trace;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use thiserror::Error;

use output::Closed;

/// An event host that WebAssembly plugins extend.
///
/// `ennio serve` runs a host. Every other command talks to a running one, at
/// http://127.0.0.1:7117 unless --url or ENNIO_URL names another.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  ennio serve                                         run a host
  ennio emit ci_failing --project atlas --session s-1 send one event
  ennio emit < day.ndjson                             send many
  ennio tail 'ennio.ci.*.failing'                     watch events as they come
  ennio events --since 2h --min-priority urgent       look back
  ennio trace 3417                                    one event's whole story
  ennio stats --by hour --since 24h                   count
  ennio summary                                       what happened so far
  ennio backtest noise-filter.wasm --since 7d         what a change of it would have done
  ennio replay --from 7d --to-nats                    send a week once more
  ennio export log.ndjson.zst                         the whole log as a file

Exit codes: 0 done, 1 failed, 2 used wrongly.";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Emit(emit::Args),
    Tail(tail::Args),
    Events(events::Args),
    Trace(trace::Args),
    Stats(stats::Args),
    Plugin(plugin::Args),
    DeadLetters(dead_letters::Args),
    Backtest(backtest::Args),
    Status(status::Args),
    Summary(summary::Args),
    Prune(prune::Args),
    Replay(replay::Args),
    Export(export::Args),
    Import(import::Args),
    Doctor(doctor::Args),
    Config(config::Args),
    Completions(completions::Args),
}

/// Used wrongly in a way that the flags alone do not show.
#[derive(Debug, Error)]
#[error("{0}")]
struct Usage(String);

/// Does what was asked for.
///
/// # Errors
/// What [`report`] prints.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(args) => serve::run(args).await,
        Command::Emit(args) => emit::run(args).await,
        Command::Tail(args) => tail::run(args).await,
        Command::Events(args) => events::run(args).await,
        Command::Trace(args) => trace::run(args).await,
        Command::Stats(args) => stats::run(args).await,
        Command::Plugin(args) => plugin::run(args).await,
        Command::DeadLetters(args) => dead_letters::run(args).await,
        Command::Backtest(args) => backtest::run(args).await,
        Command::Status(args) => status::run(args).await,
        Command::Summary(args) => summary::run(args).await,
        Command::Prune(args) => prune::run(&args),
        Command::Replay(args) => replay::run(args).await,
        Command::Export(args) => export::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Config(args) => config::run(args).await,
        Command::Completions(args) => completions::run(args),
    }
}

/// For commands whose exit code 1 is an answer, as of `diff`: whatever goes wrong is a 2.
fn trouble(outcome: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    outcome.or_else(|error| match error.is::<Closed>() {
        true => Err(error),
        false => {
            output::note(&format!("error: {error:#}"));
            Ok(ExitCode::from(2))
        }
    })
}

/// Says on standard error what went wrong, and which exit code that makes.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if error.is::<Closed>() {
        return ExitCode::SUCCESS;
    }
    output::note(&format!("error: {error:#}"));
    match error.is::<Usage>() {
        true => ExitCode::from(2),
        false => ExitCode::FAILURE,
    }
}
