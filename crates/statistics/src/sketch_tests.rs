//! The sketch keeps its error, whatever is merged with whatever.

use proptest::prelude::*;

use super::*;

fn sketch(values: &[f64]) -> LogHistogram {
    let mut sketch = LogHistogram::default();
    sketch.push_slice(values);
    sketch
}

proptest! {
    #[test]
    fn quantiles_are_within_the_stated_error(
        mut values in prop::collection::vec(prop_oneof![-1e6..1e6_f64, -1.0..1.0_f64, Just(0.0)], 1..300),
        quantile in 0.0..=1.0_f64,
    ) {
        let found = sketch(&values).quantile(quantile).unwrap();
        values.sort_by(f64::total_cmp);
        let truth = values[(quantile * (values.len() - 1) as f64).round() as usize];
        prop_assert!((found - truth).abs() <= truth.abs() / 127.0, "{found} for {truth}");
    }

    #[test]
    fn merging_is_pushing(
        parts in prop::collection::vec(prop::collection::vec(-1e300..1e300_f64, 0..40), 1..6),
    ) {
        let whole = sketch(&parts.concat());
        let mut forward = LogHistogram::default();
        parts.iter().for_each(|part| forward.merge(&sketch(part)));
        let mut backward = LogHistogram::default();
        parts.iter().rev().for_each(|part| backward.merge(&sketch(part)));
        prop_assert_eq!(forward.count(), whole.count());
        for tenth in 0..=10 {
            let quantile = f64::from(tenth) / 10.0;
            prop_assert_eq!(forward.quantile(quantile), whole.quantile(quantile));
            prop_assert_eq!(backward.quantile(quantile), whole.quantile(quantile));
        }
    }
}

proptest! {
    #[test]
    fn any_finite_values_merge_in_any_order(
        parts in prop::collection::vec(
            prop::collection::vec(prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO, 0..200), 1..6),
    ) {
        let whole = sketch(&parts.concat());
        let mut forward = LogHistogram::default();
        parts.iter().for_each(|part| forward.merge(&sketch(part)));
        let mut backward = LogHistogram::default();
        parts.iter().rev().for_each(|part| backward.merge(&sketch(part)));
        prop_assert_eq!(&forward, &whole);
        prop_assert_eq!(&backward, &whole);
        prop_assert!(whole.is_sound() && forward.is_sound());
        prop_assert!(whole.heap_bytes() <= most_bytes(whole.count()), "{}", whole.heap_bytes());
        let bytes = postcard::to_allocvec(&whole).unwrap();
        prop_assert_eq!(postcard::from_bytes::<LogHistogram>(&bytes).unwrap(), whole);
    }
}

/// A lone bucket costs a node of a map, one of many the places up to the next, which double when they grow.
fn most_bytes(values: u64) -> usize {
    256 + 192 * values as usize
}

/// The middle of the bucket that is so many below that of `value`.
fn below(value: f64, buckets: u64) -> f64 {
    f64::from_bits(value.to_bits() - (buckets << 46))
}

#[test]
fn no_order_of_values_makes_a_sketch_large_or_slow() {
    // One bucket after the other, down or up, after a place was found for the array; by fifteen; and dense ones far away.
    let falling: Vec<f64> = (0..20_000).map(|step| below(f64::MAX, step)).collect();
    let rising: Vec<f64> = falling.iter().rev().copied().collect();
    let strides: Vec<f64> = (0..8_000).map(|step| below(f64::MAX, 15 * step)).collect();
    let dense: Vec<f64> = (0..16_000_u64).flat_map(|step| [below(1e200, step); 16]).collect();
    for tail in [falling, rising, strides, dense] {
        let values: Vec<f64> = [f64::MAX; 16].into_iter().chain(tail).collect();
        let sketch = sketch(&values);
        assert_eq!(sketch.count(), values.len() as u64);
        assert!(sketch.heap_bytes() <= most_bytes(sketch.count()), "{}", sketch.heap_bytes());
        let mut merged = LogHistogram::default();
        merged.push(1.0);
        merged.merge(&sketch);
        assert_eq!(merged.count(), sketch.count() + 1);
    }
}

#[test]
fn values_that_came_first_do_not_decide_where_the_array_lies() {
    let mut sketch = sketch(&[9.97e36; 16]);
    let typical: Vec<f64> = (0..100_000).map(|place| 250.0 + f64::from(place % 100)).collect();
    sketch.push_slice(&typical);
    assert!(sketch.positive.filled().count() > 20);
    assert!(sketch.heap_bytes() < 4_096, "{}", sketch.heap_bytes());
}

#[test]
fn extremes_cost_some_words() {
    let mut sketch = sketch(&[f64::MAX, f64::MIN_POSITIVE, 5e-324, -f64::MAX]);
    sketch.push(1.0);
    assert_eq!(sketch.count(), 5);
    assert!(sketch.heap_bytes() < 512, "{}", sketch.heap_bytes());
    assert_eq!(sketch.quantile(0.5), Some(f64::MIN_POSITIVE * 129.0 / 128.0));
    assert!(sketch.quantile(1.0).is_some_and(f64::is_finite));
    assert_eq!(LogHistogram::default().quantile(0.5), None);
}

#[test]
fn a_far_value_folds_nothing() {
    let typical = |place: usize| 115.0 + (place % 101) as f64 / 10.0;
    for far in [1e25, -1e25, 1e300, f64::MAX, -f64::MAX] {
        for place in [0, 500, 999] {
            let mut values: Vec<f64> = (0..1_000).map(typical).collect();
            values[place] = far;
            let sketch = sketch(&values);
            let median = sketch.quantile(0.5).unwrap();
            assert!((median - 120.0).abs() < 1.0, "{far} at {place}: {median}");
            assert_eq!(sketch.count_outside(100.0, 140.0), 1);
            assert_eq!(sketch.far_count(f64::NEG_INFINITY, f64::INFINITY), 1);
        }
    }
}

#[test]
fn what_is_typical_is_not_far() {
    assert_eq!(sketch(&[1e25; 100]).far_count(f64::NEG_INFINITY, f64::INFINITY), 0);
    let signs: Vec<f64> = (0..1_000).map(|place| if place % 2 == 0 { 1e25 } else { -1e25 }).collect();
    assert_eq!(sketch(&signs).far_count(f64::NEG_INFINITY, f64::INFINITY), 0);
    // Shares of many classes: nearly all of them tiny, some not.
    let shares: Vec<f64> = (0..1_000).map(|place| if place % 10 == 0 { 0.9 } else { 1e-30 }).collect();
    assert_eq!(sketch(&shares).far_count(f64::NEG_INFINITY, f64::INFINITY), 0);
    // Amounts in the smallest unit, most of them nothing.
    let sparse: Vec<f64> =
        (0..1_000).map(|place| if place % 10 == 0 { f64::from(place) * 1e18 } else { 0.0 }).collect();
    assert_eq!(sketch(&sparse).far_count(f64::NEG_INFINITY, f64::INFINITY), 0);
    assert_eq!(sketch(&[0.0, 0.0, 0.0, 1e18]).far_count(f64::NEG_INFINITY, f64::INFINITY), 0);
    assert_eq!(sketch(&[0.0, 0.0, 0.0, 1e20]).far_count(f64::NEG_INFINITY, f64::INFINITY), 1);
}

#[test]
fn what_comes_from_outside_is_checked() {
    let sound = sketch(&[1.0, 1e25, 1e-25]);
    assert!(sound.is_sound());
    // Zeros, then of the positive: low, counts, apart, total.
    let told = |low: u32, counts: &[u32], apart: &[(u32, u32)], total: u64| {
        let parts = (
            0_u64,
            (low, counts, apart, total),
            (0_u32, [0_u32; 0].as_slice(), [(0_u32, 0_u32); 0].as_slice(), 0_u64),
        );
        postcard::from_bytes::<LogHistogram>(&postcard::to_allocvec(&parts).unwrap()).unwrap()
    };
    assert!(told(5, &[1, 2], &[(9, 1)], 4).is_sound());
    assert!(!told(5, &[1, 2], &[(6, 1)], 4).is_sound(), "a bucket twice");
    assert!(!told(5, &[1, 2], &[(9, 2)], 4).is_sound(), "more than there are");
    assert!(!told(u32::MAX, &[1, 2], &[], 3).is_sound(), "no such bucket");
    assert!(!told(5, &[1, 2], &[], u64::MAX).is_sound(), "no pane has so many");
    assert!(!told(0, &[], &[(u32::MAX, 1)], 1).is_sound(), "no such bucket");
}
