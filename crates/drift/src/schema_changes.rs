//! Columns that are not what the reference had: certain, without any test. It must not know rows.

use acgs_columns::{Field, Kind, Schema};
use acgs_reference::{Reference, counts::PaneCounts, places::Places, reference::is_judged};

/// Most changes that are told.
const CHANGES_MAX: usize = 100;

/// How a column differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The rows lack it.
    Missing,
    /// The reference lacks it.
    New,
    /// It is of another kind.
    Retyped,
    /// Likely there under another name.
    Renamed,
    /// No row has a value.
    AllNull,
}

impl ChangeKind {
    /// In words, after the column's name.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Missing => "is missing",
            Self::New => "is new",
            Self::Retyped => "is of another kind",
            Self::Renamed => "is likely renamed",
            Self::AllNull => "has no value in any row",
        }
    }
}

/// A column that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaChange {
    /// The column.
    pub field: String,
    /// How.
    pub kind: ChangeKind,
    /// Kinds or names, in words.
    pub detail: String,
}

fn change(field: &str, kind: ChangeKind, detail: String) -> SchemaChange {
    SchemaChange { field: field.to_owned(), kind, detail }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Double => "DOUBLE",
        Kind::Int64 => "INT64",
        Kind::Text => "STRING",
        Kind::Boolean => "BOOLEAN",
        Kind::Timestamp => "TIMESTAMP",
    }
}

/// A name without what people change in names.
fn bare(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// What a schema lacks, has anew, or has as another kind.
#[must_use]
pub fn of_schema(reference: &Reference, places: &Places, schema: &Schema) -> Vec<SchemaChange> {
    let known = |name: &str| {
        reference.features.iter().any(|feature| feature.field.name == name)
            || reference.empty_fields.iter().any(|field| field.name == name)
    };
    let mut new: Vec<&Field> =
        schema.fields().iter().filter(|field| is_judged(field) && !known(&field.name)).collect();
    let mut changes = Vec::new();
    let absent = reference.features.iter().enumerate().filter(|(place, _)| !places.has(*place));
    for feature in absent.map(|(_, feature)| feature) {
        let Field { name, kind, role, .. } = &feature.field;
        if let Some(at) = schema.index_of(name) {
            let now = schema.fields()[at].kind;
            changes.push(change(name, ChangeKind::Retyped, format!("was {}, is {}", word(*kind), word(now))));
            continue;
        }
        let alike = |field: &&&Field| field.kind == *kind && field.role == *role;
        let named = new.iter().position(|field| alike(&field) && bare(&field.name) == bare(name));
        match named {
            Some(at) => {
                let now = new.remove(at);
                changes.push(change(name, ChangeKind::Renamed, format!("likely {} now", now.name)));
            }
            None => changes.push(change(name, ChangeKind::Missing, format!("was {}", word(*kind)))),
        }
    }
    // One column gone and one of its kind come is likely one renamed.
    let gone: Vec<usize> = changes
        .iter()
        .enumerate()
        .filter(|(_, change)| change.kind == ChangeKind::Missing)
        .map(|(place, _)| place)
        .collect();
    if let ([gone], [come]) = (&gone[..], &new[..])
        && changes[*gone].detail == format!("was {}", word(come.kind))
    {
        changes[*gone].kind = ChangeKind::Renamed;
        changes[*gone].detail = format!("perhaps {} now", come.name);
        new.clear();
    }
    let lacks = |(place, _): &(usize, &Field)| !places.has_empty(*place);
    changes.extend(reference.empty_fields.iter().enumerate().filter(lacks).map(|(_, field)| {
        change(&field.name, ChangeKind::Missing, "had no value in the reference".to_owned())
    }));
    changes.extend(
        new.iter().map(|field| change(&field.name, ChangeKind::New, format!("is {}", word(field.kind)))),
    );
    changes.truncate(CHANGES_MAX);
    changes
}

/// All that differs in these rows.
#[must_use]
pub fn of_rows(
    reference: &Reference,
    places: &Places,
    schema: &Schema,
    pane: &PaneCounts,
) -> Vec<SchemaChange> {
    let mut changes = of_schema(reference, places, schema);
    changes.extend(of_values(reference, places, pane));
    changes
}

/// Columns that have lost all their values, or had none and have some now.
#[must_use]
pub fn of_values(reference: &Reference, places: &Places, pane: &PaneCounts) -> Vec<SchemaChange> {
    let mut changes = all_null(reference, places, pane);
    let came = reference.empty_fields.iter().zip(&pane.came).filter(|(_, rows)| **rows > 0);
    changes.extend(came.take(CHANGES_MAX).map(|(field, rows)| {
        let share = 100.0 * *rows as f64 / pane.row_count.max(1) as f64;
        let detail = format!("had no value in the reference, has one in {share:.1} % of rows");
        change(&field.name, ChangeKind::New, detail)
    }));
    changes
}

/// Columns that are there and have no value in any row, though the reference had.
fn all_null(reference: &Reference, places: &Places, pane: &PaneCounts) -> Vec<SchemaChange> {
    let features = reference.features.iter().zip(&pane.features).enumerate();
    features
        .filter(|(place, (feature, counts))| {
            places.has(*place) && pane.row_count > 0 && counts.present() == 0 && feature.present() > 0
        })
        .map(|(_, (feature, _))| {
            let nulls = feature.null_count as f64 / (feature.null_count + feature.present()) as f64;
            let detail = format!("{:.1} % of the reference's rows are null", 100.0 * nulls);
            change(&feature.field.name, ChangeKind::AllNull, detail)
        })
        .take(CHANGES_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use acgs_columns::{Cell, Role, builder::BatchBuilder};
    use acgs_reference::freeze;

    use super::*;

    fn field(name: &str, kind: Kind) -> Field {
        Field::new(name, kind, Role::Feature)
    }

    fn changes(then: &[(&str, Kind)], now: &[(&str, Kind)]) -> Vec<(String, ChangeKind)> {
        let schema = |of: &[(&str, Kind)]| {
            Schema::new(of.iter().map(|(name, kind)| field(name, *kind)).collect()).unwrap()
        };
        let before = Arc::new(schema(then));
        let mut builder = BatchBuilder::new(Arc::clone(&before));
        for row in 0..20 {
            let cells: Vec<Cell<'_>> = then
                .iter()
                .map(
                    |(_, kind)| {
                        if *kind == Kind::Text { Cell::Text("a") } else { Cell::Number(f64::from(row)) }
                    },
                )
                .collect();
            builder.push(&cells).unwrap();
        }
        let reference = freeze(&before, &[builder.finish().unwrap()], 0);
        let now = schema(now);
        let places = Places::new(&reference, &now);
        of_schema(&reference, &places, &now).into_iter().map(|change| (change.field, change.kind)).collect()
    }

    #[test]
    fn what_is_gone_new_renamed_or_of_another_kind_is_told() {
        use ChangeKind::{Missing, New, Renamed, Retyped};
        let (double, text) = (Kind::Double, Kind::Text);
        let told = |found: &[(&str, ChangeKind)]| -> Vec<(String, ChangeKind)> {
            found.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect()
        };
        let then = [("age", double), ("Net-Income", double), ("city", text)];
        assert_eq!(changes(&then, &then), told(&[]));
        let integers = [("age", Kind::Int64), ("Net-Income", double), ("city", text)];
        assert_eq!(changes(&then, &integers), told(&[]), "numbers are numbers");
        let now = [("age", text), ("net_income", double), ("city", text), ("extra", double)];
        assert_eq!(changes(&then, &now), told(&[("age", Retyped), ("Net-Income", Renamed), ("extra", New)]));
        assert_eq!(changes(&then, &then[..2]), told(&[("city", Missing)]));
        let now = [("years", double), ("Net-Income", double), ("city", text)];
        assert_eq!(changes(&then, &now), told(&[("age", Renamed)]), "one gone, one of its kind come");
        let now = [("a", double), ("b", double), ("c", text)];
        assert_eq!(
            changes(&then, &now),
            told(&[
                ("age", Missing),
                ("Net-Income", Missing),
                ("city", Missing),
                ("a", New),
                ("b", New),
                ("c", New)
            ])
        );
    }

    #[test]
    fn a_column_without_values_then_is_told_when_it_has_some_and_not_before() {
        let fields = [field("x", Kind::Double), field("empty", Kind::Text)];
        let schema = Arc::new(Schema::new(fields.to_vec()).unwrap());
        let rows = |schema: &Arc<Schema>, second: Cell<'_>| {
            let mut builder = BatchBuilder::new(Arc::clone(schema));
            (0..20).for_each(|row| builder.push(&[Cell::Number(f64::from(row)), second]).unwrap());
            builder.finish().unwrap()
        };
        let reference = freeze(&schema, &[rows(&schema, Cell::Null)], 0);
        assert_eq!((reference.features.len(), reference.empty_fields.len()), (1, 1));
        let told = |schema: &Arc<Schema>, second: Cell<'_>| {
            let places = Places::new(&reference, schema);
            let mut pane = PaneCounts::new(&reference);
            pane.push_at(&reference, &places, &rows(schema, second));
            of_rows(&reference, &places, schema, &pane)
        };
        assert_eq!(told(&schema, Cell::Null), []);
        let came = told(&schema, Cell::Text("a"));
        assert_eq!(came.len(), 1);
        assert_eq!((came[0].field.as_str(), came[0].kind), ("empty", ChangeKind::New));
        assert!(came[0].detail.contains("100.0 % of rows"), "{}", came[0].detail);
        // What never had a value has no kind that could change.
        let numbers =
            Arc::new(Schema::new(vec![field("x", Kind::Double), field("empty", Kind::Double)]).unwrap());
        assert_eq!(told(&numbers, Cell::Null), []);
        assert_eq!(told(&numbers, Cell::Number(1.0))[0].kind, ChangeKind::New);
    }
}
