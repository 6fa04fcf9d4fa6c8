//! Subject patterns in NATS's language, for plugins whose own configuration chooses events.
//!
//! What a plugin subscribes to is matched by the host; this is only for choices that a plugin
//! makes inside of that.

use std::fmt;

use serde::Deserialize;

/// A pattern over subjects: `*` stands for one token, `>` at the end for one or more.
///
/// Reads from a string in a plugin's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SubjectPattern {
    text: String,
}

impl SubjectPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    ///
    /// Says which token is wrong and why: tokens are `*`, a final `>`, or one or more of
    /// `[A-Za-z0-9_-]`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = text.split('.').peekable();
        while let Some(token) = tokens.next() {
            let fault = match token {
                "" => "a token is empty",
                "*" => continue,
                ">" if tokens.peek().is_none() => continue,
                ">" => "> is only allowed as the last token",
                word if word.bytes().all(is_token_byte) => continue,
                _ => "a token is `*`, a final `>`, or letters, digits, `_` and `-`",
            };
            return Err(format!("`{text}` is not a subject pattern: {fault}"));
        }
        Ok(SubjectPattern { text: text.into() })
    }

    /// Whether the pattern covers this subject.
    pub fn matches(&self, subject: &str) -> bool {
        let mut subject = subject.split('.');
        for token in self.text.split('.') {
            match (token, subject.next()) {
                (_, None) => return false,
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (word, Some(found)) if word == found => {}
                _ => return false,
            }
        }
        subject.next().is_none()
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

impl TryFrom<String> for SubjectPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl fmt::Display for SubjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, subject: &str) -> bool {
        SubjectPattern::parse(pattern).unwrap().matches(subject)
    }

    #[test]
    fn a_star_stands_for_exactly_one_token() {
        assert!(matches("ennio.ci.*.failing", "ennio.ci.web.failing"));
        assert!(!matches("ennio.ci.*.failing", "ennio.ci.failing"));
        assert!(!matches("ennio.ci.*", "ennio.ci.web.failing"));
    }

    #[test]
    fn a_final_gt_stands_for_one_or_more_tokens() {
        assert!(matches("ennio.>", "ennio.lifecycle.all_complete"));
        assert!(matches(">", "ennio"));
        assert!(!matches("ennio.>", "ennio"));
    }

    #[test]
    fn words_match_themselves_only() {
        assert!(matches("ennio.a-b.c_d", "ennio.a-b.c_d"));
        assert!(!matches("ennio.a", "ennio.ab"));
        assert!(!matches("ennio.a", "ennio.a.b"));
    }

    #[test]
    fn a_bad_pattern_is_refused_with_its_reason() {
        for (pattern, reason) in [
            ("", "empty"),
            ("ennio..x", "empty"),
            ("ennio.>.x", "last token"),
            ("ennio.w*b", "letters"),
            ("ennio.a b", "letters"),
        ] {
            let error = SubjectPattern::parse(pattern).unwrap_err();
            assert!(error.contains(reason), "{pattern}: {error}");
        }
    }
}
