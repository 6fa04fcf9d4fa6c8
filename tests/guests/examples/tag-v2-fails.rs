//! `tag-v2` with two faults: it traps on `poison` in a message, and never comes back from `endless`.

use ennio_plugin::{Description, Enricher, Enrichment, Event, Patch, Plugin, config};

struct TagV2Fails;

impl Plugin for TagV2Fails {
    type Config = config::None;

    fn description() -> Description {
        Description::new("2.0.0", "tags events with v2, with two faults")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        Ok(TagV2Fails)
    }
}

impl Enricher for TagV2Fails {
    #[expect(clippy::panic, reason = "the trap is this guest's purpose")]
    fn enrich(&mut self, event: &Event) -> Enrichment {
        if event.message.contains("poison") {
            panic!("poison in event {}", event.id);
        }
        let mut turns = 0_u64;
        while event.message.contains("endless") {
            turns = std::hint::black_box(turns.wrapping_add(1));
        }
        Ok(Some(Patch::new().data(serde_json::json!({"tag": "v2"}))))
    }
}

ennio_plugin::export!(TagV2Fails: enricher);
