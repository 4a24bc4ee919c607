//! How often intervals of losses hold the truth, how often decay is called where there is none, and how soon where there is: the tables of
//! docs/performance.md, by the default settings. `cargo xtask calibrate performance`; `--long` is the one that is quoted. It must not know how the
//! judge judges.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a table is what it is for")]

mod estimates;
mod sequence;
mod stream;
mod values;

use std::{fs, path::Path, process::ExitCode, sync::Arc};

use acgs_columns::{Column, Field, Kind, RecordBatch, Role, Schema, Values};
use acgs_performance::{
    Config,
    beside::State,
    pane::PerformancePane,
    report::{self, Report},
    roles::Roles,
};
use acgs_reference::{LossBaseline, freeze};
use acgs_statistics::{draws::Draws, score::Estimate};

/// Rows by which the truth is known.
const TRUTH_ROWS: usize = 2_000_000;
/// Rows of one batch.
const BATCH_ROWS: usize = 50_000;
/// Windows of a stream.
const WINDOWS: usize = 20;

/// The default settings.
fn config() -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/acgs.toml");
    let text = fs::read_to_string(path).expect("deploy/acgs.toml");
    let all: toml::Table = text.parse().expect("sound settings");
    all["performance"].clone().try_into().expect("sound settings of performance")
}

/// Scores and labels of a model.
struct Model {
    draws: Draws,
    /// Log-odds of the base rate, about.
    intercept: f64,
    schema: Arc<Schema>,
}

/// What has become of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Now {
    /// Nothing.
    Still,
    /// Labels have nothing to do with scores any more.
    Useless,
    /// Half of the labels have not.
    HalfUseless,
    /// Positives are twice as frequent as the scores say.
    Doubled,
}

impl Model {
    fn new(positive_rate: f64, seed: u64) -> Self {
        let schema = Schema::new(vec![
            Field::new("p", Kind::Double, Role::Score),
            Field::new("y", Kind::Double, Role::Label),
        ])
        .expect("sound fields");
        let intercept = (positive_rate / (1.0 - positive_rate)).ln();
        Self { draws: Draws::new(seed), intercept, schema: Arc::new(schema) }
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.draws.unit().max(1e-300).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.draws.unit()).cos()
    }

    fn score(&mut self) -> f64 {
        1.0 / (1.0 + (-(self.intercept - 0.5 + 1.2 * self.normal())).exp())
    }

    fn rows(&mut self, count: usize, now: Now) -> RecordBatch {
        let (mut scores, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (score, other) = (self.score(), self.score());
            let chance = match now {
                Now::Still => score,
                Now::Useless => other,
                Now::HalfUseless => (score + other) / 2.0,
                Now::Doubled => (2.0 * score).min(1.0),
            };
            scores.push(score);
            labels.push(f64::from(u8::from(self.draws.unit() < chance)));
        }
        let columns =
            [scores, labels].map(|values| Column { values: Values::Double(values.into()), validity: None });
        RecordBatch::new(Arc::clone(&self.schema), count, columns.to_vec()).expect("sound columns")
    }

    fn report(&mut self, config: &Config, count: usize, now: Now, baseline: Option<LossBaseline>) -> Report {
        let roles = Roles::new(&self.schema);
        let mut pane = PerformancePane::default();
        let mut left = count;
        while left > 0 {
            let rows = left.min(BATCH_ROWS);
            pane.push(&roles, &self.rows(rows, now));
            left -= rows;
        }
        report::report(config, &roles, &pane, baseline, 0)
    }

    fn baseline(&mut self, count: usize) -> Option<LossBaseline> {
        let rows = self.rows(count, Now::Still);
        freeze(&self.schema, &[rows], 0).baseline
    }
}

/// A baseline that no loss is above, so that only the labels decide whether there is a verdict.
fn lenient() -> LossBaseline {
    LossBaseline { loss: 1e9, ..LossBaseline::of_brier(1.0) }
}

fn coverage(config: &Config, long: bool) -> bool {
    println!("## Do intervals hold the truth");
    println!("| positives, % | labels | judged, % | Brier, % | log loss, % | accuracy, % | area, % | |");
    println!("|---|---|---|---|---|---|---|---|");
    let draws = if long { 2_000 } else { 300 };
    let mut sound = true;
    for rate in [0.005, 0.01, 0.05, 0.5] {
        let truth = Model::new(rate, 1).report(config, TRUTH_ROWS, Now::Still, None);
        let of = |report: &Report| [report.brier, report.log_loss, report.accuracy, report.auc];
        let truth = of(&truth).map(|known| known.map_or(f64::NAN, |known| known.value));
        for labels in [50, 200, 1_000, 5_000] {
            let mut model = Model::new(rate, 99 + labels as u64);
            let (mut judged, mut held) = (0_u32, [0_u32; 4]);
            for _ in 0..draws {
                let report = model.report(config, labels, Now::Still, Some(lenient()));
                if report.state == State::Unknown {
                    continue;
                }
                judged += 1;
                for ((held, found), truth) in held.iter_mut().zip(of(&report)).zip(truth) {
                    let holds = |it: Estimate| it.lower <= truth && truth <= it.upper;
                    *held += u32::from(found.is_some_and(holds));
                }
            }
            let share = |count: u32| f64::from(count) / f64::from(judged.max(1));
            let judged_share = f64::from(judged) / f64::from(draws);
            let least = 0.95 - 3.0 * (0.95 * 0.05 / f64::from(judged.max(1))).sqrt() - 0.01;
            let covers = held.iter().all(|count| share(*count) >= least);
            let verdict = match (judged_share >= 0.95, covers) {
                (false, _) => "too few positives as a rule",
                (true, true) => "covers",
                (true, false) => {
                    sound = false;
                    "DOES NOT COVER"
                }
            };
            let shown = held.map(|count| format!("{:.1}", 100.0 * share(count)));
            println!(
                "| {} | {labels} | {:.0} | {} | {verdict} |",
                100.0 * rate,
                100.0 * judged_share,
                shown.join(" | ")
            );
        }
    }
    sound
}

fn decay(config: &Config, long: bool) -> bool {
    println!("\n## Is decay called where it is, and only there");
    println!(
        "| what | positives, % | reference | labels | streams | judged, % | decayed, % of windows | median window of the first | |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let streams = if long { 1_000 } else { 100 };
    let mut sound = true;
    for now in [Now::Still, Now::Useless, Now::HalfUseless, Now::Doubled] {
        for (rate, labels) in [(0.01, 2_000), (0.05, 1_000), (0.2, 200), (0.5, 50), (0.5, 1_000)] {
            for reference in [500, 10_000] {
                sound &= row(config, now, (rate, labels, reference), streams);
            }
        }
    }
    sound
}

fn row(config: &Config, now: Now, (rate, labels, reference): (f64, usize, usize), streams: u64) -> bool {
    let (mut windows, mut judged, mut decayed) = (0_u32, 0_u32, 0_u32);
    let mut first: Vec<usize> = Vec::new();
    for stream in 0..streams {
        let mut model = Model::new(rate, 31 + stream * 1_000_003 + labels as u64);
        let baseline = model.baseline(reference);
        let mut since = usize::MAX;
        for window in 1..=WINDOWS {
            let report = model.report(config, labels, now, baseline);
            windows += 1;
            judged += u32::from(report.state != State::Unknown);
            if report.state == State::Decayed {
                decayed += 1;
                since = since.min(window);
            }
        }
        first.push(since);
    }
    first.sort_unstable();
    let share = f64::from(decayed) / f64::from(judged.max(1));
    // Windows of one stream share a reference: their number is that of streams.
    let most = 0.025 + 3.0 * (0.025 * 0.975 / streams as f64).sqrt();
    let verdict = match now {
        Now::Still if share <= most => "at most 2.5 %",
        Now::Still => "DOES NOT HOLD",
        Now::Useless | Now::HalfUseless | Now::Doubled => "",
    };
    let median = first[first.len() / 2];
    println!(
        "| {now:?} | {} | {reference} | {labels} | {streams} | {:.0} | {:.2} | {} | {verdict} |",
        100.0 * rate,
        100.0 * f64::from(judged) / f64::from(windows),
        100.0 * share,
        if median == usize::MAX { format!("none in {WINDOWS}") } else { median.to_string() },
    );
    verdict != "DOES NOT HOLD"
}

/// All metrics of a window: counting its rows and the report.
fn cost(config: &Config) {
    const ROWS: usize = 10_000;
    const TIMES: u32 = 50;
    let mut model = Model::new(0.2, 7);
    let (roles, baseline) = (Roles::new(&model.schema), model.baseline(ROWS));
    let rows = model.rows(ROWS, Now::Still);
    let since = std::time::Instant::now();
    for _ in 0..TIMES {
        let mut pane = PerformancePane::default();
        pane.push(&roles, &rows);
        let report = report::report(config, &roles, &pane, baseline, 0);
        assert!(report.labelled_count == ROWS as u64);
    }
    let each_ms = since.elapsed().as_secs_f64() * 1_000.0 / f64::from(TIMES);
    println!("\n## What it costs");
    println!("| what | ms | bound |");
    println!("|---|---|---|");
    println!("| all metrics of a binary window of {ROWS} labelled rows | {each_ms:.2} | 2 |");
}

fn main() -> ExitCode {
    let long = std::env::args().any(|word| word == "--long");
    let config = config();
    let only = std::env::args().skip(1).find(|word| !word.starts_with("--"));
    if only.as_deref() == Some("sequence") {
        return if sequence::tables(&config, long) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if only.as_deref() == Some("estimates") {
        return if estimates::table(&config, long) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if only.as_deref() == Some("values") {
        return if values::table(&config, long) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    cost(&config);
    let estimates = estimates::table(&config, long);
    let budget = sequence::tables(&config, long);
    let covers = coverage(&config, long);
    let values = values::table(&config, long);
    if decay(&config, long) && covers && budget && estimates && values {
        ExitCode::SUCCESS
    } else {
        eprintln!("a bound does not hold");
        ExitCode::FAILURE
    }
}
