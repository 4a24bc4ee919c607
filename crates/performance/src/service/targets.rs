//! Targets of services, how they stand, and the last submissions. A part of the service.

use std::collections::{BTreeMap, HashMap};

use acgs_contracts::performance::v1 as proto;
use acgs_judge_kit::history::{self, KEPT};
use acgs_vocabulary::{Problem, constitution::sha256_hex, names, text};

use super::{METRICS_MAX, PerformanceService};
use crate::record::MetricsRecord;

/// Submissions of a list, and how far back, when nothing is said.
const LIMIT: u32 = 100;
const HOURS: u32 = 24;
const HOURS_MAX: u32 = 720;
/// What counts as recent, in milliseconds.
const RECENT_MS: i64 = 3_600_000;
/// Services of a status, and submissions of each when several are asked for.
const SERVICES_MAX: usize = 100;
const SUBMISSIONS_OF_ALL: usize = 100;
const SLA_PREFIX: &str = "sla/";

/// A service's own targets, as they are kept.
type Own = (String, BTreeMap<String, f64>);

pub(super) fn check_service(id: &str) -> Result<(), Problem> {
    names::check("service_id", id, 1)
}

fn sla_key(service_id: &str) -> String {
    format!("{SLA_PREFIX}{}", &sha256_hex(service_id.as_bytes())[..32])
}

fn record(record: MetricsRecord) -> proto::MetricsRecord {
    let MetricsRecord { timestamp, metrics, sla_compliance, constitutional_hash, .. } = record;
    proto::MetricsRecord {
        timestamp,
        metrics: metrics.into_iter().collect(),
        sla_compliance,
        constitutional_hash,
    }
}

impl PerformanceService {
    /// The targets in force for a service: its own over the defaults.
    pub(super) async fn targets(&self, service_id: &str) -> Result<BTreeMap<String, f64>, Problem> {
        let mut targets = self.config.sla_targets.clone();
        if let Some(keys) = &self.keys
            && let Some(held) = keys.get(&sla_key(service_id)).await?
            && let Ok((_, own)) = serde_json::from_slice::<Own>(&held.value)
        {
            targets.extend(own);
        }
        Ok(targets)
    }

    pub(super) async fn configure(
        &self,
        request: proto::ConfigureSlaRequest,
    ) -> Result<proto::ConfigureSlaResponse, Problem> {
        check_service(&request.service_id)?;
        if request.sla_targets.is_empty() || request.sla_targets.len() > METRICS_MAX {
            let reason = if request.sla_targets.is_empty() { "EMPTY_DATA" } else { "TOO_MANY" };
            let message = format!("holds {} targets, not 1 to {METRICS_MAX}", request.sla_targets.len());
            return Err(Problem::field("sla_targets", reason, message));
        }
        let own: BTreeMap<String, f64> = request.sla_targets.into_iter().collect();
        for (name, target) in &own {
            let path = format!("sla_targets[{}]", name.chars().take(64).collect::<String>());
            if !self.config.sla_targets.contains_key(name) {
                let known: Vec<&str> = self.config.sla_targets.keys().map(String::as_str).collect();
                let message = format!("is none of {}", known.join(", "));
                return Err(Problem::field(path, "UNKNOWN_METRIC", message));
            }
            if !target.is_finite() || *target <= 0.0 {
                return Err(Problem::field(path, "OUT_OF_RANGE", format!("is {target}, not above 0")));
            }
        }
        let keys = self.keys.as_ref().ok_or_else(|| Problem::home_required("targets"))?;
        let value = serde_json::to_vec(&(&request.service_id, &own))
            .map_err(|error| Problem::internal(error.to_string()))?;
        keys.put(&sla_key(&request.service_id), value, None).await?;
        Ok(proto::ConfigureSlaResponse {
            message: format!("SLA targets configured for {}", request.service_id),
            targets: self.targets(&request.service_id).await?.into_iter().collect(),
            constitutional_hash: self.constitution.current().to_owned(),
            timestamp: text::rfc3339(self.clock.now_ms()),
        })
    }

    /// The services that have targets of their own.
    async fn configured(&self) -> Result<Vec<String>, Problem> {
        let keys = self.keys.as_ref().ok_or_else(|| Problem::home_required("targets"))?;
        let mut services = Vec::new();
        for key in keys.list(SLA_PREFIX, "", SERVICES_MAX).await? {
            let held = keys.get(&key).await?;
            let own = held.and_then(|held| serde_json::from_slice::<Own>(&held.value).ok());
            services.extend(own.map(|(service, _)| service));
        }
        Ok(services)
    }

    pub(super) async fn status(
        &self,
        request: proto::GetSlaStatusRequest,
    ) -> Result<proto::GetSlaStatusResponse, Problem> {
        let all = request.service_id.is_empty();
        let most = if all { SUBMISSIONS_OF_ALL } else { KEPT };
        let services = if all {
            self.configured().await?
        } else {
            check_service(&request.service_id)?;
            vec![request.service_id]
        };
        let history = self.history.as_ref().ok_or_else(|| Problem::home_required("metrics"))?;
        let now_ms = self.clock.now_ms();
        let mut sla_status = HashMap::new();
        for service in services {
            let recent = |record: &MetricsRecord| record.measured_ms >= now_ms - RECENT_MS;
            let recent = history.recent_while(&service, most, recent).await?;
            let compliant = recent.iter().filter(|record| record.sla_compliance).count();
            let compliance_rate =
                if recent.is_empty() { 1.0 } else { compliant as f64 / recent.len() as f64 };
            let status = proto::SlaStatus {
                compliance_rate,
                recent_metrics_count: recent.len() as u32,
                sla_targets: self.targets(&service).await?.into_iter().collect(),
            };
            sla_status.insert(service, status);
        }
        Ok(proto::GetSlaStatusResponse {
            sla_status,
            constitutional_hash: self.constitution.current().to_owned(),
            timestamp: text::rfc3339(now_ms),
        })
    }

    pub(super) async fn metrics_history(
        &self,
        request: proto::GetMetricsHistoryRequest,
    ) -> Result<proto::GetMetricsHistoryResponse, Problem> {
        check_service(&request.service_id)?;
        let limit = history::limit(request.limit, LIMIT)?;
        let hours = if request.hours == 0 { HOURS } else { request.hours };
        if hours > HOURS_MAX {
            return Err(Problem::field("hours", "OUT_OF_RANGE", format!("is {hours}, not 1 to {HOURS_MAX}")));
        }
        let history = self.history.as_ref().ok_or_else(|| Problem::home_required("metrics"))?;
        let now_ms = self.clock.now_ms();
        let since_ms = now_ms - i64::from(hours) * 3_600_000;
        let wanted = |record: &MetricsRecord| record.measured_ms >= since_ms;
        let kept = history.recent_while(&request.service_id, limit, wanted).await?;
        let metrics: Vec<_> = kept.into_iter().map(record).collect();
        Ok(proto::GetMetricsHistoryResponse {
            service_id: request.service_id,
            count: metrics.len() as u32,
            metrics,
            constitutional_hash: self.constitution.current().to_owned(),
            timestamp: text::rfc3339(now_ms),
        })
    }
}
