//! Counts in its state what it filters, enriches and reacts to; traps on `poison` after counting it;
//! emits an event for every tenth that it reacts to.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a guest of a test")]

use ennio_plugin::{
    Delivery, Description, Emission, Enricher, Enrichment, Event, Failure, Filter, Outcome, Plugin,
    Reaction, Verdict, config, kv,
};

struct Counter;

impl Plugin for Counter {
    type Config = config::None;

    fn description() -> Description {
        Description::new("1.0.0", "counts")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        match kv::set("configured", "yes") {
            Err(_) => Ok(Counter),
            Ok(()) => Err("state was written without an event".into()),
        }
    }
}

impl Filter for Counter {
    fn filter(&mut self, event: &Event) -> Verdict {
        kv::increment("filtered", 1).expect("the filter's count");
        kv::increment(&format!("of/{}", event.session_id), 1).expect("the session's count");
        assert!(event.message != "poison", "poisoned");
        match event.message.strip_prefix("fill ") {
            Some(key) => match kv::set(key, vec![b'x'; 200_000]) {
                Ok(()) => Verdict::Keep,
                Err(e) => Verdict::drop(e.to_string()),
            },
            None => Verdict::Keep,
        }
    }
}

impl Enricher for Counter {
    fn enrich(&mut self, _: &Event) -> Enrichment {
        kv::increment("enriched", 1).map_err(|e| e.to_string())?;
        Ok(None)
    }
}

impl Reaction for Counter {
    fn react(&mut self, delivery: &Delivery) -> Outcome {
        let reacted = kv::increment("reacted", 1)?;
        if delivery.event.message == "fail twice" && delivery.attempt < 3 {
            return Err(Failure::retry("not yet"));
        }
        if delivery.event.message == "write to the other" {
            let error = kv::Bucket::open("pipeline")?.set("filtered", "0").unwrap_err();
            let seen = kv::Bucket::open("pipeline")?.get("filtered")?.unwrap_or_default();
            let text = format!("{error}; it reads {}", String::from_utf8_lossy(&seen));
            return Ok(vec![Emission::new("custom.told").message(text).into()]);
        }
        if reacted % 10 == 0 {
            return Ok(vec![Emission::new("custom.tenth").message(reacted.to_string()).into()]);
        }
        Ok(vec![])
    }
}

ennio_plugin::export!(Counter: filter, enricher, reaction);
