//! What a model says, and how good it was. It must not know rows.

use serde::{Deserialize, Serialize};

use crate::labels::Coding;

/// What a model says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelKind {
    /// The probability of a yes; its loss is the Brier score.
    Binary,
    /// One of some classes; its loss is the share of wrong answers.
    Classes,
    /// A number; its loss is the mean absolute error, of a quantile its own.
    Regression,
}

/// How good the model was on the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossBaseline {
    /// What the model says.
    pub kind: ModelKind,
    /// The share of labels that its numbers mean to be above; `None` where they mean no such share.
    pub quantile: Option<f64>,
    /// Its loss.
    pub loss: f64,
    /// The standard error of that.
    pub loss_standard_error: f64,
    /// How labels of yes and no were read.
    pub coding: Coding,
    /// Rows with a label, and a score or prediction.
    pub labelled_count: u64,
    /// Brier score; 0 where the model is not binary, as what follows but accuracy.
    pub brier: f64,
    /// Its standard error.
    pub brier_standard_error: f64,
    /// Share of right answers.
    pub accuracy: f64,
    /// Expected calibration error.
    pub calibration_error: f64,
    /// Area under the ROC curve; `None` with one class only.
    pub auc: Option<f64>,
    /// Share of positive labels; `None` in references from before it was kept.
    pub positive_rate: Option<f64>,
}

impl LossBaseline {
    /// Of a binary model of which no more is known.
    #[must_use]
    pub fn of_brier(brier: f64) -> Self {
        Self {
            kind: ModelKind::Binary,
            quantile: None,
            loss: brier,
            loss_standard_error: 0.0,
            coding: Coding::default(),
            labelled_count: 0,
            brier,
            brier_standard_error: 0.0,
            accuracy: 0.0,
            calibration_error: 0.0,
            auc: None,
            positive_rate: None,
        }
    }
}
