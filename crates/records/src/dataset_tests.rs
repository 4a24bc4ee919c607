//! A log in memory: frames twice, labels late, streams opened again; the table has each record once.

use std::sync::Mutex;

use acgs_vocabulary::ports::{
    PortError,
    records::{FramePlace, FrameRecorder, FrameSource},
};
use async_trait::async_trait;
use proptest::prelude::*;

use super::*;
use crate::recorder::Recorder;

#[derive(Debug, Default)]
struct Memory(Mutex<Vec<Chunk>>);

#[async_trait]
impl RecordLog for Memory {
    async fn record(&self, _topic: &str, mut chunk: Chunk) -> Result<u64, PortError> {
        let mut chunks = self.0.lock().unwrap();
        chunk.sequence = chunks.len() as u64 + 1;
        chunks.push(chunk);
        Ok(chunks.len() as u64)
    }

    async fn chunks(&self, _topic: &str, after: u64, count: usize) -> Result<Vec<Chunk>, PortError> {
        Ok(self.0.lock().unwrap().iter().skip(after as usize).take(count).cloned().collect())
    }

    async fn last_chunk(&self, _topic: &str) -> Result<u64, PortError> {
        Ok(self.0.lock().unwrap().len() as u64)
    }
}

async fn keep(recorder: &Recorder, frame: Result<Vec<Chunk>, Problem>) -> Result<(), Problem> {
    recorder.keep(frame?).await
}

fn schema() -> Arc<Schema> {
    let fields = vec![
        Field::new("ts", FieldKind::Timestamp, Role::Timestamp),
        Field::new("id", FieldKind::Int64, Role::Id),
        Field::new("city", FieldKind::Text, Role::Feature),
    ];
    Arc::new(Schema::new(fields).unwrap())
}

fn labels_schema() -> Arc<Schema> {
    let fields = vec![
        Field::new("id", FieldKind::Int64, Role::Id),
        Field::new("late", FieldKind::Boolean, Role::Label),
    ];
    Arc::new(Schema::new(fields).unwrap())
}

fn rows(ids: std::ops::Range<i64>, city: &str) -> RecordBatch {
    let mut builder = BatchBuilder::new(schema());
    for id in ids {
        builder.push(&[Cell::Integer(id * 10), Cell::Integer(id), Cell::Text(city)]).unwrap();
    }
    builder.finish().unwrap()
}

fn labels(ids: impl Iterator<Item = i64>, late: bool) -> RecordBatch {
    let mut builder = BatchBuilder::new(labels_schema());
    for id in ids {
        builder.push(&[Cell::Integer(id), Cell::Boolean(late)]).unwrap();
    }
    builder.finish().unwrap()
}

fn source(instance: &str) -> FrameSource {
    FrameSource {
        stream_id: "s".into(),
        instance: instance.into(),
        model_id: "m".into(),
        model_version: "".into(),
        epoch: 0,
    }
}

fn place(seq: u64) -> FramePlace<'static> {
    joined(1, 0, seq)
}

fn joined(join: u64, joined_after: u64, seq: u64) -> FramePlace<'static> {
    FramePlace { partition: "p", join, joined_after, seq }
}

/// Rows without an id: nothing but their frames tells them apart.
fn nameless(times: std::ops::Range<i64>) -> RecordBatch {
    let fields = vec![
        Field::new("ts", FieldKind::Timestamp, Role::Timestamp),
        Field::new("x", FieldKind::Int64, Role::Feature),
    ];
    let mut builder = BatchBuilder::new(Arc::new(Schema::new(fields).unwrap()));
    for time_ms in times {
        builder.push(&[Cell::Integer(time_ms), Cell::Integer(time_ms)]).unwrap();
    }
    builder.finish().unwrap()
}

const EVERY: Selection = Selection { labelled: false, ..ALL };

const ALL: Selection = Selection { from_ms: 0, until_ms: i64::MAX, labelled: true, rows_max: 1_000_000 };

fn ids(dataset: &Dataset) -> Vec<i64> {
    let of = |batch: &RecordBatch| -> Vec<i64> {
        (0..batch.rows()).map(|row| batch.columns()[1].integer(row).unwrap()).collect()
    };
    dataset.batches.iter().flat_map(of).collect()
}

#[tokio::test]
async fn every_record_is_there_once_with_its_label() {
    let log = Arc::new(Memory::default());
    let first = Recorder::new(log.clone(), &source("one"), "hash");
    keep(&first, first.encode_labels(place(1), &labels(0..5, true))).await.unwrap();
    keep(&first, first.encode_rows(place(3), &rows(50..100, "b"))).await.unwrap();
    keep(&first, first.encode_rows(place(2), &rows(0..50, "a"))).await.unwrap();
    keep(&first, first.encode_rows(place(2), &rows(0..50, "a"))).await.unwrap();
    // The stream is opened anew from the start: other frames, the same records.
    let second = Recorder::new(log.clone(), &source("two"), "hash");
    keep(&second, second.encode_rows(place(1), &rows(0..120, "a"))).await.unwrap();
    keep(&second, second.encode_labels(place(2), &labels((0..120).filter(|id| id % 2 == 0), false)))
        .await
        .unwrap();
    let all = read(&*log, "m", ALL).await.unwrap();
    let expected: Vec<i64> = (0..120).filter(|id| *id < 5 || id % 2 == 0).collect();
    assert_eq!(ids(&all), expected);
    let late = all.schema.index_of("late").unwrap();
    let label = |row: usize| all.batches[0].columns()[late].number(row);
    assert_eq!((label(0), label(4), label(5)), (Some(0.0), Some(0.0), Some(0.0)), "the last label stands");
    let some = Selection { from_ms: 300, until_ms: 400, labelled: false, rows_max: 5 };
    assert_eq!(ids(&read(&*log, "m", some).await.unwrap()), [35, 36, 37, 38, 39], "the newest of the range");
    let none = Selection { from_ms: 5_000, until_ms: 6_000, ..ALL };
    let none = read(&*log, "m", none).await.unwrap();
    assert_eq!((none.rows, none.batches.len()), (0, 0));
    // Whatever the order in which they came, the same records and the same last labels make the same file.
    let other = Arc::new(Memory::default());
    let recorder = Recorder::new(other.clone(), &source("three"), "hash");
    keep(&recorder, recorder.encode_rows(place(1), &rows(60..120, "a"))).await.unwrap();
    keep(&recorder, recorder.encode_rows(place(2), &rows(0..60, "a"))).await.unwrap();
    keep(&recorder, recorder.encode_labels(place(3), &labels(0..5, true))).await.unwrap();
    keep(&recorder, recorder.encode_labels(place(4), &labels((0..120).filter(|id| id % 2 == 0), false)))
        .await
        .unwrap();
    let unlike = Selection { from_ms: 0, until_ms: 490, ..ALL };
    let files = [read(&*log, "m", unlike).await.unwrap(), read(&*other, "m", unlike).await.unwrap()];
    let files = files.map(|table| acgs_interchange::to_parquet(&table.schema, &table.batches).unwrap());
    assert!(files[0] == files[1]);
}

#[tokio::test]
async fn long_frames_are_split_and_too_long_records_refused() {
    let log = Arc::new(Memory::default());
    let recorder = Recorder::new(log.clone(), &source("one"), "hash");
    let city = "x".repeat(1_000);
    keep(&recorder, recorder.encode_rows(place(1), &rows(0..4_000, &city))).await.unwrap();
    let chunks = log.0.lock().unwrap().clone();
    assert!(chunks.len() >= 8, "{} chunks", chunks.len());
    assert!(chunks.iter().all(|chunk| chunk.content.len() <= acgs_vocabulary::ports::ENTRY_BYTES_MAX));
    let table = read(&*log, "m", Selection { labelled: false, ..ALL }).await.unwrap();
    assert_eq!(ids(&table), (0..4_000).collect::<Vec<_>>());
    let refused =
        keep(&recorder, recorder.encode_rows(place(2), &rows(0..1, &"x".repeat(600_000)))).await.unwrap_err();
    assert_eq!((refused.reason(), refused.field_path()), ("RECORD_TOO_LARGE", Some("rows.batch")));
}

#[tokio::test]
async fn what_was_refused_is_in_no_table() {
    let log = Arc::new(Memory::default());
    let recorder = Recorder::new(log.clone(), &source("one"), "hash");
    keep(&recorder, recorder.encode_rows(joined(1, 0, 1), &nameless(0..10))).await.unwrap();
    keep(&recorder, recorder.encode_rows(joined(1, 0, 2), &nameless(1_000..3_000))).await.unwrap();
    // Frame 2 did not fit, and its client does not come back.
    recorder.void(joined(2, 1, 0)).await.unwrap();
    assert_eq!(ids(&read(&*log, "m", EVERY).await.unwrap()), (0..10).collect::<Vec<_>>());
    // It comes back with less; what the first one sent still lands, twice.
    keep(&recorder, recorder.encode_rows(joined(3, 1, 2), &nameless(1_000..1_300))).await.unwrap();
    keep(&recorder, recorder.encode_rows(joined(1, 0, 3), &nameless(5_000..5_100))).await.unwrap();
    keep(&recorder, recorder.encode_rows(joined(1, 0, 3), &nameless(5_000..5_100))).await.unwrap();
    let expected: Vec<i64> = (0..10).chain(1_000..1_300).collect();
    assert_eq!(ids(&read(&*log, "m", EVERY).await.unwrap()), expected);
}

#[tokio::test]
async fn a_client_that_comes_back_cuts_its_frames_as_it_likes() {
    let log = Arc::new(Memory::default());
    let recorder = Recorder::new(log.clone(), &source("one"), "hash");
    for seq in 1..=6 {
        let from = (seq as i64 - 1) * 100;
        keep(&recorder, recorder.encode_rows(joined(1, 0, seq), &nameless(from..from + 100))).await.unwrap();
    }
    // Frames 3 to 6 were kept and not taken; the same rows come in two frames, and new ones follow.
    keep(&recorder, recorder.encode_rows(joined(2, 2, 3), &nameless(200..350))).await.unwrap();
    keep(&recorder, recorder.encode_rows(joined(2, 2, 4), &nameless(350..600))).await.unwrap();
    keep(&recorder, recorder.encode_rows(joined(2, 2, 5), &nameless(600..700))).await.unwrap();
    assert_eq!(ids(&read(&*log, "m", EVERY).await.unwrap()), (0..700).collect::<Vec<_>>());
    // Also when nothing of the later client is in the range.
    let range = Selection { from_ms: 0, until_ms: 200, ..EVERY };
    assert_eq!(ids(&read(&*log, "m", range).await.unwrap()), (0..200).collect::<Vec<_>>());
    keep(&recorder, recorder.encode_rows(joined(2, 2, 6), &nameless(700..800))).await.unwrap();
    keep(&recorder, recorder.encode_rows(joined(3, 6, 7), &nameless(9_000..9_001))).await.unwrap();
    keep(&recorder, recorder.encode_rows(joined(2, 2, 7), &nameless(100..110))).await.unwrap();
    let range = Selection { from_ms: 0, until_ms: 800, ..EVERY };
    assert_eq!(ids(&read(&*log, "m", range).await.unwrap()), (0..800).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_label_of_another_kind_breaks_no_table() {
    let log = Arc::new(Memory::default());
    let recorder = Recorder::new(log.clone(), &source("one"), "hash");
    keep(&recorder, recorder.encode_rows(place(1), &rows(0..4, "a"))).await.unwrap();
    keep(&recorder, recorder.encode_labels(place(2), &labels(0..2, true))).await.unwrap();
    let fields =
        vec![Field::new("id", FieldKind::Int64, Role::Id), Field::new("late", FieldKind::Text, Role::Label)];
    let mut builder = BatchBuilder::new(Arc::new(Schema::new(fields).unwrap()));
    builder.push(&[Cell::Integer(2), Cell::Text("yes")]).unwrap();
    keep(&recorder, recorder.encode_labels(place(3), &builder.finish().unwrap())).await.unwrap();
    keep(&recorder, recorder.encode_labels(place(4), &labels(2..3, false))).await.unwrap();
    let table = read(&*log, "m", EVERY).await.unwrap();
    assert_eq!(ids(&table), [0, 1, 2, 3]);
    let late = table.schema.index_of("late").unwrap();
    let label = |row: usize| table.batches[0].columns()[late].number(row);
    assert_eq!([label(0), label(1), label(2), label(3)], [Some(1.0), Some(1.0), Some(0.0), None]);
}

proptest! {
    /// A client sends, is cut off, comes back and cuts what was not accepted anew; writes land or not, and in any order.
    #[test]
    fn a_table_is_what_was_accepted(
        script in prop::collection::vec((1_usize..40, 0_u8..10), 1..40),
        order in prop::collection::vec(any::<u16>(), 80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            // Rows are numbers from 0 on; `sent` of them were sent in this join, `accepted` are in for good.
            let (mut join, mut after, mut accepted) = (1_u64, 0_u64, 0_i64);
            let (mut seq, mut sent) = (0_u64, 0_i64);
            let mut writes = Vec::new();
            for (length, fate) in script {
                let batch = nameless(sent..sent + length as i64);
                seq += 1;
                match fate {
                    // Accepted.
                    0..=6 => {
                        writes.push((joined(join, after, seq), Some(batch)));
                        sent += length as i64;
                        accepted = sent;
                    }
                    // Kept or on its way, and its client is gone.
                    7..=8 => {
                        writes.push((joined(join, after, seq), Some(batch)));
                        (join, after, sent) = (join + 1, seq - 1, accepted);
                        seq = after;
                    }
                    // Refused.
                    _ => {
                        writes.push((joined(join, after, seq), Some(batch)));
                        writes.push((joined(join + 1, seq - 1, 0), None));
                        (join, after, sent) = (join + 2, seq - 1, accepted);
                        seq = after;
                    }
                }
            }
            // The last client says that it is there.
            writes.push((joined(join, after, 0), None));
            let mut shuffled: Vec<_> = writes.into_iter().zip(order.iter().cycle()).collect();
            shuffled.sort_by_key(|(_, key)| **key);
            let log = Arc::new(Memory::default());
            let recorder = Recorder::new(log.clone(), &source("one"), "hash");
            for ((place, batch), _) in &shuffled {
                match batch {
                    None => recorder.void(*place).await.unwrap(),
                    Some(batch) => keep(&recorder, recorder.encode_rows(*place, batch)).await.unwrap(),
                }
            }
            let table = read(&*log, "m", EVERY).await.unwrap();
            prop_assert_eq!(ids(&table), (0..accepted).collect::<Vec<_>>());
            Ok(())
        })?;
    }
}
