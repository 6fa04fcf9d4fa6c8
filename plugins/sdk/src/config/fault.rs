use std::fmt;

use serde::de;

use super::nearest::nearest;

/// What one try at a configuration stumbled over.
#[derive(Debug)]
pub(super) enum Fault {
    /// One key is at fault: it is unknown, or its value is bad.
    At {
        /// The key.
        key: String,
        /// The whole problem, key included.
        text: String,
    },
    /// A key without a default was not given.
    Missing(&'static str),
    /// The fault can not be laid at one key's door.
    Whole(String),
}

impl Fault {
    /// The fault as that of the key whose value was read.
    pub(super) fn at(self, key: &str) -> Self {
        let text = match self {
            Fault::At { text, .. } | Fault::Whole(text) => format!("{key}: {text}"),
            Fault::Missing(field) => format!("{key}: {field} is missing"),
        };
        Fault::At { key: key.into(), text }
    }
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Fault::Whole(text.to_string())
    }

    fn unknown_field(key: &str, keys: &'static [&'static str]) -> Self {
        let way_out = match nearest(key, keys) {
            _ if keys.is_empty() => "it has none".into(),
            Some(name) => format!("did you mean {name}?"),
            None => format!("keys: {}", keys.join(", ")),
        };
        Fault::At {
            key: key.into(),
            text: format!("{key} is not a key of this plugin ({way_out})"),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Fault::Missing(field)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::At { text, .. } | Fault::Whole(text) => f.write_str(text),
            Fault::Missing(key) => write!(f, "{key} is missing"),
        }
    }
}

impl std::error::Error for Fault {}
