//! The content of a settings file, in any format.
//!
//! A value of any type is accepted. A deserialiser that finds an unexpected type fails with an error that quotes the
//! value (serde's own text) or its whole line (toml's), password included. [`read`](super::read) therefore checks the
//! type later, with this crate's own errors.

use std::fmt;

use serde_core::{
    Deserialize, Deserializer,
    de::{EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor},
};

use crate::secret::SecretText;

/// A value of any type.
#[derive(Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Text(SecretText),
    List(Vec<Value>),
    /// The entries in the file's order, duplicate keys included.
    Table(Vec<(Key, Value)>),
    /// A type that no key accepts.
    Other(&'static str),
}

/// A key; `None` if it is not a string.
pub(super) type Key = Option<SecretText>;

impl Value {
    /// Returns the type's name for errors.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "no value",
            Self::Bool(_) => "a boolean",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(name) => name,
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

/// Accepts a value of any type.
pub(super) struct AnyValue;

const NUMBER: Value = Value::Other("a number");
const BYTES: Value = Value::Other("bytes");

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("proxy settings")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Value, E> {
        Ok(NUMBER)
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Value, E> {
        Ok(NUMBER)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Value, E> {
        Ok(NUMBER)
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Value, E> {
        Ok(NUMBER)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value, E> {
        Ok(NUMBER)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.into()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text.into()))
    }

    fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<Value, E> {
        Ok(BYTES)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = table.next_entry()? {
            let key = match key {
                Value::Text(key) => Some(key),
                _ => None,
            };
            entries.push((key, value));
        }
        Ok(Value::Table(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Value, A::Error> {
        let (_, variant) = data.variant::<IgnoredAny>()?;
        variant.newtype_variant::<IgnoredAny>()?;
        Ok(Value::Other("a variant"))
    }
}
