//! Reports, alerts and totals as messages.

use acgs_contracts::{
    common::v1 as common, drift::v1::DriftReport, orchestrator::v1 as proto,
    performance::v1::PerformanceReport, quality::v1::QualityReport,
};
use acgs_statistics::{harm::Harm, kinds::DriftKind};
use acgs_vocabulary::{Alert, AlertState, JudgeKind};

use super::evidence::report as decoded;
use crate::{
    actor::Told,
    core::{Dropped, Part, Report, Totals},
};

/// The message of a judge.
fn judge(judge: JudgeKind) -> proto::Judge {
    match judge {
        JudgeKind::Quality => proto::Judge::Quality,
        JudgeKind::Drift => proto::Judge::Drift,
        JudgeKind::Performance => proto::Judge::Performance,
    }
}

/// The message of harm.
pub(super) fn harm(harm: Harm) -> proto::Harm {
    match harm {
        Harm::None => proto::Harm::None,
        Harm::Harmless => proto::Harm::Harmless,
        Harm::Harmful => proto::Harm::Harmful,
        Harm::Decay => proto::Harm::Decay,
        Harm::Unknown => proto::Harm::Unknown,
    }
}

/// The messages of kinds of drift.
pub(super) fn drift_kinds(kinds: &[DriftKind]) -> Vec<i32> {
    let message = |kind: &DriftKind| match kind {
        DriftKind::Covariate => proto::DriftKind::Covariate,
        DriftKind::Score => proto::DriftKind::Score,
        DriftKind::Prior => proto::DriftKind::Prior,
        DriftKind::Concept => proto::DriftKind::Concept,
    };
    kinds.iter().map(|kind| message(kind).into()).collect()
}

/// The message of a judge's part.
pub(super) fn verdict(part: &Part) -> proto::JudgeVerdict {
    let reason = match &part.verdict {
        Some(verdict) => verdict.reason.clone(),
        None => "no answer in time".to_owned(),
    };
    proto::JudgeVerdict {
        judge: judge(part.judge).into(),
        status: common::VerdictStatus::from(part.status()).into(),
        reason,
        revision: part.revision,
    }
}

/// The judges' own reports.
pub(super) fn reports(
    parts: &[Part],
) -> (Option<QualityReport>, Option<DriftReport>, Option<PerformanceReport>) {
    // What could not be read was set aside when the parts were joined.
    (
        decoded(parts, JudgeKind::Quality).unwrap_or_default(),
        decoded(parts, JudgeKind::Drift).unwrap_or_default(),
        decoded(parts, JudgeKind::Performance).unwrap_or_default(),
    )
}

fn report(report: &Report) -> proto::WindowReport {
    let (quality, drift, performance) = reports(&report.parts);
    proto::WindowReport {
        report_seq: report.report_seq,
        window: Some((&report.window).into()),
        revision: report.revision,
        verdicts: report.parts.iter().map(verdict).collect(),
        quality,
        drift,
        performance,
        harm: harm(report.harm).into(),
        findings: report.findings.iter().map(|(_, finding)| finding.into()).collect(),
        alerts: report.alerts.iter().map(alert).collect(),
        latency_us: report.latency_us,
        drift_kinds: drift_kinds(&report.drift_kinds),
        labels_awaited: report.summary.labels_awaited,
    }
}

/// The message of an alert's change.
pub(super) fn alert(alert: &Alert) -> proto::Alert {
    let state = match alert.state {
        AlertState::Open => proto::AlertState::Open,
        AlertState::Resolved => proto::AlertState::Resolved,
    };
    proto::Alert {
        alert_id: alert.alert_id.to_string(),
        rule: alert.rule.clone(),
        subject: alert.subject.clone(),
        severity: common::Severity::from(alert.severity).into(),
        state: state.into(),
        window: Some((&alert.window).into()),
        message: alert.message.clone(),
        occurrences: alert.occurrences,
        finding: Some((&alert.finding).into()),
    }
}

fn dropped(dropped: Dropped) -> proto::Dropped {
    proto::Dropped {
        late: dropped.late,
        null_timestamp: dropped.null_timestamp,
        timestamp_out_of_range: dropped.timestamp_out_of_range,
        timestamp_in_future: dropped.timestamp_in_future,
        duplicate_frames: dropped.duplicate_frames,
        labels_expired: dropped.labels_expired,
        labels_duplicate: dropped.labels_duplicate,
        labels_contradicted: dropped.labels_contradicted,
        labels_corrected: dropped.labels_corrected,
        labels_invalid: dropped.labels_invalid,
    }
}

fn closed(totals: Totals) -> proto::Closed {
    proto::Closed {
        accepted_rows: totals.accepted_rows,
        windows: totals.windows,
        reports: totals.reports,
        dropped: Some(dropped(totals.dropped)),
    }
}

/// The message of what a client is told.
pub(super) fn told(told: Told) -> proto::StreamWindowsResponse {
    use proto::stream_windows_response::Message;
    let message = match told {
        Told::Accepted { through_seq, credit_bytes, totals } => Message::Accepted(proto::Accepted {
            through_seq,
            credit_bytes,
            dropped: Some(dropped(totals.dropped)),
        }),
        Told::Report(told) => Message::Report(report(&told)),
        Told::Closed(totals) => Message::Closed(closed(totals)),
    };
    proto::StreamWindowsResponse { message: Some(message) }
}
