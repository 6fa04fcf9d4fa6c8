//! `ennio-day`: writes the recorded day as NDJSON. With no options, exactly the committed file.

use std::io::{ErrorKind, Write};

use anyhow::Context;
use chrono::NaiveDate;
use clap::Parser;

/// Write a recorded day of a small fleet of coding agents, one event a line.
#[derive(Parser)]
#[command(name = "ennio-day", version)]
struct Options {
    /// What the dice start from: one seed, one day
    #[arg(long, value_name = "N", default_value_t = ennio_day::DEFAULT_SEED)]
    seed: u64,
    /// The (UTC) day on which it all happens
    #[arg(long, value_name = "YYYY-MM-DD", default_value_t = ennio_day::DEFAULT_DATE)]
    date: NaiveDate,
    /// Where to write; `-` is standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: String,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let day = ennio_day::ndjson(options.seed, options.date)?;
    if options.out == "-" {
        // `ennio-day | head` closes the pipe early; that is the reader's wish, not our failure.
        match std::io::stdout().lock().write_all(day.as_bytes()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => written.context("cannot write to standard output"),
        }
    } else {
        std::fs::write(&options.out, day).with_context(|| format!("cannot write {}", options.out))
    }
}
