//! The finite numbers of a column, dense. It must not know what is done with them.

use std::borrow::Cow;

use crate::batch::{Column, Values};

/// The numbers of a column without nulls and without NaN or infinities.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers<'a> {
    /// Finite values in row order; borrowed when the column has nothing else.
    pub finite: Cow<'a, [f64]>,
    /// Rows that are null.
    pub null_count: usize,
    /// Rows that are NaN or infinite.
    pub not_finite_count: usize,
}

/// The numbers of a column of doubles, integers or booleans; `None` for text.
#[must_use]
pub fn numbers(column: &Column) -> Option<Numbers<'_>> {
    let null_count = column.null_count();
    let finite: Cow<'_, [f64]> = match &column.values {
        Values::Text { .. } => return None,
        Values::Double(values) if null_count == 0 => {
            if values.iter().all(|value| value.is_finite()) {
                Cow::Borrowed(values)
            } else {
                Cow::Owned(values.iter().copied().filter(|value| value.is_finite()).collect())
            }
        }
        Values::Double(values) => {
            let present =
                values.iter().enumerate().filter(|(row, value)| value.is_finite() && column.is_valid(*row));
            Cow::Owned(present.map(|(_, value)| *value).collect())
        }
        #[expect(clippy::cast_precision_loss, reason = "integers are judged as doubles")]
        Values::Integer(values) if null_count == 0 => {
            Cow::Owned(values.iter().map(|value| *value as f64).collect())
        }
        Values::Integer(values) => {
            Cow::Owned((0..values.len()).filter_map(|row| column.number(row)).collect())
        }
        Values::Boolean(bits) => Cow::Owned((0..bits.len()).filter_map(|row| column.number(row)).collect()),
    };
    let rows = match &column.values {
        Values::Double(values) => values.len(),
        Values::Integer(values) => values.len(),
        Values::Boolean(bits) => bits.len(),
        Values::Text { codes, .. } => codes.len(),
    };
    let not_finite_count = rows - null_count - finite.len();
    Some(Numbers { finite, null_count, not_finite_count })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Bitmap;

    #[test]
    fn nulls_and_not_finite_numbers_are_counted_apart() {
        let values = Values::Double(vec![1.0, f64::NAN, 3.0, f64::INFINITY, 5.0].into());
        let validity = Some(Bitmap::from_bits([true, true, true, true, false].into_iter()));
        let column = Column { values: values.clone(), validity };
        let found = numbers(&column).unwrap();
        assert_eq!((&*found.finite, found.null_count, found.not_finite_count), (&[1.0, 3.0][..], 1, 2));
        let column = Column { values, validity: None };
        assert_eq!(numbers(&column).unwrap().not_finite_count, 2);
    }
}
