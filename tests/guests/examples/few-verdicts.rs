//! A filter that answers each batch with one verdict too few.

use ennio_plugin::{Description, Event, Filter, Plugin, Verdict, config};

struct FewVerdicts;

impl Plugin for FewVerdicts {
    type Config = config::None;

    fn description() -> Description {
        Description::new("1.0.0", "answers too little")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        Ok(FewVerdicts)
    }
}

impl Filter for FewVerdicts {
    fn filter(&mut self, _event: &Event) -> Verdict {
        Verdict::Keep
    }

    fn filter_batch(&mut self, events: &[Event]) -> Vec<Verdict> {
        vec![Verdict::Keep; events.len().saturating_sub(1)]
    }
}

ennio_plugin::export!(FewVerdicts: filter);
