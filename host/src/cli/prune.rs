//! `ennio prune --dry-run`: what retention would delete.

use std::{path::PathBuf, process::ExitCode};

use super::{
    Usage,
    output::{Colour, Output},
    table::{Cell, Table, figures, text, whole},
    tally::thousands,
};
use crate::{
    amount::ByteSize,
    config::Config,
    event::Timestamp,
    nats::CURSOR,
    retention::{Holder, preview},
    store::{OpenError, Survey},
};

/// Show what retention would delete from a log
///
/// Reads the whole file, beside a running host if need be, and deletes nothing: a host prunes by
/// itself what its configuration says. Cursors are waited for as a host would do it with the NATS of
/// the configuration and every reaction that was ever loaded and is not disabled. What max_size would
/// delete is an estimate.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration file with a table [retention]
    #[arg(long, env = "ENNIO_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// SQLite file of the log [default: the configuration's]
    #[arg(long, env = "ENNIO_DB", value_name = "FILE")]
    db: Option<PathBuf>,
    /// Only show; has to be given
    #[arg(long)]
    dry_run: bool,
    /// When to colour
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    color: Colour,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if !args.dry_run {
        let reason = "a running host prunes by itself what its configuration says \
                      (--dry-run shows what that would be)";
        return Err(Usage(reason.into()).into());
    }
    let config = Config::read(&args.config)?;
    let database = args.db.as_ref().unwrap_or(&config.store.database);
    let mut output = Output::stdout();
    if config.retention.keeps_everything() {
        output.line(&format!("{}: everything stays", args.config.display()))?;
        output.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let has_nats = config.nats.url.is_some();
    let found =
        preview(&config.retention, database, Timestamp::now(), |survey| holders(survey, has_nats))?;
    let mut table = Table::new([
        text("RULE"),
        whole("LIMIT"),
        figures("EVENTS"),
        figures("FROM"),
        figures("TO"),
        figures("MESSAGE AND DATA"),
    ]);
    let shown = |seq: Option<u64>| seq.map_or("-".into(), thousands);
    for forecast in &found.forecasts {
        table.row([
            Cell::new(&forecast.name),
            Cell::new(&forecast.limit),
            Cell::new(thousands(forecast.events)),
            Cell::new(shown(forecast.range.map(|(first, _)| first))),
            Cell::new(shown(forecast.range.map(|(_, last)| last))),
            Cell::new(ByteSize(forecast.bytes)),
        ]);
    }
    let heading = output.colours(args.color).heading();
    for line in table.lines(Some(heading), output.width()) {
        output.line(&line)?;
    }
    let gone: u64 = found.forecasts.iter().map(|forecast| forecast.events).sum();
    let [gone, stay] = [gone, found.events.saturating_sub(gone)].map(thousands);
    output.line(&format!("{gone} events would go, {stay} stay"))?;
    if let Some(held) = &found.held {
        output.line(&format!(
            "waits for {}, which is done up to seq {}: without it, up to {} would go",
            held.cursor, held.at, held.until
        ))?;
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn holders(survey: &Survey, has_nats: bool) -> Result<Vec<Holder>, OpenError> {
    let disabled = survey.disabled_plugins()?;
    let reactions = survey.cursors()?.into_keys().filter(|cursor| {
        let plugin = cursor.strip_prefix("reaction/");
        plugin.is_some_and(|plugin| !disabled.iter().any(|name| name == plugin))
    });
    let nats = has_nats.then(|| Holder { cursor: CURSOR.to_owned(), begins_at_zero: true });
    let reactions = reactions.map(|cursor| Holder { cursor, begins_at_zero: false });
    Ok(nats.into_iter().chain(reactions).collect())
}
