//! Reports as messages.

use acgs_contracts::drift::v1 as proto;
use acgs_vocabulary::convert::schema::role_to_proto;

use crate::{
    compare::Outcome,
    config::Config,
    detect::{FeatureDrift, Report},
};

/// The message of a report.
pub(super) fn report(config: &Config, report: &Report, name: &str, version: u64) -> proto::DriftReport {
    proto::DriftReport {
        row_count: report.row_count,
        drift_detected: report.drift_detected,
        score_drift: report.score_drift,
        drifted_share: report.drifted_share,
        drift_share_threshold: config.drift_share,
        features: report.features.iter().map(feature).collect(),
        reference_name: name.to_owned(),
        reference_version: version,
    }
}

fn feature(feature: &FeatureDrift) -> proto::FeatureDrift {
    proto::FeatureDrift {
        name: feature.name.clone(),
        role: role_to_proto(feature.role).into(),
        drifted: feature.drifted,
        test: feature.test.to_owned(),
        statistic: feature.statistic,
        p_value: feature.p_value,
        adjusted_p_value: feature.adjusted_p_value,
        effect_size: feature.effect_size,
        effect_threshold: feature.effect_threshold,
        psi: feature.psi,
        psi_corrected: feature.psi_corrected,
        jensen_shannon: feature.jensen_shannon,
        reference_null_rate: feature.reference_null_rate,
        null_rate: feature.null_rate,
        unseen_rate: feature.unseen_rate,
        row_count: feature.row_count,
        method: feature.method.clone(),
    }
}

/// The message of a test's outcome.
pub(super) fn outcome(outcome: Outcome) -> proto::TestResult {
    proto::TestResult {
        test: outcome.test,
        statistic: outcome.statistic,
        p_value: outcome.p_value,
        degrees_of_freedom: outcome.degrees_of_freedom,
        method: outcome.method,
        not_applicable: outcome.not_applicable,
    }
}
