//! Cells of scores by their odds, fine where scores are rare: what areas and thresholds are told by. It must not know labels.

/// Cells of each half of [0, 1] in which scores count as tied when the area is computed from a pane: by octaves of the score, or of what it lacks to
/// 1, from a half outwards. Scores in one cell are at most 1/16 of their odds apart, down to 1e-6.
const OCTAVES: [usize; 18] = [128, 64, 32, 32, 32, 32, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16];
/// Cells below a half.
pub(crate) const HALF_CELLS: usize = 512;
/// All cells.
pub const AREA_CELLS: usize = 2 * HALF_CELLS;
/// Where a score in [0, 1] is, in ascending order.
#[must_use]
pub fn area_cell(score: f64) -> usize {
    let is_low = score < 0.5;
    let tail = if is_low { score } else { 1.0 - score };
    let bits = tail.to_bits();
    // From a half outwards: [1/4, 1/2) is octave 0.
    let octave = 1_021_i64 - ((bits >> 52) & 0x7ff) as i64;
    let from_half = match usize::try_from(octave) {
        Err(_) => 0,
        Ok(octave) if octave >= OCTAVES.len() => HALF_CELLS - 1,
        Ok(octave) => {
            let cells = OCTAVES[octave];
            let within = (bits & ((1 << 52) - 1)) >> (52 - cells.trailing_zeros());
            OCTAVES[..octave].iter().sum::<usize>() + cells - 1 - within as usize
        }
    };
    if is_low { HALF_CELLS - 1 - from_half } else { HALF_CELLS + from_half }
}

/// Where cells begin that are so many of these wide, but the first: scores in one are a quarter of their odds apart with 4, down to 1e-6.
#[must_use]
pub fn score_edges(wide: usize) -> Vec<f64> {
    (wide..AREA_CELLS).step_by(wide.max(1)).map(cell_start).collect()
}

/// The smallest score of a cell.
#[must_use]
pub fn cell_start(cell: usize) -> f64 {
    let is_low = cell < HALF_CELLS;
    let from_half = if is_low { HALF_CELLS - 1 - cell } else { cell - HALF_CELLS };
    let (mut before, mut octave) = (0, 0);
    while octave + 1 < OCTAVES.len() && before + OCTAVES[octave] <= from_half {
        before += OCTAVES[octave];
        octave += 1;
    }
    let cells = OCTAVES[octave];
    // From the upper end of the octave downwards.
    let below = cells - 1 - (from_half - before).min(cells - 1);
    let octave_start = 0.25 / (1_u64 << octave) as f64;
    let tail = |place: usize| octave_start * (1.0 + place as f64 / cells as f64);
    match (is_low, cell) {
        (true, 0) => 0.0,
        (true, _) => tail(below),
        (false, HALF_CELLS) => 0.5,
        (false, _) => 1.0 - tail(below + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::{ScoreSums, area_exact};

    #[test]
    fn cells_ascend_with_scores_and_tell_rare_ones_apart() {
        assert_eq!(OCTAVES.iter().sum::<usize>(), HALF_CELLS);
        let mut scores: Vec<f64> = (0..=4_000).map(|step| f64::from(step) / 4_000.0).collect();
        scores.extend((0..400).map(|step| 1e-7 * 1.05_f64.powi(step)).filter(|score| *score < 1.0));
        scores.extend((0..400).map(|step| 1.0 - 1e-7 * 1.05_f64.powi(step)).filter(|score| *score > 0.0));
        scores.sort_by(f64::total_cmp);
        let cells: Vec<usize> = scores.iter().map(|score| area_cell(*score)).collect();
        assert!(cells.is_sorted() && cells[0] == 0 && *cells.last().unwrap() == AREA_CELLS - 1);
        // A model that tells one in ten thousand from one in a thousand.
        let scores: Vec<f64> = (0..1_000).map(|row| 1e-4 + 1e-6 * f64::from(row)).collect();
        let labels: Vec<bool> = (0..1_000).map(|row| row * 7 % 1_000 > 600 || row > 900).collect();
        let mut sums = ScoreSums::default();
        sums.push_slice(&scores, &labels);
        let (found, exact) = (sums.area().unwrap().value, area_exact(&scores, &labels).unwrap().value);
        assert!((found - exact).abs() < 0.005, "{found} {exact}");
    }

    #[test]
    fn cells_begin_where_their_scores_do() {
        for cell in 0..AREA_CELLS {
            let start = cell_start(cell);
            let above = (start + 1e-13).max(start * (1.0 + 1e-12));
            assert_eq!(area_cell(above), cell, "{start}");
            assert!(cell == 0 || area_cell(start - 1e-13) < cell, "{start}");
        }
    }

    #[test]
    fn thresholds_say_what_would_have_been_answered() {
        let scores: Vec<f64> = (0..2_000).map(|row| f64::from(row) / 2_000.0).collect();
        let labels: Vec<bool> = (0..2_000).map(|row| row * 7_919 % 2_000 < row).collect();
        let mut sums = ScoreSums::default();
        sums.push_slice(&scores, &labels);
        let found = sums.thresholds(20);
        assert!((15..=21).contains(&found.len()), "{}", found.len());
        for (threshold, confusion) in found {
            let said = |row: usize| scores[row] >= threshold - 1e-12;
            let count = |yes: bool, truth: bool| {
                (0..2_000).filter(|row| said(*row) == yes && labels[*row] == truth).count() as u64
            };
            let counted = (count(true, true), count(true, false), count(false, true));
            let told = (confusion.true_positives, confusion.false_positives, confusion.false_negatives);
            assert_eq!(told, counted, "{threshold}");
        }
    }
}
