//! How often any of some values is called worse where nothing changes, and how often the one that is. It must not know how it is computed.

use std::sync::Arc;

use acgs_columns::{Column, Field, Kind, RecordBatch, Role, Scale, Schema, Values};
use acgs_performance::{
    Config, beside::State, pane::PerformancePane, roles::Roles, sequential::Expected, sliced,
};
use acgs_reference::freeze;

use crate::stream::{HOUR_MS, Law, Now, Source};

const VALUES: usize = 20;
/// Windows of a stream.
const WINDOWS: usize = 10;

struct Watched {
    sources: Vec<Source>,
    schema: Arc<Schema>,
}

impl Watched {
    fn new(law: Law, seed: u64) -> Self {
        let sources: Vec<Source> =
            (0..VALUES as u64).map(|value| Source::new(law, seed * 1_000 + value)).collect();
        let mut fields = sources[0].schema().fields().to_vec();
        let value = Field::new("value", Kind::Int64, Role::Feature);
        fields.push(Field { scale: Some(Scale::Nominal), slice: true, ..value });
        Self { sources, schema: Arc::new(Schema::new(fields).expect("sound fields")) }
    }

    /// So many rows of each value, the first of which is as it is now.
    fn rows(&mut self, each: usize, hours: i64, now: Now) -> Vec<RecordBatch> {
        let schema = &self.schema;
        let of = |(value, source): (usize, &mut Source)| {
            let now = if value == 0 { now } else { Now::Still };
            let mut columns = source.rows(each, hours * HOUR_MS, now).columns().to_vec();
            columns.push(Column { values: Values::Integer(vec![value as i64; each].into()), validity: None });
            RecordBatch::new(Arc::clone(schema), each, columns).expect("sound columns")
        };
        self.sources.iter_mut().enumerate().map(of).collect()
    }
}

fn row(config: &Config, (law, now): (Law, Now), (reference, each): (usize, usize), streams: u64) -> bool {
    let (mut windows, mut judged, mut worse, mut named) = (0_u32, 0, 0_u32, 0_u32);
    for stream in 0..streams {
        let mut watched = Watched::new(law, 17 + stream);
        let rows = watched.rows(reference, 100, Now::Still);
        let frozen = freeze(&watched.schema, &rows, 0);
        let expected = Expected {
            baseline: frozen.baseline.expect("labels"),
            phases: frozen.loss_phases,
            declared: None,
            slices: frozen.slices,
        };
        let roles = Roles::new(&watched.schema).in_season(expected.phases.season);
        for _ in 0..WINDOWS {
            let mut pane = PerformancePane::default();
            watched.rows(each, 1, now).iter().for_each(|rows| pane.push(&roles, rows));
            let labelled = pane.standing().expect("nothing is taken back");
            let held_against = (expected.beside(&labelled), expected.baseline.kind);
            let fields = acgs_reference::slices::SliceFields::of(&watched.schema);
            let found = sliced::slices(config, &fields, &labelled, held_against, &expected.slices);
            windows += 1;
            judged += found.iter().filter(|it| it.state != State::Unknown).count();
            let is_worse = |it: &&sliced::Slice| it.state == State::Decayed;
            worse += u32::from(found.iter().any(|it| is_worse(&it)));
            named += u32::from(found.iter().filter(is_worse).any(|it| it.value.as_deref() == Some("0")));
        }
    }
    let share = f64::from(worse) / f64::from(windows);
    // Windows of one stream share a reference: their number is that of streams.
    let most = 0.025 + 3.0 * (0.025 * 0.975 / streams as f64).sqrt();
    let holds = now != Now::Still || share <= most;
    println!(
        "| {law:?} | {now:?} | {reference} | {each} | {streams} | {:.0} | {:.2} | {:.0} | {} |",
        100.0 * judged as f64 / (VALUES as f64 * f64::from(windows)),
        100.0 * share,
        100.0 * f64::from(named) / f64::from(windows),
        match (now, holds) {
            (Now::Still, true) => "at most 2.5 %",
            (_, true) => "",
            (_, false) => "DOES NOT HOLD",
        },
    );
    holds
}

/// The table; whether every bound holds.
pub(crate) fn table(config: &Config, long: bool) -> bool {
    let streams = if long { 400 } else { 30 };
    println!("\n## Is a value called worse where it is, and only there");
    println!(
        "| values | what, of the first of {VALUES} | reference rows of each | rows of each | streams | judged, % | any worse, % of windows | the first, % | |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut hold = true;
    for (law, now) in [
        (Law::Binary(0.05), Now::Still),
        (Law::Binary(0.2), Now::Still),
        (Law::Dependent, Now::Still),
        (Law::Classes, Now::Still),
        (Law::Numbers, Now::Still),
        (Law::Binary(0.2), Now::Useless),
        (Law::Classes, Now::Larger(2.0)),
        (Law::Numbers, Now::Larger(3.0)),
    ] {
        for sizes in [(200, 200), (2_000, 200), (2_000, 1_000)] {
            hold &= row(config, (law, now), sizes, streams);
        }
    }
    hold
}
