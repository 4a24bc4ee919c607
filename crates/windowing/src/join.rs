//! Predictions wait for their labels, and labels for their predictions, bounded by event time and by number.
//! It must not know what either holds.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

/// What became of a prediction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predicted<L> {
    /// It waits.
    Waits,
    /// Its label was here already.
    Matched(L),
    /// Another prediction has this id; the first stands.
    Duplicate,
    /// There is no room: its label will not find it.
    Full,
}

/// What became of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Labelled<P> {
    /// It found its prediction.
    Matched(P),
    /// It waits.
    Waits,
    /// The id has a label; the first stands.
    Duplicate,
    /// There is no room for a label without a prediction.
    Full,
}

/// What was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired<P> {
    /// Predictions that never got a label.
    pub predictions: Vec<P>,
    /// Labels that never got a prediction.
    pub labels: usize,
}

#[derive(Debug)]
enum Entry<P, L> {
    Prediction(P),
    Label(L),
    /// Both were here; kept so that a second label is known as one.
    Done,
}

/// The join by id.
#[derive(Debug)]
pub struct LabelJoin<K, P, L> {
    entries: HashMap<K, Entry<P, L>>,
    deadlines: BTreeMap<i64, Vec<K>>,
    entries_max: usize,
}

impl<K: Clone + Eq + Hash, P, L> LabelJoin<K, P, L> {
    /// Empty; holds at most this many ids.
    #[must_use]
    pub fn new(entries_max: usize) -> Self {
        Self { entries: HashMap::new(), deadlines: BTreeMap::new(), entries_max }
    }

    /// Ids held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no id is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A prediction that waits until event time reaches `deadline_ms`.
    pub fn predict(&mut self, id: &K, prediction: P, deadline_ms: i64) -> Predicted<L> {
        match self.entries.get_mut(id) {
            Some(entry @ Entry::Label(_)) => match std::mem::replace(entry, Entry::Done) {
                Entry::Label(label) => Predicted::Matched(label),
                Entry::Prediction(_) | Entry::Done => Predicted::Duplicate,
            },
            Some(Entry::Prediction(_) | Entry::Done) => Predicted::Duplicate,
            None => {
                if self.insert(id, Entry::Prediction(prediction), deadline_ms) {
                    Predicted::Waits
                } else {
                    Predicted::Full
                }
            }
        }
    }

    /// A label; without a prediction it waits until event time reaches `deadline_ms`.
    pub fn label(&mut self, id: &K, label: L, deadline_ms: i64) -> Labelled<P> {
        match self.entries.get_mut(id) {
            Some(entry @ Entry::Prediction(_)) => match std::mem::replace(entry, Entry::Done) {
                Entry::Prediction(prediction) => Labelled::Matched(prediction),
                Entry::Label(_) | Entry::Done => Labelled::Duplicate,
            },
            Some(Entry::Label(_) | Entry::Done) => Labelled::Duplicate,
            None => {
                if self.insert(id, Entry::Label(label), deadline_ms) {
                    Labelled::Waits
                } else {
                    Labelled::Full
                }
            }
        }
    }

    /// Gives up what event time has overtaken.
    pub fn expire(&mut self, watermark: i64) -> Expired<P> {
        let mut expired = Expired { predictions: Vec::new(), labels: 0 };
        while self.deadlines.first_key_value().is_some_and(|(&deadline_ms, _)| deadline_ms <= watermark) {
            let Some((_, ids)) = self.deadlines.pop_first() else { break };
            for id in ids {
                match self.entries.remove(&id) {
                    Some(Entry::Prediction(prediction)) => expired.predictions.push(prediction),
                    Some(Entry::Label(_)) => expired.labels += 1,
                    Some(Entry::Done) | None => {}
                }
            }
        }
        expired
    }

    fn insert(&mut self, id: &K, entry: Entry<P, L>, deadline_ms: i64) -> bool {
        if self.entries.len() >= self.entries_max {
            return false;
        }
        self.entries.insert(id.clone(), entry);
        self.deadlines.entry(deadline_ms).or_default().push(id.clone());
        true
    }
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
