//! serde's view of the pairs: a map whose values are read by what their fields want.

use std::slice;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Value;

use super::fault::Fault;

/// All pairs of a configuration.
pub(super) struct Table<'de> {
    pairs: slice::Iter<'de, (String, String)>,
    current: Option<&'de (String, String)>,
}

impl<'de> Table<'de> {
    pub(super) fn new(pairs: &'de [(String, String)]) -> Self {
        Table { pairs: pairs.iter(), current: None }
    }
}

impl<'de> Deserializer<'de> for Table<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

impl<'de> MapAccess<'de> for Table<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        self.current = self.pairs.next();
        self.current.map(|(key, _)| seed.deserialize(BorrowedStrDeserializer::new(key))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (key, text) = self
            .current
            .ok_or_else(|| Fault::Whole("a value was asked for before its key".into()))?;
        seed.deserialize(Text(text)).map_err(|fault| fault.at(key))
    }
}

/// One value.
#[derive(Clone, Copy)]
struct Text<'de>(&'de str);

impl Text<'_> {
    fn as_json(self) -> Value {
        serde_json::from_str(self.0).unwrap_or_else(|_| Value::String(self.0.into()))
    }
}

/// serde_json's own faults carry no key; [`MapAccess::next_value_seed`] adds it.
fn plain(error: serde_json::Error) -> Fault {
    Fault::Whole(error.to_string())
}

impl<'de> Deserializer<'de> for Text<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.as_json().deserialize_any(visitor).map_err(plain)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.as_json().into_deserializer().deserialize_enum(name, variants, visitor).map_err(plain)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}
