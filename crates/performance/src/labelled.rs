//! What rows with labels leave behind: scores, answers and losses beside what was true, and labels that are taken back. It must not know thresholds.

use acgs_columns::{Column, RecordBatch};
use acgs_reference::{
    ModelKind,
    answers::{self, Answers},
    counts::joined,
    labels::{self, LabelledScores},
    said::SaidCounts,
    slices::{Outcome, Slices},
};
use acgs_statistics::classes::ClassLosses;
use serde::{Deserialize, Serialize};

use crate::roles::Roles;

/// Sums over rows with labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Labelled {
    /// Rows whose label cannot be compared with the score, or the prediction.
    pub incomparable_count: u64,
    /// Of those, rows whose label cannot be compared with the prediction.
    pub incomparable_answers: u64,
    /// Scores with labels.
    pub scores: LabelledScores,
    /// Predictions with labels.
    pub answers: Answers,
    /// Of models that say a score of each class.
    pub class_losses: ClassLosses,
    /// Losses by the values of fields that are declared so.
    pub slices: Slices,
    /// What the model said of rows with labels, by the reference's cells; of scores their own sums tell it.
    pub said: SaidCounts,
    /// Rows with a label by phase of the season of losses; empty without one.
    pub phase_rows: Vec<u64>,
    /// First and last time of rows with labels, in milliseconds since the epoch.
    pub times_ms: Option<(i64, i64)>,
}

impl Labelled {
    /// Bytes that it holds on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let phases = self.phase_rows.capacity() * size_of::<u64>();
        let sums = self.scores.heap_bytes() + self.answers.heap_bytes() + self.slices.heap_bytes();
        sums + self.said.heap_bytes() + phases
    }

    /// Rows with a label that was compared.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.scores.count().max(self.answers.count())
    }

    /// Whether what came back from outside is what pushing could have made, with these roles.
    #[must_use]
    pub fn is_sound(&self, roles: &Roles) -> bool {
        self.scores.is_sound()
            && self.answers.is_sound()
            && self.class_losses.is_sound()
            && self.slices.is_sound()
            && self.said.fits(roles.said_cells())
            && [0, roles.phases()].contains(&self.phase_rows.len())
    }

    /// Adds the rows that have a label.
    pub fn push(&mut self, roles: &Roles, rows: &RecordBatch, said_by: (Option<&Column>, Option<&Column>)) {
        let (columns, (score, prediction)) = (rows.columns(), said_by);
        let said = roles.said_column(said_by);
        let Some(label) = roles.label.map(|index| &columns[index]) else { return };
        if label.null_count() == rows.rows() {
            return;
        }
        self.push_times(roles, rows, label);
        let positive = roles.positive.as_deref();
        let labelled = rows.rows() - label.null_count();
        let scored = score
            .map_or(labelled, |score| labels::push(&mut self.scores, score, (label, positive), rows.rows()));
        let answered = prediction.map_or(labelled, |prediction| {
            self.answers.push(prediction, label, rows.rows(), roles.outputs.quantile)
        });
        let quantile = roles.outputs.quantile;
        self.slices.push(&roles.slices, rows, &Outcome { score, prediction, label, positive, quantile });
        roles.outputs.push_class_losses(&mut self.class_losses, rows, label);
        // Where all that was labelled was compared, nothing was lost.
        let of_answers = said.filter(|(_, kind, _)| *kind != ModelKind::Binary);
        if scored.min(answered) == labelled {
            if let Some((said, _, column)) = of_answers {
                let has_label = |row| label.is_valid(row);
                said.count(column, has_label, rows.rows(), &mut self.said);
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
            if let Some((said, _, column)) = of_answers {
                let is_compared = |row| has_label(&row) && !of_answer(&row);
                said.count(column, is_compared, rows.rows(), &mut self.said);
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

    /// Adds another's rows.
    pub fn merge(&mut self, other: &Self) {
        self.incomparable_count += other.incomparable_count;
        self.incomparable_answers += other.incomparable_answers;
        self.scores.merge(&other.scores);
        self.answers.merge(&other.answers);
        self.class_losses.merge(&other.class_losses);
        self.slices.merge(&other.slices);
        self.said.merge(&other.said);
        self.times_ms = joined(self.times_ms, other.times_ms);
        self.phase_rows.resize(self.phase_rows.len().max(other.phase_rows.len()), 0);
        self.phase_rows.iter_mut().zip(&other.phase_rows).for_each(|(own, theirs)| *own += theirs);
    }

    /// Without rows that were added before; `None` where more would be taken than there are. Times stay as they were.
    #[must_use]
    pub fn without(&self, taken: &Self) -> Option<Self> {
        let mut net = self.clone();
        net.incomparable_count = net.incomparable_count.checked_sub(taken.incomparable_count)?;
        net.incomparable_answers = net.incomparable_answers.checked_sub(taken.incomparable_answers)?;
        if net.phase_rows.len() < taken.phase_rows.len() {
            return None;
        }
        for (own, theirs) in net.phase_rows.iter_mut().zip(&taken.phase_rows) {
            *own = own.checked_sub(*theirs)?;
        }
        let is_part = net.scores.take_back(&taken.scores)
            && net.answers.take_back(&taken.answers)
            && net.class_losses.take_back(&taken.class_losses)
            && net.said.take_back(&taken.said);
        // Values beyond those that are counted apart may be in one part by name and in another not: then nothing is told by value.
        if !net.slices.take_back(&taken.slices) {
            net.slices = Slices::default();
        }
        is_part.then_some(net)
    }
}
