//! Emits `merge_ready` once a pull request is approved and its CI passes.
//!
//! `readiness` is the state of one pull request, a plain state machine; this file finds the pull
//! request of an event, keeps its state in that of the plugin, and puts what came of it into words.

mod readiness;

use ennio_plugin::{
    Delivery, Description, Emission, Event, Outcome, Plugin, Priority, Reaction, event_type, kv,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::readiness::{Change, Pair, Readiness};

/// What the pull requests may take of the plugin's state: room for 40,000. When there are more, those
/// that nothing happened to for longest are forgotten.
const BYTES: usize = 8 << 20;

/// The longest name of a pull request, in bytes: what is longer is none.
const NAME: usize = 1_024;

/// The sidecar's `[config]`; `merge-ready.toml` tells what each key means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    approval_survives_update: bool,
}

struct MergeReady {
    approval_survives_update: bool,
    pull_requests: kv::RecentMap<Readiness>,
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
            pull_requests: kv::RecentMap::open("pr", BYTES).map_err(|error| error.to_string())?,
        })
    }
}

impl Reaction for MergeReady {
    fn react(&mut self, delivery: &Delivery) -> Outcome {
        let event = &delivery.event;
        let data = event.data_value();
        let change = match event.event_type.as_str() {
            event_type::REVIEW_APPROVED => Change::Approved,
            event_type::REVIEW_CHANGES_REQUESTED => Change::ApprovalLost,
            event_type::CI_PASSING => Change::Passing,
            event_type::CI_FAILING => Change::PassLost,
            event_type::PR_UPDATED if self.approval_survives_update => Change::PassLost,
            event_type::PR_UPDATED => Change::BothLost,
            event_type::PR_MERGED | event_type::PR_CLOSED | event_type::MERGE_COMPLETED => {
                Change::Ended
            }
            _ => return Ok(vec![]),
        };
        let ready = self.pull_requests.update(&key(event, &data), |readiness| {
            let pair = readiness.get_or_insert_default().change(change, &event.id);
            // What nothing is known of is not worth remembering.
            readiness.take_if(|readiness| readiness.is_unknown());
            pair
        })?;
        Ok(ready.map(|pair| merge_ready(event, &data, &pair).into()).into_iter().collect())
    }
}

/// `data.pr`, when it is something that can name a pull request.
fn number(data: &Value) -> Option<&Value> {
    data.get("pr").filter(|pr| match pr {
        Value::String(name) => name.len() <= NAME,
        pr => pr.is_number(),
    })
}

/// What tells the pull request of an event from all others: its project and number, or its session,
/// which works on one pull request at a time.
fn key(event: &Event, data: &Value) -> String {
    match number(data) {
        Some(pr) => format!("{} pr {pr}", event.project_id),
        None => format!("{} session {}", event.project_id, event.session_id),
    }
}

fn merge_ready(event: &Event, data: &Value, pair: &Pair) -> Emission {
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
    fn what_ended_or_lost_both_halves_takes_no_room() {
        for end in [PR_MERGED, PR_CLOSED, MERGE_COMPLETED, PR_UPDATED] {
            assert_eq!(of_types(&[REVIEW_APPROVED]), [0]);
            assert_eq!(kv::keys().unwrap().len(), 1);
            assert_eq!(of_types(&[REVIEW_APPROVED, end]), [0, 0]);
            assert_eq!(kv::keys().unwrap(), [""; 0], "{end}");
        }
    }

    /// How many events each delivery emitted, with `between` before each.
    fn one_by_one(
        types: &[&str],
        mut between: impl FnMut(MergeReady, &Event) -> MergeReady,
    ) -> Vec<usize> {
        let mut plugin: MergeReady = testing::configure(()).unwrap();
        let mut counts = vec![];
        for event_type in types {
            let event = of_pr(event_type, 7);
            plugin = between(plugin, &event);
            counts.push(testing::react(&mut plugin, &[event]).remove(0).unwrap().len());
        }
        counts
    }

    const STORY: [&str; 8] = [
        REVIEW_APPROVED,
        CI_PASSING,
        CI_PASSING,
        PR_UPDATED,
        CI_PASSING,
        REVIEW_APPROVED,
        CI_FAILING,
        CI_PASSING,
    ];

    #[test]
    fn a_restart_forgets_nothing() {
        let counts = one_by_one(&STORY, |_, _| testing::restart(()).unwrap());
        assert_eq!(counts, [0, 1, 0, 0, 0, 1, 0, 1]);
    }

    #[test]
    fn a_delivery_that_was_taken_back_counts_once() {
        let counts = one_by_one(&STORY, |mut plugin, event| {
            testing::undone(|| testing::react(&mut plugin, std::slice::from_ref(event)));
            testing::restart(()).unwrap()
        });
        assert_eq!(counts, [0, 1, 0, 0, 0, 1, 0, 1]);
    }

    #[test]
    fn a_name_too_long_for_one_is_that_of_its_session() {
        let long = json!({"pr": "p".repeat(100_000)});
        let events = [
            event(REVIEW_APPROVED).data(long).build(),
            event(CI_PASSING).build(),
            event(CI_PASSING).session("other").build(),
        ];
        assert_eq!(emitted(json!({}), &events), [0, 1, 0]);
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
