//! Training: a design matrix from the records, weights from a well-kept library. It must not know where records come from.

use std::collections::BTreeMap;

use acgs_columns::{RecordBatch, Role, Schema};
use smartcore::{
    linalg::basic::{arrays::Array, matrix::DenseMatrix},
    linear::{
        logistic_regression::{LogisticRegression, LogisticRegressionParameters},
        ridge_regression::{RidgeRegression, RidgeRegressionParameters},
    },
};

use crate::{
    artifact::{Artifact, FORMAT, Family},
    features,
};

/// Strength of the penalty of squared weights, when nothing is said.
const PENALTY: f64 = 1.0;
/// Harmonics of the hour of the day, when nothing is said.
const HARMONICS: u32 = 2;

/// What hyperparameters say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wishes {
    /// Strength of the penalty of squared weights against the sum of the losses, more than 0.
    pub penalty: f64,
    /// Harmonics of the hour of the day; 0 leaves the calendar out. At most 12.
    pub harmonics: u32,
}

/// Why nothing could be trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A hyperparameter is not known, or out of its bounds.
    #[error("hyperparameter {0}: {1}")]
    Hyperparameter(String, String),
    /// The records are not what the trainer needs.
    #[error("{0}")]
    Data(String),
    /// The library's trouble.
    #[error("{0}")]
    Failed(String),
}

impl Wishes {
    /// Reads `l2` and `calendar_harmonics`.
    ///
    /// # Errors
    /// Naming the hyperparameter that is not known or out of its bounds.
    pub fn parse(given: &BTreeMap<String, String>) -> Result<Self, TrainError> {
        let mut wishes = Self { penalty: PENALTY, harmonics: HARMONICS };
        for (name, value) in given {
            let bad =
                |what: &str| TrainError::Hyperparameter(name.clone(), format!("{value:?} is not {what}"));
            match name.as_str() {
                "l2" => {
                    let penalty =
                        value.parse().ok().filter(|penalty: &f64| *penalty > 0.0 && penalty.is_finite());
                    wishes.penalty = penalty.ok_or_else(|| bad("a number above 0"))?;
                }
                "calendar_harmonics" => {
                    let harmonics = value.parse().ok().filter(|harmonics| *harmonics <= 12);
                    wishes.harmonics = harmonics.ok_or_else(|| bad("0 to 12"))?;
                }
                _ => {
                    let known = "is not known; there are l2 and calendar_harmonics".to_owned();
                    return Err(TrainError::Hyperparameter(name.clone(), known));
                }
            }
        }
        Ok(wishes)
    }
}

/// Trains on labelled records.
///
/// # Errors
/// When there is no label, no feature, only one kind of label, or the library fails.
pub fn train(
    family: Family,
    wishes: Wishes,
    schema: &Schema,
    batches: &[RecordBatch],
) -> Result<Artifact, TrainError> {
    let label = schema.index_of_role(Role::Label);
    let label = label.ok_or_else(|| TrainError::Data("the records have no label".into()))?;
    let labels =
        batches.iter().flat_map(|batch| (0..batch.rows()).map(move |row| batch.columns()[label].number(row)));
    let labels: Option<Vec<f64>> = labels.map(|value| value.filter(|value| value.is_finite())).collect();
    let labels = labels.ok_or_else(|| TrainError::Data("a record has no label".into()))?;
    let features = features::learn(schema, batches, wishes.harmonics);
    let (width, numbers) = features::matrix(&features, batches);
    if width == 0 || labels.is_empty() {
        return Err(TrainError::Data("the records have no features, or there are none".into()));
    }
    let failed = |error: &dyn std::fmt::Display| TrainError::Failed(error.to_string());
    let matrix = DenseMatrix::new(labels.len(), width, numbers, false).map_err(|error| failed(&error))?;
    let (intercept, weights) = match family {
        Family::Logistic => logistic(&matrix, &labels, wishes.penalty)?,
        Family::Linear => {
            let parameters =
                RidgeRegressionParameters::default().with_alpha(wishes.penalty).with_normalize(false);
            let fitted =
                RidgeRegression::fit(&matrix, &labels, parameters).map_err(|error| failed(&error))?;
            (*fitted.intercept(), (0..width).map(|place| *fitted.coefficients().get((place, 0))).collect())
        }
    };
    Ok(Artifact {
        format: FORMAT.to_owned(),
        family,
        constitutional_hash: String::new(),
        data_digest: String::new(),
        rows: labels.len() as u64,
        features,
        intercept,
        weights,
    })
}

fn logistic(matrix: &DenseMatrix<f64>, labels: &[f64], penalty: f64) -> Result<(f64, Vec<f64>), TrainError> {
    if let Some(other) = labels.iter().find(|label| **label != 0.0 && **label != 1.0) {
        return Err(TrainError::Data(format!("a label is {other}; a probability needs 0 and 1")));
    }
    let classes: Vec<i32> = labels.iter().map(|label| i32::from(*label > 0.5)).collect();
    if classes.iter().all(|class| *class == classes[0]) {
        return Err(TrainError::Data(format!(
            "every label is {}: there is nothing to tell apart",
            classes[0]
        )));
    }
    let parameters = LogisticRegressionParameters::default().with_alpha(penalty);
    let fitted = LogisticRegression::fit(matrix, &classes, parameters);
    let fitted = fitted.map_err(|error| TrainError::Failed(error.to_string()))?;
    let weights = fitted.coefficients();
    let (_, width) = weights.shape();
    Ok((*fitted.intercept().get((0, 0)), (0..width).map(|place| *weights.get((0, place))).collect()))
}

#[cfg(test)]
#[path = "train_tests.rs"]
mod tests;
