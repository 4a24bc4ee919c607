//! What was measured of a pane: rates, states of columns and scores. It must not know protobuf, nor what is a finding.

use acgs_statistics::surely::Rate;

use crate::{
    expected::Worth,
    pane::Example,
    profile::ColumnProfile,
    rates::{ColumnRates, ExpectedRates},
    score::ColumnScore,
};

/// Everything that was measured. Rates and scores are in [0, 1].
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Rows.
    pub row_count: u64,
    /// The share of what came that can be used: see `crate::score`.
    pub overall_score: f64,
    /// Mean score of the columns.
    pub column_score_mean: f64,
    /// The lowest score of a column, and its name.
    pub column_score_worst: Option<(String, f64)>,
    /// Share of cells that are present.
    pub completeness_score: f64,
    /// Share of present cells that are valid.
    pub validity_score: f64,
    /// Share of rows that are no repetition; `None` where rows may be the same by nature.
    pub uniqueness_score: Option<f64>,
    /// Mean over columns of the share of values that are not stuck, and have changed where they used to.
    pub consistency_score: f64,
    /// `None` without event times.
    pub freshness_score: Option<f64>,
    /// 1 - outlier rate.
    pub outlier_score: f64,
    /// Share of cells that are null.
    pub missing_value_rate: f64,
    /// Share of numbers beyond the fences.
    pub outlier_rate: f64,
    /// Rows that repeat.
    pub duplicates: Rate,
    /// Whether those are rows with an id.
    pub by_id: bool,
    /// Age of the newest row.
    pub freshness_ms: Option<i64>,
    /// Median age of the rows that are not ahead.
    pub age_median_ms: Option<i64>,
    /// Share of rows whose time is ahead.
    pub future_rate: f64,
    /// Share of rows without an event time.
    pub untimed_rate: f64,
    /// All fields but the timestamp.
    pub columns: Vec<ColumnReport>,
    /// What rows are worth beside independent ones.
    pub worth: f64,
    /// Rows that the reference had in as long a time; `None` where it has no times.
    pub expected_row_count: Option<f64>,
    /// Repetitions that are expected.
    pub expected_duplicates: Option<Rate>,
}

/// One field.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnReport {
    /// The field.
    pub name: String,
    /// Null cells.
    pub missing_count: u64,
    /// Texts that are blank.
    pub blank_count: u64,
    /// Invalid cells, absent ones of a field that must be there among them.
    pub invalid_count: u64,
    /// Of those, numbers that are not finite.
    pub not_finite_count: u64,
    /// Numbers beyond the fences.
    pub outlier_count: u64,
    /// Numbers.
    pub number_count: u64,
    /// Values that are stuck.
    pub stuck_count: u64,
    /// Whether all values are the same.
    pub is_constant: bool,
    /// Smallest.
    pub minimum: Option<f64>,
    /// Largest.
    pub maximum: Option<f64>,
    /// Mean.
    pub mean: Option<f64>,
    /// Sample standard deviation.
    pub standard_deviation: Option<f64>,
    /// Median to 0.79 %.
    pub median: Option<f64>,
    /// Where outliers begin.
    pub fences: Option<(f64, f64)>,
    /// What can be used of it.
    pub score: ColumnScore,
    /// What came, as rates.
    pub found: ColumnRates,
    /// What is expected; `None` without a reference of it.
    pub expected: Option<ExpectedRates>,
    /// What its rows are worth beside independent ones.
    pub worth: Worth,
    /// Whether it is the label.
    pub is_label: bool,
    /// Whether absent cells are invalid.
    pub required: bool,
    /// What values are like.
    pub profile: ColumnProfile,
    /// Cells that cannot be.
    pub examples: Vec<Example>,
}

/// What freshness is measured against.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    /// The end of the window, or now.
    pub until_ms: i64,
    /// The age that scores 0.
    pub horizon_ms: i64,
    /// Whether it enters the overall score: rows of a window are as old as it is.
    pub counts: bool,
    /// Whether all rows are of one key.
    pub keyed: bool,
}
