//! Scores of which each is the probability of one class: what they are of, and the class that they say. It must not know labels.

use std::sync::Arc;

use crate::{
    batch::{Column, Values},
    buffer::Bitmap,
    schema::{Role, Schema, class_names},
};

/// The columns of scores that are of several classes.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassScores {
    places: Vec<usize>,
    /// As labels name them, in the order of the columns.
    names: Arc<[Arc<str>]>,
}

impl ClassScores {
    /// Of a schema with several scores; `None` of others.
    #[must_use]
    pub fn of(schema: &Schema) -> Option<Self> {
        let places: Vec<usize> = schema.places_of_role(Role::Score).collect();
        (places.len() > 1).then(|| Self { places, names: class_names(schema.fields()).into() })
    }

    /// The columns.
    #[must_use]
    pub fn places(&self) -> &[usize] {
        &self.places
    }

    /// What classes are called, column by column.
    #[must_use]
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The scores of a row; false when any is absent or no number.
    pub fn read(&self, columns: &[Column], row: usize, into: &mut Vec<f64>) -> bool {
        into.clear();
        into.extend(self.places.iter().filter_map(|place| columns[*place].number(row)));
        into.len() == self.places.len() && into.iter().all(|score| score.is_finite())
    }

    /// The class of the highest score of each row, the first of several; null where a score is absent.
    #[must_use]
    pub fn answers(&self, columns: &[Column], rows: usize) -> Column {
        let mut scores = Vec::with_capacity(self.places.len());
        let (mut codes, mut known) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        for row in 0..rows {
            let is_known = self.read(columns, row, &mut scores);
            known.push(is_known);
            codes.push(if is_known { highest(&scores) } else { 0 });
        }
        let validity = (!known.iter().all(|known| *known)).then(|| Bitmap::from_bits(known.into_iter()));
        let dictionary = Arc::clone(&self.names);
        Column { values: Values::Text { codes: codes.into(), dictionary }, validity }
    }
}

fn highest(scores: &[f64]) -> u32 {
    let first = (0, f64::NEG_INFINITY);
    let (place, _) = scores
        .iter()
        .zip(0_u32..)
        .fold(first, |best, (score, place)| if *score > best.1 { (place, *score) } else { best });
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Cell,
        builder::BatchBuilder,
        schema::{Field, Kind, SchemaError},
    };

    fn score(name: &str, class: Option<&str>) -> Field {
        Field { class: class.map(Into::into), ..Field::new(name, Kind::Double, Role::Score) }
    }

    #[test]
    fn classes_are_called_as_declared_or_by_what_differs() {
        let names = |fields: &[Field]| {
            let schema = Schema::new(fields.to_vec()).unwrap();
            ClassScores::of(&schema).map(|it| it.names().iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let of = |names: &[&str]| names.iter().map(|name| score(name, None)).collect::<Vec<_>>();
        assert_eq!(names(&of(&["p_0", "p_1", "p_2"])).unwrap(), ["0", "1", "2"]);
        assert_eq!(names(&of(&["setosa", "sentosa"])).unwrap(), ["setosa", "sentosa"]);
        assert_eq!(names(&of(&["proba_class_a", "proba_class_b"])).unwrap(), ["a", "b"]);
        assert_eq!(names(&of(&["p_", "p_a"])).unwrap(), ["p_", "a"]);
        assert_eq!(names(&[score("x", Some("yes ")), score("y", Some("no"))]).unwrap(), ["yes", "no"]);
        assert_eq!(names(&of(&["p"])), None);
    }

    #[test]
    fn what_names_no_class_is_refused() {
        let refused = |fields: Vec<Field>| Schema::new(fields).unwrap_err();
        let twice = refused(vec![score("a", Some("x")), score("b", Some("x"))]);
        assert_eq!(twice, SchemaError::DuplicateClass("x".into()));
        assert_eq!(refused(vec![score("a", Some("x"))]), SchemaError::Class("a".into()));
        assert_eq!(refused(vec![score("a", Some(" ")), score("b", None)]), SchemaError::Class("a".into()));
        let many = (0..=crate::schema::SCORES_MAX).map(|place| score(&format!("p_{place}"), None)).collect();
        assert_eq!(refused(many), SchemaError::ScoreCount(257));
    }

    #[test]
    fn the_highest_score_answers() {
        let schema = Arc::new(Schema::new(vec![score("p_a", None), score("p_b", None)]).unwrap());
        let mut builder = BatchBuilder::new(Arc::clone(&schema));
        for (a, b) in [(0.2, 0.8), (0.5, 0.5), (0.9, f64::NAN), (1.0, 0.0)] {
            builder.push(&[Cell::Number(a), Cell::Number(b)]).unwrap();
        }
        builder.push(&[Cell::Number(0.1), Cell::Null]).unwrap();
        let batch = builder.finish().unwrap();
        let answers = ClassScores::of(&schema).unwrap().answers(batch.columns(), 5);
        let said: Vec<Option<&str>> = (0..5).map(|row| answers.text(row).map(|text| &**text)).collect();
        assert_eq!(said, [Some("b"), Some("a"), None, Some("a"), None]);
    }
}
