//! Words in messages: what a word is, and which messages have all that are asked for.
//!
//! The one meaning of a word, for the bus and the log alike. The search index stores what
//! [`each_word`] finds and nothing else, so it cannot disagree.

use std::{fmt, str::FromStr};

use super::error::Reason;

/// The longest search, in bytes.
const MAX_BYTES: usize = 512;
/// Words of one search.
const MAX_WORDS: usize = 32;

/// Words that a message must have, all of them, in any order: `connection reset`.
///
/// A word is a run of letters and digits of any script; everything else only separates, quotes
/// included. Letters are compared without case, character by character, and with their accents. A
/// word of the message is found as a whole, or by its beginning where `*` follows directly:
/// `connect*`. At most 512 bytes and 32 words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextSearch {
    written: Box<str>,
    words: Vec<Word>,
}

/// A word that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// In lower case.
    pub(crate) text: Box<str>,
    /// Asked for with `*`: every word that begins so.
    pub(crate) is_prefix: bool,
}

impl TextSearch {
    /// The search as it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    pub(crate) fn words(&self) -> &[Word] {
        &self.words
    }

    /// Whether `message` has every word.
    pub fn matches(&self, message: &str) -> bool {
        // One bit for each word that is still missing.
        let mut missing = u32::MAX >> (MAX_WORDS - self.words.len());
        each_word(message, |found| {
            for (at, wanted) in self.words.iter().enumerate() {
                if wanted.is(found) {
                    missing &= !(1 << at);
                }
            }
            missing != 0
        });
        missing == 0
    }
}

impl Word {
    fn is(&self, found: &str) -> bool {
        match self.is_prefix {
            true => found.starts_with(&*self.text),
            false => *found == *self.text,
        }
    }
}

/// Hands each word of `text` over, in lower case, while `take` wants more.
pub(crate) fn each_word(text: &str, mut take: impl FnMut(&str) -> bool) {
    // Most messages are ASCII, where nothing has to be decoded.
    if text.is_ascii() {
        let lower = text.to_ascii_lowercase();
        let words = lower.as_bytes().split(|byte| !byte.is_ascii_alphanumeric());
        for word in words.filter_map(|word| str::from_utf8(word).ok()) {
            if !word.is_empty() && !take(word) {
                return;
            }
        }
        return;
    }
    let mut word = String::new();
    for part in text.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()) {
        word.clear();
        // Character by character, so that no letter depends on what stands beside it.
        word.extend(part.chars().flat_map(char::to_lowercase));
        if !take(&word) {
            return;
        }
    }
}

impl FromStr for TextSearch {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        let too_long = |limit, found, unit| Reason::TooLong { limit, found, unit };
        if text.len() > MAX_BYTES {
            return Err(too_long(MAX_BYTES, text.len(), "bytes"));
        }
        let mut words: Vec<Word> = Vec::new();
        let mut rest = text;
        while let Some(begin) = rest.find(char::is_alphanumeric) {
            let (_, from) = rest.split_at(begin);
            let end = from.find(|c: char| !c.is_alphanumeric()).unwrap_or(from.len());
            let (word, after) = from.split_at(end);
            let text: String = word.chars().flat_map(char::to_lowercase).collect();
            let word = Word { text: text.into(), is_prefix: after.starts_with('*') };
            if !words.contains(&word) {
                words.push(word);
            }
            rest = after;
        }
        match words.len() {
            0 => Err(Reason::Format {
                expected: "words to find, like connection reset or time*",
                detail: "there is no letter or digit in it".into(),
            }),
            found if found > MAX_WORDS => Err(too_long(MAX_WORDS, found, "words")),
            _ => Ok(Self { written: text.into(), words }),
        }
    }
}

impl fmt::Display for TextSearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_words_must_be_there_whole_or_by_their_beginning() {
        for (search, message, expected) in [
            ("reset", "Connection RESET by peer", true),
            ("peer connection", "Connection reset by peer", true),
            ("connect", "Connection reset by peer", false),
            ("connect*", "Connection reset by peer", true),
            ("connection*", "Connection reset by peer", true),
            ("reset timeout", "Connection reset by peer", false),
            ("\"by peer\"", "Connection reset by peer", true),
            ("e2e-tests", "the tests of e2e fail", true),
            ("naïve", "NAÏVE", true),
            ("naive", "naïve", false),
            ("ΟΔΟΣ", "οδοσ", true),
            ("1863", "pull request #1863 is ready", true),
            ("18*", "pull request #1863", true),
            ("a*b", "about b", true),
            ("a*b", "about", false),
            ("x", "", false),
            ("snake", "snake_case", true),
        ] {
            let search: TextSearch = search.parse().unwrap();
            assert_eq!(search.matches(message), expected, "{search} in {message}");
        }
    }

    #[test]
    fn a_search_without_words_or_with_too_many_is_refused() {
        let error = |text: &str| text.parse::<TextSearch>().unwrap_err().to_string();
        assert!(error("").contains("no letter or digit"));
        assert!(error(" *\"- ").contains("no letter or digit"));
        assert!(error(&"x".repeat(513)).contains("513 bytes, at most 512"));
        let many: String = (0..33).map(|n| format!("w{n} ")).collect();
        assert!(error(&many).contains("33 words, at most 32"));
        let most: String = (0..32).map(|n| format!("w{n} ")).collect();
        assert!(most.parse::<TextSearch>().unwrap().matches(&most));
    }

    proptest::proptest! {
        /// The quick way through ASCII finds what the other one does.
        #[test]
        fn ascii_has_the_same_words_beside_other_letters(text in "[\\x00-\\x7f]{0,80}") {
            let words = |text: &str| {
                let mut words = Vec::new();
                each_word(text, |word| { words.push(word.to_owned()); true });
                words
            };
            let mut with_another = words(&format!("{text} é"));
            let another = with_another.pop();
            proptest::prop_assert_eq!(another.as_deref(), Some("é"));
            proptest::prop_assert_eq!(words(&text), with_another);
        }
    }
}
