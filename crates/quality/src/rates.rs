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
    /// The reference has so many such cells, and which keys they are of is not known.
    ByKey(u64),
    /// What the reference had.
    Known(Rate),
    /// None at all.
    Never,
}

impl Then {
    /// What the reference had of it, so many cells of all rows; of a window of one key or of all.
    #[must_use]
    pub fn of(rate: Rate, cells: u64, keyed: bool) -> Self {
        match (rate.rows > 0.0, keyed && cells > 0) {
            (false, _) => Self::Unknown,
            (true, true) => Self::ByKey(cells),
            (true, false) => Self::Known(rate),
        }
    }

    /// The same beside what came: of one key there may be no more than twice what all of them had.
    #[must_use]
    pub fn beside(self, found: Rate) -> Self {
        match self {
            Self::ByKey(cells) if found.events > 2.0 * cells as f64 => Self::Unknown,
            other => other,
        }
    }

    /// The share that is expected, where it is known.
    #[must_use]
    pub fn share(self) -> Option<f64> {
        match self {
            Self::Unknown | Self::ByKey(_) => None,
            Self::Known(rate) => Some(rate.share()),
            Self::Never => Some(0.0),
        }
    }

    /// Whether a rate, by what its rows are worth, is surely above; `None` where that cannot be told.
    #[must_use]
    pub fn is_surely_below(self, found: Rate, alpha: f64) -> Option<bool> {
        match self {
            Self::Unknown | Self::ByKey(_) => None,
            Self::Known(then) => Some(found.is_surely_above(then, alpha)),
            Self::Never => Some(found.is_surely_beyond(0.0, alpha)),
        }
    }
}

/// How values of a column change in the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Changes {
    /// Values that are the one before.
    pub repeats: Rate,
    /// Share of values in long runs, and rows of such a run.
    pub long: (f64, f64),
    /// How many times as often rows come now.
    pub denser: f64,
}

impl Changes {
    /// The logarithm of the chance of so many values that are all the same: by how often values repeat, or within a run as long as those that there were.
    #[must_use]
    pub fn ln_chance_of_constant(&self, values: f64) -> f64 {
        let times = (values - 1.0).max(0.0) / self.denser.max(1.0);
        // Two values are the same with the sum of squares of all shares, of which the largest share is at most the root.
        let chance = ((self.repeats.events + 1.0) / (self.repeats.rows + 2.0)).min(1.0).sqrt();
        let (share, rows) = self.long;
        let of_run =
            if share > 0.0 { share.ln() + times * (-1.0 / rows.max(2.0)).ln_1p() } else { f64::NEG_INFINITY };
        (times * chance.ln()).max(of_run)
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
    /// How values change; `None` where that is not known of rows such as these.
    pub changes: Option<Changes>,
    /// Whether it is of one key.
    pub keyed: bool,
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
