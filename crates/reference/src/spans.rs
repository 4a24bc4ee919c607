//! What a reference shows of time: how far spans lie from the whole, which season its rows vary with, and how they hang together. It must not
//! know where a reference is kept.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use acgs_columns::{Column, RecordBatch, Role, Schema, Values};
use acgs_statistics::moments::Moments;

use crate::{
    categories::short_hash,
    chosen::is_of_first_half,
    counts::PaneCounts,
    effect::effect_size,
    expected::Expected,
    outcomes::Outcomes,
    pace::Pace,
    pairs::Pairs,
    places::Places,
    reference::{FeatureReference, Reference, Shape},
    season::Season,
    seasonal::Seasonal,
    variation::{Stretch, stretch_rows, variations},
};

/// Spans whose effects are measured; of more, evenly chosen ones.
const SPANS_MAX: usize = 2_000;
/// Spans that it takes to know how much effects vary.
const SPANS_MIN: usize = 4;
/// A span counts when it has at least this share of the median span's rows.
const SPAN_SHARE_MIN: f64 = 0.5;
/// Outcomes of smaller share say little of how rows hang together.
const SHARE_MIN: f64 = 0.02;
/// Outcomes of rows and features that are kept from one look to the next; more are looked up twice.
const CODES_KEPT_MAX: usize = 16 << 20;
/// Pairs of features whose variation is measured.
const PAIRS_WATCHED: usize = 24;
/// The outcome of a row that is left out.
const LEFT_OUT: u8 = u8::MAX;

/// Completes a reference by what its rows show; the order of its rows, when they have times.
pub(crate) fn measure(reference: &mut Reference, schema: &Schema, batches: &[RecordBatch]) -> Option<Order> {
    let time = schema.index_of_role(Role::Timestamp);
    measure_effects(reference, schema, batches, time);
    // Without times the order of rows may be any, and says nothing.
    let order = Order::of(batches, time?);
    reference.timed_count = order.rows.len() as u64;
    if let (Some(first), Some(last)) = (order.times.first(), order.times.last()) {
        (reference.from_ms, reference.until_ms) = (*first, *last);
    }
    reference.pace = Pace::of_sorted(&order.times);
    if order.times.first() == order.times.last() {
        return None;
    }
    let sources: Vec<usize> =
        reference.features.iter().filter_map(|feature| schema.index_of(&feature.field.name)).collect();
    let kept = order.rows.len() * reference.features.len() <= CODES_KEPT_MAX;
    let mut looked: Vec<Codes> = Vec::new();
    let coded = |feature: &FeatureReference, source: usize| {
        let outcomes = Outcomes::new(feature);
        let codes = order.codes(feature, &outcomes, batches, source);
        Codes { outcomes, codes }
    };
    let mut found = Seasonal::new(&order.times);
    for (feature, &source) in reference.features.iter().zip(&sources) {
        let of = coded(feature, source);
        watched(&of.outcomes).iter().for_each(|watched| found.look(&of.codes, &watched.scores));
        if kept {
            looked.push(of);
        }
    }
    let season = found.season(reference.features.len());
    reference.season = season;
    let phases: Vec<u8> = order.times.iter().map(|time| small(season.phase(*time))).collect();
    let mut looked = looked.into_iter();
    for (feature, &source) in reference.features.iter_mut().zip(&sources) {
        let Codes { outcomes, codes } = looked.next().unwrap_or_else(|| coded(feature, source));
        if season != Season::None {
            let mut counts = vec![vec![0; outcomes.len() + 1]; season.phases()];
            for (code, phase) in codes.iter().zip(&phases).filter(|(code, _)| **code != LEFT_OUT) {
                counts[*phase as usize][*code as usize] += 1;
            }
            feature.phases = counts;
        }
        measure_variation(feature, season, &phases, &codes);
    }
    Some(order)
}

/// The outcomes of a feature, and which of them each row has.
struct Codes {
    outcomes: Outcomes,
    codes: Vec<u8>,
}

fn small(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

/// How far spans of the windows' length lie from the whole.
fn measure_effects(reference: &mut Reference, schema: &Schema, batches: &[RecordBatch], time: Option<usize>) {
    let Some(time) = time.filter(|_| reference.window_ms > 0) else { return };
    let places = Places::new(reference, schema);
    // Where the rows of each span are: batch, start and length.
    let mut spans: BTreeMap<i64, Vec<(usize, usize, usize)>> = BTreeMap::new();
    for (number, batch) in batches.iter().enumerate() {
        let span_of =
            |row: usize| batch.columns()[time].integer(row).map(|ms| ms.div_euclid(reference.window_ms));
        let mut start = 0;
        while start < batch.rows() {
            let span = span_of(start);
            let length = (start..batch.rows()).take_while(|&row| span_of(row) == span).count();
            if let Some(span) = span {
                spans.entry(span).or_default().push((number, start, length));
            }
            start += length;
        }
    }
    let rows = |runs: &[(usize, usize, usize)]| runs.iter().map(|(.., length)| *length).sum::<usize>();
    let mut sizes: Vec<usize> = spans.values().map(|runs| rows(runs)).collect();
    sizes.sort_unstable();
    let median = sizes.get(sizes.len() / 2).copied().unwrap_or(0) as f64;
    let full: Vec<_> = spans.values().filter(|runs| rows(runs) as f64 >= SPAN_SHARE_MIN * median).collect();
    let mut effects: Vec<Vec<f64>> = vec![Vec::new(); reference.features.len()];
    for runs in full.iter().step_by(full.len().div_ceil(SPANS_MAX).max(1)) {
        let mut pane = PaneCounts::new(reference);
        for &(batch, start, length) in *runs {
            pane.push_at(reference, &places, &batches[batch].slice(start, length));
        }
        for ((effects, feature), counts) in effects.iter_mut().zip(&reference.features).zip(&pane.features) {
            effects.extend(effect_size(feature, counts));
        }
    }
    for (feature, effects) in reference.features.iter_mut().zip(effects) {
        if effects.len() >= SPANS_MIN {
            let mut moments = Moments::default();
            moments.push_slice(&effects);
            feature.span_effect = moments.mean().zip(moments.sample_standard_deviation());
        }
    }
}

/// Rows in order of event time; those without are left out.
pub(crate) struct Order {
    /// Batch and row.
    rows: Vec<(u32, u32)>,
    /// Their times, in milliseconds since the epoch.
    times: Vec<i64>,
}

impl Order {
    /// Times, in milliseconds since the epoch, batches and rows.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (i64, u32, u32)> {
        self.times.iter().zip(&self.rows).map(|(time_ms, (batch, row))| (*time_ms, *batch, *row))
    }

    fn of(batches: &[RecordBatch], time: usize) -> Self {
        let mut timed: Vec<(i64, u32, u32)> = Vec::new();
        for (number, batch) in batches.iter().enumerate() {
            for row in 0..batch.rows() {
                let time_ms = batch.columns()[time].integer(row);
                timed.extend(time_ms.map(|time_ms| (time_ms, number as u32, row as u32)));
            }
        }
        if !timed.is_sorted() {
            timed.sort_unstable();
        }
        Self {
            times: timed.iter().map(|(time_ms, ..)| *time_ms).collect(),
            rows: timed.into_iter().map(|(_, batch, row)| (batch, row)).collect(),
        }
    }

    /// The outcome of a feature in each row, one beyond the outcomes for null. Rows on which categories were chosen are left out: they would look
    /// like others.
    fn codes(
        &self,
        feature: &FeatureReference,
        outcomes: &Outcomes,
        batches: &[RecordBatch],
        source: usize,
    ) -> Vec<u8> {
        let of_batch: Vec<Vec<u8>> = batches
            .iter()
            .map(|batch| codes_of(feature, outcomes, &batch.columns()[source], batch.rows()))
            .collect();
        let starts: Vec<usize> = batches
            .iter()
            .scan(0, |before, batch| {
                let start = *before;
                *before += batch.rows();
                Some(start)
            })
            .collect();
        let all: usize = batches.iter().map(RecordBatch::rows).sum();
        let halved = (feature.present() + feature.null_count) < all as u64 && !outcomes.is_numeric();
        let is_left_out =
            |batch: u32, row: u32| halved && is_of_first_half(starts[batch as usize] + row as usize, all);
        let code = |&(batch, row): &(u32, u32)| {
            if is_left_out(batch, row) { LEFT_OUT } else { of_batch[batch as usize][row as usize] }
        };
        self.rows.iter().map(code).collect()
    }
}

fn codes_of(feature: &FeatureReference, outcomes: &Outcomes, column: &Column, rows: usize) -> Vec<u8> {
    let null = outcomes.len();
    let code = small;
    match &feature.shape {
        Shape::Numeric { cells, .. } => {
            // Only the ends of parts matter.
            let last = |cell: &usize| outcomes.of_cell(*cell) != outcomes.of_cell(cell + 1);
            let ends: Vec<f64> =
                (0..cells.edges().len()).filter(last).map(|cell| cells.edges()[cell]).collect();
            let part = |value: f64| code(1 + ends.partition_point(|end| *end < value));
            (0..rows)
                .map(|row| match column.number(row).filter(|value| value.is_finite()) {
                    None => code(null),
                    Some(value) if value < cells.minimum() => 0,
                    Some(value) if value > cells.maximum() => code(null - 1),
                    Some(value) => part(value),
                })
                .collect()
        }
        Shape::Categorical { categories, seen, .. } => {
            let known: HashMap<&str, usize> =
                categories.iter().enumerate().map(|(place, category)| (&**category, place)).collect();
            let outcome = |category: &str| match known.get(category) {
                Some(&place) => code(outcomes.of_cell(place)),
                None if seen.binary_search(&short_hash(category)).is_ok() => code(null - 2),
                None => code(null - 1),
            };
            let of_dictionary: Vec<u8> = match &column.values {
                Values::Text { dictionary, .. } => {
                    dictionary.iter().map(|category| outcome(category)).collect()
                }
                Values::Boolean(_) | Values::Integer(_) | Values::Double(_) => Vec::new(),
            };
            (0..rows)
                .map(|row| match &column.values {
                    _ if !column.is_valid(row) => code(null),
                    Values::Text { codes, .. } => of_dictionary[codes[row] as usize],
                    Values::Boolean(bits) => outcome(if bits.get(row) { "true" } else { "false" }),
                    Values::Integer(values) => outcome(&values[row].to_string()),
                    Values::Double(_) => code(null),
                })
                .collect()
        }
    }
}

/// A score of outcomes, and of null, whose sums over rows are watched.
struct Watched {
    scores: Vec<Option<f64>>,
}

/// What is watched of a feature's values: scores of numbers, frequent categories.
fn watched(outcomes: &Outcomes) -> Vec<Watched> {
    let with = |scores: Vec<f64>| Watched { scores: scores.into_iter().map(Some).chain([None]).collect() };
    if outcomes.is_numeric() {
        return outcomes.scores().iter().cloned().map(with).collect();
    }
    let shares = outcomes.expected(&[]).shares;
    let frequent =
        shares.iter().enumerate().filter(|(_, share)| **share >= SHARE_MIN && **share < 1.0 - SHARE_MIN);
    frequent
        .map(|(at, _)| with((0..shares.len()).map(|place| f64::from(u8::from(place == at))).collect()))
        .collect()
}

/// How the sides that pairs are on hang together in time: of some pairs, evenly chosen.
pub(crate) fn measure_pairs(pairs: &mut Pairs, places: &Places, order: &Order, batches: &[RecordBatch]) {
    let names: Vec<(usize, usize)> = pairs.names().collect();
    let step = names.len().div_ceil(PAIRS_WATCHED).max(1);
    let length = stretch_rows(order.rows.len());
    let chosen: Vec<(usize, (usize, usize))> = names.into_iter().enumerate().step_by(step).collect();
    // The side of each row: below, above, neither.
    let side = |feature: usize| -> Option<Vec<u8>> {
        let at = pairs.features.iter().position(|known| *known == feature)?;
        let (column, median) = (places.column(feature)?, pairs.medians[at]);
        let side = |&(batch, row): &(u32, u32)| {
            let value = batches[batch as usize].columns()[column].number(row as usize);
            value.filter(|value| value.is_finite()).map_or(LEFT_OUT, |value| u8::from(value > median))
        };
        Some(order.rows.iter().map(side).collect())
    };
    let mut sides: HashMap<usize, Vec<u8>> = HashMap::new();
    for feature in chosen.iter().flat_map(|(_, (first, second))| [*first, *second]) {
        if let Entry::Vacant(vacant) = sides.entry(feature)
            && let Some(side) = side(feature)
        {
            vacant.insert(side);
        }
    }
    let mut watched = Vec::new();
    for (pair, (first, second)) in chosen {
        let (Some(first), Some(second)) = (sides.get(&first), sides.get(&second)) else { continue };
        let share = pairs.share(pair);
        let stretches = first.chunks_exact(length).zip(second.chunks_exact(length)).map(|(first, second)| {
            let both = |(first, second): (&u8, &u8)| *first != LEFT_OUT && *second != LEFT_OUT;
            let (mut rows, mut same) = (0_u32, 0_u32);
            for (first, second) in first.iter().zip(second) {
                rows += u32::from(both((first, second)));
                same += u32::from(both((first, second)) && first == second);
            }
            let rows = f64::from(rows);
            let (expected, variance) = (rows * share, rows * share * (1.0 - share));
            Stretch { rows, found: f64::from(same), expected, variance, phases: vec![(0, rows)] }
        });
        watched.push(stretches.collect());
    }
    pairs.variation = variations(watched, &[order.rows.len() as f64]);
}

/// Mean and variance of a score where these shares are expected.
fn moments(scores: &[Option<f64>], expected: &Expected) -> (f64, f64) {
    let present = expected.shares.iter().map(|share| share * (1.0 - expected.null_share));
    let of = || scores.iter().zip(present.clone().chain([expected.null_share]));
    let of = || of().filter_map(|(score, share)| Some(((*score)?, share)));
    let all: f64 = of().map(|(_, share)| share).sum();
    let mean = of().map(|(score, share)| score * share).sum::<f64>() / all;
    (mean, of().map(|(score, share)| share * (score - mean).powi(2)).sum::<f64>() / all)
}

/// A stretch without phases: rows are counted by code first.
fn counted_stretch(codes: &[u8], scores: &[Option<f64>], (mean, variance): (f64, f64)) -> Stretch {
    let mut counts = [0_u32; 1 << u8::BITS];
    codes.iter().for_each(|code| counts[*code as usize] += 1);
    let rows = f64::from(codes.len() as u32 - counts[LEFT_OUT as usize]);
    let of_scores =
        scores.iter().zip(&counts).filter_map(|(score, count)| Some(((*score)?, f64::from(*count))));
    let (found, scored) =
        of_scores.fold((0.0, 0.0), |(found, rows), (score, count)| (found + score * count, rows + count));
    Stretch { rows, found, expected: mean * scored, variance: variance * scored, phases: vec![(0, rows)] }
}

fn measure_variation(feature: &mut FeatureReference, season: Season, phases: &[u8], codes: &[u8]) {
    let outcomes = Outcomes::new(feature);
    let length = stretch_rows(codes.len());
    let mut phase_rows = vec![0.0; season.phases()];
    let counted = codes.iter().zip(phases).filter(|(code, _)| **code != LEFT_OUT);
    counted.for_each(|(_, phase)| phase_rows[*phase as usize] += 1.0);
    let by_phase: Vec<_> = (0..season.phases())
        .map(|phase| {
            let rows: Vec<u64> = (0..season.phases()).map(|at| u64::from(at == phase)).collect();
            outcomes.expected(&rows)
        })
        .collect();
    let stretches = |scores: &[Option<f64>]| -> Vec<Stretch> {
        if let [expected] = &by_phase[..] {
            let moments = moments(scores, expected);
            return codes.chunks_exact(length).map(|codes| counted_stretch(codes, scores, moments)).collect();
        }
        let moments: Vec<(f64, f64)> = by_phase.iter().map(|expected| moments(scores, expected)).collect();
        let stretches =
            codes.chunks(length).zip(phases.chunks(length)).filter(|(codes, _)| codes.len() == length);
        let stretches = stretches.map(|(codes, phases)| {
            let mut stretch = Stretch::default();
            for (code, phase) in codes.iter().zip(phases).filter(|(code, _)| **code != LEFT_OUT) {
                let phase = *phase as usize;
                stretch.row(phase);
                let Some(Some(score)) = scores.get(*code as usize) else { continue };
                let (mean, variance) = moments[phase];
                stretch.found += score;
                stretch.expected += mean;
                stretch.variance += variance;
            }
            stretch
        });
        stretches.collect()
    };
    let of_values = watched(&outcomes).iter().map(|watched| stretches(&watched.scores)).collect();
    feature.variation = variations(of_values, &phase_rows);
    if feature.null_count > 0 && feature.present() > 0 {
        let scores: Vec<Option<f64>> =
            (0..=outcomes.len()).map(|code| Some(f64::from(u8::from(code == outcomes.len())))).collect();
        feature.null_variation = variations(vec![stretches(&scores)], &phase_rows);
    }
}

#[cfg(test)]
#[path = "spans_tests.rs"]
mod tests;
