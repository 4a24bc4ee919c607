//! Cells of another kind than their field's: they are invalid, and the call goes on without them. A part of the service.

use std::collections::BTreeMap;

use acgs_columns::{Kind, Schema};
use acgs_vocabulary::{
    convert::{batch::TEXT_BYTES_MAX, rows::CALL_ROWS_MAX},
    text::parse_rfc3339,
};
use prost_types::{Struct, Value, value};

use crate::pane::{EXAMPLES_MAX, Example, QualityPane, written};

/// Largest whole number that a JSON number holds.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
/// Longest value of an example, in characters.
const EXAMPLE_CHARS_MAX: usize = 40;

/// Cells of one field that are of another kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Misfits {
    count: u64,
    examples: Vec<Example>,
}

/// What a value is, as far as JSON tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Number,
    Text,
    Boolean,
    Other,
}

fn said(value: &Value) -> Option<Said> {
    match value.kind.as_ref()? {
        value::Kind::NullValue(_) => None,
        value::Kind::NumberValue(_) => Some(Said::Number),
        value::Kind::StringValue(_) => Some(Said::Text),
        value::Kind::BoolValue(_) => Some(Said::Boolean),
        value::Kind::StructValue(_) | value::Kind::ListValue(_) => Some(Said::Other),
    }
}

fn fits(value: &Value, kind: Kind) -> bool {
    match (&value.kind, kind) {
        (None | Some(value::Kind::NullValue(_)), _)
        | (Some(value::Kind::NumberValue(_)), Kind::Double)
        | (Some(value::Kind::BoolValue(_)), Kind::Boolean) => true,
        (Some(value::Kind::NumberValue(number)), Kind::Int64 | Kind::Timestamp) => {
            number.fract() == 0.0 && number.abs() <= WHOLE_MAX
        }
        (Some(value::Kind::StringValue(text)), Kind::Text) => text.len() <= TEXT_BYTES_MAX,
        (Some(value::Kind::StringValue(text)), Kind::Timestamp) => parse_rfc3339(text).is_some(),
        _ => false,
    }
}

/// Takes cells that do not fit a schema out of records; by field.
pub(super) fn take_misfits(data: &mut [Struct], schema: &Schema) -> BTreeMap<String, Misfits> {
    take(data, &|name, value| {
        schema.index_of(name).is_none_or(|place| fits(value, schema.fields()[place].kind))
    })
}

/// The same where no schema says what fields are: each is what most of its values are, the event time a time.
pub(super) fn take_odd(data: &mut [Struct], timestamp: Option<&str>) -> BTreeMap<String, Misfits> {
    // More records are refused as they are.
    if data.len() > CALL_ROWS_MAX {
        return BTreeMap::new();
    }
    let mut counts: BTreeMap<String, BTreeMap<Said, usize>> = BTreeMap::new();
    for (name, value) in data.iter().flat_map(|record| &record.fields) {
        if let Some(said) = said(value) {
            let of = match counts.get_mut(name) {
                Some(of) => of,
                None => counts.entry(name.clone()).or_default(),
            };
            *of.entry(said).or_default() += 1;
        }
    }
    let plain = |of: &BTreeMap<Said, usize>| {
        let of = of.iter().filter(|(said, _)| **said != Said::Other);
        of.max_by_key(|(_, count)| **count).map(|(said, _)| *said)
    };
    let most: BTreeMap<String, Option<Said>> =
        counts.into_iter().map(|(name, of)| (name, plain(&of))).collect();
    take(data, &|name, value| match said(value) {
        None => true,
        Some(_) if timestamp == Some(name) => fits(value, Kind::Timestamp),
        // A text that is too long is none of the field's.
        Some(Said::Text) => most.get(name) == Some(&Some(Said::Text)) && fits(value, Kind::Text),
        said => most.get(name) == Some(&said),
    })
}

fn take(data: &mut [Struct], fits: &dyn Fn(&str, &Value) -> bool) -> BTreeMap<String, Misfits> {
    let mut found: BTreeMap<String, Misfits> = BTreeMap::new();
    for (row, record) in data.iter_mut().enumerate() {
        for (name, value) in &mut record.fields {
            if fits(name, value) {
                continue;
            }
            let misfits = found.entry(name.clone()).or_default();
            misfits.count += 1;
            if misfits.examples.len() < EXAMPLES_MAX {
                misfits.examples.push(Example { row: row.to_string(), value: shown(value) });
            }
            value.kind = None;
        }
    }
    found
}

fn shown(value: &Value) -> String {
    let text = match &value.kind {
        None | Some(value::Kind::NullValue(_)) => String::new(),
        Some(value::Kind::NumberValue(number)) => written(*number),
        Some(value::Kind::StringValue(text)) => format!("{text:?}"),
        Some(value::Kind::BoolValue(value)) => value.to_string(),
        Some(value::Kind::StructValue(_)) => "an object".to_owned(),
        Some(value::Kind::ListValue(_)) => "a list".to_owned(),
    };
    text.chars().take(EXAMPLE_CHARS_MAX).collect()
}

/// Counts what was taken out in the columns that it was taken from.
pub(super) fn count(misfits: &BTreeMap<String, Misfits>, schema: &Schema, pane: &mut QualityPane) {
    for (name, misfits) in misfits {
        if let Some(column) = schema.index_of(name).and_then(|place| pane.columns.get_mut(place)) {
            column.soundness.misfit(misfits.count);
            let room = EXAMPLES_MAX.saturating_sub(column.examples.len());
            column.examples.extend(misfits.examples.iter().take(room).cloned());
        }
    }
}
