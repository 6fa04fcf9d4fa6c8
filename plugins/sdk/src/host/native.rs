//! The host that a test plays, one for each thread, since that is where each test runs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem;

use crate::http::{Error, Request, Response, Target};
use crate::kv;
use crate::log::Level;

type Server = Box<dyn FnMut(&Request) -> Result<Response, Error>>;

thread_local! {
    static CONFIG: RefCell<Vec<(String, String)>> = const { RefCell::new(Vec::new()) };
    static STATE: RefCell<BTreeMap<(&'static str, String), Vec<u8>>> =
        const { RefCell::new(BTreeMap::new()) };
    static LOG: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
    static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) };
}

pub(crate) fn config() -> Result<Vec<(String, String)>, String> {
    Ok(CONFIG.with_borrow(Clone::clone))
}

pub(crate) fn set_config(pairs: Vec<(String, String)>) {
    CONFIG.set(pairs);
}

pub(crate) fn log(level: Level, context: &str, line: &str) {
    let line = if context.is_empty() { line.into() } else { format!("{context}: {line}") };
    LOG.with_borrow_mut(|log| log.push((level, line)));
}

pub(crate) fn take_log() -> Vec<(Level, String)> {
    LOG.with_borrow_mut(mem::take)
}

/// The longest key, in bytes.
const MAX_KEY: usize = 512;
/// The longest value, in bytes.
const MAX_VALUE: usize = 262_144;

/// A bucket of a test: a map.
pub(crate) struct Bucket(&'static str);

pub(crate) fn open_bucket(name: &str) -> Result<Bucket, kv::Error> {
    match name {
        "" => Ok(Bucket("own")),
        "pipeline" => Ok(Bucket("pipeline")),
        "reaction" => Ok(Bucket("reaction")),
        _ => Err(kv::Error::new("there is no such bucket (there are `pipeline` and `reaction`)")),
    }
}

/// Forgets what was written in this thread.
pub(crate) fn clear_state() {
    STATE.take();
}

/// Runs something, and takes back what it wrote in this thread.
pub(crate) fn undo<T>(call: impl FnOnce() -> T) -> T {
    let before = STATE.with_borrow(Clone::clone);
    let result = call();
    STATE.set(before);
    result
}

impl Bucket {
    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, kv::Error> {
        check_key(key)?;
        Ok(STATE.with_borrow(|state| state.get(&(self.0, key.to_owned())).cloned()))
    }

    pub(crate) fn set(&self, key: &str, value: &[u8]) -> Result<(), kv::Error> {
        check_key(key)?;
        if value.len() > MAX_VALUE {
            let text = format!("a value has at most {MAX_VALUE} bytes, not {}", value.len());
            return Err(kv::Error::new(text));
        }
        STATE.with_borrow_mut(|state| state.insert((self.0, key.to_owned()), value.to_vec()));
        Ok(())
    }

    pub(crate) fn delete(&self, key: &str) -> Result<(), kv::Error> {
        check_key(key)?;
        STATE.with_borrow_mut(|state| state.remove(&(self.0, key.to_owned())));
        Ok(())
    }

    pub(crate) fn get_many(&self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, kv::Error> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    pub(crate) fn set_many(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), kv::Error> {
        pairs.iter().try_for_each(|(key, value)| self.set(key, value))
    }

    pub(crate) fn delete_many(&self, keys: Vec<String>) -> Result<(), kv::Error> {
        keys.iter().try_for_each(|key| self.delete(key))
    }

    pub(crate) fn increment(&self, key: &str, by: u64) -> Result<u64, kv::Error> {
        let fault = |what| kv::Error::new(format!("the value of {key:?} {what}"));
        let now = match self.get(key)? {
            Some(value) => std::str::from_utf8(&value)
                .ok()
                .and_then(|text| text.parse::<u64>().ok())
                .ok_or_else(|| fault("is no decimal number of 64 bits"))?,
            None => 0,
        };
        let sum = now.checked_add(by).ok_or_else(|| fault("would leave 64 bits"))?;
        self.set(key, sum.to_string().as_bytes())?;
        Ok(sum)
    }

    pub(crate) fn keys(&self) -> Result<Vec<String>, kv::Error> {
        let of_this = |(bucket, key): &(&str, String)| (*bucket == self.0).then(|| key.clone());
        Ok(STATE.with_borrow(|state| state.keys().filter_map(of_this).collect()))
    }
}

fn check_key(key: &str) -> Result<(), kv::Error> {
    match key.len() {
        1..=MAX_KEY => Ok(()),
        len => Err(kv::Error::new(format!("a key has 1 to {MAX_KEY} bytes, not {len}"))),
    }
}

pub(crate) fn http(request: &Request, target: &Target<'_>) -> Result<Response, Error> {
    SERVER.with_borrow_mut(|server| match server {
        Some(server) => server(request),
        None => Err(Error::Denied(format!("no server plays {} in this test", target.authority))),
    })
}

pub(crate) fn set_http(server: Server) {
    SERVER.set(Some(server));
}
