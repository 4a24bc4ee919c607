//! Predictions wait for their labels, and labels for their predictions, bounded by event time and by number.
//! It must not know what either holds.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
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
    Prediction(P, i64),
    Label(L, i64),
    /// Both were here; kept so that a second label is known as one.
    Done,
}

/// The join by id.
#[derive(Debug)]
pub struct LabelJoin<K, P, L> {
    entries: HashMap<K, Entry<P, L>>,
    /// Those that wait, by when they are given up.
    deadlines: BTreeMap<i64, HashSet<K>>,
    /// Those that are done, oldest first.
    done: VecDeque<K>,
    entries_max: usize,
    /// Bytes that an id holds beside itself.
    weigh: fn(&K) -> usize,
    ids_bytes: usize,
    /// Bytes that it may hold more.
    room_bytes: usize,
}

impl<K: Clone + Eq + Hash, P, L> LabelJoin<K, P, L> {
    /// Empty; at most this many ids wait, and at most as many more are remembered as done. `weigh` says what an id holds beside itself, in
    /// bytes.
    #[must_use]
    pub fn new(entries_max: usize, weigh: fn(&K) -> usize) -> Self {
        let (entries, deadlines, done) = (HashMap::new(), BTreeMap::new(), VecDeque::new());
        Self { entries, deadlines, done, entries_max, weigh, ids_bytes: 0, room_bytes: usize::MAX }
    }

    /// Bytes that it holds, about: tables double when they are full.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.ids_bytes + self.entries.len() * Self::ENTRY_BYTES
    }

    /// Bytes of an id that waits, beside what it holds.
    pub const ENTRY_BYTES: usize = 2 * size_of::<(K, Entry<P, L>)>() + 2 * size_of::<K>() + 32;

    /// Says how many bytes it may hold more: beyond that it forgets ids that are done, and then has no room.
    pub fn set_room(&mut self, bytes: usize) {
        self.room_bytes = bytes;
    }

    fn remove(&mut self, id: &K) -> Option<Entry<P, L>> {
        let removed = self.entries.remove(id)?;
        let bytes = (self.weigh)(id);
        self.ids_bytes -= bytes;
        self.room_bytes = self.room_bytes.saturating_add(bytes + Self::ENTRY_BYTES);
        Some(removed)
    }

    /// Ids that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() - self.done.len()
    }

    /// Whether no id waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A prediction that waits until event time reaches `deadline_ms`.
    pub fn predict(&mut self, id: &K, prediction: P, deadline_ms: i64) -> Predicted<L> {
        match self.entries.get_mut(id) {
            Some(entry @ Entry::Label(..)) => match std::mem::replace(entry, Entry::Done) {
                Entry::Label(label, deadline_ms) => {
                    self.finish(id, deadline_ms);
                    Predicted::Matched(label)
                }
                Entry::Prediction(..) | Entry::Done => Predicted::Duplicate,
            },
            Some(Entry::Prediction(..) | Entry::Done) => Predicted::Duplicate,
            None => {
                if self.insert(id, Entry::Prediction(prediction, deadline_ms), deadline_ms) {
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
            Some(entry @ Entry::Prediction(..)) => match std::mem::replace(entry, Entry::Done) {
                Entry::Prediction(prediction, deadline_ms) => {
                    self.finish(id, deadline_ms);
                    Labelled::Matched(prediction)
                }
                Entry::Label(..) | Entry::Done => Labelled::Duplicate,
            },
            Some(Entry::Label(..) | Entry::Done) => Labelled::Duplicate,
            None => {
                if self.insert(id, Entry::Label(label, deadline_ms), deadline_ms) {
                    Labelled::Waits
                } else {
                    Labelled::Full
                }
            }
        }
    }

    /// Gives up what event time has overtaken, for so much work: one for each id. When some is left, there is more.
    pub fn expire(&mut self, watermark: i64, work: &mut usize) -> Expired<P> {
        let mut expired = Expired { predictions: Vec::new(), labels: 0 };
        while *work > 0
            && let Some(mut oldest) = self.deadlines.first_entry()
            && *oldest.key() <= watermark
        {
            let ids: Vec<K> = match oldest.get().len() <= *work {
                true => oldest.remove().into_iter().collect(),
                false => {
                    let some: Vec<K> = oldest.get().iter().take(*work).cloned().collect();
                    for id in &some {
                        oldest.get_mut().remove(id);
                    }
                    some
                }
            };
            *work -= ids.len();
            for id in ids {
                match self.remove(&id) {
                    Some(Entry::Prediction(prediction, _)) => expired.predictions.push(prediction),
                    Some(Entry::Label(..)) => expired.labels += 1,
                    Some(Entry::Done) | None => {}
                }
            }
        }
        expired
    }

    /// Remembers an id as done, and forgets the oldest of too many.
    fn finish(&mut self, id: &K, deadline_ms: i64) {
        if let Some(ids) = self.deadlines.get_mut(&deadline_ms) {
            ids.remove(id);
            if ids.is_empty() {
                self.deadlines.remove(&deadline_ms);
            }
        }
        self.done.push_back(id.clone());
        if self.done.len() > self.entries_max
            && let Some(oldest) = self.done.pop_front()
        {
            self.remove(&oldest);
        }
    }

    fn insert(&mut self, id: &K, entry: Entry<P, L>, deadline_ms: i64) -> bool {
        if self.len() >= self.entries_max {
            return false;
        }
        let bytes = (self.weigh)(id);
        while self.room_bytes < bytes + Self::ENTRY_BYTES {
            let Some(oldest) = self.done.pop_front() else { return false };
            self.remove(&oldest);
        }
        self.room_bytes -= bytes + Self::ENTRY_BYTES;
        self.ids_bytes += bytes;
        self.entries.insert(id.clone(), entry);
        self.deadlines.entry(deadline_ms).or_default().insert(id.clone());
        true
    }
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
