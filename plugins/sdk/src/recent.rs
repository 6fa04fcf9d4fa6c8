use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// A map that forgets the least recently used key when it is full: state per project, branch or
/// pull request that must not grow with the number of them that ever were.
#[derive(Debug)]
pub struct RecentMap<K, V> {
    capacity: usize,
    clock: u64,
    entries: HashMap<K, (u64, V)>,
    by_use: BTreeMap<u64, K>,
}

impl<K: Clone + Eq + Hash, V> RecentMap<K, V> {
    /// A map of at most `capacity` keys, at least one.
    pub fn new(capacity: usize) -> Self {
        RecentMap {
            capacity: capacity.max(1),
            clock: 0,
            entries: HashMap::new(),
            by_use: BTreeMap::new(),
        }
    }

    /// The value of the key, made when there is none. Counts as a use.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        if !self.entries.contains_key(&key) && self.entries.len() >= self.capacity {
            self.forget_oldest();
        }
        self.clock += 1;
        let now = self.clock;
        self.by_use.insert(now, key.clone());
        let entry = self.entries.entry(key).or_insert_with(|| (0, make()));
        self.by_use.remove(&entry.0);
        entry.0 = now;
        &mut entry.1
    }

    /// The value of the key, when there is one. Does not count as a use.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// Forgets the key, and returns what it had.
    pub fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (used, value) = self.entries.remove(key)?;
        self.by_use.remove(&used);
        Some(value)
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no key is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.by_use.pop_first() {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_map_forgets_the_key_used_longest_ago() {
        let mut map = RecentMap::new(2);
        map.get_or_insert_with("a", || 1);
        map.get_or_insert_with("b", || 2);
        map.get_or_insert_with("a", || 9);
        map.get_or_insert_with("c", || 3);
        assert_eq!(map.get("a"), Some(&1), "used again, so it stays");
        assert_eq!(map.get("b"), None);
        assert_eq!(map.get("c"), Some(&3));
    }

    #[test]
    fn it_never_holds_more_than_its_capacity_inside_either() {
        let mut map = RecentMap::new(8);
        for n in 0..1_000_u32 {
            *map.get_or_insert_with(n % 100, || 0) += 1;
            if n % 7 == 0 {
                map.remove(&(n % 100));
            }
            assert!(map.len() <= 8);
            assert_eq!(map.entries.len(), map.by_use.len());
        }
    }
}
