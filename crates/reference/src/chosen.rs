//! The categories of a field that a reference tells apart. Where some are rare, they are chosen on one half of the rows and counted on the other:
//! counts that were chosen for being large would not be those of rows to come. It must not know where a reference is kept.

use std::{collections::HashMap, sync::Arc};

use acgs_columns::{Field, RecordBatch};

use crate::{
    categories::{for_each_category, short_hash},
    reference::{CATEGORIES_MAX, FeatureReference, SEEN_MAX, Shape},
};

/// Stretches of rows that go to either half in turn.
const STRETCHES: usize = 32;
/// Share of rows whose category occurs once from which categories are rare: as much is to be expected of unseen ones (Good 1953).
const RARE: f64 = 0.01;
/// Rows of the first half from which a category is told apart.
const ROWS_MIN: u64 = 3;

type Counts = HashMap<Arc<str>, u64>;

/// Adds the categories of some rows; says how many were null.
fn add(counts: &mut Counts, batch: &RecordBatch, index: usize) -> u64 {
    let column = &batch.columns()[index];
    for_each_category(column, |category, rows| match counts.get_mut(category) {
        Some(count) => *count += rows,
        None => {
            counts.insert(Arc::clone(category), rows);
        }
    });
    column.null_count() as u64
}

fn ranked(counts: Counts) -> Vec<(Arc<str>, u64)> {
    let mut ranked: Vec<(Arc<str>, u64)> = counts.into_iter().collect();
    ranked.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    ranked
}

/// A field of categories; `None` when it has no value at all.
pub(crate) fn categories(
    field: &Field,
    index: usize,
    batches: &[RecordBatch],
    seen_max: usize,
) -> Option<FeatureReference> {
    let mut all = Counts::new();
    let null_count = batches.iter().map(|batch| add(&mut all, batch, index)).sum();
    if all.is_empty() {
        return None;
    }
    let rows: u64 = all.values().sum();
    let once = all.values().filter(|count| **count == 1).count() as f64;
    if all.len() <= CATEGORIES_MAX && once <= RARE * rows as f64 {
        let (categories, counts) = ranked(all).into_iter().unzip();
        let shape =
            Shape::Categorical { categories, counts, other_count: 0, unseen_count: 0, seen: Vec::new() };
        return Some(FeatureReference::new(field.clone(), shape, null_count));
    }
    drop(all);
    let (mut first, mut second, mut null_count) = (Counts::new(), Counts::new(), 0);
    for_each_half(batches, |batch, is_first| {
        if is_first {
            add(&mut first, batch, index);
        } else {
            null_count += add(&mut second, batch, index);
        }
    });
    let mut ranked = ranked(first);
    let kept = ranked.iter().take(CATEGORIES_MAX).take_while(|(_, rows)| *rows >= ROWS_MIN).count();
    let others = ranked.split_off(kept);
    let mut seen: Vec<u32> =
        others.iter().take(seen_max.min(SEEN_MAX)).map(|(category, _)| short_hash(category)).collect();
    seen.sort_unstable();
    seen.dedup();
    let categories: Vec<Arc<str>> = ranked.into_iter().map(|(category, _)| category).collect();
    let counts: Vec<u64> = categories.iter().map(|category| second.remove(category).unwrap_or(0)).collect();
    let other_count = second.values().sum();
    let is_unseen = |category: &Arc<str>| seen.binary_search(&short_hash(category)).is_err();
    let unseen_count = second.iter().filter(|(category, _)| is_unseen(category)).map(|(_, rows)| rows).sum();
    let shape = Shape::Categorical { categories, counts, other_count, unseen_count, seen };
    Some(FeatureReference::new(field.clone(), shape, null_count))
}

/// Whether a row, of so many, is of the half on which categories are chosen.
pub(crate) fn is_of_first_half(row: usize, rows: usize) -> bool {
    (row / stretch_length(rows)).is_multiple_of(2)
}

fn stretch_length(rows: usize) -> usize {
    rows.div_ceil(STRETCHES).max(1)
}

/// Hands out stretches of rows, to either half in turn.
fn for_each_half(batches: &[RecordBatch], mut visit: impl FnMut(&RecordBatch, bool)) {
    let length = stretch_length(batches.iter().map(RecordBatch::rows).sum());
    let mut before = 0;
    for batch in batches {
        let mut start = 0;
        while start < batch.rows() {
            let stretch = (before + start) / length;
            let end = ((stretch + 1) * length - before).min(batch.rows());
            visit(&batch.slice(start, end - start), stretch.is_multiple_of(2));
            start = end;
        }
        before += batch.rows();
    }
}

#[cfg(test)]
mod tests {
    use acgs_columns::{Cell, Kind, Role, Schema, builder::BatchBuilder};

    use super::*;

    fn of(categories: impl Iterator<Item = String>) -> Shape {
        let field = Field::new("x", Kind::Text, Role::Feature);
        let schema = Arc::new(Schema::new(vec![field.clone()]).unwrap());
        let mut builder = BatchBuilder::new(schema);
        categories.for_each(|category| builder.push(&[Cell::Text(&category)]).unwrap());
        categories_of(&field, &builder.finish().unwrap())
    }

    fn categories_of(field: &Field, batch: &RecordBatch) -> Shape {
        super::categories(field, 0, std::slice::from_ref(batch), SEEN_MAX).unwrap().shape
    }

    #[test]
    fn frequent_ones_are_all_counted_on_all_rows() {
        let Shape::Categorical { categories, counts, other_count, unseen_count, seen } =
            of((0..1_000).map(|row| format!("c{}", row % 7 / 2)))
        else {
            panic!("categories")
        };
        assert_eq!(
            (categories.len(), counts.iter().sum::<u64>(), other_count, unseen_count),
            (4, 1_000, 0, 0)
        );
        assert!(seen.is_empty() && counts.is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn rare_ones_are_chosen_on_rows_that_do_not_count_them() {
        // 5,000 categories in 10,000 rows: about e^-1 of the second half was not seen in the first.
        let mut state = 7_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            format!("c{}", (state >> 33) % 5_000)
        };
        let Shape::Categorical { categories, counts, other_count, unseen_count, seen } =
            of(std::iter::repeat_with(&mut next).take(10_000))
        else {
            panic!("categories")
        };
        let kept: u64 = counts.iter().sum();
        assert!(kept + other_count > 4_900 && kept + other_count < 5_100, "{kept} {other_count}");
        assert_eq!(categories.len(), CATEGORIES_MAX);
        // One each is to be expected, whatever they had in the first half.
        assert!((180..330).contains(&kept), "{kept}");
        let unseen = unseen_count as f64 / (kept + other_count) as f64;
        assert!((unseen - (-1.0_f64).exp()).abs() < 0.03, "{unseen}");
        assert!(seen.len() > 2_500 && seen.is_sorted());
        // Ids that never come twice are all unseen, and that is expected.
        let Shape::Categorical { categories, unseen_count, .. } =
            of((0..1_000).map(|row| format!("id{row}")))
        else {
            panic!("categories")
        };
        assert!(categories.is_empty() && unseen_count > 450);
    }
}
