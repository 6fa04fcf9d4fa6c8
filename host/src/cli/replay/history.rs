//! Where history comes from: a running host, or the file of a log.

use std::time::Instant;

use anyhow::{Context as _, anyhow};
use serde_json::value::RawValue;

use super::{
    super::{
        answers::{Gone, Page, Status},
        client::{Client, ClientError, Params},
        output::{note, plain},
        sender::{RETRY_FOR, Trouble},
    },
    Args,
};
use crate::{
    event::{LogEntry, Selection, Seq, Timestamp},
    store::{Gap, archive},
};

/// What a host gives at most at once.
const PAGE: usize = 500;

/// One event of history.
pub(super) struct Item {
    pub(super) entry: LogEntry,
    /// The host's own JSON, where it came from a host.
    raw: Option<Box<RawValue>>,
}

impl Item {
    /// The JSON of API answers, to the byte.
    pub(super) fn json(&self) -> &str {
        self.raw.as_ref().map_or_else(|| self.entry.json(), |raw| raw.get())
    }
}

/// Which part of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// Everything up to here is done.
    pub(super) after: Seq,
    /// The last place.
    pub(super) end: Seq,
    pub(super) since: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
}

/// Reads history page by page, in the order of the log.
pub(super) struct History {
    from: Source,
    part: Part,
    is_read: bool,
}

enum Source {
    Host { client: Client, params: Params },
    File { log: Box<archive::History>, selection: Selection },
}

impl History {
    /// Finds out where the log ends; `part` is then cut to that.
    pub(super) async fn open(args: &Args, mut part: Part) -> anyhow::Result<Self> {
        let (from, head) = match &args.db {
            Some(path) => {
                let log = Box::new(archive::History::open(path)?);
                let head = log.head()?;
                let mut selection = args.filters.selection(&args.subject);
                (selection.since, selection.until) = (part.since, part.until);
                (Source::File { log, selection }, head)
            }
            None => {
                let client = Client::new(&args.connection)?;
                let status = client.get::<Status>(&["status"], &Params::new()).await;
                let head =
                    status.context("the history is asked of a host (--db reads a file)")?.head;
                let mut params = args.filters.params(&args.subject);
                params.extend(part.since.map(|time| ("since".into(), time.to_string())));
                params.extend(part.until.map(|time| ("until".into(), time.to_string())));
                (Source::Host { client, params }, head)
            }
        };
        part.end = part.end.min(head);
        Ok(Self { from, part, is_read: false })
    }

    /// What is left of it.
    pub(super) fn part(&self) -> &Part {
        &self.part
    }

    /// The next events, perhaps none; `None` at the end. A host that was there and is away for a
    /// moment is waited for.
    pub(super) async fn page(&mut self) -> anyhow::Result<Option<Vec<Item>>> {
        let Part { after, end, .. } = self.part;
        if self.is_read || after >= end {
            return Ok(None);
        }
        match &self.from {
            Source::File { log, selection } => {
                let records = log.read(after, end)?;
                let until = records.last().map_or(end, |last| last.entry.seq);
                if let Some(Gap { from, to, count }) = log.gap(after, until)? {
                    note(&Gone { from, to, count }.to_string());
                }
                match records.last() {
                    Some(last) => self.part.after = last.entry.seq,
                    None => self.is_read = true,
                }
                let entries = records.into_iter().map(|record| record.entry);
                let chosen = entries.filter(|entry| selection.matches(entry));
                Ok(Some(chosen.map(|entry| Item { entry, raw: None }).collect()))
            }
            Source::Host { client, params } => {
                let mut params = params.clone();
                params.push(("after_seq".into(), after.to_string()));
                params.push(("before_seq".into(), end.saturating_add(1).to_string()));
                params.push(("order".into(), "asc".into()));
                params.push(("limit".into(), PAGE.to_string()));
                let page = patiently(client, &params).await?;
                page.pruned.iter().for_each(|gone| note(&gone.to_string()));
                match page.next {
                    Some(next) => self.part.after = next,
                    None => self.is_read = true,
                }
                let items = page.events.into_iter().map(|raw| {
                    let entry = LogEntry::parse(raw.get()).map_err(|e| {
                        let (url, e) = (client.url(), e.to_string());
                        anyhow!("{url}: an event that this version cannot read: {}", plain(&e))
                    })?;
                    Ok(Item { entry, raw: Some(raw) })
                });
                items.collect::<anyhow::Result<_>>().map(Some)
            }
        }
    }
}

async fn patiently(client: &Client, params: &Params) -> Result<Page, ClientError> {
    let mut trouble = None;
    loop {
        match client.get(&["events"], params).await {
            Err(error) if error.is_passing() => {
                let now = Instant::now();
                let trouble = trouble.get_or_insert_with(|| Trouble::new(now, RETRY_FOR));
                match trouble.next_wait(now) {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => return Err(error),
                }
            }
            answer => return answer,
        }
    }
}
