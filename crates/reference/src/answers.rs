//! Predictions beside labels: classes that are right or wrong, or numbers that are more or less off. It must not know thresholds.
//!
//! Numbers are both until it shows which they are: a fraction, or more values than there are classes, makes them measured values.

use std::borrow::Cow;

use acgs_columns::{Cell, Column, Role, Scale, Schema};
use acgs_statistics::{
    moments::Moments,
    regression::{ErrorSums, quantile_loss},
    score::{Estimate, ScoreSums},
};
use serde::{Deserialize, Serialize};

use crate::{
    baseline::ModelKind,
    class_counts::{ClassCounts, ClassName},
    labels::{Coding, class},
};

/// Most values that are taken for classes, where none is declared.
const CLASSES_MAX: usize = 20;
/// Largest magnitude of numbers whose errors are summed.
const NUMBER_MAX: f64 = 1e100;

/// Sums over predictions with labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answers {
    /// Right answers, as 0 and 1.
    right: Moments,
    /// Of answers that are numbers.
    errors: ErrorSums,
    /// Numbers that were no whole ones.
    fractions: u64,
    /// By class, as far as they can be classes.
    classes: ClassCounts,
}

/// What a schema declares the model to be: by the label that says yes beside a score; by the scale of the prediction, or of its label.
#[must_use]
pub fn declared_kind(schema: &Schema) -> Option<ModelKind> {
    let field = |role| schema.index_of_role(role).map(|index| &schema.fields()[index]);
    let (label, prediction) = (field(Role::Label), field(Role::Prediction));
    if field(Role::Score).is_some() && label.is_some_and(|label| label.positive.is_some()) {
        return Some(ModelKind::Binary);
    }
    // Scores of several classes are of classes, whatever one of them is called.
    if schema.places_of_role(Role::Score).nth(1).is_some() {
        return Some(ModelKind::Classes);
    }
    if prediction.is_some_and(|prediction| prediction.quantile.is_some()) {
        return Some(ModelKind::Regression);
    }
    // Of a score alone the label's scale says nothing.
    let declared = prediction?.scale.or_else(|| label?.scale);
    declared.map(|scale| match scale {
        Scale::Nominal => ModelKind::Classes,
        Scale::Numeric => ModelKind::Regression,
    })
}

/// What kind of model so many scores and these answers are of: what was declared, or what is known from before where whole numbers do not tell. `None`
/// without any.
#[must_use]
pub fn model_kind(
    scored: u64,
    answers: &Answers,
    (declared, known): (Option<ModelKind>, Option<ModelKind>),
) -> Option<ModelKind> {
    let can_be = |kind: &ModelKind| match kind {
        ModelKind::Binary => scored > 0,
        ModelKind::Classes => answers.count() > 0,
        ModelKind::Regression => answers.errors.count() > 0,
    };
    if let Some(kind) = declared.filter(can_be) {
        return Some(kind);
    }
    // What a reference tells holds for as long as rows do not tell otherwise.
    let holds = |kind: &ModelKind| match kind {
        ModelKind::Binary => scored > 0,
        ModelKind::Classes => answers.count() > 0 && answers.fractions == 0,
        ModelKind::Regression => answers.errors.count() > 0,
    };
    if let Some(kind) = known.filter(holds) {
        Some(kind)
    } else if scored > 0 && answers.classes.true_classes() <= 2 {
        Some(ModelKind::Binary)
    } else if answers.count() == 0 {
        None
    } else if answers.are_numbers() {
        Some(ModelKind::Regression)
    } else {
        Some(ModelKind::Classes)
    }
}

/// The loss of such a model.
#[must_use]
pub fn loss(kind: ModelKind, scores: &ScoreSums, answers: &Answers) -> Option<Estimate> {
    match kind {
        ModelKind::Binary => scores.brier(),
        ModelKind::Classes => Estimate::of_share(&answers.right).map(|right| Estimate {
            value: 1.0 - right.value,
            standard_error: right.standard_error,
            lower: 1.0 - right.upper,
            upper: 1.0 - right.lower,
        }),
        ModelKind::Regression => {
            answers.errors.mean_quantile_loss().or_else(|| answers.errors.mean_absolute())
        }
    }
}

/// Count, mean and variance of the losses of such a model.
#[must_use]
pub fn losses(kind: ModelKind, scores: &ScoreSums, answers: &Answers) -> Option<(f64, f64, f64)> {
    let of = |moments: &Moments| {
        Some((
            moments.count() as f64,
            moments.mean()?,
            moments.population_variance().unwrap_or(f64::INFINITY),
        ))
    };
    match kind {
        ModelKind::Binary => of(scores.squares()),
        ModelKind::Classes => {
            of(&answers.right).map(|(count, right, variance)| (count, 1.0 - right, variance))
        }
        ModelKind::Regression if answers.errors.quantile().count() > 0 => of(answers.errors.quantile()),
        ModelKind::Regression => of(answers.errors.absolute()),
    }
}

/// What a prediction is beside its label.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Compared<'a> {
    Class(ClassName<'a>, ClassName<'a>),
    Number(f64, f64),
}

impl<'a> Compared<'a> {
    fn is_right(self) -> bool {
        match self {
            Self::Class(said, truth) => said == truth,
            Self::Number(said, truth) => said.total_cmp(&truth).is_eq(),
        }
    }

    /// What was said and what was true, where those can be classes.
    fn classes(self) -> Option<(ClassName<'a>, ClassName<'a>)> {
        match self {
            Self::Class(said, truth) => Some((said, truth)),
            Self::Number(said, truth) => (said.fract() == 0.0 && truth.fract() == 0.0)
                .then_some((ClassName::Number(said as i64), ClassName::Number(truth as i64))),
        }
    }
}

impl Answers {
    /// Bytes that it holds on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.classes.heap_bytes()
    }

    /// Whether what came back from outside is what pushing could have made.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.right.is_sound()
            && self.errors.is_sound()
            && self.errors.count() <= self.right.count()
            && self.classes.is_sound()
    }

    /// Adds predictions with labels; says how many could be compared. Numbers may have been said as a quantile.
    pub fn push(&mut self, prediction: &Column, label: &Column, rows: usize, quantile: Option<f64>) -> usize {
        let (mut right, mut said, mut truths) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..rows {
            let Some(compared) = compared(prediction.cell(row), label.cell(row)) else { continue };
            right.push(f64::from(u8::from(compared.is_right())));
            if let Compared::Number(number, truth) = compared {
                said.push(number);
                truths.push(truth);
            }
            match compared.classes() {
                Some((said, truth)) => self.classes.push(said, truth),
                None => self.fractions += 1,
            }
        }
        self.right.push_slice(&right);
        self.errors.push_slice(&said, &truths);
        if let Some(quantile) = quantile {
            self.errors.push_quantiles(&said, &truths, quantile);
        }
        right.len()
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        self.right.merge(&other.right);
        self.errors.merge(&other.errors);
        self.fractions += other.fractions;
        self.classes.merge(&other.classes);
    }

    /// Takes back what was added before; false where more would be taken than there is, and what is left is of no use.
    #[must_use]
    pub fn take_back(&mut self, other: &Self) -> bool {
        let fractions = self.fractions.checked_sub(other.fractions);
        self.fractions = fractions.unwrap_or(0);
        fractions.is_some()
            && self.right.take_back(&other.right, true)
            && self.errors.take_back(&other.errors)
            && {
                // Classes beyond those that are counted apart may be in one part by name and in another not.
                if !self.classes.take_back(&other.classes) {
                    self.classes = ClassCounts::default();
                }
                true
            }
    }

    /// Predictions with labels.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.right.count()
    }

    /// Whether they are measured values, not classes.
    #[must_use]
    pub fn are_numbers(&self) -> bool {
        self.could_be_numbers() && (self.fractions > 0 || self.classes.true_numbers() > CLASSES_MAX)
    }

    fn could_be_numbers(&self) -> bool {
        self.errors.count() == self.right.count() && self.errors.count() > 0
    }

    /// Right answers, as 0 and 1.
    #[must_use]
    pub fn right(&self) -> &Moments {
        &self.right
    }

    /// By class, as far as they can be classes.
    #[must_use]
    pub fn classes(&self) -> &ClassCounts {
        &self.classes
    }

    /// Of answers that are numbers.
    #[must_use]
    pub fn errors(&self) -> &ErrorSums {
        &self.errors
    }
}

/// Whether a row's answer is wrong; `None` where it cannot be compared.
pub(crate) fn is_wrong(prediction: &Column, label: &Column, row: usize) -> Option<bool> {
    compared(prediction.cell(row), label.cell(row)).map(|compared| !compared.is_right())
}

/// The loss of a row's number, which may have been said as a quantile; `None` where number or label are none.
pub(crate) fn amount_loss(
    prediction: &Column,
    label: &Column,
    row: usize,
    quantile: Option<f64>,
) -> Option<f64> {
    match compared(prediction.cell(row), label.cell(row))? {
        Compared::Class(..) => None,
        Compared::Number(said, truth) => {
            Some(quantile.map_or((said - truth).abs(), |quantile| quantile_loss(said, truth, quantile)))
        }
    }
}

/// Whether a prediction can be compared with its label, where both are there.
#[must_use]
pub fn can_be_compared(prediction: &Column, label: &Column, row: usize) -> bool {
    compared(prediction.cell(row), label.cell(row)).is_some()
}

fn compared<'a>(prediction: Cell<'a>, label: Cell<'a>) -> Option<Compared<'a>> {
    if let (Some(said), Some(truth)) = (number(prediction), number(label)) {
        return Some(Compared::Number(said, truth));
    }
    if let (Cell::Text(said), Cell::Text(truth)) = (prediction, label) {
        let (said, truth) = (said.trim(), truth.trim());
        // Letters may be classes of their own: T is not Y.
        if said.len().min(truth.len()) > 1
            && let (Some(said), Some(truth)) = (is_yes(prediction), is_yes(label))
        {
            return Some(Compared::Class(yes_or_no(said), yes_or_no(truth)));
        }
        return Some(Compared::Class(ClassName::Word(said), ClassName::Word(truth)));
    }
    // A yes or no is right or wrong beside another, in any coding that is plain.
    Some(Compared::Class(yes_or_no(is_yes(prediction)?), yes_or_no(is_yes(label)?)))
}

fn yes_or_no(is_yes: bool) -> ClassName<'static> {
    ClassName::Word(yes_or_no_name(is_yes))
}

pub(crate) fn yes_or_no_name(is_yes: bool) -> &'static str {
    if is_yes { "yes" } else { "no" }
}

/// A number that can be one.
pub(crate) fn number(cell: Cell<'_>) -> Option<f64> {
    let number = match cell {
        Cell::Number(number) => number,
        Cell::Integer(number) => number as f64,
        Cell::Text(text) => text.trim().parse().ok()?,
        Cell::Boolean(_) | Cell::Null => return None,
    };
    // No zero is negative beside another.
    (number.is_finite() && number.abs() <= NUMBER_MAX).then_some(number + 0.0)
}

/// What an answer is called: whole numbers are the same however they are written.
pub(crate) fn name(said: Cell<'_>) -> Option<Cow<'_, str>> {
    if let Some(number) = number(said) {
        return Some(Cow::Owned(number.to_string()));
    }
    match said {
        Cell::Boolean(yes) => Some(Cow::Borrowed(if yes { "true" } else { "false" })),
        Cell::Text(text) => Some(Cow::Borrowed(text.trim())),
        Cell::Number(_) | Cell::Integer(_) | Cell::Null => None,
    }
}

/// Beside a prediction a one is a yes.
pub(crate) fn is_yes(cell: Cell<'_>) -> Option<bool> {
    class(cell)?.is_yes(Coding::OneIsYes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_of_any_kind_are_right_beside_labels_of_any() {
        let (number, integer, text) = (Cell::Number, Cell::Integer, Cell::Text);
        let class = |prediction, label| compared(prediction, label).map(Compared::is_right);
        for (prediction, label, right) in [
            (number(1.0), integer(1), Some(true)),
            (text("1"), integer(1), Some(true)),
            (text("1.0"), number(2.0), Some(false)),
            (Cell::Boolean(true), text("Yes"), Some(true)),
            (Cell::Boolean(true), integer(0), Some(false)),
            (Cell::Boolean(false), integer(-1), Some(true)),
            (text("setosa"), text("setosa "), Some(true)),
            (text("setosa"), text("virginica"), Some(false)),
            (text("True"), text("yes"), Some(true)),
            (text("off"), text("No"), Some(true)),
            (text("t"), text("y"), Some(false)),
            (text("setosa"), integer(1), None),
            (Cell::Boolean(true), integer(7), None),
            (Cell::Null, integer(1), None),
            (number(f64::NAN), integer(1), None),
            (number(-0.0), integer(0), Some(true)),
        ] {
            assert_eq!(class(prediction, label), right, "{prediction:?} {label:?}");
        }
    }

    #[test]
    fn fractions_or_many_values_make_numbers() {
        use std::sync::Arc;

        use acgs_columns::{Field, Kind, Role, Schema, builder::BatchBuilder};

        let answers = |rows: &mut dyn Iterator<Item = (f64, f64)>| {
            let fields = vec![
                Field::new("p", Kind::Double, Role::Prediction),
                Field::new("y", Kind::Double, Role::Label),
            ];
            let mut builder = BatchBuilder::new(Arc::new(Schema::new(fields).unwrap()));
            let mut count = 0;
            for (said, truth) in rows {
                builder.push(&[Cell::Number(said), Cell::Number(truth)]).unwrap();
                count += 1;
            }
            let batch = builder.finish().unwrap();
            let mut answers = Answers::default();
            assert_eq!(answers.push(&batch.columns()[0], &batch.columns()[1], count, None), count);
            answers
        };
        let classes = answers(&mut (0..300).map(|row| (f64::from(row % 3), f64::from(row % 3))));
        assert!(!classes.are_numbers() && classes.right().mean() == Some(1.0) && classes.is_sound());
        let counts = answers(&mut (0..300).map(|row| (f64::from(row), f64::from(row + 1))));
        assert!(counts.are_numbers() && counts.is_sound());
        let mut merged = answers(&mut (0..15).map(|row| (f64::from(row), f64::from(row))));
        merged.merge(&answers(&mut (15..30).map(|row| (f64::from(row), f64::from(row)))));
        assert!(merged.are_numbers() && merged.is_sound(), "more values than classes, only together");
        assert!(answers(&mut [(0.5, 1.0)].into_iter()).are_numbers());
    }
}
