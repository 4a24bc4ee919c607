//! Two models on the same rows: which of them loses more, and how sure that is. It must not know protobuf.

use acgs_reference::labels::{Class, Coding};
use acgs_statistics::{
    evidence::MeanBets,
    paired::{MeanBounds, area_difference, bootstrap, mcnemar, mean_bounds},
    score::{Estimate, log_loss},
};

/// Draws below which nothing is sure.
const DRAWS_MIN: usize = 10;
/// What may be of which none was seen.
const NEVER_SEEN: f64 = 3.0;

/// What a row costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairedLoss {
    /// The square of score less label.
    Squared,
    /// The negative logarithm of the probability of what came true.
    Log,
    /// The distance of score and label.
    Absolute,
    /// 1 where the score is on the wrong side of 0.5.
    Wrong,
}

/// What is to be thought of the second model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It surely loses less.
    Better,
    /// It surely does not lose more than the margin.
    NotWorse,
    /// It surely loses more than the margin.
    Worse,
    /// That cannot be told.
    Undecided,
}

/// Rows that both models were asked about, column by column, all of one length.
#[derive(Clone, Debug)]
pub struct Rows {
    /// What each said.
    pub scores: [Vec<f64>; 2],
    /// The truth as a number.
    pub labels: Vec<f64>,
    /// Whether it is a yes or a no; `None` for amounts.
    pub classes: Option<Vec<bool>>,
    /// When; 0 where nobody knows.
    pub times_ms: Vec<i64>,
}

/// How they are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// What a row costs.
    pub loss: PairedLoss,
    /// Rows of so many milliseconds hang together; 0 for none.
    pub block_ms: i64,
    /// How much more the second may lose.
    pub margin: f64,
    /// Of the bounds, one-sided.
    pub confidence: f64,
}

/// What came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// By the bounds.
    pub verdict: Verdict,
    /// Mean losses.
    pub losses: [f64; 2],
    /// Of the second's less the first's.
    pub bounds: Option<MeanBounds>,
    /// The same by resamples.
    pub bootstrap: Option<(f64, f64)>,
    /// Rows that only the first had right, that only the second had, and the chance of that.
    pub rights: Option<(u64, u64, f64)>,
    /// Of the areas under the ROC curve.
    pub auc_difference: Option<Estimate>,
    /// Logarithms of the evidence that the second loses more than the margin, and that it loses less than the first.
    pub ln_evidence: Option<(f64, f64)>,
}

/// Labels of yes and no by what all of them say together; `None` where any is neither, or of another coding.
#[must_use]
pub fn classes_of(labels: &[Option<Class>]) -> Option<Vec<bool>> {
    let has = |wanted: &[Class]| labels.iter().flatten().any(|class| wanted.contains(class));
    let coding = Coding::shown(has(&[Class::No, Class::Yes]), has(&[Class::Two])).unwrap_or_default();
    labels.iter().map(|class| (*class)?.is_yes(coding)).collect()
}

fn loss_of(loss: PairedLoss, score: f64, label: f64) -> f64 {
    match loss {
        PairedLoss::Squared => (score - label).powi(2),
        PairedLoss::Log => log_loss(score, label > 0.5),
        PairedLoss::Absolute => (score - label).abs(),
        PairedLoss::Wrong => f64::from(u8::from((score >= 0.5) != (label > 0.5))),
    }
}

/// Compares.
#[must_use]
pub fn compare(rows: &Rows, terms: &Terms) -> Comparison {
    let count = rows.labels.len().max(1) as f64;
    let losses = [0, 1].map(|which: usize| -> Vec<f64> {
        let of = rows.scores[which].iter().zip(&rows.labels);
        of.map(|(score, label)| loss_of(terms.loss, *score, *label)).collect()
    });
    let timed = rows.times_ms.iter().zip(losses[0].iter().zip(&losses[1]));
    let mut apart: Vec<(i64, f64)> =
        timed.map(|(time_ms, (first, second))| (*time_ms, second - first)).collect();
    // Evidence is bet on in order of time.
    apart.sort_by_key(|(time_ms, _)| *time_ms);
    let largest = losses.iter().flatten().copied().fold(1.0, f64::max);
    let bounds =
        mean_bounds(&apart, terms.block_ms, terms.confidence).map(|it| at_least_as_wide(it, largest));
    let verdict = match bounds.as_ref().filter(|bounds| bounds.draws >= DRAWS_MIN) {
        Some(bounds) if bounds.upper < 0.0 => Verdict::Better,
        Some(bounds) if bounds.upper <= terms.margin => Verdict::NotWorse,
        Some(bounds) if bounds.lower > terms.margin => Verdict::Worse,
        Some(_) | None => Verdict::Undecided,
    };
    let is_share = |loss: &f64| (0.0..=1.0).contains(loss);
    let bounded = losses.iter().flatten().all(is_share) && terms.margin < 1.0;
    Comparison {
        verdict,
        losses: losses.each_ref().map(|losses| losses.iter().sum::<f64>() / count),
        bounds,
        bootstrap: bootstrap(&apart, terms.block_ms),
        rights: rows.classes.as_ref().map(|classes| rights(&rows.scores, classes)),
        auc_difference: rows
            .classes
            .as_ref()
            .and_then(|classes| area_difference(&rows.scores[0], &rows.scores[1], classes)),
        ln_evidence: bounded.then(|| evidence(&apart, terms)),
    }
}

/// Draws that are all alike are no proof that the next one is: what was never seen in so many may be three times in as many (the rule of three).
fn at_least_as_wide(bounds: MeanBounds, largest: f64) -> MeanBounds {
    let unseen = NEVER_SEEN / bounds.draws as f64 * largest;
    MeanBounds {
        lower: bounds.lower.min(bounds.mean - unseen),
        upper: bounds.upper.max(bounds.mean + unseen),
        ..bounds
    }
}

fn rights(scores: &[Vec<f64>; 2], classes: &[bool]) -> (u64, u64, f64) {
    let is_right = |score: f64, class: bool| (score >= 0.5) == class;
    let (mut only_first, mut only_second) = (0, 0);
    for ((first, second), class) in scores[0].iter().zip(&scores[1]).zip(classes) {
        match (is_right(*first, *class), is_right(*second, *class)) {
            (true, false) => only_first += 1,
            (false, true) => only_second += 1,
            (true, true) | (false, false) => {}
        }
    }
    (only_first, only_second, mcnemar(only_first, only_second))
}

/// Bets on the mean difference of each block, one after the other.
fn evidence(apart: &[(i64, f64)], terms: &Terms) -> (f64, f64) {
    let mut bets = MeanBets::default();
    let mut bet = |block: &[(i64, f64)]| {
        let mean = block.iter().map(|(_, difference)| difference).sum::<f64>() / block.len() as f64;
        bets.push(mean, terms.margin, 0.0);
    };
    if terms.block_ms > 0 {
        let block = |time_ms: i64| time_ms.div_euclid(terms.block_ms);
        apart.chunk_by(|one, other| block(one.0) == block(other.0)).for_each(bet);
    } else {
        apart.chunks(1).for_each(&mut bet);
    }
    (bets.ln_above(), bets.ln_below())
}

#[cfg(test)]
mod tests {
    use acgs_statistics::draws::Draws;

    use super::*;

    fn rows(seed: u64, count: usize, noise: [f64; 2]) -> Rows {
        let mut draws = Draws::new(seed);
        let mut rows = Rows {
            scores: [Vec::new(), Vec::new()],
            labels: Vec::new(),
            classes: None,
            times_ms: (0..count as i64).collect(),
        };
        for _ in 0..count {
            let chance = draws.unit();
            rows.labels.push(f64::from(u8::from(draws.unit() < chance)));
            for (scores, noise) in rows.scores.iter_mut().zip(noise) {
                scores.push((chance + noise * (draws.unit() - 0.5)).clamp(0.0, 1.0));
            }
        }
        rows.classes = Some(rows.labels.iter().map(|label| *label > 0.5).collect());
        rows
    }

    const TERMS: Terms = Terms { loss: PairedLoss::Squared, block_ms: 0, margin: 0.005, confidence: 0.95 };

    #[test]
    fn a_worse_model_is_worse_and_a_better_one_better_by_every_rule() {
        for loss in [PairedLoss::Squared, PairedLoss::Absolute, PairedLoss::Wrong] {
            let terms = Terms { loss, ..TERMS };
            let worse = compare(&rows(1, 8_000, [0.0, 1.6]), &terms);
            assert_eq!(worse.verdict, Verdict::Worse, "{worse:?}");
            let (only_first, only_second, chance) = worse.rights.unwrap();
            assert!(only_first > only_second && chance < 1e-6);
            assert!(worse.auc_difference.unwrap().upper < 0.0 && worse.ln_evidence.unwrap().0 > 3.0);
            let better = compare(&rows(1, 8_000, [1.6, 0.0]), &terms);
            assert_eq!(better.verdict, Verdict::Better, "{better:?}");
            assert!(better.ln_evidence.unwrap().1 > 3.0 && better.bootstrap.unwrap().1 < 0.0);
        }
        let log = compare(&rows(1, 8_000, [0.0, 1.6]), &Terms { loss: PairedLoss::Log, ..TERMS });
        assert_eq!((log.verdict, log.ln_evidence), (Verdict::Worse, None), "a loss without end is no bet");
    }

    #[test]
    fn equals_are_not_told_apart_and_few_rows_tell_nothing() {
        let mut told = [0; 4];
        for seed in 0..200 {
            let found = compare(&rows(seed, 400, [0.3, 0.3]), &Terms { margin: 0.0, ..TERMS });
            told[found.verdict as usize] += 1;
            assert!(found.ln_evidence.unwrap().0 < 5.0);
        }
        assert!(told[Verdict::Better as usize] + told[Verdict::NotWorse as usize] <= 20, "{told:?}");
        assert!(told[Verdict::Worse as usize] <= 20, "{told:?}");
        assert_eq!(compare(&rows(1, 1, [0.0, 1.0]), &TERMS).verdict, Verdict::Undecided);
        let mut sure = rows(1, 2, [0.0, 0.0]);
        (sure.labels, sure.classes) = (vec![1.0; 2], Some(vec![true; 2]));
        sure.scores = [vec![0.1; 2], vec![0.9; 2]];
        let wrong = Terms { loss: PairedLoss::Wrong, ..TERMS };
        assert_eq!(compare(&sure, &wrong).verdict, Verdict::Undecided, "two rows are no proof");
        let same = compare(&rows(1, 5_000, [0.0, 0.0]), &TERMS);
        assert_eq!(same.verdict, Verdict::NotWorse, "{same:?}");
        let one_block = compare(&rows(1, 500, [0.0, 1.6]), &Terms { block_ms: 1_000, ..TERMS });
        assert_eq!((one_block.verdict, one_block.bounds), (Verdict::Undecided, None));
    }

    #[test]
    fn labels_of_every_coding_are_classes_and_others_are_not() {
        let of = |labels: &[Class]| classes_of(&labels.iter().copied().map(Some).collect::<Vec<_>>());
        assert_eq!(of(&[Class::No, Class::One]), Some(vec![false, true]));
        assert_eq!(of(&[Class::One, Class::Two]), Some(vec![false, true]));
        assert_eq!(of(&[Class::No, Class::Two]), None, "nobody knows what a two is beside a no");
        assert_eq!(classes_of(&[Some(Class::One), None]), None);
    }
}
