//! A rate of some rows, such as that of nulls, against the one to be expected. It must not know what is counted.

use acgs_statistics::shares::{Trials, share_tails};

/// Rows of the law by which shares may differ from the reference's without being drift: 0.6 points at 50 %.
pub(crate) const TOLERATED_ROWS: f64 = 8_000.0;

/// Cohen's h of two shares (1988).
fn cohens_h(then: f64, now: f64) -> f64 {
    2.0 * now.clamp(0.0, 1.0).sqrt().asin() - 2.0 * then.clamp(0.0, 1.0).sqrt().asin()
}

/// A rate of some rows.
pub(crate) struct Rate {
    /// To be expected.
    pub(crate) then: f64,
    /// Found.
    pub(crate) now: f64,
    /// The chance of so many, or more.
    pub(crate) upper: f64,
    /// The chance of so many or more, or so few or fewer.
    pub(crate) two_sided: f64,
    /// Cohen's h beyond what a row of the reference may have made, negative when it fell.
    pub(crate) effect: f64,
}

impl Rate {
    /// So many hits of so many rows, which are worth `effective` independent ones, where a share is to be expected by a law worth
    /// `concentration` rows.
    pub(crate) fn of(hits: f64, effective: f64, rows: f64, then: f64, concentration: f64) -> Self {
        if rows == 0.0 {
            return Self { then, now: 0.0, upper: 1.0, two_sided: 1.0, effect: 0.0 };
        }
        let now = hits / rows;
        let (upper, lower) = share_tails(now * effective, Trials { count: effective, concentration }, then);
        let two_sided = (2.0 * upper.min(lower)).min(1.0);
        // What is to be expected is known to a row of the reference.
        let unsure = 1.0 / concentration.max(1.0);
        let nearest = now.clamp((then - unsure).max(0.0), (then + unsure).min(1.0));
        Self { then, now, upper, two_sided, effect: cohens_h(nearest, now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_rates_have_a_size_and_a_chance() {
        let five = Rate::of(50.0, 1_000.0, 1_000.0, 1e-4, 10_000.0);
        assert!(five.effect > 0.4 && five.upper < 1e-6 && five.two_sided < 1e-6);
        let none = Rate::of(0.0, 1_000.0, 1_000.0, 0.5, 10_000.0);
        assert!(none.effect < -1.5 && none.upper > 0.99 && none.two_sided < 1e-6);
        let same = Rate::of(500.0, 1_000.0, 1_000.0, 0.5, 10_000.0);
        assert!(same.effect.abs() < 1e-12 && same.two_sided > 0.9);
        // Ten rows without any cannot say that there are none.
        assert!(Rate::of(0.0, 100.0, 100.0, 0.5 / 11.0, 10.0).effect.abs() < 1e-12);
        assert!(Rate::of(10.0, 100.0, 100.0, 0.5 / 11.0, 10.0).effect.abs() < 1e-12);
        assert!(Rate::of(50.0, 100.0, 100.0, 0.5 / 11.0, 10.0).effect > 0.7);
        // Rows that hang together are worth fewer, and a rate of no rows says nothing.
        assert!(Rate::of(600.0, 10.0, 1_000.0, 0.5, 10_000.0).two_sided > 0.3);
        assert!(Rate::of(0.0, 0.0, 0.0, 0.5, 10_000.0).two_sided > 0.99);
    }
}
