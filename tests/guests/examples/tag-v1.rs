//! An enricher that tags every event with its version; the other half of a reload is `tag-v2`.

use ennio_plugin::{Description, Enricher, Enrichment, Event, Patch, Plugin, config};

struct TagV1;

impl Plugin for TagV1 {
    type Config = config::None;

    fn description() -> Description {
        Description::new("1.0.0", "tags events with v1")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        Ok(TagV1)
    }
}

impl Enricher for TagV1 {
    fn enrich(&mut self, _event: &Event) -> Enrichment {
        Ok(Some(Patch::new().data(serde_json::json!({"tag": "v1"}))))
    }
}

ennio_plugin::export!(TagV1: enricher);
