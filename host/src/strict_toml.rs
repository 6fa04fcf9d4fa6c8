//! Reads TOML into typed values, and says in one line what is wrong, where, and what was meant.
//! Shared by the host's configuration and the plugins' sidecars.

use std::{ops::Range, path::Path};

use serde::de::DeserializeOwned;
use thiserror::Error;

/// A TOML text that is not what it should be.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("{file}, line {line}: {reason}")]
pub struct TomlError {
    /// The file.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// What is wrong, and the way out.
    pub reason: String,
}

/// Reads `text`, which came from `file`.
///
/// # Errors
/// [`TomlError`] when the text is no TOML, has an unknown key or a value out of its bounds.
pub fn from_str<T: DeserializeOwned>(text: &str, file: &Path) -> Result<T, TomlError> {
    toml::from_str(text).map_err(|e| TomlError {
        file: file.display().to_string(),
        line: line_of(text, e.span()),
        reason: explain(e.message()),
    })
}

fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let before = span.and_then(|span| text.get(..span.start)).unwrap_or_default();
    before.matches('\n').count() + 1
}

/// Serde lists what it expected in backticks; the nearest of those is what was meant.
fn explain(message: &str) -> String {
    let message = message.trim();
    let Some(rest) = message.strip_prefix("unknown field `") else {
        return message.replace('\n', " ");
    };
    let mut names = rest.split('`').step_by(2);
    let found = names.next().unwrap_or_default();
    let nearest = names
        .map(|name| (strsim::jaro_winkler(found, name), name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.7);
    match nearest {
        Some((_, name)) => format!("unknown key `{found}` (did you mean `{name}`?)"),
        None => {
            format!("unknown key `{found}`{}", rest.split_once('`').map_or("", |(_, rest)| rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only what cannot be read matters here")]
    struct Sample {
        subscribe: Vec<String>,
        order: i32,
    }

    #[test]
    fn a_misspelt_key_names_its_line_and_the_nearest_one() {
        let error = from_str::<Sample>("# a comment\nsubscibe = []\n", Path::new("noise.toml"))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "noise.toml, line 2: unknown key `subscibe` (did you mean `subscribe`?)"
        );
        let error = from_str::<Sample>("qqq = 1\n", Path::new("a.toml")).unwrap_err();
        assert_eq!(error.reason, "unknown key `qqq`, expected `subscribe` or `order`");
        let error =
            from_str::<Sample>("subscribe = []\norder = 'x'\n", Path::new("a.toml")).unwrap_err();
        assert_eq!((error.line, error.reason.contains("invalid type")), (2, true));
    }
}
