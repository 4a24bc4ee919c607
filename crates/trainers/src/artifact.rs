//! What a model is: its features, their weights, and where it comes from. It must not know how it was trained.

use acgs_columns::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::features::{Feature, matrix};

/// The form of the file, and its version.
pub const FORMAT: &str = "acgs-linear/1";

/// How the weighed sum becomes a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// A probability: 1 / (1 + exp(-sum)).
    Logistic,
    /// The sum itself.
    Linear,
}

/// A model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// [`FORMAT`].
    pub format: String,
    /// How the sum becomes a score.
    pub family: Family,
    /// The constitution that it was made under.
    pub constitutional_hash: String,
    /// SHA-256 of the data set that it was trained on, hex.
    pub data_digest: String,
    /// Records that it was trained on.
    pub rows: u64,
    /// How columns become numbers.
    pub features: Vec<Feature>,
    /// The sum of a record whose numbers are all 0.
    pub intercept: f64,
    /// One for each number, in order.
    pub weights: Vec<f64>,
}

/// Why a file is no model.
#[derive(Debug, thiserror::Error)]
#[error("not a model: {0}")]
pub struct BadArtifact(String);

impl Artifact {
    /// As a file.
    ///
    /// # Errors
    /// When a weight is not finite.
    pub fn encode(&self) -> Result<Vec<u8>, BadArtifact> {
        if !self.weights.iter().chain([&self.intercept]).all(|weight| weight.is_finite()) {
            return Err(BadArtifact("a weight is not finite".into()));
        }
        serde_json::to_vec_pretty(self).map_err(|error| BadArtifact(error.to_string()))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is another form, or does not fit together.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadArtifact> {
        let artifact: Self = serde_json::from_slice(bytes).map_err(|error| BadArtifact(error.to_string()))?;
        if artifact.format != FORMAT {
            return Err(BadArtifact(format!("its form is {:?}, not {FORMAT:?}", artifact.format)));
        }
        let width: usize = artifact.features.iter().map(Feature::width).sum();
        if width != artifact.weights.len() {
            let message = format!("{} weights for {width} numbers", artifact.weights.len());
            return Err(BadArtifact(message));
        }
        Ok(artifact)
    }

    /// A score for each row. Columns are found by name; one that is missing counts as absent.
    #[must_use]
    pub fn score(&self, batches: &[RecordBatch]) -> Vec<f64> {
        let (width, numbers) = matrix(&self.features, batches);
        if width == 0 {
            let rows = batches.iter().map(RecordBatch::rows).sum();
            return vec![self.link(self.intercept); rows];
        }
        numbers
            .chunks_exact(width)
            .map(|row| row.iter().zip(&self.weights).map(|(number, weight)| number * weight).sum::<f64>())
            .map(|sum| self.link(self.intercept + sum))
            .collect()
    }

    fn link(&self, sum: f64) -> f64 {
        match self.family {
            Family::Logistic => 1.0 / (1.0 + (-sum).exp()),
            Family::Linear => sum,
        }
    }
}
