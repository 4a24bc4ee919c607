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

#[test]
fn extremes_stay_bounded() {
    let mut sketch = sketch(&[f64::MAX, f64::MIN_POSITIVE, 5e-324, -f64::MAX]);
    sketch.push(1.0);
    assert_eq!(sketch.count(), 5);
    assert!(sketch.positive.counts.len() <= BUCKETS_MAX);
    assert!(sketch.quantile(1.0).is_some_and(f64::is_finite));
    assert_eq!(LogHistogram::default().quantile(0.5), None);
}
