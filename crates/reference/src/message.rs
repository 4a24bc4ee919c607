//! References as messages, and back: what comes out of here can be counted into.

use std::sync::Arc;

use acgs_columns::{Field, schema::FIELDS_MAX};
use acgs_contracts::{common::v1 as common, drift::v1 as proto};
use acgs_statistics::cells::Cells;
use acgs_vocabulary::{Problem, convert::schema};
use prost::Message;

use crate::{
    baseline::{LossBaseline, ModelKind},
    labels::Coding,
    loss::{LossPhases, PhaseLoss},
    outcomes::Outcomes,
    pace::Pace,
    pairs::{FEATURES_MAX, PairCounts, Pairs},
    rates_message,
    reference::{CATEGORIES_MAX, FeatureReference, Reference, SEEN_MAX, Shape, is_categorical},
    said_message,
    season::Season,
    slices_message,
    variation::Variation,
};

/// More rows than any reference has, and few enough to add without care.
const COUNT_MAX: u64 = 1 << 48;
/// Lengths of stretches that a feature may bring.
const VARIATIONS_MAX: usize = 32;

/// The message of a reference.
#[must_use]
pub fn to_proto(reference: &Reference) -> proto::Reference {
    proto::Reference {
        name: reference.name.clone(),
        version: reference.version,
        model_id: reference.model_id.clone(),
        row_count: reference.row_count,
        window_ms: reference.window_ms,
        features: reference.features.iter().map(feature_to_proto).collect(),
        empty_fields: reference.empty_fields.iter().map(schema::field_to_proto).collect(),
        baseline: reference.baseline.map(|baseline| proto::LossBaseline {
            labelled_count: baseline.labelled_count,
            brier: baseline.brier,
            brier_standard_error: baseline.brier_standard_error,
            accuracy: baseline.accuracy,
            calibration_error: baseline.calibration_error,
            auc: baseline.auc,
            positive_rate: baseline.positive_rate,
            model_kind: model_kind_to_proto(baseline.kind).into(),
            loss: baseline.loss,
            loss_standard_error: baseline.loss_standard_error,
            two_is_positive: baseline.coding == Coding::TwoIsYes,
            quantile: baseline.quantile,
        }),
        positive_label: reference.positive_label.as_deref().unwrap_or_default().to_owned(),
        loss_phases: (reference.loss_phases != LossPhases::default())
            .then(|| loss_phases_to_proto(&reference.loss_phases)),
        created_ms: reference.created_ms,
        constitutional_hash: reference.constitutional_hash.clone(),
        season: season_to_proto(reference.season).into(),
        timed_count: reference.timed_count,
        from_ms: reference.from_ms,
        until_ms: reference.until_ms,
        pace: Some(pace_to_proto(reference.pace)),
        said_losses: reference.said_losses.as_ref().map(said_message::to_proto),
        rates: (!reference.rates.fields.is_empty()).then(|| rates_message::to_proto(&reference.rates)),
        slices: slices_message::to_proto(&reference.slices),
        pairs: (!reference.pairs.is_empty()).then(|| pairs_to_proto(&reference.pairs)),
    }
}

/// The message of a kind of model.
#[must_use]
pub fn model_kind_to_proto(kind: ModelKind) -> common::ModelKind {
    match kind {
        ModelKind::Binary => common::ModelKind::Binary,
        ModelKind::Classes => common::ModelKind::Classes,
        ModelKind::Regression => common::ModelKind::Regression,
    }
}

/// References from before kinds of models were told have a Brier score.
fn baseline(message: proto::LossBaseline) -> LossBaseline {
    let kind = match message.model_kind() {
        common::ModelKind::Unspecified => None,
        common::ModelKind::Binary => Some(ModelKind::Binary),
        common::ModelKind::Classes => Some(ModelKind::Classes),
        common::ModelKind::Regression => Some(ModelKind::Regression),
    };
    let (kind, loss, loss_standard_error) = match kind {
        Some(kind) => (kind, message.loss, message.loss_standard_error),
        None => (ModelKind::Binary, message.brier, message.brier_standard_error),
    };
    LossBaseline {
        kind,
        quantile: message.quantile,
        loss,
        loss_standard_error,
        coding: if message.two_is_positive { Coding::TwoIsYes } else { Coding::OneIsYes },
        labelled_count: message.labelled_count,
        brier: message.brier,
        brier_standard_error: message.brier_standard_error,
        accuracy: message.accuracy,
        calibration_error: message.calibration_error,
        auc: message.auc,
        positive_rate: message.positive_rate,
    }
}

fn pace_to_proto(pace: Pace) -> proto::Pace {
    proto::Pace { count: pace.count, span_ms: pace.span_ms, step_ms: pace.step_ms }
}

fn pace(message: Option<proto::Pace>) -> Pace {
    message.map_or_else(Pace::default, |it| Pace {
        count: it.count,
        span_ms: it.span_ms,
        step_ms: it.step_ms,
    })
}

fn loss_phases_to_proto(of: &LossPhases) -> proto::LossPhases {
    let phase = |phase: &PhaseLoss| proto::PhaseLoss {
        count: phase.count,
        mean: phase.mean,
        variance: phase.variance,
    };
    proto::LossPhases {
        season: season_to_proto(of.season).into(),
        phases: of.phases.iter().map(phase).collect(),
        variation: variation_to_proto(&of.variation),
        ranking_variation: variation_to_proto(&of.ranking_variation),
        pace: Some(pace_to_proto(of.pace)),
    }
}

fn loss_phases(message: proto::LossPhases) -> Result<LossPhases, Problem> {
    let bad = |what: &str| Problem::field("reference.loss_phases", "BAD_REFERENCE", what);
    let season = season(message.season());
    let of = |phase: &proto::PhaseLoss| PhaseLoss {
        count: phase.count,
        mean: phase.mean,
        variance: phase.variance,
    };
    let phases: Vec<PhaseLoss> = message.phases.iter().map(of).collect();
    let is_sound = |phase: &PhaseLoss| {
        let losses = [phase.mean, phase.variance];
        phase.count <= COUNT_MAX && losses.iter().all(|loss| loss.is_finite() && *loss >= 0.0)
    };
    if phases.len() != season.kept_phases() || !phases.iter().all(is_sound) {
        return Err(bad("does not have a count, a mean and a variance for each phase of its season"));
    }
    let sound = |of| variation(of).ok_or_else(|| bad("has no sound variation"));
    let (variation, ranking_variation) = (sound(message.variation)?, sound(message.ranking_variation)?);
    let pace = pace(message.pace);
    Ok(LossPhases { season, phases, variation, ranking_variation, pace })
}

fn pairs_to_proto(pairs: &Pairs) -> proto::Pairs {
    proto::Pairs {
        features: pairs.features.iter().map(|place| *place as u32).collect(),
        medians: pairs.medians.clone(),
        same_counts: pairs.counts.same.clone(),
        both_counts: pairs.counts.both.clone(),
        variation: variation_to_proto(&pairs.variation),
    }
}

/// Pairs of so many features.
fn pairs(message: proto::Pairs, features: usize) -> Result<Pairs, Problem> {
    let bad = |what: &str| Problem::field("reference.pairs", "BAD_REFERENCE", what);
    let pairs = Pairs {
        features: message.features.iter().map(|place| *place as usize).collect(),
        medians: message.medians,
        counts: PairCounts { same: message.same_counts, both: message.both_counts },
        variation: variation(message.variation).ok_or_else(|| bad("has no sound variation"))?,
    };
    let ascend = pairs.features.windows(2).all(|pair| pair[0] < pair[1]);
    let known = pairs.features.len() <= FEATURES_MAX && pairs.features.iter().all(|place| *place < features);
    if !ascend || !known || pairs.medians.len() != pairs.features.len() {
        return Err(bad("does not have a median for each of at most 64 ascending features"));
    }
    let PairCounts { same, both } = &pairs.counts;
    let sound = same.iter().zip(both).all(|(same, both)| same <= both && *both <= COUNT_MAX);
    if (same.len(), both.len()) != (pairs.len(), pairs.len()) || !sound {
        return Err(bad("does not have counts for each pair"));
    }
    Ok(pairs)
}

/// What is known by ascending rows; `None` when it cannot be.
fn variation(of: Vec<proto::Variation>) -> Option<Vec<Variation>> {
    let of: Vec<Variation> = of.iter().map(|it| Variation { rows: it.rows, factor: it.factor }).collect();
    let known =
        |it: &Variation| it.rows.is_finite() && it.rows >= 1.0 && it.factor.is_finite() && it.factor >= 1.0;
    let ascend = of.windows(2).all(|it| it[0].rows < it[1].rows);
    (of.len() <= VARIATIONS_MAX && of.iter().all(known) && ascend).then_some(of)
}

fn season_to_proto(season: Season) -> proto::Season {
    match season {
        Season::None => proto::Season::Unspecified,
        Season::HourOfDay => proto::Season::HourOfDay,
        Season::DayOfWeek => proto::Season::DayOfWeek,
        Season::HourOfWeek => proto::Season::HourOfWeek,
        Season::MonthOfYear => proto::Season::MonthOfYear,
    }
}

fn season(season: proto::Season) -> Season {
    match season {
        proto::Season::Unspecified => Season::None,
        proto::Season::HourOfDay => Season::HourOfDay,
        proto::Season::DayOfWeek => Season::DayOfWeek,
        proto::Season::HourOfWeek => Season::HourOfWeek,
        proto::Season::MonthOfYear => Season::MonthOfYear,
    }
}

fn variation_to_proto(variation: &[Variation]) -> Vec<proto::Variation> {
    variation.iter().map(|it| proto::Variation { rows: it.rows, factor: it.factor }).collect()
}

fn feature_to_proto(feature: &FeatureReference) -> proto::FeatureReference {
    let mut message = proto::FeatureReference {
        field: Some(schema::field_to_proto(&feature.field)),
        null_count: feature.null_count,
        effect_mean: feature.span_effect.map(|(mean, _)| mean),
        effect_standard_deviation: feature.span_effect.map(|(_, deviation)| deviation),
        variation: variation_to_proto(&feature.variation),
        null_variation: variation_to_proto(&feature.null_variation),
        phases: feature.phases.iter().map(|counts| proto::PhaseCounts { counts: counts.clone() }).collect(),
        ..proto::FeatureReference::default()
    };
    match &feature.shape {
        Shape::Numeric { cells, counts, mean, standard_deviation } => {
            message.edges = cells.edges().to_vec();
            message.discrete = cells.is_discrete();
            message.counts.clone_from(counts);
            (message.minimum, message.maximum) = (cells.minimum(), cells.maximum());
            (message.mean, message.standard_deviation) = (*mean, *standard_deviation);
        }
        Shape::Categorical { categories, counts, other_count, unseen_count, seen } => {
            message.categories = categories.iter().map(ToString::to_string).collect();
            message.counts.clone_from(counts);
            message.other_count = *other_count;
            message.unseen_count = *unseen_count;
            message.seen_hashes.clone_from(seen);
        }
    }
    message
}

/// A reference from its encoded message.
///
/// # Errors
/// `BAD_REFERENCE`, naming the field.
pub fn decode(content: &[u8]) -> Result<Reference, Problem> {
    let message = proto::Reference::decode(content).map_err(|error| {
        Problem::field("reference", "BAD_REFERENCE", format!("cannot be decoded: {error}"))
    })?;
    if message.features.len() + message.empty_fields.len() > FIELDS_MAX {
        let what = format!("has more than {FIELDS_MAX} features and empty fields");
        return Err(Problem::field("reference.features", "BAD_REFERENCE", what));
    }
    let season = season(message.season());
    let features =
        message.features.into_iter().map(|it| feature(it, season)).collect::<Result<Vec<_>, Problem>>()?;
    let empty_fields = message
        .empty_fields
        .iter()
        .map(|field| {
            Some(Field::new(field.name.clone(), schema::kind(field.kind())?, schema::role(field.role())))
        })
        .collect::<Option<Vec<Field>>>();
    let empty_fields = empty_fields.ok_or_else(|| {
        Problem::field("reference.empty_fields", "BAD_REFERENCE", "has a field of no known kind")
    })?;
    let pairs = pairs(message.pairs.unwrap_or_default(), features.len())?;
    let baseline = message.baseline.map(baseline);
    let kind = baseline.as_ref().map(|baseline| baseline.kind);
    let said_losses =
        message.said_losses.zip(kind).map(|(said, kind)| said_message::decode(said, kind)).transpose()?;
    Ok(Reference {
        name: message.name,
        version: message.version,
        model_id: message.model_id,
        row_count: message.row_count,
        window_ms: message.window_ms,
        features,
        empty_fields,
        baseline,
        positive_label: (!message.positive_label.is_empty()).then(|| message.positive_label.as_str().into()),
        loss_phases: loss_phases(message.loss_phases.unwrap_or_default())?,
        said_losses,
        slices: slices_message::decode(message.slices)?,
        rates: rates_message::decode(message.rates.unwrap_or_default())?,
        created_ms: message.created_ms,
        constitutional_hash: message.constitutional_hash,
        season,
        timed_count: message.timed_count,
        from_ms: message.from_ms,
        until_ms: message.until_ms,
        pace: pace(message.pace),
        pairs,
    })
}

fn feature(message: proto::FeatureReference, season: Season) -> Result<FeatureReference, Problem> {
    let field = message.field.unwrap_or_default();
    let path = format!("reference.features[{}]", field.name);
    let bad = |what: &str| Problem::field(path.clone(), "BAD_REFERENCE", what);
    let kind = schema::kind(field.kind()).ok_or_else(|| bad("has no known kind"))?;
    let counts = message.counts.iter().chain([&message.other_count, &message.null_count]);
    if counts.fold(0_u64, |sum, count| sum.saturating_add(*count)) > COUNT_MAX {
        return Err(bad("counts more rows than any reference has"));
    }
    let field = Field {
        scale: schema::scale(field.scale()),
        ..Field::new(field.name.clone(), kind, schema::role(field.role()))
    };
    let shape = if is_categorical(&field) {
        if message.categories.len() != message.counts.len() || message.categories.len() > CATEGORIES_MAX {
            return Err(bad("does not have one count for each of at most 255 categories"));
        }
        let categories = message.categories.iter().map(|category| Arc::from(category.as_str())).collect();
        // Where none of the others is known, as in references of versions before, all of them are what was not seen.
        let unseen_count =
            if message.seen_hashes.is_empty() { message.other_count } else { message.unseen_count };
        if unseen_count > message.other_count {
            return Err(bad("has seen fewer other categories than it has not seen"));
        }
        if !message.seen_hashes.is_sorted() || message.seen_hashes.len() > SEEN_MAX {
            return Err(bad("does not have at most 16,384 ascending hashes of categories"));
        }
        Shape::Categorical {
            categories,
            counts: message.counts,
            other_count: message.other_count,
            unseen_count,
            seen: message.seen_hashes,
        }
    } else {
        if message.counts.len() != message.edges.len() + 1 {
            return Err(bad("does not have one count more than edges"));
        }
        let cells = Cells::from_edges(message.edges, message.minimum, message.maximum, message.discrete)
            .ok_or_else(|| bad("does not have at most 255 ascending edges within its range"))?;
        let (mean, standard_deviation) = (message.mean, message.standard_deviation);
        if !standard_deviation.is_finite() || standard_deviation < 0.0 {
            return Err(bad("has no finite standard deviation"));
        }
        Shape::Numeric { cells, counts: message.counts, mean, standard_deviation }
    };
    let variation = |of: Vec<proto::Variation>| {
        variation(of).ok_or_else(|| bad("does not have variations of at least 1 by ascending rows"))
    };
    let feature = FeatureReference {
        span_effect: message.effect_mean.zip(message.effect_standard_deviation),
        variation: variation(message.variation)?,
        null_variation: variation(message.null_variation)?,
        phases: message.phases.into_iter().map(|phase| phase.counts).collect(),
        ..FeatureReference::new(field, shape, message.null_count)
    };
    let phases = season.kept_phases();
    let outcomes = Outcomes::new(&FeatureReference { phases: Vec::new(), ..feature.clone() }).len();
    let rows = |counts: &Vec<u64>| counts.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
    let sound = |counts: &Vec<u64>| counts.len() == outcomes + 1 && rows(counts) <= COUNT_MAX;
    if feature.phases.len() != phases || !feature.phases.iter().all(sound) {
        return Err(bad("does not have counts by outcome for each phase of its season"));
    }
    Ok(feature)
}
