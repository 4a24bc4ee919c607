//! Rows to draw: independent, heavy-tailed, rounded, seasonal, dependent, of many categories. It must not know what is said of them.

use std::sync::Arc;

use acgs_columns::{Bitmap, Column, Field, Kind, RecordBatch, Role, Schema, Values};
use acgs_statistics::{distinct::mix, draws::Draws};

/// How values come about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Law {
    /// Standard normal.
    Normal,
    /// The exponential of that.
    Lognormal,
    /// Student's t with two degrees of freedom.
    HeavyTails,
    /// Standard normal, to tenths.
    Rounded,
    /// Poisson of mean 3.
    Counts,
    /// Four of five are 0, the others standard normal.
    ZeroInflated,
    /// Autoregressive, 0.9, standard normal in the long run.
    Dependent,
    /// The same, 0.999: windows hang together.
    Slow,
    /// Standard normal about a daily sine of amplitude 1.
    Daily,
    /// The same, with 3 % of values absent.
    Gaps,
    /// Standard normal, nine of ten values absent.
    Sparse,
    /// Standard normal about a level of each hour, of deviation 0.5; the reference has one row in ten.
    Thinned,
    /// Standard normal, one more at weekends.
    Weekly,
    /// So many categories alike.
    Uniform(u64),
    /// So many categories, frequencies by rank to the power of -1.1.
    Zipf(u64),
}

impl Law {
    fn is_text(self) -> bool {
        matches!(self, Self::Uniform(_) | Self::Zipf(_))
    }
}

/// A source of rows of some features, one after the other.
#[derive(Debug)]
pub(crate) struct Source {
    draws: Draws,
    /// The second of a pair of normal numbers.
    spare: Option<f64>,
    law: Law,
    states: Vec<f64>,
    cumulated: Vec<f64>,
    names: Arc<[Arc<str>]>,
    schema: Arc<Schema>,
    time_ms: i64,
    every_ms: f64,
    row: u64,
    seed: u64,
}

impl Source {
    /// Of a law, with so many features and rows an hour, from a seed.
    pub(crate) fn new(law: Law, features: usize, rows_per_hour: u64, seed: u64) -> Self {
        let kind = if law.is_text() { Kind::Text } else { Kind::Double };
        let mut fields = vec![Field::new("ts", Kind::Timestamp, Role::Timestamp)];
        fields.extend((0..features).map(|place| Field::new(format!("f{place}"), kind, Role::Feature)));
        let count = match law {
            Law::Uniform(count) | Law::Zipf(count) => count,
            _ => 0,
        };
        let mut sum = 0.0;
        let weight = |rank: u64| if matches!(law, Law::Zipf(_)) { (rank as f64).powf(-1.1) } else { 1.0 };
        let cumulated: Vec<f64> = (1..=count)
            .map(|rank| {
                sum += weight(rank);
                sum
            })
            .collect();
        let mut draws = Draws::new(seed);
        let states = (0..features).map(|_| normals(&mut draws).0).collect();
        Self {
            draws,
            spare: None,
            law,
            states,
            cumulated,
            names: (0..count).map(|place| Arc::from(format!("c{place}"))).collect(),
            schema: Arc::new(Schema::new(fields).expect("sound fields")),
            // A Monday.
            time_ms: 1_388_361_600_000,
            every_ms: 3_600_000.0 / rows_per_hour as f64,
            row: 0,
            seed,
        }
    }

    /// From now on a row comes so many times as seldom.
    pub(crate) fn every(&mut self, times: f64) {
        self.time_ms += (self.row as f64 * self.every_ms) as i64;
        self.row = 0;
        self.every_ms *= times;
    }

    /// The columns.
    pub(crate) fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The next rows.
    pub(crate) fn rows(&mut self, count: usize) -> RecordBatch {
        let times: Vec<i64> = (0..count as u64)
            .map(|row| self.time_ms + ((self.row + row) as f64 * self.every_ms) as i64)
            .collect();
        self.row += count as u64;
        let mut columns = Vec::with_capacity(self.states.len() + 1);
        for feature in 0..self.states.len() {
            let values = if self.law.is_text() {
                let codes: Vec<u32> = (0..count).map(|_| self.category()).collect();
                Values::Text { codes: codes.into(), dictionary: Arc::clone(&self.names) }
            } else {
                let of: Vec<f64> = times.iter().map(|time_ms| self.number(feature, *time_ms)).collect();
                Values::Double(of.into())
            };
            let absent = match self.law {
                Law::Gaps => 0.03,
                Law::Sparse => 0.9,
                _ => 0.0,
            };
            let validity = (absent > 0.0)
                .then(|| (0..count).map(|_| self.draws.unit() >= absent).collect::<Vec<bool>>())
                .map(|valid| Bitmap::from_bits(valid.into_iter()));
            columns.push(Column { values, validity });
        }
        columns.insert(0, Column { values: Values::Integer(times.into()), validity: None });
        RecordBatch::new(Arc::clone(&self.schema), count, columns).expect("sound columns")
    }

    fn normal(&mut self) -> f64 {
        self.spare.take().unwrap_or_else(|| {
            let (one, other) = normals(&mut self.draws);
            self.spare = Some(other);
            one
        })
    }

    fn category(&mut self) -> u32 {
        let at = self.draws.unit() * self.cumulated.last().copied().unwrap_or(1.0);
        self.cumulated.partition_point(|upto| *upto <= at) as u32
    }

    fn number(&mut self, feature: usize, time_ms: i64) -> f64 {
        let z = self.normal();
        match self.law {
            Law::Normal | Law::Sparse | Law::Uniform(_) | Law::Zipf(_) => z,
            Law::Lognormal => z.exp(),
            Law::HeavyTails => z / (-self.draws.unit().max(1e-300).ln()).sqrt(),
            Law::Rounded => (10.0 * z).round() / 10.0,
            Law::Counts => {
                // Knuth's product of uniform numbers.
                let (mut product, mut count) = (self.draws.unit(), 0.0);
                while product > (-3.0_f64).exp() {
                    product *= self.draws.unit();
                    count += 1.0;
                }
                count
            }
            Law::ZeroInflated => {
                if self.draws.unit() < 0.8 {
                    0.0
                } else {
                    z
                }
            }
            Law::Dependent | Law::Slow => {
                let keep: f64 = if self.law == Law::Slow { 0.999 } else { 0.9 };
                let state = &mut self.states[feature];
                *state = keep * *state + (1.0 - keep * keep).sqrt() * z;
                *state
            }
            Law::Daily | Law::Gaps => z + (std::f64::consts::TAU * time_ms as f64 / 86_400_000.0).sin(),
            Law::Thinned => {
                let hour = time_ms.div_euclid(3_600_000) as u64;
                let mut level = Draws::new(mix(hour) ^ mix(feature as u64 + self.seed));
                z + 0.5 * normals(&mut level).0
            }
            Law::Weekly => {
                let day = (time_ms.div_euclid(86_400_000) + 3).rem_euclid(7);
                z + f64::from(u8::from(day >= 5))
            }
        }
    }
}

/// Two standard normal numbers (Box and Muller 1958).
fn normals(draws: &mut Draws) -> (f64, f64) {
    let radius = (-2.0 * draws.unit().max(1e-300).ln()).sqrt();
    let (sine, cosine) = (std::f64::consts::TAU * draws.unit()).sin_cos();
    (radius * cosine, radius * sine)
}
