//! How event time is cut: half-open windows aligned by floor, and the slices between their edges.
//! It must not know any row.
//!
//! A slice is the time between two neighbouring window edges, so that a window is a whole number of slices: one
//! slice a slide when the size is a multiple of the slide, two otherwise.

/// Longest window, 366 days in milliseconds.
pub const SIZE_MS_MAX: i64 = 366 * 86_400_000;
/// Most windows that one row can belong to.
pub const OVERLAP_MAX: i64 = 1_000;
/// Longest lateness or label horizon, 366 days in milliseconds.
pub const LATENESS_MS_MAX: i64 = 366 * 86_400_000;

/// The kinds of windows. Session and count windows will be further variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowKind {
    /// They follow each other.
    Tumbling {
        /// Length in milliseconds.
        size_ms: i64,
    },
    /// They overlap.
    Sliding {
        /// Length in milliseconds.
        size_ms: i64,
        /// From one start to the next, in milliseconds.
        slide_ms: i64,
    },
}

/// Windows, lateness and labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSpec {
    size_ms: i64,
    slide_ms: i64,
    offset_ms: i64,
    lateness_ms: i64,
    label_horizon_ms: Option<i64>,
}

/// Why a specification cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The size is not in 1..=366 days.
    #[error("size_ms is {0}, not 1 to {SIZE_MS_MAX}")]
    Size(i64),
    /// The slide is not in 1..=size, or windows overlap too much.
    #[error("slide_ms is {0}, not 1 to size_ms and at least size_ms / {OVERLAP_MAX}")]
    Slide(i64),
    /// The lateness is not in 0..=366 days.
    #[error("lateness_ms is {0}, not 0 to {LATENESS_MS_MAX}")]
    Lateness(i64),
    /// The label horizon is not in 0..=366 days.
    #[error("label_horizon_ms is {0}, not 0 to {LATENESS_MS_MAX}")]
    LabelHorizon(i64),
}

impl WindowSpec {
    /// Checks the numbers; the offset is normalised to the slide.
    ///
    /// `label_horizon_ms` is how long after its end a window takes labels; `None` for streams without labels.
    ///
    /// # Errors
    /// The first number out of its bounds.
    pub fn new(
        kind: WindowKind,
        offset_ms: i64,
        lateness_ms: i64,
        label_horizon_ms: Option<i64>,
    ) -> Result<Self, SpecError> {
        let (size_ms, slide_ms) = match kind {
            WindowKind::Tumbling { size_ms } => (size_ms, size_ms),
            WindowKind::Sliding { size_ms, slide_ms } => (size_ms, slide_ms),
        };
        if !(1..=SIZE_MS_MAX).contains(&size_ms) {
            return Err(SpecError::Size(size_ms));
        }
        if !(1..=size_ms).contains(&slide_ms) || size_ms.div_euclid(slide_ms) > OVERLAP_MAX {
            return Err(SpecError::Slide(slide_ms));
        }
        if !(0..=LATENESS_MS_MAX).contains(&lateness_ms) {
            return Err(SpecError::Lateness(lateness_ms));
        }
        if let Some(horizon_ms) = label_horizon_ms.filter(|ms| !(0..=LATENESS_MS_MAX).contains(ms)) {
            return Err(SpecError::LabelHorizon(horizon_ms));
        }
        let offset_ms = offset_ms.rem_euclid(slide_ms);
        Ok(Self { size_ms, slide_ms, offset_ms, lateness_ms, label_horizon_ms })
    }

    /// Length of a window in milliseconds.
    #[must_use]
    pub fn size_ms(&self) -> i64 {
        self.size_ms
    }

    /// How long after its end a window takes rows, in milliseconds.
    #[must_use]
    pub fn lateness_ms(&self) -> i64 {
        self.lateness_ms
    }

    /// How long after its end a window takes labels, in milliseconds.
    #[must_use]
    pub fn label_horizon_ms(&self) -> Option<i64> {
        self.label_horizon_ms
    }

    /// Start of the newest window that holds this time.
    #[must_use]
    pub fn newest_start(&self, time_ms: i64) -> i64 {
        // Floor, not truncation: times before the epoch are negative.
        time_ms - (time_ms - self.offset_ms).rem_euclid(self.slide_ms)
    }

    /// Between the starts of two windows, in milliseconds.
    #[must_use]
    pub fn slide_ms(&self) -> i64 {
        self.slide_ms
    }

    /// How long slices are, in milliseconds; their mean where they are of two lengths.
    #[must_use]
    pub fn pane_ms(&self) -> u64 {
        let slices = if self.size_ms.rem_euclid(self.slide_ms) == 0 { 1 } else { 2 };
        u64::try_from(self.slide_ms / slices).unwrap_or(0)
    }

    /// The slice that holds this time: [start, end).
    #[must_use]
    pub fn slice(&self, time_ms: i64) -> (i64, i64) {
        let start = self.newest_start(time_ms);
        let end = start + self.slide_ms;
        let rest = self.size_ms.rem_euclid(self.slide_ms);
        if rest == 0 {
            return (start, end);
        }
        // A window that began earlier ends inside this slide.
        let edge = start + rest;
        if time_ms < edge { (start, edge) } else { (edge, end) }
    }

    /// Starts of the windows that hold a slice, oldest first, given a time in the slice.
    pub fn starts(&self, time_ms: i64) -> impl Iterator<Item = i64> + use<> {
        let (newest, slide_ms, size_ms) = (self.newest_start(time_ms), self.slide_ms, self.size_ms);
        let back = (newest + size_ms - time_ms - 1).div_euclid(slide_ms);
        (0..=back).rev().map(move |step| newest - step * slide_ms)
    }

    /// Windows that one slice can belong to, at most.
    #[must_use]
    pub fn overlap(&self) -> usize {
        (self.size_ms + self.slide_ms - 1).div_euclid(self.slide_ms) as usize
    }
}
