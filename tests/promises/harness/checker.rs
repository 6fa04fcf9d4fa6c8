//! Compares what senders were told with what is in the log.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A sender was told that it is stored, and it is not.
    Lost(String),
    /// It stands in the log twice.
    Repeated(String),
    /// Nobody sent it.
    Phantom(String),
    /// The log has a hole before this place, or the place is taken twice.
    Gap(u64),
    /// A sender was told another place than it has.
    Moved(String),
}

/// What was sent, and what was answered.
#[derive(Default)]
pub struct Checker {
    sent: BTreeSet<String>,
    told: BTreeMap<String, u64>,
}

impl Checker {
    pub fn sent(&mut self, event: &Value) {
        self.sent.insert(event["id"].as_str().unwrap().into());
    }

    pub fn told(&mut self, receipt: &Value) {
        let seq = receipt["seq"].as_u64().unwrap();
        self.told.insert(receipt["id"].as_str().unwrap().into(), seq);
    }

    pub fn count_told(&self) -> usize {
        self.told.len()
    }

    /// Everything that is wrong with `log`, which is in the order in which the host tells it.
    pub fn faults(&self, log: &[Value]) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut places = BTreeMap::new();
        for (expected, entry) in (1..).zip(log) {
            let id = entry["id"].as_str().unwrap().to_owned();
            let seq = entry["seq"].as_u64().unwrap();
            if seq != expected {
                faults.push(Fault::Gap(seq));
            }
            if !self.sent.contains(&id) {
                faults.push(Fault::Phantom(id.clone()));
            }
            if places.insert(id.clone(), seq).is_some() {
                faults.push(Fault::Repeated(id));
            }
        }
        for (id, seq) in &self.told {
            match places.get(id) {
                None => faults.push(Fault::Lost(id.clone())),
                Some(place) if place != seq => faults.push(Fault::Moved(id.clone())),
                Some(_) => {}
            }
        }
        faults
    }
}
