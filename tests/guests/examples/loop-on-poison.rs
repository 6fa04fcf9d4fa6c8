//! An enricher that never comes back from `poison` in a message.

use ennio_plugin::{Description, Enricher, Enrichment, Event, Patch, Plugin, config};

struct LoopOnPoison;

impl Plugin for LoopOnPoison {
    type Config = config::None;

    fn description() -> Description {
        Description::new("1.0.0", "loops on poison")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        Ok(LoopOnPoison)
    }
}

impl Enricher for LoopOnPoison {
    fn enrich(&mut self, event: &Event) -> Enrichment {
        let mut turns = 0_u64;
        while event.message.contains("poison") {
            turns = std::hint::black_box(turns.wrapping_add(1));
        }
        Ok(Some(Patch::new().data(serde_json::json!({"looped": false}))))
    }
}

ennio_plugin::export!(LoopOnPoison: enricher);
