//! What a plugin costs, beside an empty one of the same roles in the same run.
//!
//! The empty plugin (`empty.wat`) takes its events and answers that nothing is to be done: what it
//! costs is the border. Both take turns in short slices, and the median of the slices counts, so
//! that a machine that is busy for a while does not decide who looks better.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use thiserror::Error;

use super::{run::TrialError, sample};
use crate::{
    event::{Event, EventId, LogEntry, Timestamp},
    plugin::{Cache, CacheError, Delivery, Plugin, Registry},
    store::state::State,
};

/// Made of `empty.wat` and `wit/`, which a test repeats. Checked in as bytes, since making it takes
/// crates that the host has no other use for. It has all three roles.
const EMPTY: &[u8] = include_bytes!("empty.wasm");

/// Slices of each measurement.
const ROUNDS: usize = 10;
/// Events between two looks at the clock.
const BLOCK: usize = 64;
/// Loads that are compiled, and how long they may take together before there are fewer.
const COMPILATIONS: usize = 5;
const COMPILE_FOR: Duration = Duration::from_secs(5);
/// Loads from the cache.
const LOADS: usize = 7;
/// Fresh instances.
const INSTANCES: usize = 20;

/// Why there are no figures.
#[derive(Debug, Error)]
pub enum BenchError {
    /// The plugin cannot be loaded.
    #[error(transparent)]
    Trial(#[from] TrialError),
    /// There would be nothing to call it with.
    #[error("the plugin sees none of the {0} (give events that it subscribes to with --events)")]
    NothingSeen(&'static str),
    /// Figures of failures would mean nothing.
    #[error("the plugin failed on an event: {0} (`ennio plugin test` shows on which)")]
    Failed(String),
    /// What was compiled cannot be kept.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The component cannot be read, or the empty one not written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// The figures.
#[derive(Debug)]
pub struct Bench {
    /// `filter`, `enricher`, `reaction`.
    pub roles: Vec<&'static str>,
    /// How many different events it was called with.
    pub events: usize,
    /// In the order in which people want to read them.
    pub figures: Vec<Figure>,
}

/// One figure, of the plugin and of the empty one.
#[derive(Debug)]
pub struct Figure {
    /// For programs: `filter_single`.
    pub name: String,
    /// For people: `filter, one by one`.
    pub what: String,
    /// Of both.
    pub unit: Unit,
    /// The plugin's.
    pub plugin: f64,
    /// The empty plugin's.
    pub empty: f64,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds.
    Micros,
    /// Events a second.
    EventsPerSecond,
    /// Bytes.
    Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Filter,
    Enricher,
    Reaction,
}

impl Bench {
    /// Measures the component in `file` for about `time`, besides loading it, over `events` or over
    /// made up ones.
    ///
    /// # Errors
    /// [`BenchError`] when it cannot be loaded, sees no event, or fails on one.
    pub async fn run(
        file: &Path,
        events: Option<Vec<Event>>,
        time: Duration,
    ) -> Result<Self, BenchError> {
        let fault = |path: &Path| {
            let path = path.to_owned();
            move |source| BenchError::File { path, source }
        };
        let folder = tempfile::tempdir().map_err(fault(Path::new("a temporary folder")))?;
        let empty_file = folder.path().join("empty.wasm");
        std::fs::write(&empty_file, EMPTY).map_err(fault(&empty_file))?;
        let size = std::fs::metadata(file).map_err(fault(file))?.len();
        let files = [file, &empty_file];

        let compiled = compile(files).await?;
        let (mut sides, cached) = load(files, folder.path()).await?;
        let [plugin, _] = &sides;
        let source = if events.is_some() { "given events" } else { "made up events" };
        let events = match events {
            Some(events) => events.into_iter().filter(|event| plugin.wants(event)).collect(),
            None => sample::events(|event| plugin.wants(event)),
        };
        if events.is_empty() {
            return Err(BenchError::NothingSeen(source));
        }
        let count = events.len();
        sides.iter_mut().for_each(|side| side.source = Source::new(events.clone()));

        let fresh = instances(&sides).await?;
        let roles = sides[0].plugin.roles();
        let mut figures = Vec::new();
        let phases: Vec<(Role, &str, &[usize])> = [
            (roles.filter, Role::Filter, "filter", &[1, BLOCK][..]),
            (roles.enricher, Role::Enricher, "enricher", &[1, BLOCK]),
            (roles.reaction, Role::Reaction, "reaction", &[1]),
        ]
        .into_iter()
        .filter_map(|(has, role, name, sizes)| has.then_some((role, name, sizes)))
        .collect();
        let slices = phases.iter().map(|(_, _, sizes)| sizes.len()).sum::<usize>() * 2 * ROUNDS;
        let slice = time / slices.max(1) as u32;
        for (role, name, sizes) in phases {
            let mut last = [f64::NAN; 2];
            for size in sizes {
                last = calls(&mut sides, role, *size, slice).await?;
                let (suffix, way) = match size {
                    1 => ("single", "one by one"),
                    _ => ("batch", "in batches of 64"),
                };
                figures.push(Figure::new(
                    format!("{name}_{suffix}_us"),
                    format!("{name}, {way}"),
                    Unit::Micros,
                    last,
                ));
            }
            figures.push(Figure::new(
                format!("{name}_events_per_second"),
                format!("{name}, events a second"),
                Unit::EventsPerSecond,
                last.map(|micros| 1e6 / micros),
            ));
        }
        let memory = sides.each_ref().map(|side| side.plugin.stats().memory_bytes() as f64);
        let figure = |name: &str, what: &str, unit, pair| {
            Figure::new(name.to_owned(), what.to_owned(), unit, pair)
        };
        figures.extend([
            figure("memory_bytes", "memory afterwards", Unit::Bytes, memory),
            figure(
                "size_bytes",
                "size of the component",
                Unit::Bytes,
                [size as f64, EMPTY.len() as f64],
            ),
            figure("load_compiling_us", "load, compiling", Unit::Micros, compiled),
            figure("load_cached_us", "load, from the cache", Unit::Micros, cached),
            figure("instance_us", "fresh instance", Unit::Micros, fresh),
        ]);
        Ok(Self { roles: roles.names().collect(), events: count, figures })
    }
}

impl Figure {
    fn new(name: String, what: String, unit: Unit, [plugin, empty]: [f64; 2]) -> Self {
        Self { name, what, unit, plugin, empty }
    }

    /// How many times the empty plugin's figure the plugin's is.
    pub fn ratio(&self) -> f64 {
        self.plugin / self.empty
    }
}

/// One of the two plugins.
struct Side {
    plugin: Plugin,
    /// Its engine's clock is what interrupts guests.
    registry: Registry,
    source: Source,
}

impl Side {
    async fn load(file: &Path, cache: &Path) -> Result<Self, BenchError> {
        let registry = registry(Some(Cache::open(cache)?))?;
        let plugin = registry.examine(file).await.map_err(TrialError::from)?;
        Ok(Self { plugin, registry, source: Source::default() })
    }

    fn wants(&self, event: &Event) -> bool {
        self.plugin.wants(event, &event.subject())
    }

    /// Calls for about `slice`; microseconds an event.
    async fn slice(&mut self, role: Role, size: usize, slice: Duration) -> Result<f64, BenchError> {
        let end = Instant::now() + slice;
        let (mut events, mut spent) = (0, Duration::ZERO);
        while events == 0 || Instant::now() < end {
            let block = self.source.block();
            events += block.len();
            spent += self.block(role, size, block).await?;
        }
        Ok(spent.as_secs_f64() * 1e6 / events as f64)
    }

    /// Calls with one block of events. Making it and committing what was written is not counted.
    async fn block(
        &self,
        role: Role,
        size: usize,
        block: Vec<Event>,
    ) -> Result<Duration, BenchError> {
        let failed = |reason: String| BenchError::Failed(reason);
        let plugin = &self.plugin;
        let spent = match role {
            Role::Reaction => {
                let entries: Vec<LogEntry> = block.into_iter().zip(1..).map(entry).collect();
                let begun = Instant::now();
                for entry in &entries {
                    let delivery = Delivery { entry, attempt: 1 };
                    plugin.react(delivery).await.1.map_err(|e| failed(e.to_string()))?;
                }
                begun.elapsed()
            }
            Role::Filter | Role::Enricher => {
                let events: Vec<&Event> = block.iter().collect();
                let begun = Instant::now();
                for batch in events.chunks(size) {
                    let error = match role {
                        Role::Filter => {
                            plugin.filter(batch).await.into_results().find_map(Result::err)
                        }
                        _ => plugin.enrich(batch).await.into_results().find_map(Result::err),
                    };
                    error.map_or(Ok(()), |e| Err(failed(e.to_string())))?;
                }
                begun.elapsed()
            }
        };
        for bucket in [plugin.pipeline_state(), plugin.reaction_state()] {
            bucket.take().into_iter().for_each(|written| written.commit_in_memory());
        }
        Ok(spent)
    }
}

fn entry((event, seq): (Event, u64)) -> LogEntry {
    let (subject, at) = (event.subject(), event.timestamp);
    LogEntry::new(seq, event, subject, None, 0, None, at)
}

/// The same events again and again, with new ids, and going on in time where they ended: no host
/// ever shows a plugin the same event twice.
#[derive(Default)]
struct Source {
    events: Vec<Event>,
    at: usize,
    /// Microseconds that the next event is later than it says.
    later: i64,
    span: i64,
}

impl Source {
    fn new(events: Vec<Event>) -> Self {
        let times = || events.iter().map(|event| event.timestamp.micros());
        let span = times().max().unwrap_or(0) - times().min().unwrap_or(0) + 1_000_000;
        Self { events, at: 0, later: 0, span }
    }

    fn block(&mut self) -> Vec<Event> {
        (0..BLOCK).filter_map(|_| self.next()).collect()
    }

    fn next(&mut self) -> Option<Event> {
        if self.at == self.events.len() {
            (self.at, self.later) = (0, self.later + self.span);
        }
        let mut event = self.events.get(self.at)?.clone();
        self.at += 1;
        event.id = EventId::mint();
        let time = Timestamp::from_micros(event.timestamp.micros() + self.later);
        event.timestamp = time.unwrap_or(event.timestamp);
        Some(event)
    }
}

async fn calls(
    sides: &mut [Side; 2],
    role: Role,
    size: usize,
    slice: Duration,
) -> Result<[f64; 2], BenchError> {
    let mut found = [Vec::new(), Vec::new()];
    for side in sides.iter_mut() {
        let block = side.source.block();
        side.block(role, size, block).await?;
    }
    for _ in 0..ROUNDS {
        for (side, found) in sides.iter_mut().zip(&mut found) {
            found.push(side.slice(role, size, slice).await?);
        }
    }
    Ok(found.map(median))
}

/// Microseconds of a load that compiles.
async fn compile(files: [&Path; 2]) -> Result<[f64; 2], BenchError> {
    let mut found = [Vec::new(), Vec::new()];
    let begun = Instant::now();
    for round in 0..COMPILATIONS {
        if round > 0 && begun.elapsed() > COMPILE_FOR {
            break;
        }
        for (file, found) in files.iter().zip(&mut found) {
            let registry = registry(None)?;
            let begun = Instant::now();
            registry.examine(file).await.map_err(TrialError::from)?;
            found.push(micros(begun));
        }
    }
    Ok(found.map(median))
}

/// What was loaded, and the microseconds of a load from the cache.
async fn load(files: [&Path; 2], folder: &Path) -> Result<([Side; 2], [f64; 2]), BenchError> {
    let cache = folder.join("cache");
    let [file, empty] = files;
    // These two still compile.
    let mut sides = [Side::load(file, &cache).await?, Side::load(empty, &cache).await?];
    let mut found = [Vec::new(), Vec::new()];
    for _ in 0..LOADS {
        for ((file, side), found) in files.into_iter().zip(&mut sides).zip(&mut found) {
            let begun = Instant::now();
            side.plugin = side.registry.examine(file).await.map_err(TrialError::from)?;
            found.push(micros(begun));
        }
    }
    Ok((sides, found.map(median)))
}

/// Microseconds of a fresh instance, configured.
async fn instances(sides: &[Side; 2]) -> Result<[f64; 2], BenchError> {
    let mut found = [Vec::new(), Vec::new()];
    for _ in 0..INSTANCES {
        for (side, found) in sides.iter().zip(&mut found) {
            let begun = Instant::now();
            side.plugin.restart().await.map_err(|e| BenchError::Failed(e.to_string()))?;
            found.push(micros(begun));
        }
    }
    Ok(found.map(median))
}

fn registry(cache: Option<Cache>) -> Result<Registry, BenchError> {
    Ok(Registry::new(None, cache, State::in_memory()).map_err(TrialError::from)?)
}

fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

    use super::*;

    /// What `empty.wat` and `wit/` make.
    fn empty() -> Vec<u8> {
        const WORLD: &str = "package ennio:empty;
            world empty {
                export ennio:plugin/guest@0.1.0;
                export ennio:plugin/filter@0.1.0;
                export ennio:plugin/enricher@0.1.0;
                export ennio:plugin/reaction@0.1.0;
            }";
        let mut resolve = wit_parser::Resolve::default();
        resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).unwrap();
        let package = resolve.push_str("empty.wit", WORLD).unwrap();
        let world = resolve.select_world(&[package], Some("empty")).unwrap();
        let mut module = wat::parse_str(include_str!("empty.wat")).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
    }

    /// `ENNIO_WRITE_EMPTY=1 cargo test the_empty_plugin` writes it anew.
    #[test]
    fn the_empty_plugin_is_what_its_text_and_the_contract_make() {
        if std::env::var_os("ENNIO_WRITE_EMPTY").is_some() {
            let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/trial/empty.wasm");
            std::fs::write(file, empty()).unwrap();
        }
        assert!(empty() == EMPTY, "write it anew with ENNIO_WRITE_EMPTY=1, and build again");
    }

    #[test]
    fn a_source_never_shows_an_event_twice_and_goes_on_in_time() {
        let mut source = Source::new(
            sample::events(|event| event.priority == crate::event::EventPriority::Info)
                .into_iter()
                .take(3)
                .collect(),
        );
        let events: Vec<Event> = (0..9).filter_map(|_| source.next()).collect();
        let mut ids: Vec<_> = events.iter().map(|event| event.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 9);
        assert!(events.is_sorted_by_key(|event| event.timestamp));
    }
}
