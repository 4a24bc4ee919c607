//! From counts to a verdict about some rows: which features have drifted, whether that is drift of the whole, and how grave it is.
//! It must not know protobuf.
//!
//! Drift of a feature takes two things: a p-value that survives correction over all features, and an effect above its tolerance and what noise
//! adds to it. The first guards small windows, the second large ones.

use acgs_columns::Role;
use acgs_reference::{Reference, counts::PaneCounts};
use acgs_statistics::multiple::benjamini_hochberg;
use acgs_vocabulary::{Finding, Severity, finding::gravest};

use crate::{
    config::{Config, Decision},
    frozen::Frozen,
    looked::{Looked, Samples},
    measure::{self, Cause, FeatureDrift},
    schema_changes::SchemaChange,
    sequential::MonitorState,
    together::{self, PairDrift},
};

/// Corrected index above which a feature is named, the original's limit.
pub const PSI_MAX: f64 = 0.2;
/// Windows' worth of rows that a reference has to have until it shows how they hang together.
const SPANS_MIN: f64 = 30.0;
/// Features that a sentence names.
const NAMED_MAX: usize = 5;
/// Effects, in tolerances, from which drift is HIGH and CRITICAL.
const HIGH_FROM: f64 = 5.0;
const CRITICAL_FROM: f64 = 30.0;
/// Looks that drift has stood after which it is one step graver.
const PERSISTENT_LOOKS: u64 = 24;

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Rows.
    pub row_count: u64,
    /// Whether the rows, by themselves, have drifted.
    pub drift_detected: bool,
    /// Whether score or prediction has drifted.
    pub score_drift: bool,
    /// Share of features that drifted.
    pub drifted_share: f64,
    /// In the reference's order.
    pub features: Vec<FeatureDrift>,
    /// Pairs that do not go together as they did, by the monitor.
    pub pairs: Vec<PairDrift>,
    /// Columns that are not what the reference had.
    pub schema_changes: Vec<SchemaChange>,
    /// Of the stream.
    pub monitor: Option<MonitorState>,
    /// What was taken for granted; empty for nothing.
    pub assumption: String,
    /// Whether the reference has rows of this time of year; `None` where either has no times.
    pub season_known: Option<bool>,
}

/// Judges a pane against its reference. `samples` gives the sorted samples of a numeric feature where they are at
/// hand; tests are then exact.
#[must_use]
pub fn report<'a>(
    config: &Config,
    frozen: &Frozen,
    pane: &PaneCounts,
    samples: impl Fn(usize) -> Option<Samples<'a>>,
) -> Report {
    judge(config, frozen, pane, samples, false)
}

/// The same, with the outcomes of every feature, so that a person can compute it again.
#[must_use]
pub fn report_in_full<'a>(
    config: &Config,
    frozen: &Frozen,
    pane: &PaneCounts,
    samples: impl Fn(usize) -> Option<Samples<'a>>,
) -> Report {
    judge(config, frozen, pane, samples, true)
}

fn judge<'a>(
    config: &Config,
    frozen: &Frozen,
    pane: &PaneCounts,
    samples: impl Fn(usize) -> Option<Samples<'a>>,
    in_full: bool,
) -> Report {
    let looks = frozen.reference.features.iter().zip(&*frozen.outcomes).zip(&pane.features);
    let mut features: Vec<FeatureDrift> = Vec::with_capacity(pane.features.len());
    let expected: Vec<_> =
        frozen.outcomes.iter().map(|outcomes| outcomes.expected(&pane.phase_rows)).collect();
    let looked: Vec<Looked<'_>> = looks
        .zip(&expected)
        .map(|(((feature, outcomes), counts), expected)| Looked {
            feature,
            outcomes,
            expected,
            counts,
            rows: pane.row_count,
        })
        .collect();
    for (index, looked) in looked.iter().enumerate() {
        features.push(measure::measure(config, looked, samples(index)));
    }
    let p_values: Vec<f64> = features.iter().map(FeatureDrift::least_p_value).collect();
    for ((feature, adjusted), looked) in features.iter_mut().zip(benjamini_hochberg(&p_values)).zip(&looked) {
        feature.decide(config, adjusted);
        if in_full || feature.drifted() {
            feature.outcomes = measure::outcome_shares(looked);
        }
    }
    let score_drift = features.iter().any(|feature| feature.drifted() && feature.role != Role::Feature);
    let (drift_detected, drifted_share) = decide(config, &features, score_drift);
    Report {
        row_count: pane.row_count,
        drift_detected,
        score_drift,
        drifted_share,
        features,
        pairs: Vec::new(),
        schema_changes: Vec::new(),
        monitor: None,
        assumption: assumption(&frozen.reference, pane.row_count),
        season_known: None,
    }
}

/// Whether the whole has drifted, and the share of features that have.
fn decide(config: &Config, features: &[FeatureDrift], score_drift: bool) -> (bool, f64) {
    let inputs = || features.iter().filter(|feature| feature.role == Role::Feature);
    let importance = |feature: &FeatureDrift| match config.decision {
        Decision::Importance => config.importance.get(&feature.name).copied().unwrap_or(1.0),
        Decision::Any | Decision::Share => 1.0,
    };
    let all: f64 = inputs().map(importance).sum();
    let drifted: f64 = inputs().filter(|feature| feature.drifted()).map(importance).sum();
    let weighed = if all > 0.0 { drifted / all } else { 0.0 };
    let count = inputs().count().max(1) as f64;
    let share = inputs().filter(|feature| feature.drifted()).count() as f64 / count;
    let by_share = match config.decision {
        Decision::Any => features.iter().any(FeatureDrift::drifted),
        Decision::Share | Decision::Importance => all > 0.0 && weighed >= config.drift_share,
    };
    (score_drift || by_share, share)
}

/// What has to be believed of rows because the reference does not show it.
fn assumption(reference: &Reference, rows: u64) -> String {
    let spans = reference.timed_count as f64 / rows.max(1) as f64;
    if reference.timed_count == 0 {
        "assumes independent rows: the reference has no event times".to_owned()
    } else if spans < SPANS_MIN {
        format!(
            "assumes independent rows beyond {} in a row: the reference has {spans:.1} times as many rows as this, \
             {SPANS_MIN} times would show how they hang together",
            (reference.timed_count as f64 / SPANS_MIN).floor()
        )
    } else {
        String::new()
    }
}

impl Report {
    /// Takes what the monitor says, and measures the pairs that it names.
    pub fn monitored(&mut self, frozen: &Frozen, pane: &PaneCounts, state: MonitorState) {
        let pairs = &frozen.reference.pairs;
        self.pairs =
            state.parted.iter().filter_map(|pair| together::measure(pairs, *pair, &pane.pairs)).collect();
        self.monitor = Some(state);
    }

    /// Features that have drifted, the worst first.
    #[must_use]
    pub fn worst(&self) -> Vec<&FeatureDrift> {
        worst_first(self.features.iter().filter(|feature| feature.drifted()))
    }

    /// Features whose drift stands, by the monitor, the worst first.
    #[must_use]
    pub fn standing(&self) -> Vec<&FeatureDrift> {
        let places = self.monitor.iter().flat_map(|monitor| &monitor.standing);
        worst_first(places.filter_map(|place| self.features.get(*place)))
    }

    /// How grave the drift of the rows by themselves is; `None` when there is none.
    #[must_use]
    pub fn severity(&self) -> Option<Severity> {
        let worst = self.worst().first().map(|feature| severity(feature.in_tolerances, 0));
        let of_rows = worst.filter(|_| self.drift_detected);
        let of_schema = (!self.schema_changes.is_empty()).then_some(Severity::Medium);
        of_rows
            .max(of_schema)
            .or_else(|| self.features.iter().any(FeatureDrift::drifted).then_some(Severity::Low))
    }
}

fn worst_first<'a>(features: impl Iterator<Item = &'a FeatureDrift>) -> Vec<&'a FeatureDrift> {
    let mut sorted: Vec<&FeatureDrift> = features.collect();
    sorted.sort_by(|a, b| b.in_tolerances.total_cmp(&a.in_tolerances));
    sorted
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
    if monitor.tells { drifts(&report.standing(), monitor.standing_looks) } else { Vec::new() }
}

/// What does not go together any more as it did.
fn of_pairs(config: &Config, report: &Report) -> Option<Finding> {
    let monitor = report.monitor.as_ref().filter(|monitor| monitor.tells)?;
    let size = |pair: &PairDrift| pair.in_tolerances(config.tolerance_correlation);
    let worst = report.pairs.iter().max_by(|a, b| size(a).total_cmp(&size(b)))?;
    let name = |place: usize| report.features.get(place).map_or("", |feature| feature.name.as_str());
    let words = |pair: &PairDrift| {
        let (first, second) = pair.features;
        format!("{} and {}: {:.2}, was {:.2}", name(first), name(second), pair.now, pair.then)
    };
    let all: Vec<String> = report.pairs.iter().take(NAMED_MAX).map(words).collect();
    Some(Finding {
        rule: "correlation_drift".into(),
        subject: String::new(),
        severity: severity(size(worst), monitor.standing_looks),
        value: size(worst),
        threshold: 1.0,
        description: format!("correlations have changed: {}", all.join("; ")),
    })
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
