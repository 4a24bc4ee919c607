//! From counts to verdicts: tests, distances, effect sizes, and which of them together are drift.
//! It must not know protobuf.
//!
//! Drift takes two things: a p-value that survives Benjamini-Hochberg over all features, and an effect size above
//! both a floor and the reference's own variation between spans of the same length. The first guards small windows,
//! the second large ones and data that always moves.

use acgs_columns::Role;
use acgs_reference::{
    FeatureReference, Reference, Shape,
    counts::{FeatureCounts, PaneCounts},
    effect::{categories, effect_size, scale},
};
use acgs_statistics::{
    categorical::{chi_square_homogeneity, jensen_shannon, psi, psi_null_mean},
    multiple::benjamini_hochberg,
    two_sample::{kolmogorov_survival, ks_p_value, ks_statistic, ks_statistic_of_cells, wasserstein},
};
use acgs_vocabulary::{Finding, Severity, finding::gravest};

use crate::config::Config;

/// Bins of the index and the Jensen-Shannon distance.
const BINS: usize = 10;
/// Corrected index above which a feature is named, the original's limit.
pub const PSI_MAX: f64 = 0.2;
/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Rows.
    pub row_count: u64,
    /// Whether the whole has drifted.
    pub drift_detected: bool,
    /// Whether score or prediction has drifted.
    pub score_drift: bool,
    /// Share of features that drifted.
    pub drifted_share: f64,
    /// In the reference's order.
    pub features: Vec<FeatureDrift>,
}

/// One feature.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureDrift {
    /// The field.
    pub name: String,
    /// What it means.
    pub role: Role,
    /// Whether it drifted.
    pub drifted: bool,
    /// `ks` or `chi_square`.
    pub test: &'static str,
    /// The statistic.
    pub statistic: f64,
    /// Its p-value.
    pub p_value: f64,
    /// After Benjamini-Hochberg.
    pub adjusted_p_value: f64,
    /// Wasserstein / standard deviation, or total variation.
    pub effect_size: f64,
    /// The effect that counts.
    pub effect_threshold: f64,
    /// Population stability index.
    pub psi: f64,
    /// Less its expectation without drift.
    pub psi_corrected: f64,
    /// Jensen-Shannon distance.
    pub jensen_shannon: f64,
    /// Nulls then.
    pub reference_null_rate: f64,
    /// Nulls now.
    pub null_rate: f64,
    /// Outside the range, or unseen categories.
    pub unseen_rate: f64,
    /// Values now.
    pub row_count: u64,
    /// How it was computed.
    pub method: String,
}

/// Sorted samples of a numeric feature, for exact tests.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a> {
    /// Reference.
    pub reference: &'a [f64],
    /// Current.
    pub current: &'a [f64],
}

/// Judges a pane against its reference. `samples` gives the sorted samples of a numeric feature where they are at
/// hand; tests are then exact.
#[must_use]
pub fn report<'a>(
    config: &Config,
    reference: &Reference,
    pane: &PaneCounts,
    samples: impl Fn(usize) -> Option<Samples<'a>>,
) -> Report {
    let mut features: Vec<FeatureDrift> = Vec::with_capacity(reference.features.len());
    for (index, (feature, counts)) in reference.features.iter().zip(&pane.features).enumerate() {
        features.push(measure(config, feature, counts, pane.row_count, samples(index)));
    }
    let p_values: Vec<f64> = features.iter().map(|feature| feature.p_value).collect();
    for (feature, adjusted) in features.iter_mut().zip(benjamini_hochberg(&p_values)) {
        feature.adjusted_p_value = adjusted;
        feature.drifted = adjusted < config.alpha && feature.effect_size > feature.effect_threshold;
    }
    let inputs = features.iter().filter(|feature| feature.role == Role::Feature);
    let (drifted, all) =
        inputs.fold((0, 0), |(drifted, all), feature| (drifted + u32::from(feature.drifted), all + 1));
    let drifted_share = if all == 0 { 0.0 } else { f64::from(drifted) / f64::from(all) };
    let score_drift = features.iter().any(|feature| feature.drifted && feature.role != Role::Feature);
    let drift_detected = score_drift || (all > 0 && drifted_share >= config.drift_share);
    Report { row_count: pane.row_count, drift_detected, score_drift, drifted_share, features }
}

fn measure(
    config: &Config,
    feature: &FeatureReference,
    counts: &FeatureCounts,
    rows: u64,
    samples: Option<Samples<'_>>,
) -> FeatureDrift {
    let (n, m) = (feature.present(), counts.present());
    let (bins_then, bins_now) = bins(feature, counts);
    let index = psi(&bins_then, &bins_now);
    let (test, statistic, p_value, method) = match (&feature.shape, samples) {
        (Shape::Numeric { .. }, Some(samples)) => {
            let statistic = ks_statistic(samples.reference, samples.current);
            let p_value = ks_p_value(statistic, samples.reference.len(), samples.current.len());
            ("ks", statistic, p_value, "exact".to_owned())
        }
        (Shape::Numeric { cells, counts: then, .. }, None) => {
            let statistic = ks_statistic_of_cells(then, &counts.cells);
            let effective = n as f64 * m as f64 / (n + m).max(1) as f64;
            (
                "ks",
                statistic,
                kolmogorov_survival(statistic * effective.sqrt()),
                format!("binned:{}", cells.len()),
            )
        }
        (Shape::Categorical { .. }, _) => {
            let (then, now) = categories(feature, counts);
            let test = chi_square_homogeneity(&then, &now);
            let (statistic, p_value) = test.map_or((0.0, 1.0), |test| (test.statistic, test.p_value));
            ("chi_square", statistic, p_value, format!("binned:{}", then.len()))
        }
    };
    let effect = match (&feature.shape, samples) {
        (Shape::Numeric { mean, standard_deviation, .. }, Some(samples)) => {
            wasserstein(samples.reference, samples.current) / scale(*mean, *standard_deviation)
        }
        _ => effect_size(feature, counts).unwrap_or(0.0),
    };
    let own = feature.span_effect.map_or(0.0, |(mean, deviation)| mean + config.span_deviations * deviation);
    let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    FeatureDrift {
        name: feature.field.name.clone(),
        role: feature.field.role,
        drifted: false,
        test,
        statistic,
        p_value: if m == 0 { 1.0 } else { p_value },
        adjusted_p_value: 1.0,
        effect_size: effect,
        effect_threshold: config.effect_size_min.max(own),
        psi: index,
        psi_corrected: (index - psi_null_mean(&bins_then, &bins_now)).max(0.0),
        jensen_shannon: jensen_shannon(&bins_then, &bins_now),
        reference_null_rate: share(feature.null_count, feature.null_count + n),
        null_rate: share(counts.null_count, rows),
        unseen_rate: unseen_rate(feature, counts),
        row_count: m,
        method,
    }
}

/// At most ten bins of about equal reference mass, and bins for below, above or unseen, and null.
fn bins(feature: &FeatureReference, counts: &FeatureCounts) -> (Vec<u64>, Vec<u64>) {
    let (mut then, mut now) = match &feature.shape {
        Shape::Numeric { cells, counts: of_cells, .. } => {
            let groups = cells.groups(of_cells, BINS);
            let sum = |of: &[u64]| {
                let mut sums = vec![0; BINS];
                groups.iter().zip(of).for_each(|(group, count)| sums[*group] += count);
                sums
            };
            let (mut then, mut now) = (sum(of_cells), sum(&counts.cells.counts));
            then.extend([0, 0]);
            now.extend([counts.cells.below, counts.cells.above]);
            (then, now)
        }
        Shape::Categorical { .. } => {
            let (mut then, mut now) = categories(feature, counts);
            // The rarer categories share a bin, the unseen ones keep theirs.
            let unseen = (then.pop().unwrap_or(0), now.pop().unwrap_or(0));
            if then.len() > BINS {
                let rest = (then.split_off(BINS).iter().sum(), now.split_off(BINS).iter().sum());
                then.push(rest.0);
                now.push(rest.1);
            }
            then.push(unseen.0);
            now.push(unseen.1);
            (then, now)
        }
    };
    then.push(feature.null_count);
    now.push(counts.null_count);
    (then, now)
}

fn unseen_rate(feature: &FeatureReference, counts: &FeatureCounts) -> f64 {
    let present = counts.present();
    if present == 0 {
        return 0.0;
    }
    match &feature.shape {
        Shape::Numeric { .. } => (counts.cells.below + counts.cells.above) as f64 / present as f64,
        Shape::Categorical { other_count, .. } => {
            // Where the reference lumps rare categories together, only what exceeds their share is new.
            let known = *other_count as f64 / feature.present().max(1) as f64;
            (counts.other_count as f64 / present as f64 - known).max(0.0)
        }
    }
}

/// What has drifted, gravest first.
#[must_use]
pub fn findings(config: &Config, report: &Report) -> Vec<Finding> {
    let mut found = Vec::new();
    if report.drift_detected {
        let score = report.features.iter().find(|feature| feature.drifted && feature.role != Role::Feature);
        let (subject, value, threshold, description) = match score {
            Some(score) => (
                score.name.clone(),
                score.effect_size,
                score.effect_threshold,
                format!(
                    "{} has moved by {:.2}, normal is up to {:.2}",
                    score.name, score.effect_size, score.effect_threshold
                ),
            ),
            None => (
                String::new(),
                report.drifted_share,
                config.drift_share,
                format!("{:.0} % of the features have drifted", report.drifted_share * 100.0),
            ),
        };
        let rule = "drift".to_owned();
        found.push(Finding { rule, subject, severity: Severity::Medium, value, threshold, description });
    }
    for feature in report.features.iter().filter(|feature| feature.drifted && feature.role == Role::Feature) {
        found.push(Finding {
            rule: "feature_drift".into(),
            subject: feature.name.clone(),
            severity: Severity::Low,
            value: feature.effect_size,
            threshold: feature.effect_threshold,
            description: format!(
                "{} has moved by {:.2}, normal is up to {:.2}",
                feature.name, feature.effect_size, feature.effect_threshold
            ),
        });
    }
    gravest(found)
}
