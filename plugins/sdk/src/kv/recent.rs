//! A map in the plugin's state that never outgrows its bytes.
//!
//! Every entry is in one of [`SHARES`] shares, by a hash of its key, and a share is one value of the
//! bucket: a list, the last used first. So a change reads and writes one short value, a key may be
//! of any length, nothing has to be listed or counted, and what to forget is at the list's end.

use std::collections::{BTreeMap, btree_map};
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Bucket, Error};
use crate::log;

/// Among how many values of the bucket the entries are spread.
const SHARES: usize = 256;

/// A map that forgets the entries used longest ago when it is full: what a plugin knows of each
/// project, branch or pull request, which must not grow with the number of them that ever were.
///
/// It is full by bytes, and a share at a time: each of 256 shares, among which keys are spread by
/// chance, holds a 256th of them. A share that does not read, since another version of the plugin
/// wrote it, is forgotten, with a line in the log.
pub struct RecentMap<V> {
    bucket: Bucket,
    name: &'static str,
    share_bytes: usize,
    values: PhantomData<V>,
}

impl<V: Serialize + DeserializeOwned> RecentMap<V> {
    /// The map of this name, which is a word of the plugin's own, of at most `bytes` bytes: its
    /// keys and values as JSON, from 256 up to 64 MiB. It is in the bucket that the present role
    /// writes, under the keys `NAME/00` to `NAME/ff`.
    ///
    /// Nothing is read yet, so this belongs into `configure`.
    ///
    /// # Errors
    ///
    /// Those of [`Bucket::own`].
    pub fn open(name: &'static str, bytes: usize) -> Result<Self, Error> {
        Ok(RecentMap {
            bucket: Bucket::own()?,
            name,
            share_bytes: bytes / SHARES,
            values: PhantomData,
        })
    }

    /// Gives `change` the value of a key, `None` where there is none, to change, set or take away,
    /// and returns what it returns. Counts as a use.
    ///
    /// # Errors
    ///
    /// Those of [`Bucket::get`] and [`Bucket::set`], and when the entry alone is more than a 256th
    /// of the map. Nothing has changed then.
    pub fn update<R>(
        &self,
        key: &str,
        change: impl FnOnce(&mut Option<V>) -> R,
    ) -> Result<R, Error> {
        let mut part = self.part([key])?;
        let result = part.update(key, change)?;
        part.save()?;
        Ok(result)
    }

    /// Reads what there is about these keys, at once, to be changed together and then saved: cheaper
    /// than one by one for the events of a batch. A key may be named more than once.
    ///
    /// # Errors
    ///
    /// Those of [`Bucket::get_many`].
    pub fn part<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k str>,
    ) -> Result<RecentPart<'_, V>, Error> {
        let mut shares: Vec<usize> = keys.into_iter().map(share_of).collect();
        shares.sort_unstable();
        shares.dedup();
        let found = self.bucket.get_many(shares.iter().map(|share| self.key_of(*share)))?;
        let read = |(share, value): (&usize, Option<Vec<u8>>)| (*share, self.read(*share, value));
        Ok(RecentPart { map: self, shares: shares.iter().zip(found).map(read).collect() })
    }

    fn key_of(&self, share: usize) -> String {
        format!("{}/{share:02x}", self.name)
    }

    fn read(&self, share: usize, value: Option<Vec<u8>>) -> Share<V> {
        let stored = value.unwrap_or_default();
        let entries = if stored.is_empty() { Ok(Vec::new()) } else { from_json(&stored) };
        let entries = entries.unwrap_or_else(|error| {
            let key = self.key_of(share);
            log::warn(format!("the state {key} does not read and is forgotten: {error}"));
            Vec::new()
        });
        Share { stored, entries }
    }

    /// A share as it is stored: as many of its entries, the last used first, as there is room for.
    fn written(&self, entries: &[(String, V)]) -> Result<Vec<u8>, Error> {
        let mut text = vec![b'['];
        for entry in entries {
            let json = serde_json::to_vec(entry)
                .map_err(|e| Error::new(format!("{:?} has no JSON form: {e}", entry.0)))?;
            if text.len() + json.len() + 2 > self.share_bytes {
                if text.len() > 1 {
                    break;
                }
                let (key, most) = (&entry.0, self.share_bytes);
                let text = format!("the entry {key:?} is more than the {most} bytes of a share");
                return Err(Error::new(text));
            }
            if text.len() > 1 {
                text.push(b',');
            }
            text.extend(json);
        }
        text.push(b']');
        Ok(text)
    }
}

/// What a [`RecentMap`] has about some keys. Dropped without [`RecentPart::save`], nothing of it has
/// changed.
pub struct RecentPart<'m, V> {
    map: &'m RecentMap<V>,
    shares: BTreeMap<usize, Share<V>>,
}

struct Share<V> {
    /// As it was read, to see whether it has changed.
    stored: Vec<u8>,
    entries: Vec<(String, V)>,
}

impl<V: Serialize + DeserializeOwned> RecentPart<'_, V> {
    /// [`RecentMap::update`], but not saved yet.
    ///
    /// # Errors
    ///
    /// Those of [`Bucket::get`], for a key that was not named when the part was read.
    pub fn update<R>(
        &mut self,
        key: &str,
        change: impl FnOnce(&mut Option<V>) -> R,
    ) -> Result<R, Error> {
        let number = share_of(key);
        let share = match self.shares.entry(number) {
            btree_map::Entry::Occupied(share) => share.into_mut(),
            btree_map::Entry::Vacant(place) => {
                let value = self.map.bucket.get(&self.map.key_of(number))?;
                place.insert(self.map.read(number, value))
            }
        };
        let at = share.entries.iter().position(|(name, _)| name == key);
        let mut value = at.map(|at| share.entries.remove(at).1);
        let result = change(&mut value);
        if let Some(value) = value {
            share.entries.insert(0, (key.to_owned(), value));
        }
        Ok(result)
    }

    /// Writes what has changed.
    ///
    /// # Errors
    ///
    /// Those of [`RecentMap::update`]; what fits by then may have changed.
    pub fn save(self) -> Result<(), Error> {
        let mut changed = Vec::new();
        let mut empty = Vec::new();
        for (number, share) in &self.shares {
            let key = self.map.key_of(*number);
            if share.entries.is_empty() {
                if !share.stored.is_empty() {
                    empty.push(key);
                }
                continue;
            }
            let written = self.map.written(&share.entries)?;
            if written != share.stored {
                changed.push((key, written));
            }
        }
        self.map.bucket.delete_many(empty)?;
        self.map.bucket.set_many(changed)
    }
}

fn from_json<V: DeserializeOwned>(text: &[u8]) -> serde_json::Result<Vec<(String, V)>> {
    serde_json::from_slice(text)
}

/// FNV-1a, folded: must stay what it is, or entries are no longer found.
fn share_of(key: &str) -> usize {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    ((hash ^ (hash >> 32)) % SHARES as u64) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{kv, testing};

    fn map(bytes: usize) -> RecentMap<u32> {
        crate::host::clear_state();
        RecentMap::open("test", bytes).unwrap()
    }

    fn value(map: &RecentMap<u32>, key: &str) -> Option<u32> {
        map.part([key]).unwrap().update(key, |value| *value).unwrap()
    }

    /// Keys of one share, so that they compete.
    fn neighbours(count: usize) -> Vec<String> {
        let all = (0..).map(|n: u32| format!("key-{n}"));
        all.filter(|key| share_of(key) == 7).take(count).collect()
    }

    #[test]
    fn the_entries_used_longest_ago_make_room() {
        let map = map(256 * 40);
        let keys = neighbours(3);
        // Two entries of this size have room in a share.
        for key in [&keys[0], &keys[1], &keys[0], &keys[2]] {
            map.update(key, |value| *value = Some(1_000)).unwrap();
        }
        let found: Vec<_> = keys.iter().map(|key| value(&map, key)).collect();
        assert_eq!(found, [Some(1_000), None, Some(1_000)], "used again, so it stays");
    }

    #[test]
    fn an_entry_that_can_never_fit_is_an_error_and_changes_nothing() {
        let map = map(256 * 20);
        map.update("a", |value| *value = Some(1)).unwrap();
        let long = "k".repeat(40);
        let error = map.update(&long, |value| *value = Some(1)).unwrap_err().to_string();
        assert!(error.contains("kkkk") && error.contains("20 bytes"), "{error}");
        assert_eq!(value(&map, "a"), Some(1));
    }

    #[test]
    fn the_last_entry_of_a_share_takes_its_key_along() {
        let map = map(1 << 20);
        map.update("a", |value| *value = Some(1)).unwrap();
        assert_eq!(kv::keys().unwrap().len(), 1);
        map.update("a", |value| *value = None).unwrap();
        assert_eq!(kv::keys().unwrap(), [""; 0]);
    }

    #[test]
    fn a_share_of_another_version_is_forgotten_and_told() {
        let map = map(1 << 20);
        map.update("a", |value| *value = Some(1)).unwrap();
        let key = kv::keys().unwrap().remove(0);
        kv::set(&key, "[[\"a\", \"one\"]]").unwrap();
        testing::logged();
        assert_eq!(value(&map, "a"), None);
        assert!(testing::logged()[0].1.contains(&format!("{key} does not read")));
        map.update("a", |value| *value = Some(2)).unwrap();
        assert_eq!(value(&map, "a"), Some(2));
    }

    #[test]
    fn nothing_is_written_when_nothing_changed_or_nobody_saved() {
        let map = map(1 << 20);
        map.part(["a"]).unwrap().update("a", |value| *value = Some(1)).unwrap();
        map.update("b", |_| ()).unwrap();
        assert_eq!(kv::keys().unwrap(), [""; 0]);
    }

    proptest! {
        #[test]
        fn with_room_enough_it_is_a_map(
            batches in prop::collection::vec(
                prop::collection::vec((0..50_u32, prop::option::of(0..9_u32)), 1..9), 1..30)
        ) {
            let map = map(1 << 20);
            let mut model = HashMap::new();
            for batch in batches {
                // Only half of the keys are named: the others are read when they come.
                let named: Vec<_> = batch.iter().map(|(key, _)| key.to_string()).collect();
                let named = named.iter().step_by(2).map(String::as_str);
                let mut part = map.part(named).unwrap();
                for (key, new) in batch {
                    let old = part.update(&key.to_string(), |value| {
                        std::mem::replace(value, new)
                    });
                    let expected = match new {
                        Some(new) => model.insert(key, new),
                        None => model.remove(&key),
                    };
                    prop_assert_eq!(old.unwrap(), expected);
                }
                part.save().unwrap();
            }
        }

        #[test]
        fn it_never_holds_more_than_its_bytes(
            keys in prop::collection::vec("[a-z]{1,30}", 1..400)
        ) {
            let map = map(256 * 64);
            for key in keys {
                map.update(&key, |value| *value = Some(7)).unwrap();
                prop_assert_eq!(value(&map, &key), Some(7), "the newest is always there");
            }
            for key in kv::keys().unwrap() {
                prop_assert!(kv::get(&key).unwrap().unwrap().len() <= 64);
            }
        }
    }
}
