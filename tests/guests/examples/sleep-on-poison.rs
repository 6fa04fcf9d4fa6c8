//! A filter that sleeps for an hour in a host call on `poison` in a message: no fuel or epoch of the
//! guest's own code ends it.

use ennio_plugin::{Description, Event, Filter, Plugin, Verdict, config};

struct SleepOnPoison;

impl Plugin for SleepOnPoison {
    type Config = config::None;

    fn description() -> Description {
        Description::new("1.0.0", "sleeps on poison")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        Ok(SleepOnPoison)
    }
}

impl Filter for SleepOnPoison {
    fn filter(&mut self, event: &Event) -> Verdict {
        if event.message.contains("poison") {
            std::thread::sleep(std::time::Duration::from_secs(3_600));
        }
        Verdict::Keep
    }
}

ennio_plugin::export!(SleepOnPoison: filter);
