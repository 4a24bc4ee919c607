//! The judges: their services, and lanes to them in process. It must not know what they find.

use std::{collections::HashMap, sync::Arc};

use acgs_contracts::{
    drift::v1::drift_service_server::DriftServiceServer,
    performance::v1::performance_service_server::PerformanceServiceServer,
    quality::v1::quality_service_server::QualityServiceServer,
};
use acgs_drift::ReferenceStore;
use acgs_lane::in_process::{InProcess, JudgeFactory};
use acgs_mesh::server::Doors;
use acgs_vocabulary::{JudgeKind, ports::KeyValue};
use tonic::service::Routes;

use crate::{
    settings::Settings,
    tools::{MESSAGE_BYTES_MAX, Tools},
};

impl Tools<'_> {
    /// A judge's services; its monitors run from now on.
    pub(crate) fn judge_routes(
        &self,
        judge: JudgeKind,
        keys: Option<Arc<dyn KeyValue>>,
        references: Option<ReferenceStore>,
    ) -> (u16, Routes, Doors, JudgeFactory) {
        let Tools { settings, constitution, clock, sink, sources, stop, .. } = self;
        let (constitution, clock, sink, stop) =
            ((*constitution).clone(), Arc::clone(clock), Arc::clone(sink), (*stop).clone());
        match judge {
            JudgeKind::Quality => {
                let service = acgs_quality::QualityService::new(
                    settings.quality,
                    constitution,
                    clock,
                    sink,
                    keys,
                    stop,
                );
                tokio::spawn(service.clone().run_monitors());
                let doors = sources.quality(&service);
                let lanes = service.clone();
                let factory: JudgeFactory = Arc::new(move || Box::new(lanes.lane_judge()));
                let service = QualityServiceServer::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX);
                (settings.listen.quality, Routes::new(service), doors, factory)
            }
            JudgeKind::Drift => {
                let service = acgs_drift::DriftService::new(
                    settings.drift.clone(),
                    constitution,
                    clock,
                    sink,
                    references,
                    stop,
                );
                tokio::spawn(service.clone().run_monitors());
                let doors = sources.drift(&service);
                let lanes = service.clone();
                let factory: JudgeFactory = Arc::new(move || Box::new(lanes.lane_judge()));
                let service = DriftServiceServer::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX);
                (settings.listen.drift, Routes::new(service), doors, factory)
            }
            JudgeKind::Performance => {
                let config = settings.performance.clone();
                let service =
                    acgs_performance::PerformanceService::new(config, constitution, clock, sink, keys, stop);
                tokio::spawn(service.clone().run_monitors());
                let doors = sources.performance(&service);
                let lanes = service.clone();
                let factory: JudgeFactory = Arc::new(move || Box::new(lanes.lane_judge()));
                let service =
                    PerformanceServiceServer::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX);
                (settings.listen.performance, Routes::new(service), doors, factory)
            }
        }
    }
}

/// The three judges, each lane its own, as no service has them: nothing is gathered for monitors.
#[must_use]
pub fn in_process(settings: &Settings) -> InProcess {
    let (quality, drift, performance) =
        (settings.quality, settings.drift.clone(), settings.performance.clone());
    let factories: [(JudgeKind, JudgeFactory); 3] = [
        (JudgeKind::Quality, Arc::new(move || Box::new(acgs_quality::judge(quality)))),
        (JudgeKind::Drift, Arc::new(move || Box::new(acgs_drift::judge(drift.clone())))),
        (JudgeKind::Performance, Arc::new(move || Box::new(acgs_performance::judge(performance.clone())))),
    ];
    InProcess::new(HashMap::from(factories))
}
