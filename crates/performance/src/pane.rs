//! What a pane of rows leaves behind: latency, errors, and scores against labels. It must not know thresholds.

use std::sync::Arc;

use acgs_columns::{Column, RecordBatch, Role, Schema, numbers::numbers};
use acgs_reference::{
    ModelKind,
    answers::{self, Answers},
    counts::joined,
    labels::{self, LabelledScores},
    said::{SaidCounts, SaidLosses},
    season::Season,
};
use acgs_statistics::{moments::Moments, sketch::LogHistogram};
use serde::{Deserialize, Serialize};

/// The longest time that a call can have taken, in milliseconds: 31 days. What is longer, or negative, was not measured right.
const LATENCY_MS_MAX: f64 = 31.0 * 86_400_000.0;

/// One pane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PerformancePane {
    /// Whether its rows were counted in another pane, so that only labels count here.
    pub labels_only: bool,
    /// Rows.
    pub row_count: u64,
    /// Rows whose error field is set, and true.
    pub errors: (u64, u64),
    /// Milliseconds.
    pub latency: Moments,
    /// Milliseconds.
    pub latency_sketch: LogHistogram,
    /// Latencies that no call can have had: negative, beyond 31 days, or not finite.
    pub latency_invalid_count: u64,
    /// Rows whose label cannot be compared with the score, or the prediction.
    pub incomparable_count: u64,
    /// Of those, rows whose label cannot be compared with the prediction.
    pub incomparable_answers: u64,
    /// Scores with labels.
    pub scores: LabelledScores,
    /// Predictions with labels.
    pub answers: Answers,
    /// What the model said, by the reference's cells.
    pub said: SaidCounts,
    /// The same of rows with labels; of scores their own sums tell it.
    pub said_labelled: SaidCounts,
    /// Rows with a label by phase of the season of losses; empty without one.
    pub phase_rows: Vec<u64>,
    /// First and last time of rows with labels, in milliseconds since the epoch.
    pub times_ms: Option<(i64, i64)>,
}

/// The columns of the roles that matter here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Roles {
    score: Option<usize>,
    prediction: Option<usize>,
    label: Option<usize>,
    latency: Option<usize>,
    error: Option<usize>,
    time: Option<usize>,
    /// What losses vary with.
    season: Season,
    /// The label that says yes, where it was declared.
    positive: Option<Arc<str>>,
    /// What predictions were declared to be.
    declared: Option<ModelKind>,
    /// What came of what the model said, in the reference, and the column of what it says.
    said: Option<(Arc<SaidLosses>, usize)>,
}

impl Roles {
    /// By role.
    #[must_use]
    pub fn new(schema: &Schema) -> Self {
        Self {
            score: schema.index_of_role(Role::Score),
            prediction: schema.index_of_role(Role::Prediction),
            label: schema.index_of_role(Role::Label),
            latency: schema.index_of_role(Role::Latency),
            error: schema.index_of_role(Role::Error),
            time: schema.index_of_role(Role::Timestamp),
            season: Season::None,
            positive: schema
                .index_of_role(Role::Label)
                .and_then(|label| schema.fields()[label].positive.clone()),
            declared: answers::declared_kind(schema),
            said: None,
        }
    }

    /// What a reference declared, where the rows do not.
    #[must_use]
    pub fn or_positive(mut self, declared: Option<Arc<str>>) -> Self {
        self.positive = self.positive.or(declared);
        self
    }

    /// What predictions were declared to be.
    #[must_use]
    pub fn declared(&self) -> Option<ModelKind> {
        self.declared
    }

    /// The label that says yes, where it was declared.
    #[must_use]
    pub fn positive(&self) -> Option<&Arc<str>> {
        self.positive.as_ref()
    }

    /// Where a reference of such a model knows what came of what it said.
    #[must_use]
    pub fn with_said(self, kind: ModelKind, said: Option<SaidLosses>) -> Self {
        let column = if kind == ModelKind::Binary { self.score } else { self.prediction };
        Self { said: said.map(Arc::new).zip(column), ..self }
    }

    /// What came of what the model said.
    #[must_use]
    pub fn said(&self) -> Option<&SaidLosses> {
        self.said.as_ref().map(|(said, _)| &**said)
    }

    /// Cells of what the model says.
    #[must_use]
    pub fn said_cells(&self) -> usize {
        self.said().map_or(0, |said| said.cells.len())
    }

    /// Where losses vary with a season.
    #[must_use]
    pub fn in_season(self, season: Season) -> Self {
        Self { season, ..self }
    }

    /// Phases that are counted.
    #[must_use]
    pub fn phases(&self) -> usize {
        self.season.kept_phases()
    }

    /// Whether there is anything to judge.
    #[must_use]
    pub fn any(&self) -> bool {
        let with_label = self.label.is_some() && (self.score.is_some() || self.prediction.is_some());
        self.latency.is_some() || self.error.is_some() || with_label
    }

    /// Whether there is a latency, and an error field.
    #[must_use]
    pub fn service(&self) -> (bool, bool) {
        (self.latency.is_some(), self.error.is_some())
    }
}

impl PerformancePane {
    /// Bytes that it holds on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let phases = self.phase_rows.capacity() * size_of::<u64>();
        let said = self.said.heap_bytes() + self.said_labelled.heap_bytes();
        self.latency_sketch.heap_bytes()
            + self.scores.heap_bytes()
            + self.answers.heap_bytes()
            + phases
            + said
    }

    /// Adds rows.
    pub fn push(&mut self, roles: &Roles, rows: &RecordBatch) {
        let columns = rows.columns();
        if !self.labels_only {
            self.row_count += rows.rows() as u64;
            if let Some(found) = roles.latency.and_then(|index| numbers(&columns[index])) {
                self.latency_invalid_count += found.not_finite_count as u64;
                self.push_latency(&found.finite);
            }
            if let Some(column) = roles.error.map(|index| &columns[index]) {
                self.push_errors(column, rows.rows());
            }
            if let Some((said, column)) = &roles.said {
                said.count(&columns[*column], |_| true, rows.rows(), &mut self.said);
            }
        }
        let Some(label) = roles.label.map(|index| &columns[index]) else { return };
        if label.null_count() == rows.rows() {
            return;
        }
        self.push_times(roles, rows, label);
        let positive = roles.positive.as_deref();
        let score = roles.score.map(|index| &columns[index]);
        let prediction = roles.prediction.map(|index| &columns[index]);
        let labelled = rows.rows() - label.null_count();
        let scored = score
            .map_or(labelled, |score| labels::push(&mut self.scores, score, (label, positive), rows.rows()));
        let answered =
            prediction.map_or(labelled, |prediction| self.answers.push(prediction, label, rows.rows()));
        // Where all that was labelled was compared, nothing was lost.
        let of_answers = roles.said.as_ref().filter(|(_, column)| Some(*column) == roles.prediction);
        if scored.min(answered) == labelled {
            if let Some((said, column)) = of_answers {
                let has_label = |row| label.is_valid(row);
                said.count(&columns[*column], has_label, rows.rows(), &mut self.said_labelled);
            }
        } else {
            let has_label = |row: &usize| label.is_valid(*row);
            let of_score = |row: &usize| {
                score.is_some_and(|it| {
                    it.is_valid(*row) && !labels::can_be_compared(it, (label, positive), *row)
                })
            };
            let of_answer = |row: &usize| {
                prediction.is_some_and(|it| it.is_valid(*row) && !answers::can_be_compared(it, label, *row))
            };
            let labelled = || (0..rows.rows()).filter(has_label);
            self.incomparable_count +=
                labelled().filter(|row| of_score(row) || of_answer(row)).count() as u64;
            self.incomparable_answers += labelled().filter(of_answer).count() as u64;
            if let Some((said, column)) = of_answers {
                let is_compared = |row| has_label(&row) && !of_answer(&row);
                said.count(&columns[*column], is_compared, rows.rows(), &mut self.said_labelled);
            }
        }
    }

    fn push_times(&mut self, roles: &Roles, rows: &RecordBatch, label: &Column) {
        let Some(times) = roles.time.map(|index| &rows.columns()[index]) else { return };
        self.phase_rows.resize(roles.phases(), 0);
        let labelled = (0..rows.rows()).filter(|row| label.is_valid(*row));
        for time_ms in labelled.filter_map(|row| times.integer(row)) {
            self.times_ms = joined(self.times_ms, Some((time_ms, time_ms)));
            if let Some(rows) = self.phase_rows.get_mut(roles.season.phase(time_ms)) {
                *rows += 1;
            }
        }
    }

    /// Its labels alone.
    #[must_use]
    pub fn labels(&self) -> Self {
        Self {
            scores: self.scores.clone(),
            answers: self.answers.clone(),
            said_labelled: self.said_labelled.clone(),
            phase_rows: self.phase_rows.clone(),
            times_ms: self.times_ms,
            ..Self::default()
        }
    }

    /// Rows with a label that was compared.
    #[must_use]
    pub fn labelled_count(&self) -> u64 {
        self.scores.count().max(self.answers.count())
    }

    /// Whether what came back from outside is what pushing could have made, with these roles.
    #[must_use]
    pub fn is_sound(&self, roles: &Roles) -> bool {
        let (phases, cells) = (roles.phases(), roles.said_cells());
        let sums = self.latency.is_sound() && self.answers.is_sound();
        let counted = [0, phases].contains(&self.phase_rows.len());
        let said = self.said.fits(cells) && self.said_labelled.fits(cells);
        sums && counted && said && self.latency_sketch.is_sound() && self.scores.is_sound()
    }

    /// Whether it has any label that was compared.
    #[must_use]
    pub fn bears_labels(&self) -> bool {
        self.scores.count() + self.answers.count() > 0
    }

    fn push_latency(&mut self, latency_ms: &[f64]) {
        let is_possible = |latency_ms: &f64| (0.0..=LATENCY_MS_MAX).contains(latency_ms);
        if latency_ms.iter().all(is_possible) {
            self.latency.push_slice(latency_ms);
            self.latency_sketch.push_slice(latency_ms);
            return;
        }
        let possible: Vec<f64> = latency_ms.iter().copied().filter(is_possible).collect();
        self.latency_invalid_count += (latency_ms.len() - possible.len()) as u64;
        self.latency.push_slice(&possible);
        self.latency_sketch.push_slice(&possible);
    }

    fn push_errors(&mut self, column: &Column, rows: usize) {
        for failed in (0..rows).filter_map(|row| column.number(row)) {
            self.errors.0 += 1;
            self.errors.1 += u64::from(failed != 0.0);
        }
    }

    /// Adds another's rows.
    pub fn merge(&mut self, other: &Self) {
        self.row_count += other.row_count;
        self.errors = (self.errors.0 + other.errors.0, self.errors.1 + other.errors.1);
        self.latency.merge(&other.latency);
        self.latency_sketch.merge(&other.latency_sketch);
        self.latency_invalid_count += other.latency_invalid_count;
        self.incomparable_count += other.incomparable_count;
        self.incomparable_answers += other.incomparable_answers;
        self.scores.merge(&other.scores);
        self.answers.merge(&other.answers);
        self.said.merge(&other.said);
        self.said_labelled.merge(&other.said_labelled);
        self.times_ms = joined(self.times_ms, other.times_ms);
        self.phase_rows.resize(self.phase_rows.len().max(other.phase_rows.len()), 0);
        self.phase_rows.iter_mut().zip(&other.phase_rows).for_each(|(own, theirs)| *own += theirs);
    }
}
