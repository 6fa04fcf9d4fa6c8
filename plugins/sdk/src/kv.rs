//! What the plugin remembers: keys and values in a bucket of its own, kept by the host.
//!
//! ```
//! use ennio_plugin::{Event, Verdict, kv};
//!
//! fn filter(event: &Event) -> Result<Verdict, kv::Error> {
//!     let seen = kv::increment(&event.session_id, 1)?;
//!     Ok(if seen > 100 { Verdict::drop("more than enough") } else { Verdict::Keep })
//! }
//! ```
//!
//! What is written while an event is handled becomes true together with that event (filter,
//! enricher) or with the plugin's place in the log (reaction): when the host dies before, neither
//! has happened. A call that traps, and a reaction that fails, take their writes with them. State
//! survives reloads, rollbacks and restarts.
//!
//! A filter and an enricher of one component share a bucket; a reaction has another, which they can
//! read with [`Bucket::open`], and it theirs. Bounds: a key has 1 to 512 bytes, a value at most
//! 262 144, one call writes at most 1 MiB, and a bucket holds 16 MiB unless the sidecar's
//! `state_mib` says otherwise. In `configure` state can only be read.
//!
//! State that is kept in fields as well, to spare the reading, is read at the first event and not in
//! `configure`: a new version is configured while the old one is still at work. The host throws an
//! instance away whenever something that it wrote was taken back.
//!
//! In native tests the bucket is a map: [`testing::configure`](crate::testing::configure) empties
//! it, [`testing::restart`](crate::testing::restart) keeps it, and
//! [`testing::undone`](crate::testing::undone) takes back what a call wrote.

mod recent;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use recent::{RecentMap, RecentPart};

use crate::{Failure, host};

/// Why the state cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Error(text.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// A reaction that cannot use its state is tried again.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::retry(error.0)
    }
}

/// One of the plugin's two buckets.
pub struct Bucket(host::Bucket);

impl Bucket {
    /// The bucket that the present role writes.
    ///
    /// # Errors
    ///
    /// When the host has none.
    pub fn own() -> Result<Self, Error> {
        host::open_bucket("").map(Bucket)
    }

    /// `pipeline`, that of filter and enricher, or `reaction`. The one that belongs to another role
    /// can only be read, as it was when that role's writes were last committed.
    ///
    /// # Errors
    ///
    /// When there is no bucket of this name.
    pub fn open(name: &str) -> Result<Self, Error> {
        host::open_bucket(name).map(Bucket)
    }

    /// The value of a key.
    ///
    /// # Errors
    ///
    /// When the key is out of bounds, or the host cannot read its database; here and below.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.0.get(key)
    }

    /// The value of a key that [`Bucket::set_json`] wrote.
    ///
    /// # Errors
    ///
    /// Also when the value is not JSON of this type.
    pub fn get_json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        let read = serde_json::from_slice(&value);
        read.map(Some).map_err(|e| Error(format!("the value of {key:?} does not read: {e}")))
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    ///
    /// When key or value are out of bounds, the bucket is full, or it belongs to another role;
    /// here and below.
    pub fn set(&self, key: &str, value: impl AsRef<[u8]>) -> Result<(), Error> {
        self.0.set(key, value.as_ref())
    }

    /// Sets the value of a key to this as JSON.
    ///
    /// # Errors
    ///
    /// Also when the value has no JSON form.
    pub fn set_json(&self, key: &str, value: &impl Serialize) -> Result<(), Error> {
        let value = serde_json::to_vec(value)
            .map_err(|e| Error(format!("the value for {key:?} has no JSON form: {e}")))?;
        self.set(key, value)
    }

    /// Deletes a key, if it is there.
    ///
    /// # Errors
    ///
    /// Those of [`Bucket::set`].
    pub fn delete(&self, key: &str) -> Result<(), Error> {
        self.0.delete(key)
    }

    /// The values of several keys, in their order: one call of the host instead of many.
    ///
    /// # Errors
    ///
    /// Those of [`Bucket::get`], and when the values have more than 4 MiB together.
    pub fn get_many(
        &self,
        keys: impl IntoIterator<Item = String>,
    ) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let keys: Vec<String> = keys.into_iter().collect();
        if keys.is_empty() { Ok(Vec::new()) } else { self.0.get_many(keys) }
    }

    /// Sets the values of several keys: one call of the host instead of many.
    ///
    /// # Errors
    ///
    /// Those of [`Bucket::set`], after the first of which nothing more is set.
    pub fn set_many(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), Error> {
        if pairs.is_empty() { Ok(()) } else { self.0.set_many(pairs) }
    }

    /// Deletes several keys, where they are there: one call of the host instead of many.
    ///
    /// # Errors
    ///
    /// Those of [`Bucket::delete`], after the first of which nothing more is deleted.
    pub fn delete_many(&self, keys: Vec<String>) -> Result<(), Error> {
        if keys.is_empty() { Ok(()) } else { self.0.delete_many(keys) }
    }

    /// Adds to the decimal number that a key's value is, 0 where there is none; the sum.
    ///
    /// # Errors
    ///
    /// Also when the value is no number, or the sum would leave 64 bits.
    pub fn increment(&self, key: &str, by: u64) -> Result<u64, Error> {
        self.0.increment(key, by)
    }

    /// Every key, in order.
    ///
    /// # Errors
    ///
    /// Those of [`Bucket::get`].
    pub fn keys(&self) -> Result<Vec<String>, Error> {
        self.0.keys()
    }
}

/// [`Bucket::get`] of the bucket that the present role writes.
///
/// # Errors
///
/// Those of the method; here and below.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    Bucket::own()?.get(key)
}

/// [`Bucket::get_json`] of the bucket that the present role writes.
///
/// # Errors
///
/// Those of the method.
pub fn get_json<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Error> {
    Bucket::own()?.get_json(key)
}

/// [`Bucket::set`] of the bucket that the present role writes.
///
/// # Errors
///
/// Those of the method.
pub fn set(key: &str, value: impl AsRef<[u8]>) -> Result<(), Error> {
    Bucket::own()?.set(key, value)
}

/// [`Bucket::set_json`] of the bucket that the present role writes.
///
/// # Errors
///
/// Those of the method.
pub fn set_json(key: &str, value: &impl Serialize) -> Result<(), Error> {
    Bucket::own()?.set_json(key, value)
}

/// [`Bucket::delete`] of the bucket that the present role writes.
///
/// # Errors
///
/// Those of the method.
pub fn delete(key: &str) -> Result<(), Error> {
    Bucket::own()?.delete(key)
}

/// [`Bucket::increment`] of the bucket that the present role writes.
///
/// # Errors
///
/// Those of the method.
pub fn increment(key: &str, by: u64) -> Result<u64, Error> {
    Bucket::own()?.increment(key, by)
}

/// [`Bucket::keys`] of the bucket that the present role writes.
///
/// # Errors
///
/// Those of the method.
pub fn keys() -> Result<Vec<String>, Error> {
    Bucket::own()?.keys()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_of_a_test_does_what_the_host_does() {
        crate::host::clear_state();
        assert_eq!(get("a"), Ok(None));
        set("a", "text").unwrap();
        set_json("b", &vec![1, 2]).unwrap();
        assert_eq!(get("a"), Ok(Some(b"text".to_vec())));
        assert_eq!(get_json::<Vec<u8>>("b"), Ok(Some(vec![1, 2])));
        assert!(get_json::<u8>("b").unwrap_err().to_string().contains("\"b\""));
        assert_eq!((increment("n", 2), increment("n", 3)), (Ok(2), Ok(5)));
        assert_eq!(get("n"), Ok(Some(b"5".to_vec())));
        assert!(increment("a", 1).is_err());
        assert!(increment("n", u64::MAX).is_err());
        assert_eq!(keys().unwrap(), ["a", "b", "n"]);
        delete("a").unwrap();
        assert_eq!(get("a"), Ok(None));
        assert!(get("").is_err() && set(&"k".repeat(513), "").is_err());
        assert!(set("big", vec![0; 262_145]).is_err());
        assert!(Bucket::open("nobody").is_err());

        let own = Bucket::own().unwrap();
        let keys = || ["x", "n", "y"].map(String::from);
        own.set_many(vec![("x".into(), vec![1]), ("y".into(), vec![2])]).unwrap();
        let expected = [Some(vec![1]), Some(b"5".to_vec()), Some(vec![2])];
        assert_eq!(own.get_many(keys()).unwrap(), expected);
        own.delete_many(vec!["x".into(), "z".into(), "n".into()]).unwrap();
        assert_eq!(own.get_many(keys()).unwrap(), [None, None, Some(vec![2])]);
        assert!(own.set_many(vec![("a".into(), vec![]), (String::new(), vec![])]).is_err());
    }
}
