//! Values in numbered places, and lists of places: put in, taken out and moved between lists in a few steps each, however many there are. It must not
//! know what the values are.

/// No place.
const NONE: u32 = u32::MAX;
/// Places of one piece: pieces stay where they are, so that nothing is copied when there are more.
const PIECE: usize = 4_096;

#[derive(Debug)]
struct Slot<T> {
    value: Option<T>,
    before: u32,
    after: u32,
}

/// The places.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    pieces: Vec<Vec<Slot<T>>>,
    /// The first place that is free again; the next ones follow it.
    free: u32,
}

/// Places in an order. Each is in one list at most, which whoever has the list must know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    first: u32,
    last: u32,
    count: usize,
}

impl Default for List {
    fn default() -> Self {
        Self { first: NONE, last: NONE, count: 0 }
    }
}

impl List {
    /// How many are in it.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Whether none is.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The first.
    pub(crate) fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { pieces: Vec::new(), free: NONE }
    }
}

impl<T> Slots<T> {
    /// Bytes of a place.
    pub(crate) const SLOT_BYTES: usize = size_of::<Slot<T>>();

    fn slot(&self, place: u32) -> Option<&Slot<T>> {
        self.pieces.get(place as usize / PIECE)?.get(place as usize % PIECE)
    }

    fn slot_mut(&mut self, place: u32) -> Option<&mut Slot<T>> {
        self.pieces.get_mut(place as usize / PIECE)?.get_mut(place as usize % PIECE)
    }

    /// What is there.
    pub(crate) fn get(&self, place: u32) -> Option<&T> {
        self.slot(place)?.value.as_ref()
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.slot_mut(place)?.value.as_mut()
    }

    /// Puts a value somewhere, in no list yet; `None` when there are no more places.
    pub(crate) fn insert(&mut self, value: T) -> Option<u32> {
        let free = self.free;
        if let Some(slot) = self.slot_mut(free) {
            let next = slot.after;
            *slot = Slot { value: Some(value), before: NONE, after: NONE };
            self.free = next;
            return Some(free);
        }
        if self.pieces.last().is_none_or(|piece| piece.len() == PIECE) {
            self.pieces.push(Vec::with_capacity(PIECE));
        }
        let piece = self.pieces.len() - 1;
        let places = &mut self.pieces[piece];
        let place = u32::try_from(piece * PIECE + places.len()).ok().filter(|place| *place != NONE)?;
        places.push(Slot { value: Some(value), before: NONE, after: NONE });
        Some(place)
    }

    /// Takes out what is in no list; its place is free again.
    pub(crate) fn remove(&mut self, place: u32) -> Option<T> {
        let free = self.free;
        let slot = self.slot_mut(place)?;
        let value = slot.value.take()?;
        slot.after = free;
        self.free = place;
        Some(value)
    }

    /// Puts a place at the end of a list.
    pub(crate) fn append(&mut self, place: u32, list: &mut List) {
        let last = list.last;
        if let Some(slot) = self.slot_mut(place) {
            (slot.before, slot.after) = (last, NONE);
        }
        match self.slot_mut(last) {
            Some(slot) => slot.after = place,
            None => list.first = place,
        }
        list.last = place;
        list.count += 1;
    }

    /// Takes a place out of the list that it is in.
    pub(crate) fn unlink(&mut self, place: u32, list: &mut List) {
        let Some(slot) = self.slot_mut(place) else { return };
        let (before, after) = (slot.before, slot.after);
        (slot.before, slot.after) = (NONE, NONE);
        match self.slot_mut(before) {
            Some(slot) => slot.after = after,
            None => list.first = after,
        }
        match self.slot_mut(after) {
            Some(slot) => slot.before = before,
            None => list.last = before,
        }
        list.count -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lists_keep_their_order_and_places_are_used_again(steps in prop::collection::vec((0..4_u8, any::<u16>()), 0..400)) {
            let (mut slots, mut lists) = (Slots::default(), [List::default(); 2]);
            let mut model: [VecDeque<(u32, u16)>; 2] = Default::default();
            for (step, number) in steps {
                let which = usize::from(number % 2);
                match step {
                    0 | 1 => {
                        let place = slots.insert(number).unwrap();
                        slots.append(place, &mut lists[which]);
                        model[which].push_back((place, number));
                    }
                    2 if !model[which].is_empty() => {
                        let at = usize::from(number) % model[which].len();
                        let (place, value) = model[which].remove(at).unwrap();
                        slots.unlink(place, &mut lists[which]);
                        prop_assert_eq!(slots.remove(place), Some(value));
                        prop_assert_eq!(slots.get(place), None);
                    }
                    3 if !model[which].is_empty() => {
                        let moved = model[which].pop_front().unwrap();
                        slots.unlink(moved.0, &mut lists[which]);
                        slots.append(moved.0, &mut lists[1 - which]);
                        model[1 - which].push_back(moved);
                    }
                    _ => {}
                }
                for (list, model) in lists.iter().zip(&model) {
                    let mut found = Vec::new();
                    let mut next = list.first();
                    while let Some(place) = next {
                        found.push((place, *slots.get(place).unwrap()));
                        next = Some(slots.slot(place).unwrap().after).filter(|place| *place != NONE);
                    }
                    prop_assert_eq!(&found, &model.iter().copied().collect::<Vec<_>>());
                    prop_assert_eq!((list.len(), list.is_empty()), (model.len(), model.is_empty()));
                }
            }
            let most = model.iter().map(VecDeque::len).sum::<usize>();
            prop_assert!(slots.pieces.iter().map(Vec::len).sum::<usize>() >= most);
        }
    }
}
