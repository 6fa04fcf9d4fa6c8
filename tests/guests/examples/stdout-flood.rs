//! A filter that never stops printing on `poison` in a message.

use ennio_plugin::{Description, Event, Filter, Plugin, Verdict, config};

struct StdoutFlood;

impl Plugin for StdoutFlood {
    type Config = config::None;

    fn description() -> Description {
        Description::new("1.0.0", "prints on poison")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        Ok(StdoutFlood)
    }
}

impl Filter for StdoutFlood {
    fn filter(&mut self, event: &Event) -> Verdict {
        while event.message.starts_with("poison") {
            println!("{}", "flood ".repeat(100));
        }
        Verdict::Keep
    }
}

ennio_plugin::export!(StdoutFlood: filter);
