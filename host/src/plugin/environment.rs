//! What instances are made with besides what their sidecar grants: whose clocks and random numbers
//! they get, and who hears what they say.
//!
//! In a host that is the machine and the log. A trial gives its plugin clocks that stand at the
//! events and random numbers that derive from them, so that the same events have the same outcome
//! at every run, and listens itself.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand_core::TryRng;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder};

use super::recorded::Recorded;
use crate::event::{Event, Timestamp};

/// How far apart two looks at the monotonic clock are, in nanoseconds: a guest that waits for time
/// to pass by looking at it gets somewhere.
const LOOK_NANOS: u64 = 1_000;

/// The surroundings of one plugin's instances. Cheap to clone; clones are the same surroundings.
#[derive(Clone, Default)]
pub struct Environment(Option<Arc<Fixed>>);

struct Fixed {
    seed: u64,
    /// The wall clock goes with the events.
    follows: bool,
    config: Vec<(String, String)>,
    /// What its requests are answered with; without, it can send none.
    http: Option<Arc<Recorded>>,
    now: Mutex<Now>,
}

struct Now {
    /// Since 1970.
    micros: i64,
    monotonic_nanos: u64,
    dice: u64,
    said: Vec<Said>,
}

/// A line that a guest said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Said {
    /// `trace`, `debug`, `info`, `warn`, `error` or `critical`.
    pub level: &'static str,
    /// `stdout`, `stderr`, or what the guest named.
    pub context: String,
    /// At most 4 096 characters.
    pub message: String,
}

impl Environment {
    /// That of a host: the machine's clocks and random numbers, and its log.
    pub fn live() -> Self {
        Self(None)
    }

    /// A wall clock that stands at `time`, and random numbers that derive from `seed` and the
    /// events of the call. What the guest says is kept for [`Environment::take_said`].
    pub fn fixed(time: Timestamp, seed: u64) -> Self {
        let now = Now { micros: time.micros(), monotonic_nanos: 0, dice: seed, said: Vec::new() };
        let now = Mutex::new(now);
        let fixed = Fixed { seed, follows: false, config: Vec::new(), http: None, now };
        Self(Some(Arc::new(fixed)))
    }

    /// Like [`Environment::fixed`], with a wall clock that begins at `time` and in each call stands
    /// at the newest of its events.
    pub fn following(time: Timestamp, seed: u64) -> Self {
        Self::fixed(time, seed).with(|fixed| fixed.follows = true)
    }

    /// With configuration that wins over the sidecar's.
    pub fn config(self, values: impl IntoIterator<Item = (String, String)>) -> Self {
        self.with(|fixed| fixed.config.extend(values))
    }

    /// With recorded answers to the requests that the sidecar grants.
    pub fn answering(self, recorded: Recorded) -> Self {
        self.with(|fixed| fixed.http = Some(Arc::new(recorded)))
    }

    fn with(mut self, change: impl FnOnce(&mut Fixed)) -> Self {
        // Only while it is being made, so nobody else has it.
        if let Some(fixed) = self.0.as_mut().and_then(Arc::get_mut) {
            change(fixed);
        }
        self
    }

    /// Whether this is a host. Elsewhere, what a plugin does must stay without consequences.
    pub fn is_live(&self) -> bool {
        self.0.is_none()
    }

    /// What answers requests in the place of a network.
    pub(super) fn recorded(&self) -> Option<&Arc<Recorded>> {
        self.0.as_ref()?.http.as_ref()
    }

    /// What guests said since the last taking, at most 64 KiB a call. Nothing in a host, whose log
    /// has it.
    pub fn take_said(&self) -> Vec<Said> {
        self.0.as_ref().map(|fixed| std::mem::take(&mut fixed.now().said)).unwrap_or_default()
    }

    /// A call about these events is about to begin.
    pub(super) fn begin_call<'a>(&self, events: impl IntoIterator<Item = &'a Event>) {
        let Some(fixed) = &self.0 else { return };
        let mut now = fixed.now();
        let mut newest = None;
        let mut hash = Sha256::new();
        hash.update(fixed.seed.to_le_bytes());
        for event in events {
            newest = newest.max(Some(event.timestamp.micros()));
            hash.update(event.id.to_string().as_bytes());
        }
        let hash: [u8; 32] = hash.finalize().into();
        // Anew for each call: whatever happened in one, the next one finds what it always finds.
        now.dice = hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        if let Some(newest) = newest.filter(|_| fixed.follows) {
            let passed = u64::try_from(newest.saturating_sub(now.micros)).unwrap_or(0);
            now.monotonic_nanos = now.monotonic_nanos.saturating_add(passed.saturating_mul(1_000));
            now.micros = newest;
        }
    }

    /// Keeps a line of a guest; gives it back where the log is to have it.
    pub(super) fn hear(&self, said: Said) -> Option<Said> {
        match &self.0 {
            Some(fixed) => {
                fixed.now().said.push(said);
                None
            }
            None => Some(said),
        }
    }

    /// Gives a guest its clocks and random numbers.
    pub(super) fn furnish(&self, wasi: &mut WasiCtxBuilder) {
        let Some(fixed) = &self.0 else { return };
        let clock = || Clock(Arc::clone(fixed));
        wasi.wall_clock(clock())
            .monotonic_clock(clock())
            .secure_random(clock())
            .insecure_random(clock())
            .insecure_random_seed(u128::from_le_bytes(fixed.seed_of_tables()));
    }

    /// Configuration that wins over the sidecar's.
    pub(super) fn config_values(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().flat_map(|fixed| fixed.config.iter().cloned())
    }
}

impl Fixed {
    /// What a standard library seeds its hash tables with. Spread out, since it counts on from there.
    fn seed_of_tables(&self) -> [u8; 16] {
        let hash: [u8; 32] = Sha256::digest(self.seed.to_le_bytes()).into();
        hash.first_chunk().copied().unwrap_or_default()
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        // Nothing panics while it is held.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guest's view of fixed surroundings.
struct Clock(Arc<Fixed>);

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_micros(1)
    }

    fn now(&self) -> Duration {
        // WASI's clocks begin in 1970.
        Duration::from_micros(u64::try_from(self.0.now().micros).unwrap_or(0))
    }
}

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        LOOK_NANOS
    }

    fn now(&self) -> u64 {
        let mut now = self.0.now();
        now.monotonic_nanos = now.monotonic_nanos.saturating_add(LOOK_NANOS);
        now.monotonic_nanos
    }
}

/// SplitMix64: a few lines that will give the same numbers under every version of every crate, since
/// snapshots depend on them. Nothing secret is made of them.
impl TryRng for Clock {
    type Error = Infallible;

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut now = self.0.now();
        now.dice = now.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = now.dice;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(mixed ^ (mixed >> 31))
    }

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|number| (number >> 32) as u32)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let number = self.try_next_u64()?.to_le_bytes();
            chunk.iter_mut().zip(number).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Draft, EventType};

    fn at(micros: i64) -> Event {
        let mut draft =
            Draft::new(EventType::CiFailing, "p".parse().unwrap(), "s".parse().unwrap());
        draft.timestamp = Timestamp::from_micros(micros);
        draft.id = Some("01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap());
        draft.into_event(Timestamp::now())
    }

    fn clock(environment: &Environment) -> Clock {
        Clock(Arc::clone(environment.0.as_ref().unwrap()))
    }

    #[test]
    fn the_wall_clock_goes_with_the_events_and_the_other_never_back() {
        let start = Timestamp::from_micros(1_000_000).unwrap();
        let environment = Environment::following(start, 0);
        let clock = clock(&environment);
        environment.begin_call([&at(3_000_000), &at(2_000_000)]);
        assert_eq!(HostWallClock::now(&clock), Duration::from_secs(3));
        let first = HostMonotonicClock::now(&clock);
        assert!(first > 2_000_000_000);
        environment.begin_call([&at(1_000_000)]);
        assert_eq!(HostWallClock::now(&clock), Duration::from_secs(1));
        assert!(HostMonotonicClock::now(&clock) > first);
        let fixed = Environment::fixed(start, 0);
        fixed.begin_call([&at(3_000_000)]);
        assert_eq!(HostWallClock::now(&self::clock(&fixed)), Duration::from_secs(1));
    }

    #[test]
    fn random_numbers_depend_on_the_seed_and_the_events_and_nothing_before() {
        let draw = |seed, before: usize| {
            let environment = Environment::fixed(Timestamp::from_micros(0).unwrap(), seed);
            let mut dice = clock(&environment);
            dice.try_fill_bytes(&mut vec![0; before]).unwrap();
            environment.begin_call([&at(0)]);
            dice.try_next_u64().unwrap()
        };
        assert_eq!(draw(1, 0), draw(1, 100));
        assert_ne!(draw(1, 0), draw(2, 0));
    }

    #[test]
    fn the_random_numbers_are_those_of_splitmix() {
        // The first outputs for the seed 1234567 in the reference implementation.
        let environment = Environment::fixed(Timestamp::from_micros(0).unwrap(), 1_234_567);
        let mut dice = clock(&environment);
        let drawn = [(); 3].map(|()| dice.try_next_u64().unwrap());
        assert_eq!(
            drawn,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }
}
