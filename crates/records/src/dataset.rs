//! A range of event time as one table: each record once, with its label, in the order of event time. The same records make the
//! same bytes, whatever order they came in. It must not know who trains.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use acgs_columns::{
    Cell, Column, Field, Kind as FieldKind, OwnedCell, RecordBatch, RecordId, Role, Schema, batch::ROWS_MAX,
    builder::BatchBuilder,
};
use acgs_interchange::{from_arrow_tagged, tags_of_arrow};
use acgs_vocabulary::{
    Problem,
    budget::{self, Reservation, Use},
    ports::{
        Chunk, RecordLog,
        records::{Dataset, KeptPlace, Selection},
    },
    problem::Kind,
};

use crate::{
    joins::Joins,
    tag::{self, Life, Place},
};

/// Chunks read at once.
const PAGE: usize = 64;
/// What is noted of a row while its table is made: its id, its place, its label.
const ROW_BYTES: usize = 128;
/// Records and labels that are held while a table is made.
const HELD_MAX: usize = 20_000_000;

/// What is gathered from the log.
#[derive(Debug, Default)]
struct Gathered {
    /// As they came; which of them count is known when all have been read.
    pieces: Vec<(Place, Piece)>,
    joins: Joins,
    seen: HashSet<(Life, KeptPlace)>,
    held: usize,
    /// What it takes of the process's memory.
    room: Option<Reservation>,
    batches: Vec<RecordBatch>,
    labels: HashMap<RecordId, OwnedCell>,
    label_field: Option<Field>,
}

/// What a chunk holds.
#[derive(Debug)]
enum Piece {
    Rows(Vec<RecordBatch>),
    Labels(Arc<Schema>, Vec<RecordBatch>),
}

/// Reads a range of a topic.
///
/// # Errors
/// `DATASET_TOO_LARGE`, or the home's trouble.
pub async fn read(log: &dyn RecordLog, topic: &str, selection: Selection) -> Result<Dataset, Problem> {
    let mut gathered = Gathered::default();
    let mut after = 0;
    loop {
        let page = log.chunks(topic, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.sequence;
        // Decoding is work: other tasks go on meanwhile.
        gathered = tokio::task::spawn_blocking(move || {
            let taken = page.iter().try_for_each(|chunk| gathered.take(chunk, selection));
            taken.map(|()| gathered)
        })
        .await
        .map_err(|error| Problem::internal(error.to_string()))??;
    }
    tokio::task::spawn_blocking(move || gathered.settled().table(selection))
        .await
        .map_err(|error| Problem::internal(error.to_string()))?
}

fn broken(error: impl std::fmt::Display) -> Problem {
    Problem::internal(format!("the record log: {error}"))
}

impl Gathered {
    fn take(&mut self, chunk: &Chunk, selection: Selection) -> Result<(), Problem> {
        let apart = chunk.until_ms < selection.from_ms || chunk.from_ms >= selection.until_ms;
        if apart && chunk.from_ms != i64::MIN {
            // Its rows are not asked for, but it may say that others do not count.
            if let Ok(tags) = tags_of_arrow(&chunk.content) {
                self.joins.note(&tag::place(&tags));
            }
            return Ok(());
        }
        let ((schema, batches), tags) = from_arrow_tagged(&chunk.content).map_err(broken)?;
        let place = tag::place(&tags);
        self.joins.note(&place);
        if !self.seen.insert((place.life.clone(), place.kept)) {
            return Ok(());
        }
        self.held += batches.iter().map(RecordBatch::rows).sum::<usize>();
        if self.held > HELD_MAX {
            let message =
                format!("the range has more than {HELD_MAX} records and labels; take a shorter one");
            return Err(Problem::new(Kind::Exhausted, "DATASET_TOO_LARGE", message));
        }
        let bytes: usize = batches.iter().map(|batch| batch.heap_bytes()).sum();
        let room = self.room.get_or_insert_with(|| budget::process().of(Use::Files).nothing());
        // What was gathered, the table that it becomes, and what is noted of each row meanwhile.
        let rows: usize = batches.iter().map(RecordBatch::rows).sum();
        room.resize(room.bytes() + 2 * bytes + ROW_BYTES * rows)?;
        match tags.get(tag::HOLDS).map(String::as_str) {
            Some(tag::NOTHING) => {}
            Some(tag::LABELS) => self.pieces.push((place, Piece::Labels(schema, batches))),
            _ => self.pieces.push((place, Piece::Rows(batches))),
        }
        Ok(())
    }

    /// Takes what counts, in the order of the log.
    fn settled(mut self) -> Self {
        let mut labels = Vec::new();
        for (place, piece) in std::mem::take(&mut self.pieces) {
            match piece {
                _ if !self.joins.counts(&place) => {}
                Piece::Rows(batches) => self.batches.extend(batches),
                Piece::Labels(schema, batches) => labels.push((schema, batches)),
            }
        }
        let label_of =
            |schema: &Schema| schema.index_of_role(Role::Label).map(|label| schema.fields()[label].clone());
        self.label_field = labels.iter().rev().find_map(|(schema, _)| label_of(schema));
        // The newest records say what a label is, or else the newest labels.
        let in_rows = self.batches.last().and_then(|batch| label_of(batch.schema()));
        let kind = in_rows.as_ref().or(self.label_field.as_ref()).map(|field| field.kind);
        if let Some(kind) = kind {
            if let Some(field) = &mut self.label_field {
                field.kind = kind;
            }
            labels.iter().for_each(|(schema, batches)| self.take_labels(kind, schema, batches));
        }
        self
    }

    fn take_labels(&mut self, kind: FieldKind, schema: &Schema, batches: &[RecordBatch]) {
        let column = |role| schema.index_of_role(role);
        let (Some(id), Some(label)) = (column(Role::Id), column(Role::Label)) else { return };
        for batch in batches {
            for row in 0..batch.rows() {
                let value = OwnedCell::of(&batch.columns()[label], row);
                // A label of another kind is none of this table's, and takes no other's place.
                let fits = value != OwnedCell::Null && is_of(kind, &value);
                if let (Some(id), true) = (RecordId::of(&batch.columns()[id], row), fits) {
                    // The last label stands: it corrects what was said before.
                    self.labels.insert(id, value);
                }
            }
        }
    }

    /// Fields of the newest records, and the label.
    fn schema(&self) -> Result<Arc<Schema>, Problem> {
        let mut fields =
            self.batches.last().map(|batch| batch.schema().fields().to_vec()).unwrap_or_default();
        let has_label = fields.iter().any(|field| field.role == Role::Label);
        if let (false, Some(label)) = (has_label, &self.label_field) {
            fields.retain(|field| field.name != label.name);
            fields.push(label.clone());
        }
        if fields.is_empty() {
            fields.push(Field::new("timestamp", FieldKind::Timestamp, Role::Timestamp));
        }
        Schema::new(fields).map(Arc::new).map_err(broken)
    }

    fn table(self, selection: Selection) -> Result<Dataset, Problem> {
        let schema = self.schema()?;
        let mut chosen = self.chosen(selection);
        chosen.sort_unstable();
        let over = chosen.len().saturating_sub(selection.rows_max);
        let chosen = &chosen[over..];
        let mut batches = Vec::new();
        for rows in chosen.chunks(ROWS_MAX) {
            let mut builder = BatchBuilder::new(Arc::clone(&schema));
            for Chosen { batch, row, .. } in rows {
                let batch = &self.batches[*batch];
                let cells: Vec<Cell<'_>> =
                    schema.fields().iter().map(|field| self.cell(batch, *row, field)).collect();
                builder.push(&cells).map_err(broken)?;
            }
            batches.push(builder.finish().map_err(broken)?);
        }
        let (rows, room) = (chosen.len() as u64, self.room.map(Arc::new));
        Ok(Dataset { schema, batches, rows, room })
    }

    fn chosen(&self, selection: Selection) -> Vec<Chosen> {
        let mut known: HashSet<RecordId> = HashSet::new();
        let mut chosen = Vec::new();
        for (place, batch) in self.batches.iter().enumerate() {
            let column = |role| batch.schema().index_of_role(role).map(|index| &batch.columns()[index]);
            let Some(times) = column(Role::Timestamp) else { continue };
            let (ids, labels) = (column(Role::Id), column(Role::Label));
            for row in 0..batch.rows() {
                let Some(time_ms) = times.integer(row) else { continue };
                if !(selection.from_ms..selection.until_ms).contains(&time_ms) {
                    continue;
                }
                let id = ids.and_then(|ids| RecordId::of(ids, row));
                let labelled = labels.is_some_and(|labels| labels.is_valid(row))
                    || id.as_ref().is_some_and(|id| self.labels.contains_key(id));
                if selection.labelled && !labelled {
                    continue;
                }
                // A record that was sent in another life of the stream too is one record.
                if id.as_ref().is_some_and(|id| !known.insert(id.clone())) {
                    continue;
                }
                let order = match id {
                    Some(RecordId::Integer(id)) => Order::Integer(id),
                    Some(RecordId::Text(id)) => Order::Text(id),
                    None => Order::None,
                };
                chosen.push(Chosen { time_ms, order, batch: place, row });
            }
        }
        chosen
    }

    fn cell<'a>(&'a self, batch: &'a RecordBatch, row: usize, field: &Field) -> Cell<'a> {
        let here = batch.schema().index_of(&field.name);
        let alike = here.filter(|place| batch.schema().fields()[*place].kind == field.kind);
        let own = alike.map_or(Cell::Null, |place| batch.columns()[place].cell(row));
        if field.role != Role::Label || own != Cell::Null {
            return own;
        }
        let ids: Option<&Column> =
            batch.schema().index_of_role(Role::Id).map(|place| &batch.columns()[place]);
        let late = ids.and_then(|ids| RecordId::of(ids, row)).and_then(|id| self.labels.get(&id));
        match (field.kind, late) {
            (_, None) => Cell::Null,
            // A truth may come as a boolean where the rows have a number.
            (FieldKind::Double | FieldKind::Int64, Some(OwnedCell::Boolean(value))) => {
                Cell::Integer(i64::from(*value))
            }
            (_, Some(value)) => value.cell(),
        }
    }
}

fn is_of(kind: FieldKind, value: &OwnedCell) -> bool {
    match value {
        OwnedCell::Null => true,
        OwnedCell::Number(_) => kind == FieldKind::Double,
        OwnedCell::Integer(_) => matches!(kind, FieldKind::Int64 | FieldKind::Timestamp | FieldKind::Double),
        OwnedCell::Boolean(_) => matches!(kind, FieldKind::Boolean | FieldKind::Double | FieldKind::Int64),
        OwnedCell::Text(_) => kind == FieldKind::Text,
    }
}

/// A record of the table; the order is that of the table.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Chosen {
    time_ms: i64,
    order: Order,
    batch: usize,
    row: usize,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    None,
    Integer(i64),
    Text(Arc<str>),
}

#[cfg(test)]
#[path = "dataset_tests.rs"]
mod tests;
