//! Emits `merge_ready` once a pull request is approved and its CI passes.
//!
//! `readiness` is the state of one pull request, a plain state machine; this file finds the pull
//! request of an event and puts what came of it into words.

mod readiness;

use ennio_plugin::{
    Delivery, Description, Emission, Event, Outcome, Plugin, Priority, Reaction, RecentMap,
    event_type,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::readiness::{Change, Pair, Readiness};

/// The most pull requests that are remembered, a few MiB. When there are more, the one that nothing
/// happened to for longest is forgotten.
const PULL_REQUESTS: usize = 10_000;

/// The sidecar's `[config]`; `merge-ready.toml` tells what each key means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    approval_survives_update: bool,
}

/// Which pull request of a project, as far as an event says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Which {
    /// `data.pr`, a number or a text, as JSON.
    Number(String),
    /// An event without one: its session works on one pull request at a time.
    Session(String),
}

struct MergeReady {
    approval_survives_update: bool,
    pull_requests: RecentMap<(String, Which), Readiness>,
}

impl Plugin for MergeReady {
    type Config = Config;

    fn description() -> Description {
        Description::new(
            env!("CARGO_PKG_VERSION"),
            "emits merge_ready when a pull request is approved and its CI passes",
        )
        .subscribe([
            "ennio.review.*.approved",
            "ennio.review.*.changes_requested",
            "ennio.ci.*.passing",
            "ennio.ci.*.failing",
            "ennio.pr.*.updated",
            "ennio.pr.*.merged",
            "ennio.pr.*.closed",
            "ennio.merge.*.completed",
        ])
    }

    fn configure(config: Config) -> Result<Self, String> {
        Ok(MergeReady {
            approval_survives_update: config.approval_survives_update,
            pull_requests: RecentMap::new(PULL_REQUESTS),
        })
    }
}

impl Reaction for MergeReady {
    fn react(&mut self, delivery: &Delivery) -> Outcome {
        let event = &delivery.event;
        let data = event.data_value();
        let key = (event.project_id.clone(), which(event, &data));

        let change = match event.event_type.as_str() {
            event_type::REVIEW_APPROVED => Change::Approved,
            event_type::REVIEW_CHANGES_REQUESTED => Change::ApprovalLost,
            event_type::CI_PASSING => Change::Passing,
            event_type::CI_FAILING => Change::PassLost,
            event_type::PR_UPDATED if self.approval_survives_update => Change::PassLost,
            event_type::PR_UPDATED => Change::BothLost,
            event_type::PR_MERGED | event_type::PR_CLOSED | event_type::MERGE_COMPLETED => {
                self.pull_requests.remove(&key);
                return Ok(vec![]);
            }
            _ => return Ok(vec![]),
        };

        let readiness = self.pull_requests.get_or_insert_with(key, Readiness::default);
        let ready = readiness.change(change, &event.id);
        Ok(ready.map(|pair| merge_ready(event, &data, pair).into()).into_iter().collect())
    }
}

/// `data.pr`, when it is something that can name a pull request.
fn number(data: &Value) -> Option<&Value> {
    data.get("pr").filter(|pr| pr.is_number() || pr.is_string())
}

fn which(event: &Event, data: &Value) -> Which {
    match number(data) {
        Some(pr) => Which::Number(pr.to_string()),
        None => Which::Session(event.session_id.clone()),
    }
}

fn merge_ready(event: &Event, data: &Value, pair: Pair<'_>) -> Emission {
    let what = match number(data) {
        Some(Value::String(name)) => format!("pull request {name}"),
        Some(number) => format!("pull request {number}"),
        None => format!("the pull request of session {}", event.session_id),
    };
    Emission::new(event_type::MERGE_READY)
        .priority(Priority::Action)
        .message(format!("{what} is ready to merge: approved, and CI passes"))
        .data(json!({
            "pr": number(data),
            "approved_by_event": pair.approved_by,
            "ci_event": pair.passed_by,
        }))
}

ennio_plugin::export!(MergeReady: reaction);

#[cfg(test)]
mod tests {
    use ennio_plugin::Action;
    use ennio_plugin::event_type::*;
    use ennio_plugin::testing::{self, event};

    use super::*;

    fn of_pr(event_type: &str, pr: u32) -> Event {
        event(event_type).data(json!({"pr": pr, "branch": "b"})).build()
    }

    /// How many events each delivery emitted.
    fn emitted(config: Value, events: &[Event]) -> Vec<usize> {
        let mut plugin: MergeReady = testing::configure(config).unwrap();
        testing::react(&mut plugin, events).into_iter().map(|o| o.unwrap().len()).collect()
    }

    fn of_types(types: &[&str]) -> Vec<usize> {
        let events: Vec<_> = types.iter().map(|event_type| of_pr(event_type, 7)).collect();
        emitted(json!({}), &events)
    }

    #[test]
    fn the_shipped_sidecar_is_the_default_configuration() {
        let sidecar: toml::Table = toml::from_str(include_str!("../merge-ready.toml")).unwrap();
        let shipped: Config = sidecar["config"].clone().try_into().unwrap();
        assert_eq!(shipped, Config::default());
        let subscribed: Vec<String> = sidecar["subscribe"].clone().try_into().unwrap();
        assert_eq!(subscribed, MergeReady::description().subscribe);
    }

    #[test]
    fn approval_and_a_pass_make_it_ready_in_either_order() {
        assert_eq!(of_types(&[REVIEW_APPROVED, CI_PASSING]), [0, 1]);
        assert_eq!(of_types(&[CI_PASSING, REVIEW_APPROVED]), [0, 1]);
    }

    #[test]
    fn the_event_names_what_made_it_ready() {
        let events = [of_pr(REVIEW_APPROVED, 7), of_pr(CI_PASSING, 7)];
        let mut plugin: MergeReady = testing::configure(()).unwrap();
        let actions = testing::react(&mut plugin, &events).remove(1).unwrap();
        let expected = Emission::new("merge_ready")
            .priority(Priority::Action)
            .message("pull request 7 is ready to merge: approved, and CI passes")
            .data(json!({
                "pr": 7, "approved_by_event": events[0].id, "ci_event": events[1].id,
            }));
        assert_eq!(actions, [Action::Emit(expected)]);
    }

    #[test]
    fn it_is_said_once_for_each_readiness() {
        assert_eq!(
            of_types(&[REVIEW_APPROVED, CI_PASSING, CI_PASSING, REVIEW_APPROVED]),
            [0, 1, 0, 0]
        );
    }

    #[test]
    fn a_lost_half_has_to_come_again() {
        assert_eq!(of_types(&[REVIEW_APPROVED, CI_FAILING, CI_PASSING]), [0, 0, 1]);
        assert_eq!(of_types(&[CI_PASSING, CI_FAILING, REVIEW_APPROVED]), [0, 0, 0]);
        assert_eq!(of_types(&[REVIEW_APPROVED, REVIEW_CHANGES_REQUESTED, CI_PASSING]), [0, 0, 0]);
        assert_eq!(of_types(&[REVIEW_APPROVED, CI_PASSING, CI_FAILING, CI_PASSING]), [0, 1, 0, 1]);
    }

    #[test]
    fn an_update_takes_both_halves_back() {
        assert_eq!(of_types(&[REVIEW_APPROVED, PR_UPDATED, CI_PASSING]), [0, 0, 0]);
        assert_eq!(
            of_types(&[REVIEW_APPROVED, CI_PASSING, PR_UPDATED, CI_PASSING, REVIEW_APPROVED]),
            [0, 1, 0, 0, 1]
        );
    }

    #[test]
    fn an_approval_survives_an_update_when_told_so() {
        let events = [of_pr(REVIEW_APPROVED, 7), of_pr(PR_UPDATED, 7), of_pr(CI_PASSING, 7)];
        assert_eq!(emitted(json!({"approval_survives_update": true}), &events), [0, 0, 1]);
    }

    #[test]
    fn a_pull_request_that_ended_is_forgotten() {
        for end in [PR_MERGED, PR_CLOSED, MERGE_COMPLETED] {
            assert_eq!(of_types(&[REVIEW_APPROVED, end, CI_PASSING]), [0, 0, 0], "{end}");
        }
    }

    #[test]
    fn pull_requests_projects_and_sessions_are_kept_apart() {
        let events = [
            of_pr(REVIEW_APPROVED, 7),
            of_pr(CI_PASSING, 8),
            event(CI_PASSING).project("api").data(json!({"pr": 7})).build(),
            event(CI_PASSING).session("7").build(),
            event(REVIEW_APPROVED).session("7").build(),
        ];
        assert_eq!(emitted(json!({}), &events), [0, 0, 0, 0, 1]);
    }

    #[test]
    fn a_delivery_again_of_what_made_it_ready_emits_again() {
        let approved = of_pr(REVIEW_APPROVED, 7);
        let passing = of_pr(CI_PASSING, 7);
        let again = passing.clone();
        assert_eq!(emitted(json!({}), &[approved, passing, again]), [0, 1, 1]);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = testing::configure::<MergeReady>(json!({"approval_survive_update": true}));
        assert_eq!(
            error.err().unwrap(),
            "approval_survive_update is not a key of this plugin \
             (did you mean approval_survives_update?)"
        );
    }
}
