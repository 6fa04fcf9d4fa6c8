//! A filter that traps before its first event.

use ennio_plugin::{Description, Event, Filter, Plugin, Verdict, config};

struct TrapInConfigure;

impl Plugin for TrapInConfigure {
    type Config = config::None;

    fn description() -> Description {
        Description::new("1.0.0", "never starts")
    }

    #[expect(clippy::panic, reason = "the trap is this guest's purpose")]
    fn configure(_: config::None) -> Result<Self, String> {
        panic!("no configuration is good enough");
    }
}

impl Filter for TrapInConfigure {
    fn filter(&mut self, _event: &Event) -> Verdict {
        Verdict::Keep
    }
}

ennio_plugin::export!(TrapInConfigure: filter);
