//! One set of rows before all judges: the lane protocol, for one window. It must not know protobuf.

use std::{future::poll_fn, sync::Arc};

use acgs_columns::{RecordBatch, Schema};
use acgs_lane::{
    Book, Connector, LaneDown, LaneUp,
    message::{Open, Verdict},
};
use acgs_vocabulary::{JudgeKind, Problem, Window, ports::StoredReference, problem::Kind};

use crate::{
    core::Part,
    lanes::link::{Link, Said},
    projection::Projection,
};

/// How often one judge is asked, when it is lost before it answers: the question has no state.
const ATTEMPTS: usize = 3;

/// Judges rows as one window, by all judges at once.
///
/// # Errors
/// When a judge refuses the rows, or none can be found.
pub async fn analyze(
    connector: &Arc<dyn Connector>,
    judges: &[JudgeKind],
    schema: &Arc<Schema>,
    batches: &[RecordBatch],
    window: &Window,
    reference: Option<&StoredReference>,
) -> Result<Vec<Part>, Problem> {
    let asked = judges.iter().map(|&judge| ask(connector, judge, schema, batches, window, reference));
    futures_util::future::try_join_all(asked).await
}

async fn ask(
    connector: &Arc<dyn Connector>,
    judge: JudgeKind,
    schema: &Arc<Schema>,
    batches: &[RecordBatch],
    window: &Window,
    reference: Option<&StoredReference>,
) -> Result<Part, Problem> {
    let projection = Projection::new(judge, schema, None)
        .map_err(|error| Problem::field("schema", "BAD_SCHEMA", error))?;
    let offered = reference.filter(|_| judge != JudgeKind::Quality);
    let open = Open {
        stream_id: Arc::clone(&window.stream_id),
        slot: 0,
        schema: Arc::clone(&projection.schema),
        configs: offered.map(|stored| ("reference".to_owned(), stored.digest)).into_iter().collect(),
        snapshot_every_bytes: 0,
        model_id: String::new(),
        service_id: String::new(),
    };
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let mut link = Link::new(Arc::clone(connector), judge, open.clone(), offered.cloned(), 0);
        let mut book = Book::new(false);
        book.push(LaneDown::OpenPane { pane: 1, key: "".into(), labels_only: false });
        for (index, batch) in batches.iter().enumerate() {
            let Some(batch) = projection.apply(batch) else { continue };
            let runs = vec![(1, batch.rows() as u32)];
            book.push(LaneDown::Rows { seq: index as u64 + 1, batch, runs, again: false });
        }
        book.push(LaneDown::Close { window: window.clone(), revision: 0, panes: vec![1] });
        match verdict(&mut link, &mut book).await {
            Ok(verdict) => return Ok(Part { judge, verdict: Some(verdict), revision: 0 }),
            Err(problem) if problem.kind() == Kind::Unavailable => last = Some(problem),
            Err(problem) => return Err(problem),
        }
    }
    Err(last.unwrap_or_else(|| Problem::internal("a judge was not asked")))
}

async fn verdict(link: &mut Link, book: &mut Book) -> Result<Verdict, Problem> {
    loop {
        match poll_fn(|context| link.poll(context, book)).await {
            Said::Up(LaneUp::Verdict(verdict)) => return Ok(verdict),
            Said::Up(_) | Said::Opened => {}
            Said::Lost(problem) | Said::Refused(problem) => return Err(problem),
        }
    }
}
