//! Budgets of false alarms. It must not know what alarms.

/// Milliseconds of a day.
const DAY_MS: f64 = 86_400_000.0;

/// The bound that keeps a budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Looks for which one false alarm is to be expected.
    pub looks: f64,
    /// The logarithm of the evidence at which to alarm: of evidence whose mean is at most 1 at each look, twice what the looks need, so that
    /// the budget holds as the mean run length to a false alarm, too.
    pub ln_bound: f64,
}

impl Budget {
    /// One false alarm in so many days of event time; in so many `windows` where panes have no length (`pane_ms` 0); in no fewer than `looks_min`
    /// looks. All `monitors` share it. `None` for no days: nothing is to be monitored.
    #[must_use]
    pub fn new(days: f64, windows: f64, pane_ms: u64, monitors: usize, looks_min: f64) -> Option<Self> {
        if days <= 0.0 {
            return None;
        }
        let looks = if pane_ms == 0 { windows } else { days * DAY_MS / pane_ms as f64 };
        let looks = looks.max(looks_min);
        Some(Self { looks, ln_bound: (2.0 * looks * monitors.max(1) as f64).ln() })
    }

    /// The logarithm of the evidence at which to alarm where it is summed over starts: its mean is then at most the number of looks.
    #[must_use]
    pub fn ln_bound_of_sums(self) -> f64 {
        self.looks.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_in_days_is_one_in_panes() {
        let hourly = Budget::new(30.0, 1_000.0, 3_600_000, 1, 20.0).unwrap();
        assert!((hourly.looks - 720.0).abs() < 1e-9 && (hourly.ln_bound - 1_440_f64.ln()).abs() < 1e-9);
        assert!(Budget::new(30.0, 1_000.0, 0, 17, 20.0).unwrap().ln_bound > 10.4);
        assert!((Budget::new(30.0, 1_000.0, 2_592_000_000, 1, 20.0).unwrap().looks - 20.0).abs() < 1e-9);
        assert_eq!(Budget::new(0.0, 1_000.0, 3_600_000, 1, 20.0), None);
    }
}
