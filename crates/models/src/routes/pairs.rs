//! Calls of a candidate and of its baseline, two and two. Who is whose partner, and which record of a call speaks for it, is settled
//! when the record comes: how a call ended, and how soon that is known, must not decide what is compared. It must not know what a loss is.

use std::collections::{BTreeMap, HashMap, VecDeque};

use acgs_columns::RecordId;

use crate::truth::Truth;

/// Pairs that are not complete: the oldest is given up for another, since its labels will hardly come any more.
const PAIRS_MAX: usize = 100_000;
/// Calls of one side that wait for a partner: the newest are kept, since the older ones were of other times.
const SINGLES_MAX: usize = 256;
/// Labels that came before their record, or belong to none that speaks: the newest are kept.
const LABELS_MAX: usize = 65_536;

/// The candidate's, or the baseline's.
pub(super) type Side = usize;
pub(super) const CANDIDATE: Side = 0;
pub(super) const BASELINE: Side = 1;

/// A score, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) score: f64,
    pub(super) label: Truth,
}

/// A record that speaks for its call.
#[derive(Clone, Debug)]
pub(super) struct Spoken {
    pub(super) side: Side,
    /// Which records came together; absent, each came alone.
    pub(super) call: Option<i64>,
    /// Event time.
    pub(super) time_ms: i64,
    pub(super) id: RecordId,
    pub(super) score: f64,
    pub(super) label: Option<Truth>,
}

#[derive(Debug, Default)]
struct Pair {
    /// Those that wait for their label.
    records: [Option<RecordId>; 2],
    outcomes: [Option<Outcome>; 2],
}

/// Pairs in the making.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// Records without a label: of which pair, on which side, and the score.
    records: HashMap<RecordId, (u64, Side, f64)>,
    labels: HashMap<RecordId, Truth>,
    /// Labels in the order in which they came.
    labels_came: VecDeque<RecordId>,
    pairs: BTreeMap<u64, Pair>,
    /// Pairs with one call so far, and its event time; the oldest first.
    singles: [Vec<(u64, i64)>; 2],
    /// The last call of each side.
    last: [Option<i64>; 2],
    begun: u64,
}

impl Pairs {
    /// Takes a record: the first of its call speaks for it, the others do not count. What comes back is a pair that is complete,
    /// the candidate first.
    pub(super) fn record(&mut self, spoken: Spoken) -> Option<[Outcome; 2]> {
        let Spoken { side, call, time_ms, id, score, label } = spoken;
        if call.is_some() && call == self.last[side] || self.records.contains_key(&id) {
            return None;
        }
        self.last[side] = call;
        let number = self.partner(side, time_ms);
        match label.or_else(|| self.labels.remove(&id)) {
            Some(label) => self.known(number, side, Outcome { score, label }),
            None => {
                self.pairs.entry(number).or_default().records[side] = Some(id.clone());
                self.records.insert(id, (number, side, score));
                None
            }
        }
    }

    /// Takes a label; what comes back is a pair that is complete with it.
    pub(super) fn label(&mut self, id: RecordId, label: Truth) -> Option<[Outcome; 2]> {
        if let Some((number, side, score)) = self.records.remove(&id) {
            return self.known(number, side, Outcome { score, label });
        }
        if self.labels.len() >= LABELS_MAX
            && let Some(oldest) = self.labels_came.pop_front()
        {
            self.labels.remove(&oldest);
        }
        if self.labels.insert(id.clone(), label).is_none() {
            self.labels_came.push_back(id);
        }
        // Labels that were taken out by their record leave their place in the row behind.
        if self.labels_came.len() > 2 * LABELS_MAX {
            let labels = &self.labels;
            self.labels_came.retain(|id| labels.contains_key(id));
        }
        None
    }

    fn known(&mut self, number: u64, side: Side, outcome: Outcome) -> Option<[Outcome; 2]> {
        let pair = self.pairs.get_mut(&number)?;
        pair.records[side] = None;
        pair.outcomes[side] = Some(outcome);
        let [Some(candidate), Some(baseline)] = pair.outcomes else { return None };
        self.pairs.remove(&number);
        Some([candidate, baseline])
    }

    /// The nearest call of the other side, in event time, of those that are alone; without one, a new pair.
    fn partner(&mut self, side: Side, time_ms: i64) -> u64 {
        let others = &mut self.singles[1 - side];
        if let Some(place) = (0..others.len()).min_by_key(|place| others[*place].1.abs_diff(time_ms)) {
            return others.remove(place).0;
        }
        if self.singles[side].len() >= SINGLES_MAX {
            let (oldest, _) = self.singles[side].remove(0);
            self.forget(oldest);
        }
        if self.pairs.len() >= PAIRS_MAX
            && let Some((&oldest, _)) = self.pairs.first_key_value()
        {
            self.singles.iter_mut().for_each(|singles| singles.retain(|(number, _)| *number != oldest));
            self.forget(oldest);
        }
        self.begun += 1;
        self.singles[side].push((self.begun, time_ms));
        self.pairs.insert(self.begun, Pair::default());
        self.begun
    }

    fn forget(&mut self, number: u64) {
        for id in self.pairs.remove(&number).into_iter().flat_map(|pair| pair.records).flatten() {
            self.records.remove(&id);
        }
    }
}

#[cfg(test)]
#[path = "pairs_tests.rs"]
mod tests;
