//! From a pane to a report. It must not know protobuf, nor what is a finding.

use acgs_columns::{Field, Role, Schema};
use acgs_reference::soundness::{is_numeric, range};
use acgs_statistics::surely::Rate;

use crate::{
    config::Config,
    expected::{Come, Expected, ExpectedColumn, Worth},
    pane::{ColumnPane, QualityPane},
    rates::{ColumnRates, Then},
    report::{ColumnReport, Freshness, Report},
    score::{ColumnScore, left},
};

/// Fences need at least this many values.
const FENCE_VALUES_MIN: u64 = 20;
/// The tenth of values at either end by which fences without a reference reach as far as tails do.
const TAIL: f64 = 0.1;
/// How many times as far from the median as those they are.
const TAIL_REACH: f64 = 5.0;
/// How far clocks may be ahead, in milliseconds.
const AHEAD_MS: i64 = 300_000;

/// Measures a pane, beside what a reference leads to expect.
#[must_use]
pub fn report(
    config: &Config,
    schema: &Schema,
    pane: &QualityPane,
    expected: Option<&Expected>,
    freshness: Freshness,
) -> Report {
    let denser = expected.map_or(1.0, |expected| expected.denser(pane.row_count, pane.times()));
    let alpha = config.alpha(schema.fields().len());
    let in_order = expected.is_some_and(|it| it.in_order);
    let come = Come { denser, keyed: freshness.keyed, in_order };
    let mut columns = Vec::new();
    let (mut cells, mut missing, mut invalid, mut present, mut numbers, mut outliers) = (0, 0, 0, 0, 0, 0);
    for (place, (field, column)) in schema.fields().iter().zip(&pane.columns).enumerate() {
        if field.role == Role::Timestamp {
            continue;
        }
        let of_reference = expected.and_then(|expected| expected.columns.get(place)?.as_ref());
        let found = column_report(config, field, column, (of_reference, alpha), &come);
        // A label that has not come yet is late, not missing.
        if field.role != Role::Label {
            cells += pane.row_count;
            missing += column.soundness.cells.missing;
        }
        invalid += found.found.invalid.events as u64;
        present += found.found.invalid.rows as u64;
        numbers += found.number_count;
        outliers += found.outlier_count;
        columns.push(found);
    }
    let missing_value_rate = share(missing, cells);
    let outlier_rate = share(outliers, numbers);
    let by_id = schema.index_of_role(Role::Id).is_some();
    let duplicates = Rate::of(pane.repeats.repeated(), pane.repeats.total());
    let are_told = pane.tells_rows_apart(schema) && pane.repeats.total() > 0;
    let times = Times::of(pane, freshness);
    let mut report = Report {
        row_count: pane.row_count,
        overall_score: 0.0,
        column_score_mean: 1.0,
        column_score_worst: None,
        completeness_score: 1.0 - missing_value_rate,
        validity_score: 1.0 - share(invalid, present),
        uniqueness_score: are_told.then(|| 1.0 - duplicates.share()),
        consistency_score: 1.0,
        freshness_score: times.as_ref().map(|times| times.score),
        outlier_score: 1.0 - outlier_rate,
        missing_value_rate,
        outlier_rate,
        duplicates: if are_told { duplicates } else { Rate::default() },
        by_id,
        freshness_ms: pane.newest_ms.map(|newest_ms| freshness.until_ms.saturating_sub(newest_ms).max(0)),
        age_median_ms: times.as_ref().and_then(|times| times.median_ms),
        future_rate: times.as_ref().map_or(0.0, |times| times.future_rate),
        untimed_rate: untimed(schema, pane),
        columns,
        worth: expected.map_or(1.0, |expected| expected.worth(pane.row_count, denser)),
        expected_row_count: expected
            .filter(|_| !freshness.counts)
            .and_then(|it| it.rows(freshness.horizon_ms)),
        expected_duplicates: expected.and_then(|expected| expected.repeated),
    };
    sum_up(config, &mut report, alpha, freshness.counts);
    report
}

fn column_report(
    config: &Config,
    field: &Field,
    column: &ColumnPane,
    (expected, alpha): (Option<&ExpectedColumn>, f64),
    come: &Come,
) -> ColumnReport {
    let (cells, runs) = (column.soundness.cells, column.soundness.runs);
    let own_fences = || if is_numeric(field) { fences(config, column) } else { None };
    let fences =
        expected.and_then(|it| it.outliers).map(|(lower, upper, _)| (lower, upper)).or_else(own_fences);
    // A finite number may still be none that can be meant: it is told, and has no part in quantiles but its rank.
    let far_count = if is_numeric(field) { far_count(field, column) } else { 0 };
    // One that cannot be meant is invalid, and no outlier beside.
    let outlier_count = fences.map_or(0, |fences| outliers(field, column, fences)).saturating_sub(far_count);
    let number_count = column.moments.count();
    let present = cells.rows.saturating_sub(cells.absent());
    let expected_rates = expected.map(|it| it.rates(come, field.required));
    let stuck = match expected_rates.map(|it| it.stuck) {
        // That it never changes is told as that.
        _ if runs.is_constant() => 0,
        Some(Then::Known(_)) => runs.long().0,
        _ => runs.stuck(),
    };
    let found = ColumnRates {
        absent: Rate::of(cells.absent(), cells.rows),
        invalid: Rate::of((cells.invalid() + far_count).min(present), present),
        outliers: Rate::of(outlier_count, number_count),
        stuck: Rate::of(stuck, runs.values()),
        repeats: Rate::of(runs.repeats(), runs.values()),
    };
    let mut worth = expected.map_or_else(Worth::default, |it| it.worth(cells.rows, come.denser));
    if expected.is_some_and(|it| it.is_sure_run(runs.longest(), runs.values(), alpha)) {
        worth.runs = 1.0;
    }
    let is_constant = runs.is_constant();
    ColumnReport {
        name: field.name.clone(),
        missing_count: cells.missing,
        blank_count: cells.blank,
        invalid_count: cells.invalid() + far_count + if field.required { cells.missing } else { 0 },
        not_finite_count: cells.not_finite,
        outlier_count,
        number_count,
        stuck_count: found.stuck.events as u64,
        is_constant,
        minimum: column.moments.minimum(),
        maximum: column.moments.maximum(),
        // A value that cannot be meant makes of them what nobody means either; the extremes show it.
        mean: column.moments.mean().filter(|_| far_count == 0),
        standard_deviation: column.moments.sample_standard_deviation().filter(|_| far_count == 0),
        median: median(column),
        fences,
        score: ColumnScore::of(config, field, &found, (expected_rates.as_ref(), &worth, alpha), is_constant),
        found,
        expected: expected_rates,
        worth,
        is_label: field.role == Role::Label,
        required: field.required,
        profile: column.profile.told(&column.moments, &column.sketch),
        examples: column.examples.clone(),
    }
}

/// Share of rows whose event time is missing, or no time.
fn untimed(schema: &Schema, pane: &QualityPane) -> f64 {
    let place = schema.index_of_role(Role::Timestamp);
    let cells = place.and_then(|place| pane.columns.get(place)).map(|column| column.soundness.cells);
    cells.map_or(0.0, |cells| share(cells.missing + cells.misfits, cells.rows))
}

/// How old rows are.
struct Times {
    score: f64,
    median_ms: Option<i64>,
    future_rate: f64,
}

impl Times {
    /// By the newest hundredth of the rows that are not ahead, at least the second newest: one row says nothing of a table.
    fn of(pane: &QualityPane, freshness: Freshness) -> Option<Self> {
        let mut times = pane.times_ms.sorted();
        if times.is_empty() {
            return None;
        }
        let all = times.len();
        times.retain(|time_ms| *time_ms < freshness.until_ms.saturating_add(AHEAD_MS));
        let future_rate = 1.0 - times.len() as f64 / all as f64;
        let age = |place: usize| times.get(place).map(|time_ms| freshness.until_ms.saturating_sub(*time_ms));
        let from_newest = (times.len() / 100).max(usize::from(times.len() > 1));
        let newest_ms = times.len().checked_sub(1 + from_newest).and_then(age);
        let fresh = newest_ms.map_or(0.0, |age_ms| {
            (1.0 - age_ms.max(0) as f64 / freshness.horizon_ms.max(1) as f64).clamp(0.0, 1.0)
        });
        Some(Self {
            score: fresh * (1.0 - future_rate),
            median_ms: age(times.len() / 2).map(|age_ms| age_ms.max(0)),
            future_rate,
        })
    }
}

/// Numbers beyond the fences; those outside of the field's range are invalid already.
fn outliers(field: &Field, column: &ColumnPane, (lower, upper): (f64, f64)) -> u64 {
    let (minimum, maximum) = range(field);
    let of_both = minimum.map_or(f64::NEG_INFINITY, |minimum| minimum.min(lower));
    let up_to_both = maximum.map_or(f64::INFINITY, |maximum| maximum.max(upper));
    let beyond = column.sketch.count_outside(lower, upper);
    beyond.saturating_sub(column.sketch.count_outside(of_both, up_to_both))
}

fn median(column: &ColumnPane) -> Option<f64> {
    column.sketch.quantile_within(0.5, column.moments.minimum()?, column.moments.maximum()?)
}

/// Numbers that cannot be meant beside the others; those beyond the field's range are invalid already.
fn far_count(field: &Field, column: &ColumnPane) -> u64 {
    let (lower, upper) = range(field);
    column.sketch.far_count(lower.unwrap_or(f64::NEG_INFINITY), upper.unwrap_or(f64::INFINITY))
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Quartiles less and plus some interquartile ranges, or as far as tails reach; none where nine of ten values are one.
fn fences(config: &Config, column: &ColumnPane) -> Option<(f64, f64)> {
    if column.moments.count() < FENCE_VALUES_MIN {
        return None;
    }
    let at = |share: f64| column.sketch.quantile(share);
    let (first, middle, third) = (at(0.25)?, at(0.5)?, at(0.75)?);
    let (low, high) = (at(TAIL)?, at(1.0 - TAIL)?);
    let reach = config.fence_ranges * (third - first);
    let lower = (first - reach).min(middle - TAIL_REACH * (middle - low));
    let upper = (third + reach).max(middle + TAIL_REACH * (high - middle));
    (high > low).then_some((lower, upper))
}

/// The scores of all columns together.
fn sum_up(config: &Config, report: &mut Report, alpha: f64, freshness_counts: bool) {
    let counted: Vec<_> = report.columns.iter().filter(|column| column.score.counts).collect();
    let many = counted.len().max(1) as f64;
    let mean = |of: &dyn Fn(&ColumnScore) -> f64| {
        if counted.is_empty() { 1.0 } else { counted.iter().map(|it| of(&it.score)).sum::<f64>() / many }
    };
    let column_mean = mean(&|it| it.score);
    let worst = counted.iter().min_by(|one, other| one.score.sure_score.total_cmp(&other.score.sure_score));
    let worst = worst.map(|column| (column.name.clone(), column.score.sure_score));
    let lowest = worst.as_ref().map_or(1.0, |(_, score)| *score);
    report.consistency_score = mean(&|it| it.consistency);
    report.column_score_mean = column_mean;
    report.column_score_worst = worst;
    let duplicates = report.expected_duplicates.map_or(Then::Unknown, Then::Known);
    let unique = left(report.duplicates, duplicates, report.worth, alpha).powf(config.uniqueness_weight);
    let fresh = if freshness_counts { report.freshness_score.unwrap_or(1.0) } else { 1.0 };
    // Times that are ahead are times that cannot be.
    let sound_times = ((1.0 - report.future_rate) * (1.0 - report.untimed_rate)).powf(config.validity_weight);
    let lowest = lowest.min(sound_times);
    report.overall_score =
        (column_mean + lowest) / 2.0 * unique * (1.0 - config.freshness_weight * (1.0 - fresh));
}
