//! Tells of a CI failure what kind it is and how often in a row it happened, and raises the
//! priority of what keeps failing.
//!
//! `class` reads the kind off the texts of an event; `streak` counts, in the plugin's state. Neither
//! knows of events; this file takes them apart for both.

mod class;
mod streak;

use ennio_plugin::{
    Description, Enricher, Enrichment, Event, Patch, Plugin, Priority, event_type, kv,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::class::Class;
use crate::streak::Streaks;

/// The sidecar's `[config]`; `ci-triage.toml` tells what each key means.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    escalate_at: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config { escalate_at: 3 }
    }
}

/// The members of `data` that say what went wrong, the most telling first.
const EVIDENCE: [&str; 6] = ["log", "error", "reason", "output", "stderr", "summary"];

/// The members of `data` that say what was being done.
const CIRCUMSTANCES: [&str; 4] = ["step", "job", "name", "workflow"];

/// The longest name of a branch or a run, in bytes: what is longer is none.
const NAME: usize = 1_024;

struct CiTriage {
    escalate_at: u32,
    streaks: Streaks,
}

impl Plugin for CiTriage {
    type Config = Config;

    fn description() -> Description {
        Description::new(
            env!("CARGO_PKG_VERSION"),
            "classifies CI failures, counts them, and raises what keeps failing",
        )
        .subscribe(["ennio.ci.*.failing", "ennio.ci.*.passing"])
    }

    fn configure(config: Config) -> Result<Self, String> {
        if !(1..=1_000).contains(&config.escalate_at) {
            return Err(format!("escalate_at is {}, but from 1 to 1000", config.escalate_at));
        }
        let streaks = Streaks::open().map_err(|error| error.to_string())?;
        Ok(CiTriage { escalate_at: config.escalate_at, streaks })
    }
}

impl Enricher for CiTriage {
    fn enrich(&mut self, event: &Event) -> Enrichment {
        let patch = match event.event_type.as_str() {
            event_type::CI_FAILING => self.failing(event),
            event_type::CI_PASSING => {
                let branch = branch(event, &event.data_value());
                self.streaks.passed(&event.project_id, &branch).map(|()| None)
            }
            _ => Ok(None),
        };
        patch.map_err(|error| error.to_string())
    }
}

impl CiTriage {
    fn failing(&self, event: &Event) -> Result<Option<Patch>, kv::Error> {
        let data = event.data_value();
        let run = data.get("run").filter(|run| !run.is_null()).map(Value::to_string);
        let run = run.filter(|run| run.len() <= NAME);
        let failures = self.streaks.failed(&event.project_id, &branch(event, &data), run)?;

        let mut patch = Patch::new();
        // A merge patch with members would put an object in the place of a text or an array.
        if data.is_object() || data.is_null() {
            let class = classify(event, &data);
            let triage = json!({"class": class.name(), "failures": failures});
            patch = patch.data(json!({"triage": triage}));
        }
        if failures >= self.escalate_at && event.priority < Priority::Urgent {
            patch = patch.priority(Priority::Urgent);
        }
        Ok(patch.non_empty())
    }
}

/// The branch of an event: prefixed, so that no session is taken for a branch of the same name.
fn branch(event: &Event, data: &Value) -> String {
    match data.get("branch") {
        Some(Value::String(branch)) if branch.len() <= NAME => format!("branch {branch}"),
        _ => format!("session {}", event.session_id),
    }
}

fn classify(event: &Event, data: &Value) -> Class {
    let texts = |names: &'static [&str]| {
        names.iter().filter_map(|name| data.get(name).and_then(Value::as_str))
    };
    let evidence = texts(&EVIDENCE).chain([event.message.as_str()]);
    class::classify(evidence, texts(&CIRCUMSTANCES))
}

ennio_plugin::export!(CiTriage: enricher);

#[cfg(test)]
mod tests {
    use ennio_plugin::event_type::{CI_FAILING, CI_FIX_SENT, CI_PASSING};
    use ennio_plugin::testing::{self, EventBuilder, event};

    use super::*;

    fn failing(run: u32) -> EventBuilder {
        event(CI_FAILING)
            .priority(Priority::Action)
            .data(json!({"pr": 7, "branch": "fix/login", "run": run, "log": "1 test failed"}))
    }

    fn passing() -> EventBuilder {
        event(CI_PASSING).data(json!({"pr": 7, "branch": "fix/login", "run": 99}))
    }

    fn enriched(config: Value, events: &[Event]) -> Vec<Event> {
        let mut plugin: CiTriage = testing::configure(config).unwrap();
        testing::enrich(&mut plugin, events)
            .into_iter()
            .zip(events)
            .map(|(answer, event)| match answer.unwrap() {
                Some(patch) => testing::apply(event, &patch),
                None => event.clone(),
            })
            .collect()
    }

    fn failures(events: &[Event]) -> Vec<Option<u64>> {
        events.iter().map(|event| event.data_value()["triage"]["failures"].as_u64()).collect()
    }

    #[test]
    fn the_shipped_sidecar_is_the_default_configuration() {
        let sidecar: toml::Table = toml::from_str(include_str!("../ci-triage.toml")).unwrap();
        let shipped: Config = sidecar["config"].clone().try_into().unwrap();
        assert_eq!(shipped, Config::default());
        let subscribed: Vec<String> = sidecar["subscribe"].clone().try_into().unwrap();
        assert_eq!(subscribed, CiTriage::description().subscribe);
    }

    #[test]
    fn a_failure_gets_its_class_and_count_beside_its_data() {
        let event = &enriched(json!({}), &[failing(1).build()])[0];
        assert_eq!(
            event.data_value(),
            json!({
                "pr": 7, "branch": "fix/login", "run": 1, "log": "1 test failed",
                "triage": {"class": "test", "failures": 1},
            })
        );
        assert_eq!(event.priority, Priority::Action);
    }

    #[test]
    fn failures_in_a_row_are_counted_and_the_third_is_urgent() {
        let events: Vec<_> = (1..=4).map(|run| failing(run).build()).collect();
        let enriched = enriched(json!({}), &events);
        assert_eq!(failures(&enriched), [Some(1), Some(2), Some(3), Some(4)]);
        let priorities: Vec<_> = enriched.iter().map(|event| event.priority).collect();
        use Priority::{Action, Urgent};
        assert_eq!(priorities, [Action, Action, Urgent, Urgent]);
    }

    #[test]
    fn a_pass_begins_the_count_anew_for_its_branch_only() {
        let other = || event(CI_FAILING).data(json!({"branch": "main"})).build();
        let events = [failing(1).build(), other(), passing().build(), failing(2).build(), other()];
        assert_eq!(
            failures(&enriched(json!({}), &events)),
            [Some(1), Some(1), None, Some(1), Some(2)]
        );
    }

    #[test]
    fn the_failed_jobs_of_one_run_count_once() {
        let events = [failing(1).build(), failing(1).build(), failing(2).build()];
        assert_eq!(failures(&enriched(json!({}), &events)), [Some(1), Some(1), Some(2)]);
    }

    #[test]
    fn projects_are_counted_apart_and_a_session_stands_in_for_a_missing_branch() {
        let bare = |project: &str, session: &str| {
            event(CI_FAILING).project(project).session(session).build()
        };
        let events = [bare("web", "a"), bare("web", "b"), bare("api", "a"), bare("web", "a")];
        assert_eq!(failures(&enriched(json!({}), &events)), [Some(1), Some(1), Some(1), Some(2)]);
    }

    #[test]
    fn a_streak_goes_on_after_a_restart() {
        for run in 1..=3 {
            let mut plugin: CiTriage = match run {
                1 => testing::configure(json!({})).unwrap(),
                _ => testing::restart(json!({})).unwrap(),
            };
            let event = failing(run).build();
            let patch = plugin.enrich(&event).unwrap().unwrap();
            assert_eq!(failures(&[testing::apply(&event, &patch)]), [Some(run.into())]);
            assert_eq!(patch.priority, (run == 3).then_some(Priority::Urgent));
        }
    }

    #[test]
    fn a_batch_that_was_taken_back_counts_once() {
        let bare = || event(CI_FAILING).data(json!({"branch": "main"})).build();
        let mut plugin: CiTriage = testing::configure(json!({})).unwrap();
        testing::undone(|| testing::enrich(&mut plugin, &[bare(), bare()]));
        let mut plugin: CiTriage = testing::restart(json!({})).unwrap();
        let again = bare();
        let patch = plugin.enrich(&again).unwrap().unwrap();
        assert_eq!(failures(&[testing::apply(&again, &patch)]), [Some(1)]);
    }

    #[test]
    fn a_branch_that_passes_is_forgotten() {
        let mut plugin: CiTriage = testing::configure(json!({})).unwrap();
        testing::enrich(&mut plugin, &[failing(1).build()]);
        assert_eq!(kv::keys().unwrap().len(), 1);
        testing::enrich(&mut plugin, &[passing().build()]);
        assert_eq!(kv::keys().unwrap(), [""; 0]);
    }

    #[test]
    fn names_of_any_length_are_counted() {
        let long = "b".repeat(100_000);
        let events: Vec<_> = (0..3)
            .map(|_| event(CI_FAILING).data(json!({"branch": long, "run": long})).build())
            .collect();
        assert_eq!(
            failures(&enriched(json!({}), &events)),
            [Some(1), Some(2), Some(3)],
            "for their session, and each for itself"
        );
    }

    #[test]
    fn a_priority_is_never_lowered() {
        let critical = failing(1).priority(Priority::Critical).build();
        let enriched = enriched(json!({"escalate_at": 1}), &[critical]);
        assert_eq!(enriched[0].priority, Priority::Critical);
    }

    #[test]
    fn data_that_is_no_object_stays_what_it_is() {
        let text = event(CI_FAILING).data(json!("it broke")).build();
        let enriched = enriched(json!({"escalate_at": 1}), &[text]);
        assert_eq!(enriched[0].data_value(), json!("it broke"));
        assert_eq!(enriched[0].priority, Priority::Urgent);
    }

    #[test]
    fn other_events_are_left_alone() {
        let mut plugin: CiTriage = testing::configure(()).unwrap();
        assert_eq!(testing::enrich(&mut plugin, &[event(CI_FIX_SENT).build()]), [Ok(None)]);
    }

    #[test]
    fn an_escalation_out_of_range_is_refused() {
        let error = testing::configure::<CiTriage>(json!({"escalate_at": 0})).err().unwrap();
        assert_eq!(error, "escalate_at is 0, but from 1 to 1000");
    }
}
