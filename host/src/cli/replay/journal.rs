//! How far a replay has come, on disk, so that it can be gone on with after Ctrl-C and after a kill.
//!
//! **Format.** One JSON file a replay, `$XDG_STATE_HOME/ennio/replays/ID.json` (without that variable
//! below `~/.local/state`), for this user alone, since a command line may hold a token. It is replaced
//! by a rename, so there is always a whole one, and removed when the replay is done. It is not flushed
//! to the disk: after a power cut it may say an earlier place, from which events are sent again.

use std::{
    env,
    ffi::OsString,
    fs,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use clap::Parser as _;
use serde::{Deserialize, Serialize};

use super::{
    super::{Cli, Command, Usage},
    Args, Part,
};
use crate::{event::Seq, nats::ReplayId};

/// A replay that was begun.
pub(super) struct Journal {
    pub(super) id: ReplayId,
    file: PathBuf,
    is_saved: bool,
    content: Content,
}

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    /// The command line that began it, without the program.
    words: Vec<String>,
    since: Option<String>,
    until: Option<String>,
    /// The last place.
    end: Seq,
    /// Everything up to here is done.
    done: Seq,
    /// Events that were sent.
    events: u64,
}

impl Journal {
    /// Of a new replay. Nothing is written before something was sent.
    pub(super) fn begin(words: Vec<String>, part: &Part) -> anyhow::Result<Self> {
        let id = ReplayId::mint();
        let content = Content {
            words,
            since: part.since.map(|time| time.to_string()),
            until: part.until.map(|time| time.to_string()),
            end: part.end,
            done: part.after,
            events: 0,
        };
        Ok(Self { file: file(&id)?, id, is_saved: false, content })
    }

    /// Of a replay that was cut short.
    pub(super) fn read(id: &ReplayId) -> anyhow::Result<Self> {
        let file = file(id)?;
        let name = file.display();
        let text = fs::read(&file).with_context(|| {
            format!(
                "replay {id} is not known here (it is done, or was begun by another user): {name}"
            )
        })?;
        let content = serde_json::from_slice(&text)
            .with_context(|| format!("{name}: no journal of a replay"))?;
        Ok(Self { id: id.clone(), file, is_saved: true, content })
    }

    /// What it was told; `more` wins, where a flag has one value.
    pub(super) fn args(&self, more: Vec<String>) -> anyhow::Result<Args> {
        let words = ["ennio".to_owned()].into_iter().chain(self.content.words.clone()).chain(more);
        match Cli::try_parse_from(words).map_err(|e| Usage(e.to_string()))?.command {
            Command::Replay(args) => Ok(args),
            _ => Err(anyhow!("{}: of another command", self.file.display())),
        }
    }

    /// What is left to do.
    pub(super) fn part(&self) -> anyhow::Result<Part> {
        let Content { since, until, end, done, .. } = &self.content;
        let time = |text: &Option<String>| text.as_ref().map(|text| text.parse()).transpose();
        Ok(Part { after: *done, end: *end, since: time(since)?, until: time(until)? })
    }

    /// So many more events are done, up to this place.
    pub(super) fn save(&mut self, done: Seq, events: u64) -> anyhow::Result<()> {
        self.content.done = done;
        self.content.events += events;
        let written = self.write();
        written.with_context(|| format!("{}: how far it has come", self.file.display()))
    }

    fn write(&mut self) -> anyhow::Result<()> {
        if let (false, Some(folder)) = (self.is_saved, self.file.parent()) {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let next = self.file.with_extension("next");
        let mut options = fs::OpenOptions::new();
        let mut to = options.write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        to.write_all(&serde_json::to_vec(&self.content)?)?;
        fs::rename(&next, &self.file)?;
        self.is_saved = true;
        Ok(())
    }

    /// The replay is done.
    pub(super) fn remove(&self) -> anyhow::Result<()> {
        match self.is_saved {
            true => fs::remove_file(&self.file).with_context(|| format!("{}", self.file.display())),
            false => Ok(()),
        }
    }

    /// Events that were sent, over all its runs.
    pub(super) fn events(&self) -> u64 {
        self.content.events
    }

    /// The place that is done.
    pub(super) fn done(&self) -> Seq {
        self.content.done
    }

    /// The command that goes on; `None` when there is nothing to go on from.
    pub(super) fn way_on(&self) -> Option<String> {
        self.is_saved.then(|| format!("ennio replay --resume {}", self.id))
    }
}

fn file(id: &ReplayId) -> anyhow::Result<PathBuf> {
    let folder =
        |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(Path::new(".local/state"))))
        .ok_or_else(|| {
            Usage("nowhere to note how far a replay has come (set XDG_STATE_HOME or HOME)".into())
        })?;
    Ok(state.join("ennio/replays").join(format!("{id}.json")))
}

/// The command line without the program.
pub(super) fn words() -> anyhow::Result<Vec<String>> {
    let word = |word: OsString| {
        word.into_string()
            .map_err(|word| Usage(format!("{} cannot be noted: not UTF-8", word.display())))
    };
    Ok(env::args_os().skip(1).map(word).collect::<Result<_, _>>()?)
}

/// What the command line of a resumed replay says beside `replay` and `--resume ID`.
pub(super) fn more(words: Vec<String>) -> Vec<String> {
    let mut more = Vec::new();
    let mut words = words.into_iter().skip(1);
    while let Some(word) = words.next() {
        match &*word {
            "--resume" => drop(words.next()),
            word if word.starts_with("--resume=") => {}
            _ => more.push(word),
        }
    }
    more
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(folder: &Path) -> Journal {
        let words = "replay --to-nats --subject ennio.ci.> --from 7d --nats nats://a";
        let content = Content {
            words: words.split(' ').map(Into::into).collect(),
            since: Some("2026-08-01T09:30:00.000000Z".into()),
            until: None,
            end: 90,
            done: 0,
            events: 0,
        };
        let id = ReplayId::mint();
        Journal { file: folder.join("replays/x.json"), id, is_saved: false, content }
    }

    #[test]
    fn what_was_done_is_found_again_and_gone_when_all_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = journal(folder.path());
        journal.remove().unwrap();
        assert_eq!(journal.way_on(), None, "nothing was sent");
        journal.save(7, 5).unwrap();
        journal.save(9, 2).unwrap();
        assert_eq!(journal.way_on(), Some(format!("ennio replay --resume {}", journal.id)));
        let content = serde_json::from_slice(&fs::read(&journal.file).unwrap()).unwrap();
        let read = Journal { content, ..journal };
        let part = read.part().unwrap();
        assert_eq!((part.after, part.end, read.events()), (9, 90, 7));
        assert_eq!(part.since.unwrap().to_string(), "2026-08-01T09:30:00.000000Z");
        read.remove().unwrap();
        assert!(!read.file.exists());
    }

    #[test]
    fn it_goes_on_as_it_was_begun_but_for_where_things_are() {
        let folder = tempfile::tempdir().unwrap();
        let words = "replay --resume 0123456789ab --nats nats://b --url=http://127.0.0.1:9";
        let more = more(words.split(' ').map(Into::into).collect());
        assert_eq!(more, ["--nats", "nats://b", "--url=http://127.0.0.1:9"]);
        let args = journal(folder.path()).args(more).unwrap();
        assert_eq!(args.nats.unwrap().to_string(), "nats://b");
        assert!(args.to.to_nats && args.subject.len() == 1);
    }
}
