//! Streams of rows whose labels are settled, as a monitor is given them: binary models, classes and numbers, rows that hang together, seasons. It
//! must not know what is said of them.

use std::sync::Arc;

use acgs_columns::{Column, Field, Kind, RecordBatch, Role, Schema, Values};
use acgs_statistics::draws::Draws;

/// Milliseconds of an hour and a mean year.
pub(crate) const HOUR_MS: i64 = 3_600_000;
pub(crate) const YEAR_MS: i64 = 365 * 24 * HOUR_MS + 6 * HOUR_MS;

/// What a model says, and how its losses come about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Law {
    /// Scores that are right, with so many positives.
    Binary(f64),
    /// The same with 20 %, where whole stretches of some 20 rows are easy or hard.
    Dependent,
    /// One of ten answers is wrong.
    Classes,
    /// Errors are lognormal (0, 1.5): some are enormous.
    Numbers,
    /// Twice as many wrong answers by day as by night.
    Daily,
    /// Twice as many in winter as in summer, windows of a day.
    Yearly,
}

/// What has become of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Now {
    /// Nothing.
    Still,
    /// Labels have nothing to do with scores any more.
    Useless,
    /// Half of the labels have not.
    HalfUseless,
    /// Positives are twice as frequent as the scores say.
    Doubled,
    /// Losses are so many times as large.
    Larger(f64),
}

/// A source of rows.
#[derive(Debug)]
pub(crate) struct Source {
    law: Law,
    draws: Draws,
    schema: Arc<Schema>,
    time_ms: i64,
    hard: f64,
}

impl Law {
    /// How long a window is.
    pub(crate) fn window_ms(self) -> i64 {
        if self == Self::Yearly { 24 * HOUR_MS } else { HOUR_MS }
    }
}

impl Source {
    pub(crate) fn new(law: Law, seed: u64) -> Self {
        let of = |name: &str, role| Field::new(name, Kind::Double, role);
        let said = match law {
            Law::Binary(_) | Law::Dependent => of("p", Role::Score),
            Law::Classes | Law::Numbers | Law::Daily | Law::Yearly => of("said", Role::Prediction),
        };
        let time = Field::new("ts", Kind::Timestamp, Role::Timestamp);
        let schema = Schema::new(vec![time, said, of("y", Role::Label)]).expect("sound fields");
        // A Wednesday, 1 January.
        let time_ms = 44 * YEAR_MS;
        Self { law, draws: Draws::new(seed), schema: Arc::new(schema), time_ms, hard: 0.0 }
    }

    /// The columns.
    pub(crate) fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.draws.unit().max(1e-300).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.draws.unit()).cos()
    }

    fn score(&mut self, rate: f64) -> f64 {
        1.0 / (1.0 + (-((rate / (1.0 - rate)).ln() - 0.5 + 1.2 * self.normal())).exp())
    }

    fn binary(&mut self, score: f64, rate: f64, now: Now) -> (f64, f64) {
        let chance = match now {
            Now::Still | Now::Larger(_) => score,
            Now::Useless => self.score(rate),
            Now::HalfUseless => (score + self.score(rate)) / 2.0,
            Now::Doubled => (2.0 * score).min(1.0),
        };
        (score, f64::from(u8::from(self.draws.unit() < chance)))
    }

    /// An answer of three that is wrong with a chance.
    fn answer(&mut self, wrong: f64) -> (f64, f64) {
        let truth = (3.0 * self.draws.unit()).floor();
        let off = if self.draws.unit() < wrong { 1.0 } else { 0.0 };
        ((truth + off) % 3.0, truth)
    }

    fn row(&mut self, time_ms: i64, now: Now) -> (f64, f64) {
        let larger = if let Now::Larger(by) = now { by } else { 1.0 };
        match self.law {
            Law::Binary(rate) => {
                let score = self.score(rate);
                self.binary(score, rate, now)
            }
            Law::Dependent => {
                // Hard rows are unsure and follow each other.
                self.hard = 0.95 * self.hard + (1.0_f64 - 0.95 * 0.95).sqrt() * self.normal();
                let sharp = (self.hard).exp();
                let score = 1.0 / (1.0 + (1.4 - sharp * self.normal()).exp());
                self.binary(score, 0.2, now)
            }
            Law::Classes => self.answer(0.1 * larger),
            Law::Numbers => {
                let truth = 100.0 * self.draws.unit() + 0.5;
                (truth + larger * (1.5 * self.normal()).exp(), truth)
            }
            Law::Daily => {
                let hour = time_ms.div_euclid(HOUR_MS).rem_euclid(24);
                self.answer(larger * if (8..20).contains(&hour) { 0.12 } else { 0.06 })
            }
            Law::Yearly => {
                let year = (time_ms.rem_euclid(YEAR_MS)) as f64 / YEAR_MS as f64;
                self.answer(larger * (0.12 + 0.04 * (std::f64::consts::TAU * year).cos()))
            }
        }
    }

    /// So many rows over so many milliseconds.
    pub(crate) fn rows(&mut self, count: usize, span_ms: i64, now: Now) -> RecordBatch {
        let (mut times, mut said, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..count {
            let time_ms = self.time_ms + (row as i128 * i128::from(span_ms) / count as i128) as i64;
            let (value, label) = self.row(time_ms, now);
            times.push(time_ms);
            said.push(value);
            labels.push(label);
        }
        self.time_ms += span_ms;
        let column = |values| Column { values, validity: None };
        let columns = vec![
            column(Values::Integer(times.into())),
            column(Values::Double(said.into())),
            column(Values::Double(labels.into())),
        ];
        RecordBatch::new(Arc::clone(&self.schema), count, columns).expect("sound columns")
    }
}
