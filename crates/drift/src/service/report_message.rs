//! Reports as messages.

use acgs_columns::Role;
use acgs_contracts::drift::v1 as proto;
use acgs_reference::Reference;
use acgs_vocabulary::convert::schema::role_to_proto;

use crate::{
    compare::Outcome,
    config::Config,
    detect::Report,
    measure::{Cause, FeatureDrift},
    schema_changes::{ChangeKind, SchemaChange},
    sequential::MonitorState,
    together::PairDrift,
};

/// Names in a list.
const NAMES_MAX: usize = 100;

/// The message of a report.
pub(super) fn report(config: &Config, report: &Report, reference: &Reference) -> proto::DriftReport {
    let worst = report.worst();
    let mut message = proto::DriftReport {
        row_count: report.row_count,
        drift_detected: report.drift_detected,
        score_drift: report.score_drift
            || report.standing().iter().any(|feature| feature.role != Role::Feature),
        drifted_share: report.drifted_share,
        drift_share_threshold: config.drift_share,
        features: report.features.iter().map(feature).collect(),
        reference_name: reference.name.clone(),
        reference_version: reference.version,
        decision: config.decision.as_str().to_owned(),
        alpha: config.alpha,
        schema_changes: report.schema_changes.iter().map(schema_change).collect(),
        monitor: report.monitor.as_ref().map(|state| monitor(state, report)),
        assumption: report.assumption.clone(),
        season_known: report.season_known,
        pairs: report.pairs.iter().map(|pair| pair_drift(pair, report)).collect(),
        compared: None,
        drifted_features: worst.iter().take(NAMES_MAX).map(|feature| feature.name.clone()).collect(),
    };
    if let Some(state) = &report.monitor {
        for (feature, ln) in message.features.iter_mut().zip(&state.ln_features) {
            feature.ln_evidence = Some(*ln);
        }
    }
    message
}

fn monitor(state: &MonitorState, report: &Report) -> proto::DriftMonitor {
    proto::DriftMonitor {
        ln_evidence: state.ln_evidence,
        ln_bound: state.budget.ln_bound,
        looks: state.looks,
        looks_per_false_alarm: state.budget.looks,
        alarm: state.alarm,
        standing: !state.standing.is_empty() || !state.parted.is_empty(),
        features: report.standing().into_iter().take(NAMES_MAX).map(|feature| feature.name.clone()).collect(),
        alarms: state.alarms,
        behind_key: state.behind_key.clone().unwrap_or_default(),
        behind_partition: state.behind_partition.clone().unwrap_or_default(),
        since_ms: state.since_ms,
        standing_looks: state.standing_looks,
        pairs_ln_evidence: state.ln_together,
        pairs: report.standing_pairs.iter().map(|pair| pair_drift(pair, report)).collect(),
    }
}

fn pair_drift(pair: &PairDrift, report: &Report) -> proto::PairDrift {
    let [first, second] = report.pair_names(pair);
    proto::PairDrift {
        first: first.to_owned(),
        second: second.to_owned(),
        reference_correlation: pair.then,
        correlation: pair.now,
    }
}

fn schema_change(change: &SchemaChange) -> proto::SchemaChange {
    let kind = match change.kind {
        ChangeKind::Missing => proto::SchemaChangeKind::Missing,
        ChangeKind::New => proto::SchemaChangeKind::New,
        ChangeKind::Retyped => proto::SchemaChangeKind::Retyped,
        ChangeKind::Renamed => proto::SchemaChangeKind::Renamed,
        ChangeKind::AllNull => proto::SchemaChangeKind::AllNull,
    };
    proto::SchemaChange { field: change.field.clone(), kind: kind.into(), detail: change.detail.clone() }
}

fn cause(cause: Cause) -> proto::DriftCause {
    match cause {
        Cause::Values => proto::DriftCause::Values,
        Cause::Nulls => proto::DriftCause::Nulls,
        Cause::Unseen => proto::DriftCause::Unseen,
    }
}

fn feature(feature: &FeatureDrift) -> proto::FeatureDrift {
    let outcome = |(outcome, expected_share, share): &(String, f64, f64)| proto::OutcomeShare {
        outcome: outcome.clone(),
        expected_share: *expected_share,
        share: *share,
    };
    proto::FeatureDrift {
        name: feature.name.clone(),
        role: role_to_proto(feature.role).into(),
        drifted: feature.drifted(),
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
        ln_evidence: None,
        causes: feature.causes.iter().map(|it| cause(*it).into()).collect(),
        null_p_value: feature.null_p_value,
        unseen_p_value: feature.unseen_p_value,
        expected_unseen_rate: feature.expected_unseen_rate,
        effective_row_count: feature.effective_rows,
        reference_effective_row_count: feature.reference_effective_rows,
        null_effect: feature.null_effect,
        unseen_effect: feature.unseen_effect,
        effect_in_tolerances: feature.in_tolerances,
        outcomes: feature.outcomes.iter().map(outcome).collect(),
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
