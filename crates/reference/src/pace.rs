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
}

impl Pace {
    /// Of ascending times, in milliseconds.
    #[must_use]
    pub fn of_sorted(times: &[i64]) -> Self {
        let out = (times.len() as f64 * ENDS) as usize;
        let inner = &times[out..times.len() - out];
        match (inner.first(), inner.last()) {
            (Some(first), Some(last)) => {
                Self { count: inner.len() as u64, span_ms: last.saturating_sub(*first) }
            }
            _ => Self::default(),
        }
    }

    /// How many times as often rows come, so many in a time from first to last; 1 where either has no times.
    #[must_use]
    pub fn times_denser(self, rows: u64, times_ms: Option<(i64, i64)>) -> f64 {
        let (count, own_span) = (self.count as f64, self.span_ms as f64);
        match times_ms.map(|(first, last)| last.saturating_sub(first) as f64) {
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
            Pace::of_sorted(times).times_denser(101, Some((1_700_000_000_000, 1_700_000_010_000)))
        };
        assert!((denser(&times) - 10.0).abs() < 0.2, "{}", denser(&times));
        times.insert(0, 0);
        assert!((denser(&times) - 10.0).abs() < 0.2, "{}", denser(&times));
        assert!((denser(&[]) - 1.0).abs() < 1e-12);
        assert!((Pace::of_sorted(&times).times_denser(5, Some((7, 7))) - 1.0).abs() < 1e-12);
        assert!(
            Pace::of_sorted(&[i64::MIN, i64::MAX]).times_denser(5, Some((i64::MIN, i64::MAX))).is_finite()
        );
    }
}
