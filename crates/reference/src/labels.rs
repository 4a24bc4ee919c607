//! Labels of yes and no in any coding, and scores by what they turned out to be. It must not know thresholds.
//!
//! A one is a yes beside 0 and -1, and a no beside 2. Which of them it is, is told when all rows of a window are together, or by the reference.

use acgs_columns::{Cell, Column, Values};
use acgs_statistics::score::{ScoreSums, probability};
use serde::{Deserialize, Serialize};

pub use acgs_columns::labels::{Class, Coding, class, class_of};

/// Sums over scores by what their labels say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelledScores {
    /// Scores of what is surely a no or a yes, and of ones taken as yes.
    usual: ScoreSums,
    /// Labels that are surely a no or a yes.
    sure_count: u64,
    /// Scores of ones taken as no, while nothing tells that they are not.
    ones: ScoreSums,
    /// Scores of twos, taken as yes.
    twos: ScoreSums,
}

/// Scores with their labels, mapped.
#[derive(Clone, Debug)]
pub struct Mapped {
    /// What could be compared.
    pub scores: ScoreSums,
    /// Labels that are of another coding.
    pub incomparable_count: u64,
    /// How ones were meant.
    pub coding: Coding,
}

impl LabelledScores {
    /// Bytes that it holds on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.usual.heap_bytes() + self.ones.heap_bytes() + self.twos.heap_bytes()
    }

    /// Whether what came back from outside is what pushing could have made.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.usual.is_sound()
            && self.ones.is_sound()
            && self.twos.is_sound()
            && self.sure_count <= self.usual.count()
    }

    /// Scores with labels of any coding.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.usual.count() + self.twos.count()
    }

    /// Adds scores in [0, 1] with what their labels say.
    pub fn push(&mut self, scores: &[f64], classes: &[Class]) {
        let of = |wanted: &dyn Fn(Class) -> bool| {
            let pairs = scores.iter().copied().zip(classes.iter().copied());
            pairs.filter(|(_, class)| wanted(*class)).map(|(score, _)| score).collect::<Vec<f64>>()
        };
        let is_two = |class: Class| class == Class::Two;
        self.sure_count +=
            classes.iter().filter(|class| matches!(class, Class::No | Class::Yes)).count() as u64;
        let twos = of(&is_two);
        if twos.is_empty() {
            let labels: Vec<bool> = classes.iter().map(|class| *class != Class::No).collect();
            self.usual.push_slice(scores, &labels);
        } else {
            let labels: Vec<bool> =
                classes.iter().filter(|class| !is_two(**class)).map(|class| *class != Class::No).collect();
            self.usual.push_slice(&of(&|class| !is_two(class)), &labels);
            self.twos.push_slice(&twos, &vec![true; twos.len()]);
        }
        // Beside a sure no or yes a one is a yes.
        if self.sure_count == 0 {
            let ones = of(&|class| class == Class::One);
            self.ones.push_slice(&ones, &vec![false; ones.len()]);
        }
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        self.usual.merge(&other.usual);
        self.sure_count += other.sure_count;
        self.ones.merge(&other.ones);
        self.twos.merge(&other.twos);
    }

    /// Takes back what was added before; false where more would be taken than there is, and what is left is of no use.
    #[must_use]
    pub fn take_back(&mut self, other: &Self) -> bool {
        let sure = self.sure_count.checked_sub(other.sure_count);
        self.sure_count = sure.unwrap_or(0);
        let is_part =
            sure.is_some() && self.usual.take_back(&other.usual) && self.twos.take_back(&other.twos);
        // Beside a sure no or yes ones were not counted as a no; when that is taken back they would have to be.
        let ones = self.sure_count > 0
            || (self.ones.take_back(&other.ones) && self.ones.count() == self.usual.count());
        is_part && ones
    }

    /// How ones are meant, as far as these labels tell.
    #[must_use]
    pub fn coding(&self) -> Option<Coding> {
        Coding::shown(self.sure_count > 0, self.twos.count() > 0)
    }

    /// Scores with labels. What these labels do not tell of their coding, `known` does, such as the reference's.
    #[must_use]
    pub fn mapped(&self, known: Option<Coding>) -> Mapped {
        match self.coding().or(known).unwrap_or_default() {
            Coding::OneIsYes => Mapped {
                scores: self.usual.clone(),
                incomparable_count: self.twos.count(),
                coding: Coding::OneIsYes,
            },
            Coding::TwoIsYes => {
                let mut scores = self.ones.clone();
                scores.merge(&self.twos);
                Mapped { scores, incomparable_count: 0, coding: Coding::TwoIsYes }
            }
        }
    }
}

/// Adds the scores of some rows with their labels; says how many there were.
pub fn push(
    into: &mut LabelledScores,
    score: &Column,
    (label, positive): (&Column, Option<&str>),
    rows: usize,
) -> usize {
    let (mut scores, mut classes) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let mut add = |score: Option<f64>, label: Option<Class>| {
        if let (Some(score), Some(label)) = (score.and_then(probability), label) {
            scores.push(score);
            classes.push(label);
        }
    };
    match (&score.values, &label.values) {
        // Dense doubles are the common case, and the fast one.
        (Values::Double(of_score), Values::Double(of_label))
            if score.validity.is_none() && label.validity.is_none() && positive.is_none() =>
        {
            of_score
                .iter()
                .zip(&**of_label)
                .for_each(|(&score, &label)| add(Some(score), class(Cell::Number(label))));
        }
        _ => (0..rows).for_each(|row| add(score.number(row), class_of(label.cell(row), positive))),
    }
    into.push(&scores, &classes);
    scores.len()
}

/// A row's score, and whether its label says yes; `None` where they cannot be compared.
pub(crate) fn pair(
    score: &Column,
    (label, positive): (&Column, Option<&str>),
    row: usize,
    coding: Coding,
) -> Option<(f64, bool)> {
    let is_yes = class_of(label.cell(row), positive)?.is_yes(coding)?;
    Some((score.number(row).and_then(probability)?, is_yes))
}

/// Whether a score can be compared with its label, where both are there.
#[must_use]
pub fn can_be_compared(score: &Column, (label, positive): (&Column, Option<&str>), row: usize) -> bool {
    score.number(row).and_then(probability).is_some() && class_of(label.cell(row), positive).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCORES: [f64; 4] = [0.9, 0.2, 0.7, 0.4];

    fn positive_rate(labels: [Cell<'_>; 4], known: Option<Coding>) -> (f64, f64) {
        let classes: Vec<Class> = labels.into_iter().map(|label| class(label).unwrap()).collect();
        let mut together = LabelledScores::default();
        together.push(&SCORES, &classes);
        let mut apart = LabelledScores::default();
        for (score, class) in SCORES.iter().zip(&classes) {
            let mut one = LabelledScores::default();
            one.push(std::slice::from_ref(score), std::slice::from_ref(class));
            apart.merge(&one);
        }
        let (together, apart) = (together.mapped(known), apart.mapped(known));
        assert_eq!(together.coding, apart.coding);
        assert!((together.scores.brier().unwrap().value - apart.scores.brier().unwrap().value).abs() < 1e-12);
        (together.scores.means().unwrap().1, together.scores.brier().unwrap().value)
    }

    #[test]
    fn every_coding_says_the_same() {
        let number = Cell::Number;
        let usual = positive_rate([number(1.0), number(0.0), number(1.0), number(0.0)], None);
        assert!((usual.0 - 0.5).abs() < 1e-12);
        for labels in [
            [Cell::Integer(1), Cell::Integer(-1), Cell::Integer(1), Cell::Integer(-1)],
            [number(2.0), number(1.0), number(2.0), number(1.0)],
            [Cell::Boolean(true), Cell::Boolean(false), Cell::Boolean(true), Cell::Boolean(false)],
            [Cell::Text("Yes"), Cell::Text(" no"), Cell::Text("YES"), Cell::Text("n")],
            [Cell::Text("1"), Cell::Text("0.0"), Cell::Text("+1"), Cell::Text("-1")],
            [Cell::Text("2"), Cell::Text("1"), Cell::Text("2"), Cell::Text("1")],
        ] {
            assert_eq!(positive_rate(labels, None), usual, "{labels:?}");
        }
        // Ones alone are a yes, unless the reference had twos.
        let ones = [number(1.0); 4];
        assert!((positive_rate(ones, None).0 - 1.0).abs() < 1e-12);
        assert!(positive_rate(ones, Some(Coding::TwoIsYes)).0.abs() < 1e-12);
        for other in
            [Cell::Null, number(0.5), number(3.0), number(f64::NAN), Cell::Text("maybe"), Cell::Text("")]
        {
            assert_eq!(class(other), None, "{other:?}");
        }
    }

    #[test]
    fn what_is_of_another_coding_is_counted() {
        let mut scores = LabelledScores::default();
        scores.push(&SCORES, &[Class::One, Class::No, Class::Two, Class::No]);
        let mapped = scores.mapped(Some(Coding::TwoIsYes));
        assert_eq!((mapped.coding, mapped.incomparable_count), (Coding::OneIsYes, 1));
        assert_eq!(mapped.scores.count(), 3);
    }
}
