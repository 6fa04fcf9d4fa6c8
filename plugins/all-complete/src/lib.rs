//! Emits `all_complete` when every session of a project has ended.
//!
//! `live` is the sessions of one project that live, a plain set; this file tells what an event does
//! to it, keeps it in the plugin's state, and puts what came of it into words.

mod live;

use ennio_plugin::{
    Delivery, Description, Emission, Event, Outcome, Plugin, Reaction, config, event_type, kv,
};
use serde_json::json;

use crate::live::Live;

/// What the live sessions of all projects may take of the plugin's state.
const BYTES: usize = 12 << 20;

struct AllComplete {
    projects: kv::RecentMap<Live>,
}

impl Plugin for AllComplete {
    type Config = config::None;

    fn description() -> Description {
        Description::new(
            env!("CARGO_PKG_VERSION"),
            "emits all_complete when every session of a project has ended",
        )
        .subscribe([
            "ennio.sessions.*.spawned",
            "ennio.sessions.*.restored",
            "ennio.sessions.*.working",
            "ennio.sessions.*.exited",
            "ennio.sessions.*.killed",
            "ennio.sessions.*.cleaned",
        ])
    }

    fn configure(_: config::None) -> Result<Self, String> {
        let projects = kv::RecentMap::open("live", BYTES).map_err(|error| error.to_string())?;
        Ok(AllComplete { projects })
    }
}

impl Reaction for AllComplete {
    fn react(&mut self, delivery: &Delivery) -> Outcome {
        let event = &delivery.event;
        let begins = match event.event_type.as_str() {
            event_type::SESSION_SPAWNED
            | event_type::SESSION_RESTORED
            | event_type::SESSION_WORKING => true,
            event_type::SESSION_EXITED
            | event_type::SESSION_KILLED
            | event_type::SESSION_CLEANED => false,
            _ => return Ok(vec![]),
        };
        let is_complete = self.projects.update(&event.project_id, |live| {
            let sessions = live.get_or_insert_default();
            let is_complete = if begins {
                sessions.begin(&event.session_id);
                false
            } else {
                sessions.end(&event.session_id)
            };
            live.take_if(|sessions| sessions.is_empty());
            is_complete
        })?;
        Ok(if is_complete { vec![all_complete(event).into()] } else { vec![] })
    }
}

fn all_complete(event: &Event) -> Emission {
    let Event { project_id, session_id, event_type, .. } = event;
    let how = event_type.trim_start_matches("session_");
    Emission::new(event_type::ALL_COMPLETE)
        .message(format!("every session of {project_id} has ended, {session_id} last ({how})"))
        .data(json!({
            "last_session": session_id,
            "ended_by": event_type,
            "ended_by_event": event.id,
        }))
}

ennio_plugin::export!(AllComplete: reaction);

#[cfg(test)]
mod tests {
    use std::slice;

    use ennio_plugin::event_type::*;
    use ennio_plugin::testing::{self, event};
    use ennio_plugin::{Action, Priority};

    use super::*;

    /// An event of this type and session, of project `web` unless the session names another as
    /// `project/session`.
    fn of((event_type, session): (&str, &str)) -> Event {
        let (project, session) = session.split_once('/').unwrap_or(("web", session));
        event(event_type).project(project).session(session).build()
    }

    /// How many events each delivery emitted, with `between` before each.
    fn one_by_one(
        story: &[(&str, &str)],
        mut between: impl FnMut(AllComplete, &Event) -> AllComplete,
    ) -> Vec<usize> {
        let mut plugin: AllComplete = testing::configure(()).unwrap();
        let mut counts = vec![];
        for event in story.iter().copied().map(of) {
            plugin = between(plugin, &event);
            counts.push(testing::react(&mut plugin, &[event]).remove(0).unwrap().len());
        }
        counts
    }

    fn emitted(story: &[(&str, &str)]) -> Vec<usize> {
        one_by_one(story, |plugin, _| plugin)
    }

    #[test]
    fn the_shipped_sidecar_subscribes_to_what_the_plugin_describes() {
        let sidecar: toml::Table = toml::from_str(include_str!("../all-complete.toml")).unwrap();
        let subscribed: Vec<String> = sidecar["subscribe"].clone().try_into().unwrap();
        assert_eq!(subscribed, AllComplete::description().subscribe);
    }

    #[test]
    fn the_last_end_completes_whatever_began_and_whatever_ended() {
        for begin in [SESSION_SPAWNED, SESSION_RESTORED, SESSION_WORKING] {
            for end in [SESSION_EXITED, SESSION_KILLED, SESSION_CLEANED] {
                let story = [(begin, "a"), (begin, "b"), (end, "a"), (end, "b")];
                assert_eq!(emitted(&story), [0, 0, 0, 1], "{begin}, {end}");
            }
        }
    }

    #[test]
    fn the_event_names_what_ended_last() {
        let mut plugin: AllComplete = testing::configure(()).unwrap();
        let events = [of((SESSION_SPAWNED, "docs/docs-7")), of((SESSION_KILLED, "docs/docs-7"))];
        let actions = testing::react(&mut plugin, &events).remove(1).unwrap();
        let expected = Emission::new("all_complete")
            .priority(Priority::Info)
            .message("every session of docs has ended, docs-7 last (killed)")
            .data(json!({
                "last_session": "docs-7",
                "ended_by": "session_killed",
                "ended_by_event": events[1].id,
            }));
        assert_eq!(actions, [Action::Emit(expected)]);
    }

    #[test]
    fn a_session_ends_once() {
        let story = [
            (SESSION_SPAWNED, "a"),
            (SESSION_SPAWNED, "b"),
            (SESSION_EXITED, "a"),
            (SESSION_EXITED, "a"),
            (SESSION_CLEANED, "a"),
            (SESSION_EXITED, "b"),
            (SESSION_CLEANED, "b"),
        ];
        assert_eq!(emitted(&story), [0, 0, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn a_session_that_begins_twice_lives_once() {
        let story = [
            (SESSION_SPAWNED, "a"),
            (SESSION_WORKING, "a"),
            (SESSION_WORKING, "a"),
            (SESSION_EXITED, "a"),
        ];
        assert_eq!(emitted(&story), [0, 0, 0, 1]);
    }

    #[test]
    fn a_session_that_comes_back_begins_a_new_wave() {
        let story = [
            (SESSION_SPAWNED, "a"),
            (SESSION_KILLED, "a"),
            (SESSION_RESTORED, "a"),
            (SESSION_SPAWNED, "b"),
            (SESSION_EXITED, "a"),
            (SESSION_EXITED, "b"),
        ];
        assert_eq!(emitted(&story), [0, 1, 0, 0, 0, 1]);
    }

    #[test]
    fn an_end_of_what_was_not_known_to_live_says_nothing() {
        let story = [
            (SESSION_EXITED, "unknown"),
            (SESSION_SPAWNED, "a"),
            (SESSION_KILLED, "unknown"),
            (SESSION_EXITED, "a"),
        ];
        assert_eq!(emitted(&story), [0, 0, 0, 1]);
    }

    #[test]
    fn projects_are_kept_apart() {
        let story = [
            (SESSION_SPAWNED, "web/a"),
            (SESSION_SPAWNED, "api/a"),
            (SESSION_EXITED, "web/a"),
            (SESSION_EXITED, "api/a"),
        ];
        assert_eq!(emitted(&story), [0, 0, 1, 1]);
    }

    #[test]
    fn other_news_of_a_session_begins_and_ends_nothing() {
        let story = [
            (STATUS_CHANGED, "a"),
            (SESSION_EXITED, "a"),
            (SESSION_SPAWNED, "a"),
            (ACTIVITY_CHANGED, "a"),
            (ALL_COMPLETE, "a"),
            (SESSION_EXITED, "a"),
        ];
        assert_eq!(emitted(&story), [0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn a_complete_project_takes_no_room() {
        emitted(&[(SESSION_SPAWNED, "a")]);
        assert_eq!(kv::keys().unwrap().len(), 1);
        emitted(&[(SESSION_SPAWNED, "a"), (SESSION_EXITED, "a")]);
        assert_eq!(kv::keys().unwrap(), [""; 0]);
    }

    const STORY: [(&str, &str); 7] = [
        (SESSION_SPAWNED, "a"),
        (SESSION_SPAWNED, "b"),
        (SESSION_EXITED, "a"),
        (SESSION_EXITED, "b"),
        (SESSION_CLEANED, "b"),
        (SESSION_RESTORED, "a"),
        (SESSION_KILLED, "a"),
    ];

    #[test]
    fn a_restart_forgets_nothing() {
        let counts = one_by_one(&STORY, |_, _| testing::restart(()).unwrap());
        assert_eq!(counts, [0, 0, 0, 1, 0, 0, 1]);
    }

    #[test]
    fn a_delivery_that_was_taken_back_counts_once() {
        let counts = one_by_one(&STORY, |mut plugin, event| {
            testing::undone(|| testing::react(&mut plugin, slice::from_ref(event)));
            testing::restart(()).unwrap()
        });
        assert_eq!(counts, [0, 0, 0, 1, 0, 0, 1]);
    }
}
