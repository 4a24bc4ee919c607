//! What came of what a model said, cell by cell of what it said: what leads to expect a loss before labels are known. It must not know thresholds.

use std::{borrow::Cow, collections::HashMap};

use acgs_columns::{Cell, Column, RecordBatch, Role, Schema, Values};
use acgs_statistics::{
    area_cells::{AREA_CELLS, area_cell, cell_start, score_edges},
    calibration::{Scored, rising_shares},
    expected_loss::LossCell,
    moments::Moments,
};
use serde::{Deserialize, Serialize};

use crate::{
    answers::{self, name},
    baseline::{LossBaseline, ModelKind},
    class_counts::COUNTED_MAX,
    labels,
    outputs::Outputs,
};

/// Most cells of numbers.
pub const CELLS_MAX: usize = 256;
/// Most cells of amounts.
const AMOUNT_CELLS_MAX: usize = 64;
/// Rows that a cell of amounts has at least, about.
const CELL_ROWS: usize = 25;
/// Cells of the area under the ROC curve in one of scores: 256 of them, each a quarter of its odds wide.
const SCORE_CELL_WIDTH: usize = 4;
/// Where a yes begins.
const HALF: f64 = 0.5;

/// Cells by size.
#[derive(Clone, Debug, PartialEq)]
pub struct Sizes {
    /// Where cells but the first begin, ascending.
    pub edges: Vec<f64>,
    /// The smallest number of the reference.
    pub minimum: f64,
    /// The largest.
    pub maximum: f64,
}

impl Sizes {
    fn place(&self, value: f64) -> usize {
        self.edges.partition_point(|edge| *edge <= value)
    }

    fn knows(&self, value: f64) -> bool {
        (self.minimum..=self.maximum).contains(&value)
    }
}

/// How answers are told apart.
#[derive(Clone, Debug, PartialEq)]
pub enum SaidBy {
    /// Amounts.
    Amounts(Sizes),
    /// Scores: to a cell of the area under the ROC curve.
    Scores {
        /// Where cells are.
        sizes: Sizes,
        /// The cell of each of the area's.
        places: Vec<u8>,
    },
    /// By name, one of each cell.
    Classes(HashMap<String, usize>),
}

/// Losses by what was said.
#[derive(Clone, Debug, PartialEq)]
pub struct SaidLosses {
    /// How answers are told apart.
    pub by: SaidBy,
    /// In its order.
    pub cells: Vec<LossCell>,
}

/// Answers of some rows by cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SaidCounts {
    /// Empty until the first row.
    counts: Vec<u64>,
    /// Answers unlike any of the reference: they are in no cell, or in the nearest.
    beyond: u64,
}

impl SaidCounts {
    /// Bytes that it holds on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<u64>()
    }

    /// Answers by cell.
    #[must_use]
    pub fn by_cell(&self) -> &[u64] {
        &self.counts
    }

    /// Answers, and how many are unlike any of the reference.
    #[must_use]
    pub fn count(&self) -> (u64, u64) {
        (self.counts.iter().sum(), self.beyond)
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        self.counts.iter_mut().zip(&other.counts).for_each(|(own, theirs)| *own += theirs);
        self.beyond += other.beyond;
    }

    /// Takes back what was added before; false where more would be taken than there is, and what is left is of no use.
    #[must_use]
    pub fn take_back(&mut self, other: &Self) -> bool {
        let beyond = self.beyond.checked_sub(other.beyond);
        self.beyond = beyond.unwrap_or(0);
        let is_part = other.counts.is_empty() || other.counts.len() == self.counts.len();
        let counts = self.counts.iter_mut().zip(&other.counts).all(|(own, theirs)| {
            let left = own.checked_sub(*theirs);
            *own = left.unwrap_or(0);
            left.is_some()
        });
        beyond.is_some() && is_part && counts
    }

    /// Whether what came back from outside is of so many cells.
    #[must_use]
    pub fn fits(&self, cells: usize) -> bool {
        self.counts.is_empty() || self.counts.len() == cells
    }

    fn add(&mut self, said: &SaidLosses, place: Option<(usize, bool)>) {
        self.counts.resize(said.cells.len(), 0);
        if let Some((place, _)) = place {
            self.counts[place] += 1;
        }
        self.beyond += u64::from(place.is_none_or(|(_, is_known)| !is_known));
    }
}

impl SaidBy {
    /// Of scores.
    #[must_use]
    pub fn scores(sizes: Sizes) -> Self {
        let places = (0..AREA_CELLS).map(|cell| sizes.place(cell_start(cell)).min(CELLS_MAX - 1) as u8);
        Self::Scores { places: places.collect(), sizes }
    }
}

impl SaidLosses {
    /// Of a reference's rows with labels.
    pub(crate) fn measure(baseline: &LossBaseline, schema: &Schema, batches: &[RecordBatch]) -> Option<Self> {
        let (outputs, label) = (Outputs::of(schema), schema.index_of_role(Role::Label)?);
        let positive = schema.fields()[label].positive.as_deref();
        let of = |batch| match baseline.kind {
            ModelKind::Binary => outputs.score(RecordBatch::columns(batch)).map(Cow::Borrowed),
            ModelKind::Classes | ModelKind::Regression => outputs.prediction(batch),
        };
        let said: Vec<Cow<'_, Column>> = batches.iter().map(of).collect::<Option<_>>()?;
        let rows = || {
            batches.iter().zip(&said).flat_map(move |(batch, said)| {
                (0..batch.rows()).map(move |row| (&**said, &batch.columns()[label], row))
            })
        };
        match baseline.kind {
            ModelKind::Binary => {
                let pair = |(said, label, row)| labels::pair(said, (label, positive), row, baseline.coding);
                Self::of_scores(&rows().filter_map(pair).collect::<Vec<_>>())
            }
            ModelKind::Regression => {
                let error = |(said, label, row): (&Column, &Column, usize)| {
                    let loss = answers::amount_loss(said, label, row, baseline.quantile)?;
                    Some((answers::number(said.cell(row))?, loss))
                };
                Self::of_amounts(rows().filter_map(error).collect())
            }
            ModelKind::Classes => Self::of_classes(rows().filter_map(|(said, label, row)| {
                Some((name(said.cell(row))?, answers::is_wrong(said, label, row)?))
            })),
        }
    }

    /// Of scores, and whether their labels say yes.
    fn of_scores(pairs: &[(f64, bool)]) -> Option<Self> {
        let (minimum, maximum) =
            pairs.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), (score, _)| {
                (least.min(*score), most.max(*score))
            });
        let within = |edge: &f64| *edge > minimum && *edge <= maximum;
        let edges: Vec<f64> = score_edges(SCORE_CELL_WIDTH).into_iter().filter(within).collect();
        let sizes = Sizes { edges, minimum, maximum };
        let mut counts = vec![(0_u64, 0_u64); sizes.edges.len() + 1];
        let mut sums = vec![(0.0, 0.0); sizes.edges.len() + 1];
        for (score, is_yes) in pairs {
            let place = sizes.place(*score);
            counts[place] = (counts[place].0 + 1, counts[place].1 + u64::from(*is_yes));
            sums[place] = (sums[place].0 + score, sums[place].1 + score * score);
        }
        let of_cell = |place: usize| {
            let (count, (score, square)) = (counts[place].0 as f64, sums[place]);
            if count > 0.0 {
                return (score / count, square / count);
            }
            let from = place.checked_sub(1).map_or(minimum, |place| sizes.edges[place]);
            let middle = (from + sizes.edges.get(place).copied().unwrap_or(maximum)) / 2.0;
            (middle, middle * middle)
        };
        let scored = counts.iter().enumerate().map(|(place, (rows, positives))| Scored {
            score: of_cell(place).0,
            rows: *rows as f64,
            positives: *positives as f64,
        });
        let shares = rising_shares(&scored.collect::<Vec<_>>());
        let cells = shares.into_iter().enumerate().map(|(place, share)| {
            let (score, square) = of_cell(place);
            let (yes, no) = (1.0 - 2.0 * score + square, square);
            LossCell {
                rows: counts[place].0,
                mean: share * yes + (1.0 - share) * no,
                variance: share * (1.0 - share) * (1.0 - 4.0 * score + 4.0 * square).max(0.0),
                positive_rate: share,
            }
        });
        let cells: Vec<LossCell> = cells.collect();
        (!pairs.is_empty()).then_some(Self { by: SaidBy::scores(sizes), cells })
    }

    /// Of amounts with their losses.
    fn of_amounts(mut rows: Vec<(f64, f64)>) -> Option<Self> {
        rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let (minimum, maximum) = (rows.first()?.0, rows.last()?.0);
        let cells = (rows.len() / CELL_ROWS).clamp(1, AMOUNT_CELLS_MAX);
        let mut edges: Vec<f64> = (1..cells).map(|cell| rows[cell * rows.len() / cells].0).collect();
        edges.dedup();
        // No cell is empty: rows are on both sides of each edge, and at it.
        edges.retain(|edge| *edge > minimum);
        let sizes = Sizes { edges, minimum, maximum };
        let mut of_cells: Vec<Vec<f64>> = vec![Vec::new(); sizes.edges.len() + 1];
        for (value, loss) in &rows {
            of_cells[sizes.place(*value)].push(*loss);
        }
        let cells = of_cells.iter().map(|losses| cell(losses)).collect();
        Some(Self { by: SaidBy::Amounts(sizes), cells })
    }

    fn of_classes<'a>(rows: impl Iterator<Item = (Cow<'a, str>, bool)>) -> Option<Self> {
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut counts: Vec<(u64, u64)> = Vec::new();
        for (name, is_wrong) in rows {
            let place = match places.get(&*name) {
                Some(place) => *place,
                None if counts.len() == COUNTED_MAX => continue,
                None => {
                    places.insert(name.into_owned(), counts.len());
                    counts.push((0, 0));
                    counts.len() - 1
                }
            };
            counts[place].0 += 1;
            counts[place].1 += u64::from(is_wrong);
        }
        let of_class = |(rows, wrong): &(u64, u64)| {
            let mean = *wrong as f64 / *rows as f64;
            LossCell { rows: *rows, mean, variance: mean * (1.0 - mean), positive_rate: 0.0 }
        };
        let cells: Vec<LossCell> = counts.iter().map(of_class).collect();
        (!cells.is_empty()).then_some(Self { by: SaidBy::Classes(places), cells })
    }

    /// The first cell whose scores say yes.
    #[must_use]
    pub fn first_yes(&self) -> usize {
        match &self.by {
            SaidBy::Scores { sizes, .. } if sizes.minimum < HALF => {
                1 + sizes.edges.partition_point(|edge| *edge < HALF)
            }
            SaidBy::Scores { .. } | SaidBy::Amounts(_) | SaidBy::Classes(_) => 0,
        }
    }

    /// Counts answers of rows that are wanted.
    pub fn count(&self, said: &Column, wanted: impl Fn(usize) -> bool, rows: usize, into: &mut SaidCounts) {
        match (&said.values, &self.by) {
            // Dense scores are the common case, and the fast one.
            (Values::Double(values), SaidBy::Scores { sizes, places }) if said.validity.is_none() => {
                into.counts.resize(self.cells.len(), 0);
                for (_, score) in values.iter().enumerate().filter(|(row, _)| wanted(*row)) {
                    if score.is_finite() {
                        into.counts[place_of_score(places, *score)] += 1;
                        into.beyond += u64::from(!sizes.knows(*score));
                    }
                }
            }
            _ => {
                for row in (0..rows).filter(|row| said.is_valid(*row) && wanted(*row)) {
                    let place = self.place(said.cell(row));
                    // What is no number is no amount and no score.
                    if place.is_some() || matches!(self.by, SaidBy::Classes(_)) {
                        into.add(self, place);
                    }
                }
            }
        }
    }

    /// The cell of an answer, and whether the reference has any like it.
    fn place(&self, said: Cell<'_>) -> Option<(usize, bool)> {
        match &self.by {
            SaidBy::Amounts(sizes) => {
                let value = answers::number(said)?;
                Some((sizes.place(value), sizes.knows(value)))
            }
            SaidBy::Scores { sizes, places } => {
                let score = answers::number(said)?;
                Some((place_of_score(places, score), sizes.knows(score)))
            }
            SaidBy::Classes(places) => places.get(&*name(said)?).map(|place| (*place, true)),
        }
    }

    /// Scores that were counted by cells of the area.
    #[must_use]
    pub fn of_area_cells(&self, counts: impl Iterator<Item = u64>) -> SaidCounts {
        let mut found = SaidCounts { counts: vec![0; self.cells.len()], beyond: 0 };
        if let SaidBy::Scores { places, .. } = &self.by {
            places.iter().zip(counts).for_each(|(place, rows)| found.counts[usize::from(*place)] += rows);
        }
        found
    }
}

/// The cell of a score, by that of the area; one beyond [0, 1] is in the nearest.
fn place_of_score(places: &[u8], score: f64) -> usize {
    usize::from(places[area_cell(score.clamp(0.0, 1.0))])
}

fn cell(losses: &[f64]) -> LossCell {
    let mut moments = Moments::default();
    moments.push_slice(losses);
    LossCell {
        rows: moments.count(),
        mean: moments.mean().unwrap_or(0.0),
        variance: moments.population_variance().unwrap_or(0.0),
        positive_rate: 0.0,
    }
}

#[cfg(test)]
#[path = "said_tests.rs"]
mod tests;
