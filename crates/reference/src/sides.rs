//! Which pairs of numeric features there are, and rows counted by the sides of medians that they lie on, in bits. It must not know where a
//! reference is kept.

use acgs_columns::{Column, RecordBatch, Values};

use crate::{
    pairs::{FEATURES_MAX, PairCounts, Pairs},
    places::Places,
    reference::{FeatureReference, Shape},
};

/// Which rows have a value, and which of them one above a median.
struct Sides {
    valid: Vec<u64>,
    above: Vec<u64>,
}

impl Sides {
    fn of(column: &Column, rows: usize, median: f64) -> Self {
        match &column.values {
            Values::Double(values) if column.null_count() == 0 => {
                Self::of_numbers(values.iter().copied(), median)
            }
            // What is null is on no side, as what is no number.
            _ => Self::of_numbers((0..rows).map(|row| column.number(row).unwrap_or(f64::NAN)), median),
        }
    }

    /// A word at a time: this is done for every row.
    fn of_numbers(values: impl Iterator<Item = f64>, median: f64) -> Self {
        let mut sides = Self { valid: Vec::new(), above: Vec::new() };
        let (mut valid, mut above, mut bit) = (0_u64, 0_u64, 0_u32);
        for value in values {
            valid |= u64::from(value.is_finite()) << bit;
            above |= u64::from(value > median) << bit;
            bit += 1;
            if bit == u64::BITS {
                sides.valid.push(valid);
                sides.above.push(above);
                (valid, above, bit) = (0, 0, 0);
            }
        }
        sides.valid.push(valid);
        sides.above.push(above);
        sides
    }
}

/// The numeric features of a reference that have more than one value.
pub(crate) fn pairs_of(features: &[FeatureReference]) -> Pairs {
    let mut pairs = Pairs::default();
    for (place, feature) in features.iter().enumerate() {
        let Shape::Numeric { cells, counts, .. } = &feature.shape else { continue };
        let half = counts.iter().sum::<u64>() / 2;
        let mut below = 0;
        let median = cells.edges().iter().zip(counts).find_map(|(edge, rows)| {
            below += rows;
            (below >= half).then_some(*edge)
        });
        // A constant has no side.
        let Some(median) = median.or_else(|| cells.edges().last().copied()) else { continue };
        if pairs.features.len() < FEATURES_MAX {
            pairs.features.push(place);
            pairs.medians.push(median);
        }
    }
    if pairs.is_empty() {
        return Pairs::default();
    }
    pairs.counts = PairCounts::new(pairs.len());
    pairs
}

/// Counts rows; a feature that they lack has no values.
pub(crate) fn count(pairs: &Pairs, places: &Places, rows: &RecordBatch, into: &mut PairCounts) {
    let sides: Vec<Option<Sides>> = pairs
        .features
        .iter()
        .zip(&pairs.medians)
        .map(|(feature, median)| {
            let column = places.column(*feature)?;
            Some(Sides::of(&rows.columns()[column], rows.rows(), *median))
        })
        .collect();
    let mut pair = 0;
    for (at, first) in sides.iter().enumerate() {
        for second in &sides[at + 1..] {
            if let (Some(first), Some(second)) = (first, second) {
                let words = first.valid.iter().zip(&first.above).zip(second.valid.iter().zip(&second.above));
                let (mut same, mut both) = (0, 0);
                for ((first_valid, first_above), (second_valid, second_above)) in words {
                    let valid = first_valid & second_valid;
                    both += valid.count_ones();
                    same += (valid & !(first_above ^ second_above)).count_ones();
                }
                into.same[pair] += u64::from(same);
                into.both[pair] += u64::from(both);
            }
            pair += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use acgs_columns::{Cell, Field, Kind, Role, Schema, builder::BatchBuilder};

    use super::*;
    use crate::{freeze, pairs::correlation};

    #[test]
    fn pairs_that_go_together_are_on_the_same_side_and_nulls_do_not_count() {
        let fields = ["a", "b", "c"].map(|name| Field::new(name, Kind::Double, Role::Feature));
        let schema = Arc::new(Schema::new(fields.to_vec()).unwrap());
        let mut builder = BatchBuilder::new(Arc::clone(&schema));
        for row in 0..1_000 {
            let a = f64::from(row % 100);
            let c = if row % 10 == 0 { Cell::Null } else { Cell::Number(-a) };
            builder.push(&[Cell::Number(a), Cell::Number(2.0 * a), c]).unwrap();
        }
        let batch = builder.finish().unwrap();
        let reference = freeze(&schema, std::slice::from_ref(&batch), 0);
        let pairs = &reference.pairs;
        assert_eq!(pairs.names().collect::<Vec<_>>(), [(0, 1), (0, 2), (1, 2)]);
        assert_eq!(pairs.counts.both, [1_000, 900, 900]);
        assert!(pairs.share(0) > 0.99 && correlation(pairs.share(0)) > 0.99);
        assert!(pairs.share(1) < 0.03 && correlation(pairs.share(1)) < -0.97, "{}", pairs.share(1));
        // In pieces as in one.
        let places = Places::new(&reference, &schema);
        let mut pieces = PairCounts::new(pairs.len());
        for (start, length) in [(0, 1), (1, 63), (64, 130), (194, 806)] {
            let mut piece = PairCounts::new(pairs.len());
            count(pairs, &places, &batch.slice(start, length), &mut piece);
            pieces.merge(&piece);
        }
        assert_eq!(pieces, pairs.counts);
    }
}
