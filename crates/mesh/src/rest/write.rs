//! JSON straight to the wire form of a message, driven by its descriptor: one pass, no tree in between, errors that name the
//! field. Both forms of names are taken. It must not know which message it is.

mod scalar;
mod well_known;

use std::fmt;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use scalar::{MapKey, Scalar};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// How deep messages and values may nest: each level of JSON is up to three of the wire, which may have 100.
const DEPTH_MAX: usize = 30;
pub(super) use crate::plain::HASH;

/// Largest message, in bytes: what a server takes.
const WIRE_BYTES_MAX: usize = 16 << 20;

/// Where a message goes.
#[derive(Debug, Default)]
pub(super) struct Sink {
    /// The wire form so far.
    pub(super) bytes: Vec<u8>,
    /// The hash, when the outermost object had one.
    pub(super) hash: Option<String>,
    /// Names of the fields that are being read, for errors.
    path: Vec<String>,
    depth: usize,
}

impl Sink {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn tag(&mut self, number: u32, wire_type: u32) {
        self.varint(u64::from(number << 3 | wire_type));
    }

    /// Puts the length before what was written since `start`.
    fn close(&mut self, start: usize) {
        let mut length = (self.bytes.len() - start) as u64;
        let mut prefix = [0_u8; 10];
        let mut used = 0;
        while length >= 0x80 {
            prefix[used] = length as u8 | 0x80;
            length >>= 7;
            used += 1;
        }
        prefix[used] = length as u8;
        self.bytes.splice(start..start, prefix[..=used].iter().copied());
    }

    fn deeper<E: Error>(&mut self) -> Result<(), E> {
        if self.bytes.len() > WIRE_BYTES_MAX {
            return Err(E::custom(format!("takes more than {WIRE_BYTES_MAX} bytes as a message")));
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(E::custom(format!("nests deeper than {DEPTH_MAX}")));
        }
        Ok(())
    }

    /// A scalar field from text, within messages of these numbers.
    pub(super) fn text_field(
        &mut self,
        outer: &[u32],
        field: &FieldDescriptor,
        text: &str,
    ) -> Result<(), String> {
        let mut inner = Self::default();
        let kind = field.kind();
        let mut scalar = Scalar { kind: &kind, number: Some(field.number()), sink: &mut inner };
        scalar.text::<serde::de::value::Error>(text).map_err(|error| error.to_string())?;
        for number in outer.iter().rev() {
            let bytes = std::mem::take(&mut inner.bytes);
            inner.tag(*number, 2);
            inner.varint(bytes.len() as u64);
            inner.bytes.extend(bytes);
        }
        self.bytes.extend(inner.bytes);
        Ok(())
    }

    /// The path of the field that is being read.
    pub(super) fn path(&self) -> String {
        self.path.join(".")
    }
}

/// Reads an object as a message.
pub(super) struct Message<'a> {
    pub(super) descriptor: MessageDescriptor,
    pub(super) sink: &'a mut Sink,
}

impl<'de> DeserializeSeed<'de> for Message<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.descriptor.full_name() {
            "google.protobuf.Struct" => deserializer.deserialize_map(well_known::Struct(self.sink)),
            "google.protobuf.Value" => deserializer.deserialize_any(well_known::Value(self.sink)),
            "google.protobuf.ListValue" => deserializer.deserialize_seq(well_known::List(self.sink)),
            _ => deserializer.deserialize_map(self),
        }
    }
}

impl<'de> Visitor<'de> for Message<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { descriptor, sink } = self;
        sink.deeper()?;
        let outermost = sink.depth == 1;
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let by_name = descriptor.get_field_by_name(&name);
            let Some(field) = by_name.or_else(|| descriptor.get_field_by_json_name(&name)) else {
                if outermost && name == HASH {
                    sink.hash = Some(map.next_value::<String>()?);
                    continue;
                }
                sink.path.push(name.chars().take(64).collect());
                return Err(A::Error::custom("is no field of the request"));
            };
            sink.path.push(field.name().to_owned());
            map.next_value_seed(Field { field: &field, sink })?;
            sink.path.pop();
        }
        sink.depth -= 1;
        Ok(())
    }
}

/// Reads a value as a field.
struct Field<'a> {
    field: &'a FieldDescriptor,
    sink: &'a mut Sink,
}

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let is_value = matches!(self.field.kind(), Kind::Message(ref message)
            if message.full_name() == "google.protobuf.Value");
        if is_value && !self.field.is_list() {
            // A null is a value there.
            return One { field: self.field, sink: self.sink }.deserialize(deserializer);
        }
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value or null")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self { field, sink } = self;
        if field.is_map() {
            deserializer.deserialize_map(Map { field, sink })
        } else if field.is_list() {
            deserializer.deserialize_seq(List { field, sink })
        } else {
            One { field, sink }.deserialize(deserializer)
        }
    }
}

/// Reads one value, with its tag.
struct One<'a> {
    field: &'a FieldDescriptor,
    sink: &'a mut Sink,
}

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self { field, sink } = self;
        let number = field.number();
        match field.kind() {
            Kind::Message(descriptor) => {
                sink.tag(number, 2);
                let start = sink.bytes.len();
                Message { descriptor, sink: &mut *sink }.deserialize(deserializer)?;
                sink.close(start);
                Ok(())
            }
            kind => Scalar { kind: &kind, number: Some(number), sink }.deserialize(deserializer),
        }
    }
}

/// Reads an array.
struct List<'a> {
    field: &'a FieldDescriptor,
    sink: &'a mut Sink,
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { field, sink } = self;
        let kind = field.kind();
        let packed = field.is_packed();
        let start = if packed {
            sink.tag(field.number(), 2);
            Some(sink.bytes.len())
        } else {
            None
        };
        let named = sink.path.len() - 1;
        let name = field.name();
        let mut index = 0_usize;
        loop {
            let depth = sink.depth;
            let next = if packed {
                list.next_element_seed(Scalar { kind: &kind, number: None, sink: &mut *sink })
            } else {
                list.next_element_seed(One { field, sink: &mut *sink })
            };
            match next {
                Ok(Some(())) => index += 1,
                Ok(None) => break,
                Err(error) => {
                    // Said only now: most elements are right.
                    sink.path[named] = format!("{name}[{index}]");
                    sink.depth = depth;
                    return Err(error);
                }
            }
        }
        if let Some(start) = start {
            sink.close(start);
        }
        Ok(())
    }
}

/// Reads an object as a map field: entries are messages of key 1 and value 2.
struct Map<'a> {
    field: &'a FieldDescriptor,
    sink: &'a mut Sink,
}

impl<'de> Visitor<'de> for Map<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { field, sink } = self;
        let Kind::Message(entry) = field.kind() else { return Err(A::Error::custom("is no map")) };
        let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        while let Some(name) = map.next_key::<String>()? {
            sink.tag(field.number(), 2);
            let start = sink.bytes.len();
            MapKey { kind: &key.kind(), sink: &mut *sink }.write::<A::Error>(&name)?;
            sink.path.push(name);
            map.next_value_seed(One { field: &value, sink: &mut *sink })?;
            sink.path.pop();
            sink.close(start);
        }
        Ok(())
    }
}
