//! An enricher that tags every event with its version; the other half of a reload is `tag-v1`.

use ennio_plugin::{Description, Enricher, Enrichment, Event, Patch, Plugin, config};

struct TagV2;

impl Plugin for TagV2 {
    type Config = config::None;

    fn description() -> Description {
        Description::new("2.0.0", "tags events with v2")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        Ok(TagV2)
    }
}

impl Enricher for TagV2 {
    fn enrich(&mut self, _event: &Event) -> Enrichment {
        Ok(Some(Patch::new().data(serde_json::json!({"tag": "v2"}))))
    }
}

ennio_plugin::export!(TagV2: enricher);
