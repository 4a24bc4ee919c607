//! What became of a stream so far, in numbers. It must not count.

/// Rows and labels that did not enter a window, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Windows had closed.
    pub late: u64,
    /// No event time.
    pub null_timestamp: u64,
    /// Event time that no calendar has.
    pub timestamp_out_of_range: u64,
    /// Event time ahead of the clock.
    pub timestamp_in_future: u64,
    /// Frames sent again.
    pub duplicate_frames: u64,
    /// Labels without their prediction.
    pub labels_expired: u64,
    /// Second labels that say what the first said.
    pub labels_duplicate: u64,
    /// Second labels that say something else, too late to stand for the first.
    pub labels_contradicted: u64,
    /// Second labels that say something else, and stand for the first.
    pub labels_corrected: u64,
    /// Labels without id or value.
    pub labels_invalid: u64,
}

/// What became of a stream so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Rows in windows.
    pub accepted_rows: u64,
    /// Windows closed.
    pub windows: u64,
    /// Reports made.
    pub reports: u64,
    /// What did not enter.
    pub dropped: Dropped,
}
