//! A filter that drops events whose message begins with `chatty`.

use ennio_plugin::{Description, Event, Filter, Plugin, Verdict, config};

struct DropChatty;

impl Plugin for DropChatty {
    type Config = config::None;

    fn description() -> Description {
        Description::new("1.0.0", "drops chatty events")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        Ok(DropChatty)
    }
}

impl Filter for DropChatty {
    fn filter(&mut self, event: &Event) -> Verdict {
        if event.message.starts_with("chatty") { Verdict::drop("chatty") } else { Verdict::Keep }
    }
}

ennio_plugin::export!(DropChatty: filter);
