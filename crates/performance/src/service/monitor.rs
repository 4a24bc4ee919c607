//! Monitors: what arrives for a service, by call or by lane, judged together. A part of the service.

use std::collections::BTreeMap;

use acgs_columns::RecordBatch;
use acgs_contracts::performance::v1 as proto;
use acgs_judge_kit::monitoring::Monitors;
use acgs_reference::LossBaseline;
use acgs_vocabulary::{
    Problem,
    event::payload::PerformanceSubmitted,
    ports::{Judged, Judgement},
    text,
};

use super::{PerformanceService, finding, targets::check_service};
use crate::{findings, pane::PerformancePane, report, roles::Roles, sla};

/// Between two judgements, when nothing is said.
const INTERVAL_SECONDS: u32 = 60;
/// What a number takes beside its name.
const NAMED_BYTES: usize = 96;

/// What arrived for a service.
#[derive(Clone, Debug)]
pub enum Gathered {
    /// Submitted metrics: sums and counts by name, and the targets that were in force last.
    Metrics(BTreeMap<String, (f64, u64)>, BTreeMap<String, f64>),
    /// Rows of lanes.
    Rows(Box<Roles>, Option<LossBaseline>, Box<PerformancePane>),
}

/// What is held, in bytes, about.
pub(super) fn heap_bytes(held: &Gathered) -> usize {
    let named = |name: &String| name.len() + NAMED_BYTES;
    match held {
        Gathered::Metrics(sums, targets) => sums.keys().chain(targets.keys()).map(named).sum(),
        Gathered::Rows(.., pane) => size_of::<PerformancePane>() + pane.heap_bytes(),
    }
}

/// Keeps the rows of a lane for the order of its service, if there is one.
pub(super) fn gather_rows(
    monitors: &Monitors<Gathered>,
    service_id: &str,
    roles: &Roles,
    baseline: Option<LossBaseline>,
    rows: &RecordBatch,
) {
    if monitors.watches(service_id) {
        let same = |held: &Gathered| matches!(held, Gathered::Rows(known, loss, _) if **known == *roles && *loss == baseline);
        let begin = || Gathered::Rows(Box::new(roles.clone()), baseline, Box::default());
        monitors.gather(service_id, same, begin, |held| {
            if let Gathered::Rows(_, _, pane) = held {
                pane.push(roles, rows);
            }
        });
    }
}

/// Keeps submitted metrics likewise.
pub(super) fn gather_metrics(
    monitors: &Monitors<Gathered>,
    service_id: &str,
    metrics: &BTreeMap<String, f64>,
    targets: &BTreeMap<String, f64>,
) {
    if monitors.watches(service_id) {
        let same = |held: &Gathered| matches!(held, Gathered::Metrics(..));
        monitors.gather(
            service_id,
            same,
            || Gathered::Metrics(BTreeMap::new(), BTreeMap::new()),
            |held| {
                if let Gathered::Metrics(sums, in_force) = held {
                    in_force.clone_from(targets);
                    for (name, value) in metrics {
                        let (sum, count) = sums.entry(name.clone()).or_default();
                        *sum += value;
                        *count += 1;
                    }
                }
            },
        );
    }
}

impl PerformanceService {
    pub(super) async fn start_monitor(
        &self,
        request: proto::StartMonitoringRequest,
    ) -> Result<proto::StartMonitoringResponse, Problem> {
        check_service(&request.service_id)?;
        let order =
            self.monitors.start(&request.service_id, request.monitoring_interval, INTERVAL_SECONDS).await?;
        Ok(proto::StartMonitoringResponse {
            message: format!("Performance monitoring started for {}", order.about),
            interval_seconds: order.interval_seconds,
            constitutional_hash: self.constitution.current().to_owned(),
        })
    }

    pub(super) async fn list_monitors_now(&self) -> Result<proto::ListMonitorsResponse, Problem> {
        let monitor = |order: acgs_judge_kit::monitoring::Monitor| proto::Monitor {
            service_id: order.about,
            interval_seconds: order.interval_seconds,
            started_at: order.started_at,
        };
        let monitors = self.monitors.list().await?.into_iter().map(monitor).collect();
        Ok(proto::ListMonitorsResponse { monitors })
    }

    /// Judges what was gathered for a service, and publishes it.
    pub(super) fn conclude_gathered(&self, service_id: String, gathered: Gathered) {
        let now_ms = self.clock.now_ms();
        let (submitted, findings) = match gathered {
            Gathered::Metrics(sums, targets) => {
                let mean = |(sum, count): &(f64, u64)| sum / (*count).max(1) as f64;
                let means: BTreeMap<String, f64> =
                    sums.iter().map(|(name, held)| (name.clone(), mean(held))).collect();
                let violations = sla::violations(&targets, &means);
                let submitted = PerformanceSubmitted::Metrics {
                    metrics: means,
                    sla_compliance: violations.is_empty(),
                    measured_at: text::rfc3339(now_ms),
                    violations: violations.iter().map(|violation| violation.metric.clone()).collect(),
                };
                (submitted, violations.iter().map(finding).collect())
            }
            Gathered::Rows(roles, baseline, pane) => {
                let report = report::report(&self.config, &roles, &pane, baseline, 0);
                let submitted = PerformanceSubmitted::Rows {
                    row_count: report.row_count,
                    error_rate: report.error_rate,
                    latency_p95_ms: report.latency_ms.map(|latency| latency[2]),
                    labelled_count: report.labelled_count,
                    brier: report.brier.map(|brier| brier.value),
                };
                (submitted, findings::findings(&self.config, &report))
            }
        };
        self.sink.publish(Judgement {
            id: text::unique_id("perf-", now_ms),
            about: service_id,
            judged: Judged::Performance(submitted),
            findings,
        });
    }
}
