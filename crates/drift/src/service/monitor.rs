//! Models, monitors and the last detections: what arrives for a model, judged together. The service's other half.

use std::sync::Arc;

use acgs_columns::RecordBatch;
use acgs_contracts::drift::v1 as proto;
use acgs_judge_kit::{history, monitoring::Monitors};
use acgs_reference::{Reference, counts::PaneCounts};
use acgs_vocabulary::{
    Problem,
    convert::{rows, schema},
    names, text,
};

use super::{DriftService, ID_BYTES_MAX, input, store};
use crate::record::DetectionRecord;

/// Between two judgements, when nothing is said.
const INTERVAL_SECONDS: u32 = 300;
/// Detections of a list, when nothing is said.
const LIMIT: u32 = 10;
/// Models of a list.
const MODELS_MAX: usize = 1_000;

/// Rows of one model against one reference.
pub type Gathered = (Arc<Reference>, PaneCounts);

/// What is held of them, in bytes.
pub(super) fn heap_bytes((_, counts): &Gathered) -> usize {
    counts.heap_bytes()
}

/// Keeps rows for the order of their model, if there is one.
pub(super) fn gather(
    monitors: &Monitors<Gathered>,
    model_id: &str,
    reference: &Arc<Reference>,
    rows: &RecordBatch,
) {
    if monitors.watches(model_id) {
        monitors.gather(
            model_id,
            |(held, _)| held.name == reference.name && held.version == reference.version,
            || (Arc::clone(reference), PaneCounts::new(reference)),
            |(held, pane)| pane.push(held, rows),
        );
    }
}

pub(super) fn record(record: DetectionRecord) -> proto::DetectionRecord {
    let DetectionRecord { detection, detection_id, timestamp, report: _ } = record;
    proto::DetectionRecord {
        detection_id,
        model_id: detection.model_id,
        drift_detected: detection.drift_detected,
        retraining_required: detection.retraining_required,
        features_with_ks_drift: detection.features_with_ks_drift,
        features_with_psi_drift: detection.features_with_psi_drift,
        drift_severity: detection.drift_severity,
        timestamp,
    }
}

impl DriftService {
    pub(super) async fn register(
        &self,
        request: proto::RegisterModelRequest,
    ) -> Result<proto::RegisterModelResponse, Problem> {
        let store = self.store()?;
        let now_ms = self.clock.now_ms();
        let schema = match &request.schema {
            Some(fields) => schema::schema(fields).map_err(|problem| problem.within("schema"))?,
            None => {
                let data = &request.reference_data;
                let named = input::named(request.timestamp_column.as_deref(), data.iter());
                rows::infer(data, named, "reference_data")?
            }
        };
        let header = proto::ReferenceHeader {
            name: request.model_id.clone(),
            model_id: request.model_id.clone(),
            window_ms: request.window_ms,
            ..proto::ReferenceHeader::default()
        };
        store::check_header(&header, &schema).map_err(|problem| match problem.field_path() {
            Some("header.name") => named(&request),
            Some("header.window_ms") => {
                let message = "is negative, or there is no field with the role TIMESTAMP";
                Problem::field("window_ms", "BAD_SCHEMA", message)
            }
            _ => problem,
        })?;
        let batches = rows::batches(&request.reference_data, &schema, "reference_data")?;
        let window_ms = request.window_ms;
        let mut frozen =
            self.computing.apart(move || acgs_reference::freeze(&schema, &batches, window_ms)).await?;
        frozen.name.clone_from(&request.model_id);
        frozen.model_id.clone_from(&request.model_id);
        frozen.created_ms = now_ms;
        self.constitution.current().clone_into(&mut frozen.constitutional_hash);
        let stored = store.put(frozen).await?;
        self.publish_stored(&stored);
        Ok(proto::RegisterModelResponse {
            message: format!("Model {} registered", stored.name),
            model_id: stored.name,
            reference_records: stored.row_count,
            reference_version: stored.version,
            constitutional_hash: self.constitution.current().to_owned(),
            timestamp: text::rfc3339(now_ms),
        })
    }

    pub(super) async fn models(&self) -> Result<proto::ListModelsResponse, Problem> {
        let models = self.store()?.models(MODELS_MAX).await?;
        Ok(proto::ListModelsResponse {
            count: models.len() as u32,
            models,
            constitutional_hash: self.constitution.current().to_owned(),
            timestamp: text::rfc3339(self.clock.now_ms()),
        })
    }

    pub(super) async fn start_monitor(
        &self,
        request: proto::StartMonitoringRequest,
    ) -> Result<proto::StartMonitoringResponse, Problem> {
        for (path, id, least) in [("model_id", &request.model_id, 1), ("service_id", &request.service_id, 0)]
        {
            names::check(path, id, least)?;
        }
        let order =
            self.monitors.start(&request.model_id, request.monitoring_interval, INTERVAL_SECONDS).await?;
        Ok(proto::StartMonitoringResponse {
            message: format!("Drift monitoring started for {}", order.about),
            interval_seconds: order.interval_seconds,
            constitutional_hash: self.constitution.current().to_owned(),
        })
    }

    pub(super) async fn list_monitors_now(&self) -> Result<proto::ListMonitorsResponse, Problem> {
        let monitor = |order: acgs_judge_kit::monitoring::Monitor| proto::Monitor {
            model_id: order.about,
            interval_seconds: order.interval_seconds,
            started_at: order.started_at,
        };
        let monitors = self.monitors.list().await?.into_iter().map(monitor).collect();
        Ok(proto::ListMonitorsResponse { monitors })
    }

    pub(super) async fn detection(
        &self,
        request: proto::GetDetectionRequest,
    ) -> Result<proto::GetDetectionResponse, Problem> {
        let id = request.detection_id;
        let history = self.history.as_ref().ok_or_else(|| Problem::home_required("detections"))?;
        let found = history.get("", &id).await?;
        let found = found.ok_or_else(|| Problem::missing("detection", id, "UNKNOWN_DETECTION"))?;
        Ok(proto::GetDetectionResponse { detection: Some(record(found)) })
    }

    pub(super) async fn detections(
        &self,
        request: proto::ListDetectionsRequest,
    ) -> Result<proto::ListDetectionsResponse, Problem> {
        let limit = history::limit(request.limit, LIMIT)?;
        let history = self.history.as_ref().ok_or_else(|| Problem::home_required("detections"))?;
        let detections: Vec<_> = history.recent("", limit).await?.into_iter().map(record).collect();
        Ok(proto::ListDetectionsResponse {
            count: detections.len() as u32,
            detections,
            constitutional_hash: self.constitution.current().to_owned(),
            timestamp: text::rfc3339(self.clock.now_ms()),
        })
    }
}

fn named(request: &proto::RegisterModelRequest) -> Problem {
    let message = format!(
        "has {} bytes, not 1 to {ID_BYTES_MAX} of letters, digits, `_`, `-` and `.`",
        request.model_id.len()
    );
    Problem::field("model_id", "BAD_NAME", message)
}
