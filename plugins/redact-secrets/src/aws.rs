//! AWS secret keys: 40 characters of base64 that nothing tells from any others, but for the access
//! key id that comes with them. So they are looked for in events that have such an id.

use crate::kind::Kind;
use crate::scan::{Found, escape_before, slashed_run};
use crate::token::aws_access_key;

const LENGTH: usize = 40;

/// Whether a text has an access key id in it.
pub(crate) fn has_access_key(text: &str) -> bool {
    text.match_indices('A').any(|(at, _)| text.get(at..).and_then(aws_access_key).is_some())
}

/// Finds runs of exactly 40 characters, in upper and lower case; a SHA-1 in hexadecimal has one
/// of them only.
pub(crate) fn secret_keys(text: &str) -> impl FnMut(usize, &str) -> Option<Found> {
    // What was looked at and is part of a run that is too short or too long.
    let mut seen = 0;
    move |at, rest| {
        if at < seen {
            return None;
        }
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
        let (bytes, length) = slashed_run(rest, 0, is_base64);
        seen = at + bytes;
        let run = rest.get(..bytes)?;
        let is_mixed = run.bytes().any(|byte| byte.is_ascii_uppercase())
            && run.bytes().any(|byte| byte.is_ascii_lowercase());
        let keep = length.checked_sub(LENGTH)?;
        let is_alone = keep == 0 || keep == escape_before(text.get(..at)?, run);
        (is_mixed && is_alone).then_some(Found {
            kind: Kind::AwsSecretKey,
            keep,
            mask: bytes - keep,
        })
    }
}
