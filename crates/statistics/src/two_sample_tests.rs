//! Cells against exact samples, and what a distance must obey.

use proptest::prelude::*;

use super::*;

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn counts(cells: &Cells, values: &[f64]) -> CellCounts {
    let mut counts = cells.empty_counts();
    cells.count_slice(values, &mut counts);
    counts
}

proptest! {
    #[test]
    fn cells_come_close_to_the_samples(
        reference in prop::collection::vec(-100..100_i32, 1..400),
        current in prop::collection::vec(-150..150_i32, 1..200),
    ) {
        let reference = sorted(&reference.iter().map(|&x| f64::from(x) / 7.0).collect::<Vec<_>>());
        let current = sorted(&current.iter().map(|&x| f64::from(x) / 7.0).collect::<Vec<_>>());
        let cells = Cells::of_sorted(&reference);
        let (of_reference, of_current) = (counts(&cells, &reference), counts(&cells, &current));
        prop_assert_eq!(of_reference.total(), reference.len() as u64);
        prop_assert_eq!(of_reference.below + of_reference.above, 0);
        let largest = of_reference.counts.iter().max().copied().unwrap() as f64 / reference.len() as f64;
        let (exact, binned) =
            (ks_statistic(&reference, &current), ks_statistic_of_cells(&of_reference.counts, &of_current));
        prop_assert!(binned <= exact + 1e-12, "{binned} above {exact}");
        // Within a cell either function can move by the whole mass that lies in it.
        let heaviest = of_current.counts.iter().max().copied().unwrap() as f64 / current.len() as f64;
        prop_assert!(exact <= binned + largest.max(heaviest) + 1e-12, "{exact} far above {binned}");
    }

    #[test]
    fn a_shift_beyond_the_range_is_measured_exactly(
        values in prop::collection::vec(0.0..10.0_f64, 2..100), shift in 20.0..1e6_f64,
    ) {
        let reference = sorted(&values);
        let moved: Vec<f64> = reference.iter().map(|value| value + shift).collect();
        let cells = Cells::of_sorted(&reference);
        let of_reference = counts(&cells, &reference);
        let distance = wasserstein_of_cells(&cells, &of_reference.counts, &counts(&cells, &moved));
        let exact = wasserstein(&reference, &moved);
        prop_assert!((exact - shift).abs() < 1e-6 * shift);
        // Between edges the cells only know the reference to a cell's width.
        prop_assert!((distance - exact).abs() <= 10.0, "{distance} for {exact}");
    }

    #[test]
    fn merged_cells_are_pushed_cells(
        reference in prop::collection::vec(-1e3..1e3_f64, 1..50),
        parts in prop::collection::vec(prop::collection::vec(-2e3..2e3_f64, 0..30), 1..5),
    ) {
        let cells = Cells::of_sorted(&sorted(&reference));
        let whole = counts(&cells, &parts.concat());
        let mut merged = cells.empty_counts();
        parts.iter().for_each(|part| merged.merge(&counts(&cells, part)));
        prop_assert_eq!(&merged.counts, &whole.counts);
        prop_assert_eq!((merged.below, merged.above), (whole.below, whole.above));
        prop_assert!((merged.below_distance - whole.below_distance).abs() <= 1e-9 * (1.0 + whole.below_distance));
    }
}

#[test]
fn degenerate_samples_are_calm() {
    let same = [3.0; 40];
    assert_eq!(ks_statistic(&same, &same[..30]), 0.0);
    assert_eq!(ks_p_value(0.0, 40, 30), 1.0);
    assert_eq!(wasserstein(&same, &same[..30]), 0.0);
    let cells = Cells::of_sorted(&same);
    assert_eq!(cells.len(), 1);
    let reference = counts(&cells, &same);
    assert_eq!(ks_statistic_of_cells(&reference.counts, &counts(&cells, &[4.0; 10])), 1.0);
    assert_eq!(wasserstein_of_cells(&cells, &reference.counts, &counts(&cells, &[4.0; 10])), 1.0);
    assert_eq!(ks_p_value(0.5, 0, 3), 1.0);
}

#[test]
fn the_limit_law_joins_its_two_forms() {
    assert!((kolmogorov_survival(0.999_999) - kolmogorov_survival(1.000_001)).abs() < 1e-5);
    assert!((kolmogorov_survival(1.358_098_9) - 0.05).abs() < 1e-6);
    assert_eq!(kolmogorov_survival(0.0), 1.0);
    assert!(kolmogorov_survival(10.0) < 1e-80);
}
