//! What the join of labels costs with many predictions open: pairs per CPU second and bytes of each, for ids of both kinds, labels in any order.

#![expect(clippy::print_stdout, reason = "tables are what it is for")]

use std::{hash::Hash, sync::Arc, time::Instant};

use acgs_windowing::{LabelJoin, join::Labelled};

const OPEN: usize = 5_000_000;
const PAIRS: usize = 1_000_000;
/// Rows of one window, which are given up together.
const WINDOW_ROWS: usize = 10_000;

/// As large as what a stream keeps of a row that waits: its key, two times, score and prediction.
#[derive(Clone, Debug)]
struct Waiting {
    key: Arc<str>,
    times_ms: [i64; 2],
    _answers: [[u64; 3]; 2],
}

/// As large as a cell with a label.
type Label = [u64; 3];

fn row<K: Clone + Eq + Hash>(join: &mut LabelJoin<K, Waiting, Label>, key: &Arc<str>, id: &K, number: usize) {
    let time_ms = number as i64;
    let deadline_ms = (number / WINDOW_ROWS) as i64;
    let key = Arc::clone(key);
    join.predict(id, Waiting { key, times_ms: [time_ms; 2], _answers: [[0; 3]; 2] }, deadline_ms);
}

/// As many rows come as labels, so that as many are open all the time.
fn measure<K: Clone + Eq + Hash>(what: &str, stride: usize, id: impl Fn(usize) -> K, weigh: fn(&K) -> usize) {
    let ids: Vec<K> = (0..OPEN + PAIRS).map(id).collect();
    let mut join: LabelJoin<K, Waiting, Label> = LabelJoin::new(OPEN, weigh);
    let key: Arc<str> = "".into();
    for (number, id) in ids[..OPEN].iter().enumerate() {
        row(&mut join, &key, id, number);
    }
    let (mut matched, since) = (0, Instant::now());
    for number in 0..PAIRS {
        matched += usize::from(matches!(
            join.label(&ids[number * stride % OPEN], [1; 3], 0),
            Labelled::Matched(waiting) if waiting.key.is_empty() && waiting.times_ms[0] >= 0
        ));
        row(&mut join, &key, &ids[OPEN + number], OPEN + number);
    }
    // One thread that never waits: its time is the processor's.
    let speed = PAIRS as f64 / since.elapsed().as_secs_f64();
    println!("| {what} | {matched} | {} | {speed:.0} |", join.heap_bytes() / (OPEN + PAIRS));
}

fn main() {
    println!("| ids | pairs | bytes each, as it is accounted | pairs per CPU second |");
    println!("|---|---|---|---|");
    for (order, stride) in [("as rows came", 1), ("in any order", 7_919)] {
        measure(&format!("INT64, {order}"), stride, |number| number as i64, |_| 0);
        let text = |number: usize| -> Arc<str> { format!("order-{number:012}").into() };
        measure(&format!("STRING of 18 bytes, {order}"), stride, text, |id| id.len() + 16);
    }
}
