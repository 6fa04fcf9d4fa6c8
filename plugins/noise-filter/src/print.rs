//! What makes two events the same.

use std::hash::{BuildHasher, Hasher, RandomState};

use ennio_plugin::Event;
use ennio_plugin::kv::{Bucket, Error};

/// Where the key is kept.
const KEY: &str = "dup-key";

/// A hash of what an event says. Among the originals that are remembered at most, a new event
/// shares one by chance less than once in 10^14, and its key is random, so nobody can aim for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Print(pub(crate) u64);

/// Makes prints. Its key is in the plugin's state: those of another instance are the same.
pub(crate) struct Printer {
    key: [u64; 2],
    is_written: bool,
}

impl Printer {
    pub(crate) fn read(bucket: &Bucket) -> Result<Self, Error> {
        let stored = bucket.get(KEY)?.and_then(|bytes| {
            let (first, second) = bytes.split_first_chunk()?;
            let second = second.try_into().ok()?;
            Some([u64::from_le_bytes(*first), u64::from_le_bytes(second)])
        });
        let key = stored.unwrap_or_else(|| [0_u8, 1].map(|n| RandomState::new().hash_one(n)));
        Ok(Printer { key, is_written: stored.is_some() })
    }

    /// The key, when it is not in the plugin's state yet: to be written with the first prints.
    pub(crate) fn unwritten(&mut self) -> Option<(String, Vec<u8>)> {
        let bytes = self.key.map(u64::to_le_bytes).concat();
        (!std::mem::replace(&mut self.is_written, true)).then(|| (KEY.to_owned(), bytes))
    }

    pub(crate) fn print(&self, event: &Event) -> Print {
        let [first, second] = self.key;
        // The standard library's other hashers may change with its version, and prints are kept.
        #[expect(deprecated, reason = "SipHash 2-4 by its name, which is what it stays")]
        let mut hasher = std::hash::SipHasher::new_with_keys(first, second);
        let texts = [
            &event.event_type,
            &event.project_id,
            &event.session_id,
            &event.message,
            &event.data_json,
        ];
        for text in texts {
            hasher.write(text.as_bytes());
            // In no UTF-8, so the fields can not run into each other.
            hasher.write(&[0xff]);
        }
        Print(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use ennio_plugin::testing::event;

    use super::*;

    #[test]
    fn a_print_is_siphash_2_4_in_every_version() {
        let printer = Printer { key: [1, 2], is_written: true };
        let event = event("ci_failing").message("red").build();
        assert_eq!(printer.print(&event), Print(12_931_468_042_362_825_782));
    }
}
