//! Repeatable chance.
//!
//! Every actor (a session, a node, the noise) throws dice of its own: one ChaCha stream each under
//! one seed. So a change in one actor's story leaves all other stories as they were, and a diff of
//! the day file shows what was meant and no more.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Which stream an actor draws from. Sessions take `SESSIONS` and up, one each.
pub(crate) mod stream {
    pub(crate) const ROSTER: u64 = 1;
    pub(crate) const NODES: u64 = 2;
    pub(crate) const TOOLS: u64 = 3;
    pub(crate) const NOISE: u64 = 4;
    pub(crate) const SECRETS: u64 = 5;
    pub(crate) const IDS: u64 = 6;
    pub(crate) const SESSIONS: u64 = 1_000;
}

/// One actor's dice.
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        // By hand, because how `seed_from_u64` stretches a number is not part of ChaCha.
        let mut key = [0; 32];
        for (byte, of_seed) in key.iter_mut().zip(seed.to_le_bytes()) {
            *byte = of_seed;
        }
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(stream);
        Self(rng)
    }

    /// A number in `low..=high`. The bias of the remainder is far below what a day can show.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = high.saturating_sub(low).max(0).unsigned_abs() + 1;
        let offset = i64::try_from(self.0.next_u64() % span).unwrap_or(0);
        low + offset
    }

    /// True `percent` times of a hundred.
    pub(crate) fn chance(&mut self, percent: i64) -> bool {
        self.between(0, 99) < percent
    }

    /// A position in a list of `len`.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        let last = i64::try_from(len).unwrap_or(1).max(1) - 1;
        usize::try_from(self.between(0, last)).unwrap_or(0)
    }

    /// One of these words; no word of an empty list.
    pub(crate) fn word(&mut self, words: &[&'static str]) -> &'static str {
        words.get(self.index(words.len())).copied().unwrap_or_default()
    }

    /// The position of one of these weights, chosen in proportion to them.
    pub(crate) fn weighted(&mut self, weights: impl Iterator<Item = i64> + Clone) -> usize {
        let total: i64 = weights.clone().sum();
        let mut left = self.between(0, total - 1);
        for (index, weight) in weights.enumerate() {
            if left < weight {
                return index;
            }
            left -= weight;
        }
        0
    }

    /// Seconds with one decimal, as CI systems print them.
    pub(crate) fn seconds(&mut self, low: i64, high: i64) -> f64 {
        // Tenths of a working day stay far below 2^53, so the division is the nearest double.
        let tenths = self.between(low * 10, high * 10) as f64;
        tenths / 10.0
    }

    /// A short commit hash.
    pub(crate) fn commit(&mut self) -> String {
        format!("{:012x}", self.0.next_u64() >> 16)
    }

    /// Raw bytes, for ids.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}
