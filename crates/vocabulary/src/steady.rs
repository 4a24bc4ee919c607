//! Wall time that may be acted upon: a clock that is set, or jumps, is followed slowly. It must not know a clock.

/// Follows a wall clock: never back, at half speed while the clock is behind, and so many times as fast as steady time while it is ahead.
#[derive(Clone, Copy, Debug)]
pub struct Steady {
    now_us: i64,
    /// Steady time that is accounted for.
    seen_us: u64,
    rate: u32,
}

impl Steady {
    /// From here on; it catches up `rate` times as fast as time passes.
    #[must_use]
    pub fn new(now_ms: i64, steady_us: u64, rate: u32) -> Self {
        Self { now_us: now_ms.saturating_mul(1_000), seen_us: steady_us, rate }
    }

    /// The time, by a wall clock that says this.
    pub fn look(&mut self, wall_ms: i64, steady_us: u64) -> i64 {
        let gone_us = i64::try_from(steady_us.saturating_sub(self.seen_us)).unwrap_or(i64::MAX);
        self.seen_us = self.seen_us.max(steady_us);
        let wall_us = wall_ms.saturating_mul(1_000);
        let least_us = self.now_us.saturating_add(gone_us / 2);
        let most_us = self.now_us.saturating_add(gone_us.saturating_mul(i64::from(self.rate.max(1))));
        // A clock that is ahead by a second is right.
        let is_near = wall_us.saturating_sub(most_us) <= 1_000_000;
        self.now_us = if is_near { wall_us.max(least_us) } else { most_us };
        self.now_us / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR_MS: i64 = 365 * 86_400_000;

    #[test]
    fn a_clock_that_runs_is_followed_to_the_millisecond() {
        let mut time = Steady::new(1_000, 0, 2);
        let mut wall_ms = 1_000;
        for passed_ms in [1, 1, 500, 0, 70_000, 3] {
            wall_ms += passed_ms;
            assert_eq!(time.look(wall_ms, (wall_ms - 1_000) as u64 * 1_000), wall_ms);
        }
        // A clock that runs 0.05 % fast, looked at often.
        let mut time = Steady::new(0, 0, 1);
        for step in 1..=100_000_i64 {
            let wall_ms = step * 10 + step / 200;
            assert_eq!(time.look(wall_ms, step as u64 * 10_000), wall_ms);
        }
    }

    #[test]
    fn a_jump_ahead_is_followed_slowly() {
        let mut time = Steady::new(0, 0, 24);
        assert_eq!(time.look(2 * YEAR_MS, 1_000_000), 24_000);
        assert_eq!(time.look(24_500, 1_000_000), 24_500);
        let mut passed_us = 1_000_000;
        while time.look(86_400_000, passed_us) < 86_400_000 {
            passed_us += 60_000_000;
        }
        assert!(passed_us < 3_700_000_000, "a day is caught up with in an hour");
    }

    #[test]
    fn a_step_back_slows_it_down() {
        let mut time = Steady::new(1_000_000, 0, 2);
        let mut last_ms = 1_000_000;
        for step in 1..=20_000_u64 {
            let now_ms = time.look(1_000_000 - 10_000 + step as i64, step * 1_000);
            assert!((last_ms..=last_ms + 1).contains(&now_ms));
            last_ms = now_ms;
        }
        assert_eq!(last_ms, 1_010_000, "ten seconds are caught up with in twenty");
    }
}
