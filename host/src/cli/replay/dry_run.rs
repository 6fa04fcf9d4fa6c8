//! What a replay would send.

use std::{collections::BTreeMap, process::ExitCode};

use super::{
    super::{output::Output, progress::Progress, tally::thousands},
    history::{History, Item},
};
use crate::event::{Category, Seq, Timestamp};

/// Reads all of it and sends nothing.
pub(super) async fn count(mut history: History) -> anyhow::Result<ExitCode> {
    let end = history.part().end;
    let mut progress = Progress::new("counting", history.part().after);
    let mut by_category = BTreeMap::<&str, u64>::new();
    let mut places: Option<(Seq, Seq)> = None;
    let mut times: Option<(Timestamp, Timestamp)> = None;
    while let Some(page) = history.page().await? {
        for Item { entry, .. } in &page {
            *by_category.entry(entry.event.event_type.category().token()).or_default() += 1;
            let (seq, at) = (entry.seq, entry.event.timestamp);
            places = Some(places.map_or((seq, seq), |(first, _)| (first, seq)));
            times = Some(times.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
        }
        progress.at(history.part().after, end);
    }
    progress.clear();
    let mut output = Output::stdout();
    for line in counted(&by_category, places, times) {
        output.line(&line)?;
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn counted(
    by_category: &BTreeMap<&str, u64>,
    places: Option<(Seq, Seq)>,
    times: Option<(Timestamp, Timestamp)>,
) -> Vec<String> {
    let (Some((first, last)), Some((earliest, latest))) = (places, times) else {
        return vec!["would send nothing: no event is chosen".into()];
    };
    let all: u64 = by_category.values().sum();
    let mut lines = vec![
        format!("would send {} events, seq {first} to {last}", thousands(all)),
        format!("happened from {earliest} to {latest}"),
    ];
    let chosen = Category::ALL.into_iter().map(Category::token);
    let counts = chosen.filter_map(|token| Some((token, by_category.get(token)?)));
    lines.extend(counts.map(|(token, count)| format!("{:>9}  {token}", thousands(*count))));
    lines
}
