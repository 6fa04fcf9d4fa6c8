//! A reaction that fails as the message begins: `retry`, `fatal` or `trap`; else it does nothing.

use ennio_plugin::{Delivery, Description, Failure, Outcome, Plugin, Reaction, config};

struct FailReaction;

impl Plugin for FailReaction {
    type Config = config::None;

    fn description() -> Description {
        Description::new("1.0.0", "fails as told")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        Ok(FailReaction)
    }
}

impl Reaction for FailReaction {
    #[expect(clippy::panic, reason = "the trap is this guest's purpose")]
    fn react(&mut self, delivery: &Delivery) -> Outcome {
        let message = &delivery.event.message;
        if message.starts_with("retry") {
            return Err(Failure::retry(format!("told to, attempt {}", delivery.attempt)));
        }
        if message.starts_with("fatal") {
            return Err(Failure::fatal("told to"));
        }
        if message.starts_with("trap") {
            panic!("told to trap");
        }
        Ok(vec![])
    }
}

ennio_plugin::export!(FailReaction: reaction);
