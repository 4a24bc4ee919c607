//! `Detect`: data against a stored reference or against other data, and what follows from what is found.

use std::sync::{Arc, atomic::Ordering};

use acgs_columns::{RecordBatch, Schema, numbers::numbers};
use acgs_contracts::drift::v1 as proto;
use acgs_reference::{
    Reference,
    counts::PaneCounts,
    places::Places,
    reference::{FeatureReference, Shape},
};
use acgs_statistics::sketch::FAR;
use acgs_vocabulary::{
    Problem, Severity,
    event::payload::DriftDetection,
    names,
    ports::{Judged, Judgement},
    problem::Kind,
    text,
};

use super::{
    DriftService, ID_BYTES_MAX, explanation,
    input::{self, Input},
    monitor, report_message,
};
use crate::{
    detect::{self, PSI_MAX},
    findings::{self, severity_of_rows},
    frozen::Frozen,
    looked::Samples,
    measure::{Cause, FeatureDrift},
    record::DetectionRecord,
    schema_changes,
};

impl DriftService {
    /// The reference that is asked for by name, or the model's own when no data is given to compare with.
    async fn stored_reference(
        &self,
        request: &proto::DetectRequest,
    ) -> Result<Option<Arc<Reference>>, Problem> {
        if input::has_reference(request) {
            return Ok(None);
        }
        match &request.reference {
            Some(selector) => {
                let found = self.store()?.load(&selector.name, selector.version, &request.model_id).await?;
                Ok(Some(Arc::new(found)))
            }
            None if request.model_id.is_empty() || self.store.is_none() => Ok(None),
            None => match self.store()?.load("", 0, &request.model_id).await {
                Ok(found) => Ok(Some(Arc::new(found))),
                Err(problem) if problem.kind() == Kind::NotFound => Ok(None),
                Err(problem) => Err(problem),
            },
        }
    }

    /// Publishes what was found, and keeps it among the last detections.
    pub(super) fn conclude(
        &self,
        request: &proto::DetectRequest,
        report: &detect::Report,
        reference: &Reference,
    ) -> proto::DetectResponse {
        let now_ms = self.clock.now_ms();
        let message = report_message::report(&self.config, report, reference);
        let response = self.response(request, report, now_ms);
        self.retrainings.fetch_add(u64::from(response.retraining_required), Ordering::Relaxed);
        let detection = DriftDetection {
            model_id: request.model_id.clone(),
            drift_detected: response.drift_detected,
            retraining_required: response.retraining_required,
            features_with_ks_drift: response.features_with_ks_drift.clone(),
            features_with_psi_drift: response.features_with_psi_drift.clone(),
            drift_severity: response.drift_severity.clone(),
        };
        if let Some(history) = &self.history {
            let record = DetectionRecord {
                detection: detection.clone(),
                detection_id: response.detection_id.clone(),
                timestamp: response.timestamp.clone(),
                report: explanation::kept(message.clone()),
            };
            history.offer("", &response.detection_id, &record);
        }
        self.sink.publish(Judgement {
            id: response.detection_id.clone(),
            about: request.model_id.clone(),
            judged: Judged::Drift(detection),
            findings: findings::findings(&self.config, report),
        });
        proto::DetectResponse { report: Some(message), ..response }
    }

    pub(super) async fn detect_now(
        &self,
        mut request: proto::DetectRequest,
    ) -> Result<proto::DetectResponse, Problem> {
        for (path, value) in [("model_id", &request.model_id), ("service_id", &request.service_id)] {
            names::check_short(path, value, ID_BYTES_MAX)?;
        }
        let stored = self.stored_reference(&request).await?;
        let service = self.clone();
        let (mut report, reference, request) = self
            .computing
            .apart(move || {
                let rows = input::input(&mut request, stored.is_some())?;
                let (report, reference) = match stored {
                    Some(reference) => service.against_stored(reference, &rows, &request.model_id)?,
                    None => service.against_sample(&rows),
                };
                Ok::<_, Problem>((report, reference, request))
            })
            .await??;
        report
            .features
            .iter_mut()
            .for_each(|feature| feature.row_count = feature.row_count.min(report.row_count));
        Ok(self.conclude(&request, &report, &reference))
    }

    fn against_stored(
        &self,
        reference: Arc<Reference>,
        rows: &Input,
        model_id: &str,
    ) -> Result<(detect::Report, Arc<Reference>), Problem> {
        let places = Places::new(&reference, &rows.schema);
        if !places.any() {
            let message = format!("holds no field of reference {}", reference.name);
            return Err(Problem::field("current_data", "MISSING_FIELD", message));
        }
        let mut pane = PaneCounts::new(&reference);
        for batch in &rows.now {
            pane.push_at(&reference, &places, batch);
            monitor::gather(&self.monitors, model_id, &reference, batch);
        }
        let frozen = Frozen::new(Arc::clone(&reference));
        let mut report = detect::report_in_full(&self.config, &frozen, &pane, |_| None);
        report.schema_changes = schema_changes::of_rows(&reference, &places, &rows.schema, &pane);
        Ok((report, reference))
    }

    /// Both samples are here, so tests are exact.
    fn against_sample(&self, rows: &Input) -> (detect::Report, Arc<Reference>) {
        let Input { schema, then, now } = rows;
        let frozen = Frozen::new(Arc::new(acgs_reference::freeze(schema, then, 0)));
        let reference = &frozen.reference;
        let mut pane = PaneCounts::new(reference);
        now.iter().for_each(|batch| pane.push(reference, batch));
        let samples: Vec<(Vec<f64>, Vec<f64>)> = reference
            .features
            .iter()
            .map(|feature| (sample(schema, then, feature), sample(schema, now, feature)))
            .collect();
        let of = |index: usize| {
            let (reference, current) = &samples[index];
            (!reference.is_empty() && !current.is_empty()).then_some(Samples { reference, current })
        };
        let mut report = detect::report_in_full(&self.config, &frozen, &pane, of);
        let places = Places::new(reference, schema);
        report.schema_changes = schema_changes::of_rows(reference, &places, schema, &pane);
        (report, frozen.reference)
    }

    fn response(
        &self,
        request: &proto::DetectRequest,
        report: &detect::Report,
        now_ms: i64,
    ) -> proto::DetectResponse {
        let names = |wanted: &dyn Fn(&FeatureDrift) -> bool| {
            report
                .features
                .iter()
                .filter(|feature| wanted(feature))
                .map(|feature| feature.name.clone())
                .collect()
        };
        let retraining_required = report.drift_detected && report.score_drift;
        let severity = severity_of_rows(&self.config, report);
        let mut recommendations = Vec::new();
        if retraining_required {
            recommendations.push(
                "Compare the loss on recent labels with the reference's: retrain when it is worse.".into(),
            );
        } else if report.drift_detected {
            recommendations
                .push("Inputs have moved: watch the loss; retraining on drift alone can be wrong.".into());
        } else if severity.is_some() {
            recommendations.push("Some features have moved: look at their source.".into());
        }
        if !report.schema_changes.is_empty() {
            recommendations
                .push("Columns are not those of the reference: see the report's schema_changes.".into());
        }
        proto::DetectResponse {
            detection_id: text::unique_id("drift-", now_ms),
            model_id: request.model_id.clone(),
            drift_detected: report.drift_detected,
            retraining_required,
            features_with_ks_drift: names(&|feature| {
                feature.test == "ks" && feature.causes.contains(&Cause::Values)
            }),
            features_with_psi_drift: names(&|feature| feature.drifted() && feature.psi_corrected > PSI_MAX),
            drift_severity: severity.map_or("NONE", Severity::as_str).into(),
            recommendations,
            constitutional_hash: self.constitution.current().to_owned(),
            timestamp: text::rfc3339(now_ms),
            report: None,
        }
    }
}

/// The finite numbers of a feature, ascending. One whose magnitude cannot be meant is at the reference's nearest end, as in panes: it is
/// beyond, and how far says nothing.
fn sample(schema: &Schema, batches: &[RecordBatch], feature: &FeatureReference) -> Vec<f64> {
    let Some(index) = schema.index_of(&feature.field.name) else { return Vec::new() };
    let mut values = Vec::new();
    for found in batches.iter().filter_map(|batch| numbers(&batch.columns()[index])) {
        values.extend_from_slice(&found.finite);
    }
    if let Shape::Numeric { cells, .. } = &feature.shape
        && values.iter().any(|value| value.abs() > FAR)
    {
        let limit = cells.far_limit();
        let far = values.iter_mut().filter(|value| value.abs() > limit);
        far.for_each(|value| *value = value.max(cells.minimum()).min(cells.maximum()));
    }
    values.sort_unstable_by(f64::total_cmp);
    values
}
