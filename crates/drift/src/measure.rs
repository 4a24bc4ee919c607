//! One feature of some rows against a reference: tests, distances, effects. It must not know other features.
//!
//! Rows count by what they are worth: those that hang together, as the reference shows, are worth fewer independent ones.

use acgs_columns::Role;
use acgs_reference::{
    FeatureReference, Shape,
    counts::{FeatureCounts, PaneCounts},
    effect::{categories, effect_size, scale},
    expected::Expected,
    outcomes::Outcomes,
    variation::factor_among,
};
use acgs_statistics::{
    categorical::{jensen_shannon, psi, psi_null_mean},
    two_sample::{wasserstein, wasserstein_of_cells},
};

use crate::{
    config::Config,
    frozen::Frozen,
    looked::{Looked, Samples},
    rate::Rate,
    values,
};

/// Bins of the index and the Jensen-Shannon distance.
const BINS: usize = 10;
/// Tests of a feature: values, nulls, unseen values.
const TESTS: f64 = 3.0;
/// A whole, in counts that stand for shares.
const WHOLE: f64 = 1e9;

/// Why a feature counts as drifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its values have moved.
    Values,
    /// More or fewer are null.
    Nulls,
    /// More are outside the range, or in categories never seen.
    Unseen,
}

/// One feature.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureDrift {
    /// The field.
    pub name: String,
    /// What it means.
    pub role: Role,
    /// Why it drifted; empty when it did not.
    pub causes: Vec<Cause>,
    /// `ks` or `chi_square`.
    pub test: &'static str,
    /// The statistic.
    pub statistic: f64,
    /// Its p-value.
    pub p_value: f64,
    /// Of all its tests, after correction over them and over features.
    pub adjusted_p_value: f64,
    /// Wasserstein / standard deviation, or total variation.
    pub effect_size: f64,
    /// The effect that counts: its tolerance, and what noise adds.
    pub effect_threshold: f64,
    /// Population stability index.
    pub psi: f64,
    /// Less its expectation without drift.
    pub psi_corrected: f64,
    /// Jensen-Shannon distance.
    pub jensen_shannon: f64,
    /// Nulls to be expected.
    pub reference_null_rate: f64,
    /// Nulls now.
    pub null_rate: f64,
    /// Chance of that.
    pub null_p_value: f64,
    /// Cohen's h of the null rate.
    pub null_effect: f64,
    /// Outside the range, or unseen categories.
    pub unseen_rate: f64,
    /// To be expected.
    pub expected_unseen_rate: f64,
    /// Chance of that.
    pub unseen_p_value: f64,
    /// Cohen's h of the unseen rate, 0 when it fell.
    pub unseen_effect: f64,
    /// The largest effect, in tolerances, less what noise adds.
    pub in_tolerances: f64,
    /// Values now.
    pub row_count: u64,
    /// Independent rows that they are worth.
    pub effective_rows: f64,
    /// Those of the reference.
    pub reference_effective_rows: f64,
    /// How it was computed.
    pub method: String,
    /// Outcomes, expected shares and shares now.
    pub outcomes: Vec<(String, f64, f64)>,
}

impl FeatureDrift {
    /// Whether it drifted.
    #[must_use]
    pub fn drifted(&self) -> bool {
        !self.causes.is_empty()
    }

    /// The chance of the rarest of its tests, were it chance.
    #[must_use]
    pub fn least_p_value(&self) -> f64 {
        (TESTS * self.p_value.min(self.null_p_value).min(self.unseen_p_value)).min(1.0)
    }

    /// Decides, after correction: `factor` is by how much the correction over features raised its p-value.
    pub(crate) fn decide(&mut self, config: &Config, adjusted: f64) {
        let least = self.least_p_value();
        let factor = if least > 0.0 { adjusted / least } else { 1.0 };
        self.adjusted_p_value = adjusted;
        let is_rare = |p_value: f64| TESTS * p_value * factor < config.alpha;
        let found = [
            (Cause::Values, is_rare(self.p_value) && self.effect_size > self.effect_threshold),
            (Cause::Nulls, is_rare(self.null_p_value) && self.null_effect > config.tolerance_rate),
            (Cause::Unseen, is_rare(self.unseen_p_value) && self.unseen_effect > config.tolerance_rate),
        ];
        self.causes = found.into_iter().filter(|(_, found)| *found).map(|(cause, _)| cause).collect();
    }
}

/// Measures a feature; nothing is decided yet.
pub(crate) fn measure(config: &Config, looked: &Looked<'_>, samples: Option<Samples<'_>>) -> FeatureDrift {
    let Looked { feature, outcomes, expected, counts, rows, denser } = looked;
    let m = counts.present();
    let worth = |variation| 1.0 / factor_among(variation, *rows as f64, *denser);
    let effective = m as f64 * worth(&feature.variation);
    let then = then_counts(feature, outcomes, expected);
    let (test, statistic, p_value, method) = values::test(looked, samples, &then, effective);
    let noise = noise_of_effect(looked, &then, effective);
    let (effect, tolerance) = match (&feature.shape, samples) {
        (Shape::Numeric { mean, standard_deviation, .. }, Some(samples)) => (
            wasserstein(samples.reference, samples.current) / scale(*mean, *standard_deviation),
            config.tolerance_deviations,
        ),
        (Shape::Numeric { cells, mean, standard_deviation, .. }, None) => {
            let distance = wasserstein_of_cells(cells, &then, &counts.cells);
            ((distance / scale(*mean, *standard_deviation)).min(f64::MAX), config.tolerance_deviations)
        }
        (Shape::Categorical { .. }, _) => {
            (effect_size(feature, counts).unwrap_or(0.0), config.tolerance_variation)
        }
    };
    let effect = if m == 0 { 0.0 } else { effect };
    let (bins_then, bins_now) = bins(feature, counts, &then);
    let index = psi(&bins_then, &bins_now);
    let nulls = Rate::of(
        counts.null_count as f64,
        *rows as f64 * worth(&feature.null_variation),
        *rows as f64,
        expected.null_share,
        expected.reference_rows,
    );
    let unseen = unseen(looked, effective);
    let in_tolerances = [
        (effect * effect - noise * noise).max(0.0).sqrt() / tolerance,
        nulls.effect.abs() / config.tolerance_rate,
        unseen.effect.max(0.0) / config.tolerance_rate,
    ];
    FeatureDrift {
        name: feature.field.name.clone(),
        role: feature.field.role,
        causes: Vec::new(),
        test,
        statistic,
        p_value: if m == 0 { 1.0 } else { p_value },
        adjusted_p_value: 1.0,
        effect_size: effect,
        effect_threshold: tolerance.hypot(noise),
        psi: index,
        psi_corrected: (index - psi_null_mean(&bins_then, &bins_now)).max(0.0),
        jensen_shannon: jensen_shannon(&bins_then, &bins_now),
        reference_null_rate: feature.null_count as f64
            / (feature.null_count + feature.present()).max(1) as f64,
        null_rate: nulls.now,
        null_p_value: nulls.two_sided,
        null_effect: nulls.effect.abs(),
        unseen_rate: unseen.now,
        expected_unseen_rate: unseen.then,
        unseen_p_value: unseen.upper,
        unseen_effect: unseen.effect.max(0.0),
        in_tolerances: in_tolerances.into_iter().fold(0.0, f64::max),
        row_count: m,
        effective_rows: effective,
        reference_effective_rows: expected.present_rows(),
        method,
        outcomes: Vec::new(),
    }
}

/// How far a feature of some rows has moved, in tolerances; `None` where there is no such feature.
pub(crate) fn in_tolerances(
    config: &Config,
    frozen: &Frozen,
    pane: &PaneCounts,
    place: usize,
) -> Option<f64> {
    let (feature, counts) = (frozen.reference.features.get(place)?, pane.features.get(place)?);
    let outcomes = &frozen.outcomes[place];
    let expected = outcomes.expected(&pane.phase_rows);
    let (rows, denser) = (pane.row_count, frozen.denser(pane));
    let looked = Looked { feature, outcomes, expected: &expected, counts, rows, denser };
    Some(measure(config, &looked, None).in_tolerances)
}

fn unseen(looked: &Looked<'_>, effective: f64) -> Rate {
    let Looked { feature, expected, counts, .. } = looked;
    let shares = &expected.shares;
    let last = shares.len() - 1;
    let (hits, then) = match &feature.shape {
        Shape::Numeric { .. } => ((counts.cells.below + counts.cells.above) as f64, shares[0] + shares[last]),
        Shape::Categorical { .. } => (counts.unseen_count as f64, shares[last]),
    };
    let concentration = expected.present_rows().min(looked.outcomes.unseen_concentration());
    Rate::of(hits, effective, counts.present() as f64, then, concentration)
}

/// The reference's counts as they are to be expected: its own, or in proportion to its phases. With a season they stand for shares.
fn then_counts(feature: &FeatureReference, outcomes: &Outcomes, expected: &Expected) -> Vec<u64> {
    let (Shape::Numeric { counts, .. } | Shape::Categorical { counts, .. }) = &feature.shape;
    if feature.phases.is_empty() {
        return counts.clone();
    }
    let mut sums = vec![0.0; outcomes.len()];
    counts.iter().enumerate().for_each(|(cell, rows)| sums[outcomes.of_cell(cell)] += *rows as f64);
    let share = |(cell, rows): (usize, &u64)| {
        let outcome = outcomes.of_cell(cell);
        let within = if sums[outcome] > 0.0 { *rows as f64 / sums[outcome] } else { 0.0 };
        (WHOLE * expected.shares[outcome] * within).round() as u64
    };
    counts.iter().enumerate().map(share).collect()
}

/// What the effect averages when nothing has moved: mean absolute differences of normal laws.
fn noise_of_effect(looked: &Looked<'_>, then: &[u64], effective: f64) -> f64 {
    let Looked { feature, expected, .. } = looked;
    if effective < 1.0 {
        return 0.0;
    }
    let rows = 1.0 / effective + 1.0 / expected.present_rows();
    let mean_absolute =
        |share: f64| (2.0 / std::f64::consts::PI * share * (1.0 - share).max(0.0) * rows).sqrt();
    let total = then.iter().sum::<u64>().max(1) as f64;
    match &feature.shape {
        Shape::Numeric { cells, mean, standard_deviation, .. } => {
            let ends = std::iter::once(cells.minimum()).chain(cells.edges().iter().copied());
            let mut ends = ends.chain([cells.maximum()]);
            let (mut below, mut area) = (0.0, 0.0);
            let mut from = ends.next().unwrap_or(0.0);
            for (end, count) in ends.zip(then) {
                let share = *count as f64 / total;
                area += (end - from) * mean_absolute(below + share / 2.0);
                below += share;
                from = end;
            }
            area / scale(*mean, *standard_deviation)
        }
        Shape::Categorical { other_count, .. } => {
            let total = total + if feature.phases.is_empty() { *other_count as f64 } else { 0.0 };
            let shares = then.iter().map(|count| *count as f64 / total);
            shares
                .chain([*other_count as f64 / total])
                .map(|share| mean_absolute(share.min(1.0)))
                .sum::<f64>()
                / 2.0
        }
    }
}

/// At most ten bins of about equal reference mass, and bins for below, above or unseen, and null.
fn bins(feature: &FeatureReference, counts: &FeatureCounts, then: &[u64]) -> (Vec<u64>, Vec<u64>) {
    let (mut then, mut now) = match &feature.shape {
        Shape::Numeric { cells, counts: of_cells, .. } => {
            let groups = cells.groups(of_cells, BINS);
            let sum = |of: &[u64]| {
                let mut sums = vec![0; BINS];
                groups.iter().zip(of).for_each(|(group, count)| sums[*group] += count);
                sums
            };
            let rows = |of: Vec<u64>| -> Vec<u64> {
                let (all, present) = (of.iter().sum::<u64>().max(1) as f64, feature.present() as f64);
                of.iter().map(|count| (*count as f64 / all * present).round() as u64).collect()
            };
            let (mut then, mut now) = (rows(sum(then)), sum(&counts.cells.counts));
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

/// Names of a feature's outcomes with their shares, expected and now.
pub(crate) fn outcome_shares(looked: &Looked<'_>) -> Vec<(String, f64, f64)> {
    let Looked { feature, outcomes, expected, counts, .. } = looked;
    let now = outcomes.counts(counts);
    let all = now.iter().sum::<f64>().max(1.0);
    let names = outcomes.names(feature);
    names
        .into_iter()
        .zip(&expected.shares)
        .zip(&now)
        .map(|((name, then), now)| (name, *then, now / all))
        .collect()
}
