//! Where the rows of a frame go: grouped by pane, in one run each. It must not know windows.

use std::collections::{BTreeMap, HashSet};

use super::steps::PaneId;

/// Where rows go, in one run after another until they turn out to be interleaved.
#[derive(Default)]
pub(super) struct Placement {
    runs: Vec<(PaneId, Vec<u32>)>,
    in_order: Vec<(PaneId, u32)>,
    seen: HashSet<PaneId>,
    kept: u32,
    first: Option<u32>,
    interleaved: bool,
    gaps: bool,
    places: Vec<u32>,
}

impl Placement {
    pub(super) fn put(&mut self, row: u32, pane: PaneId) {
        let first = *self.first.get_or_insert(row);
        self.gaps |= first + self.kept != row;
        self.kept += 1;
        self.places.push(row);
        match self.in_order.last_mut() {
            Some((last, length)) if *last == pane => *length += 1,
            _ => {
                self.interleaved |= !self.seen.insert(pane);
                self.in_order.push((pane, 1));
            }
        }
    }

    pub(super) fn finish(mut self, rows: usize) -> (Option<Vec<u32>>, Vec<(PaneId, u32)>) {
        let whole = self.kept as usize == rows && !self.gaps;
        if !self.interleaved {
            return ((!whole).then_some(self.places), self.in_order);
        }
        let mut at = 0;
        let mut by_pane: BTreeMap<PaneId, usize> = BTreeMap::new();
        for (pane, length) in &self.in_order {
            let places = &self.places[at..at + *length as usize];
            at += *length as usize;
            let slot = *by_pane.entry(*pane).or_insert_with(|| {
                self.runs.push((*pane, Vec::new()));
                self.runs.len() - 1
            });
            self.runs[slot].1.extend_from_slice(places);
        }
        let runs = self.runs.iter().map(|(pane, places)| (*pane, places.len() as u32)).collect();
        (Some(self.runs.into_iter().flat_map(|(_, places)| places).collect()), runs)
    }
}
