//! How much more rows that follow each other vary than independent ones: what a sample of so many is worth. It must not know rows.

/// Stretches of at least this many make a length that is measured.
pub const STRETCHES_MIN: usize = 8;
/// Stretches of rows that are measured, at most, and the rows of the shortest.
const STRETCHES_MAX: usize = 512;
const STRETCH_ROWS_MIN: usize = 4;
/// Standard deviations of its noise from which a design effect is one: of all that is watched, and of one thing among it.
const SURE: f64 = 2.5;
const SURE_OF_ONE: f64 = 4.5;

/// Stretches of one length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variation {
    /// Rows of a stretch.
    pub rows: f64,
    /// The variance of their shares against that of independent rows, at least 1: the design effect (Kish 1965).
    pub factor: f64,
}

/// The design effect of a sample of so many rows: between lengths that were measured, in proportion of logarithms; beyond the longest, growing
/// as it grew last. `measured` is sorted by rows.
#[must_use]
pub fn factor_at(measured: &[Variation], rows: f64) -> f64 {
    let Some(last) = measured.last() else { return 1.0 };
    let place = measured.partition_point(|variation| variation.rows < rows);
    let between = |from: &Variation, to: &Variation| {
        let along = (rows / from.rows).ln() / (to.rows / from.rows).ln();
        (from.factor.ln() + along * (to.factor / from.factor).ln()).exp()
    };
    match place {
        0 => {
            // A single row is worth one.
            let first = &measured[0];
            if rows <= 1.0 || first.rows <= 1.0 {
                first.factor.min(1.0)
            } else {
                between(&Variation { rows: 1.0, factor: 1.0 }, first)
            }
        }
        _ if place < measured.len() => between(&measured[place - 1], &measured[place]),
        _ => {
            // Over two doublings, since each is noisy.
            let before = measured[measured.len().saturating_sub(3)];
            let doublings = (last.rows / before.rows).log2().max(1.0);
            // No faster than rows that all move together; and not by what the longest alone may owe to chance.
            let growth = if before.factor > 1.0 {
                (last.factor / before.factor).powf(1.0 / doublings).clamp(1.0, 2.0)
            } else {
                1.0
            };
            last.factor * growth.powf((rows / last.rows).log2())
        }
    }
    .max(1.0)
}

/// The same of rows that come `denser` times as often in time as those that were measured, such as those of a reference that is a sample of
/// them: what moves together in time does so however many rows there are of it, so that more rows are worth no more.
#[must_use]
pub fn factor_among(measured: &[Variation], rows: f64, denser: f64) -> f64 {
    let by_rows = factor_at(measured, rows);
    if denser <= 1.0 {
        return by_rows;
    }
    by_rows.max(1.0 + (factor_at(measured, rows / denser) - 1.0) * denser)
}

/// What was measured, as it is of rows that come so many times as often in time.
#[must_use]
pub fn of_denser(measured: &[Variation], denser: f64) -> Vec<Variation> {
    let denser = denser.max(1.0);
    let of = |it: &Variation| Variation { rows: it.rows * denser, factor: 1.0 + (it.factor - 1.0) * denser };
    measured.iter().map(of).collect()
}

/// Rows of the shortest stretches that are measured of so many.
#[must_use]
pub fn stretch_rows(rows: usize) -> usize {
    rows.div_ceil(STRETCHES_MAX).max(STRETCH_ROWS_MIN)
}

/// What falls into a stretch, and what was expected of it.
#[derive(Clone, Debug, Default)]
pub struct Stretch {
    /// Rows.
    pub rows: f64,
    /// The sum of what is watched.
    pub found: f64,
    /// Its expectation.
    pub expected: f64,
    /// The sum of its variances, were rows independent.
    pub variance: f64,
    /// Its rows by phase.
    pub phases: Vec<(usize, f64)>,
}

impl Stretch {
    /// Counts a row of a phase.
    pub fn row(&mut self, phase: usize) {
        self.rows += 1.0;
        self.of_phase(phase, 1.0);
    }

    fn of_phase(&mut self, phase: usize, rows: f64) {
        match self.phases.iter_mut().find(|of| of.0 == phase) {
            Some(of) => of.1 += rows,
            None => self.phases.push((phase, rows)),
        }
    }

    fn join(mut self, other: &Self) -> Self {
        other.phases.iter().for_each(|(phase, rows)| self.of_phase(*phase, *rows));
        Self {
            rows: self.rows + other.rows,
            found: self.found + other.found,
            expected: self.expected + other.expected,
            variance: self.variance + other.variance,
            phases: self.phases,
        }
    }

    /// The share of its variation that is left where what is expected of each phase was estimated from these very rows.
    fn free(&self, phase_rows: &[f64]) -> f64 {
        let fitted = |(phase, rows): &(usize, f64)| rows * rows / phase_rows[*phase].max(*rows);
        1.0 - self.phases.iter().map(fitted).sum::<f64>() / self.rows
    }
}

/// The design effects of stretches, of their pairs, of pairs of those and so on, while there are [`STRETCHES_MIN`]: over all that is watched, or
/// of what hangs together most when it surely does. `watched` are the stretches of each; `phase_rows` are all rows of each phase. What noise
/// alone could make is 1.
#[must_use]
pub fn variations(mut watched: Vec<Vec<Stretch>>, phase_rows: &[f64]) -> Vec<Variation> {
    let mut measured = Vec::new();
    while watched.iter().any(|stretches| stretches.len() >= STRETCHES_MIN) {
        let looked: Vec<Looked> =
            watched.iter().filter_map(|stretches| Looked::at(stretches, phase_rows)).collect();
        if let Some(first) = looked.first() {
            let many = looked.len() as f64;
            let mean = looked.iter().map(|it| it.factor).sum::<f64>() / many;
            let most = looked.iter().map(|it| it.factor).fold(0.0, f64::max);
            let noise = (2.0 / first.free).sqrt();
            // Longer stretches are fewer, and hang together no less than their halves.
            let mut factor = measured.last().map_or(1.0, |shorter: &Variation| shorter.factor);
            if mean > 1.0 + SURE * noise / many.sqrt() {
                factor = factor.max(mean);
            }
            if most > 1.0 + SURE_OF_ONE * noise {
                factor = factor.max(most);
            }
            // Where half of the rows is left out, pairs of stretches may be no longer than each.
            match measured.last_mut() {
                Some(shorter) if first.rows <= shorter.rows => shorter.factor = factor,
                _ => measured.push(Variation { rows: first.rows.max(1.0), factor }),
            }
        }
        let pairs = |stretches: Vec<Stretch>| -> Vec<Stretch> {
            let pairs = stretches.chunks(2).filter(|pair| pair.len() == 2);
            pairs.map(|pair| pair[0].clone().join(&pair[1])).collect()
        };
        watched = watched.into_iter().map(pairs).collect();
    }
    measured
}

/// Stretches of one length of one thing that is watched.
struct Looked {
    rows: f64,
    factor: f64,
    free: f64,
}

impl Looked {
    fn at(stretches: &[Stretch], phase_rows: &[f64]) -> Option<Self> {
        let counted: Vec<&Stretch> = stretches.iter().filter(|stretch| stretch.variance > 0.0).collect();
        if counted.len() < STRETCHES_MIN {
            return None;
        }
        let squares: f64 = counted.iter().map(|it| (it.found - it.expected).powi(2) / it.variance).sum();
        let free: f64 = counted.iter().map(|it| it.free(phase_rows)).sum();
        let free = free.max(counted.len() as f64 / 4.0);
        let rows = counted.iter().map(|it| it.rows).sum::<f64>() / counted.len() as f64;
        Some(Self { rows, factor: squares / free, free })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A linear congruential generator, for numbers that are the same everywhere.
    fn unit(state: &mut u64) -> f64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Stretches of 8 rows of a chain that keeps its value with a probability.
    fn chain(keep: f64, seed: u64) -> Vec<Stretch> {
        let (mut state, mut value) = (seed, 0.5);
        let mut row = || {
            if unit(&mut state) >= keep {
                value = unit(&mut state);
            }
            value
        };
        (0..2_048)
            .map(|_| {
                let found = (0..8).map(|_| row()).sum();
                Stretch { rows: 8.0, found, expected: 4.0, variance: 8.0 / 12.0, phases: vec![(0, 8.0)] }
            })
            .collect()
    }

    #[test]
    fn independent_rows_count_in_full_and_others_less() {
        let free = variations(vec![chain(0.0, 1)], &[16_384.0]);
        assert!(free.iter().all(|variation| variation.factor < 1.6), "{free:?}");
        // Runs of 10: (1 + 0.9) / (1 - 0.9) = 19 in long stretches.
        let bound = variations(vec![chain(0.9, 2)], &[16_384.0]);
        let long = factor_at(&bound, 256.0);
        assert!((12.0..26.0).contains(&long), "{bound:?}");
        assert!(factor_at(&bound, 1.0) < 1.01 && factor_at(&bound, 4.0) < factor_at(&bound, 16.0));
        assert!(factor_at(&bound, 4_096.0) >= 12.0);
        assert!((factor_at(&[], 100.0) - 1.0).abs() < 1e-12, "nothing was measured");
    }

    #[test]
    fn more_rows_of_the_same_time_are_worth_no_more() {
        // Twenty rows of a cluster whose rows have a correlation of 0.2.
        let measured = [Variation { rows: 5.0, factor: 1.8 }, Variation { rows: 20.0, factor: 4.8 }];
        let worth = |rows: f64, denser: f64| rows / factor_among(&measured, rows, denser);
        assert!((worth(20.0, 1.0) - 20.0 / 4.8).abs() < 1e-9);
        assert!((worth(200.0, 10.0) - 200.0 / 39.0).abs() < 1e-9, "of one cluster, at most 5");
        assert!((worth(5.0, 0.25) - 5.0 / 1.8).abs() < 1e-9, "fewer say what fewer say");
        assert!((factor_among(&[], 200.0, 10.0) - 1.0).abs() < 1e-12, "independent rows are independent");
    }

    #[test]
    fn what_moves_together_grows_with_the_sample() {
        let measured = [Variation { rows: 50.0, factor: 10.0 }, Variation { rows: 100.0, factor: 20.0 }];
        assert!((factor_at(&measured, 400.0) - 80.0).abs() < 1e-6);
        assert!((factor_at(&measured, 70.0) - 14.0).abs() < 0.1);
    }
}
