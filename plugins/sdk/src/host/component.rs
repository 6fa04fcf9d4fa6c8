//! The host behind the contract's imports.

use crate::bindings::wasi::config::store::{self, Error};
use crate::bindings::wasi::keyvalue::{atomics, batch, store as keyvalue};
use crate::bindings::wasi::logging::logging;
use crate::kv;
use crate::log::Level;

pub(crate) fn config() -> Result<Vec<(String, String)>, String> {
    store::get_all().map_err(|error| match error {
        Error::Upstream(text) | Error::Io(text) => text,
    })
}

pub(crate) fn log(level: Level, context: &str, line: &str) {
    let level = match level {
        Level::Trace => logging::Level::Trace,
        Level::Debug => logging::Level::Debug,
        Level::Info => logging::Level::Info,
        Level::Warn => logging::Level::Warn,
        Level::Error => logging::Level::Error,
        Level::Critical => logging::Level::Critical,
    };
    logging::log(level, context, line);
}

/// A handle of a bucket.
pub(crate) struct Bucket(keyvalue::Bucket);

pub(crate) fn open_bucket(name: &str) -> Result<Bucket, kv::Error> {
    keyvalue::open(name).map(Bucket).map_err(told)
}

impl Bucket {
    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, kv::Error> {
        self.0.get(key).map_err(told)
    }

    pub(crate) fn set(&self, key: &str, value: &[u8]) -> Result<(), kv::Error> {
        self.0.set(key, value).map_err(told)
    }

    pub(crate) fn delete(&self, key: &str) -> Result<(), kv::Error> {
        self.0.delete(key).map_err(told)
    }

    pub(crate) fn get_many(&self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, kv::Error> {
        let found = batch::get_many(&self.0, &keys).map_err(told)?;
        Ok(found.into_iter().map(|pair| pair.map(|(_, value)| value)).collect())
    }

    pub(crate) fn set_many(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), kv::Error> {
        batch::set_many(&self.0, &pairs).map_err(told)
    }

    pub(crate) fn delete_many(&self, keys: Vec<String>) -> Result<(), kv::Error> {
        batch::delete_many(&self.0, &keys).map_err(told)
    }

    pub(crate) fn increment(&self, key: &str, by: u64) -> Result<u64, kv::Error> {
        atomics::increment(&self.0, key, by).map_err(told)
    }

    pub(crate) fn keys(&self) -> Result<Vec<String>, kv::Error> {
        let mut keys = Vec::new();
        let mut next = None;
        loop {
            let page = self.0.list_keys(next).map_err(told)?;
            keys.extend(page.keys);
            next = page.cursor;
            if next.is_none() {
                return Ok(keys);
            }
        }
    }
}

fn told(error: keyvalue::Error) -> kv::Error {
    match error {
        keyvalue::Error::NoSuchStore => {
            kv::Error::new("there is no such bucket (there are `pipeline` and `reaction`)")
        }
        keyvalue::Error::AccessDenied => {
            kv::Error::new("the bucket of the plugin's other role can only be read")
        }
        keyvalue::Error::Other(text) => kv::Error::new(text),
    }
}
