//! Finds secrets in a text.
//!
//! Hand-written scanners instead of regular expressions: the patterns are a prefix and a run of
//! characters each, and a regex engine would be most of the component.
//!
//! Whoever sends events chooses the text, so the scans are linear in it: no pattern may look at the
//! same run of characters again and again.
//!
//! The passes go from what is certain to what is likely. Private keys are first: their frame is made
//! of hyphens, which other tokens may contain, and a token before it must not eat into it. What a
//! name says to be a secret is last, and leaves alone what has a mask already.

use std::borrow::Cow;

use crate::aws;
use crate::key::KeyNames;
use crate::kind::Kind;
use crate::named;
use crate::scan::{Found, replaced};
use crate::token::tokens;

/// What there is to know about an event before its texts are masked.
#[derive(Clone, Copy)]
pub(crate) struct Context<'k> {
    pub(crate) keys: &'k KeyNames,
    /// The event has an AWS access key id in it, so its secret may be there too.
    pub(crate) has_aws_key: bool,
}

/// The text with every secret masked; borrowed when there is none.
pub(crate) fn masked<'t>(text: &'t str, context: Context<'_>) -> Cow<'t, str> {
    let mut text = Cow::Borrowed(text);
    take(&mut text, |text| replaced(text, |_, rest| private_key(rest)));
    take(&mut text, |text| replaced(text, tokens()));
    if context.has_aws_key {
        take(&mut text, |text| replaced(text, aws::secret_keys(text)));
    }
    take(&mut text, |text| replaced(text, named::values(text, context.keys)));
    text
}

fn take(text: &mut Cow<'_, str>, pass: impl FnOnce(&str) -> Option<String>) {
    if let Some(masked) = pass(text) {
        *text = Cow::Owned(masked);
    }
}

/// A PEM private key, to its end line, or to the end of the text when it was cut off.
fn private_key(text: &str) -> Option<Found> {
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "-----END ";

    let (label, body) = text.strip_prefix(BEGIN)?.split_once("-----")?;
    if !label.ends_with("PRIVATE KEY") && !label.ends_with("PRIVATE KEY BLOCK") {
        return None;
    }
    let begin = text.len() - body.len();
    let mask = body
        .find(END)
        .and_then(|end| {
            let tail = body.get(end + END.len()..)?;
            let close = tail.find("-----")? + "-----".len();
            Some(begin + end + END.len() + close)
        })
        .unwrap_or(text.len());
    Some(Found::whole(Kind::PrivateKey, mask))
}
