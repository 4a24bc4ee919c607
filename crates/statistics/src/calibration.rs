//! What scores mean: the share of yes among rows of about a score, as labels show. It must not know what it is used for.
//!
//! Where rows are many, the share is their own; where they are few, that of a logistic curve through all of them (Platt 1999, by the log-odds of the
//! score): beyond where rows are dense a curve of two numbers is known better than any cell.

/// Rows by which each cell is drawn towards the curve.
const CURVE_ROWS: f64 = 25.0;
/// Rows that speak for scores that mean what they say, so that few rows or perfect ones make no curve that nobody means.
const PRIOR_ROWS: f64 = 4.0;
/// Scores are kept this far from 0 and 1 before their odds are taken.
const CLIP: f64 = 1e-6;
/// Steps of Newton's method.
const STEPS: usize = 25;

/// Rows with scores of about the same size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// Their mean score, or where they would be.
    pub score: f64,
    /// How many.
    pub rows: f64,
    /// Of those, labels that say yes.
    pub positives: f64,
}

fn log_odds(score: f64) -> f64 {
    let score = score.clamp(CLIP, 1.0 - CLIP);
    (score / (1.0 - score)).ln()
}

fn logistic(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// Intercept and slope of the log-odds of yes over those of the score, by penalized likelihood.
fn curve(cells: &[Scored]) -> (f64, f64) {
    let (mut intercept, mut slope) = (0.0, 1.0);
    for _ in 0..STEPS {
        // The prior: some rows of weight at the curve that says what the score says.
        let (mut gradient, mut second) =
            ([-PRIOR_ROWS * intercept, -PRIOR_ROWS * (slope - 1.0)], [PRIOR_ROWS, 0.0, PRIOR_ROWS]);
        for cell in cells.iter().filter(|cell| cell.rows > 0.0) {
            let odds = log_odds(cell.score);
            let share = logistic(intercept + slope * odds);
            let (off, weight) = (cell.positives - cell.rows * share, cell.rows * share * (1.0 - share));
            gradient = [gradient[0] + off, gradient[1] + off * odds];
            second = [second[0] + weight, second[1] + weight * odds, second[2] + weight * odds * odds];
        }
        let determinant = second[0] * second[2] - second[1] * second[1];
        if determinant <= 0.0 || !determinant.is_finite() {
            break;
        }
        let step = [
            (second[2] * gradient[0] - second[1] * gradient[1]) / determinant,
            (second[0] * gradient[1] - second[1] * gradient[0]) / determinant,
        ];
        // A step that is too long for the curve's shape is cut.
        let length = step[0].hypot(step[1]);
        let cut = if length > 2.0 { 2.0 / length } else { 1.0 };
        intercept += cut * step[0];
        slope = (slope + cut * step[1]).max(0.0);
        if length < 1e-9 {
            break;
        }
    }
    (intercept, slope)
}

/// The share of yes in each of some cells in order of their scores, not falling (isotonic regression by pooling adjacent violators: Ayer et al.
/// 1955).
#[must_use]
pub fn rising_shares(cells: &[Scored]) -> Vec<f64> {
    let (intercept, slope) = curve(cells);
    // Blocks of cells: rows, positives, and how many cells.
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    for cell in cells {
        let drawn = CURVE_ROWS * logistic(intercept + slope * log_odds(cell.score));
        let mut block = (cell.rows + CURVE_ROWS, cell.positives + drawn, 1);
        while let Some(last) = blocks.pop_if(|last| last.1 * block.0 > block.1 * last.0) {
            block = (last.0 + block.0, last.1 + block.1, last.2 + block.2);
        }
        blocks.push(block);
    }
    blocks
        .into_iter()
        .flat_map(|(rows, positives, cells)| std::iter::repeat_n(positives / rows, cells))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::Draws;

    fn cells(rows: usize, meaning: impl Fn(f64) -> f64) -> Vec<Scored> {
        let mut draws = Draws::new(1);
        let mut cells: Vec<Scored> = (0..100)
            .map(|cell| Scored { score: (f64::from(cell) + 0.5) / 100.0, rows: 0.0, positives: 0.0 })
            .collect();
        for _ in 0..rows {
            let score = draws.unit();
            let cell = &mut cells[(score * 100.0) as usize];
            cell.rows += 1.0;
            cell.positives += f64::from(u8::from(draws.unit() < meaning(score)));
        }
        cells
    }

    #[test]
    fn shares_rise_and_are_what_labels_show() {
        let too_sure = |score: f64| logistic(0.3 + 0.4 * log_odds(score));
        let step = |score: f64| if score < 0.3 { 0.1 } else { 0.6 };
        for (meaning, most) in [(&too_sure as &dyn Fn(f64) -> f64, 0.06), (&step, 0.12)] {
            let shares = rising_shares(&cells(50_000, meaning));
            assert!(shares.windows(2).all(|it| it[0] <= it[1]));
            for (cell, share) in shares.iter().enumerate() {
                let score = (cell as f64 + 0.5) / 100.0;
                assert!((share - meaning(score)).abs() < most, "{score}: {share}");
            }
        }
    }

    #[test]
    fn few_rows_mean_about_what_their_scores_say() {
        let few = rising_shares(&cells(20, |score| score));
        assert!(few.iter().enumerate().all(|(cell, share)| (share - cell as f64 / 100.0).abs() < 0.3));
        let perfect = rising_shares(&cells(5_000, |score| f64::from(u8::from(score > 0.5))));
        assert!(perfect[10] < 0.02 && perfect[90] > 0.98, "{:?}", (perfect[10], perfect[90]));
        assert!(rising_shares(&[]).is_empty());
    }
}
