//! Finds secrets in a text by what they look like.
//!
//! A hand-written scanner instead of regular expressions: the patterns are a prefix and a run of
//! characters each, and a regex engine would be most of the component. Every pattern takes as much
//! as it can, so that nothing of a secret is left behind its mask, and none asks for a boundary
//! before it: a secret glued to a word is still one.
//!
//! Whoever sends events chooses the text, so the scan is linear in it: no pattern may look at the
//! same run of characters again and again.
//!
//! Private keys are masked first, in a pass of their own. Their frame is made of hyphens, which
//! other tokens may contain, and a token before it must not eat into it.

use std::borrow::Cow;

use crate::kind::Kind;

/// The text with every secret masked; borrowed when there is none.
pub(crate) fn masked(text: &str) -> Cow<'_, str> {
    match replaced(text, |_, rest| private_key(rest)) {
        Some(without_keys) => {
            let masked = replaced(&without_keys, tokens());
            Cow::Owned(masked.unwrap_or(without_keys))
        }
        None => replaced(text, tokens()).map_or(Cow::Borrowed(text), Cow::Owned),
    }
}

/// A secret at the beginning of a text: how many bytes to leave as they are, how many after them
/// to mask.
struct Found {
    kind: Kind,
    keep: usize,
    mask: usize,
}

impl Found {
    fn whole(kind: Kind, mask: usize) -> Self {
        Found { kind, keep: 0, mask }
    }
}

/// `find` gets each place of the text and the text from there on. `None` when it found nothing at
/// any. Secrets begin with ASCII, so the text is walked by bytes: inside
/// a longer character no pattern can begin.
fn replaced(text: &str, mut find: impl FnMut(usize, &str) -> Option<Found>) -> Option<String> {
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

/// Finds every other kind. The first byte decides which patterns are tried at all, since this runs
/// at every byte of every text.
fn tokens() -> impl FnMut(usize, &str) -> Option<Found> {
    // A run of base64url can be long and hold many beginnings of a JWT; when one of them is none
    // for want of what must follow the run, neither are those behind it.
    let mut no_jwt_before = 0;
    move |at, text| match text.as_bytes().first()? {
        b'A' => aws_access_key(text).or_else(|| google_api_key(text)),
        b'g' => github_token(text),
        b'x' => slack_token(text),
        b'B' | b'b' => bearer(text),
        b'e' if at >= no_jwt_before && text.starts_with("eyJ") => {
            let header = run_length(text, 0, is_base64url);
            let found = jwt(text, header);
            if found.is_none() {
                no_jwt_before = at + header;
            }
            found
        }
        _ => None,
    }
}

fn aws_access_key(text: &str) -> Option<Found> {
    const PREFIXES: [&str; 4] = ["AKIA", "ASIA", "ABIA", "ACCA"];
    let run = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    PREFIXES.iter().find_map(|prefix| prefixed(text, prefix, run, 16, Kind::AwsAccessKey))
}

fn google_api_key(text: &str) -> Option<Found> {
    prefixed(text, "AIza", is_base64url, 35, Kind::GoogleApiKey)
}

fn github_token(text: &str) -> Option<Found> {
    const PREFIXES: [&str; 5] = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_"];
    let run = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    prefixed(text, "github_pat_", run, 22, Kind::GithubToken).or_else(|| {
        PREFIXES.iter().find_map(|prefix| prefixed(text, prefix, run, 36, Kind::GithubToken))
    })
}

/// `xoxb-…`, `xoxp-…` and their kin, and the app-level `xapp-…`.
fn slack_token(text: &str) -> Option<Found> {
    let run = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let prefix = match text.as_bytes() {
        [b'x', b'o', b'x', kind, b'-', ..] if kind.is_ascii_alphanumeric() => 5,
        [b'x', b'a', b'p', b'p', b'-', ..] => 5,
        _ => return None,
    };
    let length = run_length(text, prefix, run);
    (length >= 10).then_some(Found::whole(Kind::SlackToken, prefix + length))
}

/// Header, payload and signature in base64url; `eyJ` is how `{"` begins in it. The signature may
/// be empty: an unsigned token tells its claims all the same.
fn jwt(text: &str, header: usize) -> Option<Found> {
    let payload = after_dot(text, header)?;
    let payload_end = payload + run_length(text, payload, is_base64url);
    let signature = after_dot(text, payload_end)?;
    let end = signature + run_length(text, signature, is_base64url);
    (header >= 10 && payload_end > payload).then_some(Found::whole(Kind::Jwt, end))
}

/// `Bearer` in any case, blanks, and a token of at least 16 characters: `bearer of news` is none.
fn bearer(text: &str) -> Option<Found> {
    const WORD: usize = "bearer".len();
    if !text.get(..WORD)?.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let blanks = run_length(text, WORD, |byte| byte == b' ' || byte == b'\t');
    let token = WORD + blanks;
    let length =
        run_length(text, token, |byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte));
    (blanks > 0 && length >= 16).then_some(Found {
        kind: Kind::BearerToken,
        keep: token,
        mask: length,
    })
}

fn prefixed(
    text: &str,
    prefix: &str,
    run: fn(u8) -> bool,
    at_least: usize,
    kind: Kind,
) -> Option<Found> {
    if !text.starts_with(prefix) {
        return None;
    }
    let length = run_length(text, prefix.len(), run);
    (length >= at_least).then_some(Found::whole(kind, prefix.len() + length))
}

/// How many bytes from `start` on belong to a run.
fn run_length(text: &str, start: usize, run: impl Fn(u8) -> bool) -> usize {
    text.bytes().skip(start).take_while(|byte| run(*byte)).count()
}

fn after_dot(text: &str, at: usize) -> Option<usize> {
    (text.as_bytes().get(at) == Some(&b'.')).then_some(at + 1)
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}
