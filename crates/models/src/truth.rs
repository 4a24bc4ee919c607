//! Labels as numbers that losses are taken of: amounts as they are, a yes as 1 and a no as 0 in whatever coding it comes. It must not know losses.

use acgs_columns::{
    Cell, Column, Field, Scale,
    labels::{Class, Coding, class_of},
};

/// What a label says: a yes or a no, or a one or a two that is one of them; and as a number, where it is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Truth {
    class: Option<Class>,
    amount: Option<f64>,
}

/// What labels have shown so far of how they are meant.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// A no or a yes that is surely one.
    sure: bool,
    twos: bool,
    /// Numbers that are no label of yes and no.
    amounts: bool,
}

impl Truth {
    /// Of a row; `None` where there is none that a loss could be taken of.
    #[must_use]
    pub(crate) fn of(field: &Field, column: &Column, row: usize) -> Option<Self> {
        let cell = column.cell(row);
        let number = match cell {
            Cell::Text(text) => text.trim().parse().ok(),
            _ => column.number(row),
        };
        let amount = number.filter(|number: &f64| number.is_finite());
        if field.scale == Some(Scale::Numeric) {
            return amount.map(|_| Self { class: None, amount });
        }
        let class = class_of(cell, field.positive.as_deref());
        (class.is_some() || amount.is_some()).then_some(Self { class, amount })
    }

    /// Of a number.
    #[cfg(test)]
    pub(crate) fn of_number(number: f64) -> Self {
        Self { class: acgs_columns::labels::class(Cell::Number(number)), amount: Some(number) }
    }
}

impl Seen {
    /// Looks at a label.
    pub(crate) fn look(&mut self, truth: Truth) {
        match truth.class {
            Some(Class::No | Class::Yes) => self.sure = true,
            Some(Class::Two) => self.twos = true,
            Some(Class::One) => {}
            None => self.amounts |= truth.amount.is_some_and(|amount| !(0.0..=1.0).contains(&amount)),
        }
    }

    /// Nobody waits any longer to learn what a one means: it is a yes.
    pub(crate) fn settle(&mut self) {
        self.sure = true;
    }

    /// Whether it is known what a one means.
    #[must_use]
    pub(crate) fn is_settled(&self) -> bool {
        self.sure || self.twos || self.amounts
    }

    /// The number that a loss is taken of; `None` of a label that is of another coding than the others.
    #[must_use]
    pub(crate) fn number(&self, truth: Truth) -> Option<f64> {
        let coding = Coding::shown(self.sure, self.twos).unwrap_or_default();
        match truth {
            // Among amounts all are.
            Truth { amount: Some(amount), .. } if self.amounts => Some(amount),
            Truth { class: Some(class), .. } => class.is_yes(coding).map(f64::from),
            Truth { amount, .. } => amount,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use acgs_columns::{Kind, Role, Schema, builder::BatchBuilder};

    use super::*;

    fn numbers(
        kind: Kind,
        positive: Option<&str>,
        scale: Option<Scale>,
        of: &[Cell<'_>],
    ) -> Vec<Option<f64>> {
        let field = Field { positive: positive.map(Into::into), scale, ..Field::new("y", kind, Role::Label) };
        let mut builder = BatchBuilder::new(Arc::new(Schema::new(vec![field.clone()]).unwrap()));
        of.iter().for_each(|cell| builder.push(&[*cell]).unwrap());
        let batch = builder.finish().unwrap();
        let truths: Vec<Option<Truth>> =
            (0..of.len()).map(|row| Truth::of(&field, &batch.columns()[0], row)).collect();
        let mut seen = Seen::default();
        truths.iter().flatten().for_each(|truth| seen.look(*truth));
        truths.into_iter().map(|truth| seen.number(truth?)).collect()
    }

    #[test]
    fn a_yes_is_one_in_every_coding() {
        let (number, text) = (Cell::Number, Cell::Text);
        let wanted = [Some(0.0), Some(1.0), Some(1.0), Some(0.0)];
        for (kind, no, yes) in [
            (Kind::Double, number(0.0), number(1.0)),
            (Kind::Double, number(-1.0), number(1.0)),
            (Kind::Double, number(1.0), number(2.0)),
            (Kind::Int64, Cell::Integer(1), Cell::Integer(2)),
            (Kind::Boolean, Cell::Boolean(false), Cell::Boolean(true)),
            (Kind::Text, text("no"), text("Yes")),
            (Kind::Text, text("1"), text("2")),
        ] {
            assert_eq!(numbers(kind, None, None, &[no, yes, yes, no]), wanted, "{no:?} {yes:?}");
        }
        let words = [text("stay"), text("churn"), text("churn"), text("stay")];
        assert_eq!(numbers(Kind::Text, Some("churn"), None, &words), wanted);
        assert_eq!(numbers(Kind::Text, None, None, &words), [None; 4]);
    }

    #[test]
    fn amounts_stay_what_they_are() {
        let cells = [-1.0, 0.0, 1.0, 2.0].map(Cell::Number);
        let declared = numbers(Kind::Double, None, Some(Scale::Numeric), &cells);
        assert_eq!(declared, [-1.0, 0.0, 1.0, 2.0].map(Some));
        let shown = [0.0, 1.0, 2.0, 35.5].map(Cell::Number);
        assert_eq!(numbers(Kind::Double, None, None, &shown), [0.0, 1.0, 2.0, 35.5].map(Some));
        let below = [-1.0, 3.5, -2.25, 1.0, 2.0].map(Cell::Number);
        assert_eq!(numbers(Kind::Double, None, None, &below), [-1.0, 3.5, -2.25, 1.0, 2.0].map(Some));
        let shares = [0.0, 0.25, 1.0].map(Cell::Number);
        assert_eq!(numbers(Kind::Double, None, None, &shares), [0.0, 0.25, 1.0].map(Some));
        let texts = [Cell::Text("3.5"), Cell::Text("7")];
        assert_eq!(numbers(Kind::Text, None, Some(Scale::Numeric), &texts), [Some(3.5), Some(7.0)]);
        let mixed = [0.0, 1.0, 2.0].map(Cell::Number);
        assert_eq!(numbers(Kind::Double, None, None, &mixed), [Some(0.0), Some(1.0), None]);
    }
}
