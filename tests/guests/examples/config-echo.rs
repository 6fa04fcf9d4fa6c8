//! A filter that needs the key `word` and drops the events whose message is that word: what it drops
//! tells which configuration it got.

use ennio_plugin::{Description, Event, Filter, Plugin, Verdict};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    word: String,
}

struct ConfigEcho {
    word: String,
}

impl Plugin for ConfigEcho {
    type Config = Config;

    fn description() -> Description {
        Description::new("1.0.0", "drops the word that it was given")
    }

    fn configure(config: Config) -> Result<Self, String> {
        Ok(ConfigEcho { word: config.word })
    }
}

impl Filter for ConfigEcho {
    fn filter(&mut self, event: &Event) -> Verdict {
        if event.message == self.word {
            Verdict::drop(format!("is the word {}", self.word))
        } else {
            Verdict::Keep
        }
    }
}

ennio_plugin::export!(ConfigEcho: filter);
