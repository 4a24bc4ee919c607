//! Answers by class, each under its name. It must not know thresholds.

use std::{borrow::Cow, collections::BTreeMap};

use acgs_statistics::classes::{ClassCount, ClassFigures};
use serde::{Deserialize, Serialize};

/// Classes that are counted apart; rows with further ones are counted together.
pub const COUNTED_MAX: usize = 256;

/// What a class is called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ClassName<'a> {
    /// A whole number, however it was written.
    Number(i64),
    /// A word.
    Word(&'a str),
}

/// Rows by class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassCounts {
    numbers: BTreeMap<i64, ClassCount>,
    words: BTreeMap<String, ClassCount>,
    /// Rows whose class was said, or true, and is not counted apart.
    beyond: u64,
}

impl ClassCounts {
    /// Bytes that it holds on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let words: usize =
            self.words.keys().map(|word| word.capacity() + size_of::<(String, ClassCount)>()).sum();
        words + self.numbers.len() * size_of::<(i64, ClassCount)>()
    }

    /// Whether what came back from outside is what pushing could have made.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let is_sound = |it: &ClassCount| it.right <= it.truth.min(it.said);
        self.numbers.values().chain(self.words.values()).all(is_sound)
            && self.numbers.len() + self.words.len() <= COUNTED_MAX
    }

    /// Adds a row.
    pub fn push(&mut self, said: ClassName<'_>, truth: ClassName<'_>) {
        if said == truth {
            self.add(truth, &ClassCount { truth: 1, said: 1, right: 1 });
        } else {
            self.add(truth, &ClassCount { truth: 1, ..ClassCount::default() });
            self.add(said, &ClassCount { said: 1, ..ClassCount::default() });
        }
    }

    fn add(&mut self, class: ClassName<'_>, count: &ClassCount) {
        let known = match class {
            ClassName::Number(number) => self.numbers.get_mut(&number),
            ClassName::Word(word) => self.words.get_mut(word),
        };
        if let Some(known) = known {
            known.merge(count);
        } else if self.numbers.len() + self.words.len() >= COUNTED_MAX {
            self.beyond += count.truth.max(count.said);
        } else {
            _ = match class {
                ClassName::Number(number) => self.numbers.insert(number, *count),
                ClassName::Word(word) => self.words.insert(word.to_owned(), *count),
            };
        }
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        self.beyond += other.beyond;
        for (number, count) in &other.numbers {
            self.add(ClassName::Number(*number), count);
        }
        for (word, count) in &other.words {
            self.add(ClassName::Word(word), count);
        }
    }

    /// Takes back rows that were added before; false where more would be taken than there are, and what is left is of no use.
    #[must_use]
    pub fn take_back(&mut self, other: &Self) -> bool {
        let numbers = other.numbers.iter().map(|(number, count)| (ClassName::Number(*number), count));
        let words = other.words.iter().map(|(word, count)| (ClassName::Word(word), count));
        let mut is_part = true;
        let mut beyond = other.beyond;
        for (class, count) in numbers.chain(words) {
            let known = match class {
                ClassName::Number(number) => self.numbers.get_mut(&number),
                ClassName::Word(word) => self.words.get_mut(word),
            };
            match known {
                Some(known) => is_part &= known.take_back(count),
                None => beyond += count.truth.max(count.said),
            }
        }
        let is_left = |count: &ClassCount| count.truth + count.said > 0;
        self.numbers.retain(|_, count| is_left(count));
        self.words.retain(|_, count| is_left(count));
        let left = self.beyond.checked_sub(beyond);
        self.beyond = left.unwrap_or(0);
        is_part && left.is_some()
    }

    /// Different whole numbers that were true.
    #[must_use]
    pub fn true_numbers(&self) -> usize {
        self.numbers.values().filter(|count| count.truth > 0).count()
    }

    /// Different classes that were true of more than one row in a hundred, whatever they are called: a stray label is no class.
    #[must_use]
    pub fn true_classes(&self) -> usize {
        let all = || self.numbers.values().chain(self.words.values());
        let rows: u64 = all().map(|count| count.truth).sum();
        all().filter(|count| count.truth * 100 > rows).count()
    }

    /// Rows that are not counted apart.
    #[must_use]
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// Over all that are counted apart.
    #[must_use]
    pub fn figures(&self) -> Option<ClassFigures> {
        let all: Vec<ClassCount> = self.numbers.values().chain(self.words.values()).copied().collect();
        ClassFigures::of(&all)
    }

    /// The most frequent, by name.
    #[must_use]
    pub fn most_frequent(&self, most: usize) -> Vec<(Cow<'_, str>, ClassCount)> {
        let numbers = self.numbers.iter().map(|(number, it)| (Cow::Owned(number.to_string()), *it));
        let words = self.words.iter().map(|(word, it)| (Cow::Borrowed(word.as_str()), *it));
        let mut all: Vec<_> = numbers.chain(words).collect();
        all.sort_by_key(|(_, it)| std::cmp::Reverse((it.truth, it.said)));
        all.truncate(most);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_merge_to_the_whole_and_stay_bounded() {
        let pairs: Vec<(i64, i64)> = (0..5_000).map(|row| (row * 7 % 40, row * row % 40)).collect();
        let of = |pairs: &[(i64, i64)]| {
            let mut counts = ClassCounts::default();
            pairs.iter().for_each(|(said, truth)| {
                counts.push(ClassName::Number(*said), ClassName::Number(*truth));
            });
            counts
        };
        let mut merged = ClassCounts::default();
        pairs.chunks(77).for_each(|part| merged.merge(&of(part)));
        assert_eq!(merged, of(&pairs));
        assert!(merged.is_sound() && merged.beyond() == 0);
        let mut many = ClassCounts::default();
        for row in 0..100_000_i64 {
            many.push(ClassName::Word(&row.to_string()), ClassName::Word("a"));
        }
        assert!(many.is_sound() && many.beyond() > 99_000 && many.heap_bytes() < 64 << 10);
        assert_eq!(many.most_frequent(1)[0].0, "a");
    }
}
