//! An enricher whose patch is no JSON on `poison` in a message.

use ennio_plugin::{Description, Enricher, Enrichment, Event, Patch, Plugin, config};

struct BadPatch;

impl Plugin for BadPatch {
    type Config = config::None;

    fn description() -> Description {
        Description::new("1.0.0", "breaks its patch on poison")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        Ok(BadPatch)
    }
}

impl Enricher for BadPatch {
    fn enrich(&mut self, event: &Event) -> Enrichment {
        let broken = event.message.contains("poison");
        let text = if broken { r#"{"half": "# } else { r#"{"whole":true}"# };
        Ok(Some(Patch { data_json: Some(text.into()), ..Patch::default() }))
    }
}

ennio_plugin::export!(BadPatch: enricher);
