//! Drops noise: events by subject, repetitions, and what is over a project's rate.
//!
//! `config` says what the rules may be; `duplicates` and `rate` each are one rule, a plain state
//! machine over event times that knows nothing of plugins. This file only puts them in order:
//! repetitions before rate, so that a repetition does not use up the project's allowance, and a
//! rule remembers nothing of an event that another rule dropped.

mod config;
mod duplicates;
mod rate;

use ennio_plugin::{Description, Event, Filter, Plugin, Priority, SubjectPattern, Verdict};

use crate::config::Config;
use crate::duplicates::Duplicates;
use crate::rate::Rates;

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
        Ok(NoiseFilter {
            duplicates: (config.duplicate_window > 0)
                .then(|| Duplicates::new(config.duplicate_window)),
            rates: (config.rate_per_minute > 0)
                .then(|| Rates::new(config.rate_per_minute, config.burst)),
            unwanted: config.drop,
        })
    }
}

impl Filter for NoiseFilter {
    fn filter(&mut self, event: &Event) -> Verdict {
        if let Some(pattern) = self.unwanted_by(event) {
            return Verdict::drop(format!("subject matches {pattern}"));
        }

        let now = event.unix_micros();
        let print = self.duplicates.as_ref().map(|duplicates| duplicates.print(event));
        if let (Some(duplicates), Some(print)) = (&self.duplicates, print)
            && let Some(first) = duplicates.original(print, now)
        {
            let window = duplicates.window_seconds();
            return Verdict::drop(format!("duplicate of {first} within {window} s"));
        }

        if event.priority < Priority::Urgent
            && let Some(rates) = &mut self.rates
            && !rates.allow(&event.project_id, now)
        {
            return Verdict::drop(format!(
                "rate of project {} is over {} a minute (burst {})",
                event.project_id, rates.per_minute, rates.burst,
            ));
        }

        if let (Some(duplicates), Some(print)) = (&mut self.duplicates, print) {
            duplicates.remember(print, event.id.clone(), now);
        }
        Verdict::Keep
    }
}

impl NoiseFilter {
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
