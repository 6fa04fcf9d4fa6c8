//! An enricher that writes down what it sees of time and chance: both clocks, before and after a
//! wait, and a random number.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use ennio_plugin::{Description, Enricher, Enrichment, Event, Patch, Plugin, config};
use serde_json::json;

struct ClockAndRandom {
    began: Instant,
}

impl Plugin for ClockAndRandom {
    type Config = config::None;

    fn description() -> Description {
        Description::new("1.0.0", "writes down time and chance")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        Ok(ClockAndRandom { began: Instant::now() })
    }
}

impl Enricher for ClockAndRandom {
    fn enrich(&mut self, _: &Event) -> Enrichment {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?;
        // Ends only where time passes by looking at the clock.
        let looked = Instant::now();
        while looked.elapsed().is_zero() {}
        Ok(Some(Patch::new().data(json!({
            "wall_micros": now.as_micros() as u64,
            "nanos_since_configure": self.began.elapsed().as_nanos() as u64,
            "random": RandomState::new().hash_one(0),
        }))))
    }
}

ennio_plugin::export!(ClockAndRandom: enricher);
