//! A bad next version of `two-roles`: it traps on what that reacts to.

use ennio_plugin::{Delivery, Description, Outcome, Plugin, Reaction, config};

struct ReactV2Traps;

impl Plugin for ReactV2Traps {
    type Config = config::None;

    fn description() -> Description {
        Description::new("2.0.0", "traps on events to react to")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        Ok(ReactV2Traps)
    }
}

impl Reaction for ReactV2Traps {
    #[expect(clippy::panic, reason = "the trap is this guest's purpose")]
    fn react(&mut self, delivery: &Delivery) -> Outcome {
        if delivery.event.message.starts_with("react") {
            panic!("no reaction to {}", delivery.event.id);
        }
        Ok(vec![])
    }
}

ennio_plugin::export!(ReactV2Traps: reaction);
