//! What came of one column, as rates. It must not know thresholds.

use acgs_statistics::surely::Rate;

/// Rates of one column.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ColumnRates {
    /// Cells without a value.
    pub absent: Rate,
    /// Values that cannot be.
    pub invalid: Rate,
    /// Numbers beyond the fences.
    pub outliers: Rate,
    /// Stuck values: of a reference, values in long runs.
    pub stuck: Rate,
    /// Values that are the one before.
    pub repeats: Rate,
}
