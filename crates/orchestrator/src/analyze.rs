//! One set of rows before all judges: the lane protocol, for one window. It must not know protobuf.

use std::sync::Arc;

use acgs_columns::{RecordBatch, Schema};
use acgs_lane::{
    Connector, LaneDown, LaneUp,
    message::{Open, Verdict},
};
use acgs_vocabulary::{JudgeKind, Problem, Window, ports::StoredReference};

use crate::{
    core::Part,
    lanes::{Event, Lanes},
    projection::Projection,
};

/// Judges rows as one window.
///
/// # Errors
/// When a judge refuses the rows.
pub async fn analyze(
    connector: &dyn Connector,
    judges: &[JudgeKind],
    schema: &Arc<Schema>,
    batches: &[RecordBatch],
    window: &Window,
    reference: Option<&StoredReference>,
) -> Result<Vec<Part>, Problem> {
    let mut parts = Vec::new();
    for &judge in judges {
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
        let mut lanes = Lanes::open(connector, vec![(judge, open)], offered).await?;
        lanes.push(judge, LaneDown::OpenPane { pane: 1, key: "".into(), labels_only: false });
        for (index, batch) in batches.iter().enumerate() {
            let Some(batch) = projection.apply(batch) else { continue };
            let runs = vec![(1, batch.rows() as u32)];
            lanes.push(judge, LaneDown::Rows { seq: index as u64 + 1, batch, runs });
        }
        lanes.push(judge, LaneDown::Close { window: window.clone(), revision: 0, panes: vec![1] });
        parts.push(Part { judge, verdict: Some(verdict(&mut lanes).await?), revision: 0 });
    }
    Ok(parts)
}

async fn verdict(lanes: &mut Lanes) -> Result<Verdict, Problem> {
    loop {
        match lanes.next().await {
            Event::Up(_, LaneUp::Verdict(verdict)) => return Ok(verdict),
            Event::Up(..) => {}
            Event::Lost(_, problem) => return Err(problem),
        }
    }
}
