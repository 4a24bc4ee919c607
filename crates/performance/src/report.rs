//! From a pane to estimates and a state. It must not know protobuf.

use crate::{
    beside::{Beside, State},
    config::Config,
    decay::MonitorState,
    estimated::Estimated,
    labelled::Labelled,
    pane::PerformancePane,
    roles::Roles,
    sliced::Slice,
};
use std::sync::Arc;

use acgs_reference::{
    LossBaseline, ModelKind,
    answers::{self, Answers, model_kind},
    labels::Coding,
};
use acgs_statistics::{
    Z_95,
    classes::{ClassCount, ClassFigures},
    classification::{BrierParts, CalibrationBin, Confusion},
    harm::lower_end_beside,
    score::{Estimate, ScoreSums, area_standard_error},
};

/// Thresholds that answers are told of.
const THRESHOLDS: usize = 20;
/// Classes that are told one by one.
const CLASSES: usize = 32;

/// Everything that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Rows.
    pub row_count: u64,
    /// Rows per second.
    pub throughput_rps: f64,
    /// Share of failed rows.
    pub error_rate: Option<f64>,
    /// Mean, median, 95th and 99th percentile, in milliseconds.
    pub latency_ms: Option<[f64; 4]>,
    /// Latencies that no call can have had.
    pub latency_invalid_count: u64,
    /// Latencies that can be.
    pub latency_count: u64,
    /// Rows with a label that was compared.
    pub labelled_count: u64,
    /// Labels that say yes, of those beside a score.
    pub positive_count: u64,
    /// How labels of yes and no were read; `None` without any.
    pub coding: Option<Coding>,
    /// The label that says yes, where it was declared.
    pub positive: Option<Arc<str>>,
    /// What the model says, as far as these rows tell.
    pub kind: Option<ModelKind>,
    /// Its loss.
    pub loss: Option<Estimate>,
    /// The loss of a model that knows nothing, on these rows.
    pub useless_loss: Option<f64>,
    /// Mean absolute error, root of the mean squared one, and bias, of numbers.
    pub errors: Option<[Estimate; 3]>,
    /// Mean absolute error beside the size of the label.
    pub relative_error: Option<Estimate>,
    /// Share of the variance that numbers explain.
    pub explained: Option<f64>,
    /// Of numbers that were said as a quantile.
    pub quantile: Option<QuantileFigures>,
    /// Rows with a label that cannot be compared with the score or prediction.
    pub incomparable_count: u64,
    /// Mean squared difference.
    pub brier: Option<Estimate>,
    /// Mean logarithmic loss.
    pub log_loss: Option<Estimate>,
    /// Share of right answers.
    pub accuracy: Option<Estimate>,
    /// Area under the ROC curve.
    pub auc: Option<Estimate>,
    /// Expected calibration error.
    pub calibration_error: Option<f64>,
    /// Mean score and share of positives.
    pub means: Option<(f64, f64)>,
    /// The reference's loss, where it is of such a model.
    pub baseline: Option<LossBaseline>,
    /// What is tolerated beyond it, in the loss's unit.
    pub loss_margin: f64,
    /// The verdict.
    pub state: State,
    /// Why it is unknown; empty when it is not.
    pub reason: String,
    /// What the stream's labels have come to; `None` outside of streams, and where nothing is monitored.
    pub monitor: Option<MonitorState>,
    /// How much more losses vary than those of independent rows.
    pub design_effect: f64,
    /// Further figures of binary models.
    pub binary: Option<BinaryFigures>,
    /// Figures of answers by class.
    pub classes: Option<ClassReport>,
    /// Losses by the values of fields.
    pub slices: Vec<Slice>,
    /// What the loss is likely to be, by what the model said.
    pub estimated: Option<Estimated>,
}

/// Figures of a binary model beside its loss.
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryFigures {
    /// Answers from a score of 0.5 on.
    pub confusion: Confusion,
    /// See [`Confusion`].
    pub precision: Option<Estimate>,
    /// See [`Confusion`].
    pub recall: Option<Estimate>,
    /// See [`Confusion`].
    pub specificity: Option<Estimate>,
    /// Mean precision over recall.
    pub average_precision: Option<f64>,
    /// Positives among the highest tenth of scores beside those among all.
    pub lift_of_top_tenth: Option<f64>,
    /// The Brier score in parts.
    pub brier_parts: BrierParts,
    /// The reliability curve.
    pub calibration: Vec<CalibrationBin>,
    /// Answers had the threshold been another.
    pub thresholds: Vec<(f64, Confusion)>,
}

impl BinaryFigures {
    /// With intervals that a design effect widens.
    fn of(scores: &ScoreSums, design_effect: f64) -> Option<Self> {
        let confusion = scores.confusion();
        let share = |it: Estimate| it.widened(design_effect, (0.0, 1.0));
        Some(Self {
            confusion,
            precision: confusion.precision().map(share),
            recall: confusion.recall().map(share),
            specificity: confusion.specificity().map(share),
            average_precision: scores.average_precision(),
            lift_of_top_tenth: scores.lift_of_top_tenth(),
            brier_parts: scores.brier_parts()?,
            calibration: scores.calibration_bins(),
            thresholds: scores.thresholds(THRESHOLDS),
        })
    }
}

/// Figures of numbers that were said as a quantile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantileFigures {
    /// The share of labels that they mean to be above.
    pub quantile: f64,
    /// Their loss.
    pub loss: Estimate,
    /// The share of labels that are at most what was said.
    pub covered: Estimate,
}

/// Answers by class.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassReport {
    /// Over all of them, widened by the design effect.
    pub figures: ClassFigures,
    /// The most frequent.
    pub classes: Vec<(String, ClassCount)>,
    /// Rows of classes that are not counted apart.
    pub beyond_count: u64,
    /// Logarithmic loss and Brier score of the probabilities of all classes, where those were said.
    pub losses: Option<[Estimate; 2]>,
    /// Rows with and without such probabilities.
    pub scored: (u64, u64),
}

impl ClassReport {
    fn of(labelled: &Labelled, design_effect: f64) -> Option<Self> {
        let (classes, losses) = (labelled.answers.classes(), &labelled.class_losses);
        let amount = |it: Estimate| it.widened(design_effect, (0.0, f64::INFINITY));
        let mut figures = classes.figures()?;
        for mean in [&mut figures.macro_precision, &mut figures.macro_recall] {
            *mean = mean.widened(design_effect, (0.0, 1.0));
        }
        let named = classes.most_frequent(CLASSES).into_iter();
        let classes_named = named.map(|(name, count)| (name.into_owned(), count)).collect();
        let both = losses.log_loss().zip(losses.brier());
        Some(Self {
            figures,
            classes: classes_named,
            beyond_count: classes.beyond(),
            losses: both
                .map(|(log_loss, brier)| [amount(log_loss), brier.widened(design_effect, (0.0, 2.0))]),
            scored: losses.counts(),
        })
    }
}

/// Measures a pane over `span_ms` of event time (0 = none).
#[must_use]
pub fn report(
    config: &Config,
    roles: &Roles,
    pane: &PerformancePane,
    beside: impl Into<Beside>,
    span_ms: i64,
) -> Report {
    let Beside { baseline, design_effect, ranking_effect } = beside.into();
    let share = |it: Estimate| it.widened(design_effect, (0.0, 1.0));
    let amount = |it: Estimate| it.widened(design_effect, (0.0, f64::INFINITY));
    let any = |it: Estimate| it.widened(design_effect, (f64::NEG_INFINITY, f64::INFINITY));
    let (has_latency, has_errors) = roles.service();
    let percentile = |quantile| {
        pane.latency_sketch.quantile_within(quantile, pane.latency.minimum()?, pane.latency.maximum()?)
    };
    let latency_ms = has_latency
        .then(|| Some([pane.latency.mean()?, percentile(0.5)?, percentile(0.95)?, percentile(0.99)?]))
        .flatten();
    let known = baseline.map(|baseline| baseline.kind);
    let standing = pane.standing();
    let nothing = Labelled::default();
    let labelled = standing.as_deref().unwrap_or(&nothing);
    let mapped = labelled.scores.mapped(baseline.map(|baseline| baseline.coding));
    let (scores, answers) = (&mapped.scores, &labelled.answers);
    let kind = model_kind(scores.count(), answers, (roles.declared(), known));
    let numbers = kind == Some(ModelKind::Regression);
    let loss = kind.and_then(|kind| answers::loss(kind, scores, answers));
    let loss = if numbers { loss.map(amount) } else { loss.map(share) };
    let errors = answers.errors();
    let right = Estimate::of_share(answers.right()).filter(|_| !numbers).map(share);
    let same_kind = baseline.filter(|baseline| kind == Some(baseline.kind) && roles.same_quantile(baseline));
    // What a score is of other models nobody knows: it is no probability of a yes.
    let is_binary = matches!(kind, Some(ModelKind::Binary) | None);
    let auc = scores.area().map(|it| it.widened(ranking_effect, (0.0, 1.0))).filter(|_| is_binary);
    let (state, reason) = if standing.is_some() {
        state(config, roles, Measured { kind, loss, scores, answers, auc }, baseline)
    } else {
        (State::Unknown, "labels are taken back that are not in these rows".to_owned())
    };
    Report {
        row_count: pane.row_count,
        throughput_rps: if span_ms > 0 { pane.row_count as f64 * 1_000.0 / span_ms as f64 } else { 0.0 },
        error_rate: (has_errors && pane.errors.0 > 0).then(|| pane.errors.1 as f64 / pane.errors.0 as f64),
        latency_ms,
        latency_invalid_count: pane.latency_invalid_count,
        latency_count: pane.latency.count(),
        incomparable_count: match kind {
            // That a label is none of a yes says nothing against a model of classes.
            Some(ModelKind::Classes | ModelKind::Regression) => labelled.incomparable_answers,
            Some(ModelKind::Binary) | None => labelled.incomparable_count + mapped.incomparable_count,
        },
        labelled_count: scores.count().max(answers.count()),
        positive_count: scores.class_counts().0,
        coding: (scores.count() > 0).then_some(mapped.coding),
        positive: roles.positive().cloned(),
        kind,
        loss,
        useless_loss: useless(kind, scores, answers),
        errors: errors
            .mean_absolute()
            .zip(errors.root_mean_square())
            .zip(errors.bias())
            .map(|((absolute, square), bias)| [amount(absolute), amount(square), any(bias)])
            .filter(|_| numbers),
        relative_error: errors.mean_absolute_percentage().map(amount).filter(|_| numbers),
        explained: errors.explained().filter(|_| numbers),
        quantile: roles.quantile().filter(|_| numbers).and_then(|quantile| {
            let (loss, covered) = errors.mean_quantile_loss().zip(errors.covered())?;
            Some(QuantileFigures { quantile, loss: amount(loss), covered: share(covered) })
        }),
        brier: scores.brier().map(share).filter(|_| is_binary),
        log_loss: scores.log_loss().map(amount).filter(|_| is_binary),
        accuracy: right.or_else(|| scores.accuracy().map(share).filter(|_| is_binary)),
        auc,
        calibration_error: scores.calibration_error().filter(|_| is_binary),
        means: scores.means().filter(|_| is_binary),
        baseline: same_kind,
        loss_margin: config.loss_margin * same_kind.map_or(0.0, |baseline| baseline.loss),
        state,
        reason,
        monitor: None,
        design_effect,
        binary: BinaryFigures::of(scores, design_effect).filter(|_| is_binary),
        classes: ClassReport::of(labelled, design_effect).filter(|_| !numbers),
        slices: Vec::new(),
        estimated: None,
    }
}

/// What a state is told from.
struct Measured<'a> {
    kind: Option<ModelKind>,
    loss: Option<Estimate>,
    scores: &'a ScoreSums,
    answers: &'a Answers,
    auc: Option<Estimate>,
}

/// The state, and why it is unknown.
fn state(
    config: &Config,
    roles: &Roles,
    measured: Measured<'_>,
    baseline: Option<LossBaseline>,
) -> (State, String) {
    let unknown = |reason: String| (State::Unknown, reason);
    let (Some(kind), Some(loss)) = (measured.kind, measured.loss) else {
        return unknown("no labels that can be compared".to_owned());
    };
    let Some(baseline) = baseline else { return unknown("no reference with labels".to_owned()) };
    if baseline.kind != kind {
        return unknown("the reference is of another kind of model".to_owned());
    }
    if !roles.same_quantile(&baseline) {
        return unknown("the predictions of the reference are another quantile".to_owned());
    }
    let count = if kind == ModelKind::Binary { measured.scores.count() } else { measured.answers.count() };
    if count < config.labelled_min {
        return unknown(format!("{count} labels, at least {}", config.labelled_min));
    }
    if !(loss.standard_error.is_finite() && loss.lower.is_finite()) {
        return unknown(
            "the loss has no interval: labels far beyond all others are, or were, among these".to_owned(),
        );
    }
    if kind == ModelKind::Binary {
        let too_few = too_few(config, measured.scores.class_counts(), "").or_else(|| {
            let labels = baseline.labelled_count as f64;
            let positives = (labels * baseline.positive_rate?).round();
            too_few(config, (positives as u64, (labels - positives) as u64), " in the reference")
        });
        if let Some(reason) = too_few {
            return unknown(reason);
        }
    }
    let worse = lower_beside(loss, baseline.loss_standard_error) > baseline.loss * (1.0 + config.loss_margin);
    let blind = measured.auc.is_some_and(|auc| ranks_less(config, auc, &baseline));
    (if worse || blind { State::Decayed } else { State::Ok }, String::new())
}

/// What is lacking where there are too few labels of either kind.
fn too_few(config: &Config, (positives, negatives): (u64, u64), place: &str) -> Option<String> {
    let what = if positives < negatives { "positive" } else { "negative" };
    let count = positives.min(negatives);
    (count < config.positives_min)
        .then(|| format!("{count} {what} labels{place}, at least {}", config.positives_min))
}

/// The lower end of a loss's interval beside a baseline that is not known exactly.
pub(crate) fn lower_beside(loss: Estimate, baseline_standard_error: f64) -> f64 {
    lower_end_beside(loss.value, loss.lower, baseline_standard_error)
}

/// Whether the area under the ROC curve is surely smaller than the reference's by more than is tolerated.
fn ranks_less(config: &Config, auc: Estimate, baseline: &LossBaseline) -> bool {
    let Some((then, rate)) = baseline.auc.zip(baseline.positive_rate) else { return false };
    let labels = baseline.labelled_count as f64;
    let error = area_standard_error(then, labels * rate, labels * (1.0 - rate)).hypot(auc.standard_error);
    auc.value + Z_95 * error < then - config.ranking_margin
}

/// The loss of a model that knows nothing: of one that says the base rate of all; of numbers, half of their deviation, which is less than a
/// constant is off for any law that is not all in its tails.
fn useless(kind: Option<ModelKind>, scores: &ScoreSums, answers: &Answers) -> Option<f64> {
    match kind? {
        ModelKind::Binary => scores.means().map(|(_, rate)| rate * (1.0 - rate)),
        // What a constant is off as a quantile depends on the law.
        ModelKind::Regression if answers.errors().quantile().count() > 0 => None,
        ModelKind::Regression => answers.errors().deviation().map(|deviation| deviation / 2.0),
        ModelKind::Classes => None,
    }
}
