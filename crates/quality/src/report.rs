//! From a pane to scores and findings. It must not know protobuf.

use acgs_columns::{Field, Role, Schema};
use acgs_vocabulary::{Finding, Severity, finding::gravest, text::apart};

use crate::{
    config::Config,
    pane::{ColumnPane, QualityPane, is_numeric, range},
};

/// Fences need at least this many values.
const FENCE_VALUES_MIN: u64 = 20;
/// Fields that a description names.
const NAMED_MAX: usize = 5;

/// Everything that was measured. Rates and scores are in [0, 1].
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Rows.
    pub row_count: u64,
    /// Weighted mean of the dimensions that apply.
    pub overall_score: f64,
    /// Share of cells that are present.
    pub completeness_score: f64,
    /// Share of present cells that are valid.
    pub validity_score: f64,
    /// Share of rows whose id is new; `None` without ids.
    pub uniqueness_score: Option<f64>,
    /// `None` without event times.
    pub freshness_score: Option<f64>,
    /// 1 - outlier rate.
    pub outlier_score: f64,
    /// Share of cells that are missing.
    pub missing_value_rate: f64,
    /// Share of numbers beyond the fences.
    pub outlier_rate: f64,
    /// Rows whose id repeats.
    pub duplicate_count: u64,
    /// Age of the newest row.
    pub freshness_ms: Option<i64>,
    /// All fields but the timestamp.
    pub columns: Vec<ColumnReport>,
}

/// One field.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnReport {
    /// The field.
    pub name: String,
    /// Null cells.
    pub missing_count: u64,
    /// Invalid cells.
    pub invalid_count: u64,
    /// Of those, numbers that are not finite.
    pub not_finite_count: u64,
    /// Numbers beyond the fences.
    pub outlier_count: u64,
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
}

/// What freshness is measured against.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    /// The end of the window, or now.
    pub until_ms: i64,
    /// The age that scores 0.
    pub horizon_ms: i64,
}

/// Measures a pane.
#[must_use]
pub fn report(config: &Config, schema: &Schema, pane: &QualityPane, freshness: Freshness) -> Report {
    let mut columns = Vec::new();
    let (mut cells, mut missing, mut invalid, mut numbers, mut outliers) = (0, 0, 0, 0, 0);
    for (field, column) in schema.fields().iter().zip(&pane.columns) {
        if field.role == Role::Timestamp {
            continue;
        }
        let fences = if is_numeric(field) { fences(config, column) } else { None };
        let outlier_count = fences.map_or(0, |(lower, upper)| column.sketch.count_outside(lower, upper));
        // A label that has not come yet is late, not missing.
        if field.role != Role::Label {
            cells += pane.row_count;
            missing += column.missing_count;
        }
        // A finite number may still be none that can be meant: it is told, and has no part in quantiles but its rank.
        let far_count = if is_numeric(field) { far_count(field, column) } else { 0 };
        let invalid_count = column.invalid_count + far_count;
        invalid += invalid_count;
        numbers += column.moments.count();
        outliers += outlier_count;
        columns.push(ColumnReport {
            name: field.name.clone(),
            missing_count: column.missing_count,
            invalid_count,
            not_finite_count: column.not_finite_count,
            outlier_count,
            minimum: column.moments.minimum(),
            maximum: column.moments.maximum(),
            // A value that cannot be meant makes of them what nobody means either; the extremes show it.
            mean: column.moments.mean().filter(|_| far_count == 0),
            standard_deviation: column.moments.sample_standard_deviation().filter(|_| far_count == 0),
            median: median(column),
            fences,
        });
    }
    let missing_value_rate = share(missing, cells);
    let validity_score = 1.0 - share(invalid, cells.saturating_sub(missing).max(invalid));
    let outlier_rate = share(outliers, numbers);
    let duplicate_count = pane.ids.repeated();
    let has_ids = schema.index_of_role(Role::Id).is_some() && pane.ids.total() > 0;
    let uniqueness_score = has_ids.then(|| 1.0 - share(duplicate_count, pane.ids.total()));
    let freshness_ms = pane.newest_ms.map(|newest_ms| freshness.until_ms.saturating_sub(newest_ms).max(0));
    let freshness_score =
        freshness_ms.map(|age_ms| (1.0 - age_ms as f64 / freshness.horizon_ms.max(1) as f64).clamp(0.0, 1.0));
    let mut report = Report {
        row_count: pane.row_count,
        overall_score: 0.0,
        completeness_score: 1.0 - missing_value_rate,
        validity_score,
        uniqueness_score,
        freshness_score,
        outlier_score: 1.0 - outlier_rate,
        missing_value_rate,
        outlier_rate,
        duplicate_count,
        freshness_ms,
        columns,
    };
    report.overall_score = overall(config, &report);
    report
}

fn median(column: &ColumnPane) -> Option<f64> {
    column.sketch.quantile_within(0.5, column.moments.minimum()?, column.moments.maximum()?)
}

/// Numbers that cannot be meant beside the others; those beyond the field's range are invalid already.
fn far_count(field: &Field, column: &ColumnPane) -> u64 {
    let (lower, upper) = range(field);
    column.sketch.far_count(lower.unwrap_or(f64::NEG_INFINITY), upper.unwrap_or(f64::INFINITY))
}

fn overall(config: &Config, report: &Report) -> f64 {
    let dimensions = [
        (config.completeness_weight, Some(report.completeness_score)),
        (config.validity_weight, Some(report.validity_score)),
        (config.uniqueness_weight, report.uniqueness_score),
        (config.freshness_weight, report.freshness_score),
        (config.outlier_weight, Some(report.outlier_score)),
    ];
    let applied = dimensions.iter().filter_map(|(weight, score)| score.map(|score| (weight, score)));
    let (sum, weights) =
        applied.fold((0.0, 0.0), |(sum, weights), (weight, score)| (sum + weight * score, weights + weight));
    if weights > 0.0 { sum / weights } else { 1.0 }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Quartiles less and plus some interquartile ranges; none where half of the values are one.
fn fences(config: &Config, column: &ColumnPane) -> Option<(f64, f64)> {
    if column.moments.count() < FENCE_VALUES_MIN {
        return None;
    }
    let (first, third) = (column.sketch.quantile(0.25)?, column.sketch.quantile(0.75)?);
    let reach = config.fence_ranges * (third - first);
    (reach > 0.0).then_some((first - reach, third + reach))
}

/// Notes on a field: what is wrong with its cells, so that whoever reads of a share of all cells knows where to look.
fn of_field(config: &Config, report: &Report, column: &ColumnReport) -> Vec<Finding> {
    let notes = [
        (
            "field_missing_values",
            share(column.missing_count, report.row_count),
            config.field_missing_rate_max,
            "is missing",
        ),
        (
            "field_invalid_values",
            share(column.invalid_count, report.row_count),
            config.invalid_rate_max,
            "is invalid",
        ),
        (
            "field_not_finite",
            share(column.not_finite_count, report.row_count),
            config.invalid_rate_max,
            "is not a finite number",
        ),
    ];
    let above = notes.into_iter().filter(|(_, rate, threshold, _)| rate > threshold);
    let note = above.map(|(rule, value, threshold, what)| Finding {
        rule: rule.into(),
        subject: column.name.clone(),
        severity: Severity::Low,
        value,
        threshold,
        description: format!("{:.1} % of {} {what}", value * 100.0, column.name),
    });
    note.collect()
}

/// Of which fields, the worst first.
fn worst_invalid(report: &Report) -> String {
    let mut fields: Vec<&ColumnReport> =
        report.columns.iter().filter(|column| column.invalid_count > 0).collect();
    fields.sort_by_key(|column| std::cmp::Reverse(column.invalid_count));
    let name = |column: &&ColumnReport| format!("{} of {}", column.invalid_count, column.name);
    let more = fields.len().saturating_sub(NAMED_MAX);
    let mut names: Vec<String> = fields.iter().take(NAMED_MAX).map(name).collect();
    if more > 0 {
        names.push(format!("{more} more fields"));
    }
    names.join(", ")
}

/// What is wrong, gravest first.
#[must_use]
pub fn findings(config: &Config, report: &Report) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut above = |rule: &str, value: f64, threshold: f64, what: &str| {
        if value > threshold {
            let severity = if value > 2.0 * threshold { Severity::High } else { Severity::Medium };
            let (found_value, bound) = apart(value * 100.0, threshold * 100.0, 1);
            let description = format!("{found_value} % {what}, above {bound} %");
            found.push(Finding {
                rule: rule.into(),
                subject: String::new(),
                severity,
                value,
                threshold,
                description,
            });
        }
    };
    above("missing_values", report.missing_value_rate, config.missing_rate_max, "of cells are missing");
    above(
        "invalid_values",
        1.0 - report.validity_score,
        config.invalid_rate_max,
        &format!("of present cells are invalid ({})", worst_invalid(report)),
    );
    above("outliers", report.outlier_rate, config.outlier_rate_max, "of numbers are far outliers");
    let repeated = report.uniqueness_score.map_or(0.0, |score| 1.0 - score);
    above("duplicates", repeated, config.duplicate_rate_max, "of rows repeat an id");
    found.extend(report.columns.iter().flat_map(|column| of_field(config, report, column)));
    let mut below = |rule: &str, severity: Severity, value: f64, threshold: f64, what: &str| {
        if value < threshold {
            let (found_value, bound) = apart(value, threshold, 2);
            let description = format!("{what} is {found_value}, below {bound}");
            found.push(Finding {
                rule: rule.into(),
                subject: String::new(),
                severity,
                value,
                threshold,
                description,
            });
        }
    };
    if let Some(score) = report.freshness_score {
        below("freshness", Severity::Low, score, config.freshness_score_min, "the freshness score");
    }
    // The original calls less than three quarters of its bound critical.
    let grave = report.overall_score < config.overall_score_min * 0.75;
    let severity = if grave { Severity::Critical } else { Severity::High };
    below("overall_score", severity, report.overall_score, config.overall_score_min, "the overall score");
    gravest(found)
}
