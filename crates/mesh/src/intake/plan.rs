//! What fields of messages take when they are decoded, from the descriptors. It must not know any message.

use std::collections::HashMap;

use prost_reflect::{Cardinality, DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

/// A record: an object of any fields.
const RECORD: &str = "google.protobuf.Struct";
/// Pairs that the first entry of a map takes room for.
const MAP_NODE: u32 = 11;
/// Levels of messages in messages whose sizes are added up.
const DEPTH_MAX: usize = 8;

/// What is counted beside bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    Nothing,
    Records,
    Cells,
}

/// What is inside of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    /// Nothing that grows.
    Plain,
    /// A message, by its place in the plan.
    Message(u32),
    /// As many bytes as it is long.
    Bytes,
    /// Numbers: each byte on the wire takes so many, with the room that a list that grows takes.
    Packed(u32),
}

/// What a field takes each time that it comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// Bytes of the first in its message, where they are others.
    pub(super) first: u32,
    pub(super) each: u32,
    pub(super) inside: Inside,
    pub(super) counts: Counts,
}

/// Messages, and their fields by number.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    messages: Vec<HashMap<u32, Field>>,
    places: HashMap<String, u32>,
    /// Inputs of methods, by path.
    inputs: HashMap<String, u32>,
    /// Names of lists of records, by message and number.
    lists: HashMap<(u32, u32), String>,
}

impl Plan {
    /// Of all methods of these descriptors.
    pub(crate) fn new(pool: &DescriptorPool) -> Self {
        let mut plan = Self::default();
        for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            let place = plan.place(&method.input());
            plan.inputs.insert(path, place);
        }
        plan
    }

    /// The input of a method.
    pub(crate) fn input(&self, path: &str) -> Option<u32> {
        self.inputs.get(path).copied()
    }

    /// The name of a list of records.
    pub(super) fn list(&self, message: u32, number: u32) -> &str {
        self.lists.get(&(message, number)).map_or("request", String::as_str)
    }

    pub(super) fn field(&self, message: u32, number: u32) -> Option<Field> {
        self.messages.get(message as usize)?.get(&number).copied()
    }

    fn place(&mut self, message: &MessageDescriptor) -> u32 {
        if let Some(place) = self.places.get(message.full_name()) {
            return *place;
        }
        let place = self.messages.len() as u32;
        self.places.insert(message.full_name().to_owned(), place);
        self.messages.push(HashMap::new());
        let is_record = message.full_name() == RECORD;
        for field in message.fields() {
            let known = self.describe(&field, is_record);
            if known.counts == Counts::Records {
                self.lists.insert((place, field.number()), field.name().to_owned());
            }
            self.messages[place as usize].insert(field.number(), known);
        }
        place
    }

    fn describe(&mut self, field: &FieldDescriptor, of_record: bool) -> Field {
        let size = slot(field, 0);
        let repeated = field.cardinality() == Cardinality::Repeated;
        let inside = match field.kind() {
            Kind::Message(message) => Inside::Message(self.place(&message)),
            Kind::String | Kind::Bytes => Inside::Bytes,
            kind if repeated => Inside::Packed(packed(&kind)),
            _ => Inside::Plain,
        };
        let counts = match field.kind() {
            Kind::Message(message) if repeated && message.full_name() == RECORD => Counts::Records,
            _ if of_record => Counts::Cells,
            _ => Counts::Nothing,
        };
        let (first, each) = if field.is_map() {
            (MAP_NODE * size + 16, 2 * size)
        } else if repeated {
            // Lists double when they are full.
            (8 * size, 2 * size)
        } else {
            (0, 0)
        };
        Field { first, each, inside, counts }
    }
}

/// Bytes that one byte of packed numbers takes; lists double when they are full.
fn packed(kind: &Kind) -> u32 {
    use Kind::{Bool, Double, Enum, Fixed32, Fixed64, Float, Int32, Sfixed32, Sfixed64, Sint32, Uint32};
    match kind {
        Double | Fixed64 | Sfixed64 | Float | Fixed32 | Sfixed32 | Bool => 2,
        Enum(_) | Int32 | Sint32 | Uint32 => 8,
        _ => 16,
    }
}

/// Bytes of one value of a field.
fn slot(field: &FieldDescriptor, depth: usize) -> u32 {
    match field.kind() {
        Kind::Message(message) => size_of(&message, depth + 1),
        Kind::String | Kind::Bytes => 32,
        _ => 8,
    }
}

/// Bytes of a message, about.
fn size_of(message: &MessageDescriptor, depth: usize) -> u32 {
    if depth > DEPTH_MAX {
        return 8;
    }
    let of = |field: FieldDescriptor| match field.cardinality() {
        Cardinality::Repeated => 24,
        _ => slot(&field, depth) + 8,
    };
    // Those of a choice share their room.
    let alone: u32 = message.fields().filter(|field| field.containing_oneof().is_none()).map(of).sum();
    let chosen: u32 = message.oneofs().map(|choice| choice.fields().map(of).max().unwrap_or(0)).sum();
    (alone + chosen).max(8)
}
