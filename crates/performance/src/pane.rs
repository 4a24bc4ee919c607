//! What a pane of rows leaves behind: latency, errors, what the model said, and what came of it. It must not know thresholds.

use std::borrow::Cow;

use acgs_columns::{Column, RecordBatch, numbers::numbers};
use acgs_reference::said::SaidCounts;
use acgs_statistics::{moments::Moments, sketch::LogHistogram};
use serde::{Deserialize, Serialize};

use crate::{labelled::Labelled, roles::Roles};

/// The longest time that a call can have taken, in milliseconds: 31 days. What is longer, or negative, was not measured right.
const LATENCY_MS_MAX: f64 = 31.0 * 86_400_000.0;

/// One pane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PerformancePane {
    /// Whether its rows were counted in another pane, so that only labels count here.
    pub labels_only: bool,
    /// Rows.
    pub row_count: u64,
    /// Rows whose error field is set, and true.
    pub errors: (u64, u64),
    /// Milliseconds.
    pub latency: Moments,
    /// Milliseconds.
    pub latency_sketch: LogHistogram,
    /// Latencies that no call can have had: negative, beyond 31 days, or not finite.
    pub latency_invalid_count: u64,
    /// What the model said, by the reference's cells.
    pub said: SaidCounts,
    /// Rows with labels.
    pub labelled: Labelled,
    /// Of those, rows whose labels are taken back: others stand for them.
    pub retracted: Option<Box<Labelled>>,
}

impl PerformancePane {
    /// Of labels alone.
    #[must_use]
    pub fn of_labels(labelled: Labelled) -> Self {
        Self { labels_only: true, labelled, ..Self::default() }
    }

    /// Bytes that it holds on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let retracted = self.retracted.as_ref().map_or(0, |it| size_of::<Labelled>() + it.heap_bytes());
        self.latency_sketch.heap_bytes() + self.said.heap_bytes() + self.labelled.heap_bytes() + retracted
    }

    /// Adds rows.
    pub fn push(&mut self, roles: &Roles, rows: &RecordBatch) {
        let columns = rows.columns();
        let prediction = roles.outputs.prediction(rows);
        let said_by = (roles.outputs.score(columns), prediction.as_deref());
        if !self.labels_only {
            self.row_count += rows.rows() as u64;
            if let Some(found) = roles.latency.and_then(|index| numbers(&columns[index])) {
                self.latency_invalid_count += found.not_finite_count as u64;
                self.push_latency(&found.finite);
            }
            if let Some(column) = roles.error.map(|index| &columns[index]) {
                self.push_errors(column, rows.rows());
            }
            if let Some((said, _, column)) = roles.said_column(said_by) {
                said.count(column, |_| true, rows.rows(), &mut self.said);
            }
        }
        self.labelled.push(roles, rows, said_by);
    }

    /// Takes back the labels of rows that were added before, to this pane or to one that it is merged with.
    pub fn retract(&mut self, roles: &Roles, rows: &RecordBatch) {
        let prediction = roles.outputs.prediction(rows);
        let said_by = (roles.outputs.score(rows.columns()), prediction.as_deref());
        self.retracted.get_or_insert_default().push(roles, rows, said_by);
    }

    /// Its labels alone.
    #[must_use]
    pub fn labels(&self) -> Self {
        Self { retracted: self.retracted.clone(), ..Self::of_labels(self.labelled.clone()) }
    }

    /// Rows whose labels stand; `None` where some are taken back that are not here.
    #[must_use]
    pub fn standing(&self) -> Option<Cow<'_, Labelled>> {
        match &self.retracted {
            None => Some(Cow::Borrowed(&self.labelled)),
            Some(taken) => self.labelled.without(taken).map(Cow::Owned),
        }
    }

    /// Whether what came back from outside is what pushing could have made, with these roles.
    #[must_use]
    pub fn is_sound(&self, roles: &Roles) -> bool {
        self.latency.is_sound()
            && self.latency_sketch.is_sound()
            && self.said.fits(roles.said_cells())
            && self.labelled.is_sound(roles)
            && self.retracted.as_ref().is_none_or(|taken| taken.is_sound(roles))
    }

    /// Whether it has any label that was compared, or takes one back.
    #[must_use]
    pub fn bears_labels(&self) -> bool {
        self.labelled.count() > 0 || self.retracted.is_some()
    }

    fn push_latency(&mut self, latency_ms: &[f64]) {
        let is_possible = |latency_ms: &f64| (0.0..=LATENCY_MS_MAX).contains(latency_ms);
        if latency_ms.iter().all(is_possible) {
            self.latency.push_slice(latency_ms);
            self.latency_sketch.push_slice(latency_ms);
            return;
        }
        let possible: Vec<f64> = latency_ms.iter().copied().filter(is_possible).collect();
        self.latency_invalid_count += (latency_ms.len() - possible.len()) as u64;
        self.latency.push_slice(&possible);
        self.latency_sketch.push_slice(&possible);
    }

    fn push_errors(&mut self, column: &Column, rows: usize) {
        for failed in (0..rows).filter_map(|row| column.number(row)) {
            self.errors.0 += 1;
            self.errors.1 += u64::from(failed != 0.0);
        }
    }

    /// Adds another's rows.
    pub fn merge(&mut self, other: &Self) {
        self.row_count += other.row_count;
        self.errors = (self.errors.0 + other.errors.0, self.errors.1 + other.errors.1);
        self.latency.merge(&other.latency);
        self.latency_sketch.merge(&other.latency_sketch);
        self.latency_invalid_count += other.latency_invalid_count;
        self.said.merge(&other.said);
        self.labelled.merge(&other.labelled);
        if let Some(taken) = &other.retracted {
            self.retracted.get_or_insert_default().merge(taken);
        }
    }
}
