//! Which columns each judge gets: all for quality, the model's own for drift, roles for performance. Columns are
//! shared, not copied. It must not know what judges do with them.

use std::sync::Arc;

use acgs_columns::{Bitmap, Column, Field, Kind, RecordBatch, Role, Schema, Values, schema::SchemaError};
use acgs_vocabulary::JudgeKind;

/// The columns of one judge's lane.
#[derive(Clone, Debug)]
pub struct Projection {
    /// The lane's schema.
    pub schema: Arc<Schema>,
    columns: Vec<Source>,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Column(usize),
    /// Labels that come late are null in rows.
    Null(Kind),
}

impl Projection {
    /// For a judge of a stream's rows; `late_label` is the label field when labels come late.
    ///
    /// # Errors
    /// When the late label's name is another field's.
    pub fn new(judge: JudgeKind, rows: &Schema, late_label: Option<&Field>) -> Result<Self, SchemaError> {
        let labelled = late_label.is_some() || rows.index_of_role(Role::Label).is_some();
        let wanted = |field: &Field| match judge {
            JudgeKind::Quality => true,
            // Event times say which phase of a season rows are of.
            JudgeKind::Drift => {
                matches!(field.role, Role::Feature | Role::Score | Role::Prediction | Role::Timestamp)
            }
            // Losses have seasons, too.
            JudgeKind::Performance if field.role == Role::Timestamp => labelled,
            JudgeKind::Performance => {
                field.slice && labelled
                    || matches!(
                        field.role,
                        Role::Score | Role::Prediction | Role::Label | Role::Latency | Role::Error
                    )
            }
        };
        let mut fields = Vec::new();
        let mut columns = Vec::new();
        for (index, field) in rows.fields().iter().enumerate().filter(|(_, field)| wanted(field)) {
            fields.push(field.clone());
            columns.push(Source::Column(index));
        }
        if let Some(label) = late_label.filter(|_| judge == JudgeKind::Performance)
            && rows.index_of_role(Role::Label).is_none()
        {
            fields.push(label.clone());
            columns.push(Source::Null(label.kind));
        }
        if fields.is_empty() {
            // A lane has at least one column; the judge will say that it has nothing to judge.
            fields.push(rows.fields()[0].clone());
            columns.push(Source::Column(0));
        }
        Ok(Self { schema: Arc::new(Schema::new(fields)?), columns })
    }

    /// The judge's columns of a batch.
    #[must_use]
    pub fn apply(&self, batch: &RecordBatch) -> Option<RecordBatch> {
        let column = |source: &Source| match source {
            Source::Column(index) => batch.columns()[*index].clone(),
            Source::Null(kind) => null_column(*kind, batch.rows()),
        };
        let columns = self.columns.iter().map(column).collect();
        let projected = RecordBatch::new(Arc::clone(&self.schema), batch.rows(), columns).ok()?;
        let places = self.columns.iter().filter_map(|source| match source {
            Source::Column(index) => Some(*index),
            Source::Null(_) => None,
        });
        Some(projected.keeping_with(batch, places))
    }
}

fn null_column(kind: Kind, rows: usize) -> Column {
    let none = || Bitmap::from_bits(std::iter::repeat_n(false, rows));
    let values = match kind {
        Kind::Double => Values::Double(vec![0.0; rows].into()),
        Kind::Int64 | Kind::Timestamp => Values::Integer(vec![0; rows].into()),
        Kind::Boolean => Values::Boolean(none()),
        Kind::Text => Values::Text { codes: vec![0; rows].into(), dictionary: Arc::from([Arc::from("")]) },
    };
    Column { values, validity: Some(none()) }
}
