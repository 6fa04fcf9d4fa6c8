//! The structured payload: JSON text that is kept as it was sent.
//!
//! `Data` is never parsed into a tree on its way through the host. Numbers, the order of members
//! and escapes stay as the sender wrote them; only white space between tokens goes, since a line
//! of NDJSON and an SSE field cannot hold line breaks.

use std::{borrow::Cow, fmt, str::FromStr};

use indexmap::IndexMap;
use serde::{
    Deserialize, Serialize,
    de::{self, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::error::Reason;

/// The largest payload, in bytes of compact JSON.
pub const MAX_DATA_BYTES: usize = 256 * 1024;
/// The deepest nesting of arrays and objects.
pub const MAX_DATA_DEPTH: usize = 64;

/// A JSON value as text: compact, at most [`MAX_DATA_BYTES`] bytes and [`MAX_DATA_DEPTH`] levels,
/// every number within range and every string valid Unicode.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Data(Box<RawValue>);

impl Data {
    /// The JSON text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The JSON text as serde has it.
    pub(crate) fn raw(&self) -> &RawValue {
        &self.0
    }

    /// The string at `/host`, if there is one.
    pub(super) fn host(&self) -> Option<Cow<'_, str>> {
        #[derive(Deserialize)]
        struct Node<'a> {
            #[serde(borrow)]
            host: Cow<'a, str>,
        }
        serde_json::from_str::<Node<'_>>(self.as_str()).ok().map(|node| node.host)
    }

    /// This value with an RFC 7396 merge patch applied. What the patch does not name is kept to
    /// the byte.
    ///
    /// # Errors
    /// A [`Reason`] when the patch is no JSON, or the result would break a bound.
    pub fn merged(&self, patch: &str) -> Result<Self, Reason> {
        let patch: Self = patch.parse()?;
        let merged = merge(Some(&self.0), &patch.0).map_err(|e| Reason::Syntax(e.to_string()))?;
        merged.get().parse()
    }
}

impl Default for Data {
    /// `null`.
    fn default() -> Self {
        Self(RawValue::NULL.to_owned())
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Data {}

impl FromStr for Data {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        let mut json = serde_json::Deserializer::from_str(text);
        Depth(MAX_DATA_DEPTH).deserialize(&mut json).and_then(|()| json.end()).map_err(
            |e| match e.classify() {
                serde_json::error::Category::Data => Reason::TooDeep { limit: MAX_DATA_DEPTH },
                _ => Reason::Syntax(e.to_string()),
            },
        )?;
        // Only of valid JSON is the white space known to be meaningless: `1 2` is not `12`.
        let text = compact(text);
        if text.len() > MAX_DATA_BYTES {
            return Err(Reason::TooLong {
                limit: MAX_DATA_BYTES,
                found: text.len(),
                unit: "bytes",
            });
        }
        RawValue::from_string(text.into_owned())
            .map(Self)
            .map_err(|e| Reason::Syntax(e.to_string()))
    }
}

/// `text` without white space between its tokens.
fn compact(text: &str) -> Cow<'_, str> {
    let mut in_string = false;
    let mut escaped = false;
    let mut between_tokens = |c: char| {
        if !in_string {
            in_string = c == '"';
            return matches!(c, ' ' | '\t' | '\n' | '\r');
        }
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == '"' {
            in_string = false;
        }
        false
    };
    let Some(first) = text.find(&mut between_tokens) else {
        return Cow::Borrowed(text);
    };
    let (kept, rest) = text.split_at(first);
    let mut compact = String::with_capacity(text.len());
    compact.push_str(kept);
    // White space leaves the scanner's state alone, so seeing its first character again is safe.
    compact.extend(rest.chars().filter(|c| !between_tokens(*c)));
    Cow::Owned(compact)
}

/// Reads one JSON value of at most this many levels, builds nothing, and thereby finds what a lazy
/// reader would leave to others: lone surrogates, numbers out of range, nesting without end.
struct Depth(usize);

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let below = self.0.checked_sub(1).ok_or_else(|| A::Error::custom("too deep"))?;
        while seq.next_element_seed(Depth(below))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let below = self.0.checked_sub(1).ok_or_else(|| A::Error::custom("too deep"))?;
        while map.next_key_seed(Depth(below))?.is_some() {
            map.next_value_seed(Depth(below))?;
        }
        Ok(())
    }
}

type Object<'a> = IndexMap<Cow<'a, str>, Cow<'a, RawValue>>;

/// RFC 7396 over raw text: only the objects on the patch's path are opened. Both sides are bounded
/// in depth, so the recursion is.
fn merge(target: Option<&RawValue>, patch: &RawValue) -> serde_json::Result<Box<RawValue>> {
    let Some(changes) = object(patch)? else {
        return Ok(patch.to_owned());
    };
    let mut merged = match target.map(object).transpose()?.flatten() {
        Some(object) => object,
        None => Object::new(),
    };
    for (key, change) in changes {
        if change.get() == "null" {
            merged.shift_remove(&key);
            continue;
        }
        let value = merge(merged.get(&key).map(Cow::as_ref), &change)?;
        merged.insert(key, Cow::Owned(value));
    }
    serde_json::value::to_raw_value(&merged)
}

fn object(raw: &RawValue) -> serde_json::Result<Option<Object<'_>>> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Members<'a>(#[serde(borrow)] IndexMap<Key<'a>, &'a RawValue>);
    #[derive(Deserialize, PartialEq, Eq, Hash)]
    struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

    if !raw.get().starts_with('{') {
        return Ok(None);
    }
    let members: Members<'_> = serde_json::from_str(raw.get())?;
    Ok(Some(members.0.into_iter().map(|(key, value)| (key.0, Cow::Borrowed(value))).collect()))
}
