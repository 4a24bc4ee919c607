//! What a model says in rows: a score, a prediction, or several scores of which the highest names a class. It must not know thresholds.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use acgs_columns::{Cell, ClassScores, Column, RecordBatch, Role, Schema};
use acgs_statistics::classes::ClassLosses;

use crate::answers::{is_yes, name, yes_or_no_name};

/// The columns of what a model says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outputs {
    score: Option<usize>,
    prediction: Option<usize>,
    classes: Option<Arc<Classes>>,
    /// The share of labels that a prediction means to be above.
    pub quantile: Option<f64>,
}

/// Scores of classes, and where the class of a label is.
#[derive(Clone, Debug, PartialEq)]
struct Classes {
    scores: ClassScores,
    places: HashMap<String, usize>,
}

impl Outputs {
    /// Of a schema.
    #[must_use]
    pub fn of(schema: &Schema) -> Self {
        let prediction = schema.index_of_role(Role::Prediction);
        Self {
            score: schema.index_of_role(Role::Score),
            prediction,
            classes: ClassScores::of(schema).map(|scores| Arc::new(Classes::new(scores))),
            quantile: prediction.and_then(|place| schema.fields()[place].quantile),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.score.is_none() && self.prediction.is_none() && self.classes.is_none()
    }

    /// The probability of a yes.
    #[must_use]
    pub fn score<'a>(&self, columns: &'a [Column]) -> Option<&'a Column> {
        self.score.map(|place| &columns[place])
    }

    /// The prediction, or the class of the highest score.
    #[must_use]
    pub fn prediction<'a>(&self, rows: &'a RecordBatch) -> Option<Cow<'a, Column>> {
        let columns = rows.columns();
        match (self.prediction, &self.classes) {
            (Some(place), _) => Some(Cow::Borrowed(&columns[place])),
            (None, Some(classes)) => Some(Cow::Owned(classes.scores.answers(columns, rows.rows()))),
            (None, None) => None,
        }
    }

    /// Adds the losses of scores of classes beside labels; of rows that have both, and a label that is one of the classes.
    pub fn push_class_losses(&self, into: &mut ClassLosses, rows: &RecordBatch, label: &Column) {
        let Some(classes) = &self.classes else { return };
        let mut known: HashMap<u32, Option<usize>> = HashMap::new();
        let mut truth = |row: usize| match label.code(row) {
            Some(code) => *known.entry(code).or_insert_with(|| classes.place(label.cell(row))),
            None => classes.place(label.cell(row)),
        };
        let width = classes.scores.places().len();
        let (mut scores, mut truths, mut all) = (Vec::with_capacity(width), Vec::new(), Vec::new());
        for row in (0..rows.rows()).filter(|row| label.is_valid(*row)) {
            if let Some(truth) = truth(row)
                && classes.scores.read(rows.columns(), row, &mut scores)
            {
                truths.push(truth);
                all.extend_from_slice(&scores);
            }
        }
        into.push(all.chunks_exact(width).zip(truths));
    }
}

impl Classes {
    fn new(scores: ClassScores) -> Self {
        let mut places = HashMap::new();
        for (place, class) in scores.names().iter().enumerate() {
            let cell = Cell::Text(class);
            places.extend(name(cell).map(|name| (name.into_owned(), place)));
        }
        // What says yes in one coding does in another, where no class is called so.
        for (place, class) in scores.names().iter().enumerate() {
            if let Some(yes) = is_yes(Cell::Text(class)) {
                places.entry(yes_or_no_name(yes).to_owned()).or_insert(place);
            }
        }
        Self { scores, places }
    }

    /// The column of the class that a label names.
    fn place(&self, label: Cell<'_>) -> Option<usize> {
        let by_name = name(label).and_then(|name| self.places.get(&*name));
        by_name.or_else(|| self.places.get(yes_or_no_name(is_yes(label)?))).copied()
    }
}

#[cfg(test)]
mod tests {
    use acgs_columns::{Field, Kind, builder::BatchBuilder};

    use super::*;

    fn classes(names: &[&str]) -> Classes {
        let fields = names.iter().map(|name| Field {
            class: Some((*name).into()),
            ..Field::new(format!("p_{name}"), Kind::Double, Role::Score)
        });
        Classes::new(ClassScores::of(&Schema::new(fields.collect()).unwrap()).unwrap())
    }

    #[test]
    fn labels_find_their_class_however_it_is_written() {
        let numbers = classes(&["0", "1", "2.0"]);
        for (label, place) in [
            (Cell::Integer(2), Some(2)),
            (Cell::Number(1.0), Some(1)),
            (Cell::Text(" 0.0"), Some(0)),
            (Cell::Integer(3), None),
            (Cell::Text("maybe"), None),
            (Cell::Null, None),
        ] {
            assert_eq!(numbers.place(label), place, "{label:?}");
        }
        let truth = classes(&["True", "False"]);
        for (label, place) in [
            (Cell::Boolean(true), Some(0)),
            (Cell::Boolean(false), Some(1)),
            (Cell::Text("no"), Some(1)),
            (Cell::Integer(1), Some(0)),
            (Cell::Text("neither"), None),
        ] {
            assert_eq!(truth.place(label), place, "{label:?}");
        }
        assert_eq!(classes(&["no", "yes", "unsure"]).place(Cell::Text("yes")), Some(1));
    }

    #[test]
    fn losses_are_of_rows_with_all_scores_and_a_known_label() {
        let fields = vec![
            Field::new("p_a", Kind::Double, Role::Score),
            Field::new("p_b", Kind::Double, Role::Score),
            Field::new("y", Kind::Text, Role::Label),
        ];
        let schema = Arc::new(Schema::new(fields).unwrap());
        let mut builder = BatchBuilder::new(Arc::clone(&schema));
        for (a, b, label) in
            [(0.5, 0.5, Some("a")), (0.25, 0.75, Some("a")), (0.4, 0.6, Some("c")), (0.4, 0.6, None)]
        {
            builder.push(&[Cell::Number(a), Cell::Number(b), label.map_or(Cell::Null, Cell::Text)]).unwrap();
        }
        builder.push(&[Cell::Null, Cell::Number(0.5), Cell::Text("a")]).unwrap();
        builder.push(&[Cell::Number(0.7), Cell::Number(0.7), Cell::Text("a")]).unwrap();
        let batch = builder.finish().unwrap();
        let mut losses = ClassLosses::default();
        Outputs::of(&schema).push_class_losses(&mut losses, &batch, &batch.columns()[2]);
        assert_eq!(losses.counts(), (2, 1), "two that are probabilities, one that is not");
        let wanted = -(0.5_f64.ln() + 0.25_f64.ln()) / 2.0;
        assert!((losses.log_loss().unwrap().value - wanted).abs() < 1e-12);
        assert!((losses.brier().unwrap().value - (0.5 + 1.125) / 2.0).abs() < 1e-12);
    }
}
