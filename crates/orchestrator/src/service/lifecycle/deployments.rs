//! Deployments: what people ask of them, and how they are told. It must not decide anything.

use std::{pin::Pin, sync::Arc, time::Duration};

use acgs_contracts::lifecycle::v1 as proto;
use acgs_lifecycle::{
    Answer, Command,
    analysis::judge,
    decide::{EndpointChange, Start},
    deployment::{Cause, Deployment, PauseReason, Phase},
    model::Model,
    rollout::{Rollout, RolloutPlan},
};
use acgs_vocabulary::{Problem, problem::Kind, text};
use futures_core::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use super::{
    Answered, LifecycleFace,
    checks::{self, actor, numbered, person, reason},
    explain,
    look::{bad_policy, limit},
};

/// What ids of deployments begin with.
pub(super) const DEPLOYMENT: &str = "deployment-";
/// States that wait for who follows a deployment.
const WATCHED_MAX: usize = 16;
/// Counts are told this often.
const COUNTS_EVERY: Duration = Duration::from_secs(1);
/// Longest host name of an endpoint, in bytes.
const HOST_BYTES_MAX: usize = 253;

/// Who follows a deployment is told this.
pub(super) type Watched = Pin<Box<dyn Stream<Item = Result<proto::WatchDeploymentResponse, Status>> + Send>>;

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

/// The number in `deployment-7`.
fn number(field: &str, deployment_id: &str) -> Result<u64, Problem> {
    let bad = || Problem::field(field, "BAD_DEPLOYMENT_ID", "is not a deployment such as deployment-7");
    numbered(DEPLOYMENT, deployment_id).ok_or_else(bad)
}

/// Evidence for people; a number that a message can hold.
fn shown(ln_evidence: f64) -> f64 {
    ln_evidence.min(700.0).exp()
}

fn check_endpoint(place: usize, endpoint: &str) -> Result<(&str, u16), Problem> {
    let parts = endpoint.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let parts = parts.filter(|(host, port)| !host.is_empty() && host.len() <= HOST_BYTES_MAX && *port > 0);
    let fine = parts.filter(|_| endpoint.parse::<http::uri::Authority>().is_ok() && !endpoint.contains('@'));
    fine.ok_or_else(|| {
        let message = format!("{endpoint:?} is not host:port");
        Problem::field(format!("endpoints[{place}]"), "BAD_ENDPOINT", message)
    })
}

impl LifecycleFace {
    /// The message of a deployment, with what is counted now where it goes on.
    fn deployment_message(&self, model_id: &str, deployment: &Deployment) -> proto::Deployment {
        let counts = match deployment.phase.is_open() {
            true => self.board.counted(deployment).0,
            false => deployment.counts,
        };
        let judged = judge(&counts, &deployment.plan.analysis);
        let gate = |gate: &acgs_lifecycle::analysis::GateFound| proto::GateEvidence {
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

    async fn deployment_by_number(&self, number: u64) -> Result<proto::Deployment, Problem> {
        let found = self.registrar.deployment(number).await?;
        let missing = || Problem::missing("deployment", format!("deployment-{number}"), "UNKNOWN_DEPLOYMENT");
        let (model_id, deployment) = found.ok_or_else(missing)?;
        Ok(self.deployment_message(&model_id, &deployment))
    }

    /// Sends a command about a deployment to its model.
    async fn on_deployment(
        &self,
        deployment_id: &str,
        actor: &str,
        command: impl FnOnce(u64) -> Command,
    ) -> Result<Option<proto::Deployment>, Problem> {
        let number = number("deployment_id", deployment_id)?;
        let found = self.registrar.deployment(number).await?;
        let missing = || Problem::missing("deployment", deployment_id, "UNKNOWN_DEPLOYMENT");
        let (model_id, _) = found.ok_or_else(missing)?;
        self.registrar.submit(actor, &model_id, command(number)).await?;
        Ok(Some(self.deployment_by_number(number).await?))
    }

    pub(super) async fn answer_set_endpoints(
        &self,
        request: proto::SetEndpointsRequest,
    ) -> Answered<proto::SetEndpointsResponse> {
        let asks = actor(&request.actor)?;
        for (place, endpoint) in request.endpoints.iter().enumerate() {
            let (host, port) = check_endpoint(place, endpoint)?;
            if !self.allowed.allows(host, port) {
                let message = format!("{endpoint:?} is not allowed by mesh.allowed");
                return Err(Problem::new(Kind::Denied, "ADDRESS_NOT_ALLOWED", message).into());
            }
        }
        let change = match request.change() {
            proto::EndpointChange::Unspecified => EndpointChange::Set,
            proto::EndpointChange::Add => EndpointChange::Add,
            proto::EndpointChange::Remove => EndpointChange::Remove,
        };
        let (version, endpoints) = (request.version.clone(), request.endpoints);
        let command = Command::SetEndpoints { version: request.version, endpoints, change };
        self.registrar.submit(&asks, &request.model_id, command).await?;
        let endpoints = self.registrar.look(|state| {
            let known = state.model(&request.model_id)?.version(&version)?;
            Some(known.endpoints.clone())
        });
        let endpoints = endpoints.unwrap_or_default();
        Ok(Response::new(proto::SetEndpointsResponse { endpoints }))
    }

    pub(super) async fn answer_start_deployment(
        &self,
        request: proto::StartDeploymentRequest,
    ) -> Answered<proto::StartDeploymentResponse> {
        let (asks, why) = (person(&request.actor)?, reason("why", &request.why)?);
        let strategy = match request.strategy() {
            proto::Strategy::Unspecified if request.strategy != 0 => {
                return Err(Problem::field("strategy", "BAD_STRATEGY", "is not one that is known").into());
            }
            proto::Strategy::Unspecified => None,
            proto::Strategy::Immediate => Some(Rollout::Immediate),
            proto::Strategy::Canary => Some(Rollout::Canary),
            proto::Strategy::BlueGreen => Some(Rollout::BlueGreen),
            proto::Strategy::Rolling => Some(Rollout::Rolling),
            proto::Strategy::Shadow => Some(Rollout::Shadow),
        };
        if request.plan_toml.len() > super::POLICY_BYTES_MAX {
            let message =
                format!("has {} bytes, at most {}", request.plan_toml.len(), super::POLICY_BYTES_MAX);
            return Err(Problem::field("plan_toml", "TOO_LONG", message).into());
        }
        let plan = match request.plan_toml.as_str() {
            "" => None,
            toml => Some(RolloutPlan::parse(toml).map_err(|error| bad_policy("plan_toml", &error))?),
        };
        let start = Start { version: request.version, strategy, plan, unjudged: request.unjudged, why };
        let command = Command::StartDeployment(Box::new(start));
        match self.registrar.submit(&asks, &request.model_id, command).await? {
            Answer::Deployment(number) => {
                let deployment = Some(self.deployment_by_number(number).await?);
                Ok(Response::new(proto::StartDeploymentResponse { deployment }))
            }
            other => Err(Problem::internal(format!("{other:?} instead of a deployment")).into()),
        }
    }

    pub(super) async fn answer_pause_deployment(
        &self,
        request: proto::PauseDeploymentRequest,
    ) -> Answered<proto::PauseDeploymentResponse> {
        let (asks, why) = (person(&request.actor)?, reason("why", &request.why)?);
        let command = |deployment| Command::PauseDeployment { deployment, why };
        let deployment = self.on_deployment(&request.deployment_id, &asks, command).await?;
        Ok(Response::new(proto::PauseDeploymentResponse { deployment }))
    }

    pub(super) async fn answer_resume_deployment(
        &self,
        request: proto::ResumeDeploymentRequest,
    ) -> Answered<proto::ResumeDeploymentResponse> {
        let asks = person(&request.actor)?;
        let command = |deployment| Command::ResumeDeployment { deployment };
        let deployment = self.on_deployment(&request.deployment_id, &asks, command).await?;
        Ok(Response::new(proto::ResumeDeploymentResponse { deployment }))
    }

    pub(super) async fn answer_abort_deployment(
        &self,
        request: proto::AbortDeploymentRequest,
    ) -> Answered<proto::AbortDeploymentResponse> {
        let (asks, why) = (person(&request.actor)?, reason("why", &request.why)?);
        let command = |deployment| Command::AbortDeployment { deployment, why };
        let deployment = self.on_deployment(&request.deployment_id, &asks, command).await?;
        Ok(Response::new(proto::AbortDeploymentResponse { deployment }))
    }

    pub(super) async fn answer_promote_deployment(
        &self,
        request: proto::PromoteDeploymentRequest,
    ) -> Answered<proto::PromoteDeploymentResponse> {
        let (asks, why) = (person(&request.actor)?, reason("why", &request.why)?);
        let command = |deployment| Command::PromoteDeployment { deployment, why };
        let deployment = self.on_deployment(&request.deployment_id, &asks, command).await?;
        Ok(Response::new(proto::PromoteDeploymentResponse { deployment }))
    }

    pub(super) async fn answer_get_deployment(
        &self,
        request: proto::GetDeploymentRequest,
    ) -> Answered<proto::GetDeploymentResponse> {
        let number = number("deployment_id", &request.deployment_id)?;
        let deployment = Some(self.deployment_by_number(number).await?);
        Ok(Response::new(proto::GetDeploymentResponse { deployment }))
    }

    pub(super) async fn answer_list_deployments(
        &self,
        request: proto::ListDeploymentsRequest,
    ) -> Answered<proto::ListDeploymentsResponse> {
        let limit = limit(request.limit)?;
        let before = match request.before.as_str() {
            "" => 0,
            before => number("before", before)?,
        };
        let found: Vec<(Arc<Model>, Arc<Deployment>)> = self.registrar.look(|state| {
            let fits = |model: &Model| request.model_id.is_empty() || *model.model_id == *request.model_id;
            let all = state.deployments_before(before).filter(|(model, _)| fits(model));
            all.take(limit).map(|(model, known)| (Arc::clone(model), Arc::clone(known))).collect()
        });
        let message =
            |(model, known): &(Arc<Model>, Arc<Deployment>)| self.deployment_message(&model.model_id, known);
        let deployments = found.iter().map(message).collect();
        Ok(Response::new(proto::ListDeploymentsResponse { deployments }))
    }

    pub(super) async fn answer_explain_deployment(
        &self,
        request: proto::ExplainDeploymentRequest,
    ) -> Answered<proto::ExplainDeploymentResponse> {
        let number = number("deployment_id", &request.deployment_id)?;
        let deployment = Some(self.deployment_by_number(number).await?);
        let events = self.registrar.events_of_deployment(number).await?;
        let explanation = explain::lines(&events);
        let events = events.iter().map(explain::event).collect();
        Ok(Response::new(proto::ExplainDeploymentResponse { deployment, events, explanation }))
    }

    pub(super) async fn answer_rollback(
        &self,
        request: proto::RollbackRequest,
    ) -> Answered<proto::RollbackResponse> {
        let (asks, why) = (person(&request.actor)?, reason("why", &request.why)?);
        self.registrar.submit(&asks, &request.model_id, Command::Rollback { why }).await?;
        let champion = self.model(&request.model_id)?.champion;
        let routes = Some(self.routes_of(&request.model_id)?);
        Ok(Response::new(proto::RollbackResponse { champion, routes }))
    }

    /// Tells every change of a deployment until it is over.
    pub(super) async fn follow(&self, deployment_id: &str) -> Result<Watched, Problem> {
        let number = number("deployment_id", deployment_id)?;
        let first = self.deployment_by_number(number).await?;
        let (out, told) = mpsc::channel(WATCHED_MAX);
        let (face, mut changed) = (self.clone(), self.registrar.changed());
        tokio::spawn(async move {
            let mut last = proto::Deployment::default();
            let mut state = first;
            loop {
                let over = matches!(
                    state.phase(),
                    proto::DeploymentPhase::Completed
                        | proto::DeploymentPhase::RolledBack
                        | proto::DeploymentPhase::Failed
                );
                if state != last {
                    let message = proto::WatchDeploymentResponse { deployment: Some(state.clone()) };
                    if out.send(Ok(message)).await.is_err() {
                        return;
                    }
                    last = state;
                }
                if over {
                    return;
                }
                tokio::select! {
                    changed = changed.changed() => if changed.is_err() { return },
                    () = tokio::time::sleep(COUNTS_EVERY) => {}
                    () = out.closed() => return,
                    () = face.stop.cancelled() => {
                        let stopping = Problem::new(Kind::Unavailable, "DRAINING", "the server is stopping");
                        let _gone_anyway = out.send(Err(stopping.into())).await;
                        return;
                    }
                }
                state = match face.deployment_by_number(number).await {
                    Ok(state) => state,
                    Err(problem) => {
                        let _gone_anyway = out.send(Err(problem.into())).await;
                        return;
                    }
                };
            }
        });
        Ok(Box::pin(ReceiverStream::new(told)))
    }

    pub(super) async fn answer_get_routes(
        &self,
        request: proto::GetRoutesRequest,
    ) -> Answered<proto::GetRoutesResponse> {
        let routes = Some(self.routes_of(&request.model_id)?);
        Ok(Response::new(proto::GetRoutesResponse { routes }))
    }

    pub(super) async fn answer_list_routers(
        &self,
        _request: proto::ListRoutersRequest,
    ) -> Answered<proto::ListRoutersResponse> {
        let now_ms = self.clock.now_ms();
        let router = |seen: crate::routes::board::RouterSeen| proto::Router {
            router_id: seen.router_id.to_string(),
            connected_at: text::rfc3339(seen.connected_at_ms),
            silent_ms: (now_ms - seen.heard_ms).max(0) as u64,
            applied: seen
                .applied
                .into_iter()
                .map(|(model_id, epoch)| proto::AppliedRoute { model_id: model_id.to_string(), epoch })
                .collect(),
        };
        let routers = self.board.routers().into_iter().map(router).collect();
        Ok(Response::new(proto::ListRoutersResponse { routers }))
    }

    fn routes_of(&self, model_id: &str) -> Result<proto::ModelRoutes, Problem> {
        let found =
            self.registrar.look(|state| state.model(model_id).map(|model| super::routes::message(model)));
        found.ok_or_else(|| Problem::missing("model", model_id, "UNKNOWN_MODEL"))
    }
}

/// A name of a router.
pub(super) fn router_name(field: &str, value: &str) -> Result<(), Problem> {
    checks::name(field, &value.replace(':', "-"))
}
