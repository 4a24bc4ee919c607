//! Deployments as messages, with what is counted now.

use acgs_contracts::lifecycle::v1 as proto;
use acgs_lifecycle::{
    analysis::{GateFound, judge},
    deployment::{Cause, Deployment, PauseReason, Phase},
    rollout::Rollout,
};
use acgs_vocabulary::text;

use crate::routes::RouterRegistry;

fn strategy(strategy: Rollout) -> proto::Strategy {
    match strategy {
        Rollout::Immediate => proto::Strategy::Immediate,
        Rollout::Hold => proto::Strategy::Unspecified,
        Rollout::Canary => proto::Strategy::Canary,
        Rollout::BlueGreen => proto::Strategy::BlueGreen,
        Rollout::Rolling => proto::Strategy::Rolling,
        Rollout::Shadow => proto::Strategy::Shadow,
    }
}

fn phase(phase: Phase) -> proto::DeploymentPhase {
    match phase {
        Phase::Pending => proto::DeploymentPhase::Pending,
        Phase::Preparing => proto::DeploymentPhase::Preparing,
        Phase::Shadowing => proto::DeploymentPhase::Shadowing,
        Phase::Shifting => proto::DeploymentPhase::Shifting,
        Phase::Analyzing => proto::DeploymentPhase::Analyzing,
        Phase::Paused => proto::DeploymentPhase::Paused,
        Phase::Promoting => proto::DeploymentPhase::Promoting,
        Phase::Baking => proto::DeploymentPhase::Baking,
        Phase::Completed => proto::DeploymentPhase::Completed,
        Phase::Aborting => proto::DeploymentPhase::Aborting,
        Phase::RolledBack => proto::DeploymentPhase::RolledBack,
        Phase::Failed => proto::DeploymentPhase::Failed,
    }
}

fn pause(reason: Option<PauseReason>) -> proto::PauseReason {
    match reason {
        None => proto::PauseReason::Unspecified,
        Some(PauseReason::Manual) => proto::PauseReason::Manual,
        Some(PauseReason::Inconclusive) => proto::PauseReason::Inconclusive,
        Some(PauseReason::NoData) => proto::PauseReason::NoData,
        Some(PauseReason::BaselineFailing) => proto::PauseReason::BaselineFailing,
    }
}

fn cause(cause: Option<Cause>) -> proto::RollbackCause {
    match cause {
        None => proto::RollbackCause::Unspecified,
        Some(Cause::Analysis) => proto::RollbackCause::Analysis,
        Some(Cause::Operator) => proto::RollbackCause::Operator,
        Some(Cause::Deadline) => proto::RollbackCause::Deadline,
    }
}

/// Evidence for people; a number that a message can hold.
fn shown(ln_evidence: f64) -> f64 {
    ln_evidence.min(700.0).exp()
}

/// The message of a deployment; what routers have counted is asked while it is open.
pub(super) fn message(
    routers: &RouterRegistry,
    model_id: &str,
    deployment: &Deployment,
) -> proto::Deployment {
    let counts = match deployment.phase.is_open() {
        true => routers.counted(deployment),
        false => deployment.counts.clone(),
    };
    let judged = judge(&counts, &deployment.plan.analysis);
    let gate = |gate: &GateFound| proto::GateEvidence {
        gate: gate.gate.clone(),
        bad: shown(gate.ln_bad),
        bad_at: shown(judged.ln_bad_at),
        good: shown(gate.ln_good),
        good_at: shown(judged.ln_good_at),
        description: gate.description.clone(),
    };
    proto::Deployment {
        deployment_id: format!("deployment-{}", deployment.number),
        model_id: model_id.to_owned(),
        version: deployment.version.to_string(),
        baseline: deployment.baseline.clone(),
        strategy: strategy(deployment.strategy).into(),
        phase: phase(deployment.phase).into(),
        steps: deployment.plan.steps.clone(),
        step: deployment.step as u32,
        weight: if deployment.phase == Phase::Completed { 100 } else { deployment.weight() },
        pause_reason: pause(deployment.pause).into(),
        rollback_cause: cause(deployment.cause).into(),
        why: deployment.why.clone(),
        actor: deployment.actor.clone(),
        started_at: text::rfc3339(deployment.started_at_ms),
        phase_at: text::rfc3339(deployment.phase_at_ms),
        due_at: deployment.next_due_ms().map(text::rfc3339).unwrap_or_default(),
        counts: Some(proto::DeploymentCounts {
            candidate_calls: counts.calls(),
            candidate_errors: counts.candidate.errors + counts.alone.errors,
            baseline_calls: counts.baseline.calls,
            baseline_errors: counts.baseline.errors,
            shadow_compared: counts.shadow.pairs,
            shadow_different: counts.shadow.different,
        }),
        gates: judged.gates.iter().map(gate).collect(),
        fenced_routers: deployment.fenced.clone(),
        plan_toml: deployment.plan.to_toml(),
    }
}
