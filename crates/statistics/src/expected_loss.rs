//! What loss answers lead to expect before their labels are known, by what came of answers like them. It must not know models or references.
//!
//! Answers are in cells. What came of a cell's answers before is what is expected of those now: that holds for as long as what an answer means has
//! not changed, which labels alone can show (confidence-based performance estimation, as NannyML has it, with cells in the place of a calibrated
//! score).

use crate::estimate::Estimate;

/// Rows of the whole by which the variance of a cell is shrunk towards that of all: one of few rows may show none.
const SHRUNK_BY: f64 = 2.0;
/// Rows that a cell without any is worth.
const EMPTY_ROWS: f64 = 0.5;

/// Losses of answers in one cell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LossCell {
    /// Answers with a label.
    pub rows: u64,
    /// Mean of their losses.
    pub mean: f64,
    /// Population variance.
    pub variance: f64,
    /// Of scores: the share of labels that said yes.
    pub positive_rate: f64,
}

/// The mean over answers, so many of each cell, of a value with a variance in each: with the error of what is known of cells, and of what labels of
/// so few answers will be. `None` without answers.
fn mean(cells: &[LossCell], counts: &[u64], of: impl Fn(&LossCell) -> (f64, f64)) -> Option<(f64, f64)> {
    let all: u64 = counts.iter().sum();
    let known: u64 = cells.iter().map(|cell| cell.rows).sum();
    if all == 0 || known == 0 || cells.len() != counts.len() {
        return None;
    }
    let of_all = |cell: &LossCell| cell.rows as f64 / known as f64 * of(cell).1;
    let typical: f64 = cells.iter().map(of_all).sum();
    let (mut value, mut variance) = (0.0, 0.0);
    for (cell, count) in cells.iter().zip(counts) {
        let (mean, spread) = of(cell);
        let (rows, share) = (cell.rows as f64, *count as f64 / all as f64);
        let shrunk = (rows * spread + SHRUNK_BY * typical) / (rows + SHRUNK_BY);
        value += share * mean;
        // Of a cell without rows nothing is known but what its neighbours say.
        variance += share * share * shrunk / (rows + EMPTY_ROWS) + share * shrunk / all as f64;
    }
    Some((value, variance.sqrt()))
}

/// The mean loss to be expected of so many answers of each cell, with a 95 % interval for what their labels will come to.
#[must_use]
pub fn expected_loss(cells: &[LossCell], counts: &[u64]) -> Option<Estimate> {
    let (value, standard_error) = mean(cells, counts, |cell| (cell.mean, cell.variance))?;
    Some(Estimate::of_loss(value, standard_error))
}

/// The share of right answers to be expected, where those of the cells from `first_yes` on are a yes.
#[must_use]
pub fn expected_accuracy(cells: &[LossCell], counts: &[u64], first_yes: usize) -> Option<Estimate> {
    let sided: Vec<LossCell> = cells
        .iter()
        .enumerate()
        .map(|(place, cell)| {
            let yes = cell.positive_rate;
            LossCell { positive_rate: if place >= first_yes { yes } else { 1.0 - yes }, ..*cell }
        })
        .collect();
    let (value, standard_error) = mean(&sided, counts, |cell| {
        let right = cell.positive_rate;
        (right, right * (1.0 - right))
    })?;
    let plain = Estimate::new(value, standard_error);
    Some(Estimate { lower: plain.lower.max(0.0), upper: plain.upper.min(1.0), ..plain })
}

/// Positives and negatives to be expected of so many answers of each cell, in order.
pub fn expected_classes<'a>(
    cells: &'a [LossCell],
    counts: &'a [u64],
) -> impl Iterator<Item = (f64, f64)> + 'a {
    cells.iter().zip(counts).map(|(cell, count)| {
        let positives = *count as f64 * cell.positive_rate;
        (positives, *count as f64 - positives)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::Draws;

    /// A reference and a window of a model whose scores mean what they say, or half of it; cells of a tenth.
    fn drawn(draws: &mut Draws, rows: usize, meaning: f64) -> (Vec<LossCell>, Vec<u64>, f64) {
        let mut losses = vec![Vec::new(); 10];
        let mut positives = [0_u64; 10];
        for _ in 0..rows {
            let score = draws.unit().powi(2);
            let yes = draws.unit() < score * meaning;
            let cell = ((score * 10.0) as usize).min(9);
            losses[cell].push((score - f64::from(u8::from(yes))).powi(2));
            positives[cell] += u64::from(yes);
        }
        let all = losses.iter().flatten().sum::<f64>() / rows as f64;
        let counts = losses.iter().map(|losses| losses.len() as u64).collect();
        let cell = |(losses, positives): (&Vec<f64>, &u64)| {
            let rows = losses.len().max(1) as f64;
            let mean = losses.iter().sum::<f64>() / rows;
            let variance = losses.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>() / rows;
            LossCell { rows: losses.len() as u64, mean, variance, positive_rate: *positives as f64 / rows }
        };
        (losses.iter().zip(&positives).map(cell).collect(), counts, all)
    }

    #[test]
    fn what_labels_come_to_is_in_the_interval_and_a_change_of_meaning_is_not() {
        let mut draws = Draws::new(15);
        let share_within = |draws: &mut Draws, meaning: f64| {
            let within = |_: &usize| {
                let (cells, ..) = drawn(draws, 2_000, 1.0);
                let (_, counts, realised) = drawn(draws, 500, meaning);
                let expected = expected_loss(&cells, &counts).unwrap();
                (expected.lower..=expected.upper).contains(&realised)
            };
            (0..400).filter(within).count() as f64 / 400.0
        };
        let honest = share_within(&mut draws, 1.0);
        assert!((0.92..=0.98).contains(&honest), "{honest}");
        assert!(share_within(&mut draws, 0.3) < 0.2);
    }

    #[test]
    fn nothing_said_leads_to_nothing_expected() {
        let cells = [LossCell { rows: 10, mean: 0.1, variance: 0.0, positive_rate: 0.1 }];
        assert_eq!(expected_loss(&cells, &[0]), None);
        assert_eq!(expected_loss(&[], &[]), None);
        assert!((expected_accuracy(&cells, &[5], 1).unwrap().value - 0.9).abs() < 1e-12);
        assert!((expected_accuracy(&cells, &[5], 0).unwrap().value - 0.1).abs() < 1e-12);
    }
}
