//! One bucket as its one writer sees it: each write at once, although nothing is committed before
//! the events that it belongs to are.
//!
//! Four layers, the newest on top: what the present call wrote; what earlier calls of the same
//! batch wrote; what earlier batches wrote that is on its way to the disk, with what was read of
//! late; and the disk. A call that fails takes its layer with it, and so does a batch that is given
//! up. When the disk refuses a batch, everything above the disk goes, and later batches that were
//! built on it are refused as well ([`Pending`]).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    MAX_CALL_BYTES, MAX_KEY, MAX_VALUE, Side, StateError, Write,
    committed::{Committed, ENTRY_BYTES},
    pending::{Pending, Written},
};
use crate::event::PluginName;

/// Values that are kept in memory besides those on their way to the disk, in bytes a bucket. Past
/// it they are forgotten, all at once.
const CACHE_BYTES: usize = 1 << 20;
/// Keys of one page of a listing.
const PAGE: usize = 1000;

/// Held by whoever has written and not yet handed its writes to the writer.
pub type Turn = Arc<tokio::sync::Mutex<()>>;

type Value = Option<Arc<[u8]>>;

/// One bucket.
pub struct Bucket {
    plugin: PluginName,
    side: Side,
    /// `None`: state that is kept in memory alone.
    disk: Option<Arc<Committed>>,
    turn: Turn,
    layers: Mutex<Layers>,
}

#[derive(Default)]
struct Layers {
    call: Option<Layer>,
    /// With how often writes had been lost when the batch first looked in here.
    batch: Option<(Layer, u64)>,
    recent: HashMap<Arc<str>, Recent>,
    /// Of `recent`, what is on disk as well.
    cached: usize,
    /// On disk and on the way there; `None` until somebody writes.
    used: Option<u64>,
    lost: u64,
    generation: u64,
    kept: u64,
}

#[derive(Default)]
struct Layer {
    writes: BTreeMap<Arc<str>, Value>,
    /// How many bytes the bucket grows by them.
    growth: i64,
    /// How many bytes were written, overwritten ones too.
    written: usize,
}

struct Recent {
    value: Value,
    /// Batches on their way to the disk that wrote this key.
    on_the_way: u32,
}

impl Bucket {
    pub(super) fn new(
        plugin: PluginName,
        side: Side,
        disk: Option<Arc<Committed>>,
        turn: Turn,
    ) -> Arc<Self> {
        Arc::new(Self { plugin, side, disk, turn, layers: Mutex::default() })
    }

    /// Whose it is.
    pub fn plugin(&self) -> &PluginName {
        &self.plugin
    }

    /// Which of its plugin's two.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Whether nothing of it is ever on disk.
    pub(super) fn is_in_memory(&self) -> bool {
        self.disk.is_none()
    }

    /// To be held from the first write until [`Bucket::take`] was handed to the writer.
    pub fn turn(&self) -> &Turn {
        &self.turn
    }

    /// Changes whenever something was taken back or written from outside, so that what a guest
    /// remembers of its state in its own memory is no longer true.
    pub fn generation(&self) -> u64 {
        self.layers().generation
    }

    /// How many calls have written here. An instance that was not the last of them, such as one of a
    /// version that has just been loaded, does not know what is in here.
    pub fn calls_kept(&self) -> u64 {
        self.layers().kept
    }

    /// The value of a key, as the present call sees it.
    ///
    /// # Errors
    /// [`StateError::Key`] when it cannot be a key, [`StateError::Read`] when SQLite fails.
    pub fn get(&self, key: &str) -> Result<Option<Arc<[u8]>>, StateError> {
        check_key(key)?;
        let mut layers = self.layers();
        layers.touch();
        self.read(&mut layers, key)
    }

    /// The value of a key on disk, for others than the bucket's writer.
    ///
    /// # Errors
    /// Those of [`Bucket::get`].
    pub fn get_committed(&self, key: &str) -> Result<Option<Arc<[u8]>>, StateError> {
        check_key(key)?;
        match &self.disk {
            Some(disk) => disk.get(&self.plugin, self.side, key),
            None => Ok(self.layers().recent.get(key).and_then(|recent| recent.value.clone())),
        }
    }

    /// Sets or deletes a key, within `quota` bytes for the bucket. Counts for the quota: key, value
    /// and 64 bytes an entry.
    ///
    /// # Errors
    /// [`StateError`] when a bound would be broken, or no event is being handled; nothing has
    /// changed then.
    pub fn put(&self, key: &str, value: Option<&[u8]>, quota: u64) -> Result<(), StateError> {
        let mut layers = self.layers();
        layers.touch();
        self.write(&mut layers, key, value, quota, MAX_CALL_BYTES)
    }

    /// Adds to the decimal number that a key's value is; a missing one counts as 0.
    ///
    /// # Errors
    /// [`StateError::Counter`] when it is no number or would leave 64 bits, and those of
    /// [`Bucket::put`].
    pub fn increment(&self, key: &str, delta: u64, quota: u64) -> Result<u64, StateError> {
        check_key(key)?;
        let mut layers = self.layers();
        layers.touch();
        let fault = |reason| StateError::Counter { key: key.to_owned(), reason };
        let now = match self.read(&mut layers, key)? {
            Some(value) => std::str::from_utf8(&value)
                .ok()
                .and_then(|text| text.parse::<u64>().ok())
                .ok_or_else(|| fault("is no decimal number of 64 bits"))?,
            None => 0,
        };
        let sum = now.checked_add(delta).ok_or_else(|| fault("would leave 64 bits"))?;
        self.write(&mut layers, key, Some(sum.to_string().as_bytes()), quota, MAX_CALL_BYTES)?;
        Ok(sum)
    }

    /// A page of at most 1,000 keys in their order from the `skip`-th on, and where the next page
    /// begins.
    ///
    /// # Errors
    /// [`StateError::Read`] when SQLite fails.
    pub fn keys(&self, skip: u64) -> Result<(Vec<String>, Option<u64>), StateError> {
        let mut layers = self.layers();
        layers.touch();
        Ok(page(self.all_keys(&layers)?, skip))
    }

    /// Like [`Bucket::keys`], of what is on disk.
    ///
    /// # Errors
    /// [`StateError::Read`] when SQLite fails.
    pub fn keys_committed(&self, skip: u64) -> Result<(Vec<String>, Option<u64>), StateError> {
        match &self.disk {
            Some(disk) => Ok(page(disk.keys(&self.plugin, self.side)?.into_iter().collect(), skip)),
            None => Ok(page(self.all_keys(&self.layers())?, skip)),
        }
    }

    /// An event is about to be handled: from now on it may be written.
    pub fn begin_call(&self) {
        self.layers().call = Some(Layer::default());
    }

    /// The event was handled: its writes stand, for the rest of the batch.
    pub fn keep_call(&self) {
        let mut layers = self.layers();
        let Some(call) = layers.call.take().filter(|call| !call.writes.is_empty()) else { return };
        layers.touch();
        layers.kept += 1;
        if let Some((batch, _)) = &mut layers.batch {
            batch.writes.extend(call.writes);
            batch.growth += call.growth;
            batch.written += call.written;
        }
    }

    /// The event was not handled: as if nothing had been written.
    pub fn drop_call(&self) {
        let mut layers = self.layers();
        if layers.call.take().is_some_and(|call| !call.writes.is_empty()) {
            layers.generation += 1;
        }
    }

    /// How many bytes were written since the last taking.
    pub fn waiting(&self) -> usize {
        self.layers().batch.as_ref().map_or(0, |(layer, _)| layer.written)
    }

    /// The writes since the last taking, on their way to the disk; `None` when nobody looked in
    /// here.
    pub fn take(self: &Arc<Self>) -> Option<Pending> {
        let mut layers = self.layers();
        let (batch, lost) = layers.batch.take()?;
        layers.used = layers.used.map(|used| used.saturating_add_signed(batch.growth));
        let writes: Vec<Written> = batch.writes.into_iter().collect();
        // Writes upon lost ones are refused by the writer: then they are not to be seen either.
        if layers.lost == lost {
            for (key, value) in &writes {
                layers.send(key, value);
            }
        }
        drop(layers);
        Some(Pending::new(Arc::clone(self), lost, writes))
    }

    /// Gives up the batch: as if none of its events had been handled.
    pub fn give_up(&self) {
        let mut layers = self.layers();
        if let Some((batch, _)) = layers.batch.take()
            && !batch.writes.is_empty()
        {
            layers.generation += 1;
        }
    }

    /// Writes from outside.
    pub(super) fn edit(
        self: &Arc<Self>,
        mut writes: Vec<Write>,
        replace: bool,
    ) -> Result<Pending, StateError> {
        let mut layers = self.layers();
        layers.touch();
        if replace {
            let written: BTreeSet<_> = writes.iter().map(|(key, _)| key.clone()).collect();
            let gone = self.all_keys(&layers)?.into_iter().filter(|key| !written.contains(key));
            writes.extend(gone.map(|key| (key, None)).collect::<Vec<_>>());
        }
        layers.call = Some(Layer::default());
        // Who edits answers for the quota.
        let result = writes.iter().try_for_each(|(key, value)| {
            self.write(&mut layers, key, value.as_deref(), u64::MAX, usize::MAX)
        });
        if let Err(e) = result {
            layers.call = None;
            return Err(e);
        }
        layers.generation += 1;
        let lost = layers.lost;
        drop(layers);
        self.keep_call();
        Ok(self.take().unwrap_or_else(|| Pending::new(Arc::clone(self), lost, Vec::new())))
    }

    /// How often writes have been lost.
    pub(super) fn lost(&self) -> u64 {
        self.layers().lost
    }

    /// These are on disk.
    pub(super) fn committed(&self, writes: &[Written]) {
        let mut layers = self.layers();
        for (key, _) in writes {
            let Some(recent) = layers.recent.get_mut(key) else { continue };
            recent.on_the_way = recent.on_the_way.saturating_sub(1);
            if recent.on_the_way == 0 {
                layers.cached += size(key, layers.recent.get(key).and_then(|r| r.value.as_deref()));
            }
        }
        self.forget_when_full(&mut layers);
    }

    /// Writes that began when this many had been lost are lost.
    pub(super) fn lose(&self, lost: u64) {
        let mut layers = self.layers();
        // A guest may have seen them, even where they were built on lost ones.
        layers.generation += 1;
        // Those are no further loss.
        if layers.lost != lost {
            return;
        }
        layers.lost += 1;
        layers.cached = 0;
        layers.used = None;
        match self.disk {
            Some(_) => layers.recent.clear(),
            // Nothing can refuse what is kept in memory; who drops writes wants them forgotten.
            None => layers.recent.retain(|_, recent| recent.on_the_way == 0),
        }
    }

    fn read(&self, layers: &mut Layers, key: &str) -> Result<Value, StateError> {
        let in_call = layers.call.as_ref().and_then(|layer| layer.writes.get(key));
        let in_batch = layers.batch.as_ref().and_then(|(layer, _)| layer.writes.get(key));
        if let Some(value) = in_call.or(in_batch) {
            return Ok(value.clone());
        }
        if let Some(recent) = layers.recent.get(key) {
            return Ok(recent.value.clone());
        }
        let Some(disk) = &self.disk else { return Ok(None) };
        let value = disk.get(&self.plugin, self.side, key)?;
        layers.cached += size(key, value.as_deref());
        layers.recent.insert(key.into(), Recent { value: value.clone(), on_the_way: 0 });
        self.forget_when_full(layers);
        Ok(value)
    }

    fn write(
        &self,
        layers: &mut Layers,
        key: &str,
        value: Option<&[u8]>,
        quota: u64,
        call_bytes: usize,
    ) -> Result<(), StateError> {
        check_key(key)?;
        if let Some(value) = value.filter(|value| value.len() > MAX_VALUE) {
            return Err(StateError::Value(value.len()));
        }
        let before = self.read(layers, key)?;
        let used = match (layers.used, &self.disk) {
            (Some(used), _) => used,
            (None, Some(disk)) => *layers.used.insert(disk.bytes(&self.plugin, self.side)?),
            (None, None) => *layers.used.insert(0),
        };
        let in_batch = layers.batch.as_ref().map_or(0, |(layer, _)| layer.growth);
        let Some(call) = &mut layers.call else { return Err(StateError::NoEvent) };
        let written = size(key, value);
        if call.written + written > call_bytes {
            return Err(StateError::Call);
        }
        let stored = |value: Option<&[u8]>| value.map_or(0, |value| size(key, Some(value)) as i64);
        let growth = stored(value) - stored(before.as_deref());
        let wanted = used.saturating_add_signed(in_batch + call.growth + growth);
        // Who is over the quota already may still shrink.
        if growth > 0 && wanted > quota {
            return Err(StateError::Quota { quota, wanted });
        }
        call.growth += growth;
        call.written += written;
        call.writes.insert(key.into(), value.map(Arc::from));
        Ok(())
    }

    fn all_keys(&self, layers: &Layers) -> Result<BTreeSet<String>, StateError> {
        let mut keys: BTreeSet<String> = match &self.disk {
            Some(disk) => disk.keys(&self.plugin, self.side)?.into_iter().collect(),
            None => BTreeSet::new(),
        };
        let recent = layers.recent.iter().map(|(key, recent)| (key, &recent.value));
        let batch = layers.batch.iter().flat_map(|(layer, _)| &layer.writes);
        let call = layers.call.iter().flat_map(|layer| &layer.writes);
        for (key, value) in recent.chain(batch).chain(call) {
            match value {
                Some(_) => drop(keys.insert(key.to_string())),
                None => drop(keys.remove(&**key)),
            }
        }
        Ok(keys)
    }

    fn forget_when_full(&self, layers: &mut Layers) {
        if layers.cached > CACHE_BYTES && self.disk.is_some() {
            layers.recent.retain(|_, recent| recent.on_the_way > 0);
            layers.cached = 0;
        }
    }

    fn layers(&self) -> MutexGuard<'_, Layers> {
        // Nothing panics while it is held.
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Layers {
    /// Remembers that what the batch decides depends on what is in here.
    fn touch(&mut self) {
        let lost = self.lost;
        self.batch.get_or_insert_with(|| (Layer::default(), lost));
    }

    /// A write is on its way to the disk, over whatever was known of its key.
    fn send(&mut self, key: &Arc<str>, value: &Value) {
        let before = self.recent.remove(key);
        let on_the_way = before.as_ref().map_or(0, |recent| recent.on_the_way);
        if let Some(before) = before.filter(|_| on_the_way == 0) {
            self.cached = self.cached.saturating_sub(size(key, before.value.as_deref()));
        }
        let recent = Recent { value: value.clone(), on_the_way: on_the_way + 1 };
        self.recent.insert(Arc::clone(key), recent);
    }
}

fn page(keys: BTreeSet<String>, skip: u64) -> (Vec<String>, Option<u64>) {
    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
    let count = keys.len();
    let page: Vec<String> = keys.into_iter().skip(skip).take(PAGE).collect();
    let next = skip.saturating_add(page.len());
    (page, (next < count).then_some(next as u64))
}

fn check_key(key: &str) -> Result<(), StateError> {
    match key.len() {
        1..=MAX_KEY => Ok(()),
        len => Err(StateError::Key(len)),
    }
}

/// What an entry counts, in bytes.
fn size(key: &str, value: Option<&[u8]>) -> usize {
    key.len() + value.map_or(0, <[u8]>::len) + ENTRY_BYTES
}
