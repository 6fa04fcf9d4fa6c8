//! Events out of a file, for a plugin that is tried without a host.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context as _, anyhow};

use crate::{
    cli::{input, output::plain},
    event::Draft,
    trial::{Placed, id_of_line},
};

/// Reads events one by one; none is a bad one.
pub(super) struct Recording {
    name: String,
    events: input::Events<Box<dyn Read + Send>>,
}

impl Recording {
    /// Opens `file`, or standard input for `-`.
    pub(super) fn open(file: &Path) -> anyhow::Result<Self> {
        let (name, from): (_, Box<dyn Read + Send>) = match file == Path::new("-") {
            true => ("standard input".into(), Box::new(io::stdin())),
            false => {
                let name = file.display().to_string();
                let from = File::open(file).with_context(|| name.clone())?;
                (name, Box::new(from))
            }
        };
        Ok(Self { name, events: input::Events::with_ids(from, id_of_line) })
    }

    /// The next events, at most `most`; none at the end. What a host would refuse ends it with an
    /// error that names the line.
    pub(super) fn next(&mut self, most: usize) -> anyhow::Result<Vec<Placed>> {
        let mut events = Vec::new();
        while events.len() < most {
            let Some(item) = self.events.next().with_context(|| self.name.clone())? else { break };
            let line = item.line;
            let draft = item
                .event
                .and_then(|text| Draft::parse(text.as_bytes()).map_err(|e| e.to_string()));
            let fault = |reason: String| anyhow!("{}, line {line}: {}", self.name, plain(&reason));
            events.push(Placed { line, draft: draft.map_err(fault)? });
        }
        Ok(events)
    }
}

/// `KEY=VALUE`, for clap.
pub(in crate::cli) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is no KEY=VALUE")),
    }
}
