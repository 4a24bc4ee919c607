//! What some rows leave behind: counts in the reference's cells and categories. It must not know thresholds.

use std::{collections::HashMap, sync::Arc};

use acgs_columns::{Column, RecordBatch, Values, numbers::numbers};
use acgs_statistics::cells::CellCounts;
use serde::{Deserialize, Serialize};

use crate::{
    categories::{for_each_category, short_hash},
    pairs::PairCounts,
    places::Places,
    reference::{FeatureReference, Reference, Shape},
    sides,
};

/// Counts of some rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PaneCounts {
    /// Rows.
    pub row_count: u64,
    /// In the reference's order.
    pub features: Vec<FeatureCounts>,
    /// Rows by phase of the reference's season; empty without one.
    pub phase_rows: Vec<u64>,
    /// Rows by pair of numeric features.
    pub pairs: PairCounts,
    /// Rows with a value in each of the reference's empty fields.
    pub came: Vec<u64>,
    /// Their first and last time, in milliseconds since the epoch.
    pub times_ms: Option<(i64, i64)>,
}

/// Counts of one feature.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FeatureCounts {
    /// Rows that are null or not finite.
    pub null_count: u64,
    /// Numbers by cell; of categories, rows by category.
    pub cells: CellCounts,
    /// Rows of categories that the reference does not tell apart.
    pub other_count: u64,
    /// Of those, rows of categories that it has never seen.
    pub unseen_count: u64,
}

impl PaneCounts {
    /// Bytes that it holds on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let cells: usize = self.features.iter().map(|feature| feature.cells.heap_bytes()).sum();
        self.features.capacity() * size_of::<FeatureCounts>()
            + cells
            + self.phase_rows.capacity() * size_of::<u64>()
            + self.pairs.heap_bytes()
            + self.came.capacity() * size_of::<u64>()
    }

    /// Without rows.
    #[must_use]
    pub fn new(reference: &Reference) -> Self {
        let empty = |feature: &FeatureReference| FeatureCounts {
            cells: match &feature.shape {
                Shape::Numeric { cells, .. } => cells.empty_counts(),
                Shape::Categorical { counts, .. } => {
                    CellCounts { counts: vec![0; counts.len()], ..CellCounts::default() }
                }
            },
            ..FeatureCounts::default()
        };
        Self {
            row_count: 0,
            features: reference.features.iter().map(empty).collect(),
            phase_rows: vec![0; reference.season.kept_phases()],
            pairs: PairCounts::new(reference.pairs.len()),
            came: vec![0; reference.empty_fields.len()],
            times_ms: None,
        }
    }

    /// Whether it counts the same things.
    #[must_use]
    pub fn has_the_form_of(&self, other: &Self) -> bool {
        let cells = |pane: &Self| -> Vec<usize> {
            pane.features.iter().map(|feature| feature.cells.counts.len()).collect()
        };
        self.phase_rows.len() == other.phase_rows.len()
            && (self.pairs.same.len(), self.pairs.both.len())
                == (other.pairs.same.len(), other.pairs.both.len())
            && self.came.len() == other.came.len()
            && cells(self) == cells(other)
    }

    /// Adds rows, finding the columns by name.
    pub fn push(&mut self, reference: &Reference, rows: &RecordBatch) {
        let places = Places::new(reference, rows.schema());
        self.push_at(reference, &places, rows);
    }

    /// Adds rows whose columns are known.
    pub fn push_at(&mut self, reference: &Reference, places: &Places, rows: &RecordBatch) {
        self.row_count += rows.rows() as u64;
        let features = reference.features.iter().zip(&mut self.features);
        for ((feature, pane), place) in features.zip(places.found()) {
            match place {
                Some(place) => pane.push(feature, &place.1, &rows.columns()[place.0]),
                None => pane.null_count += rows.rows() as u64,
            }
        }
        for (came, place) in self.came.iter_mut().zip(places.empty()) {
            *came += place.map_or(0, |place| values(&rows.columns()[place], rows.rows()));
        }
        sides::count(&reference.pairs, places, rows, &mut self.pairs);
        let Some(column) = places.time().map(|time| &rows.columns()[time]) else { return };
        self.times_ms = joined(self.times_ms, times_ms(column, rows.rows()));
        if !self.phase_rows.is_empty() {
            for time_ms in (0..rows.rows()).filter_map(|row| column.integer(row)) {
                self.phase_rows[reference.season.phase(time_ms)] += 1;
            }
        }
    }

    /// Adds another's rows.
    pub fn merge(&mut self, other: &Self) {
        self.row_count += other.row_count;
        for (own, theirs) in self.features.iter_mut().zip(&other.features) {
            own.null_count += theirs.null_count;
            own.cells.merge(&theirs.cells);
            own.other_count += theirs.other_count;
            own.unseen_count += theirs.unseen_count;
        }
        self.pairs.merge(&other.pairs);
        self.times_ms = joined(self.times_ms, other.times_ms);
        self.came.iter_mut().zip(&other.came).for_each(|(own, theirs)| *own += theirs);
        self.phase_rows.iter_mut().zip(&other.phase_rows).for_each(|(own, theirs)| *own += theirs);
    }
}

/// The first and the last time of a column.
fn times_ms(column: &Column, rows: usize) -> Option<(i64, i64)> {
    if let (Values::Integer(values), None) = (&column.values, &column.validity) {
        // Dense times are the common case.
        return values.iter().fold(None, |known, time| joined(known, Some((*time, *time))));
    }
    (0..rows)
        .filter_map(|row| column.integer(row))
        .fold(None, |known, time| joined(known, Some((time, time))))
}

/// Both of two spans of time.
#[must_use]
pub fn joined(one: Option<(i64, i64)>, other: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (one, other) {
        (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
        (one, other) => one.or(other),
    }
}

/// Rows with a value; what is no finite number is none.
fn values(column: &Column, rows: usize) -> u64 {
    match numbers(column) {
        Some(found) => found.finite.len() as u64,
        None => (rows - column.null_count()) as u64,
    }
}

impl FeatureCounts {
    /// Rows with a value.
    #[must_use]
    pub fn present(&self) -> u64 {
        self.cells.total() + self.other_count
    }

    fn push(&mut self, feature: &FeatureReference, known: &HashMap<Arc<str>, usize>, column: &Column) {
        match &feature.shape {
            Shape::Numeric { cells, .. } => {
                let Some(found) = numbers(column) else { return };
                self.null_count += (found.null_count + found.not_finite_count) as u64;
                cells.count_slice(&found.finite, &mut self.cells);
            }
            Shape::Categorical { seen, .. } => {
                self.null_count += column.null_count() as u64;
                for_each_category(column, |category, rows| match known.get(category) {
                    Some(&place) => self.cells.counts[place] += rows,
                    None => {
                        self.other_count += rows;
                        if seen.binary_search(&short_hash(category)).is_err() {
                            self.unseen_count += rows;
                        }
                    }
                });
            }
        }
    }
}
