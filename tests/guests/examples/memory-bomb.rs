//! A filter that allocates without end on `poison` in a message.

use ennio_plugin::{Description, Event, Filter, Plugin, Verdict, config};

struct MemoryBomb;

impl Plugin for MemoryBomb {
    type Config = config::None;

    fn description() -> Description {
        Description::new("1.0.0", "eats memory on poison")
    }

    fn configure(_: config::None) -> Result<Self, String> {
        Ok(MemoryBomb)
    }
}

impl Filter for MemoryBomb {
    fn filter(&mut self, event: &Event) -> Verdict {
        let mut hoard = Vec::new();
        while event.message.contains("poison") {
            hoard.push(std::hint::black_box(vec![1_u8; 1 << 20]));
        }
        Verdict::Keep
    }
}

ennio_plugin::export!(MemoryBomb: filter);
