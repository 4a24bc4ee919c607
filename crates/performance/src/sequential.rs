//! The monitor of a model's loss: evidence that it is larger than what the reference leads to expect by more than is tolerated, or that classes are
//! told apart less well, looked at whenever labels are settled, with a budget of false alarms. It must not know how panes are made.
//!
//! What is expected is taken at the upper end of its own error, so that a reference of few rows is not taken for the truth.

use std::{borrow::Cow, collections::VecDeque};

use acgs_judge_kit::alarm::Budget;
use acgs_reference::{
    LossBaseline, ModelKind,
    answers::{self, model_kind},
    loss::{ExpectedLoss, LossPhases},
    said::SaidLosses,
    slices::SliceBaseline,
    variation::factor_among,
};
use acgs_statistics::{
    decline::{Decline, Excess, Shortfall},
    score::{Estimate, area_standard_error},
};
use serde::{Deserialize, Serialize};

use crate::{
    beside::Beside,
    config::Config,
    decay::{Metric, MonitorState, RecentLoss},
    estimated::{Record, SettledLook},
    labelled::Labelled,
    pane::PerformancePane,
    report,
    roles::Roles,
};

/// Standard errors of the reference above which its loss is not taken to be: one in twenty is, by little, and the margin is beyond that.
const REFERENCE_Z: f64 = 1.645;
/// Looks that are taken together to say that the loss is not worse.
const RECENT_LOOKS: usize = 4;
/// Looks by which estimates are judged: few say little where losses hang together.
const SETTLED_LOOKS: usize = 16;
/// Losses below which none of so many rows can be told from none at all (the rule of three).
const NONE_OF: f64 = 3.0;

/// Rows by which phases of a time are weighed.
const EVEN_ROWS: i64 = 64;

/// What is known of the model's loss.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// Of the whole reference.
    pub baseline: LossBaseline,
    /// What time shows of it.
    pub phases: LossPhases,
    /// What the rows' schema declares the model to be.
    pub declared: Option<ModelKind>,
    /// The same by the values of fields.
    pub slices: Vec<SliceBaseline>,
}

/// What the monitor carries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Monitor {
    looks: u64,
    decline: Decline,
    /// What was fed since the last look, and of that the panes without corrections.
    fed: Option<PerformancePane>,
    fed_plain: Labelled,
    /// Rows that are too few for a look by themselves.
    waiting: Option<Labelled>,
    ln_evidence: f64,
    alarms: u64,
    alarmed: bool,
    /// What stands, and the look since which it does.
    standing: Option<(Metric, u64)>,
    /// Times that what waited could not be looked at.
    unusable: u64,
    /// Labels of the last looks.
    recent: VecDeque<Labelled>,
    /// The same of more of them, as far as estimates have to come true.
    settled: VecDeque<SettledLook>,
}

/// What rows that wait come to.
enum Seen {
    /// Too few labels yet.
    TooFew,
    /// Of another kind of model, or beyond what can be summed.
    Unusable,
    Look(Look),
}

/// One look's numbers.
struct Look {
    rows: f64,
    denser: f64,
    loss: f64,
    expected: ExpectedLoss,
    excess: Excess,
    shortfall: Shortfall,
    area: Option<Estimate>,
}

impl Expected {
    /// What the baseline is for rows with these phases.
    #[must_use]
    pub fn of_phases(&self, phase_rows: &[u64]) -> LossBaseline {
        let ExpectedLoss { mean, standard_error } = self.phases.expected(&self.baseline, phase_rows);
        LossBaseline { loss: mean, loss_standard_error: standard_error, ..self.baseline }
    }

    /// What the baseline is for rows that come evenly over a time.
    #[must_use]
    pub fn at(&self, (from_ms, until_ms): (i64, i64)) -> LossBaseline {
        let season = self.phases.season;
        let mut phase_rows = vec![0; season.kept_phases()];
        if !phase_rows.is_empty() {
            let step_ms = until_ms.saturating_sub(from_ms) / EVEN_ROWS;
            for row in 0..EVEN_ROWS {
                let time_ms = from_ms.saturating_add(row * step_ms);
                if let Some(rows) = phase_rows.get_mut(season.phase(time_ms)) {
                    *rows += 1;
                }
            }
        }
        self.of_phases(&phase_rows)
    }

    /// What these rows are held against.
    #[must_use]
    pub fn beside(&self, labelled: &Labelled) -> Beside {
        let (design_effect, ranking_effect) = self.factors(labelled.count() as f64, self.denser(labelled));
        Beside { baseline: Some(self.of_phases(&labelled.phase_rows)), design_effect, ranking_effect }
    }

    /// The design effect of the losses of so many rows of a time, from its first millisecond to its end.
    #[must_use]
    pub fn design_effect(&self, rows: u64, (from_ms, until_ms): (i64, i64)) -> f64 {
        let denser = self.phases.pace.times_denser(rows, Some((from_ms, until_ms)));
        self.factors(rows as f64, denser).0
    }

    /// The design effects of so many rows, of their losses and of their ranking, where so many of them come in that time.
    fn factors(&self, rows: f64, denser: f64) -> (f64, f64) {
        let of = |variation| factor_among(variation, rows, denser);
        (of(&self.phases.variation), of(&self.phases.ranking_variation))
    }

    fn denser(&self, labelled: &Labelled) -> f64 {
        self.phases.pace.times_denser(labelled.count(), labelled.times_ms)
    }
}

impl Monitor {
    /// Keeps rows whose labels are settled for the next look.
    pub fn wait(&mut self, pane: &PerformancePane) {
        self.fed.get_or_insert_default().merge(&pane.labels());
        if pane.retracted.is_none() {
            self.fed_plain.merge(&pane.labelled);
        }
    }

    /// Takes what was fed since the last look together: labels are taken back of what came with them. Those of rows that were looked at already stay
    /// as they were taken, and so does what else came in their panes.
    fn gather(&mut self) {
        let Some(fed) = self.fed.take() else { return };
        let plain = std::mem::take(&mut self.fed_plain);
        let labelled = fed.standing().map_or(plain, Cow::into_owned);
        self.waiting.get_or_insert_default().merge(&labelled);
    }

    /// Looks, when enough rows of either kind have come.
    pub fn look_when_enough(
        &mut self,
        config: &Config,
        expected: &Expected,
        said: Option<&SaidLosses>,
        budget: Budget,
    ) {
        self.gather();
        let look = match self.waiting.as_ref().map(|pane| Look::of(config, expected, pane)) {
            None | Some(Seen::TooFew) => return,
            Some(Seen::Unusable) => {
                // No more rows would make it better.
                self.waiting = None;
                self.unusable += 1;
                return;
            }
            Some(Seen::Look(look)) => look,
        };
        if let Some(pane) = self.waiting.take() {
            let of = |said: &SaidLosses| match expected.baseline.kind {
                ModelKind::Binary => {
                    let scores = pane.scores.mapped(Some(expected.baseline.coding)).scores;
                    said.of_area_cells(scores.by_area_cell())
                }
                ModelKind::Classes | ModelKind::Regression => pane.said.clone(),
            };
            let settled = |said| SettledLook { said: of(said), loss: look.loss, times_ms: pane.times_ms };
            self.settled.extend(said.map(settled));
            self.recent.push_back(pane);
        }
        while self.recent.len() > RECENT_LOOKS {
            self.recent.pop_front();
        }
        while self.settled.len() > SETTLED_LOOKS {
            self.settled.pop_front();
        }
        self.looks += 1;
        if let Some((metric, _)) = self.standing {
            if look.is_over(config, expected, metric) {
                self.standing = None;
            } else {
                // Of what stands nothing new is to be found.
                self.alarmed = false;
                return;
            }
        }
        self.decline.push(self.looks, look.rows, look.excess, look.shortfall);
        let evidence = self.decline.ln_evidence(|rows| expected.factors(rows, look.denser));
        self.ln_evidence = evidence.both();
        self.alarmed = self.ln_evidence >= budget.ln_bound_of_sums();
        if self.alarmed {
            self.alarms += 1;
            let metric = if evidence.loss >= evidence.ranking { Metric::Loss } else { Metric::Ranking };
            self.standing = Some((metric, self.looks));
            self.decline.clear();
        }
    }

    /// What it says; `tells` as in [`MonitorState::tells`].
    #[must_use]
    pub fn state(&self, config: &Config, expected: &Expected, budget: Budget, tells: bool) -> MonitorState {
        MonitorState {
            ln_evidence: self.ln_evidence.max(0.0),
            budget,
            looks: self.looks,
            alarms: self.alarms,
            alarm: self.alarmed,
            standing: self.standing.map(|(metric, _)| metric),
            standing_looks: self.standing.map_or(0, |(_, since)| self.looks - since),
            tells,
            kind: expected.baseline.kind,
            unusable: self.unusable,
            recent: self.recent_loss(config, expected),
        }
    }

    /// The loss of the last looks together.
    fn recent_loss(&self, config: &Config, expected: &Expected) -> Option<RecentLoss> {
        let mut all = Labelled::default();
        self.recent.iter().for_each(|labelled| all.merge(labelled));
        let (beside, from_ms) = (expected.beside(&all), all.times_ms.map(|(first, _)| first));
        let roles = Roles::default().or_declared(None, expected.baseline.quantile);
        let report = report::report(config, &roles, &PerformancePane::of_labels(all), beside, 0);
        Some(RecentLoss {
            looks: self.recent.len() as u64,
            from_ms,
            loss: report.loss?,
            auc: report.auc,
            useless: report.useless_loss,
            baseline: report.baseline?.loss,
            margin: report.loss_margin,
        })
    }

    /// How estimates of the last looks came true.
    #[must_use]
    pub fn record(&self, config: &Config, expected: &Expected, said: &SaidLosses) -> Option<Record> {
        let margin = config.loss_margin * expected.baseline.loss;
        Record::of(said, self.settled.iter(), margin, |rows, times_ms| expected.design_effect(rows, times_ms))
    }

    /// Whether what came back from outside can be used.
    #[must_use]
    pub fn fits(&self, cells: usize, is_sound: impl Fn(&Labelled) -> bool) -> bool {
        self.decline.fits(self.looks)
            && self.waiting.iter().chain(&self.recent).chain([&self.fed_plain]).all(&is_sound)
            && self
                .fed
                .iter()
                .all(|fed| is_sound(&fed.labelled) && fed.retracted.iter().all(|it| is_sound(it)))
            && self.recent.len() <= RECENT_LOOKS
            && self.settled.len() <= SETTLED_LOOKS
            && self.settled.iter().all(|look| look.said.fits(cells) && look.loss.is_finite())
            && self.standing.is_none_or(|(_, since)| since <= self.looks)
    }
}

impl Look {
    fn of(config: &Config, expected: &Expected, pane: &Labelled) -> Seen {
        let baseline = &expected.baseline;
        let scores = pane.scores.mapped(Some(baseline.coding)).scores;
        let Some(kind) = model_kind(scores.count(), &pane.answers, (expected.declared, Some(baseline.kind)))
        else {
            return Seen::TooFew;
        };
        if kind != baseline.kind {
            return Seen::Unusable;
        }
        let Some((count, mean, variance)) = answers::losses(kind, &scores, &pane.answers) else {
            return Seen::TooFew;
        };
        let (positives, negatives) = scores.class_counts();
        let too_few = count < config.labelled_min as f64
            || (kind == ModelKind::Binary && positives.min(negatives) < config.positives_min);
        if too_few {
            return Seen::TooFew;
        }
        let of_phases = expected.phases.expected(baseline, &pane.phase_rows);
        let of_whole = expected.phases.expected(baseline, &[]).standard_error;
        let mut bound = (of_phases.mean + REFERENCE_Z * of_whole) * (1.0 + config.loss_margin);
        if kind != ModelKind::Regression {
            bound = bound.max(NONE_OF / baseline.labelled_count.max(1) as f64);
        }
        // What is wrong of one phase is wrong in its looks only: it makes them worth less.
        let of_phase = (of_phases.standard_error.powi(2) - of_whole * of_whole).max(0.0);
        let denser = expected.denser(pane);
        let (of_losses, of_ranks) = expected.factors(count, denser);
        // A look whose losses are all alike is no worse a look for that.
        let known = baseline.loss_standard_error.powi(2) * baseline.labelled_count as f64;
        let factor = of_losses * (1.0 + of_phase * count / variance.max(known).max(f64::MIN_POSITIVE));
        let excess = if bound > 0.0 { Excess::new(count, mean, variance, bound) } else { Excess::default() };
        let area = scores.area().filter(|_| kind == ModelKind::Binary);
        let shortfall =
            area.zip(area_bound(config, expected)).map_or_else(Shortfall::default, |(area, bound)| {
                let error = area_standard_error(bound, positives as f64, negatives as f64);
                Shortfall::new(area.value, bound, error)
            });
        let look = Self {
            rows: count,
            denser,
            loss: mean,
            expected: of_phases,
            excess: excess.times(1.0 / factor),
            shortfall: shortfall.times(1.0 / of_ranks),
            area,
        };
        let sums = [look.excess.sum, look.excess.squares, look.shortfall.sum, look.shortfall.weight];
        if sums.iter().all(|sum| sum.is_finite()) { Seen::Look(look) } else { Seen::Unusable }
    }

    /// Whether what has decayed is within what is tolerated again.
    fn is_over(&self, config: &Config, expected: &Expected, metric: Metric) -> bool {
        let loss = self.loss <= self.expected.mean * (1.0 + config.loss_margin);
        let ranking = self
            .area
            .zip(expected.baseline.auc)
            .is_none_or(|(area, then)| area.value >= then - config.ranking_margin);
        match metric {
            Metric::Loss => loss,
            Metric::Ranking => ranking,
        }
    }
}

/// The least area under the ROC curve that is tolerated.
fn area_bound(config: &Config, expected: &Expected) -> Option<f64> {
    let baseline = &expected.baseline;
    let (then, rate) = baseline.auc.zip(baseline.positive_rate)?;
    let labels = baseline.labelled_count as f64;
    let error = area_standard_error(then, labels * rate, labels * (1.0 - rate))
        * expected.factors(labels, 1.0).1.sqrt();
    let bound = then - config.ranking_margin - REFERENCE_Z * error;
    (bound > 0.0).then_some(bound)
}
