use ennio_plugin::SubjectPattern;
use serde::Deserialize;

/// A day: a longer window would only fill the memory that `duplicates` may use.
const MAX_WINDOW: u32 = 86_400;

/// 1,000 a second: above it the rule would never fire.
const MAX_RATE: u32 = 60_000;

/// The sidecar's `[config]`; `noise-filter.toml` tells what each key means.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) drop: Vec<SubjectPattern>,
    /// Seconds; 0 turns the rule off.
    pub(crate) duplicate_window: u32,
    /// 0 turns the rule off.
    pub(crate) rate_per_minute: u32,
    pub(crate) burst: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config { drop: Vec::new(), duplicate_window: 60, rate_per_minute: 60, burst: 120 }
    }
}

impl Config {
    /// Every value that is out of its range, in one text.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut problems = Vec::new();
        if self.duplicate_window > MAX_WINDOW {
            let window = self.duplicate_window;
            problems.push(format!("duplicate_window is {window}, but at most {MAX_WINDOW} s"));
        }
        if self.rate_per_minute > MAX_RATE {
            let rate = self.rate_per_minute;
            problems.push(format!("rate_per_minute is {rate}, but at most {MAX_RATE}"));
        }
        if self.rate_per_minute > 0 && self.burst == 0 {
            problems
                .push("burst is 0, but at least 1 (rate_per_minute = 0 turns the rule off)".into());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
    }
}
