//! References as messages, and back: what comes out of here can be counted into.

use std::sync::Arc;

use acgs_columns::{Field, schema::FIELDS_MAX};
use acgs_contracts::drift::v1 as proto;
use acgs_statistics::cells::Cells;
use acgs_vocabulary::{Problem, convert::schema};
use prost::Message;

use crate::reference::{CATEGORIES_MAX, FeatureReference, LossBaseline, Reference, Shape, is_categorical};

/// More rows than any reference has, and few enough to add without care.
const COUNT_MAX: u64 = 1 << 48;

/// The message of a reference.
#[must_use]
pub fn to_proto(reference: &Reference) -> proto::Reference {
    proto::Reference {
        name: reference.name.clone(),
        version: reference.version,
        model_id: reference.model_id.clone(),
        row_count: reference.row_count,
        window_ms: reference.window_ms,
        features: reference.features.iter().map(feature_to_proto).collect(),
        baseline: reference.baseline.map(|baseline| proto::LossBaseline {
            labelled_count: baseline.labelled_count,
            brier: baseline.brier,
            brier_standard_error: baseline.brier_standard_error,
            accuracy: baseline.accuracy,
            calibration_error: baseline.calibration_error,
        }),
        created_ms: reference.created_ms,
        constitutional_hash: reference.constitutional_hash.clone(),
    }
}

fn feature_to_proto(feature: &FeatureReference) -> proto::FeatureReference {
    let mut message = proto::FeatureReference {
        field: Some(schema::field_to_proto(&feature.field)),
        null_count: feature.null_count,
        effect_mean: feature.span_effect.map(|(mean, _)| mean),
        effect_standard_deviation: feature.span_effect.map(|(_, deviation)| deviation),
        ..proto::FeatureReference::default()
    };
    match &feature.shape {
        Shape::Numeric { cells, counts, mean, standard_deviation } => {
            message.edges = cells.edges().to_vec();
            message.discrete = cells.is_discrete();
            message.counts.clone_from(counts);
            (message.minimum, message.maximum) = (cells.minimum(), cells.maximum());
            (message.mean, message.standard_deviation) = (*mean, *standard_deviation);
        }
        Shape::Categorical { categories, counts, other_count } => {
            message.categories = categories.iter().map(ToString::to_string).collect();
            message.counts.clone_from(counts);
            message.other_count = *other_count;
        }
    }
    message
}

/// A reference from its encoded message.
///
/// # Errors
/// `BAD_REFERENCE`, naming the field.
pub fn decode(content: &[u8]) -> Result<Reference, Problem> {
    let message = proto::Reference::decode(content).map_err(|error| {
        Problem::field("reference", "BAD_REFERENCE", format!("cannot be decoded: {error}"))
    })?;
    if message.features.len() > FIELDS_MAX {
        let what = format!("has more than {FIELDS_MAX} features");
        return Err(Problem::field("reference.features", "BAD_REFERENCE", what));
    }
    let features = message.features.into_iter().map(feature).collect::<Result<Vec<_>, Problem>>()?;
    Ok(Reference {
        name: message.name,
        version: message.version,
        model_id: message.model_id,
        row_count: message.row_count,
        window_ms: message.window_ms,
        features,
        baseline: message.baseline.map(|baseline| LossBaseline {
            labelled_count: baseline.labelled_count,
            brier: baseline.brier,
            brier_standard_error: baseline.brier_standard_error,
            accuracy: baseline.accuracy,
            calibration_error: baseline.calibration_error,
        }),
        created_ms: message.created_ms,
        constitutional_hash: message.constitutional_hash,
    })
}

fn feature(message: proto::FeatureReference) -> Result<FeatureReference, Problem> {
    let field = message.field.unwrap_or_default();
    let path = format!("reference.features[{}]", field.name);
    let bad = |what: &str| Problem::field(path.clone(), "BAD_REFERENCE", what);
    let kind = schema::kind(field.kind()).ok_or_else(|| bad("has no known kind"))?;
    let counts = message.counts.iter().chain([&message.other_count, &message.null_count]);
    if counts.fold(0_u64, |sum, count| sum.saturating_add(*count)) > COUNT_MAX {
        return Err(bad("counts more rows than any reference has"));
    }
    let field = Field::new(field.name.clone(), kind, schema::role(field.role()));
    let shape = if is_categorical(&field) {
        if message.categories.len() != message.counts.len() || message.categories.len() > CATEGORIES_MAX {
            return Err(bad("does not have one count for each of at most 255 categories"));
        }
        let categories = message.categories.iter().map(|category| Arc::from(category.as_str())).collect();
        Shape::Categorical { categories, counts: message.counts, other_count: message.other_count }
    } else {
        if message.counts.len() != message.edges.len() + 1 {
            return Err(bad("does not have one count more than edges"));
        }
        let cells = Cells::from_edges(message.edges, message.minimum, message.maximum, message.discrete)
            .ok_or_else(|| bad("does not have at most 255 ascending edges within its range"))?;
        let (mean, standard_deviation) = (message.mean, message.standard_deviation);
        if !standard_deviation.is_finite() || standard_deviation < 0.0 {
            return Err(bad("has no finite standard deviation"));
        }
        Shape::Numeric { cells, counts: message.counts, mean, standard_deviation }
    };
    let span_effect = message.effect_mean.zip(message.effect_standard_deviation);
    Ok(FeatureReference { field, shape, null_count: message.null_count, span_effect })
}
