//! Registered services and alerts as messages.

use acgs_contracts::{common::v1 as common, orchestrator::v1 as proto};
use acgs_vocabulary::{AlertState, Problem, Severity, names, text};

use super::{ID_BYTES_MAX, OrchestratorService, messages};
use crate::{
    alerts::Record,
    registry::{Registered, Service},
};

/// Longest note, in bytes.
const NOTE_BYTES_MAX: usize = 1_024;
/// Alerts of a page.
const PAGE_MAX: u32 = 1_000;
const PAGE_DEFAULT: u32 = 100;

/// The message of a service.
pub(super) fn info(known: &Registered) -> proto::ServiceInfo {
    let service = &known.service;
    proto::ServiceInfo {
        service_id: service.service_id.clone(),
        service_name: service.service_name.clone(),
        host: service.host.clone(),
        port: u32::from(service.port),
        capabilities: service.capabilities.clone(),
        health_status: if known.serving { "healthy" } else { "draining" }.into(),
        last_health_check: text::rfc3339(known.last_heartbeat_ms),
        load: known.load,
        incarnation: known.incarnation,
    }
}

fn state(state: AlertState) -> proto::AlertState {
    match state {
        AlertState::Open => proto::AlertState::Open,
        AlertState::Resolved => proto::AlertState::Resolved,
    }
}

/// The message of an alert's record.
fn record(record: &Record) -> proto::AlertRecord {
    proto::AlertRecord {
        alert_id: record.alert_id.clone(),
        last_change: record.last().map(messages::alert),
        state: state(record.state).into(),
        opened_at: record.opened_at.clone(),
        changed_at: record.changed_at.clone(),
        acknowledged_by: record.acknowledged_by.clone(),
        acknowledged_at: record.acknowledged_at.clone(),
        note: record.note.clone(),
        resolved_by: record.resolved_by.clone(),
        model_id: record.model_id.clone(),
        service_id: record.service_id.clone(),
        openings: record.openings,
    }
}

fn check_person(by: &str, note: &str) -> Result<(), Problem> {
    if by.is_empty() || by.len() > ID_BYTES_MAX {
        let message = format!("has {} bytes, not 1 to {ID_BYTES_MAX}: say who you are", by.len());
        return Err(Problem::field("by", "BAD_NAME", message));
    }
    names::check_plain("by", by)?;
    names::check_sentence("note", note, NOTE_BYTES_MAX)
}

impl OrchestratorService {
    pub(super) fn register(
        &self,
        request: proto::RegisterServiceRequest,
    ) -> Result<proto::RegisterServiceResponse, Problem> {
        let port = u16::try_from(request.port).map_err(|_| {
            Problem::field("port", "OUT_OF_RANGE", format!("is {}, not 1 to 65535", request.port))
        })?;
        let health_endpoint = match request.health_endpoint.as_str() {
            "" => "/health".to_owned(),
            given => given.to_owned(),
        };
        let service = Service {
            service_id: request.service_id,
            service_name: request.service_name,
            host: request.host,
            port,
            capabilities: request.capabilities.clone(),
            health_endpoint,
        };
        let message = format!("Service {} registered", service.service_id);
        let incarnation = self.deps.directory.register(service)?;
        Ok(proto::RegisterServiceResponse {
            message,
            capabilities: request.capabilities,
            incarnation,
            lease_ms: self.deps.directory.lease_ms(),
            constitutional_hash: self.deps.constitution.current().to_owned(),
            timestamp: text::rfc3339(self.deps.clock.now_ms()),
        })
    }

    pub(super) fn list_known(&self, capability: &str) -> proto::ListServicesResponse {
        let services: Vec<_> = self.deps.directory.find(capability).iter().map(info).collect();
        proto::ListServicesResponse {
            total_services: services.len() as u32,
            services,
            constitutional_hash: self.deps.constitution.current().to_owned(),
            timestamp: text::rfc3339(self.deps.clock.now_ms()),
        }
    }

    pub(super) fn discover(&self, capability: &str) -> proto::DiscoverServicesResponse {
        let known = self.deps.directory.find("");
        let able = |known: &&Registered| {
            known.serving
                && (capability.is_empty() || known.service.capabilities.iter().any(|has| has == capability))
        };
        let discovered: Vec<_> = known.iter().filter(able).map(info).collect();
        proto::DiscoverServicesResponse {
            message: format!("Discovered {} services", discovered.len()),
            discovered_services: discovered,
            total_services: known.len() as u32,
            constitutional_hash: self.deps.constitution.current().to_owned(),
            timestamp: text::rfc3339(self.deps.clock.now_ms()),
        }
    }

    pub(super) async fn list_alerts_now(
        &self,
        request: proto::ListAlertsRequest,
    ) -> Result<proto::ListAlertsResponse, Problem> {
        if request.page_size > PAGE_MAX {
            return Err(Problem::field("page_size", "BAD_PAGE_SIZE", format!("is above {PAGE_MAX}")));
        }
        let token = &request.page_token;
        if !token.is_empty() && (token.len() != 32 || !token.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            return Err(Problem::field("page_token", "BAD_PAGE_TOKEN", "is not one that this server gave"));
        }
        let count = if request.page_size == 0 { PAGE_DEFAULT } else { request.page_size } as usize;
        let wanted = match request.state() {
            proto::AlertState::Unspecified => None,
            proto::AlertState::Open => Some(AlertState::Open),
            proto::AlertState::Resolved => Some(AlertState::Resolved),
        };
        let least = match request.severity() {
            common::Severity::Unspecified | common::Severity::Low => Severity::Low,
            common::Severity::Medium => Severity::Medium,
            common::Severity::High => Severity::High,
            common::Severity::Critical => Severity::Critical,
        };
        let found = self.deps.alerts.list(token, count, wanted, least, &request.model_id).await?;
        let more = found.len() == count;
        let last = found.last().filter(|_| more).map(|record| record.alert_id.clone());
        Ok(proto::ListAlertsResponse {
            alerts: found.iter().map(record).collect(),
            next_page_token: last.unwrap_or_default(),
        })
    }

    pub(super) async fn acknowledge(
        &self,
        request: proto::AcknowledgeAlertRequest,
    ) -> Result<proto::AcknowledgeAlertResponse, Problem> {
        check_person(&request.by, &request.note)?;
        self.deps.alerts.get(&request.alert_id).await?;
        let changed = self.deps.alerts.acknowledge(&request.alert_id, &request.by, &request.note).await?;
        Ok(proto::AcknowledgeAlertResponse { alert: Some(record(&changed)) })
    }

    pub(super) async fn resolve(
        &self,
        request: proto::ResolveAlertRequest,
    ) -> Result<proto::ResolveAlertResponse, Problem> {
        check_person(&request.by, &request.note)?;
        self.deps.alerts.get(&request.alert_id).await?;
        let changed = self.deps.alerts.resolve(&request.alert_id, &request.by, &request.note).await?;
        Ok(proto::ResolveAlertResponse { alert: Some(record(&changed)) })
    }

    pub(super) async fn explain(
        &self,
        request: proto::ExplainAlertRequest,
    ) -> Result<proto::ExplainAlertResponse, Problem> {
        let found = self.deps.alerts.get(&request.alert_id).await?;
        Ok(proto::ExplainAlertResponse {
            alert: Some(record(&found)),
            explanation: found.explain(),
            changes: found.changes.iter().map(messages::alert).collect(),
        })
    }
}
