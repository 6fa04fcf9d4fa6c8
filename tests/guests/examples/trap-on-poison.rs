//! A filter that traps on `poison` in a message and else drops `chatty` events.

use ennio_plugin::{Description, Event, Filter, Plugin, Verdict, config};

struct TrapOnPoison;

impl Plugin for TrapOnPoison {
    type Config = config::None;

    fn description() -> Description {
        Description::new("1.0.0", "traps on poison, drops chatty events")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        Ok(TrapOnPoison)
    }
}

impl Filter for TrapOnPoison {
    #[expect(clippy::panic, reason = "the trap is this guest's purpose")]
    fn filter(&mut self, event: &Event) -> Verdict {
        if event.message.contains("poison") {
            panic!("poison in event {}", event.id);
        }
        if event.message.starts_with("chatty") { Verdict::drop("chatty") } else { Verdict::Keep }
    }
}

ennio_plugin::export!(TrapOnPoison: filter);
