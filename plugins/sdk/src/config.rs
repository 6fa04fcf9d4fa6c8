//! The plugin's configuration: the sidecar's `[config]`, as a type of the plugin's own.
//!
//! `wasi:config` knows strings only. The host hands a string of the sidecar over as it is and
//! everything else as JSON text, so a value is read by what its field wants: a `String` takes the
//! text itself, anything else takes it as JSON where it is JSON. All bad values are reported at
//! once, since whoever edits a sidecar wants one round, not one a mistake.

mod fault;
mod nearest;
mod table;

use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use self::fault::Fault;
use self::table::Table;
use crate::host;

/// The configuration of a plugin that takes none: any key is an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct None {}

/// What is wrong with a configuration, each thing for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("; "))
    }
}

impl std::error::Error for ConfigError {}

/// Reads the whole configuration. [`export!`](crate::export!) does it for the plugin and hands the
/// result to [`Plugin::configure`](crate::Plugin::configure); in a test it reads what
/// [`testing::configure`](crate::testing::configure) was given.
///
/// # Errors
///
/// Names every unknown key, with the nearest valid one, and every value of the wrong type or out
/// of range; and one missing key.
pub fn load<T: DeserializeOwned>() -> Result<T, ConfigError> {
    let pairs = host::config().map_err(|problem| ConfigError {
        problems: vec![format!("the host can not give the configuration: {problem}")],
    })?;
    from_pairs(pairs)
}

/// Deserialising stops at the first fault, so it is tried again without the key at fault until
/// nothing is left to say.
fn from_pairs<T: DeserializeOwned>(mut pairs: Vec<(String, String)>) -> Result<T, ConfigError> {
    let mut problems = Vec::new();
    let mut set_aside = Vec::new();
    loop {
        match T::deserialize(Table::new(&pairs)) {
            Ok(config) if problems.is_empty() => return Ok(config),
            Ok(_) => break,
            Err(Fault::At { key, text }) => {
                problems.push(text);
                pairs.retain(|(name, _)| *name != key);
                set_aside.push(key);
            }
            Err(Fault::Missing(key)) => {
                // A key that was set aside is missing only because its value was bad.
                if !set_aside.iter().any(|name| name == key) {
                    problems.push(format!("{key} is missing"));
                }
                break;
            }
            Err(Fault::Whole(text)) => {
                problems.push(text);
                break;
            }
        }
    }
    Err(ConfigError { problems })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SubjectPattern;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        Fast,
        Slow,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        channel: String,
        #[serde(default)]
        rate_per_minute: Option<u32>,
        #[serde(default)]
        share: f64,
        #[serde(default)]
        drop: Vec<SubjectPattern>,
        #[serde(default)]
        mode: Option<Mode>,
        #[serde(default)]
        nick: Option<String>,
    }

    fn read(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let pairs =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        from_pairs(pairs).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_read_by_what_their_fields_want() {
        let config = read(&[
            ("channel", "#builds"),
            ("rate_per_minute", "60"),
            ("share", "1"),
            ("drop", r#"["ennio.ci.>"]"#),
            ("mode", "slow"),
            ("nick", "007"),
        ])
        .unwrap();
        assert_eq!(config.channel, "#builds");
        assert_eq!(config.rate_per_minute, Some(60));
        assert_eq!(config.share, 1.0);
        assert_eq!(config.drop.len(), 1);
        assert_eq!(config.mode, Some(Mode::Slow));
        assert_eq!(config.nick.as_deref(), Some("007"), "digits stay a string");
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_the_nearest_one() {
        let error = read(&[("channel", "x"), ("rate_per_minut", "60")]).unwrap_err();
        assert_eq!(
            error,
            "rate_per_minut is not a key of this plugin (did you mean rate_per_minute?)"
        );
    }

    #[test]
    fn an_unknown_key_near_to_none_lists_them_all() {
        let error = read(&[("channel", "x"), ("zzzzzz", "1")]).unwrap_err();
        assert_eq!(
            error,
            "zzzzzz is not a key of this plugin \
             (keys: channel, rate_per_minute, share, drop, mode, nick)"
        );
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let error =
            read(&[("rate_per_minute", "fast"), ("chanel", "x"), ("drop", r#"["ennio..x"]"#)])
                .unwrap_err();
        let problems: Vec<_> = error.split("; ").collect();
        assert_eq!(
            problems,
            [
                "rate_per_minute: invalid type: string \"fast\", expected u32",
                "chanel is not a key of this plugin (did you mean channel?)",
                "drop: `ennio..x` is not a subject pattern: a token is empty",
                "channel is missing",
            ]
        );
    }

    #[test]
    fn a_bad_value_is_not_called_missing_too() {
        #[derive(Debug, Deserialize)]
        struct Needs {
            #[expect(dead_code, reason = "only its reading matters")]
            count: u32,
        }
        let error = from_pairs::<Needs>(vec![("count".into(), "-1".into())]).unwrap_err();
        assert_eq!(error.to_string(), "count: invalid value: integer `-1`, expected u32");
    }

    #[test]
    fn a_plugin_without_configuration_refuses_every_key() {
        let error = from_pairs::<None>(vec![("a".into(), "1".into())]).unwrap_err();
        assert_eq!(error.to_string(), "a is not a key of this plugin (it has none)");
    }
}
