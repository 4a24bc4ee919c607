//! What loss a reference leads to expect, season by season, and how losses hang together in time. It must not know how rows are judged by it.

use std::borrow::Cow;

use acgs_columns::{Column, RecordBatch, Role, Schema};
use acgs_statistics::{moments::Moments, paired::placements};

use crate::{
    answers,
    baseline::{LossBaseline, ModelKind},
    labels,
    outputs::Outputs,
    pace::Pace,
    season::Season,
    seasonal::Seasonal,
    variation::{Stretch, Variation, factor_at, stretch_rows, variations},
};

/// Parts of about as many losses each by which it is looked for a season.
const PARTS: usize = 64;
/// Rows of the whole that a phase is given, so that one of few rows is not taken for its few.
const SHRUNK_BY: f64 = 20.0;

/// Losses of one phase.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PhaseLoss {
    /// Rows with a loss.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Their population variance.
    pub variance: f64,
}

/// What time shows of losses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LossPhases {
    /// What they vary with.
    pub season: Season,
    /// Of each phase; empty without a season.
    pub phases: Vec<PhaseLoss>,
    /// How much more they vary together than independent ones, by the length of stretches.
    pub variation: Vec<Variation>,
    /// The same of how well rows are ranked among those of the other class; empty where there are no scores.
    pub ranking_variation: Vec<Variation>,
    /// How often they come.
    pub pace: Pace,
}

/// A loss that is to be expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExpectedLoss {
    /// The mean.
    pub mean: f64,
    /// Its standard error.
    pub standard_error: f64,
}

impl LossPhases {
    /// What is to be expected of rows with these phases; without phases, what the whole reference has.
    #[must_use]
    pub fn expected(&self, baseline: &LossBaseline, phase_rows: &[u64]) -> ExpectedLoss {
        let all: u64 = phase_rows.iter().sum();
        let factor = factor_at(&self.variation, baseline.labelled_count as f64);
        let of_whole = baseline.loss_standard_error * factor.sqrt();
        if self.phases.is_empty() || phase_rows.len() != self.phases.len() || all == 0 {
            return ExpectedLoss { mean: baseline.loss, standard_error: of_whole };
        }
        let whole_variance = baseline.loss_standard_error.powi(2) * baseline.labelled_count as f64;
        let (mut mean, mut variance) = (0.0, 0.0);
        for (phase, rows) in self.phases.iter().zip(phase_rows) {
            let (weight, count) = (*rows as f64 / all as f64, phase.count as f64);
            let shrunk = (count * phase.mean + SHRUNK_BY * baseline.loss) / (count + SHRUNK_BY);
            let of_rows = (count * phase.variance + SHRUNK_BY * whole_variance) / (count + SHRUNK_BY);
            mean += weight * shrunk;
            // Rows of one phase hang together as so many in a row do, at most.
            variance += weight * weight * of_rows / (count + SHRUNK_BY) * factor_at(&self.variation, count);
        }
        // What is wrong of the whole is wrong of every mixture of its phases.
        ExpectedLoss { mean, standard_error: variance.sqrt().max(of_whole) }
    }

    /// Of a reference's rows by their times, batches and numbers, in order of their times.
    pub(crate) fn measure(
        baseline: &LossBaseline,
        schema: &Schema,
        batches: &[RecordBatch],
        rows: &[(i64, u32, u32)],
    ) -> Self {
        let Losses { times, losses, pairs } = Losses::of(baseline, schema, batches, rows);
        if losses.is_empty() {
            return Self::default();
        }
        let season = season(&times, &losses);
        let phase_of: Vec<usize> = times.iter().map(|time_ms| season.phase(*time_ms)).collect();
        let mut of_phases = vec![Vec::new(); season.phases()];
        phase_of.iter().zip(&losses).for_each(|(phase, loss)| of_phases[*phase].push(*loss));
        let phases: Vec<PhaseLoss> = of_phases.iter().map(|losses| PhaseLoss::of(losses)).collect();
        let length = stretch_rows(losses.len());
        let stretches = phase_of.chunks_exact(length).zip(losses.chunks_exact(length));
        let stretches = stretches.map(|(phase_of, losses)| {
            let mut stretch = Stretch { found: losses.iter().sum(), ..Stretch::default() };
            for phase in phase_of {
                stretch.row(*phase);
                stretch.expected += phases[*phase].mean;
                stretch.variance += phases[*phase].variance;
            }
            stretch
        });
        let phase_rows: Vec<f64> = phases.iter().map(|phase| phase.count as f64).collect();
        let variation = variations(vec![stretches.collect()], &phase_rows);
        Self {
            season,
            phases: if season == Season::None { Vec::new() } else { phases },
            variation,
            ranking_variation: ranking_variation(&pairs),
            pace: Pace::of_sorted(&times),
        }
    }
}

impl PhaseLoss {
    fn of(losses: &[f64]) -> Self {
        let mut moments = Moments::default();
        moments.push_slice(losses);
        Self {
            count: moments.count(),
            mean: moments.mean().unwrap_or(0.0),
            variance: moments.population_variance().unwrap_or(0.0),
        }
    }
}

/// How ranks of scores among those of the other class hang together: what each adds to the area under the ROC curve (Hanley and Hajian-Tilaki
/// 1997).
fn ranking_variation(pairs: &[(f64, bool)]) -> Vec<Variation> {
    let (scores, labels): (Vec<f64>, Vec<bool>) = pairs.iter().copied().unzip();
    let all = pairs.len() as f64;
    let yes = labels.iter().filter(|is_yes| **is_yes).count() as f64;
    if yes == 0.0 || yes == all {
        return Vec::new();
    }
    let won = placements(&scores, &labels);
    let area = won.iter().zip(&labels).filter(|(_, is_yes)| **is_yes).map(|(won, _)| won).sum::<f64>() / yes;
    let part = |is_yes: bool| if is_yes { yes / all } else { (all - yes) / all };
    let adds: Vec<f64> = won.iter().zip(&labels).map(|(won, is_yes)| (won - area) / part(*is_yes)).collect();
    let variance = adds.iter().map(|it| it * it).sum::<f64>() / all;
    let length = stretch_rows(adds.len());
    let stretches = adds.chunks_exact(length).map(|adds| {
        let rows = adds.len() as f64;
        Stretch {
            rows,
            found: adds.iter().sum(),
            expected: 0.0,
            variance: variance * rows,
            phases: vec![(0, rows)],
        }
    });
    variations(vec![stretches.collect()], &[all])
}

/// Rows that have a loss, in order: times and losses, and of a binary model scores with whether their labels say yes.
#[derive(Default)]
struct Losses {
    times: Vec<i64>,
    losses: Vec<f64>,
    pairs: Vec<(f64, bool)>,
}

impl Losses {
    fn of(
        baseline: &LossBaseline,
        schema: &Schema,
        batches: &[RecordBatch],
        rows: &[(i64, u32, u32)],
    ) -> Self {
        let (outputs, label) = (Outputs::of(schema), schema.index_of_role(Role::Label));
        let said: Option<Vec<Cow<'_, Column>>> = match baseline.kind {
            ModelKind::Binary => {
                batches.iter().map(|batch| outputs.score(batch.columns()).map(Cow::Borrowed)).collect()
            }
            ModelKind::Classes | ModelKind::Regression => {
                batches.iter().map(|batch| outputs.prediction(batch)).collect()
            }
        };
        let mut found = Self::default();
        let Some((said, label)) = said.zip(label) else { return found };
        let positive = schema.fields()[label].positive.as_deref();
        for &(time_ms, batch, row) in rows {
            let label = &batches[batch as usize].columns()[label];
            let (said, row) = (&*said[batch as usize], row as usize);
            let loss = match baseline.kind {
                ModelKind::Binary => {
                    let pair = labels::pair(said, (label, positive), row, baseline.coding);
                    found.pairs.extend(pair);
                    pair.map(|(score, is_yes)| (score - f64::from(u8::from(is_yes))).powi(2))
                }
                ModelKind::Classes => answers::is_wrong(said, label, row).map(|it| f64::from(u8::from(it))),
                ModelKind::Regression => answers::amount_loss(said, label, row, baseline.quantile),
            };
            if let Some(loss) = loss {
                found.times.push(time_ms);
                found.losses.push(loss);
            }
        }
        found
    }
}

/// What losses vary with, by the mean losses of the parts that they are in: few enormous ones are not all.
fn season(times: &[i64], losses: &[f64]) -> Season {
    let mut sorted = losses.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let mut ends: Vec<f64> = (1..PARTS).map(|part| sorted[part * (sorted.len() - 1) / PARTS]).collect();
    ends.dedup();
    let codes: Vec<u8> = losses.iter().map(|loss| ends.partition_point(|end| end < loss) as u8).collect();
    let mut sums = vec![(0.0, 0.0); ends.len() + 1];
    for (code, loss) in codes.iter().zip(losses) {
        let of = &mut sums[*code as usize];
        *of = (of.0 + loss, of.1 + 1.0);
    }
    let scores: Vec<Option<f64>> = sums.iter().map(|(sum, rows)| (*rows > 0.0).then(|| sum / rows)).collect();
    let mut found = Seasonal::with_years(times);
    found.look(&codes, &scores);
    found.season(1)
}
