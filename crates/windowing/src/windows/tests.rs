//! The golden cases, and windows against a brute-force oracle.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::spec::WindowKind;

const LIMITS: Limits = Limits { panes_max: 100_000, windows_max: 1_000_000 };
/// Cases for window kinds and rules that exist.
const CASES: [&str; 14] =
    ["G01", "G02", "G03", "G04", "G05", "G07", "G08", "G09", "G10", "G17", "G18", "G22", "G23", "G25"];

/// A judge that counts and sums what its panes hold.
#[derive(Default)]
struct Panes(HashMap<PaneId, Vec<f64>>);

impl Panes {
    fn sum(&self, panes: &[PaneId]) -> (u64, f64) {
        let values: Vec<f64> = panes.iter().flat_map(|pane| self.0[pane].iter().copied()).collect();
        (values.len() as u64, values.iter().sum())
    }
}

fn spec_of(case: &Value) -> WindowSpec {
    let window = &case["window"];
    let of = |name: &str| window[name].as_i64();
    let size_ms = of("size_ms").unwrap();
    let kind = match window["type"].as_str().unwrap() {
        "tumbling" => WindowKind::Tumbling { size_ms },
        "sliding" => WindowKind::Sliding { size_ms, slide_ms: of("slide_ms").unwrap() },
        other => panic!("window type {other}"),
    };
    let lateness_ms = case["allowed_lateness_ms"].as_i64().unwrap_or(0);
    WindowSpec::new(kind, of("offset_ms").unwrap_or(0), lateness_ms, None).unwrap()
}

fn run(case: &Value) -> Value {
    let watermark = &case["watermark"];
    let mut windows =
        Windows::new(spec_of(case), watermark["max_out_of_orderness_ms"].as_i64().unwrap(), LIMITS);
    let name = |partition: &Value| partition.as_i64().unwrap_or(0).to_string();
    for partition in watermark["partitions"].as_array().into_iter().flatten() {
        windows.watermarks.declare(&name(partition), 0);
    }
    let mut panes = Panes::default();
    let (mut outputs, mut late, mut watermarks) = (vec![], vec![], vec![]);
    for (index, input) in case["input"].as_array().unwrap().iter().enumerate() {
        let before = windows.watermarks.current();
        let steps = match input["kind"].as_str().unwrap() {
            "event" => {
                let key: Arc<str> = Arc::from(input["key"].as_str().unwrap());
                let ts = input["ts"].as_i64().unwrap();
                let rows = Rows {
                    times_ms: &[ts],
                    keys: Some(&[0]),
                    key_names: &[Arc::clone(&key)],
                    rejected: &[],
                    awaiting: &[],
                };
                let frame = windows.ingest(&name(&input["partition"]), 0, rows).unwrap();
                for (pane, _) in &frame.runs {
                    panes.0.entry(*pane).or_default().push(input["value"].as_f64().unwrap());
                }
                for _ in &frame.late {
                    late.push(
                        serde_json::json!({"input": index, "key": &*key, "ts": ts, "watermark": before}),
                    );
                }
                frame.steps
            }
            "idle" => {
                windows.watermarks.idle(&name(&input["partition"]));
                windows.advance()
            }
            "end" => {
                windows.watermarks.end("0");
                windows.advance()
            }
            other => panic!("input {other}"),
        };
        for close in steps.closes {
            let (count, sum) = panes.sum(&close.panes);
            let pane = if close.cause == Cause::OnTime { "on_time" } else { "late" };
            outputs.push(serde_json::json!({
                "after_input": index, "key": &*close.window.key, "start": close.window.start_ms,
                "end": close.window.end_ms, "pane": pane, "count": count, "sum": sum,
            }));
        }
        let after = windows.watermarks.current();
        if after > before && after != END {
            watermarks.push(serde_json::json!({"after_input": index, "watermark": after}));
        }
    }
    serde_json::json!({"outputs": outputs, "late": late, "watermarks": watermarks})
}

#[test]
fn golden_cases() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/windows.json");
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    for id in CASES {
        let case = cases.iter().find(|case| case["id"] == id).unwrap();
        assert_eq!(run(case), case["expected"], "{id}: {}", case["title"]);
    }
}

/// What a window must hold in the end: every row of its time that was not late for it.
fn oracle(spec: &WindowSpec, out_of_orderness_ms: i64, times_ms: &[i64]) -> BTreeMap<i64, Vec<usize>> {
    let mut windows: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    let mut watermark = i64::MIN;
    for (row, &time_ms) in times_ms.iter().enumerate() {
        for start_ms in spec.starts(time_ms) {
            if start_ms + spec.size_ms() + spec.lateness_ms() > watermark {
                windows.entry(start_ms).or_default().push(row);
            }
        }
        watermark = watermark.max(time_ms - out_of_orderness_ms);
    }
    windows
}

proptest! {
    #[test]
    fn windows_hold_what_the_oracle_says(
        size_ms in 1..50_i64, slide in 1..50_i64, offset_ms in -60..60_i64, lateness_ms in 0..30_i64,
        out_of_orderness_ms in 0..20_i64,
        steps in prop::collection::vec(-20..25_i64, 1..150),
        cuts in prop::collection::vec(1..40_usize, 1..20),
    ) {
        let slide_ms = slide.min(size_ms);
        let spec =
            WindowSpec::new(WindowKind::Sliding { size_ms, slide_ms }, offset_ms, lateness_ms, None).unwrap();
        let mut now = -100;
        let times_ms: Vec<i64> = steps.iter().map(|step| { now += step; now }).collect();
        let mut windows = Windows::new(spec, out_of_orderness_ms, LIMITS);
        let mut held: HashMap<PaneId, Vec<usize>> = HashMap::new();
        let mut last: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        let mut sealed: HashSet<PaneId> = HashSet::new();
        let mut live = 0;
        let mut at = 0;
        let mut cuts = cuts.into_iter().cycle();
        let mut all = Vec::new();
        while at < times_ms.len() {
            let length = cuts.next().unwrap().min(times_ms.len() - at);
            let rows = Rows { times_ms: &times_ms[at..at + length], keys: None, key_names: &[], rejected: &[], awaiting: &[] };
            let frame = windows.ingest("p", 0, rows).unwrap();
            let order = frame.rows.unwrap_or_else(|| (0..length as u32).collect());
            let mut place = 0;
            for (pane, count) in frame.runs {
                prop_assert!(!sealed.contains(&pane), "rows went to a pane that a close had named");
                for row in &order[place..place + count as usize] {
                    held.entry(pane).or_default().push(at + *row as usize);
                }
                place += count as usize;
            }
            prop_assert_eq!(place, order.len());
            all.push(frame.steps);
            let steps = all.last().unwrap();
            sealed.extend(steps.closes.iter().flat_map(|close| close.panes.iter().copied()));
            live = live + steps.opened.len() - steps.released_labels.len();
            at += length;
        }
        windows.watermarks.end("p");
        all.push(windows.advance());
        for close in all.iter().flat_map(|steps| &steps.closes) {
            let mut rows: Vec<usize> = close.panes.iter().flat_map(|pane| held[pane].clone()).collect();
            rows.sort_unstable();
            last.insert(close.window.start_ms, rows);
        }
        prop_assert_eq!(last, oracle(&spec, out_of_orderness_ms, &times_ms));
        prop_assert_eq!(live, all.last().unwrap().released_labels.len());
        prop_assert_eq!(windows.held(), (0, 0));
    }
}

/// What frames in turn, cut after so much work, come to: rows by pane, late rows, all steps in their order.
fn cut(
    spec: WindowSpec,
    frames: &[Vec<i64>],
    labelled: &[bool],
    work: usize,
) -> (BTreeMap<PaneId, Vec<usize>>, Vec<usize>, Steps, usize) {
    let mut windows = Windows::new(spec, 3, LIMITS);
    let (mut held, mut late, mut all) = (BTreeMap::<PaneId, Vec<usize>>::new(), Vec::new(), Steps::default());
    let (mut at, mut longest) = (0, 0);
    let none: Arc<str> = Arc::from("");
    for times_ms in frames {
        let awaiting: Vec<bool> =
            (at..at + times_ms.len()).map(|row| labelled[row % labelled.len()]).collect();
        let rows = Rows { times_ms, keys: None, key_names: &[], rejected: &[], awaiting: &awaiting };
        let mut ingest = windows.begin("p", 0);
        while !ingest.is_over() {
            let frame = windows.go_on(&mut ingest, Some(rows), &mut work.clone());
            longest = longest.max(frame.steps.closes.len());
            let order = frame.rows.unwrap_or_else(|| (0..times_ms.len() as u32).collect());
            let mut place = 0;
            for (pane, count) in frame.runs {
                let rows = &order[place..place + count as usize];
                held.entry(pane).or_default().extend(rows.iter().map(|row| at + *row as usize));
                place += count as usize;
            }
            late.extend(frame.late.iter().map(|row| at + *row as usize));
            all.opened.extend(frame.steps.opened);
            all.closes.extend(frame.steps.closes);
            all.released.extend(frame.steps.released);
            all.released_labels.extend(frame.steps.released_labels);
            all.finished.extend(frame.steps.finished);
        }
        // Some labels come, others never.
        for row in at..at + times_ms.len() {
            if labelled[row % labelled.len()] && row % 3 > 0 {
                windows.label_settled(&none, times_ms[row - at]);
            }
        }
        at += times_ms.len();
    }
    windows.watermarks.end("p");
    let mut ingest = windows.begin_advance();
    while !ingest.is_over() {
        let steps = windows.go_on(&mut ingest, None, &mut work.clone()).steps;
        longest = longest.max(steps.closes.len());
        all.closes.extend(steps.closes);
        all.released.extend(steps.released);
        all.released_labels.extend(steps.released_labels);
        all.finished.extend(steps.finished);
    }
    held.values_mut().for_each(|rows| rows.sort_unstable());
    (held, late, all, longest)
}

proptest! {
    /// Wherever a frame is cut, it is what it is at once.
    #[test]
    fn cut_anywhere_is_uncut(
        size_ms in 1..50_i64, slide in 1..50_i64, lateness_ms in 0..30_i64, horizon in prop::option::of(0..3_000_i64),
        frames in prop::collection::vec(prop::collection::vec(-20..60_i64, 0..40), 1..12),
        labelled in prop::collection::vec(any::<bool>(), 1..7), work in 1..200_usize,
    ) {
        let kind = WindowKind::Sliding { size_ms, slide_ms: slide.min(size_ms) };
        let horizon = horizon.map(|horizon_ms| horizon_ms.max(lateness_ms));
        let Ok(spec) = WindowSpec::new(kind, 0, lateness_ms, horizon) else { return Ok(()) };
        let mut now = 0;
        let frames: Vec<Vec<i64>> =
            frames.iter().map(|frame| frame.iter().map(|step| { now += step; now }).collect()).collect();
        let (held, late, steps, _) = cut(spec, &frames, &labelled, usize::MAX);
        let (held_cut, late_cut, steps_cut, _) = cut(spec, &frames, &labelled, work);
        prop_assert_eq!((held_cut, late_cut), (held, late));
        prop_assert_eq!(steps_cut, steps);
    }
}

#[test]
fn no_step_closes_much_however_many_windows_end_at_once() {
    let kind = WindowKind::Sliding { size_ms: 1_000, slide_ms: 1 };
    let spec = WindowSpec::new(kind, 0, 0, None).unwrap();
    // Three thousand windows of up to a thousand slices, and then one row that ends them all.
    let frames = vec![(0..2_000).map(|time_ms| time_ms - 1_000_000).collect(), vec![5_000_000]];
    let (_, _, steps, longest) = cut(spec, &frames, &[false], 10_000);
    assert_eq!(steps.closes.len(), 2_999 + 1_000);
    assert!(longest <= 10_000 / CLOSE + 1, "{longest}");
}

#[test]
fn bounds_refuse_a_frame_whole() {
    let spec = WindowSpec::new(WindowKind::Tumbling { size_ms: 10 }, 0, 0, None).unwrap();
    let mut windows = Windows::new(spec, 0, Limits { panes_max: 2, windows_max: 10 });
    let rows = |times_ms| Rows { times_ms, keys: None, key_names: &[], rejected: &[], awaiting: &[] };
    assert_eq!(windows.ingest("p", 0, rows(&[5, 15, 25])), Err(Full::Panes(2)));
    assert_eq!(windows.held(), (0, 0));
    let reserved = windows.room_for(rows(&[5]), Room::default()).unwrap();
    assert_eq!(reserved, Room { panes: 1, windows: 1 });
    assert!(windows.room_for(rows(&[15]), reserved).is_ok());
    assert_eq!(windows.room_for(rows(&[15, 25]), reserved), Err(Full::Panes(2)), "one of two is promised");
    assert!(windows.ingest("p", 0, rows(&[5, 15])).is_ok());
    let last = windows.room_for(rows(&[15, 16]), Room { panes: 0, windows: 9 });
    assert_eq!(last, Ok(Room::default()), "looked at closely, nothing new is needed");
}

/// Two partitions, each heard with a row of this time.
fn heard_at(rows: [(&str, i64); 2], now_ms: i64) -> Watermarks {
    let mut watermarks = Watermarks::new(0);
    for (partition, time_ms) in rows {
        let mut clock = watermarks.begin_frame(partition, now_ms);
        clock.observe(time_ms);
        watermarks.end_frame(partition, &clock);
    }
    watermarks
}

#[test]
fn silence_lets_the_others_go_on_and_then_the_clock() {
    let mut watermarks = heard_at([("a", 100), ("b", 500)], 1_000);
    assert_eq!(watermarks.tick(1_000, 60_000, 0, 0, |_| false), 100);
    let clock = watermarks.begin_frame("b", 70_000);
    watermarks.end_frame("b", &clock);
    assert_eq!(watermarks.tick(70_000, 60_000, 0, 0, |_| false), 500, "a is silent");
    assert_eq!(watermarks.tick(200_000, 60_000, 0, 0, |_| false), 500, "the clock does nothing unless asked");
    let advanced = watermarks.tick(200_000, 60_000, 120_000, 0, |_| false);
    assert!(advanced > 500, "the clock moves event time on: {advanced}");
}

#[test]
fn who_waits_is_not_silent_however_long_it_takes() {
    let mut watermarks = heard_at([("a", 100), ("b", 500)], 0);
    for now_ms in (0..600_000).step_by(250) {
        assert_eq!(watermarks.tick(now_ms, 60_000, 1_000, 0, |name| name == "a"), 100, "frames of a wait");
    }
    // From here on it is as silent as b, which has been left out and moves on when a does.
    assert_eq!(
        watermarks.tick(600_500, 60_000, 1_000, 0, |_| false),
        100,
        "silence begins when nothing waits"
    );
    assert!(watermarks.tick(601_000, 60_000, 1_000, 0, |_| false) > 100);
}

#[test]
fn time_in_which_nobody_listened_counts_for_nobody() {
    let mut watermarks = heard_at([("a", 100), ("b", 500)], 0);
    // Five seconds at a time in which nothing was taken, and a quarter in which it could have been.
    let mut now_ms = 0;
    while now_ms < 600_000 {
        now_ms += 5_250;
        assert_eq!(watermarks.tick(now_ms, 60_000, 0, 5_000, |_| false), 100);
    }
    let clock = watermarks.begin_frame("b", now_ms);
    watermarks.end_frame("b", &clock);
    assert_eq!(watermarks.tick(now_ms + 59_000, 60_000, 0, 0, |name| name == "b"), 500, "a is silent");
    assert_eq!(watermarks.tick(now_ms + 99_000, 60_000, 0, 40_000, |name| name == "b"), 500, "and stays so");
}

#[test]
fn the_end_of_one_partition_and_the_silence_of_another_are_not_the_end() {
    let mut watermarks = heard_at([("b", 50), ("a", 100)], 0);
    assert_eq!(watermarks.end("a"), 50);
    assert_eq!(watermarks.tick(100_000, 60_000, 0, 0, |_| false), 50, "b is silent, and may come back");
    assert_eq!(watermarks.end("b"), END);
}

#[test]
fn room_is_asked_for_only_what_is_new() {
    let kind = WindowKind::Sliding { size_ms: 100, slide_ms: 10 };
    let spec = WindowSpec::new(kind, 0, 0, None).unwrap();
    let mut windows = Windows::new(spec, 0, Limits { panes_max: 3, windows_max: 12 });
    let rows = |times_ms| Rows { times_ms, keys: None, key_names: &[], rejected: &[], awaiting: &[] };
    assert!(windows.ingest("p", 0, rows(&[5, 15])).is_ok(), "eleven windows");
    for _ in 0..10 {
        assert!(windows.ingest("p", 0, rows(&[15, 16])).is_ok(), "nothing new is needed");
    }
    assert!(windows.ingest("p", 0, rows(&[25, 35])).is_err());
}
