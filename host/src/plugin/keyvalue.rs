//! `wasi:keyvalue` for a guest: its own bucket to read and write, the other one of its plugin to
//! read. What is written becomes true with the event that is being handled, and not before.

use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker, Resource};

use super::guest::Guest;
use crate::store::state::{Bucket, Side, State, StateError};

wasmtime::component::bindgen!({
    path: "../wit",
    inline: "
        package ennio:host-keyvalue;

        world keyvalue {
            import wasi:keyvalue/store@0.2.0-draft;
            import wasi:keyvalue/atomics@0.2.0-draft;
            import wasi:keyvalue/batch@0.2.0-draft;
        }
    ",
    world: "ennio:host-keyvalue/keyvalue",
    imports: { default: trappable },
    with: { "wasi:keyvalue/store.bucket": Handle },
});

use self::wasi::keyvalue::{atomics, batch, store};

/// The most that one `get-many` answers with, in bytes.
const MANY_BYTES: usize = 4 << 20;

/// A guest's handle of a bucket.
#[expect(unreachable_pub, reason = "the generated bindings export it again")]
pub enum Handle {
    /// The bucket that it may write.
    Own,
    /// The one that its plugin's other role writes: only what is on disk, only to read.
    Other,
}

/// What a guest can reach of its plugin's state.
pub(super) struct GuestState {
    own: Arc<Bucket>,
    other: Arc<Bucket>,
    quota: u64,
}

impl GuestState {
    pub(super) fn new(own: Arc<Bucket>, state: &State, quota: u64) -> Self {
        let side = match own.side() {
            Side::Pipeline => Side::Reaction,
            Side::Reaction => Side::Pipeline,
        };
        let other = state.bucket(own.plugin(), side);
        Self { own, other, quota }
    }
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    store::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    atomics::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    batch::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)
}

/// A trap outside, an error that the guest can read inside.
type Answer<T> = wasmtime::Result<Result<T, store::Error>>;

fn told<T>(result: Result<T, StateError>) -> Result<T, store::Error> {
    result.map_err(|e| store::Error::Other(e.to_string()))
}

impl Guest {
    fn get_of(&mut self, bucket: &Resource<Handle>, key: &str) -> Answer<Option<Arc<[u8]>>> {
        Ok(told(match self.table.get(bucket)? {
            Handle::Own => self.state.own.get(key),
            Handle::Other => self.state.other.get_committed(key),
        }))
    }

    /// Runs `write` on the guest's own bucket.
    fn write_to<T>(
        &mut self,
        bucket: &Resource<Handle>,
        write: impl FnOnce(&Bucket, u64) -> Result<T, StateError>,
    ) -> Answer<T> {
        Ok(match self.table.get(bucket)? {
            Handle::Own => told(write(&self.state.own, self.state.quota)),
            Handle::Other => Err(store::Error::AccessDenied),
        })
    }
}

impl store::Host for Guest {
    fn open(&mut self, identifier: String) -> Answer<Resource<Handle>> {
        let (own, other) = (self.state.own.side(), self.state.other.side());
        let handle = match &*identifier {
            "" | "default" => Handle::Own,
            name if name == own.as_str() => Handle::Own,
            name if name == other.as_str() => Handle::Other,
            _ => return Ok(Err(store::Error::NoSuchStore)),
        };
        Ok(Ok(self.table.push(handle)?))
    }
}

impl store::HostBucket for Guest {
    fn get(&mut self, bucket: Resource<Handle>, key: String) -> Answer<Option<Vec<u8>>> {
        Ok(self.get_of(&bucket, &key)?.map(|value| value.map(|value| value.to_vec())))
    }

    fn set(&mut self, bucket: Resource<Handle>, key: String, value: Vec<u8>) -> Answer<()> {
        self.write_to(&bucket, |own, quota| own.put(&key, Some(&value), quota))
    }

    fn delete(&mut self, bucket: Resource<Handle>, key: String) -> Answer<()> {
        self.write_to(&bucket, |own, quota| own.put(&key, None, quota))
    }

    fn exists(&mut self, bucket: Resource<Handle>, key: String) -> Answer<bool> {
        Ok(self.get_of(&bucket, &key)?.map(|value| value.is_some()))
    }

    fn list_keys(
        &mut self,
        bucket: Resource<Handle>,
        cursor: Option<u64>,
    ) -> Answer<store::KeyResponse> {
        let page = match self.table.get(&bucket)? {
            Handle::Own => self.state.own.keys(cursor.unwrap_or(0)),
            Handle::Other => self.state.other.keys_committed(cursor.unwrap_or(0)),
        };
        Ok(told(page.map(|(keys, cursor)| store::KeyResponse { keys, cursor })))
    }

    fn drop(&mut self, bucket: Resource<Handle>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for Guest {
    fn increment(&mut self, bucket: Resource<Handle>, key: String, delta: u64) -> Answer<u64> {
        self.write_to(&bucket, |own, quota| own.increment(&key, delta, quota))
    }
}

impl batch::Host for Guest {
    fn get_many(
        &mut self,
        bucket: Resource<Handle>,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<(String, Vec<u8>)>>> {
        let mut bytes = 0;
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let value = match self.get_of(&bucket, &key)? {
                Ok(value) => value,
                Err(e) => return Ok(Err(e)),
            };
            bytes += value.as_ref().map_or(0, |value| value.len() + key.len());
            if bytes > MANY_BYTES {
                let reason = format!("the values have more than {MANY_BYTES} bytes, ask for fewer");
                return Ok(Err(store::Error::Other(reason)));
            }
            found.push(value.map(|value| (key, value.to_vec())));
        }
        Ok(Ok(found))
    }

    fn set_many(
        &mut self,
        bucket: Resource<Handle>,
        key_values: Vec<(String, Vec<u8>)>,
    ) -> Answer<()> {
        self.write_to(&bucket, |own, quota| {
            key_values.iter().try_for_each(|(key, value)| own.put(key, Some(value), quota))
        })
    }

    fn delete_many(&mut self, bucket: Resource<Handle>, keys: Vec<String>) -> Answer<()> {
        self.write_to(&bucket, |own, quota| {
            keys.iter().try_for_each(|key| own.put(key, None, quota))
        })
    }
}
