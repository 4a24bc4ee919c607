//! Whether events are surely more frequent than they were. It must not know what they are.

use statrs::{
    distribution::{Beta, ContinuousCDF},
    function::beta::checked_beta_reg,
};

/// Events among rows; rows that hang together count for fewer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Events.
    pub events: f64,
    /// Rows.
    pub rows: f64,
}

impl Rate {
    /// Of counts.
    #[must_use]
    pub fn of(events: u64, rows: u64) -> Self {
        Self { events: events.min(rows) as f64, rows: rows as f64 }
    }

    /// The share of rows; 0 without any.
    #[must_use]
    pub fn share(self) -> f64 {
        if self.rows > 0.0 { self.events / self.rows } else { 0.0 }
    }

    /// The same counted by what rows are worth.
    #[must_use]
    pub fn worth(self, worth: f64) -> Self {
        Self { events: self.events * worth, rows: self.rows * worth }
    }

    /// Whether it is above another, where the chance of saying so of rows without change is at most `alpha`: against the upper end of what the other
    /// leads to expect (Clopper and Pearson 1934), which takes half of `alpha`, the binomial tail takes the other half.
    #[must_use]
    pub fn is_surely_above(self, then: Self, alpha: f64) -> bool {
        if self.events <= 0.0 || self.share() <= then.share() {
            return false;
        }
        let upper = Beta::new(then.events + 1.0, (then.rows - then.events).max(f64::MIN_POSITIVE))
            .map_or(1.0, |law| law.inverse_cdf((1.0 - alpha / 2.0).clamp(0.0, 1.0)));
        self.is_surely_beyond(upper, alpha / 2.0)
    }

    /// Whether it is above a share, where the chance of saying so of rows that have that share is at most `alpha`.
    #[must_use]
    pub fn is_surely_beyond(self, share: f64, alpha: f64) -> bool {
        if self.events <= 0.0 || self.share() <= share || share >= 1.0 {
            return false;
        }
        // The chance of at least so many is an incomplete beta function, which part rows have a value of, too.
        let others = (self.rows - self.events).max(0.0) + 1.0;
        share <= 0.0 || checked_beta_reg(self.events, others, share).is_ok_and(|tail| tail <= alpha)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::Draws;

    #[test]
    fn tails_are_those_of_the_binomial_law() {
        // P(X >= 8 | 10, 1/2) = 56/1024.
        let eight = Rate::of(8, 10);
        assert!(eight.is_surely_beyond(0.5, 0.0547) && !eight.is_surely_beyond(0.5, 0.0546));
        assert!(Rate::of(1, 10).is_surely_beyond(0.0, 1e-9) && !Rate::of(0, 10).is_surely_beyond(0.0, 0.5));
        assert!(!Rate::of(10, 10).is_surely_beyond(1.0, 0.5));
    }

    #[test]
    fn rows_without_change_are_seldom_called_above() {
        let mut draws = Draws::new(11);
        let mut count = |rows: u64, share: f64| (0..rows).filter(|_| draws.unit() < share).count() as u64;
        for (then_rows, rows, share) in [(200, 100, 0.02), (1_000, 50, 0.1), (5_000, 1_000, 0.001)] {
            let alpha = 0.02;
            let called = (0..4_000)
                .filter(|_| {
                    let then = Rate::of(count(then_rows, share), then_rows);
                    Rate::of(count(rows, share), rows).is_surely_above(then, alpha)
                })
                .count();
            assert!(called as f64 / 4_000.0 <= alpha, "{called} of 4000 at {share}");
        }
        assert!(Rate::of(30, 100).is_surely_above(Rate::of(20, 1_000), 1e-6), "and a change is");
    }
}
