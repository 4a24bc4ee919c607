//! What each service says of itself over plain HTTP, in the original's fields. It must not count anything itself.

use std::sync::Arc;

use acgs_drift::DriftService;
use acgs_mesh::{
    calls::Calls,
    server::{Doors, Fields},
};
use acgs_performance::PerformanceService;
use acgs_quality::QualityService;
use acgs_storage::LogSink;
use acgs_streams::directory::Directory;
use acgs_vocabulary::JudgeKind;
use serde_json::{Map, Value, json};

use crate::{
    remote::service_of,
    role::{LIFECYCLE, ORCHESTRATOR, service_name},
};

pub(crate) const CONSTITUTION: &str = "acgs.constitution.v1.ConstitutionService";

/// What all of them are made with.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) calls: Calls,
    pub(crate) sink: Option<LogSink>,
    pub(crate) uptime_start: String,
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn version() -> Fields {
    Arc::new(|| object(json!({ "version": env!("CARGO_PKG_VERSION") })))
}

impl Sources {
    fn alerts(&self, judge: JudgeKind) -> u64 {
        self.sink.as_ref().map_or(0, |sink| sink.alerts(judge))
    }

    fn judge(&self, judge: JudgeKind, numbers: Fields) -> Doors {
        Doors {
            services: vec![service_of(judge), CONSTITUTION],
            name: service_name(judge),
            health: version(),
            numbers,
        }
    }

    pub(crate) fn quality(&self, _service: &QualityService) -> Doors {
        let sources = self.clone();
        let numbers = move || {
            let (completed, _, mean_ms) = sources.calls.of("acgs.quality.v1.QualityService/Assess");
            object(json!({
                "assessments_completed": completed,
                "alerts_generated": sources.alerts(JudgeKind::Quality),
                "average_processing_time_ms": mean_ms,
                "uptime_start": sources.uptime_start,
            }))
        };
        self.judge(JudgeKind::Quality, Arc::new(numbers))
    }

    pub(crate) fn drift(&self, service: &DriftService) -> Doors {
        let (sources, service) = (self.clone(), service.clone());
        let numbers = move || {
            let (completed, _, mean_ms) = sources.calls.of("acgs.drift.v1.DriftService/Detect");
            object(json!({
                "detections_completed": completed,
                "drift_alerts_generated": sources.alerts(JudgeKind::Drift),
                "retraining_triggers": service.retraining_triggers(),
                "models_monitored": service.monitored(),
                "average_processing_time_ms": mean_ms,
                "uptime_start": sources.uptime_start,
            }))
        };
        self.judge(JudgeKind::Drift, Arc::new(numbers))
    }

    pub(crate) fn performance(&self, service: &PerformanceService) -> Doors {
        let (sources, service) = (self.clone(), service.clone());
        let numbers = move || {
            let (collected, _, _) = sources.calls.of("acgs.performance.v1.PerformanceService/SubmitMetrics");
            object(json!({
                "metrics_collected": collected,
                "sla_violations": service.sla_violations(),
                "alerts_generated": sources.alerts(JudgeKind::Performance),
                "services_monitored": service.monitored(),
                "uptime_start": sources.uptime_start,
            }))
        };
        self.judge(JudgeKind::Performance, Arc::new(numbers))
    }

    pub(crate) fn orchestrator(&self, directory: &Directory) -> Doors {
        let known = directory.clone();
        let health = move || {
            object(json!({
                "version": env!("CARGO_PKG_VERSION"), "registered_services": known.find("").len(),
            }))
        };
        let (sources, known) = (self.clone(), directory.clone());
        let numbers = move || {
            let name = |method: &str| format!("{ORCHESTRATOR}/{method}");
            let (analyses, failures, mean_ms) = sources.calls.of(&name("Analyze"));
            let (streams, _, _) = sources.calls.of(&name("StreamWindows"));
            let registry: Map<String, Value> = known
                .find("")
                .into_iter()
                .map(|known| {
                    let health = if known.serving { "healthy" } else { "draining" };
                    let service = known.service;
                    let said = json!({
                        "host": service.host, "port": service.port,
                        "capabilities": service.capabilities, "health": health,
                    });
                    (service.service_id, said)
                })
                .collect();
            object(json!({
                "requests_processed": analyses + streams,
                "distributed_analyses": analyses,
                "service_failures": failures,
                "average_processing_time_ms": mean_ms,
                "uptime_start": sources.uptime_start,
                "service_registry": registry,
            }))
        };
        Doors {
            services: [ORCHESTRATOR, CONSTITUTION].into_iter().chain(LIFECYCLE).collect(),
            name: "analytics-orchestrator",
            health: Arc::new(health),
            numbers: Arc::new(numbers),
        }
    }
}
