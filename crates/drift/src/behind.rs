//! Whether one key or partition is behind a drift of all: what is left of it without those rows. It must not know how drift was found.

use std::collections::BTreeMap;

use acgs_reference::counts::{FeatureCounts, PaneCounts};
use serde::{Deserialize, Serialize};

use crate::{config::Config, frozen::Frozen, measure::in_tolerances};

/// Keys, or partitions, whose rows are looked at by themselves, of those that came since the last look.
const KEYS_MAX: usize = 32;
/// Bytes that they may hold together.
const BYTES_MAX: usize = 4 << 20;

/// Rows by key or partition since the last look.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ByPart {
    parts: BTreeMap<String, PaneCounts>,
}

impl ByPart {
    /// Takes rows of a part; those of more than are looked at are of none.
    pub fn take(&mut self, part: &str, counts: &PaneCounts) {
        if let Some(known) = self.parts.get_mut(part) {
            known.merge(counts);
        } else if self.parts.len() < KEYS_MAX && (self.parts.len() + 1) * counts.heap_bytes() < BYTES_MAX {
            self.parts.insert(part.to_owned(), counts.clone());
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.parts.clear();
    }

    /// Whether what came back from outside can be used.
    #[must_use]
    pub fn fits(&self, fresh: &PaneCounts) -> bool {
        self.parts.len() <= KEYS_MAX && self.parts.values().all(|pane| pane.has_the_form_of(fresh))
    }

    /// The part without which all rows are within tolerances of these features, of several the one without which they are farthest within.
    #[must_use]
    pub fn behind(
        &self,
        config: &Config,
        frozen: &Frozen,
        all: &PaneCounts,
        places: impl Iterator<Item = usize> + Clone,
    ) -> Option<String> {
        if self.parts.len() < 2 {
            return None;
        }
        // Those without a name are of several.
        let named = self.parts.iter().filter(|(part, _)| !part.is_empty());
        let without = named.filter_map(|(part, own)| {
            let rest = rest(all, own);
            let enough = rest.row_count >= config.rows_min;
            let size = places
                .clone()
                .filter_map(|place| in_tolerances(config, frozen, &rest, place))
                .fold(0.0, f64::max);
            (enough && size <= 1.0).then_some((part, size))
        });
        without.min_by(|one, other| one.1.total_cmp(&other.1)).map(|(part, _)| part.clone())
    }
}

/// All rows but some of them.
fn rest(all: &PaneCounts, some: &PaneCounts) -> PaneCounts {
    let mut rest = all.clone();
    rest.row_count = rest.row_count.saturating_sub(some.row_count);
    let less = |own: &mut u64, other: &u64| *own = own.saturating_sub(*other);
    let of = |own: &mut FeatureCounts, other: &FeatureCounts| {
        less(&mut own.null_count, &other.null_count);
        less(&mut own.other_count, &other.other_count);
        less(&mut own.unseen_count, &other.unseen_count);
        let (own, other) = (&mut own.cells, &other.cells);
        own.counts.iter_mut().zip(&other.counts).for_each(|(own, other)| less(own, other));
        less(&mut own.below, &other.below);
        less(&mut own.above, &other.above);
        own.below_distance = (own.below_distance - other.below_distance).max(0.0);
        own.above_distance = (own.above_distance - other.above_distance).max(0.0);
    };
    rest.features.iter_mut().zip(&some.features).for_each(|(own, other)| of(own, other));
    rest.phase_rows.iter_mut().zip(&some.phase_rows).for_each(|(own, other)| less(own, other));
    rest
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use acgs_columns::{Cell, Field, Kind, RecordBatch, Role, Schema, builder::BatchBuilder};
    use acgs_reference::freeze;

    use super::*;

    fn rows(shift: f64) -> RecordBatch {
        let fields = vec![Field::new("x", Kind::Double, Role::Feature)];
        let mut builder = BatchBuilder::new(Arc::new(Schema::new(fields).unwrap()));
        (0..500_u32).for_each(|row| builder.push(&[Cell::Number(f64::from(row % 100) + shift)]).unwrap());
        builder.finish().unwrap()
    }

    #[test]
    fn the_part_without_which_all_is_well_is_named_and_no_other() {
        let reference = freeze(rows(0.0).schema(), &[rows(0.0)], 0);
        let frozen = Frozen::new(Arc::new(reference));
        let config = crate::properties::config();
        let behind = |shifts: &[(&str, f64)]| {
            let (mut by_part, mut all) = (ByPart::default(), PaneCounts::new(&frozen.reference));
            for (part, shift) in shifts {
                let mut pane = PaneCounts::new(&frozen.reference);
                pane.push(&frozen.reference, &rows(*shift));
                by_part.take(part, &pane);
                all.merge(&pane);
            }
            assert!(by_part.fits(&PaneCounts::new(&frozen.reference)));
            by_part.behind(&config, &frozen, &all, std::iter::once(0))
        };
        assert_eq!(behind(&[("a", 0.0), ("b", 500.0), ("c", 0.0)]), Some("b".to_owned()));
        assert_eq!(behind(&[("a", 50.0), ("b", 50.0), ("c", 50.0)]), None, "all have moved");
        assert_eq!(behind(&[("a", 50.0)]), None, "there is no other");
    }
}
