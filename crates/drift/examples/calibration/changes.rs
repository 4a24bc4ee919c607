//! What changes, from one window to the next. It must not know what is said of it.

use std::sync::Arc;

use acgs_columns::{Bitmap, Column, RecordBatch, Schema, Values};
use acgs_statistics::draws::Draws;

use crate::data::Law;

/// A change of the first feature, which the others do not share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    /// So many standard deviations more.
    Shift(f64),
    /// Times this.
    Scale(f64),
    /// Always one value.
    Stuck,
    /// So many of a hundred are null.
    Nulls(u32),
    /// The column is not there.
    Gone,
    /// A category of this share, in percent, has twice of it; the others give way.
    Doubled(u32),
    /// So many of a hundred are of a category that there was not.
    Come(u32),
    /// So many of 60 categories have other names.
    Renamed(u32),
    /// The first two features are correlated so much, and were not.
    Correlated(f64),
}

impl Change {
    /// What it is done to.
    pub(crate) fn law(self) -> Law {
        match self {
            Self::Doubled(share) => Law::Uniform(u64::from(100 / share)),
            Self::Come(_) => Law::Uniform(20),
            Self::Renamed(_) => Law::Uniform(60),
            _ => Law::Normal,
        }
    }

    /// How large it is, in tolerances; `None` for what vanishes.
    pub(crate) fn in_tolerances(self) -> Option<f64> {
        let rate = |percent: u32| 2.0 * (f64::from(percent) / 100.0).sqrt().asin() / 0.1;
        match self {
            Self::Shift(deviations) => Some(deviations / 0.1),
            // The mean absolute value of a standard normal number.
            Self::Scale(by) => Some((by - 1.0).abs() * 0.798 / 0.1),
            Self::Nulls(percent) if percent < 100 => Some(rate(percent)),
            Self::Doubled(share) => Some(f64::from(share) / 100.0 / 0.05),
            Self::Come(percent) => Some(rate(percent)),
            Self::Correlated(by) => Some(by / 0.25),
            Self::Stuck | Self::Nulls(_) | Self::Gone | Self::Renamed(_) => None,
        }
    }

    /// The schema and rows after it.
    pub(crate) fn apply(self, rows: &RecordBatch, draws: &mut Draws) -> RecordBatch {
        let mut columns = rows.columns().to_vec();
        let mut schema = Arc::clone(rows.schema());
        match self {
            Self::Shift(by) => columns[1] = numbers(&columns[1], |value| value + by),
            Self::Scale(by) => columns[1] = numbers(&columns[1], |value| value * by),
            Self::Stuck => columns[1] = numbers(&columns[1], |_| 0.25),
            Self::Nulls(percent) => {
                let valid: Vec<bool> =
                    (0..rows.rows()).map(|_| draws.unit() >= f64::from(percent) / 100.0).collect();
                columns[1].validity = Some(Bitmap::from_bits(valid.into_iter()));
            }
            Self::Gone => {
                columns.remove(1);
                let mut fields = schema.fields().to_vec();
                fields.remove(1);
                schema = Arc::new(Schema::new(fields).expect("sound fields"));
            }
            Self::Doubled(share) => {
                let share = f64::from(share) / 100.0;
                // As many of the others become the first as it takes.
                let taken = share / (1.0 - share);
                columns[1] =
                    categories(&columns[1], |code| if code != 0 && draws.unit() < taken { 0 } else { code });
            }
            Self::Come(percent) => {
                let share = f64::from(percent) / 100.0;
                columns[1] =
                    categories(&columns[1], |code| if draws.unit() < share { u32::MAX } else { code });
            }
            Self::Correlated(by) => {
                let other = columns[2].clone();
                let own = (1.0 - by * by).sqrt();
                let mut row = 0;
                columns[1] = numbers(&columns[1], |value| {
                    row += 1;
                    own * value + by * other.number(row - 1).unwrap_or(0.0)
                });
            }
            Self::Renamed(count) => {
                columns[1] =
                    categories(&columns[1], |code| if code < count { u32::MAX - code } else { code });
            }
        }
        RecordBatch::new(schema, rows.rows(), columns).expect("sound columns")
    }
}

fn numbers(column: &Column, mut of: impl FnMut(f64) -> f64) -> Column {
    let Values::Double(values) = &column.values else { return column.clone() };
    let values: Vec<f64> = values.iter().map(|value| of(*value)).collect();
    Column { values: Values::Double(values.into()), validity: None }
}

/// Codes of categories made others; those beyond the dictionary are new names.
fn categories(column: &Column, mut of: impl FnMut(u32) -> u32) -> Column {
    let Values::Text { codes, dictionary } = &column.values else { return column.clone() };
    let mut names: Vec<Arc<str>> = dictionary.to_vec();
    let known = names.len() as u32;
    let mut new: Vec<u32> = Vec::new();
    let codes: Vec<u32> = codes
        .iter()
        .map(|code| {
            let code = of(*code);
            if code < known {
                return code;
            }
            let place = new.iter().position(|one| *one == code).unwrap_or_else(|| {
                new.push(code);
                names.push(Arc::from(format!("new {code}")));
                new.len() - 1
            });
            known + place as u32
        })
        .collect();
    Column { values: Values::Text { codes: codes.into(), dictionary: names.into() }, validity: None }
}
