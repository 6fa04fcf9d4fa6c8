//! `ennio doctor`: is the database sound, and how to mend what can be mended.

use std::{path::PathBuf, process::ExitCode};

use indicatif::{ProgressBar, ProgressStyle};

use super::output::{Output, plain};
use crate::{
    amount::ByteSize,
    store::{health, reindex, vacuum},
};

/// Check a log file, make its search index anew, or make it smaller
///
/// Reads the whole file, beside a running host if need be, and exits with 1 when something is wrong
/// with it. The search index (the file whose name ends in `-index`) holds nothing that is not in the
/// log: it can be deleted while no host runs, and is made again.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// SQLite file of the log
    #[arg(long, env = "ENNIO_DB", value_name = "FILE", default_value = "ennio.db")]
    db: PathBuf,
    /// Make the search index anew; no host may be running on this log
    #[arg(long)]
    reindex: bool,
    /// Write the file anew without free space, and so that retention can give space back from now on;
    /// no host may be running on this log, and as much space again must be free
    #[arg(long, conflicts_with = "reindex")]
    vacuum: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut output = Output::stdout();
    if args.reindex {
        let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
            "{bar:40} {pos}/{len} events, {per_sec}, {eta} left",
        )?);
        let events = reindex(&args.db, |seq, head| {
            bar.set_length(head);
            bar.set_position(seq);
        })?;
        bar.finish_and_clear();
        output.line(&format!("{}: {events} events are in the index", args.db.display()))?;
        output.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.vacuum {
        let shrunk = vacuum(&args.db)?;
        let [before, after] =
            [shrunk.before, shrunk.after].map(|space| ByteSize(space.used + space.free));
        output.line(&format!("{}: {before} before, {after} now", args.db.display()))?;
        output.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let health = health(&args.db)?;
    let range = match health.range {
        Some((first, last)) => format!("{} events, {first} to {last}", health.events),
        None => "no events".to_owned(),
    };
    let pruned = match health.pruned {
        0 => String::new(),
        pruned => format!(", {pruned} pruned"),
    };
    output.line(&format!("{}: {range}{pruned}", args.db.display()))?;
    let [used, free] = [health.space.used, health.space.free].map(ByteSize);
    let hint = if health.space.shrinks { "" } else { ", which --vacuum would give back" };
    output.line(&format!("  {used} in use, {free} free{hint}"))?;
    for fault in &health.faults {
        output.line(&format!("  {}", plain(fault)))?;
    }
    let (verdict, code) = match health.faults.is_empty() {
        true => ("the file is sound", ExitCode::SUCCESS),
        false => (
            "the file is damaged: stop the host, keep a copy, and save what can be read with \
             `sqlite3 FILE .recover`",
            ExitCode::FAILURE,
        ),
    };
    output.line(verdict)?;
    output.flush()?;
    Ok(code)
}
