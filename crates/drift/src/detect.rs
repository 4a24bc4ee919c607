//! From counts to a verdict about some rows: which features have drifted, and whether that is drift of the whole. It must not know how grave that is,
//! nor protobuf.
//!
//! Drift of a feature takes two things: a p-value that survives correction over all features, and an effect above its tolerance and what noise
//! adds to it. The first guards small windows, the second large ones.

use acgs_columns::Role;
use acgs_reference::{FeatureReference, Reference, counts::PaneCounts, variation::factor_at};
use acgs_statistics::multiple::benjamini_hochberg;

use crate::{
    config::{Config, Decision},
    frozen::Frozen,
    looked::{Looked, Samples},
    measure::{self, FeatureDrift},
    schema_changes::SchemaChange,
    sequential::MonitorState,
    together::{self, PairDrift},
};

/// Corrected index above which a feature is named, the original's limit.
pub const PSI_MAX: f64 = 0.2;
/// Milliseconds of a day.
const DAY_MS: f64 = 86_400_000.0;
/// Days that a reference has to cover until each day of the week is in it.
const DAYS_MIN: f64 = 6.9;
/// Times as often as those of the reference rows come when it is said.
const DENSER_SAID: f64 = 10.0;
/// Windows' worth of rows that a reference has to have until it shows how they hang together.
const SPANS_MIN: f64 = 30.0;

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
    /// Pairs that do not go together as they did, in these rows by themselves; those that have moved most first.
    pub pairs: Vec<PairDrift>,
    /// The same by the monitor.
    pub standing_pairs: Vec<PairDrift>,
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
    let denser = frozen.denser(pane);
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
            denser,
        })
        .collect();
    for (index, looked) in looked.iter().enumerate() {
        features.push(measure::measure(config, looked, samples(index)));
    }
    let mut p_values: Vec<f64> = features.iter().map(FeatureDrift::least_p_value).collect();
    // All pairs are one more unit beside the features.
    let of_pairs = together::tests(&frozen.reference.pairs, &pane.pairs, denser);
    p_values.extend(of_pairs.least_p_value);
    let adjusted = benjamini_hochberg(&p_values);
    for ((feature, adjusted), looked) in features.iter_mut().zip(&adjusted).zip(&looked) {
        feature.decide(config, *adjusted);
        if in_full || feature.drifted() {
            feature.outcomes = measure::outcome_shares(looked);
        }
    }
    let score_drift = features.iter().any(|feature| feature.drifted() && feature.role != Role::Feature);
    let (by_features, drifted_share) = decide(config, &features, score_drift);
    let adjusted = adjusted.get(features.len()).copied().unwrap_or(1.0);
    let pairs = of_pairs.moved(config.alpha, adjusted, config.tolerance_correlation);
    let drift_detected = by_features || (config.decision == Decision::Any && !pairs.is_empty());
    Report {
        row_count: pane.row_count,
        drift_detected,
        score_drift,
        drifted_share,
        features,
        pairs,
        standing_pairs: Vec::new(),
        schema_changes: Vec::new(),
        monitor: None,
        assumption: assumption(config, &frozen.reference, pane.row_count, denser),
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

/// Independent rows that a feature's rows in the reference are worth.
fn independent_rows(feature: &FeatureReference) -> f64 {
    let rows = (feature.present() + feature.null_count) as f64;
    rows / factor_at(&feature.variation, rows)
}

/// What has to be believed of rows because the reference does not show it.
fn assumption(config: &Config, reference: &Reference, rows: u64, denser: f64) -> String {
    let mut assumed = Vec::new();
    if reference.row_count.min(rows) < config.rows_min {
        assumed.push(format!(
            "only large changes show: {} rows in the reference, {rows} now, {} of each would tell more",
            reference.row_count, config.rows_min
        ));
    }
    if reference.timed_count == 0 {
        assumed.push("assumes independent rows: the reference has no event times".to_owned());
        return assumed.join("; ");
    }
    let spans = reference.timed_count as f64 / rows.max(1) as f64;
    if spans < SPANS_MIN {
        assumed.push(format!(
            "assumes independent rows beyond {} in a row: the reference has {spans:.1} times as many rows as this, \
             {SPANS_MIN} times would show how they hang together",
            (reference.timed_count as f64 / SPANS_MIN).floor()
        ));
    }
    if denser >= DENSER_SAID {
        assumed.push(format!(
            "assumes that rows hang together in time as those of the reference, of which there is one for every {denser:.0} of these"
        ));
    }
    let bound = reference.features.iter().filter(|feature| !feature.variation.is_empty());
    let bound = bound.map(|feature| (feature, independent_rows(feature)));
    if let Some((feature, rows)) =
        bound.min_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, rows)| *rows < SPANS_MIN)
    {
        assumed.push(format!(
            "rows of {} hang together so much that the reference is worth {rows:.1} independent ones: \
             {SPANS_MIN} would tell what is usual",
            feature.field.name
        ));
    }
    let days = reference.until_ms.saturating_sub(reference.from_ms) as f64 / DAY_MS;
    if days < DAYS_MIN {
        let what = if days < 1.0 { "hours of the day and days of the week" } else { "days of the week" };
        assumed.push(format!("assumes that {what} are alike: the reference covers {days:.1} days"));
    }
    assumed.join("; ")
}

impl Report {
    /// Adds to what was taken for granted.
    pub fn assume(&mut self, more: &str) {
        if !more.is_empty() && !self.assumption.is_empty() {
            self.assumption.push_str("; ");
        }
        self.assumption.push_str(more);
    }

    /// Takes what the monitor says, and measures the pairs that it names.
    pub fn monitored(&mut self, frozen: &Frozen, pane: &PaneCounts, state: MonitorState) {
        let pairs = &frozen.reference.pairs;
        self.standing_pairs =
            state.parted.iter().filter_map(|pair| together::measure(pairs, *pair, &pane.pairs)).collect();
        self.monitor = Some(state);
    }

    /// Names of a pair's features.
    #[must_use]
    pub fn pair_names(&self, pair: &PairDrift) -> [&str; 2] {
        let name = |place: usize| self.features.get(place).map_or("", |feature| feature.name.as_str());
        [name(pair.features.0), name(pair.features.1)]
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
}

fn worst_first<'a>(features: impl Iterator<Item = &'a FeatureDrift>) -> Vec<&'a FeatureDrift> {
    let mut sorted: Vec<&FeatureDrift> = features.collect();
    sorted.sort_by(|a, b| b.in_tolerances.total_cmp(&a.in_tolerances));
    sorted
}
