//! Adds the team that owns a project to its events.

use std::collections::BTreeMap;

use ennio_plugin::{Description, Enricher, Enrichment, Event, Patch, Plugin};
use serde::Deserialize;
use serde_json::{Value, json};

/// The sidecar's `[config]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The team of each project.
    owners: BTreeMap<String, String>,
}

struct MyPlugin {
    owners: BTreeMap<String, String>,
}

impl Plugin for MyPlugin {
    type Config = Config;

    fn description() -> Description {
        Description::new(env!("CARGO_PKG_VERSION"), "adds the team that owns a project")
    }

    fn configure(Config { owners }: Config) -> Result<Self, String> {
        Ok(MyPlugin { owners })
    }
}

impl Enricher for MyPlugin {
    fn enrich(&mut self, event: &Event) -> Enrichment {
        let Some(owner) = self.owners.get(&event.project_id) else {
            return Ok(None);
        };
        // A merge patch would make an object of anything else.
        match event.data_value() {
            Value::Null | Value::Object(_) => Ok(Some(Patch::new().data(json!({"owner": owner})))),
            _ => Ok(None),
        }
    }
}

ennio_plugin::export!(MyPlugin: enricher);

#[cfg(test)]
mod tests {
    use ennio_plugin::testing::{apply, configure, enrich, event};

    use super::*;

    #[test]
    fn the_owner_is_added_beside_what_is_there() {
        let config = json!({"owners": {"web": "frontend"}});
        let mut plugin: MyPlugin = configure(config).unwrap();
        let event = event("ci_failing").project("web").data(json!({"branch": "main"})).build();
        let patch = enrich(&mut plugin, std::slice::from_ref(&event)).remove(0).unwrap().unwrap();
        let expected = json!({"branch": "main", "owner": "frontend"});
        assert_eq!(apply(&event, &patch).data_value(), expected);
    }

    #[test]
    fn events_of_other_projects_and_data_that_is_no_object_stay_as_they_are() {
        let config = json!({"owners": {"web": "frontend"}});
        let mut plugin: MyPlugin = configure(config).unwrap();
        let others = event("ci_failing").project("atlas").build();
        let list = event("ci_failing").project("web").data(json!([1, 2])).build();
        assert_eq!(enrich(&mut plugin, &[others, list]), [Ok(None), Ok(None)]);
    }
}
