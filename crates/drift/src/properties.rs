//! Properties of verdicts about rows: what must not matter does not, and chances are as rare as they say.

use std::sync::Arc;

use acgs_columns::{Column, Field, Kind, RecordBatch, Role, Schema, Values};
use acgs_reference::{counts::PaneCounts, freeze};
use acgs_statistics::draws::Draws;
use proptest::prelude::*;

use crate::{
    config::{Config, Decision},
    detect::{self, Report},
    frozen::Frozen,
    looked::Samples,
};

pub(crate) fn config() -> Config {
    Config {
        alpha: 0.05,
        decision: Decision::Any,
        drift_share: 0.5,
        importance: std::collections::BTreeMap::new(),
        tolerance_deviations: 0.1,
        tolerance_variation: 0.05,
        tolerance_rate: 0.1,
        tolerance_correlation: 0.25,
        false_alarm_days: 30.0,
        false_alarm_windows: 1_000.0,
        monitor_keys: Vec::new(),
        rows_min: 30,
    }
}

fn batch(columns: &[Vec<f64>]) -> RecordBatch {
    let fields = (0..columns.len()).map(|at| Field::new(format!("x{at}"), Kind::Double, Role::Feature));
    let schema = Arc::new(Schema::new(fields.collect()).unwrap());
    let of = |values: &Vec<f64>| Column { values: Values::Double(values.clone().into()), validity: None };
    RecordBatch::new(schema, columns[0].len(), columns.iter().map(of).collect()).unwrap()
}

fn report(then: &[Vec<f64>], now: &[Vec<f64>], exact: bool) -> Report {
    let (then_rows, now_rows) = (batch(then), batch(now));
    let reference = freeze(then_rows.schema(), std::slice::from_ref(&then_rows), 0);
    let frozen = Frozen::new(Arc::new(reference));
    let mut pane = PaneCounts::new(&frozen.reference);
    pane.push(&frozen.reference, &now_rows);
    let sorted = |columns: &[Vec<f64>]| -> Vec<Vec<f64>> {
        let sort = |values: &Vec<f64>| {
            let mut values = values.clone();
            values.sort_unstable_by(f64::total_cmp);
            values
        };
        columns.iter().map(sort).collect()
    };
    let (then, now) = (sorted(then), sorted(now));
    detect::report(&config(), &frozen, &pane, |at| {
        exact.then(|| Samples { reference: &then[at], current: &now[at] })
    })
}

fn values(range: std::ops::Range<usize>) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((-300..300_i32).prop_map(|value| f64::from(value) / 64.0), range)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What only stretches the scale changes no rank: statistics, chances and indices stay.
    #[test]
    fn a_monotone_map_changes_no_test(then in values(40..200), now in values(40..200), map in 0..3_u8, exact in any::<bool>()) {
        let of = |value: f64| match map {
            0 => 2.0 * value + 1.0,
            1 => value.exp(),
            _ => value.powi(3) + value,
        };
        let before = report(std::slice::from_ref(&then), std::slice::from_ref(&now), exact);
        let mapped = |values: &[f64]| values.iter().map(|value| of(*value)).collect::<Vec<f64>>();
        let after = report(&[mapped(&then)], &[mapped(&now)], exact);
        let (before, after) = (&before.features[0], &after.features[0]);
        for (one, other) in [
            (before.statistic, after.statistic),
            (before.p_value, after.p_value),
            (before.unseen_p_value, after.unseen_p_value),
            (before.psi, after.psi),
            (before.jensen_shannon, after.jensen_shannon),
        ] {
            prop_assert!((one - other).abs() < 1e-9, "{} {}", one, other);
        }
    }

    /// The exact test does not ask which sample came first.
    #[test]
    fn the_exact_test_is_symmetric(then in values(40..200), now in values(40..200)) {
        let (one, other) = (report(std::slice::from_ref(&then), std::slice::from_ref(&now), true), report(&[now], &[then], true));
        let (one, other) = (&one.features[0], &other.features[0]);
        prop_assert!((one.statistic - other.statistic).abs() < 1e-12);
        prop_assert!((one.p_value - other.p_value).abs() < 1e-9);
    }

    /// A sample beside itself has not drifted, whatever it is; nor does the order of rows matter.
    #[test]
    fn rows_beside_themselves_have_not_drifted(rows in values(30..200), exact in any::<bool>()) {
        let mut turned = rows.clone();
        turned.reverse();
        let report = report(&[rows], &[turned], exact);
        prop_assert!(!report.drift_detected && report.features[0].p_value > 0.99, "{:?}", report.features[0]);
    }
}

#[test]
fn chances_are_as_rare_as_they_say() {
    let mut draws = Draws::new(5);
    let mut normal = |count: usize| -> Vec<f64> {
        let mut one = || {
            let radius = (-2.0 * draws.unit().max(1e-300).ln()).sqrt();
            radius * (std::f64::consts::TAU * draws.unit()).cos()
        };
        (0..count).map(|_| one()).collect()
    };
    const CALLS: usize = 600;
    let mut chances: Vec<[f64; 2]> = Vec::new();
    for _ in 0..CALLS {
        let report = report(&[normal(300)], &[normal(150)], true);
        chances.push([report.features[0].p_value, report.features[0].unseen_p_value]);
    }
    for level in [0.01, 0.05, 0.2, 0.5] {
        let most = level + 3.0 * f64::sqrt(level * (1.0 - level) / CALLS as f64);
        for test in 0..2 {
            let share = chances.iter().filter(|of| of[test] <= level).count() as f64 / CALLS as f64;
            assert!(share <= most, "test {test}: {share} at {level}");
            // The test of values is continuous: it is not much rarer either.
            assert!(test == 1 || share >= 2.0 * level - most, "{share} at {level}");
        }
    }
}
