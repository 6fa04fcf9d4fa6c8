//! A log as text: everything that is needed to make the same log of it again, anywhere.
//!
//! **Format.** Lines of JSON. The first says what this is, the last that this is all; between them
//! stands one line an event, in the order of the log:
//!
//! ```json
//! {"export":{"format":1,"version":"0.1.0","made_at":"…","whole":true,"last":2,"cursors":{"nats":2}}}
//! {"entry":{…},"subject":"ennio.ci.atlas.failing","digest":"9f…","steps":[{"plugin":…}]}
//! {"entry":{…},"subject":"ennio.pr.atlas.created","digest":"03…"}
//! {"end":{"events":2,"sha256":"…"}}
//! ```
//!
//! `entry` is the JSON of API answers; `digest` is of the content as it was sent, so that a sender's
//! retry is still recognised; `steps` is what filters and enrichers did. `sha256` is of every byte before the
//! last line: a file that was cut or changed is told from a good one.
//!
//! **What is in it.** Events, and how far each sink has come (`cursors`), so that a host on the new
//! log does not publish or react to all of it again. What plugins remember, dead letters and which
//! plugins are disabled are not.
//!
//! **Places.** A whole log keeps its places. A part of one gets places from 1 on, and its cursors
//! move accordingly, since a log has no gaps but what was taken out of its beginning.
//!
//! Reading goes in short steps beside a running host; writing needs a log without a host.

mod error;
mod export;
mod history;
mod import;
mod reader;
mod record;

pub use error::ArchiveError;
pub use export::{Exported, export};
pub use history::History;
pub use import::{Imported, Phase, import};
pub use reader::ArchiveReader;
pub use record::Record;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::Seq;

/// The version of the format.
const FORMAT: u32 = 1;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format; this build knows 1.
    pub format: u32,
    /// Of the Ennio that wrote it.
    pub version: String,
    /// When, RFC 3339.
    pub made_at: String,
    /// Whether every event of the log is in it.
    pub whole: bool,
    /// The last place that the log had.
    pub last: Seq,
    /// How far each sink had come.
    pub cursors: BTreeMap<String, Seq>,
}

/// The last line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    events: u64,
    sha256: String,
}

#[derive(Serialize, Deserialize)]
struct HeaderLine {
    export: Header,
}

#[derive(Serialize, Deserialize)]
struct EndLine {
    end: End,
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
