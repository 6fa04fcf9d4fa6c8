//! Drops events whose message begins with a configured text.

use ennio_plugin::{Description, Event, Filter, Plugin, Verdict};
use serde::Deserialize;

/// The sidecar's `[config]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    prefix: String,
}

struct MyPlugin {
    prefix: String,
}

impl Plugin for MyPlugin {
    type Config = Config;

    fn description() -> Description {
        Description::new(env!("CARGO_PKG_VERSION"), "drops events by their beginning")
    }

    fn configure(Config { prefix }: Config) -> Result<Self, String> {
        if prefix.is_empty() {
            return Err("prefix is empty, which would drop every event".into());
        }
        Ok(MyPlugin { prefix })
    }
}

impl Filter for MyPlugin {
    fn filter(&mut self, event: &Event) -> Verdict {
        if event.message.starts_with(&self.prefix) {
            Verdict::drop(format!("begins with {}", self.prefix))
        } else {
            Verdict::Keep
        }
    }
}

ennio_plugin::export!(MyPlugin: filter);

#[cfg(test)]
mod tests {
    use ennio_plugin::testing::{configure, event, filter};
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_begins_with_the_prefix_is_dropped() {
        let mut plugin: MyPlugin = configure(json!({"prefix": "debug:"})).unwrap();
        let events = ["debug: tick", "deployed", "not debug: this"];
        let events = events.map(|message| event("activity_changed").message(message).build());
        let verdicts = filter(&mut plugin, &events);
        assert_eq!(verdicts, [Verdict::drop("begins with debug:"), Verdict::Keep, Verdict::Keep]);
    }

    #[test]
    fn a_configuration_that_makes_no_sense_is_refused() {
        for config in [json!({}), json!({"prefix": ""}), json!({"prefx": "debug:"})] {
            assert!(configure::<MyPlugin>(config).is_err());
        }
    }
}
