//! A reaction that gives the host the command in a message: `command NAME` or `command NAME PLUGIN`.

use ennio_plugin::{Command, Delivery, Description, Outcome, Plugin, Reaction, config};

struct CommandReaction;

impl Plugin for CommandReaction {
    type Config = config::None;

    fn description() -> Description {
        Description::new("1.0.0", "gives commands as told")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        Ok(CommandReaction)
    }
}

impl Reaction for CommandReaction {
    fn react(&mut self, delivery: &Delivery) -> Outcome {
        let mut words = delivery.event.message.split_whitespace();
        let (Some("command"), Some(name)) = (words.next(), words.next()) else { return Ok(vec![]) };
        let command = Command { name: name.into(), plugin: words.next().map(Into::into) };
        Ok(vec![command.into()])
    }
}

ennio_plugin::export!(CommandReaction: reaction);
