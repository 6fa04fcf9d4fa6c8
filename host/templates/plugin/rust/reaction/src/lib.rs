//! Pages somebody when an event wants immediate attention.

use ennio_plugin::{Delivery, Description, Emission, Outcome, Plugin, Priority, Reaction};
use serde::Deserialize;
use serde_json::json;

/// What is emitted. The sidecar has to grant its subject.
const PAGE: &str = "custom.page";

/// The sidecar's `[config]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Who is paged.
    to: String,
}

struct MyPlugin {
    to: String,
}

impl Plugin for MyPlugin {
    type Config = Config;

    fn description() -> Description {
        Description::new(env!("CARGO_PKG_VERSION"), "pages somebody about urgent events")
            .min_priority(Priority::Urgent)
    }

    fn configure(Config { to }: Config) -> Result<Self, String> {
        Ok(MyPlugin { to })
    }
}

impl Reaction for MyPlugin {
    fn react(&mut self, delivery: &Delivery) -> Outcome {
        let event = &delivery.event;
        if event.is(PAGE) {
            return Ok(vec![]);
        }
        // In the session and project of the event, unless the emission names others.
        let page = Emission::new(PAGE)
            .priority(Priority::Action)
            .message(format!("{}: {}: {}", self.to, event.event_type, event.message))
            .data(json!({"to": self.to, "seq": delivery.seq}));
        Ok(vec![page.into()])
    }
}

ennio_plugin::export!(MyPlugin: reaction);

#[cfg(test)]
mod tests {
    use ennio_plugin::Action;
    use ennio_plugin::testing::{configure, event, react};

    use super::*;

    #[test]
    fn an_urgent_event_becomes_one_page_and_a_page_none() {
        let mut plugin: MyPlugin = configure(json!({"to": "on-call"})).unwrap();
        let down = event("node_disconnected").message("build-01 is gone").build();
        let outcomes = react(&mut plugin, &[down, event(PAGE).build()]);
        let Ok([Action::Emit(page)]) = outcomes[0].as_deref() else {
            panic!("{outcomes:?}");
        };
        assert_eq!(page.message, "on-call: node_disconnected: build-01 is gone");
        assert_eq!(outcomes[1], Ok(vec![]));
    }
}
