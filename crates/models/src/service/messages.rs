//! Models, versions, jobs and policies as messages, and back.

use std::collections::{BTreeMap, HashMap};

use acgs_contracts::{common::v1 as common, lifecycle::v1 as proto};
use acgs_lifecycle::{
    Policy,
    compliance::{ComplianceEvidence, EVIDENCE_MAX},
    event::{Artifact, DataWindow, NewVersion},
    gates::{GateResult, Outcome},
    job::JobState,
    model::{Job, Model, Version},
    policy::{Gates, Mode},
    stage::Stage,
    trigger::TriggerKind,
};
use acgs_vocabulary::{Problem, Severity, names, text};

use super::checks;

/// Most metrics of a version.
const METRICS_MAX: usize = 64;

fn stage(stage: Stage) -> proto::Stage {
    match stage {
        Stage::Registered => proto::Stage::Registered,
        Stage::Validating => proto::Stage::Validating,
        Stage::Validated => proto::Stage::Validated,
        Stage::Rejected => proto::Stage::Rejected,
        Stage::Candidate => proto::Stage::Candidate,
        Stage::Champion => proto::Stage::Champion,
        Stage::Standby => proto::Stage::Standby,
        Stage::Retired => proto::Stage::Retired,
        Stage::Archived => proto::Stage::Archived,
        Stage::Quarantined => proto::Stage::Quarantined,
    }
}

fn job_state(state: JobState) -> proto::JobState {
    match state {
        JobState::Observed => proto::JobState::Observed,
        JobState::Suppressed => proto::JobState::Suppressed,
        JobState::Queued => proto::JobState::Queued,
        JobState::Leased => proto::JobState::Leased,
        JobState::Running => proto::JobState::Running,
        JobState::Evaluating => proto::JobState::Evaluating,
        JobState::AwaitingApproval => proto::JobState::AwaitingApproval,
        JobState::Backoff => proto::JobState::Backoff,
        JobState::Succeeded => proto::JobState::Succeeded,
        JobState::Rejected => proto::JobState::Rejected,
        JobState::Superseded => proto::JobState::Superseded,
        JobState::Cancelled => proto::JobState::Cancelled,
        JobState::Expired => proto::JobState::Expired,
        JobState::DeadLettered => proto::JobState::DeadLettered,
    }
}

/// A state; `None` for one that there is not.
pub(super) fn job_state_of(state: proto::JobState) -> Option<JobState> {
    JobState::ALL.into_iter().find(|known| job_state(*known) == state)
}

fn trigger(kind: TriggerKind) -> proto::TriggerKind {
    match kind {
        TriggerKind::ComplianceViolation => proto::TriggerKind::ComplianceViolation,
        TriggerKind::PerformanceDegradation => proto::TriggerKind::PerformanceDegradation,
        TriggerKind::DriftDetected => proto::TriggerKind::DriftDetected,
        TriggerKind::QualityDegradation => proto::TriggerKind::QualityDegradation,
        TriggerKind::Scheduled => proto::TriggerKind::Scheduled,
        TriggerKind::Manual => proto::TriggerKind::Manual,
    }
}

/// What a caller may ask for.
pub(super) fn asked_trigger(kind: proto::TriggerKind) -> Result<TriggerKind, Problem> {
    match kind {
        proto::TriggerKind::Unspecified | proto::TriggerKind::Manual => Ok(TriggerKind::Manual),
        proto::TriggerKind::ComplianceViolation => Ok(TriggerKind::ComplianceViolation),
        _ => {
            let message = "is decided by the judges or the calendar; ask for MANUAL or COMPLIANCE_VIOLATION";
            Err(Problem::field("trigger", "BAD_TRIGGER", message))
        }
    }
}

fn mode(mode: Mode) -> proto::TriggerMode {
    match mode {
        Mode::Auto => proto::TriggerMode::Auto,
        Mode::Approve => proto::TriggerMode::Approve,
        Mode::Observe => proto::TriggerMode::Observe,
    }
}

/// A severity; what is not said is the lowest.
pub(super) fn severity(severity: common::Severity) -> Severity {
    match severity {
        common::Severity::Unspecified | common::Severity::Low => Severity::Low,
        common::Severity::Medium => Severity::Medium,
        common::Severity::High => Severity::High,
        common::Severity::Critical => Severity::Critical,
    }
}

fn piece(evidence: &ComplianceEvidence) -> proto::ComplianceEvidence {
    proto::ComplianceEvidence {
        principle: evidence.principle.clone(),
        score: evidence.score,
        source: evidence.source.clone(),
    }
}

/// Evidence as callers supply it.
pub(super) fn evidence(pieces: &[proto::ComplianceEvidence]) -> Result<Vec<ComplianceEvidence>, Problem> {
    if pieces.len() > EVIDENCE_MAX {
        let message = format!("has {} pieces, at most {EVIDENCE_MAX}", pieces.len());
        return Err(Problem::field("evidence", "BAD_EVIDENCE", message));
    }
    let check = |(place, piece): (usize, &proto::ComplianceEvidence)| {
        let bad = |field: &str, message: &str| {
            Err(Problem::field(format!("evidence[{place}].{field}"), "BAD_EVIDENCE", message))
        };
        if piece.principle.is_empty() || piece.principle.len() > 128 || !names::is_plain(&piece.principle) {
            return bad("principle", "is not 1 to 128 bytes without control characters");
        }
        if !(0.0..=1.0).contains(&piece.score) {
            return bad("score", "is not in [0, 1]");
        }
        if piece.source.is_empty() || checks::text("source", &piece.source).is_err() {
            return bad("source", "is not 1 to 1024 bytes: say how it was measured");
        }
        Ok(ComplianceEvidence {
            principle: piece.principle.clone(),
            score: piece.score,
            source: piece.source.clone(),
        })
    };
    pieces.iter().enumerate().map(check).collect()
}

fn gate(result: &GateResult) -> proto::GateResult {
    let outcome = match result.outcome {
        Outcome::Passed => proto::GateOutcome::Passed,
        Outcome::Failed => proto::GateOutcome::Failed,
        Outcome::NotApplicable => proto::GateOutcome::NotApplicable,
    };
    let measured = result.measured.iter();
    let measured = measured.map(|(name, value)| proto::Measurement { name: name.clone(), value: *value });
    proto::GateResult {
        gate: result.gate.clone(),
        outcome: outcome.into(),
        measured: measured.collect(),
        bound: result.bound,
        description: result.description.clone(),
    }
}

/// The message of a data set.
pub(super) fn data(window: &DataWindow) -> proto::DataWindow {
    proto::DataWindow {
        from_ms: window.from_ms,
        until_ms: window.until_ms,
        rows: window.rows,
        digest: window.digest.clone(),
    }
}

/// The message of an artifact.
pub(super) fn artifact(artifact: &Artifact) -> proto::Artifact {
    proto::Artifact {
        digest: artifact.digest.clone(),
        size_bytes: artifact.size_bytes,
        format: artifact.format.clone(),
        uri: artifact.uri.clone(),
    }
}

/// The gates that a policy asks for, a sentence each.
pub(super) fn gates(gates: &Gates) -> Vec<String> {
    let mut all = vec![
        "schema: a finite score for every held-out record".to_owned(),
        format!("holdout_rows: at least {}", gates.rows_min),
        format!("champion: not worse by more than {} with confidence {}", gates.margin, gates.confidence),
    ];
    all.extend(gates.loss_max.map(|most| format!("loss: at most {most}")));
    all.extend(gates.auc_min.map(|least| format!("auc: at least {least}")));
    let floor = |slice: &acgs_lifecycle::policy::Slice| {
        format!("slice:{}: loss of each part at most {}", slice.field, slice.loss_max)
    };
    all.extend(gates.slices.iter().map(floor));
    if gates.compliance.required {
        all.push(format!("compliance: weighted score at least {}", gates.compliance.score_min));
    }
    all
}

/// What a maker measured.
pub(super) fn metrics(field: &str, given: HashMap<String, f64>) -> Result<BTreeMap<String, f64>, Problem> {
    let fine = given.iter().all(|(name, value)| value.is_finite() && names::check(field, name, 0).is_ok());
    if given.len() > METRICS_MAX || !fine {
        let message = format!(
            "are more than {METRICS_MAX}, not finite, or have a name of more than 128 bytes or with control characters"
        );
        return Err(Problem::field(field, "BAD_METRICS", message));
    }
    Ok(given.into_iter().collect())
}

/// The message of a version.
pub(super) fn version(model_id: &str, version: &Version) -> proto::Version {
    let new = &version.new;
    proto::Version {
        model_id: model_id.to_owned(),
        version: new.version.clone(),
        number: version.number,
        stage: stage(version.stage).into(),
        artifact: Some(artifact(&new.artifact)),
        data: new.data.as_ref().map(data),
        parent: new.parent.clone(),
        metrics: new.metrics.iter().map(|(name, value)| (name.clone(), *value)).collect(),
        evidence: new.evidence.iter().map(piece).collect(),
        job_id: if new.job > 0 { format!("job-{}", new.job) } else { String::new() },
        gates: version.gates.iter().map(gate).collect(),
        registered_at: text::rfc3339(version.registered_at_ms),
        staged_at: text::rfc3339(version.staged_at_ms),
    }
}

/// The versions of a model, the newest first.
pub(super) fn versions(model: &Model) -> Vec<proto::Version> {
    let mut all: Vec<_> = model.versions.values().collect();
    all.sort_unstable_by_key(|version| std::cmp::Reverse(version.number));
    all.into_iter().map(|known| version(&model.model_id, known)).collect()
}

/// The message of a model.
pub(super) fn model(model: &Model) -> proto::Model {
    proto::Model {
        model_id: model.model_id.to_string(),
        model_name: model.model_name.clone(),
        service_id: model.service_id.clone(),
        registered_at: text::rfc3339(model.registered_at_ms),
        champion: model.champion.as_deref().unwrap_or("").to_owned(),
        policy_revision: model.policy_revision,
        frozen: model.frozen.is_some(),
        frozen_why: model.frozen.clone().unwrap_or_default(),
        unhelpful_in_a_row: model.unhelpful,
        open_jobs: model.open_jobs().count() as u32,
        versions: model.versions.len() as u32,
        evidence: model.evidence.iter().map(piece).collect(),
    }
}

/// The message of a job.
pub(super) fn job(model_id: &str, job: &Job) -> proto::Job {
    proto::Job {
        job_id: format!("job-{}", job.number),
        model_id: model_id.to_owned(),
        state: job_state(job.state).into(),
        trigger: trigger(job.kind).into(),
        severity: common::Severity::from(job.severity).into(),
        mode: mode(job.mode).into(),
        evidence: job
            .evidence
            .iter()
            .map(|piece| proto::Evidence {
                source: piece.source.clone(),
                description: piece.description.clone(),
                event_id: piece.event_id.clone(),
            })
            .collect(),
        triggers: job.triggers,
        event_time_ms: job.event_time_ms,
        requester: job.requester.clone(),
        attempt: job.attempt,
        worker: job.lease.as_ref().map(|lease| lease.worker.clone()).unwrap_or_default(),
        version: job.version.clone().unwrap_or_default(),
        why: job.why.clone(),
        next_event_ms: job.next_event_ms,
        observed_at: text::rfc3339(job.observed_at_ms),
        stepped_at: text::rfc3339(job.stepped_at_ms),
        due_at: job.due_at_ms.map(text::rfc3339).unwrap_or_default(),
    }
}

/// The message of a policy, with what it says of every kind.
pub(super) fn policy(model_id: &str, revision: u64, policy: &Policy) -> Result<proto::Policy, Problem> {
    let toml = policy.to_toml().map_err(|error| Problem::internal(error.to_string()))?;
    let rule = |kind: TriggerKind| {
        let rule = policy.rule(kind);
        proto::TriggerRule {
            trigger: trigger(kind).into(),
            mode: mode(rule.mode).into(),
            severity_min: common::Severity::from(rule.severity_min).into(),
            coalesce_ms: rule.coalesce_ms,
            cooldown_ms: rule.cooldown_ms,
            cron: rule.cron.unwrap_or_default(),
        }
    };
    Ok(proto::Policy {
        model_id: model_id.to_owned(),
        revision,
        document: Some(proto::PolicyDocument { toml }),
        enabled: policy.enabled,
        rules: TriggerKind::ALL.into_iter().map(rule).collect(),
    })
}

/// A version as a caller registers it.
pub(super) fn new_version(request: proto::RegisterVersionRequest) -> Result<NewVersion, Problem> {
    checks::name("version", &request.version)?;
    checks::short("parent", &request.parent)?;
    let artifact = request.artifact.ok_or_else(|| Problem::field("artifact", "BAD_DIGEST", "is missing"))?;
    checks::digest("artifact.digest", &artifact.digest)?;
    checks::text("artifact.uri", &artifact.uri)?;
    checks::short("artifact.format", &artifact.format)?;
    if let Some(data) = &request.data {
        checks::digest("data.digest", &data.digest)?;
    }
    Ok(NewVersion {
        version: request.version,
        artifact: Artifact {
            digest: artifact.digest,
            size_bytes: artifact.size_bytes,
            format: artifact.format,
            uri: artifact.uri,
        },
        data: request.data.map(|data| DataWindow {
            from_ms: data.from_ms,
            until_ms: data.until_ms,
            rows: data.rows,
            digest: data.digest,
        }),
        parent: request.parent,
        metrics: metrics("metrics", request.metrics)?,
        evidence: evidence(&request.evidence)?,
        job: 0,
        constitutional_hash: String::new(),
    })
}
