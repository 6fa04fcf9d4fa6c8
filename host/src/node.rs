//! What a host is called among others: one token of a subject.

use std::{fmt, str::FromStr};

use crate::event::{PluginName, Reason};

/// A host's name: 1 to 64 characters of `[A-Za-z0-9_-]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeName(Box<str>);

impl NodeName {
    /// The machine's host name up to its first dot; what no name may hold becomes a `-`.
    pub fn of_this_machine() -> Self {
        Self::from_host_name(&rustix::system::uname().nodename().to_string_lossy())
    }

    fn from_host_name(host: &str) -> Self {
        let first = host.split('.').next().unwrap_or_default();
        let token = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        let name: String = first.chars().map(token).take(PluginName::MAX).collect();
        name.parse().unwrap_or_else(|_| Self("localhost".into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        // The same letters, and as many of them.
        text.parse::<PluginName>().map(|token| Self(token.as_str().into()))
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_becomes_a_token() {
        for (host, name) in [
            ("atlas-1.example.com", "atlas-1"),
            ("ö_b c", "-_b-c"),
            ("", "localhost"),
            (".example.com", "localhost"),
            (&"x".repeat(80), &"x".repeat(64)),
        ] {
            assert_eq!(NodeName::from_host_name(host).as_str(), name, "{host:?}");
        }
        assert_eq!("atlas-1".parse::<NodeName>().unwrap().to_string(), "atlas-1");
        "a.b".parse::<NodeName>().expect_err("two tokens");
    }
}
