//! What the reference leads to expect of cells and rows, column by column of what comes. It must not know thresholds.

use acgs_columns::Schema;
use acgs_reference::{
    Reference,
    pace::Pace,
    rates::FieldRates,
    runs::RUN_MIN,
    variation::{Variation, factor_among, factor_at},
};
use acgs_statistics::surely::Rate;

use crate::rates::{Changes, Counted, ExpectedRates, Then};

/// How many times as often rows may come as those of the reference for runs of one value to be as long.
const DENSER_MAX: f64 = 1.5;

/// How rows come, beside those of the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Come {
    /// How many times as often.
    pub denser: f64,
    /// Whether they are of one key.
    pub keyed: bool,
    /// Whether those were in order of event time.
    pub in_order: bool,
}

/// What is expected of the rows of a schema.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expected {
    /// In the schema's order; `None` where the reference has no such field.
    pub columns: Vec<Option<ExpectedColumn>>,
    /// Repeated ids or rows.
    pub repeated: Option<Rate>,
    /// Whether runs of its values are runs in time.
    pub in_order: bool,
    /// How rows hang together, for what is of no feature: as those of the feature that do most.
    variation: Vec<Variation>,
    pace: Pace,
}

/// What is expected of one column.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedColumn {
    /// Cells without a value.
    pub absent: Rate,
    /// Cells with a value that cannot be, among those with one.
    pub invalid: Rate,
    /// Rows in long runs of one value, among values.
    pub long_runs: Rate,
    /// Values that are the one before.
    pub repeats: Rate,
    /// Where numbers are beyond nearly all, and how many are.
    pub outliers: Option<(f64, f64, Rate)>,
    /// How values, and how nulls hang together.
    variation: [Vec<Variation>; 2],
    /// Rows of a long run of one value, and of how many runs the variance is as large as the mean.
    run_rows: f64,
    /// Cells: absent, invalid, beyond the fences, in long runs.
    cells: [u64; 4],
}

/// What rows of a column are worth beside independent ones, at most 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worth {
    /// As far as values tell.
    pub values: f64,
    /// As far as it is whether there is a value.
    pub absent: f64,
    /// Of rows in long runs.
    pub runs: f64,
}

impl Worth {
    /// As far as one rate tells.
    #[must_use]
    pub fn of(&self, counted: Counted) -> f64 {
        match counted {
            Counted::Absent => self.absent,
            Counted::Invalid | Counted::Outliers => self.values,
            Counted::Stuck => self.runs,
        }
    }
}

impl Default for Worth {
    fn default() -> Self {
        Self { values: 1.0, absent: 1.0, runs: 1.0 }
    }
}

impl Expected {
    /// Of rows of this schema; `None` of a reference from before that was kept.
    #[must_use]
    pub fn of(reference: &Reference, schema: &Schema) -> Option<Self> {
        if reference.rates.fields.is_empty() {
            return None;
        }
        let most = reference.features.iter().map(|feature| &feature.variation);
        let at = |variation: &[Variation]| factor_at(variation, reference.row_count as f64);
        let most = most.max_by(|one, other| at(one).total_cmp(&at(other))).cloned().unwrap_or_default();
        let column = |rates: &FieldRates| {
            let feature = reference.features.iter().find(|feature| feature.field.name == rates.name);
            let (of_values, of_nulls) =
                feature.map_or((&most, &most), |feature| (&feature.variation, &feature.null_variation));
            ExpectedColumn::of(rates, [of_values.clone(), of_nulls.clone()])
        };
        Some(Self {
            columns: schema
                .fields()
                .iter()
                .map(|field| reference.rates.get(&field.name).map(column))
                .collect(),
            repeated: reference
                .rates
                .repeated
                .map(|(repeated, all)| Rate::of(repeated, all).worth(1.0 / factor_at(&most, all as f64))),
            in_order: reference.rates.in_order,
            variation: most,
            pace: reference.pace,
        })
    }

    /// How many times more often so many rows of a time come than those of the reference did.
    #[must_use]
    pub fn denser(&self, rows: u64, times_ms: Option<(i64, i64)>) -> f64 {
        self.pace.times_denser(rows, times_ms)
    }

    /// Rows that came in so many milliseconds; `None` where no times are known.
    #[must_use]
    pub fn rows(&self, span_ms: i64) -> Option<f64> {
        let known_ms = self.pace.span_ms.saturating_add(self.pace.step_ms);
        (self.pace.count > 1 && known_ms > 0 && span_ms > 0)
            .then(|| self.pace.count as f64 * span_ms as f64 / known_ms as f64)
    }

    /// What rows are worth beside independent ones, at most 1.
    #[must_use]
    pub fn worth(&self, rows: u64, denser: f64) -> f64 {
        1.0 / factor_among(&self.variation, rows as f64, denser)
    }
}

impl ExpectedColumn {
    fn of(rates: &FieldRates, variation: [Vec<Variation>; 2]) -> Self {
        let (cells, runs) = (rates.soundness.cells, rates.soundness.runs);
        let worth = |variation: &[Variation]| 1.0 / factor_at(variation, cells.rows as f64);
        let (of_values, of_nulls) = (worth(&variation[0]), worth(&variation[1]));
        let (long_rows, long_runs) = runs.long();
        let mean_rows = if long_runs > 0 { long_rows as f64 / long_runs as f64 } else { RUN_MIN as f64 };
        // Runs are as long as they are by chance: so many rows come together, and as many again vary.
        let run_rows = 2.0 * mean_rows;
        Self {
            absent: Rate::of(cells.absent(), cells.rows).worth(of_nulls),
            invalid: Rate::of(cells.invalid(), cells.rows.saturating_sub(cells.absent())).worth(of_values),
            long_runs: Rate::of(long_rows, runs.values()).worth(of_values.min(1.0 / run_rows)),
            repeats: Rate::of(runs.repeats(), runs.values()).worth(of_values),
            outliers: rates
                .fences
                .map(|it| (it.lower, it.upper, Rate::of(it.beyond, it.count).worth(of_values))),
            variation,
            run_rows,
            cells: [cells.absent(), cells.invalid(), rates.fences.map_or(0, |it| it.beyond), long_rows],
        }
    }

    /// As rates of rows that come so, of a field whose cells must have a value or not; what repeats in time only where that is known.
    #[must_use]
    pub fn rates(&self, come: &Come, required: bool) -> ExpectedRates {
        let of = |rate: Rate, cells: u64| Then::of(rate, cells, come.keyed);
        let [absent, invalid, outliers, long_rows] = self.cells;
        let in_time = come.in_order && !come.keyed;
        let share = self.long_runs.share();
        let changes =
            Changes { repeats: self.repeats, long: (share, self.run_rows / 2.0), denser: come.denser };
        ExpectedRates {
            absent: if required { Then::Never } else { of(self.absent, absent) },
            invalid: of(self.invalid, invalid),
            outliers: self.outliers.map_or(Then::Unknown, |(.., rate)| of(rate, outliers)),
            stuck: if in_time && come.denser <= DENSER_MAX {
                of(self.long_runs, long_rows)
            } else {
                Then::Unknown
            },
            changes: (in_time && self.repeats.rows > 0.0).then_some(changes),
            keyed: come.keyed,
        }
    }

    /// Whether a run of so many rows among so many is no chance, of values that had no long run at all.
    #[must_use]
    pub fn is_sure_run(&self, longest: u64, values: u64, alpha: f64) -> bool {
        // The most frequent value is so frequent at most: see `Changes`.
        let chance = ((self.repeats.events + 1.0) / (self.repeats.rows + 2.0)).sqrt();
        let ln_expected = (values.max(1) as f64).ln() + (longest as f64 - 1.0) * chance.min(1.0).ln();
        self.long_runs.events <= 0.0 && self.long_runs.rows > 0.0 && ln_expected < alpha.ln()
    }

    /// What rows are worth, where so many more come in their time than in the reference's.
    #[must_use]
    pub fn worth(&self, rows: u64, denser: f64) -> Worth {
        let of = |variation: &[Variation]| 1.0 / factor_among(variation, rows as f64, denser);
        let values = of(&self.variation[0]);
        Worth { values, absent: of(&self.variation[1]), runs: values.min(1.0 / self.run_rows) }
    }
}
