//! What a reference shows of time: seasons where there are some, how rows hang together, and nothing where there is nothing.

use std::sync::Arc;

use acgs_columns::{Cell, Field, Kind, builder::BatchBuilder};

use super::*;
use crate::{freeze, variation::factor_at};

const HOUR_MS: i64 = 3_600_000;

/// The same numbers everywhere.
struct Draws(u64);

impl Draws {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// A number and a category, at equal distances in time.
fn frozen(rows: i64, every_ms: i64, mut value: impl FnMut(i64) -> (f64, Option<&'static str>)) -> Reference {
    let fields = vec![
        Field::new("ts", Kind::Timestamp, Role::Timestamp),
        Field::new("x", Kind::Double, Role::Feature),
        Field::new("c", Kind::Text, Role::Feature),
    ];
    let schema = Arc::new(Schema::new(fields).unwrap());
    let mut builder = BatchBuilder::new(Arc::clone(&schema));
    for row in 0..rows {
        let (x, c) = value(row * every_ms);
        builder
            .push(&[Cell::Integer(row * every_ms), Cell::Number(x), c.map_or(Cell::Null, Cell::Text)])
            .unwrap();
    }
    freeze(&schema, &[builder.finish().unwrap()], HOUR_MS)
}

#[test]
fn independent_rows_show_nothing() {
    for seed in 1..30 {
        let mut draws = Draws(seed);
        let reference = frozen(4_000, HOUR_MS / 20, |_| {
            (draws.normal(), Some(if draws.unit() < 0.3 { "a" } else { "b" }))
        });
        assert_eq!(reference.season, Season::None, "{seed}");
        assert_eq!(reference.timed_count, 4_000);
        for feature in &reference.features {
            let factor = factor_at(&feature.variation, 50.0);
            assert!(factor < 1.8, "{seed}: {:?}", feature.variation);
        }
    }
}

#[test]
fn seasons_are_found_and_what_is_left_of_them_is_independent() {
    let day = |ms: i64| (2.0 * std::f64::consts::PI * ms as f64 / (24 * HOUR_MS) as f64).sin();
    for (name, expected, days, level) in [
        ("day", Season::HourOfDay, 6, (&|ms| day(ms)) as &dyn Fn(i64) -> f64),
        ("week", Season::DayOfWeek, 28, &|ms| f64::from(u8::from(Season::DayOfWeek.phase(ms) >= 5))),
        ("both", Season::HourOfWeek, 28, &|ms| {
            day(ms) + f64::from(u8::from(Season::DayOfWeek.phase(ms) >= 5))
        }),
    ] {
        let mut draws = Draws(5);
        let reference = frozen(days * 24 * 10, HOUR_MS / 10, |ms| {
            (draws.normal() + level(ms), Some(if draws.unit() < 0.3 { "a" } else { "b" }))
        });
        assert_eq!(reference.season, expected, "{name}");
        let feature = &reference.features[0];
        assert_eq!(feature.phases.len(), expected.phases());
        let rows: u64 = feature.phases.iter().flatten().sum();
        assert_eq!(rows, reference.row_count);
        let factor = factor_at(&feature.variation, 30.0);
        assert!(factor < 1.8, "{name}: {:?}", feature.variation);
        // A phase expects its own.
        let outcomes = Outcomes::new(feature);
        let mut at = vec![0; expected.phases()];
        at[expected.phase(6 * HOUR_MS)] = 10;
        let here = outcomes.expected(&at);
        assert!((here.shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(here.reference_rows < outcomes.reference_rows());
    }
}

#[test]
fn rows_that_hang_together_are_worth_less_and_bursts_of_nulls_blind_nothing() {
    let mut draws = Draws(3);
    let mut level = 0.0;
    let reference = frozen(20_000, 60_000, |ms| {
        level = 0.9 * level + (1.0_f64 - 0.81).sqrt() * draws.normal();
        (level, (ms / 60_000 % 2_000 < 1_500).then_some(if draws.unit() < 0.3 { "a" } else { "b" }))
    });
    let factor = factor_at(&reference.features[0].variation, 300.0);
    assert!((9.0..30.0).contains(&factor), "{:?}", reference.features[0].variation);
    let category = &reference.features[1];
    assert!(factor_at(&category.variation, 300.0) < 1.8, "{:?}", category.variation);
    assert!(factor_at(&category.null_variation, 300.0) > 50.0, "{:?}", category.null_variation);
}

#[test]
fn spans_of_any_number_are_measured() {
    let mut draws = Draws(4);
    let reference = frozen(30_000, HOUR_MS / 2, |_| (draws.normal(), Some("a")));
    assert!(reference.features[0].span_effect.is_some(), "15,000 hours");
    for rows in [1, 3, 10] {
        let few = frozen(rows, HOUR_MS, |_| (1.0, Some("a")));
        assert!(few.features.iter().all(|feature| feature.variation.is_empty()), "{rows}");
    }
}
