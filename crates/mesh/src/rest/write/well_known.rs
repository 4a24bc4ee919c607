//! JSON objects, arrays and values as `google.protobuf.Struct`, `ListValue` and `Value` on the wire.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::Sink;

/// An object; its entries are field 1, each a message of key 1 and value 2.
pub(super) struct Struct<'a>(pub(super) &'a mut Sink);

impl<'de> Visitor<'de> for Struct<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let sink = self.0;
        sink.deeper()?;
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            sink.tag(1, 2);
            let start = sink.bytes.len();
            sink.tag(1, 2);
            sink.varint(name.len() as u64);
            sink.bytes.extend_from_slice(name.as_bytes());
            sink.tag(2, 2);
            let value = sink.bytes.len();
            map.next_value_seed(Seed(&mut *sink))?;
            sink.close(value);
            sink.close(start);
        }
        sink.depth -= 1;
        Ok(())
    }
}

/// An array; its elements are field 1.
pub(super) struct List<'a>(pub(super) &'a mut Sink);

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let sink = self.0;
        sink.deeper()?;
        loop {
            let before = sink.bytes.len();
            sink.tag(1, 2);
            let start = sink.bytes.len();
            if list.next_element_seed(Seed(&mut *sink))?.is_none() {
                sink.bytes.truncate(before);
                break;
            }
            sink.close(start);
        }
        sink.depth -= 1;
        Ok(())
    }
}

struct Seed<'a>(&'a mut Sink);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(Value(self.0))
    }
}

/// Any value: null 1, number 2, text 3, boolean 4, object 5, array 6.
pub(super) struct Value<'a>(pub(super) &'a mut Sink);

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.tag(1, 0);
        self.0.varint(0);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.0.tag(4, 0);
        self.0.varint(u64::from(value));
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.0.tag(2, 1);
        self.0.bytes.extend(value.to_le_bytes());
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.0.tag(3, 2);
        self.0.varint(value.len() as u64);
        self.0.bytes.extend_from_slice(value.as_bytes());
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.0.tag(5, 2);
        let start = self.0.bytes.len();
        Struct(&mut *self.0).visit_map(map)?;
        self.0.close(start);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        self.0.tag(6, 2);
        let start = self.0.bytes.len();
        List(&mut *self.0).visit_seq(list)?;
        self.0.close(start);
        Ok(())
    }
}
