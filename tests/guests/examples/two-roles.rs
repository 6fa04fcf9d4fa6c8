//! A filter and a reaction in one component.

use ennio_plugin::{
    Delivery, Description, Emission, Event, Filter, Outcome, Plugin, Reaction, Verdict, config,
};

struct TwoRoles;

impl Plugin for TwoRoles {
    type Config = config::None;

    fn description() -> Description {
        Description::new("1.0.0", "drops chatty events, reacts to others")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        Ok(TwoRoles)
    }
}

impl Filter for TwoRoles {
    fn filter(&mut self, event: &Event) -> Verdict {
        if event.message.starts_with("chatty") { Verdict::drop("chatty") } else { Verdict::Keep }
    }
}

impl Reaction for TwoRoles {
    fn react(&mut self, delivery: &Delivery) -> Outcome {
        if !delivery.event.message.starts_with("react") {
            return Ok(vec![]);
        }
        let seen = Emission::new("custom.seen").message(format!("saw {}", delivery.event.id));
        Ok(vec![seen.into()])
    }
}

ennio_plugin::export!(TwoRoles: filter, reaction);
