//! The report as a message.

use acgs_contracts::quality::v1 as proto;

use crate::report::{ColumnReport, Report};

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
        duplicate_count: report.duplicate_count,
        freshness_ms: report.freshness_ms,
        columns: report.columns.iter().map(column).collect(),
    }
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
    }
}
