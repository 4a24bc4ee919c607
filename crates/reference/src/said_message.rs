//! Losses by what was said, from and to their message. It must not know what they are used for.

use std::collections::HashMap;

use acgs_contracts::drift::v1 as proto;
use acgs_statistics::expected_loss::LossCell;
use acgs_vocabulary::Problem;

use crate::{
    baseline::ModelKind,
    class_counts::COUNTED_MAX,
    reference::ROWS_MAX,
    said::{CELLS_MAX, SaidBy, SaidLosses, Sizes},
};

/// The message.
pub(crate) fn to_proto(said: &SaidLosses) -> proto::SaidLosses {
    let cells = said.cells.iter().map(|cell| proto::LossCell {
        rows: cell.rows,
        mean: cell.mean,
        variance: cell.variance,
        positive_rate: cell.positive_rate,
    });
    let mut message = proto::SaidLosses { cells: cells.collect(), ..proto::SaidLosses::default() };
    match &said.by {
        SaidBy::Amounts(sizes) | SaidBy::Scores { sizes, .. } => {
            message.edges.clone_from(&sizes.edges);
            (message.minimum, message.maximum) = (sizes.minimum, sizes.maximum);
        }
        SaidBy::Classes(places) => {
            message.classes.resize(places.len(), String::new());
            places.iter().for_each(|(name, place)| message.classes[*place].clone_from(name));
        }
    }
    message
}

/// From the message, of such a model.
///
/// # Errors
/// `BAD_REFERENCE`.
pub(crate) fn decode(message: proto::SaidLosses, kind: ModelKind) -> Result<SaidLosses, Problem> {
    let bad = |what: &str| Problem::field("reference.said_losses", "BAD_REFERENCE", what);
    let cell = |it: &proto::LossCell| {
        let sound = it.rows <= ROWS_MAX
            && (0.0..=1.0).contains(&it.positive_rate)
            && [it.mean, it.variance].iter().all(|number| number.is_finite() && *number >= 0.0);
        sound.then_some(LossCell {
            rows: it.rows,
            mean: it.mean,
            variance: it.variance,
            positive_rate: it.positive_rate,
        })
    };
    let cells: Option<Vec<LossCell>> = message.cells.iter().map(cell).collect();
    let cells = cells.ok_or_else(|| bad("has a cell with rows or a loss that cannot be"))?;
    let by = if message.classes.is_empty() {
        let ends = [message.minimum, message.maximum];
        let all: Vec<f64> = message.edges.iter().chain(&ends).copied().collect();
        let sorted = message.edges.windows(2).all(|it| it[0] < it[1]) && ends[0] <= ends[1];
        let fits = cells.len() == message.edges.len() + 1 && cells.len() <= CELLS_MAX;
        if !(fits && sorted && all.iter().all(|edge| edge.is_finite())) {
            return Err(bad("does not have at most 256 cells between ascending edges"));
        }
        let sizes = Sizes { edges: message.edges, minimum: message.minimum, maximum: message.maximum };
        if kind == ModelKind::Binary { SaidBy::scores(sizes) } else { SaidBy::Amounts(sizes) }
    } else {
        if message.classes.len() != cells.len() {
            return Err(bad("does not have one cell for each class"));
        }
        let names = message.classes.into_iter().enumerate().map(|(place, name)| (name, place));
        let places: HashMap<String, usize> = names.collect();
        if places.len() != cells.len() || cells.len() > COUNTED_MAX {
            return Err(bad("does not have one cell for each of at most 256 classes"));
        }
        SaidBy::Classes(places)
    };
    Ok(SaidLosses { by, cells })
}
