//! A filter that keeps every event and says so everywhere: stdout, stderr, and the log at every
//! level.

use ennio_plugin::{Description, Event, Filter, Plugin, Verdict, config, log};

struct Noisy;

impl Plugin for Noisy {
    type Config = config::None;

    fn description() -> Description {
        Description::new("1.0.0", "talks too much")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        Ok(Noisy)
    }
}

impl Filter for Noisy {
    fn filter(&mut self, event: &Event) -> Verdict {
        let id = &event.id;
        println!("stdout {id}");
        eprintln!("stderr {id}");
        log::trace(format!("trace {id}"));
        log::debug(format!("debug {id}"));
        log::info(format!("info {id}"));
        log::warn(format!("warn {id}"));
        log::error(format!("error {id}"));
        log::critical(format!("critical {id}"));
        log::write(log::Level::Info, "context", format!("info {id}"));
        Verdict::Keep
    }
}

ennio_plugin::export!(Noisy: filter);
