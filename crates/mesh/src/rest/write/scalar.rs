//! JSON scalars to the wire: numbers also as text, 64-bit ones too, enums by name or number, bytes in base 64.

use std::fmt;

use base64::{Engine, engine::general_purpose};
use prost_reflect::Kind;
use serde::de::{DeserializeSeed, Deserializer, Error, Visitor};

use super::Sink;

/// Reads a scalar of a kind; writes it with a tag, or without one into a packed list.
pub(super) struct Scalar<'a> {
    pub(super) kind: &'a Kind,
    pub(super) number: Option<u32>,
    pub(super) sink: &'a mut Sink,
}

impl Scalar<'_> {
    fn tag(&mut self) {
        let wire_type = match self.kind {
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => 1,
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => 5,
            Kind::String | Kind::Bytes | Kind::Message(_) => 2,
            _ => 0,
        };
        if let Some(number) = self.number {
            self.sink.tag(number, wire_type);
        }
    }

    fn signed<E: Error>(&mut self, value: i64) -> Result<(), E> {
        let out = || E::custom(format!("{value} is out of range"));
        self.tag();
        match self.kind {
            Kind::Double => self.sink.bytes.extend((value as f64).to_le_bytes()),
            Kind::Float => self.sink.bytes.extend((value as f32).to_le_bytes()),
            Kind::Int32 => self.sink.varint(i64::from(i32::try_from(value).map_err(|_| out())?) as u64),
            Kind::Int64 => self.sink.varint(value as u64),
            Kind::Uint32 => self.sink.varint(u64::from(u32::try_from(value).map_err(|_| out())?)),
            Kind::Uint64 => self.sink.varint(u64::try_from(value).map_err(|_| out())?),
            Kind::Sint32 => {
                let value = i32::try_from(value).map_err(|_| out())?;
                self.sink.varint(u64::from((value << 1 ^ value >> 31) as u32));
            }
            Kind::Sint64 => self.sink.varint((value << 1 ^ value >> 63) as u64),
            Kind::Fixed32 => {
                self.sink.bytes.extend(u32::try_from(value).map_err(|_| out())?.to_le_bytes());
            }
            Kind::Sfixed32 => {
                self.sink.bytes.extend(i32::try_from(value).map_err(|_| out())?.to_le_bytes());
            }
            Kind::Fixed64 => {
                self.sink.bytes.extend(u64::try_from(value).map_err(|_| out())?.to_le_bytes());
            }
            Kind::Sfixed64 => self.sink.bytes.extend(value.to_le_bytes()),
            Kind::Enum(_) => self.sink.varint(i64::from(i32::try_from(value).map_err(|_| out())?) as u64),
            _ => return Err(E::custom("is a number")),
        }
        Ok(())
    }

    fn number<E: Error>(&mut self, value: f64) -> Result<(), E> {
        match self.kind {
            Kind::Double => {
                self.tag();
                self.sink.bytes.extend(value.to_le_bytes());
                Ok(())
            }
            Kind::Float => {
                self.tag();
                self.sink.bytes.extend((value as f32).to_le_bytes());
                Ok(())
            }
            _ if value.fract() == 0.0 && value.abs() < 9.0e15 => self.signed(value as i64),
            _ => Err(E::custom(format!("{value} is not a whole number"))),
        }
    }

    fn bytes_value(&mut self, value: &[u8]) {
        self.tag();
        self.sink.varint(value.len() as u64);
        self.sink.bytes.extend_from_slice(value);
    }

    /// A scalar from text: of a JSON string, a path or a query.
    pub(super) fn text<E: Error>(&mut self, text: &str) -> Result<(), E> {
        match self.kind {
            Kind::String => {
                self.bytes_value(text.as_bytes());
                Ok(())
            }
            Kind::Bytes => {
                let decoded = general_purpose::STANDARD
                    .decode(text)
                    .or_else(|_| general_purpose::URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')));
                self.bytes_value(&decoded.map_err(|_| E::custom("is not base 64"))?);
                Ok(())
            }
            Kind::Bool => match text {
                "true" => self.boolean(true),
                "false" => self.boolean(false),
                _ => Err(E::custom("is neither true nor false")),
            },
            Kind::Enum(names) => match names.get_value_by_name(text) {
                Some(value) => self.signed(i64::from(value.number())),
                None => match text.parse() {
                    Ok(number) => self.signed(number),
                    Err(_) => Err(E::custom(format!("{text:?} is no {}", names.name()))),
                },
            },
            Kind::Double | Kind::Float => match text {
                "NaN" => self.number(f64::NAN),
                "Infinity" => self.number(f64::INFINITY),
                "-Infinity" => self.number(f64::NEG_INFINITY),
                _ => match text.parse::<f64>() {
                    Ok(value) if value.is_finite() => self.number(value),
                    _ => Err(E::custom(format!("{text:?} is not a number"))),
                },
            },
            _ => match (text.parse::<i64>(), text.parse::<u64>()) {
                (Ok(value), _) => self.signed(value),
                (_, Ok(value)) => self.unsigned(value),
                _ => Err(E::custom(format!("{text:?} is not a whole number in range"))),
            },
        }
    }

    fn unsigned<E: Error>(&mut self, value: u64) -> Result<(), E> {
        if let Ok(value) = i64::try_from(value) {
            return self.signed(value);
        }
        match self.kind {
            Kind::Uint64 => {
                self.tag();
                self.sink.varint(value);
            }
            Kind::Fixed64 => {
                self.tag();
                self.sink.bytes.extend(value.to_le_bytes());
            }
            Kind::Double | Kind::Float => return self.number(value as f64),
            _ => return Err(E::custom(format!("{value} is out of range"))),
        }
        Ok(())
    }

    fn boolean<E: Error>(&mut self, value: bool) -> Result<(), E> {
        if !matches!(self.kind, Kind::Bool) {
            return Err(E::custom("is not true or false"));
        }
        self.tag();
        self.sink.varint(u64::from(value));
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Scalar<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scalar<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.kind {
            Kind::String => "text",
            Kind::Bytes => "text in base 64",
            Kind::Bool => "true or false",
            Kind::Enum(_) => "a name",
            _ => "a number",
        })
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<(), E> {
        self.boolean(value)
    }

    fn visit_i64<E: Error>(mut self, value: i64) -> Result<(), E> {
        match self.kind {
            Kind::String | Kind::Bytes | Kind::Bool => {
                Err(E::invalid_type(serde::de::Unexpected::Signed(value), &self))
            }
            _ => self.signed(value),
        }
    }

    fn visit_u64<E: Error>(mut self, value: u64) -> Result<(), E> {
        match self.kind {
            Kind::String | Kind::Bytes | Kind::Bool => {
                Err(E::invalid_type(serde::de::Unexpected::Unsigned(value), &self))
            }
            _ => self.unsigned(value),
        }
    }

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<(), E> {
        match self.kind {
            Kind::String | Kind::Bytes | Kind::Bool | Kind::Enum(_) => {
                Err(E::invalid_type(serde::de::Unexpected::Float(value), &self))
            }
            _ => self.number(value),
        }
    }

    fn visit_str<E: Error>(mut self, value: &str) -> Result<(), E> {
        self.text(value)
    }
}

/// Writes the key of a map's entry.
pub(super) struct MapKey<'a> {
    pub(super) kind: &'a Kind,
    pub(super) sink: &'a mut Sink,
}

impl MapKey<'_> {
    pub(super) fn write<E: Error>(self, name: &str) -> Result<(), E> {
        Scalar { kind: self.kind, number: Some(1), sink: self.sink }.text(name)
    }
}
