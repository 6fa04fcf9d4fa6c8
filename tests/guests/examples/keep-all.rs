//! A filter that keeps every event: the cheapest plugin there is.

use ennio_plugin::{Description, Event, Filter, Plugin, Verdict, config};

struct KeepAll;

impl Plugin for KeepAll {
    type Config = config::None;

    fn description() -> Description {
        Description::new("1.0.0", "keeps all")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        Ok(KeepAll)
    }
}

impl Filter for KeepAll {
    fn filter(&mut self, _event: &Event) -> Verdict {
        Verdict::Keep
    }
}

ennio_plugin::export!(KeepAll: filter);
