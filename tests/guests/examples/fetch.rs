//! Sends the requests that `data.fetch` tells, in the role that it names, and says how they went: a
//! filter in the reason of a drop, an enricher in `data.fetched`, a reaction in an event
//! `custom.fetched`.
//!
//! `{"in": "reaction", "url": ..., "times": 1, "follow": 0, "body_kib": 0, "timeout_ms": 5000}`

use std::time::Duration;

use ennio_plugin::{
    Delivery, Description, Emission, Enricher, Enrichment, Event, Filter, Outcome, Patch, Plugin,
    Reaction, Verdict, config, http,
};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Told {
    r#in: String,
    url: String,
    #[serde(default = "one")]
    times: u32,
    /// How many redirects to follow.
    #[serde(default)]
    follow: u32,
    /// Not 0: the requests are POSTs of so many kibibytes.
    #[serde(default)]
    body_kib: usize,
    timeout_ms: Option<u64>,
}

fn one() -> u32 {
    1
}

struct Fetch;

impl Fetch {
    /// What came of it, when the event tells this role to send something.
    fn told(event: &Event, role: &str) -> Option<Value> {
        let told: Told = serde_json::from_value(event.data_value().get("fetch")?.clone()).ok()?;
        (told.r#in == role).then(|| (0..told.times).map(|_| once(&told)).collect())
    }
}

fn once(told: &Told) -> Value {
    let mut url = told.url.clone();
    for _ in 0..=told.follow {
        let request = match told.body_kib {
            0 => http::get(&url),
            kib => http::post(&url).body(vec![b'x'; kib << 10]),
        };
        let request = match told.timeout_ms {
            Some(ms) => request.timeout(Duration::from_millis(ms)),
            None => request,
        };
        match request.send() {
            Err(error) => return error.to_string().into(),
            Ok(answer) => match answer.header("location") {
                Some(location) if told.follow > 0 => url = location.to_owned(),
                _ => return json!([answer.status, answer.text()]),
            },
        }
    }
    "too many redirects".into()
}

impl Plugin for Fetch {
    type Config = config::None;

    fn description() -> Description {
        Description::new("1.0.0", "fetches")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        Ok(Fetch)
    }
}

impl Filter for Fetch {
    fn filter(&mut self, event: &Event) -> Verdict {
        match Fetch::told(event, "filter") {
            Some(fetched) => Verdict::drop(fetched.to_string()),
            None => Verdict::Keep,
        }
    }
}

impl Enricher for Fetch {
    fn enrich(&mut self, event: &Event) -> Enrichment {
        let fetched = Fetch::told(event, "enricher");
        Ok(fetched.map(|fetched| Patch::new().data(json!({"fetched": fetched}))))
    }
}

impl Reaction for Fetch {
    fn react(&mut self, delivery: &Delivery) -> Outcome {
        let fetched = Fetch::told(&delivery.event, "reaction");
        let emission = |fetched| Emission::new("custom.fetched").data(json!({"fetched": fetched}));
        Ok(fetched.map(|fetched| emission(fetched).into()).into_iter().collect())
    }
}

ennio_plugin::export!(Fetch: filter, enricher, reaction);
