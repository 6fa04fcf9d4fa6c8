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

mod strip;

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
        // Made of two values within bounds, at their own levels: it is compact and not too deep.
        let mut merged = String::with_capacity(self.as_str().len() + patch.as_str().len());
        merge(Some(&self.0), &patch.0, &mut merged).map_err(syntax)?;
        Self::of_compact(merged)
    }

    fn of_compact(text: String) -> Result<Self, Reason> {
        if text.len() > MAX_DATA_BYTES {
            return Err(Reason::TooLong {
                limit: MAX_DATA_BYTES,
                found: text.len(),
                unit: "bytes",
            });
        }
        RawValue::from_string(text).map(Self).map_err(syntax)
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
                _ => syntax(e),
            },
        )?;
        // Only of valid JSON is the white space known to be meaningless: `1 2` is not `12`.
        Self::of_compact(compact(text).into_owned())
    }
}

fn syntax(e: serde_json::Error) -> Reason {
    Reason::Syntax(e.to_string())
}

/// How people write the member `key` of what lies at `path`: `data.labels`, `data["odd key"]`.
pub(crate) fn member_path(path: &str, key: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    match !key.is_empty() && key.bytes().all(is_plain) {
        true if path.is_empty() => key.to_owned(),
        true => format!("{path}.{key}"),
        false => format!("{path}[{}]", serde_json::Value::from(key)),
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

/// RFC 7396 over raw text: only the objects on the patch's path are opened, everything else is
/// copied. Of a name that is given twice the last value counts. Both sides are bounded in depth, so
/// the recursion is.
fn merge(target: Option<&RawValue>, patch: &RawValue, out: &mut String) -> serde_json::Result<()> {
    let Some(changes) = members(patch)? else {
        out.push_str(patch.get());
        return Ok(());
    };
    let mut changes: IndexMap<Cow<'_, str>, Change<'_>> = changes
        .into_iter()
        .map(|(key, to)| Ok((name(key)?, Change::new(key, to))))
        .collect::<serde_json::Result<_>>()?;
    let mut kept = Vec::new();
    for (key, value) in target.map(members).transpose()?.flatten().unwrap_or_default() {
        let change = changes.get_index_of(&*name(key)?);
        if let Some((_, change)) = change.and_then(|at| changes.get_index_mut(at)) {
            change.from = Some(value);
        }
        kept.push((key, value, change));
    }
    out.push('{');
    let begin = out.len();
    for (key, value, change) in kept {
        match change {
            None => {
                member(out, begin, key);
                out.push_str(value.get());
            }
            Some(at) => {
                if let Some((_, change)) = changes.get_index_mut(at) {
                    change.write(out, begin, key)?;
                }
            }
        }
    }
    for change in changes.values_mut() {
        change.write(out, begin, change.key)?;
    }
    out.push('}');
    Ok(())
}

/// What a patch does to one member.
struct Change<'a> {
    key: &'a RawValue,
    from: Option<&'a RawValue>,
    to: &'a RawValue,
    is_done: bool,
}

impl<'a> Change<'a> {
    fn new(key: &'a RawValue, to: &'a RawValue) -> Self {
        Self { key, from: None, to, is_done: false }
    }

    /// The member as it is then, once.
    fn write(&mut self, out: &mut String, begin: usize, key: &RawValue) -> serde_json::Result<()> {
        if std::mem::replace(&mut self.is_done, true) || self.to.get() == "null" {
            return Ok(());
        }
        member(out, begin, key);
        merge(self.from, self.to, out)
    }
}

/// Begins a member of the object that begins at `begin`.
fn member(out: &mut String, begin: usize, key: &RawValue) {
    if out.len() > begin {
        out.push(',');
    }
    out.push_str(key.get());
    out.push(':');
}

/// What a key says.
fn name(key: &RawValue) -> serde_json::Result<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let plain = key.get().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match plain.filter(|text| !text.contains('\\')) {
        Some(text) => Ok(Cow::Borrowed(text)),
        None => serde_json::from_str(key.get()).map(|Text(text)| text),
    }
}

/// The members of an object, names as written; `None` for any other value.
fn members(raw: &RawValue) -> serde_json::Result<Option<Vec<(&RawValue, &RawValue)>>> {
    struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);
    struct Collect;

    impl<'de> Visitor<'de> for Collect {
        type Value = Members<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(Members(members))
        }
    }

    impl<'de> Deserialize<'de> for Members<'de> {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_map(Collect)
        }
    }

    if !raw.get().starts_with('{') {
        return Ok(None);
    }
    serde_json::from_str(raw.get()).map(|Members(members)| Some(members))
}
