//! What a verdict about rows comes to in words, and how grave it is. It must not know how it was measured, nor protobuf.

use acgs_vocabulary::{Finding, Severity, finding::gravest};

use crate::{
    config::Config,
    detect::Report,
    measure::{Cause, FeatureDrift},
    sequential::MonitorState,
    together::PairDrift,
};

/// Features that a sentence names.
const NAMED_MAX: usize = 5;
/// Effects, in tolerances, from which drift is HIGH and CRITICAL.
const HIGH_FROM: f64 = 5.0;
const CRITICAL_FROM: f64 = 30.0;
/// Looks that drift has stood after which it is one step graver.
const PERSISTENT_LOOKS: u64 = 24;

/// How grave the drift of the rows by themselves is; `None` when there is none.
#[must_use]
pub fn severity_of_rows(config: &Config, report: &Report) -> Option<Severity> {
    let features = report.features.iter().filter(|feature| feature.drifted());
    let features = features.map(|feature| feature.in_tolerances);
    let pairs = report.pairs.iter().map(|pair| pair.in_tolerances(config.tolerance_correlation));
    let worst = features.chain(pairs).max_by(f64::total_cmp).map(|size| severity(size, 0));
    let of_schema = (!report.schema_changes.is_empty()).then_some(Severity::Medium);
    // What has moved without being drift of the whole is told, no more.
    worst.filter(|_| report.drift_detected).max(of_schema).or(worst.and(Some(Severity::Low)))
}

/// How grave a drift is that is so large and has stood for so many looks.
#[must_use]
pub fn severity(in_tolerances: f64, looks: u64) -> Severity {
    let persistent = looks >= PERSISTENT_LOOKS;
    match in_tolerances {
        size if size >= CRITICAL_FROM || (persistent && size >= HIGH_FROM) => Severity::Critical,
        size if size >= HIGH_FROM || persistent => Severity::High,
        _ => Severity::Medium,
    }
}

/// One feature in words.
fn words(feature: &FeatureDrift) -> String {
    let mut parts = Vec::new();
    for cause in &feature.causes {
        parts.push(match cause {
            Cause::Values => {
                format!(
                    "{} has moved by {:.3}, normal is up to {:.3}",
                    feature.name, feature.effect_size, feature.effect_threshold
                )
            }
            Cause::Nulls => format!(
                "{} is null in {:.2} % of rows, in the reference in {:.2} %",
                feature.name,
                100.0 * feature.null_rate,
                100.0 * feature.reference_null_rate
            ),
            Cause::Unseen => format!(
                "{} has {:.2} % of values that the reference never had, {:.2} % were to be expected",
                feature.name,
                100.0 * feature.unseen_rate,
                100.0 * feature.expected_unseen_rate
            ),
        });
    }
    if parts.is_empty() {
        format!("{} moves, by {:.3} in this window", feature.name, feature.effect_size)
    } else {
        parts.join("; ")
    }
}

/// The first features in words, and how many more.
fn sentence(features: &[&FeatureDrift]) -> String {
    let told = features.iter().take(NAMED_MAX).map(|feature| words(feature)).collect::<Vec<_>>().join("; ");
    match features.len().saturating_sub(NAMED_MAX) {
        0 => told,
        more => format!("{told}; and {more} more"),
    }
}

/// What has drifted, gravest first.
#[must_use]
pub fn findings(config: &Config, report: &Report) -> Vec<Finding> {
    let mut found = Vec::new();
    for change in &report.schema_changes {
        found.push(Finding {
            rule: "schema".into(),
            subject: change.field.clone(),
            severity: Severity::Medium,
            value: 1.0,
            threshold: 0.0,
            description: format!("{} {}: {}", change.field, change.kind.words(), change.detail),
        });
    }
    found.extend(match &report.monitor {
        Some(monitor) => of_monitor(report, monitor),
        None => of_rows(report),
    });
    // That a column is gone says that all of it is null.
    let is_told = |finding: &Finding| {
        finding.rule == "null_drift"
            && report.schema_changes.iter().any(|change| change.field == finding.subject)
    };
    found.retain(|finding| !is_told(finding));
    found.extend(of_pairs(config, report));
    found.extend(lone_pairs(report));
    for feature in report.worst() {
        found.push(Finding {
            rule: "feature_drift".into(),
            subject: feature.name.clone(),
            severity: Severity::Low,
            value: feature.effect_size,
            threshold: feature.effect_threshold,
            description: words(feature),
        });
    }
    gravest(found)
}

fn of_rows(report: &Report) -> Vec<Finding> {
    if report.drift_detected { drifts(&report.worst(), 0) } else { Vec::new() }
}

/// The drift that the monitor says stands, whatever these rows say by themselves.
fn of_monitor(report: &Report, monitor: &MonitorState) -> Vec<Finding> {
    if !monitor.tells {
        return Vec::new();
    }
    let mut found = drifts(&report.standing(), monitor.standing_looks);
    let key = monitor.behind_key.as_ref().map(|key| format!("; all of it is in the rows of {key}"));
    let partition = monitor.behind_partition.as_ref();
    let partition = partition.map(|partition| format!("; all of it comes from partition {partition}"));
    for finding in &mut found {
        finding.description.extend(key.iter().chain(&partition).map(String::as_str));
    }
    found
}

/// What does not go together any more as it did: by the monitor, or by the rows where there is none.
fn of_pairs(config: &Config, report: &Report) -> Option<Finding> {
    let (pairs, looks) = match &report.monitor {
        Some(monitor) => (Some(&report.standing_pairs).filter(|_| monitor.tells)?, monitor.standing_looks),
        None => (&report.pairs, 0),
    };
    let size = |pair: &PairDrift| pair.in_tolerances(config.tolerance_correlation);
    let worst = pairs.iter().max_by(|a, b| size(a).total_cmp(&size(b)))?;
    let all: Vec<String> = pairs.iter().take(NAMED_MAX).map(|pair| pair_words(report, pair)).collect();
    Some(Finding {
        rule: "correlation_drift".into(),
        subject: String::new(),
        severity: severity(size(worst), looks),
        value: size(worst),
        threshold: 1.0,
        description: format!("correlations have changed: {}", all.join("; ")),
    })
}

/// Pairs of a window by themselves, where a monitor decides about alerts.
fn lone_pairs(report: &Report) -> impl Iterator<Item = Finding> + '_ {
    let pairs = report.monitor.iter().flat_map(|_| &report.pairs);
    pairs.map(|pair| Finding {
        rule: "feature_drift".into(),
        subject: report.pair_names(pair).join(", "),
        severity: Severity::Low,
        value: pair.now,
        threshold: pair.then,
        description: format!("a correlation has changed: {}", pair_words(report, pair)),
    })
}

fn pair_words(report: &Report, pair: &PairDrift) -> String {
    format!("{}: {:.2}, was {:.2}", report.pair_names(pair).join(" and "), pair.now, pair.then)
}

/// One finding for what has moved; nulls alone are one of their own each, since quality may speak of them, too.
fn drifts(worst: &[&FeatureDrift], looks: u64) -> Vec<Finding> {
    let (nulls, moved): (Vec<&FeatureDrift>, Vec<&FeatureDrift>) =
        worst.iter().partition(|feature| feature.causes == [Cause::Nulls]);
    let drift = |rule: &str, subject: &str, features: &[&FeatureDrift]| {
        let size = features.first()?.in_tolerances;
        Some(Finding {
            rule: rule.to_owned(),
            subject: subject.to_owned(),
            severity: severity(size, looks),
            value: size,
            threshold: 1.0,
            description: sentence(features),
        })
    };
    let of_nulls = nulls.iter().filter_map(|feature| drift("null_drift", &feature.name, &[feature]));
    drift("drift", "", &moved).into_iter().chain(of_nulls).collect()
}
