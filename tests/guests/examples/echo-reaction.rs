//! A reaction that answers every event with `"echo": true` in its data by one more such event, or by as
//! many as `times` says: it feeds itself until the host stops it.

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
        let times = event.data_value().get("times").and_then(|n| n.as_u64()).unwrap_or(1);
        let echo = |_| {
            let data = serde_json::json!({"echo": true, "times": times, "of": event.id});
            Emission::new("custom.echo").message("echo").data(data).into()
        };
        Ok((0..times).map(echo).collect())
    }
}

ennio_plugin::export!(EchoReaction: reaction);
