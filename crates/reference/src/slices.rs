//! Losses by the values of a few fields, so that one that is served badly is seen beside all that are not. It must not know thresholds.

use std::{borrow::Cow, collections::BTreeMap};

use acgs_columns::{Cell, Column, RecordBatch, Role, Schema};
use acgs_statistics::moments::Moments;
use serde::{Deserialize, Serialize};

use crate::{
    answers,
    baseline::{LossBaseline, ModelKind},
    labels::{self, Coding},
    outputs::Outputs,
};

/// Most fields whose values are told apart.
pub const FIELDS_MAX: usize = acgs_columns::schema::SLICES_MAX;
/// Most values of a field that are told apart; rows of further ones are counted together.
pub const VALUES_MAX: usize = 64;
/// Longest value, in bytes; rows of longer ones are counted with the further ones.
pub const VALUE_BYTES_MAX: usize = 64;

/// The fields whose values are told apart: name and column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SliceFields(Vec<(String, usize)>);

impl SliceFields {
    /// Of a schema.
    #[must_use]
    pub fn of(schema: &Schema) -> Self {
        let fields = schema.fields().iter().enumerate().filter(|(_, field)| field.slice);
        Self(fields.map(|(place, field)| (field.name.clone(), place)).collect())
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

/// Losses of rows of one value, as each kind of model has them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SliceLosses {
    /// Squared differences of scores and labels, where a one is a yes.
    one_is_yes: Moments,
    /// The same where a two is.
    two_is_yes: Moments,
    /// Labels that say yes, likewise.
    yes: [u64; 2],
    /// Wrong answers, as 0 and 1.
    wrong: Moments,
    /// Of answers that are amounts.
    amounts: Moments,
}

/// Rows with a label by value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FieldSlices {
    values: BTreeMap<String, SliceLosses>,
    /// Of further values, and none.
    others: SliceLosses,
}

/// The same for each field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Slices(Vec<FieldSlices>);

/// What the loss was in the rows of one value.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceBaseline {
    /// The field.
    pub field: String,
    /// The value; `None` for further ones, and none.
    pub value: Option<String>,
    /// Rows with a loss.
    pub count: u64,
    /// The mean of the loss.
    pub mean: f64,
    /// Its population variance.
    pub variance: f64,
    /// Labels that say yes, of binary models.
    pub positives: u64,
}

impl SliceBaseline {
    /// Of a reference's rows.
    pub(crate) fn measure(baseline: &LossBaseline, schema: &Schema, batches: &[RecordBatch]) -> Vec<Self> {
        let (fields, outputs) = (SliceFields::of(schema), Outputs::of(schema));
        let Some(label) = schema.index_of_role(Role::Label) else { return Vec::new() };
        let mut slices = Slices::default();
        for batch in batches {
            let prediction = outputs.prediction(batch);
            let outcome = Outcome {
                score: outputs.score(batch.columns()),
                prediction: prediction.as_deref(),
                label: &batch.columns()[label],
                positive: schema.fields()[label].positive.as_deref(),
                quantile: outputs.quantile,
            };
            slices.push(&fields, batch, &outcome);
        }
        let of = |(field, slices): (&str, &FieldSlices)| {
            let own = |(value, losses): (Option<&str>, &SliceLosses)| {
                let of_kind = losses.of(baseline.kind, baseline.coding);
                Some(Self {
                    field: field.to_owned(),
                    value: value.map(str::to_owned),
                    count: of_kind.count(),
                    mean: of_kind.mean()?,
                    variance: of_kind.population_variance()?,
                    positives: losses.positives(baseline.coding),
                })
            };
            slices.all().filter_map(own).collect::<Vec<_>>()
        };
        fields.names().zip(slices.fields()).flat_map(of).collect()
    }
}

/// What is known of a row with a label.
#[derive(Clone, Copy, Debug, Default)]
struct RowLoss {
    one_is_yes: Option<(f64, bool)>,
    two_is_yes: Option<(f64, bool)>,
    wrong: Option<bool>,
    amount: Option<f64>,
}

/// What rows say, and what was true.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The probability of a yes.
    pub score: Option<&'a Column>,
    /// The answer.
    pub prediction: Option<&'a Column>,
    /// The truth.
    pub label: &'a Column,
    /// The label that says yes, where it was declared.
    pub positive: Option<&'a str>,
    /// The share of labels that answers mean to be above.
    pub quantile: Option<f64>,
}

impl Outcome<'_> {
    fn loss(&self, row: usize) -> RowLoss {
        let label = (self.label, self.positive);
        let pair = |coding| self.score.and_then(|score| labels::pair(score, label, row, coding));
        let of = |prediction: &Column| answers::is_wrong(prediction, self.label, row);
        let amount = |prediction: &Column| answers::amount_loss(prediction, self.label, row, self.quantile);
        RowLoss {
            one_is_yes: pair(Coding::OneIsYes),
            two_is_yes: pair(Coding::TwoIsYes),
            wrong: self.prediction.and_then(of),
            amount: self.prediction.and_then(amount),
        }
    }
}

impl SliceLosses {
    fn push(&mut self, rows: &[RowLoss]) {
        let square = |(score, is_yes): (f64, bool)| (score - f64::from(u8::from(is_yes))).powi(2);
        let all = |of: &dyn Fn(&RowLoss) -> Option<f64>| rows.iter().filter_map(of).collect::<Vec<f64>>();
        self.one_is_yes.push_slice(&all(&|row| row.one_is_yes.map(square)));
        self.two_is_yes.push_slice(&all(&|row| row.two_is_yes.map(square)));
        self.wrong.push_slice(&all(&|row| row.wrong.map(|wrong| f64::from(u8::from(wrong)))));
        self.amounts.push_slice(&all(&|row| row.amount));
        let yes = |of: &dyn Fn(&RowLoss) -> Option<(f64, bool)>| {
            rows.iter().filter(|row| of(row).is_some_and(|(_, is_yes)| is_yes)).count() as u64
        };
        self.yes[0] += yes(&|row| row.one_is_yes);
        self.yes[1] += yes(&|row| row.two_is_yes);
    }

    fn merge(&mut self, other: &Self) {
        self.one_is_yes.merge(&other.one_is_yes);
        self.two_is_yes.merge(&other.two_is_yes);
        self.wrong.merge(&other.wrong);
        self.amounts.merge(&other.amounts);
        self.yes = [self.yes[0] + other.yes[0], self.yes[1] + other.yes[1]];
    }

    fn take_back(&mut self, other: &Self) -> bool {
        let yes = self.yes[0].checked_sub(other.yes[0]).zip(self.yes[1].checked_sub(other.yes[1]));
        self.yes = yes.map_or([0; 2], |(one, two)| [one, two]);
        yes.is_some()
            && self.one_is_yes.take_back(&other.one_is_yes, true)
            && self.two_is_yes.take_back(&other.two_is_yes, true)
            && self.wrong.take_back(&other.wrong, true)
            && self.amounts.take_back(&other.amounts, false)
    }

    fn is_sound(&self) -> bool {
        let all = [&self.one_is_yes, &self.two_is_yes, &self.wrong, &self.amounts];
        let [one, two] = self.yes;
        all.iter().all(|it| it.is_sound()) && one <= self.one_is_yes.count() && two <= self.two_is_yes.count()
    }

    /// The losses of such a model, whose ones are meant so.
    #[must_use]
    pub fn of(&self, kind: ModelKind, coding: Coding) -> &Moments {
        match (kind, coding) {
            (ModelKind::Binary, Coding::OneIsYes) => &self.one_is_yes,
            (ModelKind::Binary, Coding::TwoIsYes) => &self.two_is_yes,
            (ModelKind::Classes, _) => &self.wrong,
            (ModelKind::Regression, _) => &self.amounts,
        }
    }

    /// Labels that say yes, of binary models.
    #[must_use]
    pub fn positives(&self, coding: Coding) -> u64 {
        self.yes[usize::from(coding == Coding::TwoIsYes)]
    }
}

impl FieldSlices {
    fn of(&mut self, value: Option<&str>) -> &mut SliceLosses {
        match value.filter(|value| value.len() <= VALUE_BYTES_MAX) {
            Some(value) if self.values.len() < VALUES_MAX || self.values.contains_key(value) => {
                self.values.entry(value.to_owned()).or_default()
            }
            _ => &mut self.others,
        }
    }

    /// Whether further values are counted together.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.values.len() >= VALUES_MAX
    }

    /// By value, and of all further values, which have none.
    pub fn all(&self) -> impl Iterator<Item = (Option<&str>, &SliceLosses)> {
        self.values.iter().map(|(value, losses)| (Some(value.as_str()), losses)).chain([(None, &self.others)])
    }
}

impl Slices {
    /// Adds the rows that have a label.
    pub fn push(&mut self, fields: &SliceFields, rows: &RecordBatch, outcome: &Outcome<'_>) {
        if fields.0.is_empty() {
            return;
        }
        self.0.resize_with(fields.0.len(), FieldSlices::default);
        let labelled: Vec<usize> = (0..rows.rows()).filter(|row| outcome.label.is_valid(*row)).collect();
        let losses: Vec<RowLoss> = labelled.iter().map(|row| outcome.loss(*row)).collect();
        for (slices, (_, place)) in self.0.iter_mut().zip(&fields.0) {
            let column = &rows.columns()[*place];
            let mut by_value: BTreeMap<Option<Cow<'_, str>>, Vec<RowLoss>> = BTreeMap::new();
            for (row, loss) in labelled.iter().zip(&losses) {
                by_value.entry(value(column.cell(*row))).or_default().push(*loss);
            }
            for (value, losses) in by_value {
                slices.of(value.as_deref()).push(&losses);
            }
        }
    }

    /// By field, in the order of the schema; empty without rows.
    #[must_use]
    pub fn fields(&self) -> &[FieldSlices] {
        &self.0
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        self.0.resize_with(self.0.len().max(other.0.len()), FieldSlices::default);
        for (own, theirs) in self.0.iter_mut().zip(&other.0) {
            for (value, losses) in theirs.all() {
                own.of(value).merge(losses);
            }
        }
    }

    /// Takes back what was added before; false where more would be taken than there is, and what is left is of no use.
    #[must_use]
    pub fn take_back(&mut self, other: &Self) -> bool {
        self.0.len() >= other.0.len()
            && self.0.iter_mut().zip(&other.0).all(|(own, theirs)| {
                theirs.all().all(|(value, losses)| match value.and_then(|value| own.values.get_mut(value)) {
                    Some(known) => known.take_back(losses),
                    None => own.others.take_back(losses),
                })
            })
    }

    /// Bytes that it holds on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let entry = size_of::<(String, SliceLosses)>();
        let values = |of: &FieldSlices| of.values.keys().map(|value| value.len() + entry).sum::<usize>();
        self.0.iter().map(|of| size_of::<FieldSlices>() + values(of)).sum()
    }

    /// Whether what came back from outside is what pushing could have made.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.0.len() <= FIELDS_MAX
            && self
                .0
                .iter()
                .all(|of| of.values.len() <= VALUES_MAX && of.all().all(|(_, losses)| losses.is_sound()))
    }
}

/// What a value is called; `None` where there is none.
fn value(cell: Cell<'_>) -> Option<Cow<'_, str>> {
    match cell {
        Cell::Null | Cell::Number(_) => None,
        Cell::Integer(number) => Some(Cow::Owned(number.to_string())),
        Cell::Boolean(value) => Some(Cow::Borrowed(if value { "true" } else { "false" })),
        Cell::Text(text) => Some(Cow::Borrowed(text)),
    }
}
