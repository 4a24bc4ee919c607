//! The report as a message.

use acgs_contracts::quality::v1 as proto;

use crate::{
    profile::{ColumnProfile, QUANTILES},
    report::{ColumnReport, Report},
};

/// The message of a report.
pub(super) fn report(report: &Report) -> proto::QualityReport {
    proto::QualityReport {
        row_count: report.row_count,
        overall_score: report.overall_score,
        completeness_score: report.completeness_score,
        validity_score: report.validity_score,
        uniqueness_score: report.uniqueness_score,
        freshness_score: report.freshness_score,
        outlier_score: report.outlier_score,
        missing_value_rate: report.missing_value_rate,
        outlier_rate: report.outlier_rate,
        duplicate_count: report.duplicates.events as u64,
        freshness_ms: report.freshness_ms,
        column_score_mean: report.column_score_mean,
        column_score_worst: report.column_score_worst.as_ref().map(|(_, score)| *score),
        worst_column: report.column_score_worst.as_ref().map(|(name, _)| name.clone()).unwrap_or_default(),
        consistency_score: report.consistency_score,
        future_rate: report.future_rate,
        age_median_ms: report.age_median_ms,
        expected_row_count: report.expected_row_count,
        duplicates_by_row: report.uniqueness_score.is_some() && !report.by_id,
        columns: report.columns.iter().map(column).collect(),
    }
}

fn top_values(profile: &ColumnProfile) -> Vec<proto::TopValue> {
    let (values, off) = &profile.frequent;
    let top = |(value, count): &(String, u64)| proto::TopValue {
        value: value.clone(),
        count: *count,
        count_error: *off,
    };
    values.iter().map(top).collect()
}

fn column(column: &ColumnReport) -> proto::ColumnQuality {
    proto::ColumnQuality {
        name: column.name.clone(),
        missing_count: column.missing_count,
        invalid_count: column.invalid_count,
        outlier_count: column.outlier_count,
        minimum: column.minimum,
        maximum: column.maximum,
        mean: column.mean,
        standard_deviation: column.standard_deviation,
        median: column.median,
        lower_fence: column.fences.map(|(lower, _)| lower),
        upper_fence: column.fences.map(|(_, upper)| upper),
        blank_count: column.blank_count,
        not_finite_count: column.not_finite_count,
        stuck_count: column.stuck_count,
        is_constant: column.is_constant,
        score: column.score.score,
        expected_missing_rate: column.expected.and_then(|it| it.absent.share()),
        expected_invalid_rate: column.expected.and_then(|it| it.invalid.share()),
        expected_outlier_rate: column.expected.and_then(|it| it.outliers.share()),
        skewness: column.profile.skewness,
        excess_kurtosis: column.profile.excess_kurtosis,
        quantiles: QUANTILES
            .iter()
            .zip(&column.profile.quantiles)
            .map(|(share, value)| proto::Quantile { share: *share, value: *value })
            .collect(),
        distinct_count: column.profile.distinct.0,
        distinct_is_estimated: !column.profile.distinct.1,
        top_values: top_values(&column.profile),
        trend_per_hour: column.profile.trend.map(|line| line.slope_per_hour),
        trend_p_value: column.profile.trend.map(|line| line.p_value),
        examples: column
            .examples
            .iter()
            .map(|it| proto::CellExample { row: it.row.clone(), value: it.value.clone() })
            .collect(),
    }
}
