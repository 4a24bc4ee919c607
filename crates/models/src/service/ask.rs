//! What the services ask before it sends a command: that an artifact is there, that records are.

use std::sync::Arc;

use acgs_contracts::lifecycle::v1 as proto;
use acgs_lifecycle::{
    Answer, Command, Policy,
    event::NewVersion,
    trigger::{Evidence, Trigger},
};
use acgs_vocabulary::{Problem, Severity, constitution::sha256_hex, problem::Kind, text};

use super::{
    ModelsDeps, POLICY_BYTES_MAX, artifact_key,
    checks::{self, actor, reason},
    look::{bad_policy, limit, no_records},
    messages,
};

impl ModelsDeps {
    /// What has no uri is here, and is what it says.
    pub(super) async fn check_artifact(&self, new: &NewVersion) -> Result<(), Problem> {
        if !new.artifact.uri.is_empty() {
            return Ok(());
        }
        let digest = &new.artifact.digest;
        let bytes = self.blobs.get(&artifact_key(digest)).await?;
        let bytes = bytes.ok_or_else(|| Problem::missing("artifact", digest, "UNKNOWN_ARTIFACT"))?;
        if new.artifact.size_bytes != 0 && new.artifact.size_bytes != bytes.len() as u64 {
            let message = format!("is {}, the artifact has {} bytes", new.artifact.size_bytes, bytes.len());
            return Err(Problem::field("artifact.size_bytes", "BAD_DIGEST", message));
        }
        Ok(())
    }

    /// Whether a version's artifact is still what was registered; one that is elsewhere is its keeper's matter.
    pub(super) async fn is_intact(&self, model_id: &str, version: &str) -> Result<bool, Problem> {
        let version = self.version(model_id, version)?;
        let artifact = version.artifact.unwrap_or_default();
        if !artifact.uri.is_empty() {
            return Ok(true);
        }
        let bytes = self.blobs.get(&artifact_key(&artifact.digest)).await?;
        Ok(bytes.is_some_and(|bytes| sha256_hex(&bytes) == artifact.digest))
    }

    pub(super) async fn retrain(
        &self,
        request: proto::RequestRetrainingRequest,
    ) -> Result<proto::RequestRetrainingResponse, Problem> {
        let description = reason("why", &request.why)?;
        let kind = messages::asked_trigger(request.trigger())?;
        checks::short("request_id", &request.request_id)?;
        let severity = match request.severity() {
            acgs_contracts::common::v1::Severity::Unspecified => Severity::Medium,
            said => messages::severity(said),
        };
        let now_ms = self.clock.now_ms();
        let known_ms = self
            .writer
            .look(|state| state.model(&request.model_id).map(|model| model.event_time_ms))
            .ok_or_else(|| Problem::missing("model", &request.model_id, "UNKNOWN_MODEL"))?;
        if self.records.last_sequence(&request.model_id).await? == 0 {
            return Err(no_records());
        }
        let newest_ms = if known_ms > 0 { known_ms } else { now_ms };
        let source = match request.request_id.as_str() {
            "" => text::unique_id("request-", now_ms),
            id => format!("request {id}"),
        };
        let trigger = Trigger {
            kind,
            severity,
            event_time_ms: request.event_time_ms.unwrap_or(newest_ms),
            evidence: Evidence { source, description, event_id: String::new() },
            reference_version: 0,
            records: None,
            overrides: request.override_limits,
        };
        let asks = actor(&request.actor)?;
        match self.writer.submit(&asks, &request.model_id, Command::Trigger(trigger)).await? {
            Answer::Job { job, known, .. } => {
                Ok(proto::RequestRetrainingResponse { job: Some(self.job(job).await?), known })
            }
            _ => {
                let message = "the policy leaves triggers of this severity alone";
                Err(Problem::new(Kind::Precondition, "BELOW_SEVERITY", message))
            }
        }
    }

    pub(super) async fn set_policy(
        &self,
        request: proto::PutPolicyRequest,
    ) -> Result<proto::PutPolicyResponse, Problem> {
        let asks = actor(&request.actor)?;
        let toml = request.document.map(|document| document.toml).unwrap_or_default();
        if toml.len() > POLICY_BYTES_MAX {
            let message = format!("has {} bytes, at most {POLICY_BYTES_MAX}", toml.len());
            return Err(Problem::field("document.toml", "TOO_LONG", message));
        }
        let policy = Policy::parse(&toml).map_err(|error| bad_policy("document.toml", &error))?;
        let (policy, expected) = (Arc::new(policy), request.expected_revision);
        let command = Command::PutPolicy { policy, expected };
        self.writer.submit_once(&asks, &request.request_id, &request.model_id, command).await?;
        let policy = Some(self.policy(&request.model_id)?);
        Ok(proto::PutPolicyResponse { policy })
    }

    pub(super) fn find_jobs(
        &self,
        request: &proto::ListJobsRequest,
    ) -> Result<proto::ListJobsResponse, Problem> {
        let limit = limit(request.limit)?;
        let before = match request.before.as_str() {
            "" => 0,
            job => checks::job_number(job).map_err(|_| checks::bad_job("before"))?,
        };
        let wanted: Vec<_> = request.states().map(messages::job_state_of).collect();
        let jobs = self.writer.look(|state| {
            let fits = |model: &str, job: &acgs_lifecycle::model::Job| {
                (request.model_id.is_empty() || *model == *request.model_id)
                    && (wanted.is_empty() || wanted.contains(&Some(job.state)))
            };
            let jobs = state.jobs_before(before).filter(|(model, job)| fits(&model.model_id, job));
            jobs.take(limit).map(|(model, job)| messages::job(&model.model_id, job)).collect()
        });
        Ok(proto::ListJobsResponse { jobs })
    }
}
