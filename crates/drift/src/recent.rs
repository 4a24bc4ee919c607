//! Rows of the time before a window in place of the reference's own: the reference gives cells, tolerances and how rows hang together, they the
//! counts. It must not know how panes are made.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use acgs_judge_kit::alarm::Budget;
use acgs_reference::{
    FeatureReference, Reference, Shape,
    counts::{FeatureCounts, PaneCounts},
    pace::Pace,
    season::Season,
    variation::of_denser,
};
use serde::{Deserialize, Serialize};

use crate::{config::Config, frozen::Frozen};

/// Bytes of recent rows that a lane keeps.
const BYTES_MAX: usize = 8 << 20;
/// Pieces that are kept of a key: those before a window, those of the window itself, and some for windows that are judged again.
const PIECES_MAX: usize = 40;
const PIECES_MIN: usize = 5;
/// Share of recent rows beyond the reference's ends from which it is said.
const BEYOND_SAID: f64 = 0.05;

/// How much is kept of the time before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// Milliseconds before a window.
    pub span_ms: i64,
    piece_ms: i64,
    pieces_max: usize,
    keys_max: usize,
}

/// Recent rows by key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    keys: BTreeMap<String, VecDeque<Piece>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Piece {
    until_ms: i64,
    counts: PaneCounts,
}

/// What a window is compared with.
#[derive(Clone, Debug)]
pub struct Before {
    /// From when, in milliseconds since the epoch.
    pub from_ms: i64,
    /// Until when.
    pub until_ms: i64,
    /// Rows.
    pub counts: PaneCounts,
}

impl Span {
    /// `None` where windows are compared with the reference itself.
    #[must_use]
    pub fn new(span_ms: i64, reference: &Reference) -> Option<Self> {
        let piece_bytes = PaneCounts::new(reference).heap_bytes().max(1);
        let pieces_max = (BYTES_MAX / piece_bytes).clamp(PIECES_MIN, PIECES_MAX);
        (span_ms > 0).then(|| Self {
            span_ms,
            piece_ms: (span_ms / (pieces_max * 2 / 5) as i64).max(1),
            pieces_max,
            keys_max: (BYTES_MAX / (piece_bytes * pieces_max)).max(1),
        })
    }
}

impl Recent {
    /// Takes the rows of a pane that ended by then.
    pub fn take(&mut self, span: Span, key: &str, until_ms: i64, counts: &PaneCounts) {
        if !self.keys.contains_key(key) && self.keys.len() >= span.keys_max && !self.forget(span, until_ms) {
            return;
        }
        let pieces = self.keys.entry(key.to_owned()).or_default();
        let piece_of = |until_ms: i64| until_ms.saturating_sub(1).div_euclid(span.piece_ms);
        match pieces.iter_mut().rev().find(|piece| piece_of(piece.until_ms) == piece_of(until_ms)) {
            Some(same) => {
                same.until_ms = same.until_ms.max(until_ms);
                same.counts.merge(counts);
            }
            None => {
                // A window may come late.
                let place = pieces.partition_point(|piece| piece.until_ms < until_ms);
                pieces.insert(place, Piece { until_ms, counts: counts.clone() });
            }
        }
        while pieces.len() > span.pieces_max {
            pieces.pop_front();
        }
    }

    /// Gives up a key of which nothing has come for long; whether there was one.
    fn forget(&mut self, span: Span, until_ms: i64) -> bool {
        let newest = |pieces: &VecDeque<Piece>| pieces.back().map_or(i64::MIN, |piece| piece.until_ms);
        let oldest = self.keys.iter().map(|(key, pieces)| (newest(pieces), key)).min();
        let long_gone = until_ms.saturating_sub(span.span_ms.saturating_mul(2));
        let gone = oldest.filter(|(newest, _)| *newest < long_gone).map(|(_, key)| key.clone());
        gone.is_some_and(|key| self.keys.remove(&key).is_some())
    }

    /// Rows of the time before a window.
    ///
    /// # Errors
    /// Why there are none.
    pub fn before(&self, span: Span, key: &str, start_ms: i64, config: &Config) -> Result<Before, String> {
        let Some(pieces) = self.keys.get(key) else {
            return Err(format!("recent rows are kept of {} keys, not of this one", span.keys_max));
        };
        let from_ms = start_ms.saturating_sub(span.span_ms);
        let mut found: Option<PaneCounts> = None;
        for piece in pieces.iter().filter(|piece| piece.until_ms > from_ms && piece.until_ms <= start_ms) {
            match &mut found {
                Some(found) => found.merge(&piece.counts),
                none => *none = Some(piece.counts.clone()),
            }
        }
        let rows = found.as_ref().map_or(0, |counts| counts.row_count);
        match found.filter(|counts| counts.row_count >= config.rows_min) {
            Some(counts) => Ok(Before { from_ms, until_ms: start_ms, counts }),
            None => {
                Err(format!("{rows} rows in the time before to compare with, at least {}", config.rows_min))
            }
        }
    }

    /// The chance at which a window of any key opens an alert, so that the budget holds over all looks.
    #[must_use]
    pub fn alert_level(&self, budget: Budget) -> f64 {
        1.0 / (budget.looks * self.keys.len().max(1) as f64)
    }

    /// Whether what came back from outside can be used.
    #[must_use]
    pub fn fits(&self, span: Option<Span>, fresh: &PaneCounts) -> bool {
        let Some(span) = span else { return self.keys.is_empty() };
        let fits = |pieces: &VecDeque<Piece>| {
            pieces.len() <= span.pieces_max && pieces.iter().all(|piece| piece.counts.has_the_form_of(fresh))
        };
        self.keys.len() <= span.keys_max && self.keys.values().all(fits)
    }
}

impl Before {
    /// The reference with these rows in place of its own.
    #[must_use]
    pub fn frozen(&self, base: &Reference) -> Frozen {
        let features = base.features.iter().zip(&self.counts.features);
        let mut reference = Reference {
            row_count: self.counts.row_count,
            features: features.map(|(feature, counts)| of_recent(feature, counts)).collect(),
            season: Season::None,
            ..base.clone()
        };
        // Rows that come more often than those of the reference hang together as it shows of so much time.
        let denser = base.pace.times_denser(self.counts.row_count, self.counts.times_ms);
        for feature in &mut reference.features {
            feature.variation = of_denser(&feature.variation, denser);
            feature.null_variation = of_denser(&feature.null_variation, denser);
        }
        reference.pairs.variation = of_denser(&reference.pairs.variation, denser);
        if let Some((first, last)) = self.counts.times_ms {
            let rows = self.counts.row_count;
            (reference.timed_count, reference.from_ms, reference.until_ms) = (rows, first, last);
            reference.pace =
                Pace { count: rows, span_ms: last.saturating_sub(first), step_ms: base.pace.step_ms };
        }
        reference.pairs.counts.clone_from(&self.counts.pairs);
        Frozen::new(Arc::new(reference))
    }

    /// The rows of a window as they are comparable: what lies beyond the reference's ends is at them, and how much farther than before is its
    /// distance.
    #[must_use]
    pub fn comparable(&self, pane: &PaneCounts) -> PaneCounts {
        let mut pane = pane.clone();
        pane.phase_rows.clear();
        for (now, then) in pane.features.iter_mut().zip(&self.counts.features) {
            let (cells, before) = (&mut now.cells, &then.cells);
            let mean = |distance: f64, total: u64| distance / total.max(1) as f64;
            let (total, total_before) = (cells.total(), before.total());
            let farther =
                |now: f64, then: f64| (mean(now, total) - mean(then, total_before)).abs() * total as f64;
            cells.below_distance = farther(cells.below_distance, before.below_distance);
            cells.above_distance = farther(cells.above_distance, before.above_distance);
            at_ends(cells);
        }
        pane
    }

    /// What cannot be seen of these rows.
    #[must_use]
    pub fn assumption(&self, base: &Reference) -> String {
        let beyond = |(feature, counts): (&FeatureReference, &FeatureCounts)| {
            let beyond = counts.cells.below + counts.cells.above + counts.unseen_count;
            let share = beyond as f64 / counts.present().max(1) as f64;
            (share > BEYOND_SAID).then(|| format!("{:.0} % of {}", 100.0 * share, feature.field.name))
        };
        let found: Vec<String> =
            base.features.iter().zip(&self.counts.features).filter_map(beyond).take(5).collect();
        let mut assumed = Vec::new();
        if base.season != Season::None {
            assumed.push(
                "compares with the rows before as a whole, though the reference has a season: what the hour or the day makes of rows is \
                 called drift"
                    .to_owned(),
            );
        }
        if !found.is_empty() {
            assumed.push(format!(
                "rows before are beyond what the reference knows ({}), where moves do not show: a newer reference would",
                found.join(", ")
            ));
        }
        assumed.join("; ")
    }
}

fn at_ends(cells: &mut acgs_statistics::cells::CellCounts) {
    if let Some(first) = cells.counts.first_mut() {
        *first += std::mem::take(&mut cells.below);
    }
    if let Some(last) = cells.counts.last_mut() {
        *last += std::mem::take(&mut cells.above);
    }
}

fn of_recent(feature: &FeatureReference, counts: &FeatureCounts) -> FeatureReference {
    let mut of = feature.clone();
    of.phases.clear();
    of.null_count = counts.null_count;
    match &mut of.shape {
        Shape::Numeric { counts: own, .. } => {
            let mut cells = counts.cells.clone();
            at_ends(&mut cells);
            *own = cells.counts;
        }
        Shape::Categorical { counts: own, other_count, unseen_count, .. } => {
            own.clone_from(&counts.cells.counts);
            (*other_count, *unseen_count) = (counts.other_count, counts.unseen_count);
        }
    }
    of
}

#[cfg(test)]
mod tests {
    use acgs_columns::{Cell, Field, Kind, RecordBatch, Role, Schema, builder::BatchBuilder};
    use acgs_reference::freeze;

    use super::*;

    fn rows(from: f64, nulls: bool, category: &str) -> RecordBatch {
        let fields =
            vec![Field::new("x", Kind::Double, Role::Feature), Field::new("c", Kind::Text, Role::Feature)];
        let mut builder = BatchBuilder::new(Arc::new(Schema::new(fields).unwrap()));
        for row in 0..400_u32 {
            let value =
                if nulls && row % 4 == 0 { Cell::Null } else { Cell::Number(from + f64::from(row % 100)) };
            builder.push(&[value, Cell::Text(if row % 2 == 0 { "a" } else { category })]).unwrap();
        }
        builder.finish().unwrap()
    }

    fn reference() -> Reference {
        let rows = rows(0.0, false, "b");
        freeze(rows.schema(), std::slice::from_ref(&rows), 0)
    }

    fn counts(reference: &Reference, rows: &RecordBatch) -> PaneCounts {
        let mut counts = PaneCounts::new(reference);
        counts.push(reference, rows);
        counts
    }

    #[test]
    fn the_time_before_is_kept_by_key_and_no_longer_than_it_may_be() {
        let reference = reference();
        let config = Config { rows_min: 30, ..crate::properties::config() };
        let (span, pane) =
            (Span::new(1_000, &reference).unwrap(), counts(&reference, &rows(0.0, false, "b")));
        let mut recent = Recent::default();
        for end in 1..=200 {
            recent.take(span, "k", end * 1_000, &pane);
        }
        let rows = |key: &str, start_ms| {
            recent.before(span, key, start_ms, &config).map(|before| before.counts.row_count)
        };
        assert_eq!(rows("k", 200_000), Ok(400));
        assert!(rows("k", 201_000).unwrap_err().starts_with("0 rows"));
        assert!(rows("k", 10_000).is_err(), "long gone");
        assert!(rows("other", 200_000).is_err());
        assert!(recent.fits(Some(span), &PaneCounts::new(&reference)));
        assert!(!recent.fits(None, &pane) && !recent.fits(Some(span), &PaneCounts::default()));
        // Who has gone makes room.
        let mut many = Recent::default();
        for (number, end) in (0..3 * span.keys_max as i64).zip(1..) {
            many.take(span, &format!("k{number}"), end * 1_000, &pane);
        }
        let newest = 3 * span.keys_max as i64;
        assert!(many.keys.len() <= span.keys_max && many.keys.contains_key(&format!("k{}", newest - 1)));
        // A long time before is kept in few pieces.
        let (long, mut recent) = (Span::new(1_000_000, &reference).unwrap(), Recent::default());
        for end in 1..=1_500 {
            recent.take(long, "", end * 1_000, &pane);
        }
        let found = recent.before(long, "", 1_500_000, &config).unwrap().counts.row_count / 400;
        assert!((930..=1_070).contains(&found), "{found}");
        assert!(recent.keys[""].len() <= PIECES_MAX);
    }

    #[test]
    fn rows_beyond_the_reference_are_compared_by_how_far_and_it_is_said() {
        let reference = reference();
        let before =
            |rows: &RecordBatch| Before { from_ms: 0, until_ms: 1, counts: counts(&reference, rows) };
        let report = |before: &Before, now: &RecordBatch| {
            let config = crate::properties::config();
            let now = before.comparable(&counts(&reference, now));
            crate::detect::report(&config, &before.frozen(&reference), &now, |_| None)
        };
        let far = before(&rows(50.0, false, "z"));
        assert!(!report(&far, &rows(50.0, false, "z")).drift_detected);
        assert!(
            far.assumption(&reference).contains("50 % of x, 50 % of c"),
            "{}",
            far.assumption(&reference)
        );
        let still = before(&rows(0.0, true, "b"));
        assert_eq!(still.assumption(&reference), "");
        assert!(!report(&still, &rows(0.0, true, "b")).drift_detected, "nulls as before");
        let fuller = report(&still, &rows(0.0, false, "b"));
        assert!(fuller.drift_detected && fuller.features[0].null_effect > 0.9, "{fuller:?}");
        assert!(report(&far, &rows(0.0, false, "b")).drift_detected, "back where the reference is");
    }
}
