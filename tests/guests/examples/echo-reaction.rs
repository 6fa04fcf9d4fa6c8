//! A reaction that answers every event with `"echo": true` in its data by one more such event: it
//! feeds itself until the host stops it.

use ennio_plugin::{Delivery, Description, Emission, Outcome, Plugin, Reaction, config};

struct EchoReaction;

impl Plugin for EchoReaction {
    type Config = config::None;

    fn description() -> Description {
        Description::new("1.0.0", "echoes")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        Ok(EchoReaction)
    }
}

impl Reaction for EchoReaction {
    fn react(&mut self, delivery: &Delivery) -> Outcome {
        let event = &delivery.event;
        if event.data_value().get("echo") != Some(&true.into()) {
            return Ok(vec![]);
        }
        let echo = Emission::new("custom.echo")
            .message("echo")
            .data(serde_json::json!({"echo": true, "of": event.id}));
        Ok(vec![echo.into()])
    }
}

ennio_plugin::export!(EchoReaction: reaction);
