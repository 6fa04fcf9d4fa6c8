//! An enricher that looks at its surroundings as `data` tells, and adds what it found as `found`:
//! `{"env": NAME}`, `{"envs": true}`, `{"read": PATH}`, `{"write": PATH}`, `{"connect": "HOST:PORT"}`.

use std::fmt::Display;
use std::net::TcpStream;

use ennio_plugin::{Description, Enricher, Enrichment, Event, Patch, Plugin, config};
use serde_json::{Value, json};

struct LookAround;

impl Plugin for LookAround {
    type Config = config::None;

    fn description() -> Description {
        Description::new("1.0.0", "looks around")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        Ok(LookAround)
    }
}

impl Enricher for LookAround {
    fn enrich(&mut self, event: &Event) -> Enrichment {
        let data = event.data_value();
        let told = |what: &str| data.get(what).and_then(Value::as_str);
        let found = if let Some(name) = told("env") {
            json!(std::env::var(name).ok())
        } else if data.get("envs").is_some() {
            json!(std::env::vars().count())
        } else if let Some(path) = told("read") {
            outcome(std::fs::read_to_string(path))
        } else if let Some(path) = told("write") {
            outcome(std::fs::write(path, "written").map(|()| "written"))
        } else if let Some(address) = told("connect") {
            outcome(TcpStream::connect(address).map(|_| "connected"))
        } else {
            return Ok(None);
        };
        Ok(Some(Patch::new().data(json!({"found": found}))))
    }
}

fn outcome<T: Display, E: Display>(result: Result<T, E>) -> Value {
    match result {
        Ok(text) => text.to_string().into(),
        Err(error) => format!("error: {error}").into(),
    }
}

ennio_plugin::export!(LookAround: enricher);
