//! `ExplainDetection`: how a verdict came about, in formulas and in numbers that anybody can compute again. A part of the service.

use acgs_contracts::drift::v1 as proto;
use acgs_vocabulary::Problem;
use prost::Message;

use super::{DriftService, monitor};

/// Bytes of a report that are kept; of a larger one features are left out, those that have moved least first.
const REPORT_BYTES_MAX: usize = 64 << 10;

/// What is kept of a report.
pub(super) fn kept(mut report: proto::DriftReport) -> Vec<u8> {
    if report.encoded_len() > REPORT_BYTES_MAX {
        report.features.sort_by(|a, b| b.effect_in_tolerances.total_cmp(&a.effect_in_tolerances));
    }
    while report.encoded_len() > REPORT_BYTES_MAX && !report.features.is_empty() {
        let half = report.features.len() / 2;
        report.features.truncate(half);
    }
    report.encode_to_vec()
}

impl DriftService {
    pub(super) async fn explain(
        &self,
        request: proto::ExplainDetectionRequest,
    ) -> Result<proto::ExplainDetectionResponse, Problem> {
        let id = request.detection_id;
        if let Some(report) = request.report {
            if !id.is_empty() {
                return Err(Problem::field("report", "TOO_MANY", "is beside detection_id: give one of them"));
            }
            return Ok(proto::ExplainDetectionResponse {
                detection: None,
                steps: steps(&report),
                report: Some(report),
            });
        }
        let history = self.history.as_ref().ok_or_else(|| Problem::home_required("detections"))?;
        let found = history.get("", &id).await?;
        let found = found.ok_or_else(|| Problem::missing("detection", id, "UNKNOWN_DETECTION"))?;
        let report = proto::DriftReport::decode(&found.report[..])
            .map_err(|_| Problem::internal("a stored report cannot be read"))?;
        let steps = steps(&report);
        let detection = Some(monitor::record(found));
        Ok(proto::ExplainDetectionResponse { detection, steps, report: Some(report) })
    }
}

fn steps(report: &proto::DriftReport) -> Vec<proto::ExplanationStep> {
    let mut steps = decision(report);
    steps.extend(report.monitor.as_ref().map(|state| of_monitor(state, report)));
    steps.extend(report.features.iter().flat_map(|feature| of_feature(feature, report)));
    steps
}

/// How a stream's evidence made an alarm.
fn of_monitor(monitor: &proto::DriftMonitor, report: &proto::DriftReport) -> proto::ExplanationStep {
    let evidence = report.features.iter().filter_map(|feature| Some((&feature.name, feature.ln_evidence?)));
    let evidence: Vec<String> = evidence.map(|(name, ln)| format!("{name} {ln:.3}")).collect();
    step(
        "",
        "an alarm when E, the mean of the evidence of all features and of all pairs together, reaches 2 N for each monitor of the stream, \
         N the looks for which one false alarm is to be expected; features whose drift stands already count 0, evidence below 1 is shown as 1; an alarm stands until \
         a look is within the tolerances",
        format!(
            "ln E = {:.3}, ln bound = {:.3}, N = {:.0}, look {}, alarm = {}, stands: {}; ln evidence of pairs {:.3}, of {}",
            monitor.ln_evidence,
            monitor.ln_bound,
            monitor.looks_per_false_alarm,
            monitor.looks,
            monitor.alarm,
            if monitor.features.is_empty() { "none".to_owned() } else { monitor.features.join(", ") },
            monitor.pairs_ln_evidence,
            evidence.join(", "),
        ),
    )
}

fn step(subject: &str, formula: &str, numbers: String) -> proto::ExplanationStep {
    proto::ExplanationStep { subject: subject.to_owned(), formula: formula.to_owned(), numbers }
}

/// How features together made a verdict.
fn decision(report: &proto::DriftReport) -> Vec<proto::ExplanationStep> {
    let drifted = report.features.iter().filter(|feature| feature.drifted).count();
    let mut steps = vec![step(
        "",
        "a feature has drifted when q = Benjamini-Hochberg over features of min(1, 3 min(p values, p nulls, p unseen)) gives a cause: \
         3 p q / min(...) < alpha and its effect above its threshold; the whole by `decision`",
        format!(
            "alpha = {}, decision = {}, {drifted} of {} features: drift_detected = {}{}",
            report.alpha,
            report.decision,
            report.features.len(),
            report.drift_detected,
            if report.assumption.is_empty() { String::new() } else { format!("; {}", report.assumption) },
        ),
    )];
    steps.extend(report.pairs.iter().map(|pair| {
        step(
            "",
            "a pair has drifted when tails of the beta-binomial law of how often both are on the same side of their medians, times the \
             number of pairs, survive the same correction, and the correlation sin(pi (share - 1/2)) has moved by more than its tolerance",
            format!(
                "{} and {}: {:.4}, was {:.4}",
                pair.first, pair.second, pair.correlation, pair.reference_correlation
            ),
        )
    }));
    steps
}

fn of_feature(feature: &proto::FeatureDrift, report: &proto::DriftReport) -> Vec<proto::ExplanationStep> {
    let (n, m) = (feature.reference_effective_row_count, feature.effective_row_count);
    let outcomes: Vec<String> = feature
        .outcomes
        .iter()
        .map(|it| format!("{}: {:.6} expected, {:.6} now", it.outcome, it.expected_share, it.share))
        .collect();
    let name = feature.name.as_str();
    let formula = match (feature.test.as_str(), feature.method.as_str()) {
        ("ks", "exact") => {
            "D = largest difference of the two distribution functions; p: exact law, ties as if none"
        }
        ("ks", _) => {
            "D = largest difference of the distribution functions at the edges of cells; \
             p = 2 sum over k >= 1 of (-1)^(k-1) exp(-2 k^2 D^2 n m / (n + m))"
        }
        _ => {
            "X2 = sum over categories of (q - p)^2 / (s (1/n + 1/m)), s = (n p + m q) / (n + m), those rare in both together joined, never seen ones left out; \
             p: upper tail of chi-square with columns - 1 degrees of freedom"
        }
    };
    let values = format!(
        "{} {} = {:.6}, n = {n:.1}, m = {m:.1}, p = {:.3e}, q = {:.3e}, effect {:.6} against {:.6}",
        feature.test,
        feature.method,
        feature.statistic,
        feature.p_value,
        feature.adjusted_p_value,
        feature.effect_size,
        feature.effect_threshold
    );
    let rates = format!(
        "nulls {:.6} of {} rows, {:.6} expected, p = {:.3e}, h = {:.4}; unseen {:.6}, {:.6} expected, p = {:.3e}, h = {:.4}",
        feature.null_rate,
        report.row_count,
        feature.reference_null_rate,
        feature.null_p_value,
        feature.null_effect,
        feature.unseen_rate,
        feature.expected_unseen_rate,
        feature.unseen_p_value,
        feature.unseen_effect
    );
    vec![
        step(name, formula, values),
        step(
            name,
            "tails of the beta-binomial law about the reference: of m rows about n with a value; of nulls m and n are of all rows; h = 2 asin(sqrt(now)) - 2 asin(sqrt(expected))",
            rates,
        ),
        step(name, "shares of rows with a value, part by part", outcomes.join("; ")),
    ]
}
