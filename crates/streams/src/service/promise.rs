//! How a model keeps its promise: what the labels of a window, those of the last looks and the monitor of the stream come to together. It must not
//! know how they were measured.

use acgs_contracts::{
    drift::v1::DriftReport,
    performance::v1::{DecayMetric, Estimate, PerformanceReport, PerformanceState},
};
use acgs_statistics::harm::{Ranking, Risk, Tolerated, lower_end_beside, one_sided, risk};
use acgs_vocabulary::event::payload::PerformanceFound;

/// How the model keeps its promise: by the stream's monitor where there is one, which a window by itself cannot overrule.
pub(super) fn found(report: &PerformanceReport) -> PerformanceFound {
    match (&report.monitor, report.state()) {
        _ if stands(report) => PerformanceFound::Decayed,
        (Some(_), PerformanceState::Decayed) => PerformanceFound::Unknown,
        (_, state) => found_of(state),
    }
}

/// Whether decay stands by the stream's monitor.
pub(super) fn stands(report: &PerformanceReport) -> bool {
    report.monitor.as_ref().is_some_and(|monitor| monitor.standing() != DecayMetric::Unspecified)
}

/// Why that is not known.
pub(super) fn reason(report: &PerformanceReport) -> String {
    if report.monitor.is_some() && !stands(report) && report.state() == PerformanceState::Decayed {
        return "worse in this window by itself, which is not enough to tell decay from chance".to_owned();
    }
    report.state_reason.clone()
}

fn found_of(state: PerformanceState) -> PerformanceFound {
    match state {
        PerformanceState::Unspecified => PerformanceFound::Unspecified,
        PerformanceState::Unknown => PerformanceFound::Unknown,
        PerformanceState::Ok => PerformanceFound::Ok,
        PerformanceState::Decayed => PerformanceFound::Decayed,
    }
}

/// How the loss stands. What the monitor or the judge calls decayed is worse, also where it is the ranking that shows it; before there are enough
/// labels nothing is known.
pub(super) fn risk_of(report: &PerformanceReport, drift: Option<&DriftReport>) -> Risk {
    if stands(report) {
        return Risk::Worse;
    }
    match report.state() {
        PerformanceState::Decayed => return Risk::Worse,
        PerformanceState::Unknown | PerformanceState::Unspecified => return Risk::Unclear,
        PerformanceState::Ok => {}
    }
    let interval = report.loss.map(|loss| {
        let lower = lower_end_beside(loss.value, loss.lower, report.baseline_loss_standard_error);
        (lower, one_sided(loss.value, loss.upper))
    });
    let tolerated = report.baseline_loss.map(|baseline| Tolerated {
        baseline,
        margin: report.loss_margin,
        useless: report.useless_loss,
        ranking: ranking(report.auc, report.baseline_auc),
    });
    match risk(interval, tolerated) {
        Risk::Unclear if is_not_worse_of_late(report, drift) => Risk::NotWorse,
        by_itself => by_itself,
    }
}

fn ranking(auc: Option<Estimate>, baseline: Option<f64>) -> Option<Ranking> {
    auc.map(|auc| Ranking { interval: (one_sided(auc.value, auc.lower), auc.upper), baseline })
}

/// Whether the last looks together say that the loss is not worse: where drift has stood for as long as they have, and this window does not look
/// worse.
fn is_not_worse_of_late(report: &PerformanceReport, drift: Option<&DriftReport>) -> bool {
    let recent = report.monitor.as_ref().and_then(|monitor| monitor.recent.as_ref());
    let since_ms = drift.and_then(|drift| drift.monitor.as_ref()?.since_ms);
    let (Some(recent), Some(since_ms)) = (recent, since_ms) else { return false };
    let (Some(of_late), Some(here), Some(baseline)) = (recent.loss, report.loss, report.baseline_loss) else {
        return false;
    };
    let is_before = recent.from_ms.is_none_or(|from_ms| from_ms < since_ms);
    if is_before || here.value > baseline + report.loss_margin {
        return false;
    }
    let tolerated = Tolerated {
        baseline: recent.baseline_loss,
        margin: recent.loss_margin,
        useless: recent.useless_loss,
        ranking: ranking(recent.auc, report.baseline_auc),
    };
    risk(Some((of_late.lower, one_sided(of_late.value, of_late.upper))), Some(tolerated)) == Risk::NotWorse
}
