//! `ennio export`: a log as a file of text.

use std::{
    fs::{self, File},
    io::{self, BufWriter, IsTerminal as _, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;

use super::{
    Usage,
    answers::Gone,
    filters::Filters,
    output::{Closed, note},
    progress::Progress,
    range::Range,
    tally::thousands,
};
use crate::{
    event::SubjectPattern,
    store::{
        Gap,
        archive::{ArchiveError, Exported, History, export},
    },
};

/// Bytes that are written at once.
const BUFFER: usize = 1 << 20;

const EXAMPLES: &str = "\
Examples:
  ennio export log.ndjson.zst                                the whole log
  ennio export atlas.ndjson --project atlas --from 30d       a part of it
  ennio export --subject 'ennio.ci.>' | jq .entry.message    for another program";

/// Write a log, or a part of it, to a file
///
/// The file is text, a line an event, with all that the log knows of it: place, envelope, what
/// enrichers changed. `ennio import` makes the same log of it. Reads the database file, beside a
/// running host if need be; what is committed later than the beginning is not in it.
///
/// Without a filter it is the whole log, hidden events too; with one, hidden events are in it only
/// with --include-dropped. How far NATS and each reaction have come is in it as well; what plugins
/// remember is not (`ennio plugin state NAME export`), nor are dead letters.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The file, compressed with zstd when its name ends in .zst; replaced when the export is
    /// complete [default: standard output]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// SQLite file of the log
    #[arg(long, env = "ENNIO_DB", value_name = "FILE", default_value = "ennio.db")]
    db: PathBuf,
    /// Published where this pattern says, like ennio.ci.*.failing; may be given several times
    #[arg(long, value_name = "PATTERN", help_heading = "Which events")]
    subject: Vec<SubjectPattern>,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    filters: Filters,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let log = History::open(&args.db)?;
    let (done, name) = match args.file.as_deref().filter(|file| *file != Path::new("-")) {
        Some(file) => {
            let name = file.display().to_string();
            (to_file(&log, args, file).with_context(|| name.clone())?, name)
        }
        None if io::stdout().is_terminal() => {
            return Err(Usage(
                "an export is not for a terminal (name a file, or pipe it: `ennio export | jq .`)"
                    .into(),
            )
            .into());
        }
        None => {
            let to = BufWriter::with_capacity(BUFFER, io::stdout());
            (write(&log, args, to)?, "standard output".into())
        }
    };
    let Exported { events, whole, pruned } = done;
    let what = if whole { "the whole log" } else { "a part of the log" };
    note(&format!("{}: {} events to {name}, {what}", args.db.display(), thousands(events)));
    if let Some(Gap { from, to, count }) = pruned {
        note(&Gone { from, to, count }.to_string());
    }
    Ok(ExitCode::SUCCESS)
}

/// Under another name first, so that a file of this name is always complete.
fn to_file(log: &History, args: &Args, file: &Path) -> anyhow::Result<Exported> {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let mut to = BufWriter::with_capacity(BUFFER, File::create(&part)?);
    let done = match is_compressed(file) {
        false => write(log, args, &mut to)?,
        true => {
            let mut compressed = zstd::Encoder::new(&mut to, zstd::DEFAULT_COMPRESSION_LEVEL)?;
            let done = write(log, args, &mut compressed)?;
            compressed.finish()?;
            done
        }
    };
    to.into_inner().map_err(|e| e.into_error())?.sync_all()?;
    fs::rename(&part, file)?;
    Ok(done)
}

/// By its name.
pub(super) fn is_compressed(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "zst")
}

fn write(log: &History, args: &Args, to: impl Write) -> anyhow::Result<Exported> {
    let mut selection = args.filters.selection(&args.subject);
    (selection.since, selection.until) = (args.range.since(), args.range.until());
    let after = args.range.after();
    let mut progress = Progress::new("exporting", after);
    let done = export(log, selection, after, args.range.last(), to, |at, last| {
        progress.at(at, last);
    });
    progress.clear();
    done.map_err(|error| match error {
        ArchiveError::Write(e) if e.kind() == io::ErrorKind::BrokenPipe => Closed.into(),
        error => error.into(),
    })
}
