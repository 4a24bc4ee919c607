//! What came of one column, and what is expected of it, as rates. It must not know thresholds.

use acgs_statistics::surely::Rate;

/// What is counted of a column's cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Cells without a value.
    Absent,
    /// Values that cannot be.
    Invalid,
    /// Numbers beyond the fences.
    Outliers,
    /// Stuck values: of a reference, values in long runs.
    Stuck,
}

/// Rates of one column.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ColumnRates {
    /// Cells without a value.
    pub absent: Rate,
    /// Values that cannot be.
    pub invalid: Rate,
    /// Numbers beyond the fences.
    pub outliers: Rate,
    /// Stuck values.
    pub stuck: Rate,
    /// Values that are the one before.
    pub repeats: Rate,
}

impl ColumnRates {
    /// One of them.
    #[must_use]
    pub fn of(&self, counted: Counted) -> Rate {
        match counted {
            Counted::Absent => self.absent,
            Counted::Invalid => self.invalid,
            Counted::Outliers => self.outliers,
            Counted::Stuck => self.stuck,
        }
    }
}

/// What is expected of a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Then {
    /// Nobody knows.
    #[default]
    Unknown,
    /// The reference has such cells, and which keys they are of is not known.
    ByKey,
    /// What the reference had.
    Known(Rate),
    /// None at all.
    Never,
}

impl Then {
    /// What the reference had of it, of a window of one key or of all rows.
    #[must_use]
    pub fn of(rate: Rate, keyed: bool) -> Self {
        match (rate.rows > 0.0, keyed && rate.events > 0.0) {
            (false, _) => Self::Unknown,
            (true, true) => Self::ByKey,
            (true, false) => Self::Known(rate),
        }
    }

    /// The share that is expected, where it is known.
    #[must_use]
    pub fn share(self) -> Option<f64> {
        match self {
            Self::Unknown | Self::ByKey => None,
            Self::Known(rate) => Some(rate.share()),
            Self::Never => Some(0.0),
        }
    }

    /// Whether a rate, by what its rows are worth, is surely above; `None` where that cannot be told.
    #[must_use]
    pub fn is_surely_below(self, found: Rate, alpha: f64) -> Option<bool> {
        match self {
            Self::Unknown | Self::ByKey => None,
            Self::Known(then) => Some(found.is_surely_above(then, alpha)),
            Self::Never => Some(found.is_surely_beyond(0.0, alpha)),
        }
    }
}

/// What is expected of one column.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ExpectedRates {
    /// Cells without a value.
    pub absent: Then,
    /// Values that cannot be.
    pub invalid: Then,
    /// Numbers beyond the fences.
    pub outliers: Then,
    /// Values in long runs.
    pub stuck: Then,
    /// Values that are the one before; `None` where rows of the reference do not come as these do.
    pub repeats: Option<Rate>,
}

impl ExpectedRates {
    /// One of them.
    #[must_use]
    pub fn of(&self, counted: Counted) -> Then {
        match counted {
            Counted::Absent => self.absent,
            Counted::Invalid => self.invalid,
            Counted::Outliers => self.outliers,
            Counted::Stuck => self.stuck,
        }
    }
}
