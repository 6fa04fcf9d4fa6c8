//! Finds values in a text that a name before them says to be secret: `password=…`, `api_key: …`,
//! `"token":"…"` (also as JSON within JSON writes it, `\"token\":\"…\"`), `--password …`,
//! `Authorization: Basic …`.
//!
//! A text is prose as well, where `password: required` tells nothing. What is masked after a name:
//!
//! - in quotes: whatever it is;
//! - else a word of at least 6 characters with a digit, or of at least 16;
//! - right after `=`, or after a flag like `--password`: a word of at least 4;
//! - after a blank alone: a word of at least 16 with letters and digits;
//! - after `Authorization:` and a scheme, or `Cookie:`: what belongs to the header.
//!
//! Not so placeholders, and numbers after `token`, which are counts.

use crate::key::{KeyNames, Says};
use crate::kind::{Kind, MASK};
use crate::scan::{Found, escape_before};

/// The longest name that is looked at, in bytes.
const NAME: usize = 64;

/// How far the end of a quoted value is looked for, in bytes.
const QUOTED: usize = 8_192;

/// The ways of HTTP authorization that one word follows, and those that have more to say.
const SCHEMES: [&str; 6] = ["basic", "bearer", "token", "apikey", "negotiate", "ntlm"];
const LONG_SCHEMES: [&str; 4] = ["digest", "oauth", "hawk", "aws4-hmac-sha256"];

/// What is no value, but stands where one would.
const NO_VALUES: [&str; 10] = [
    "null",
    "none",
    "nil",
    "true",
    "false",
    "undefined",
    "required",
    "missing",
    "invalid",
    "expired",
];

/// Finds values, at the separator before them.
pub(crate) fn values(text: &str, keys: &KeyNames) -> impl FnMut(usize, &str) -> Option<Found> {
    move |at, rest| {
        let value = match rest.as_bytes().first()? {
            b':' | b'=' => after_separator(text.get(..at)?, rest, keys),
            b' ' => after_blank(text.get(..at)?, rest, keys),
            _ => None,
        }?;
        Some(Found { kind: Kind::NamedSecret, keep: value.start, mask: value.length })
    }
}

/// Where in a text a value is, in bytes.
struct Span {
    start: usize,
    length: usize,
}

fn after_separator(before: &str, rest: &str, keys: &KeyNames) -> Option<Span> {
    let before = before.trim_end_matches(' ').trim_end_matches(['"', '\'', '`', '\\']);
    let name = last_word(before)?;
    let says = said(name, before, keys)?;
    let tail = rest.trim_start_matches([':', '=', '>']);
    let value = tail.trim_start_matches([' ', '\t']);
    let start = rest.len() - value.len();
    // `Token::new`, a path in code; and what has its mask already.
    if rest.starts_with("::") || value.starts_with(MASK) {
        return None;
    }
    if let Some(quoted) = quoted(value, keys) {
        let text = value.get(quoted.start..quoted.start + quoted.length)?;
        return is_secret(text, says, 1)
            .then_some(Span { start: start + quoted.start, length: quoted.length });
    }
    if let Some(header) = header(name, value, keys) {
        let text = value.get(header.start..header.start + header.length)?;
        return is_secret(text, says, 8)
            .then_some(Span { start: start + header.start, length: header.length });
    }
    let value = word(value, keys);
    let is_tight = rest.starts_with('=') && start == 1 && says == Says::Secret;
    let at_least = match value.bytes().any(|byte| byte.is_ascii_digit()) {
        _ if is_tight => 4,
        true => 6,
        false => 16,
    };
    is_secret(value, says, at_least).then_some(Span { start, length: value.len() })
}

fn after_blank(before: &str, rest: &str, keys: &KeyNames) -> Option<Span> {
    let name = last_word(before)?;
    let value = rest.trim_start_matches(' ');
    let start = rest.len() - value.len();
    if value.starts_with([':', '=', '-']) {
        return None;
    }
    let is_flag = is_flag(name);
    let quoted = if is_flag { quoted(value, keys) } else { None };
    let Span { start: open, length } =
        quoted.unwrap_or_else(|| Span { start: 0, length: word(value, keys).len() });
    let text = value.get(open..open + length)?;
    let looks_random = text.len() >= 16
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().any(|byte| byte.is_ascii_alphabetic());
    // Few words look random, so few names have to be asked.
    if !is_flag && !looks_random {
        return None;
    }
    is_secret(text, said(name, before, keys)?, 4).then_some(Span { start: start + open, length })
}

/// `--password`, and not the frame of a private key.
pub(crate) fn is_flag(word: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    word.strip_prefix("--").is_some_and(|name| !name.starts_with('-') && name.bytes().all(is_name))
}

/// What a name that ends a text says, when it says anything. `key` is one with the word before it.
fn said(name: &str, before: &str, keys: &KeyNames) -> Option<Says> {
    let mut says = keys.says(name);
    if says == Says::Nothing && (ends_with(name, "key") && name.len() <= "keys".len()) {
        let first = last_word(before.strip_suffix(name)?.strip_suffix(' ')?)?;
        says = keys.says(&format!("{first} {name}"));
    }
    (says != Says::Nothing).then_some(says)
}

/// The name that a text ends with.
fn last_word(text: &str) -> Option<&str> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
    let length = text.bytes().rev().take(NAME).take_while(is_name).count();
    let (before, name) = text.split_at_checked(text.len() - length)?;
    let name = name.get(escape_before(before, name)..)?;
    name.bytes().any(|byte| byte.is_ascii_alphabetic()).then_some(name)
}

/// In any case, and in the plural too.
fn ends_with(name: &str, ending: &str) -> bool {
    let name = name.strip_suffix(['s', 'S']).unwrap_or(name);
    let end = name.len().checked_sub(ending.len()).and_then(|start| name.get(start..));
    end.is_some_and(|end| end.eq_ignore_ascii_case(ending))
}

/// A value in quotes, which JSON within JSON escapes. One that was cut off is a word.
fn quoted(text: &str, keys: &KeyNames) -> Option<Span> {
    let slashes = text.len() - text.trim_start_matches('\\').len();
    let quote = text.get(slashes..)?.chars().next().filter(|quote| "\"'`".contains(*quote))?;
    let start = slashes + quote.len_utf8();
    let (open, tail) = text.split_at(start);
    let within = tail.get(..tail.floor_char_boundary(QUOTED))?;
    // A quote inside of the value has a backslash more.
    let closes = |at: &usize| !within.get(..*at).is_some_and(|value| value.ends_with('\\'));
    let length = within.match_indices(open).map(|(at, _)| at).find(closes);
    Some(Span { start, length: length.unwrap_or_else(|| word(tail, keys).len()) })
}

/// What belongs to an HTTP header whose value has more than one word.
fn header(name: &str, value: &str, keys: &KeyNames) -> Option<Span> {
    if ends_with(name, "cookie") {
        let is_name = |byte: &u8| !byte.is_ascii_whitespace() && !b"=;\"'\\".contains(byte);
        let first = value.bytes().take(NAME).take_while(is_name).count();
        let is_pair = first > 0 && value.as_bytes().get(first) == Some(&b'=');
        let line = || value.find(['\n', '\r', '"', '\'', '\\']).unwrap_or(value.len());
        return is_pair.then(|| Span { start: 0, length: line() });
    }
    if !ends_with(name, "authorization") {
        return None;
    }
    let (scheme, _) = value.get(..value.floor_char_boundary(NAME))?.split_once(' ')?;
    let rest = value.get(scheme.len()..)?.trim_start_matches(' ');
    let start = value.len() - rest.len();
    let is = |schemes: &[&str]| schemes.iter().any(|one| one.eq_ignore_ascii_case(scheme));
    if is(&LONG_SCHEMES) {
        let length = rest.find(['\n', '\r']).unwrap_or(rest.len());
        return Some(Span { start, length });
    }
    is(&SCHEMES).then(|| Span { start, length: word(rest, keys).len() })
}

/// An unquoted value at the beginning of a text. It does not take the next value's name along, when
/// nothing but a letter that no name has parts them.
fn word<'t>(text: &'t str, keys: &KeyNames) -> &'t str {
    let ends = |byte: u8| byte.is_ascii_whitespace() || b"\"'`,;&|()[]{}<>".contains(&byte);
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let is_slash = *byte == b'\\' && bytes.get(at + 1) == Some(&b'/');
        if ends(*byte) || (*byte == b'\\' && !is_slash) {
            break;
        }
        at += 1;
    }
    let word = text.get(..at).unwrap_or_default();
    let before = word.trim_end_matches([':', '=', '>']);
    match last_word(before).filter(|name| keys.says(name) != Says::Nothing) {
        Some(name) if name.len() < before.len() => before.strip_suffix(name).unwrap_or_default(),
        _ => word,
    }
}

fn is_secret(value: &str, says: Says, at_least: usize) -> bool {
    let is_count = says == Says::SecretText && !value.chars().any(char::is_alphabetic);
    value.len() >= at_least && !is_count && !value.starts_with(MASK) && !is_placeholder(value)
}

/// `$VARIABLE`, `${VARIABLE}`, `<token>`, `***`, `null` and their like.
fn is_placeholder(value: &str) -> bool {
    let is_variable = |name: &str| {
        !name.starts_with(|first: char| first.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_{}()".contains(&byte))
    };
    value.len() <= NAME
        && (NO_VALUES.iter().any(|no_value| no_value.eq_ignore_ascii_case(value))
            || value.strip_prefix('$').is_some_and(is_variable)
            || (value.starts_with('<') && value.ends_with('>'))
            || value.chars().all(|letter| "*•.…xX-".contains(letter)))
}
