//! `ennio import`: the log that an export is of.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;

use super::{export::is_compressed, output::Output, progress::Progress, tally::thousands};
use crate::store::archive::{ArchiveReader, Imported, Phase, import};

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;

/// Make the log that an export is of
///
/// The whole log keeps its places; a part of one gets places from 1 on. The database has to be
/// empty, and without a host. An import that was cut short is gone on with by the same command: what
/// is there already has to be equal. The search index is made at the end. A host that then starts on
/// the log publishes and reacts to what the exported one had not come to.
///
/// A file is read twice: first to see that it is complete and unchanged, then into the log. Standard
/// input is read once, so a fault in it shows when its events are in the database already.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The export, read as zstd when its name ends in .zst; `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// SQLite file of the log; made when it does not exist
    #[arg(long, env = "ENNIO_DB", value_name = "FILE", default_value = "ennio.db")]
    db: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let name = match is_stdin(&args.file) {
        true => "standard input".to_owned(),
        false => args.file.display().to_string(),
    };
    let Imported { events, added } = take(args).context(name)?;
    let found = match events - added {
        0 => String::new(),
        found => format!(", {} were there already", thousands(found)),
    };
    let mut output = Output::stdout();
    output.line(&format!("{}: {} events added{found}", args.db.display(), thousands(added)))?;
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn take(args: &Args) -> anyhow::Result<Imported> {
    if !is_stdin(&args.file) {
        let mut checking = Progress::new("checking", 0);
        let verified =
            ArchiveReader::open(open(&args.file)?)?.verify(|at, last| checking.at(at, last));
        checking.clear();
        verified?;
    }
    let mut importing = Progress::new("importing", 0);
    let mut indexing = None;
    let done =
        import(&args.db, ArchiveReader::open(open(&args.file)?)?, |step, at, last| match step {
            Phase::Import => importing.at(at, last),
            Phase::Index => {
                importing.clear();
                indexing.get_or_insert_with(|| Progress::new("indexing", 0)).at(at, last);
            }
        });
    importing.clear();
    indexing.iter().for_each(Progress::clear);
    Ok(done?)
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

fn open(file: &Path) -> io::Result<Box<dyn BufRead>> {
    if is_stdin(file) {
        return Ok(Box::new(BufReader::with_capacity(BUFFER, io::stdin())));
    }
    let from = File::open(file)?;
    Ok(match is_compressed(file) {
        false => Box::new(BufReader::with_capacity(BUFFER, from)),
        true => Box::new(BufReader::with_capacity(BUFFER, zstd::Decoder::new(from)?)),
    })
}
