use serde::Serialize;
use serde_json::{Map, Value};

use crate::http::{Error, Request, Response};
use crate::log::Level;
use crate::{
    Delivery, Enricher, Enrichment, Event, Filter, Outcome, Patch, Plugin, Reaction, Verdict, host,
    plugin,
};

/// The largest batch that the contract allows.
const BATCH: usize = 64;

/// The most actions that the contract allows a reaction in one call.
const ACTIONS: usize = 32;

/// Configures a plugin as the host would from a sidecar with this `[config]`: anything that
/// serialises to a table (`json!({"key": 1})`, a `toml::Table`), or `()` for no configuration. Its
/// state is empty.
///
/// # Errors
///
/// Those of the plugin's `configure`, and of a configuration that does not read as its type.
pub fn configure<P: Plugin>(config: impl Serialize) -> Result<P, String> {
    host::clear_state();
    restart(config)
}

/// Like [`configure`], with the state that an earlier instance has written in this thread: what
/// comes after a reload, a trap or a restart of the host.
///
/// # Errors
///
/// Those of [`configure`].
pub fn restart<P: Plugin>(config: impl Serialize) -> Result<P, String> {
    let table = match serde_json::to_value(config).expect("a configuration is plain data") {
        Value::Null => Map::new(),
        Value::Object(table) => table,
        other => panic!("a configuration is a table, not {other}"),
    };
    let pairs = table.into_iter().map(|(key, value)| match value {
        Value::String(text) => (key, text),
        other => (key, other.to_string()),
    });
    host::set_config(pairs.collect());
    plugin::configured()
}

/// Runs a call, and takes back what it wrote into the state: what the host does when the call
/// traps, misses its deadline, or its events cannot be committed. The instance is then thrown away,
/// so the test goes on with [`restart`].
pub fn undone<T>(call: impl FnOnce() -> T) -> T {
    host::undo(call)
}

/// Runs events through a filter in batches of 64, as a busy host would.
pub fn filter<P: Filter>(plugin: &mut P, events: &[Event]) -> Vec<Verdict> {
    in_batches(events, |batch| plugin.filter_batch(batch))
}

/// Runs events through an enricher in batches of 64, as a busy host would.
pub fn enrich<P: Enricher>(plugin: &mut P, events: &[Event]) -> Vec<Enrichment> {
    in_batches(events, |batch| plugin.enrich_batch(batch))
}

/// Delivers events to a reaction, one by one, first tries all, with `seq` from 1.
pub fn react<P: Reaction>(plugin: &mut P, events: &[Event]) -> Vec<Outcome> {
    (1..)
        .zip(events)
        .map(|(seq, event)| {
            let outcome = plugin.react(&Delivery {
                event: event.clone(),
                seq,
                hops: 0,
                caused_by: None,
                attempt: 1,
            });
            if let Ok(actions) = &outcome {
                let count = actions.len();
                assert!(count <= ACTIONS, "a call has at most {ACTIONS} actions, not {count}");
            }
            outcome
        })
        .collect()
}

/// The event as the host stores it after this patch.
pub fn apply(event: &Event, patch: &Patch) -> Event {
    let mut patched = event.clone();
    if let Some(priority) = patch.priority {
        patched.priority = priority;
    }
    if let Some(message) = &patch.message {
        patched.message.clone_from(message);
    }
    if let Some(text) = &patch.data_json {
        let merge_patch = serde_json::from_str(text)
            .unwrap_or_else(|error| panic!("a patch of data is JSON: {error}: {text}"));
        let mut data = event.data_value();
        merge(&mut data, merge_patch);
        patched.data_json = data.to_string();
    }
    patched
}

/// RFC 7396.
pub fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(members) = target else { return };
    for (key, change) in patch {
        if change.is_null() {
            members.remove(&key);
        } else {
            merge(members.entry(key).or_insert(Value::Null), change);
        }
    }
}

/// What the plugin logged in this thread since the last call, as `context: line`.
pub fn logged() -> Vec<(Level, String)> {
    host::take_log()
}

/// Plays the servers: answers every request of the plugin from now on, in this thread. Without it,
/// requests are denied, as they are on a host whose sidecar grants none.
pub fn http(server: impl FnMut(&Request) -> Result<Response, Error> + 'static) {
    host::set_http(Box::new(server));
}

fn in_batches<T>(events: &[Event], mut call: impl FnMut(&[Event]) -> Vec<T>) -> Vec<T> {
    let mut answers = Vec::with_capacity(events.len());
    for batch in events.chunks(BATCH) {
        let some = call(batch);
        assert_eq!(some.len(), batch.len(), "a batch needs exactly one answer an event");
        answers.extend(some);
    }
    answers
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::event;
    use crate::{Description, Priority, Verdict, config, log};

    struct Recorder {
        batches: Vec<usize>,
        short: bool,
    }

    impl Plugin for Recorder {
        type Config = config::None;

        fn description() -> Description {
            Description::new("1.0.0", "records the sizes of its batches")
        }

        fn configure(_: config::None) -> Result<Self, String> {
            log::warn("configured");
            Ok(Recorder { batches: vec![], short: false })
        }
    }

    impl Filter for Recorder {
        fn filter(&mut self, _event: &Event) -> Verdict {
            Verdict::Keep
        }

        fn filter_batch(&mut self, events: &[Event]) -> Vec<Verdict> {
            self.batches.push(events.len());
            vec![Verdict::Keep; events.len() - usize::from(self.short)]
        }
    }

    #[test]
    fn events_come_in_batches_of_64() {
        let mut plugin: Recorder = configure(()).unwrap();
        let events: Vec<_> = (0..150).map(|_| event("custom.x").build()).collect();
        assert_eq!(filter(&mut plugin, &events).len(), 150);
        assert_eq!(plugin.batches, [64, 64, 22]);
    }

    #[test]
    #[should_panic(expected = "exactly one answer an event")]
    fn too_few_verdicts_fail_the_test() {
        let mut plugin: Recorder = configure(()).unwrap();
        plugin.short = true;
        filter(&mut plugin, &[event("custom.x").build()]);
    }

    #[test]
    fn what_a_plugin_logs_is_handed_out_once() {
        logged();
        configure::<Recorder>(()).unwrap();
        assert_eq!(logged(), [(Level::Warn, "configured".into())]);
        assert_eq!(logged(), []);
    }

    #[test]
    fn a_patch_changes_only_what_it_names() {
        let before = event("custom.x").message("m").data(json!({"a": 1})).build();
        let after = apply(&before, &Patch::new().priority(Priority::Urgent));
        assert_eq!(after, Event { priority: Priority::Urgent, ..before.clone() });
        let after = apply(&before, &Patch::new().data(json!({"b": 2})));
        assert_eq!(after.data_value(), json!({"a": 1, "b": 2}));
        assert_eq!(after.message, "m");
    }

    #[test]
    fn merging_is_that_of_rfc_7396() {
        for (target, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, patch.clone());
            assert_eq!(merged, expected, "{target} + {patch}");
        }
    }
}
