//! Secrets that tell by themselves what they are: a prefix, and a run of characters.
//!
//! Every pattern takes as much as it can, so that nothing of a secret is left behind its mask, and
//! none asks for a boundary before it: a secret glued to a word is still one.

use std::borrow::Cow;

use crate::kind::{Kind, MASK};
use crate::scan::{Found, is_base64url, run_length, slashed_run};

/// Finds every kind. The first byte decides which patterns are tried at all, since this runs at
/// every byte of every text.
pub(crate) fn tokens() -> impl FnMut(usize, &str) -> Option<Found> {
    // A run of base64url can be long and hold many beginnings of a JWT; when one of them is none
    // for want of what must follow the run, neither are those behind it.
    let mut no_jwt_before = 0;
    move |at, text| match text.as_bytes().first()? {
        b'A' => aws_access_key(text).or_else(|| google_api_key(text)),
        b'g' => github_token(text),
        b'x' => slack_token(text),
        b'h' => slack_webhook(text),
        b'1' | b'y' | b'G' => google_oauth(text),
        b'B' | b'b' => bearer(text),
        b':' => url_credentials(text),
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

pub(crate) fn aws_access_key(text: &str) -> Option<Found> {
    const PREFIXES: [&str; 4] = ["AKIA", "ASIA", "ABIA", "ACCA"];
    let run = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let found = |prefix: &&str| prefixed(text, prefix, run, 16, Kind::AwsAccessKey);
    let found = PREFIXES.iter().find_map(found)?;
    // `ACCA` is hexadecimal too: a hash in upper case is none.
    let is_hash = text.bytes().take(found.mask).all(|byte| byte.is_ascii_hexdigit());
    (!is_hash).then_some(found)
}

fn google_api_key(text: &str) -> Option<Found> {
    prefixed(text, "AIza", is_base64url, 35, Kind::GoogleApiKey)
}

/// An access token, a client's secret, a refresh token.
fn google_oauth(text: &str) -> Option<Found> {
    let dotted = |byte: u8| is_base64url(byte) || byte == b'.';
    let oauth = |prefix, run, at_least| prefixed(text, prefix, run, at_least, Kind::GoogleOauth);
    oauth("ya29.", dotted, 20)
        .or_else(|| oauth("GOCSPX-", is_base64url, 20))
        .or_else(|| oauth("1//0", is_base64url, 30))
        .or_else(|| oauth(r"1\/\/0", is_base64url, 30))
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

/// The path of `hooks.slack.com/services/…`: whoever has it can post.
fn slack_webhook(text: &str) -> Option<Found> {
    let host = ["hooks.slack.com/", r"hooks.slack.com\/"];
    let host = host.iter().find(|host| text.starts_with(**host))?.len();
    let (bytes, path) = slashed_run(text, host, |byte| is_base64url(byte) || byte == b'/');
    (path >= 20).then_some(Found { kind: Kind::SlackWebhook, keep: host, mask: bytes })
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
    let run = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    let (bytes, length) = slashed_run(text, token, run);
    (blanks > 0 && length >= 16).then_some(Found {
        kind: Kind::BearerToken,
        keep: token,
        mask: bytes,
    })
}

/// `://user:password@`, and `://token@` where it looks like one and not like a name.
fn url_credentials(text: &str) -> Option<Found> {
    let begin = ["://", r":\/\/"].iter().find(|begin| text.starts_with(**begin))?.len();
    let ends = |byte: u8| byte.is_ascii_whitespace() || b"/?#\"\\<>`".contains(&byte);
    let authority = run_length(text, begin, |byte| !ends(byte));
    let (credentials, _) = text.get(begin..begin + authority)?.rsplit_once('@')?;
    // A mask has a colon in it, but hides all there was.
    let masks = Kind::ALL.iter().filter(|_| credentials.contains(MASK));
    let bare =
        masks.fold(Cow::Borrowed(credentials), |bare, kind| bare.replace(kind.mask(), "").into());
    let has_password = match bare.split_once(':') {
        Some((_, password)) => !password.is_empty(),
        None => bare.len() >= 20 && bare.bytes().any(|byte| byte.is_ascii_digit()),
    };
    has_password.then_some(Found {
        kind: Kind::UrlCredentials,
        keep: begin,
        mask: credentials.len(),
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

fn after_dot(text: &str, at: usize) -> Option<usize> {
    (text.as_bytes().get(at) == Some(&b'.')).then_some(at + 1)
}
