//! Walks a text and puts masks in it. What to mask is for others to say.

use crate::kind::Kind;

/// A secret at the beginning of a text: how many bytes to leave as they are, how many after them
/// to mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) kind: Kind,
    pub(crate) keep: usize,
    pub(crate) mask: usize,
}

impl Found {
    pub(crate) fn whole(kind: Kind, mask: usize) -> Self {
        Found { kind, keep: 0, mask }
    }
}

/// `find` gets each place of the text and the text from there on. `None` when it found nothing at
/// any. Secrets begin with ASCII, so the text is walked by bytes: inside a longer character no
/// pattern can begin.
pub(crate) fn replaced(
    text: &str,
    mut find: impl FnMut(usize, &str) -> Option<Found>,
) -> Option<String> {
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    while at < text.len() {
        let found = text.get(at..).and_then(|rest| find(at, rest));
        let Some(Found { kind, keep, mask }) = found else {
            at += 1;
            continue;
        };
        out.push_str(text.get(copied..at + keep).unwrap_or_default());
        out.push_str(kind.mask());
        at += keep + mask;
        copied = at;
    }
    if copied == 0 {
        return None;
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Some(out)
}

/// How many bytes from `start` on belong to a run.
pub(crate) fn run_length(text: &str, start: usize, run: impl Fn(u8) -> bool) -> usize {
    text.bytes().skip(start).take_while(|byte| run(*byte)).count()
}

/// Like [`run_length`], for runs with slashes, which JSON may write as `\/`. How many bytes, and how
/// many characters they stand for.
pub(crate) fn slashed_run(text: &str, start: usize, run: impl Fn(u8) -> bool) -> (usize, usize) {
    let mut bytes = text.as_bytes().get(start..).unwrap_or_default();
    let begin = bytes.len();
    let mut characters = 0;
    loop {
        bytes = match bytes {
            [b'\\', b'/', rest @ ..] => rest,
            [byte, rest @ ..] if run(*byte) => rest,
            _ => return (begin - bytes.len(), characters),
        };
        characters += 1;
    }
}

/// How many bytes at the beginning of a run are the end of an escape like `\n` or `\u00e9`, which JSON
/// within a text leaves before it.
pub(crate) fn escape_before(before: &str, run: &str) -> usize {
    match run.as_bytes() {
        _ if !before.ends_with('\\') => 0,
        [b'n' | b'r' | b't' | b'b' | b'f', ..] => 1,
        [b'u', code @ ..] if code.iter().take(4).filter(|c| c.is_ascii_hexdigit()).count() == 4 => {
            5
        }
        _ => 0,
    }
}

pub(crate) fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}
