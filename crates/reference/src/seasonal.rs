//! Which season rows vary with, if any: an analysis of variance of runs. It must not know what rows hold.

use statrs::distribution::{ContinuousCDF, FisherSnedecor};

use crate::season::{Season, YEAR_MS};

/// Chance at which a season is taken for one, over all features.
const SEASON_ALPHA: f64 = 1e-4;
/// Rows of a day or week that recur, less their phases, from which a season can be told.
const RECURRING_MIN: usize = 10;
/// Features up to which each hour of the week is kept.
const WEEKLY_FEATURES_MAX: usize = 200;

/// How surely rows vary with the hour of the day and the day of the week.
pub(crate) struct Seasonal {
    of_day: Runs,
    of_week: Runs,
    /// Where years are looked at, and there are some.
    of_year: Option<Runs>,
    hour: f64,
    day: f64,
    month: f64,
    looks: usize,
    weeks: bool,
}

/// Rows of one phase in one cycle.
struct Runs {
    of_row: Vec<u32>,
    phases: Vec<usize>,
    season: Season,
}

impl Runs {
    fn new(times: &[i64], season: Season, cycle_ms: i64) -> Self {
        let mut runs = Self { of_row: Vec::with_capacity(times.len()), phases: Vec::new(), season };
        let mut current = (i64::MIN, usize::MAX);
        for time in times {
            let here = (time.div_euclid(cycle_ms), season.phase(*time));
            if here != current || runs.phases.is_empty() {
                current = here;
                runs.phases.push(here.1);
            }
            runs.of_row.push(runs.phases.len() as u32 - 1);
        }
        runs
    }

    /// How surely a score varies with the phase: minus the logarithm of its chance.
    fn sure(&self, codes: &[u8], scores: &[Option<f64>]) -> f64 {
        let mut sums = vec![(0.0, 0.0); self.phases.len()];
        for (run, code) in self.of_row.iter().zip(codes) {
            if let Some(Some(score)) = scores.get(*code as usize) {
                let of = &mut sums[*run as usize];
                *of = (of.0 + 1.0, of.1 + score);
            }
        }
        let of = self.phases.iter().zip(sums).filter(|(_, of)| of.0 > 0.0);
        let runs: Vec<(usize, f64, f64)> = of.map(|(phase, (rows, sum))| (*phase, rows, sum)).collect();
        -ln_chance(&runs, self.season.phases())
    }
}

impl Seasonal {
    /// Of rows with these times, ascending, in milliseconds since the epoch.
    pub(crate) fn new(times: &[i64]) -> Self {
        const DAY_MS: i64 = 86_400_000;
        let span_ms = times.last().zip(times.first()).map_or(0, |(last, first)| last.saturating_sub(*first));
        Self {
            of_day: Runs::new(times, Season::HourOfDay, DAY_MS),
            of_week: Runs::new(times, Season::DayOfWeek, 7 * DAY_MS),
            of_year: None,
            hour: 0.0,
            day: 0.0,
            month: 0.0,
            looks: 0,
            weeks: span_ms >= 14 * DAY_MS,
        }
    }

    /// The same, where a reference of several years may show its months.
    pub(crate) fn with_years(times: &[i64]) -> Self {
        let span_ms = times.last().zip(times.first()).map_or(0, |(last, first)| last.saturating_sub(*first));
        let years = span_ms >= 2 * YEAR_MS - YEAR_MS / 12;
        let of_year = years.then(|| Runs::new(times, Season::MonthOfYear, YEAR_MS));
        Self { of_year, ..Self::new(times) }
    }

    /// Takes a score of each row, by its outcome; rows without one do not count.
    pub(crate) fn look(&mut self, codes: &[u8], scores: &[Option<f64>]) {
        self.looks += 1;
        self.hour = self.hour.max(self.of_day.sure(codes, scores));
        if let Some(of_year) = &self.of_year {
            self.month = self.month.max(of_year.sure(codes, scores));
        }
        if self.weeks {
            self.day = self.day.max(self.of_week.sure(codes, scores));
        }
    }

    /// The season, with so many features.
    pub(crate) fn season(&self, features: usize) -> Season {
        let needed = -(SEASON_ALPHA / (2.0 * self.looks.max(1) as f64)).ln();
        if self.month > needed && self.month >= self.hour.max(self.day) {
            return Season::MonthOfYear;
        }
        match (self.hour > needed, self.day > needed && self.weeks) {
            (true, true) if features <= WEEKLY_FEATURES_MAX => Season::HourOfWeek,
            (true, _) => Season::HourOfDay,
            (false, true) => Season::DayOfWeek,
            (false, false) => Season::None,
        }
    }
}

/// The logarithm of the chance that means differ between phases as they do, were it chance: an analysis of variance of runs.
fn ln_chance(runs: &[(usize, f64, f64)], phases: usize) -> f64 {
    let mut sums = vec![(0.0, 0.0, 0_usize); phases];
    for (phase, rows, sum) in runs {
        let of = &mut sums[*phase];
        *of = (of.0 + rows, of.1 + sum, of.2 + 1);
    }
    let (rows, sum) = sums.iter().fold((0.0, 0.0), |all, of| (all.0 + of.0, all.1 + of.1));
    let seen = sums.iter().filter(|of| of.2 > 0).count();
    let (between_free, within_free) = (seen.saturating_sub(1), runs.len() - seen);
    // Most phases have to have come again.
    if between_free == 0 || within_free < RECURRING_MIN.max(seen * 3 / 4) {
        return 0.0;
    }
    let mean = sum / rows;
    let between: f64 =
        sums.iter().filter(|of| of.0 > 0.0).map(|of| of.0 * (of.1 / of.0 - mean).powi(2)).sum();
    let within: f64 = runs
        .iter()
        .map(|(phase, rows, sum)| rows * (sum / rows - sums[*phase].1 / sums[*phase].0).powi(2))
        .sum();
    let ratio = (between / between_free as f64) / (within / within_free as f64).max(f64::MIN_POSITIVE);
    let law = FisherSnedecor::new(between_free as f64, within_free as f64);
    law.map_or(0.0, |law| law.sf(ratio).max(f64::MIN_POSITIVE).ln())
}
