//! What a pane of rows leaves behind: latency, errors, and scores against labels. It must not know thresholds.

use acgs_columns::{Column, Kind, RecordBatch, Role, Schema, Values, numbers::numbers};
use acgs_statistics::{moments::Moments, score::ScoreSums, sketch::LogHistogram};
use serde::{Deserialize, Serialize};

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
    /// Scores with labels.
    pub scores: ScoreSums,
    /// Right answers among predictions with labels, as 0 and 1.
    pub right: Moments,
}

/// The columns of the roles that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    score: Option<usize>,
    prediction: Option<usize>,
    label: Option<usize>,
    latency: Option<usize>,
    error: Option<usize>,
}

impl Roles {
    /// By role. A prediction counts when it is a class, not a measured value.
    #[must_use]
    pub fn new(schema: &Schema) -> Self {
        let prediction = schema.index_of_role(Role::Prediction);
        Self {
            score: schema.index_of_role(Role::Score),
            prediction: prediction.filter(|&index| schema.fields()[index].kind != Kind::Double),
            label: schema.index_of_role(Role::Label),
            latency: schema.index_of_role(Role::Latency),
            error: schema.index_of_role(Role::Error),
        }
    }

    /// Whether there is anything to judge.
    #[must_use]
    pub fn any(&self) -> bool {
        let with_label = self.label.is_some() && (self.score.is_some() || self.prediction.is_some());
        self.latency.is_some() || self.error.is_some() || with_label
    }

    /// Whether there is a latency, and an error field.
    #[must_use]
    pub fn service(&self) -> (bool, bool) {
        (self.latency.is_some(), self.error.is_some())
    }
}

impl PerformancePane {
    /// Adds rows.
    pub fn push(&mut self, roles: &Roles, rows: &RecordBatch) {
        let columns = rows.columns();
        if !self.labels_only {
            self.row_count += rows.rows() as u64;
            if let Some(found) = roles.latency.and_then(|index| numbers(&columns[index])) {
                self.latency.push_slice(&found.finite);
                self.latency_sketch.push_slice(&found.finite);
            }
            if let Some(column) = roles.error.map(|index| &columns[index]) {
                self.push_errors(column, rows.rows());
            }
        }
        let Some(label) = roles.label.map(|index| &columns[index]) else { return };
        if label.null_count() == rows.rows() {
            return;
        }
        if let Some(score) = roles.score.map(|index| &columns[index]) {
            self.push_scores(score, label, rows.rows());
        }
        if let Some(prediction) = roles.prediction.map(|index| &columns[index]) {
            self.push_right(prediction, label, rows.rows());
        }
    }

    fn push_errors(&mut self, column: &Column, rows: usize) {
        for failed in (0..rows).filter_map(|row| column.number(row)) {
            self.errors.0 += 1;
            self.errors.1 += u64::from(failed != 0.0);
        }
    }

    /// Pairs where the score is a probability and the label 0 or 1; others are the quality judge's to report.
    fn push_scores(&mut self, score: &Column, label: &Column, rows: usize) {
        let (mut scores, mut labels) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let mut pair = |score: f64, label: f64| {
            if (0.0..=1.0).contains(&score) && (label == 0.0 || label == 1.0) {
                scores.push(score);
                labels.push(label == 1.0);
            }
        };
        match (&score.values, &label.values) {
            // Dense doubles are the common case, and the fast one.
            (Values::Double(of_score), Values::Double(of_label))
                if score.validity.is_none() && label.validity.is_none() =>
            {
                of_score.iter().zip(&**of_label).for_each(|(&score, &label)| pair(score, label));
            }
            _ => {
                for row in 0..rows {
                    if let (Some(score), Some(label)) = (score.number(row), label.number(row)) {
                        pair(score, label);
                    }
                }
            }
        }
        self.scores.push_slice(&scores, &labels);
    }

    fn push_right(&mut self, prediction: &Column, label: &Column, rows: usize) {
        let right = |row: usize| {
            if let (Some(prediction), Some(label)) = (prediction.text(row), label.text(row)) {
                return Some(prediction == label);
            }
            Some(prediction.number(row)? == label.number(row)?)
        };
        let answers: Vec<f64> = (0..rows).filter_map(right).map(|right| f64::from(u8::from(right))).collect();
        self.right.push_slice(&answers);
    }

    /// Adds another's rows.
    pub fn merge(&mut self, other: &Self) {
        self.row_count += other.row_count;
        self.errors = (self.errors.0 + other.errors.0, self.errors.1 + other.errors.1);
        self.latency.merge(&other.latency);
        self.latency_sketch.merge(&other.latency_sketch);
        self.scores.merge(&other.scores);
        self.right.merge(&other.right);
    }
}
