//! Drops noise: events by subject, repetitions, and what is over a project's rate.
//!
//! `config` says what the rules may be. `duplicates` and `rate` each are one rule, over event times,
//! that keeps what it remembers in the plugin's state: `segment` is how originals are written there,
//! `print` what makes two events the same, `uuid` an id in less room. This file only puts the rules
//! in order: repetitions before rate, so that a repetition does not use up the project's allowance,
//! and a rule remembers nothing of an event that another rule dropped.
//!
//! State is read and written once a batch, whatever the number of its events.

mod config;
mod duplicates;
mod print;
mod rate;
mod segment;
mod uuid;

use std::slice;

use ennio_plugin::kv;
use ennio_plugin::log;
use ennio_plugin::{Description, Event, Filter, Plugin, Priority, SubjectPattern, Verdict};

use crate::config::Config;
use crate::duplicates::{Duplicates, Memory};
use crate::rate::{Allowances, Limit, Rates};
use crate::segment::Original;

struct NoiseFilter {
    unwanted: Vec<SubjectPattern>,
    duplicates: Option<Duplicates>,
    rates: Option<Rates>,
}

impl Plugin for NoiseFilter {
    type Config = Config;

    fn description() -> Description {
        Description::new(
            env!("CARGO_PKG_VERSION"),
            "drops events by subject, repetitions, and what is over a project's rate",
        )
    }

    fn configure(config: Config) -> Result<Self, String> {
        config.check()?;
        Self::open(config).map_err(|error| error.to_string())
    }
}

impl Filter for NoiseFilter {
    fn filter(&mut self, event: &Event) -> Verdict {
        self.filter_batch(slice::from_ref(event)).pop().unwrap_or(Verdict::Keep)
    }

    fn filter_batch(&mut self, events: &[Event]) -> Vec<Verdict> {
        self.judge(events).unwrap_or_else(|error| {
            log::error(format!("events go through unfiltered: the state can not be read: {error}"));
            vec![Verdict::Keep; events.len()]
        })
    }
}

impl NoiseFilter {
    fn open(config: Config) -> Result<Self, kv::Error> {
        let Config { drop, duplicate_window, rate_per_minute, burst } = config;
        let limit = Limit { per_minute: rate_per_minute, burst };
        Ok(NoiseFilter {
            unwanted: drop,
            duplicates: (duplicate_window > 0)
                .then(|| Duplicates::open(duplicate_window))
                .transpose()?,
            rates: (rate_per_minute > 0).then(|| Rates::open(limit)).transpose()?,
        })
    }

    fn judge(&mut self, events: &[Event]) -> Result<Vec<Verdict>, kv::Error> {
        let projects = events.iter().map(|event| event.project_id.as_str());
        let window = self.duplicates.as_ref().map_or(0, Duplicates::window_seconds);
        let mut rules = Rules {
            unwanted: &self.unwanted,
            memory: self.duplicates.as_mut().map(Duplicates::memory).transpose()?,
            window,
            allowances: self.rates.as_ref().map(|rates| rates.of(projects)).transpose()?,
        };
        let verdicts = events.iter().map(|event| rules.judge(event)).collect::<Result<_, _>>()?;

        let rates = rules.allowances.take().map_or(Ok(()), Allowances::save);
        let duplicates = self.duplicates.as_mut().map_or(Ok(()), Duplicates::save);
        // The verdicts are right all the same; what is not written did not happen for the next batch.
        if let Err(error) = rates.and(duplicates) {
            log::error(format!("a batch is not remembered: {error}"));
        }
        Ok(verdicts)
    }
}

/// The rules, with what they remember at hand, while a batch is judged.
struct Rules<'f> {
    unwanted: &'f [SubjectPattern],
    memory: Option<&'f mut Memory>,
    window: i64,
    allowances: Option<Allowances<'f>>,
}

impl Rules<'_> {
    fn judge(&mut self, event: &Event) -> Result<Verdict, kv::Error> {
        if let Some(pattern) = self.unwanted_by(event) {
            return Ok(Verdict::drop(format!("subject matches {pattern}")));
        }

        let at = event.unix_micros();
        let print = self.memory.as_ref().map(|memory| memory.print(event));
        if let (Some(memory), Some(print)) = (&self.memory, print)
            && let Some(first) = memory.original(print, at)
        {
            let (first, window) = (uuid::format(first.id), self.window);
            return Ok(Verdict::drop(format!("duplicate of {first} within {window} s")));
        }

        if event.priority < Priority::Urgent
            && let Some(allowances) = &mut self.allowances
            && !allowances.allow(&event.project_id, at)?
        {
            let Limit { per_minute, burst } = allowances.limit;
            return Ok(Verdict::drop(format!(
                "rate of project {} is over {per_minute} a minute (burst {burst})",
                event.project_id,
            )));
        }

        if let (Some(memory), Some(print)) = (&mut self.memory, print) {
            memory.remember(Original { print, at, id: uuid::parse(&event.id) });
        }
        Ok(Verdict::Keep)
    }

    fn unwanted_by(&self, event: &Event) -> Option<&SubjectPattern> {
        if self.unwanted.is_empty() {
            return None;
        }
        let subject = event.subject();
        self.unwanted.iter().find(|pattern| pattern.matches(&subject))
    }
}

ennio_plugin::export!(NoiseFilter: filter);

#[cfg(test)]
mod tests {
    use ennio_plugin::event_type::{ACTIVITY_CHANGED, CI_FAILING, STATUS_CHANGED};
    use ennio_plugin::testing::{self, event};
    use serde_json::json;

    use super::*;

    fn verdicts(config: serde_json::Value, events: &[Event]) -> Vec<Verdict> {
        let mut plugin: NoiseFilter = testing::configure(config).unwrap();
        testing::filter(&mut plugin, events)
    }

    fn kept(verdicts: &[Verdict]) -> usize {
        verdicts.iter().filter(|verdict| **verdict == Verdict::Keep).count()
    }

    #[test]
    fn the_shipped_sidecar_is_the_default_configuration() {
        let sidecar: toml::Table = toml::from_str(include_str!("../noise-filter.toml")).unwrap();
        let shipped: Config = sidecar["config"].clone().try_into().unwrap();
        assert_eq!(shipped, Config::default());
        assert!(testing::configure::<NoiseFilter>(&sidecar["config"]).is_ok());
    }

    #[test]
    fn an_unwanted_subject_is_dropped_with_its_pattern() {
        let verdicts = verdicts(
            json!({"drop": ["ennio.sessions.*.activity_changed"]}),
            &[event(ACTIVITY_CHANGED).build(), event(STATUS_CHANGED).build()],
        );
        assert_eq!(
            verdicts,
            [Verdict::drop("subject matches ennio.sessions.*.activity_changed"), Verdict::Keep]
        );
    }

    #[test]
    fn a_repetition_within_the_window_is_dropped_and_names_the_first() {
        let first = event(CI_FAILING).message("red").build();
        let again = event(CI_FAILING).message("red").at_second(60).build();
        let later = event(CI_FAILING).message("red").at_second(61).build();
        let reason = format!("duplicate of {} within 60 s", first.id);
        assert_eq!(
            verdicts(json!({}), &[first, again, later]),
            [Verdict::Keep, Verdict::Drop(reason), Verdict::Keep]
        );
    }

    #[test]
    fn any_difference_makes_another_event() {
        let base = || event(CI_FAILING).message("red").data(json!({"run": 1}));
        let events = [
            base().build(),
            base().message("redder").build(),
            base().data(json!({"run": 2})).build(),
            base().session("s-2").build(),
            base().project("api").build(),
            event(STATUS_CHANGED).message("red").data(json!({"run": 1})).build(),
        ];
        assert_eq!(kept(&verdicts(json!({}), &events)), events.len());
    }

    #[test]
    fn what_is_over_the_rate_is_dropped_and_other_projects_are_not() {
        let config = json!({"rate_per_minute": 6, "burst": 2, "duplicate_window": 0});
        let web = || event(STATUS_CHANGED).project("web");
        let verdicts = verdicts(
            config,
            &[
                web().build(),
                web().build(),
                web().build(),
                event(STATUS_CHANGED).project("api").build(),
                web().at_second(10).build(),
                web().at_second(10).build(),
            ],
        );
        let over = Verdict::drop("rate of project web is over 6 a minute (burst 2)");
        assert_eq!(
            verdicts,
            [Verdict::Keep, Verdict::Keep, over.clone(), Verdict::Keep, Verdict::Keep, over]
        );
    }

    #[test]
    fn urgent_events_are_never_dropped_for_rate_and_take_nothing_from_others() {
        let config = json!({"rate_per_minute": 1, "burst": 1, "duplicate_window": 0});
        let mut events = vec![event(CI_FAILING).priority(Priority::Urgent).build(); 50];
        events.push(event(CI_FAILING).priority(Priority::Critical).build());
        events.push(event(CI_FAILING).priority(Priority::Action).build());
        assert_eq!(kept(&verdicts(config, &events)), events.len());
    }

    #[test]
    fn an_event_dropped_for_rate_is_not_what_a_later_one_repeats() {
        let config = json!({"rate_per_minute": 60, "burst": 1, "duplicate_window": 60});
        let verdicts = verdicts(
            config,
            &[
                event(STATUS_CHANGED).message("a").build(),
                event(STATUS_CHANGED).message("b").build(),
                event(STATUS_CHANGED).message("b").at_second(1).build(),
            ],
        );
        assert_eq!(kept(&verdicts), 2);
        assert_eq!(verdicts[2], Verdict::Keep, "the first b was never seen by anybody");
    }

    #[test]
    fn the_same_events_get_the_same_verdicts_again() {
        let events: Vec<_> = (0..500)
            .map(|n| event(STATUS_CHANGED).message(format!("{}", n % 40)).at_second(n / 7).build())
            .collect();
        let config = json!({"rate_per_minute": 120, "burst": 10, "duplicate_window": 5});
        assert_eq!(verdicts(config.clone(), &events), verdicts(config, &events));
    }

    /// Verdicts on events in batches of these sizes, in turn, with `between` before each batch.
    fn in_batches(
        events: &[Event],
        sizes: &[usize],
        mut between: impl FnMut(NoiseFilter, &[Event]) -> NoiseFilter,
    ) -> Vec<Verdict> {
        let mut plugin: NoiseFilter = testing::configure(busy()).unwrap();
        let mut verdicts = vec![];
        let mut rest = events;
        for size in sizes.iter().cycle() {
            let (batch, later) = rest.split_at((*size).min(rest.len()));
            plugin = between(plugin, batch);
            verdicts.extend(plugin.filter_batch(batch));
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        verdicts
    }

    fn busy() -> serde_json::Value {
        json!({"rate_per_minute": 120, "burst": 10, "duplicate_window": 5})
    }

    /// Noise of both kinds, from three projects.
    fn noise() -> Vec<Event> {
        let one = |n: i64| {
            let event = event(STATUS_CHANGED).message(format!("{}", n * n % 41)).at_second(n / 7);
            event.project(["web", "api", "docs"][(n % 3) as usize]).build()
        };
        (0..700).map(one).collect()
    }

    #[test]
    fn an_instance_after_any_batch_knows_what_the_one_before_knew() {
        let events = noise();
        let expected = in_batches(&events, &[64], |plugin, _| plugin);
        let dropped = events.len() - kept(&expected);
        assert!(dropped > 100 && dropped < 600, "{dropped}");
        let restarted = |_, _: &[Event]| testing::restart(busy()).unwrap();
        assert_eq!(in_batches(&events, &[64], restarted), expected);
        assert_eq!(in_batches(&events, &[1], restarted), expected);
        assert_eq!(in_batches(&events, &[3, 64, 1, 17], restarted), expected);
    }

    #[test]
    fn a_batch_that_was_taken_back_counts_once() {
        let events = noise();
        let expected = in_batches(&events, &[64], |plugin, _| plugin);
        let retried = |mut plugin: NoiseFilter, batch: &[Event]| {
            testing::undone(|| plugin.filter_batch(batch));
            testing::restart(busy()).unwrap()
        };
        assert_eq!(in_batches(&events, &[64, 5], retried), expected);
    }

    #[test]
    fn a_batch_of_events_writes_few_keys() {
        let plugin = &mut testing::configure::<NoiseFilter>(json!({})).unwrap();
        let events: Vec<_> =
            (0..64).map(|n| event(STATUS_CHANGED).message(format!("{n}")).build()).collect();
        plugin.filter_batch(&events);
        let keys = kv::keys().unwrap();
        assert_eq!(keys.len(), 3, "the project's bucket, the originals, the key: {keys:?}");
    }

    #[test]
    fn state_of_another_version_is_forgotten_and_told() {
        let events = [event(CI_FAILING).build(), event(CI_FAILING).build()];
        let mut plugin: NoiseFilter = testing::configure(json!({})).unwrap();
        assert_eq!(plugin.filter(&events[0]), Verdict::Keep);
        for key in kv::keys().unwrap() {
            kv::set(&key, "a format that this version does not know").unwrap();
        }
        testing::logged();
        let mut plugin: NoiseFilter = testing::restart(json!({})).unwrap();
        assert_eq!(plugin.filter(&events[0]), Verdict::Keep);
        assert!(matches!(plugin.filter(&events[1]), Verdict::Drop(_)));
        assert!(testing::logged().iter().any(|(_, line)| line.contains("is forgotten")));
    }

    #[test]
    fn a_bad_configuration_is_refused_with_all_that_is_wrong() {
        let error = testing::configure::<NoiseFilter>(json!({
            "drop": ["ennio.>.x"],
            "burts": 3,
            "rate_per_minute": -1,
        }))
        .err()
        .unwrap();
        assert_eq!(
            error,
            "burts is not a key of this plugin (did you mean burst?); \
             drop: `ennio.>.x` is not a subject pattern: > is only allowed as the last token; \
             rate_per_minute: invalid value: integer `-1`, expected u32"
        );
    }

    #[test]
    fn values_out_of_range_are_refused_together() {
        let error = testing::configure::<NoiseFilter>(json!({
            "duplicate_window": 90_000,
            "rate_per_minute": 60_001,
            "burst": 0,
        }))
        .err()
        .unwrap();
        assert_eq!(
            error,
            "duplicate_window is 90000, but at most 86400 s; \
             rate_per_minute is 60001, but at most 60000; \
             burst is 0, but at least 1 (rate_per_minute = 0 turns the rule off)"
        );
    }
}
