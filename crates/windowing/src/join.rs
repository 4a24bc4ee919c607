//! Predictions wait for their labels, and labels for their predictions, bounded by event time and by number.
//! It must not know what either holds.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, Hash, RandomState},
};

use hashbrown::HashTable;

use crate::slots::{List, Slots};

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
pub enum Labelled<P, L> {
    /// It found its prediction.
    Matched(P),
    /// It waits.
    Waits,
    /// The id has this label.
    Duplicate,
    /// The id has another label, which waited: this one stands.
    Replaced,
    /// The prediction had another label; this one stands.
    Corrects {
        /// What it was given for.
        prediction: P,
        /// The other label.
        before: L,
    },
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
    /// Both were here; they are kept so that a second label is known as one, and corrects the first.
    Done(P, L),
}

/// The join by id.
#[derive(Debug)]
pub struct LabelJoin<K, P, L> {
    slots: Slots<(K, Entry<P, L>)>,
    /// Where ids are, each beside the hash of its id.
    places: HashTable<(u32, u32)>,
    /// Seeded anew in each join: who sends ids cannot know which of them collide.
    hasher: RandomState,
    /// Those that wait, by when they are given up.
    deadlines: BTreeMap<i64, List>,
    /// Those that are done, oldest first.
    done: List,
    entries_max: usize,
    /// Bytes that an id holds beside itself.
    weigh: fn(&K) -> usize,
    /// Bytes that a prediction holds beside itself.
    prediction_bytes: usize,
    ids_bytes: usize,
    /// Bytes that it may hold more.
    room_bytes: usize,
}

impl<K: Clone + Eq + Hash, P: Clone, L: Clone + PartialEq> LabelJoin<K, P, L> {
    /// Empty; at most this many ids wait, and at most as many more are remembered as done. `weigh` says what an id holds beside itself, in
    /// bytes.
    #[must_use]
    pub fn new(entries_max: usize, weigh: fn(&K) -> usize) -> Self {
        Self {
            slots: Slots::default(),
            places: HashTable::new(),
            hasher: RandomState::new(),
            deadlines: BTreeMap::new(),
            done: List::default(),
            entries_max,
            weigh,
            prediction_bytes: 0,
            ids_bytes: 0,
            room_bytes: usize::MAX,
        }
    }

    /// Of predictions that hold so many bytes beside themselves.
    #[must_use]
    pub fn holding(self, prediction_bytes: usize) -> Self {
        Self { prediction_bytes, ..self }
    }

    /// Bytes that it holds, about: tables double when they are full.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.ids_bytes + self.places.len() * Self::ENTRY_BYTES
    }

    /// Bytes of an id that waits, beside what it holds.
    pub const ENTRY_BYTES: usize = Slots::<(K, Entry<P, L>)>::SLOT_BYTES + 4 * (size_of::<(u32, u32)>() + 1);

    /// Says how many bytes it may hold more: beyond that it forgets ids that are done, and then has no room.
    pub fn set_room(&mut self, bytes: usize) {
        self.room_bytes = bytes;
    }

    /// Ids that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len() - self.done.len()
    }

    /// Whether no id waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn hash(&self, id: &K) -> u32 {
        self.hasher.hash_one(id) as u32
    }

    fn find(&self, id: &K) -> Option<u32> {
        let hash = self.hash(id);
        let is_it = |(own, place): &(u32, u32)| {
            *own == hash && self.slots.get(*place).is_some_and(|(own, _)| own == id)
        };
        self.places.find(spread(hash), is_it).map(|(_, place)| *place)
    }

    /// A prediction that waits until event time reaches `deadline_ms`.
    pub fn predict(&mut self, id: &K, prediction: P, deadline_ms: i64) -> Predicted<L> {
        let Some(place) = self.find(id) else {
            let waits = self.insert(id, Entry::Prediction(prediction, deadline_ms), deadline_ms);
            return if waits { Predicted::Waits } else { Predicted::Full };
        };
        let Some((_, entry)) = self.slots.get_mut(place) else { return Predicted::Duplicate };
        let (label, deadline_ms) = match entry {
            Entry::Label(label, deadline_ms) => (label.clone(), *deadline_ms),
            Entry::Prediction(..) | Entry::Done(..) => return Predicted::Duplicate,
        };
        *entry = Entry::Done(prediction, label.clone());
        self.finish(place, deadline_ms);
        Predicted::Matched(label)
    }

    /// A label; without a prediction it waits until event time reaches `deadline_ms`.
    pub fn label(&mut self, id: &K, label: L, deadline_ms: i64) -> Labelled<P, L> {
        let Some(place) = self.find(id) else {
            let waits = self.insert(id, Entry::Label(label, deadline_ms), deadline_ms);
            return if waits { Labelled::Waits } else { Labelled::Full };
        };
        let Some((_, entry)) = self.slots.get_mut(place) else { return Labelled::Duplicate };
        match entry {
            Entry::Label(first, _) | Entry::Done(_, first) if *first == label => Labelled::Duplicate,
            Entry::Label(first, _) => {
                *first = label;
                Labelled::Replaced
            }
            Entry::Done(prediction, first) => {
                Labelled::Corrects { prediction: prediction.clone(), before: std::mem::replace(first, label) }
            }
            Entry::Prediction(prediction, deadline_ms) => {
                let (found, deadline_ms) = (prediction.clone(), *deadline_ms);
                if let Entry::Prediction(prediction, _) =
                    std::mem::replace(entry, Entry::Label(label.clone(), deadline_ms))
                {
                    *entry = Entry::Done(prediction, label);
                }
                self.finish(place, deadline_ms);
                Labelled::Matched(found)
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
            let Some(place) = oldest.get().first() else {
                oldest.remove();
                continue;
            };
            self.slots.unlink(place, oldest.get_mut());
            *work -= 1;
            match self.remove(place) {
                Some(Entry::Prediction(prediction, _)) => expired.predictions.push(prediction),
                Some(Entry::Label(..)) => expired.labels += 1,
                Some(Entry::Done(..)) | None => {}
            }
        }
        expired
    }

    /// Remembers an id as done, and forgets the oldest of too many.
    fn finish(&mut self, place: u32, deadline_ms: i64) {
        if let Some(list) = self.deadlines.get_mut(&deadline_ms) {
            self.slots.unlink(place, list);
            if list.is_empty() {
                self.deadlines.remove(&deadline_ms);
            }
        }
        self.slots.append(place, &mut self.done);
        if self.done.len() > self.entries_max {
            self.forget_oldest();
        }
    }

    /// Forgets the id that has been done for longest; whether there was one.
    fn forget_oldest(&mut self) -> bool {
        let Some(oldest) = self.done.first() else { return false };
        self.slots.unlink(oldest, &mut self.done);
        self.remove(oldest);
        true
    }

    /// What an id holds, as if each had a prediction.
    fn bytes_of(&self, id: &K) -> usize {
        (self.weigh)(id) + self.prediction_bytes
    }

    /// Takes out what is in no list any more.
    fn remove(&mut self, place: u32) -> Option<Entry<P, L>> {
        let (id, entry) = self.slots.remove(place)?;
        if let Ok(found) = self.places.find_entry(spread(self.hash(&id)), |(_, own)| *own == place) {
            found.remove();
        }
        let bytes = self.bytes_of(&id);
        self.ids_bytes -= bytes;
        self.room_bytes = self.room_bytes.saturating_add(bytes + Self::ENTRY_BYTES);
        Some(entry)
    }

    fn insert(&mut self, id: &K, entry: Entry<P, L>, deadline_ms: i64) -> bool {
        if self.len() >= self.entries_max {
            return false;
        }
        let bytes = self.bytes_of(id);
        while self.room_bytes < bytes + Self::ENTRY_BYTES {
            if !self.forget_oldest() {
                return false;
            }
        }
        let Some(place) = self.slots.insert((id.clone(), entry)) else { return false };
        self.room_bytes -= bytes + Self::ENTRY_BYTES;
        self.ids_bytes += bytes;
        let hash = self.hash(id);
        self.places.insert_unique(spread(hash), (hash, place), |(hash, _)| spread(*hash));
        self.slots.append(place, self.deadlines.entry(deadline_ms).or_default());
        true
    }
}

/// A hash as a table wants it, whose first bits tell neighbours apart and whose last ones say where to look.
fn spread(hash: u32) -> u64 {
    // Fibonacci hashing (Knuth 1973).
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
