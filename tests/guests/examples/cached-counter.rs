//! Counts in its own memory, which it reads from its state in `configure`, and writes what it has
//! counted.
#![allow(clippy::expect_used, reason = "a guest of a test")]

use ennio_plugin::{Description, Event, Filter, Plugin, Verdict, config, kv};

struct CachedCounter(u64);

impl Plugin for CachedCounter {
    type Config = config::None;

    fn description() -> Description {
        Description::new("1.0.0", "counts in memory")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        let count = kv::get_json("count").map_err(|e| e.to_string())?;
        // Takes its time, in which the version that runs counts on.
        std::thread::sleep(std::time::Duration::from_millis(100));
        Ok(CachedCounter(count.unwrap_or(0)))
    }
}

impl Filter for CachedCounter {
    fn filter(&mut self, _: &Event) -> Verdict {
        self.0 += 1;
        kv::set_json("count", &self.0).expect("the count");
        Verdict::Keep
    }
}

ennio_plugin::export!(CachedCounter: filter);
