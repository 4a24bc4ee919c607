//! Labels, and rows that wait for them. It must not know what becomes of them.

use std::sync::Arc;

use acgs_columns::{
    Cell, Column, Field, Kind, OwnedCell, RecordBatch, RecordId, Role, Schema,
    labels::{Coding, class},
};

/// Longest value by which losses are told, in bytes.
const SLICE_BYTES_MAX: usize = 64;

/// A label with what it labels; `None` where the sender left it out.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// The record.
    pub id: Option<RecordId>,
    /// The truth.
    pub value: OwnedCell,
}

impl Label {
    /// The same as the rows have ids and labels: an id of another kind names the same record, and a value that says the same is the same label.
    /// `None` where there is no such id or value; nobody's label is used up by it.
    pub(super) fn of_kinds(self, id_kind: Kind, label_kind: Kind) -> Option<(RecordId, OwnedCell)> {
        let id = match (self.id?, id_kind) {
            (RecordId::Integer(id), Kind::Text) => RecordId::Text(id.to_string().into()),
            (RecordId::Text(id), Kind::Int64) => RecordId::Integer(id.trim().parse().ok()?),
            (id, _) => id,
        };
        Some((id, value_of_kind(self.value, label_kind)?))
    }
}

/// A label's value in another kind; `None` where that kind cannot say it.
pub(crate) fn value_of_kind(value: OwnedCell, kind: Kind) -> Option<OwnedCell> {
    let number = |value: f64| value.is_finite().then_some(value);
    match (value, kind) {
        (OwnedCell::Null, _) => None,
        (OwnedCell::Number(value), Kind::Double) => number(value).map(OwnedCell::Number),
        (OwnedCell::Number(value), Kind::Int64 | Kind::Timestamp) => {
            (value.fract() == 0.0 && value.abs() < 2_f64.powi(53)).then_some(OwnedCell::Integer(value as i64))
        }
        (OwnedCell::Number(value), Kind::Text) => {
            number(value).map(|value| OwnedCell::Text(value.to_string().into()))
        }
        (OwnedCell::Number(value), Kind::Boolean) => yes_or_no(&value.to_string()).map(OwnedCell::Boolean),
        (OwnedCell::Integer(value), Kind::Boolean) => yes_or_no(&value.to_string()).map(OwnedCell::Boolean),
        (OwnedCell::Integer(value), Kind::Text) => Some(OwnedCell::Text(value.to_string().into())),
        (OwnedCell::Boolean(value), Kind::Double | Kind::Int64 | Kind::Timestamp) => {
            Some(OwnedCell::Integer(i64::from(value)))
        }
        (OwnedCell::Boolean(value), Kind::Text) => Some(OwnedCell::Text(value.to_string().into())),
        (OwnedCell::Text(text), Kind::Double | Kind::Int64 | Kind::Timestamp) => match text.trim().parse() {
            Ok(value) => value_of_kind(OwnedCell::Number(value), kind),
            Err(_) => yes_or_no(&text).map(|yes| OwnedCell::Integer(i64::from(yes))),
        },
        // Of a number nobody knows whether a one is a yes: it may be a no beside twos.
        (OwnedCell::Text(text), Kind::Boolean) if text.trim().parse::<f64>().is_ok() => None,
        (OwnedCell::Text(text), Kind::Boolean) => yes_or_no(&text).map(OwnedCell::Boolean),
        (value, _) => Some(value),
    }
}

/// What words and codes of yes and no say; a two is neither beside labels that are true or false.
fn yes_or_no(text: &str) -> Option<bool> {
    class(Cell::Text(text))?.is_yes(Coding::OneIsYes)
}

/// A row that waits for its label.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Waiting {
    pub(super) key: Arc<str>,
    pub(super) time_ms: i64,
    /// Start of the first window that the row is in.
    pub(super) first_start_ms: i64,
    pub(super) carried: Carried,
}

/// The columns that a row takes with it: what the model says, and by whose values losses are told.
#[derive(Debug)]
pub(super) struct CarriedPlaces {
    score: Option<usize>,
    prediction: Option<usize>,
    /// All of them in order, where there are others than these two.
    many: Box<[usize]>,
}

impl CarriedPlaces {
    pub(super) fn of(schema: &Schema) -> Self {
        let fields = schema.fields().iter().enumerate();
        let all: Box<[usize]> =
            fields.filter(|(_, field)| is_carried(field)).map(|(place, _)| place).collect();
        let (score, prediction) = (schema.index_of_role(Role::Score), schema.index_of_role(Role::Prediction));
        let are_usual = all.iter().all(|place| [score, prediction].contains(&Some(*place)));
        Self { score, prediction, many: if are_usual { Box::default() } else { all } }
    }
}

/// Whether a row that waits for its label takes a field with it.
pub(super) fn is_carried(field: &Field) -> bool {
    matches!(field.role, Role::Score | Role::Prediction) || field.slice
}

/// Cells that a row takes with it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Carried {
    /// A score and a prediction, where there are.
    Usual { score: OwnedCell, prediction: OwnedCell },
    /// All of them, in the order of the schema.
    Many(Box<[OwnedCell]>),
}

impl Carried {
    /// Of a row.
    pub(super) fn of(places: &CarriedPlaces, columns: &[Column], row: usize) -> Self {
        let of = |place: usize| OwnedCell::of(&columns[place], row);
        if places.many.is_empty() {
            let cell = |place: Option<usize>| place.map_or(OwnedCell::Null, of);
            return Self::Usual { score: cell(places.score), prediction: cell(places.prediction) };
        }
        // Longer values are counted with the others anyway.
        let short = |cell: OwnedCell| match &cell {
            OwnedCell::Text(text) if text.len() > SLICE_BYTES_MAX => OwnedCell::Null,
            _ => cell,
        };
        let cell = |place: &usize| {
            let is_output = [places.score, places.prediction].contains(&Some(*place));
            if is_output { of(*place) } else { short(of(*place)) }
        };
        Self::Many(places.many.iter().map(cell).collect())
    }

    /// The cell of a field that is carried, the `number`th of them.
    pub(super) fn cell(&self, field: &Field, number: usize) -> Cell<'_> {
        match (self, field.role) {
            (Self::Usual { score, .. }, Role::Score) => score.cell(),
            (Self::Usual { prediction, .. }, _) => prediction.cell(),
            (Self::Many(cells), _) => cells.get(number).map_or(Cell::Null, OwnedCell::cell),
        }
    }
}

impl Waiting {
    /// Bytes that a row of such a stream holds beside itself, about.
    pub(super) fn heap_bytes(schema: &Schema) -> usize {
        let texts = schema.fields().iter().filter(|field| is_carried(field) && field.kind == Kind::Text);
        // A dictionary is shared by the rows of a frame, which may be one.
        let text_bytes = texts.count() * SLICE_BYTES_MAX;
        CarriedPlaces::of(schema).many.len() * size_of::<OwnedCell>() + text_bytes
    }
}

/// A row with the label that was found for it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) waiting: Waiting,
    pub(super) value: OwnedCell,
    /// The label that it had before, where this one corrects it.
    pub(super) before: Option<OwnedCell>,
}

/// What became of some labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LabelCounts {
    /// Found their row.
    pub matched: u64,
    /// Wait for it.
    pub waiting: u64,
    /// Stand for another one that was given before.
    pub corrected: u64,
    /// Too late, twice, or without id or value.
    pub dropped: u64,
}

/// Labels of a batch, by the roles of its schema.
#[must_use]
pub fn labels(schema: &Schema, batch: &RecordBatch) -> Vec<Label> {
    let column = |role| schema.index_of_role(role).map(|index| &batch.columns()[index]);
    let (id, label) = (column(Role::Id), column(Role::Label));
    let of = |row| Label {
        id: id.and_then(|column| RecordId::of(column, row)),
        value: label.map_or(OwnedCell::Null, |column| OwnedCell::of(column, row)),
    };
    (0..batch.rows()).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_taken_as_the_rows_have_them() {
        let text = |text: &str| OwnedCell::Text(text.into());
        let of = |value: OwnedCell, kind| value_of_kind(value, kind);
        assert_eq!(of(text("yes"), Kind::Double), Some(OwnedCell::Integer(1)));
        assert_eq!(of(text(" -1.0"), Kind::Double), Some(OwnedCell::Number(-1.0)));
        assert_eq!(of(text("2"), Kind::Int64), Some(OwnedCell::Integer(2)));
        assert_eq!(of(text("False"), Kind::Boolean), Some(OwnedCell::Boolean(false)));
        assert_eq!(of(OwnedCell::Integer(-1), Kind::Boolean), Some(OwnedCell::Boolean(false)));
        assert_eq!(of(OwnedCell::Number(1.0), Kind::Boolean), Some(OwnedCell::Boolean(true)));
        assert_eq!(of(OwnedCell::Boolean(true), Kind::Text), Some(text("true")));
        assert_eq!(of(OwnedCell::Integer(3), Kind::Text), Some(text("3")));
        for (value, kind) in [
            (text("maybe"), Kind::Double),
            (OwnedCell::Number(0.5), Kind::Int64),
            (OwnedCell::Number(f64::NAN), Kind::Double),
            (OwnedCell::Integer(7), Kind::Boolean),
            (OwnedCell::Null, Kind::Text),
        ] {
            assert_eq!(of(value.clone(), kind), None, "{value:?}");
        }
        let label = |id| Label { id: Some(id), value: OwnedCell::Integer(1) };
        let id_of = |id, kind| label(id).of_kinds(kind, Kind::Int64).map(|(id, _)| id);
        assert_eq!(id_of(RecordId::Integer(7), Kind::Text), Some(RecordId::Text("7".into())));
        assert_eq!(id_of(RecordId::Text("7".into()), Kind::Int64), Some(RecordId::Integer(7)));
        assert_eq!(id_of(RecordId::Text("x7".into()), Kind::Int64), None);
    }
}
