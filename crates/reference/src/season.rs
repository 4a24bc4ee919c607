//! Seasons that a reference can show, and the phase of a moment. It must not know what varies with them.

/// Milliseconds of an hour.
const HOUR_MS: i64 = 3_600_000;

/// What the rows of a reference vary with, in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Season {
    /// Nothing that it shows.
    #[default]
    None,
    /// The hour of the day.
    HourOfDay,
    /// The day of the week.
    DayOfWeek,
    /// The hour of the week.
    HourOfWeek,
    /// The twelfth of the year.
    MonthOfYear,
}

/// Milliseconds of a mean year.
pub(crate) const YEAR_MS: i64 = 365 * 24 * HOUR_MS + 6 * HOUR_MS;

impl Season {
    /// How many phases it has; 1 for none.
    #[must_use]
    pub fn phases(self) -> usize {
        match self {
            Self::None => 1,
            Self::HourOfDay => 24,
            Self::DayOfWeek => 7,
            Self::HourOfWeek => 168,
            Self::MonthOfYear => 12,
        }
    }

    /// How many phases are kept apart; 0 without a season.
    #[must_use]
    pub fn kept_phases(self) -> usize {
        if self == Self::None { 0 } else { self.phases() }
    }

    /// How long a phase is, in milliseconds; `None` without phases.
    #[must_use]
    pub fn phase_ms(self) -> Option<i64> {
        match self {
            Self::None => None,
            Self::HourOfDay | Self::HourOfWeek => Some(HOUR_MS),
            Self::DayOfWeek => Some(24 * HOUR_MS),
            Self::MonthOfYear => Some(YEAR_MS / 12),
        }
    }

    /// The phase of a moment, in milliseconds since the epoch: from midnight, and from Monday.
    #[must_use]
    pub fn phase(self, time_ms: i64) -> usize {
        let hour = time_ms.div_euclid(HOUR_MS);
        // The epoch is a Thursday.
        let phase = match self {
            Self::None => 0,
            Self::HourOfDay => hour.rem_euclid(24),
            Self::DayOfWeek => (hour.div_euclid(24) + 3).rem_euclid(7),
            Self::HourOfWeek => (hour + 3 * 24).rem_euclid(168),
            Self::MonthOfYear => time_ms.rem_euclid(YEAR_MS) * 12 / YEAR_MS,
        };
        usize::try_from(phase).unwrap_or(0)
    }
}

/// Whether rows of these times have the time of year of a moment, all in milliseconds since the epoch: within two weeks.
#[must_use]
pub fn has_time_of_year(from_ms: i64, until_ms: i64, moment_ms: i64) -> bool {
    const DAY_MS: i64 = 24 * HOUR_MS;
    const NEAR_MS: i64 = 14 * DAY_MS;
    let span_ms = until_ms.saturating_sub(from_ms);
    if span_ms >= YEAR_MS - 2 * NEAR_MS {
        return true;
    }
    let after_ms = moment_ms.saturating_sub(from_ms).rem_euclid(YEAR_MS);
    after_ms <= span_ms + NEAR_MS || after_ms >= YEAR_MS - NEAR_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_year_come_again() {
        const DAY_MS: i64 = 24 * HOUR_MS;
        // January and February 2013.
        let (from, until) = (1_356_998_400_000, 1_356_998_400_000 + 58 * DAY_MS);
        for (days, known) in [
            (0, true),
            (70, true),
            (100, false),
            (200, false),
            (340, false),
            (355, true),
            (365, true),
            (730, true),
            (-200, false),
        ] {
            assert_eq!(has_time_of_year(from, until, from + days * DAY_MS), known, "{days}");
        }
        assert!(has_time_of_year(from, from + 350 * DAY_MS, from + 200 * DAY_MS));
    }

    #[test]
    fn phases_of_known_moments() {
        // Sunday, 2013-12-29 23:59:59.999 UTC, and the millisecond after it.
        for (ms, hour, day, both) in
            [(1_388_361_599_999, 23, 6, 167), (1_388_361_600_000, 0, 0, 0), (-1, 23, 2, 71)]
        {
            assert_eq!(Season::HourOfDay.phase(ms), hour, "{ms}");
            assert_eq!(Season::DayOfWeek.phase(ms), day, "{ms}");
            assert_eq!(Season::HourOfWeek.phase(ms), both, "{ms}");
            assert_eq!(Season::None.phase(ms), 0);
        }
    }
}
