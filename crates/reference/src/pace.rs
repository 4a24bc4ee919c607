//! How often rows come. It must not know what is in them.

/// Share of rows at either end that do not count: one wrong time does not make a span.
const ENDS: f64 = 0.01;

/// Rows, and the time that they take, less those at the ends.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// Rows.
    pub count: u64,
    /// Milliseconds from the first to the last.
    pub span_ms: i64,
    /// Milliseconds from one time to the next that is another, on average: rows of one day may have one time.
    pub step_ms: i64,
}

impl Pace {
    /// Of ascending times, in milliseconds.
    #[must_use]
    pub fn of_sorted(times: &[i64]) -> Self {
        let out = (times.len() as f64 * ENDS) as usize;
        let inner = &times[out..times.len() - out];
        match (inner.first(), inner.last()) {
            (Some(first), Some(last)) => {
                let steps = inner.windows(2).filter(|pair| pair[0] != pair[1]).count();
                let span_ms = last.saturating_sub(*first);
                let step_ms = span_ms.checked_div(steps as i64).unwrap_or(0);
                Self { count: inner.len() as u64, span_ms, step_ms }
            }
            _ => Self::default(),
        }
    }

    /// How many times as often rows come, so many in a time from first to last; 1 where either has no times.
    #[must_use]
    pub fn times_denser(self, rows: u64, times_ms: Option<(i64, i64)>) -> f64 {
        // From the first to the last is a step less than the rows take.
        let covered = |span_ms: i64| span_ms as f64 + self.step_ms as f64;
        let (count, own_span) = (self.count as f64, covered(self.span_ms));
        match times_ms.map(|(first, last)| covered(last.saturating_sub(first))) {
            Some(span) if span > 0.0 && own_span > 0.0 && count > 0.0 => {
                rows as f64 / span * own_span / count
            }
            _ => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_time_does_not_change_the_pace() {
        let mut times: Vec<i64> = (0..1_000).map(|row| 1_700_000_000_000 + row * 1_000).collect();
        let denser = |times: &[i64]| {
            Pace::of_sorted(times).times_denser(110, Some((1_700_000_000_000, 1_700_000_010_000)))
        };
        assert!((denser(&times) - 10.0).abs() < 0.2, "{}", denser(&times));
        times.insert(0, 0);
        assert!((denser(&times) - 10.0).abs() < 0.2, "{}", denser(&times));
        assert!((denser(&[]) - 1.0).abs() < 1e-12);
        assert!((Pace::of_sorted(&[7; 9]).times_denser(5, Some((7, 7))) - 1.0).abs() < 1e-12);
        // A hundred rows a day, all of one time.
        let days: Vec<i64> = (0..10_000).map(|row| row / 100 * 86_400_000).collect();
        let denser = Pace::of_sorted(&days).times_denser(1_000, Some((86_400_000, 86_400_000)));
        assert!((denser - 10.0).abs() < 0.2, "{denser}");
        assert!(
            Pace::of_sorted(&[i64::MIN, i64::MAX]).times_denser(5, Some((i64::MIN, i64::MAX))).is_finite()
        );
    }
}
