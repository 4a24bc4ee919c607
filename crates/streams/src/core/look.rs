//! A look at a frame, before anything of it is kept: sequence, end, event times, room. What was looked at can be taken. It must not know where
//! frames are kept.

use std::{collections::HashMap, sync::Arc};

use acgs_columns::{Column, RecordBatch, Role, Values};
use acgs_vocabulary::{Problem, problem::Kind};
use acgs_windowing::windows::{Full, Room};

use super::{
    Action, Core, Receipt,
    label::Label,
    monotonic_ms,
    partitions::Origin,
    work::{FrameRows, Unfinished},
};

/// 1900-01-01 and 2200-01-01: event times beyond are a wrong unit, not history.
const EARLIEST_MS: i64 = -2_208_988_800_000;
const LATEST_MS: i64 = 7_258_118_400_000;
/// A caller may try again after this long when panes or windows are full.
const RETRY_MS: u64 = 1_000;

/// What is in a frame.
#[derive(Debug)]
pub enum Held {
    /// Rows.
    Rows(RecordBatch),
    /// Labels.
    Labels(Vec<Label>),
}

/// What was found of a frame that may be taken.
#[derive(Debug, Default)]
pub struct Looked {
    rows: Option<FrameRows>,
    /// Rows without a usable event time.
    rejected: Rejected,
    /// What is promised to it until it is taken.
    pub room: Room,
}

/// What a look at a frame says.
#[derive(Debug)]
pub enum Look {
    /// It may be taken.
    Fits(Box<Looked>),
    /// It was in before, or is on its way.
    Duplicate,
    /// Its client was refused, or another one delivers the partition by now.
    Stale,
}

/// Rows without a usable event time, by reason.
#[derive(Clone, Copy, Debug, Default)]
struct Rejected {
    null: u64,
    out_of_range: u64,
    in_future: u64,
}

impl Core {
    /// Looks at a frame, whose place is promised to it then: taking it cannot fail.
    ///
    /// # Errors
    /// `SEQUENCE_GAP` when frames are missing before it, `ENDED` after the partition's end, or a bound: `PANES` or `WINDOWS`. The frame has
    /// left no trace then.
    pub fn look(
        &mut self,
        origin: &Origin,
        held: &Held,
        now_ms: i64,
        reserved: Room,
    ) -> Result<Look, Problem> {
        let Some(state) = self.current(origin).filter(|state| !state.refused) else { return Ok(Look::Stale) };
        if state.ends {
            let message = format!("partition {:?} has ended", origin.partition);
            return Err(Problem::new(Kind::Precondition, "ENDED", message));
        }
        let expected = state.looked_through + 1;
        if origin.seq > expected {
            let field = if matches!(held, Held::Rows(_)) { "rows" } else { "labels" };
            let message = format!("{field}.seq: is {}, expected {expected}; go on from there", origin.seq);
            return Err(Problem::new(Kind::OutOfRange, "SEQUENCE_GAP", message));
        }
        if origin.seq < expected {
            self.totals.dropped.duplicate_frames += 1;
            return Ok(Look::Duplicate);
        }
        let looked = match held {
            Held::Rows(batch) => self.look_at_rows(batch, &origin.partition, now_ms, reserved)?,
            Held::Labels(_) => Looked::default(),
        };
        if let Some(state) = self.current(origin) {
            state.looked_through = origin.seq;
        }
        Ok(Look::Fits(Box::new(looked)))
    }

    fn look_at_rows(
        &self,
        batch: &RecordBatch,
        partition: &str,
        now_ms: i64,
        reserved: Room,
    ) -> Result<Looked, Problem> {
        let time_column = self.spec.time_column().filter(|index| *index < batch.columns().len());
        let time = time_column.map(|index| &batch.columns()[index]);
        let (Some(time_column), Some(Column { values: Values::Integer(times_ms), .. })) = (time_column, time)
        else {
            return Err(Problem::internal("a stream's batch has no event times"));
        };
        let (which, rejected) = self.reject(time, times_ms, now_ms);
        let (keys, key_names) = keys(&self.spec.schema, batch);
        let awaiting = self.awaiting(batch);
        let (batch, partition) = (batch.clone(), partition.into());
        let frame = FrameRows { batch, time_column, keys, key_names, rejected: which, awaiting, partition };
        let room = match frame.rows() {
            Some(rows) => self.windows.room_for(rows, reserved).map_err(full)?,
            None => Room::default(),
        };
        Ok(Looked { rows: Some(frame), rejected, room })
    }

    /// Takes a frame that was looked at; `None` when another client delivers the partition by now, or one before it was not taken.
    pub fn take(
        &mut self,
        origin: &Origin,
        held: Held,
        looked: Looked,
        receipt: Receipt,
    ) -> Option<Vec<Action>> {
        let state = self.current(origin).filter(|state| state.accepted_through + 1 == origin.seq)?;
        state.accepted_through = origin.seq;
        let Some(frame) = looked.rows else {
            let Held::Labels(labels) = held else { return Some(Vec::new()) };
            return Some(self.label(labels, receipt.now_us));
        };
        let dropped = &mut self.totals.dropped;
        dropped.null_timestamp += looked.rejected.null;
        dropped.timestamp_out_of_range += looked.rejected.out_of_range;
        dropped.timestamp_in_future += looked.rejected.in_future;
        let ingest = self.windows.begin(&origin.partition, monotonic_ms(receipt.now_us));
        let unfinished = Unfinished {
            ingest: Some(ingest),
            frame: Some(frame),
            receipt_us: Some(receipt.received_us),
            ..Unfinished::default()
        };
        Some(self.begin(unfinished, receipt.now_us))
    }

    /// Which rows are without a usable event time, empty when all have one; and how many, by reason.
    fn reject(&self, time: Option<&Column>, times_ms: &[i64], now_ms: i64) -> (Vec<bool>, Rejected) {
        let mut rejected = Rejected::default();
        let latest_ms = now_ms.saturating_add(self.config.future_ms_max).min(LATEST_MS);
        let nulls = time.is_some_and(|column| column.null_count() > 0);
        if !nulls && times_ms.iter().all(|time_ms| (EARLIEST_MS..=latest_ms).contains(time_ms)) {
            return (Vec::new(), rejected);
        }
        let mut verdict = |row: usize, time_ms: i64| {
            let count = if time.is_some_and(|column| !column.is_valid(row)) {
                &mut rejected.null
            } else if !(EARLIEST_MS..=LATEST_MS).contains(&time_ms) {
                &mut rejected.out_of_range
            } else if time_ms > latest_ms {
                &mut rejected.in_future
            } else {
                return false;
            };
            *count += 1;
            true
        };
        let which = times_ms.iter().enumerate().map(|(row, &time_ms)| verdict(row, time_ms)).collect();
        (which, rejected)
    }
}

fn full(full: Full) -> Problem {
    let reason = match full {
        Full::Panes(_) => "PANES",
        Full::Windows(_) => "WINDOWS",
    };
    Problem::exhausted(reason, full.to_string(), RETRY_MS)
}

/// Keys of the rows, as indices into their names; nulls share the empty key.
fn keys(schema: &acgs_columns::Schema, batch: &RecordBatch) -> (Option<Vec<u32>>, Vec<Arc<str>>) {
    let Some(column) = schema.index_of_role(Role::Key).map(|index| &batch.columns()[index]) else {
        return (None, Vec::new());
    };
    let mut names: Vec<Arc<str>> = vec![Arc::from("")];
    match &column.values {
        Values::Text { codes, dictionary } => {
            names.extend(dictionary.iter().cloned());
            let key = |row: usize| if column.is_valid(row) { codes[row] + 1 } else { 0 };
            (Some((0..batch.rows()).map(key).collect()), names)
        }
        _ => {
            let mut known: HashMap<i64, u32> = HashMap::new();
            let keys = (0..batch.rows()).map(|row| match column.integer(row) {
                None => 0,
                Some(value) => *known.entry(value).or_insert_with(|| {
                    names.push(Arc::from(value.to_string()));
                    names.len() as u32 - 1
                }),
            });
            (Some(keys.collect()), names)
        }
    }
}
