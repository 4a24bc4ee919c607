//! `DeploymentService`: what people ask of deployments, and how they are told. It converts and no more.

use std::{pin::Pin, sync::Arc, time::Duration};

use acgs_contracts::lifecycle::v1 as proto;
use acgs_lifecycle::{
    Answer, Command,
    command::Start,
    deployment::Deployment,
    model::Model,
    rollout::{Rollout, RolloutPlan},
};
use acgs_vocabulary::{Problem, problem::Kind};
use futures_core::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{
    Answered, ModelsDeps, POLICY_BYTES_MAX,
    checks::{deployment_number, person, reason},
    deployment_message::message,
    explain,
    look::{bad_policy, limit},
};

/// States that wait for who follows a deployment.
const WATCHED_MAX: usize = 16;
/// Counts are told this often.
const COUNTS_EVERY: Duration = Duration::from_secs(1);

/// Who follows a deployment is told this.
type Watched = Pin<Box<dyn Stream<Item = Result<proto::WatchDeploymentResponse, Status>> + Send>>;

/// Answers `DeploymentService`.
#[derive(Clone, Debug)]
pub struct DeploymentService(pub ModelsDeps);

impl ModelsDeps {
    fn deployment_message(&self, model_id: &str, deployment: &Deployment) -> proto::Deployment {
        message(&self.routers, model_id, deployment)
    }

    async fn deployment_by_number(&self, number: u64) -> Result<proto::Deployment, Problem> {
        let found = self.writer.deployment(number).await?;
        let missing = || Problem::missing("deployment", format!("deployment-{number}"), "UNKNOWN_DEPLOYMENT");
        let (model_id, deployment) = found.ok_or_else(missing)?;
        Ok(self.deployment_message(&model_id, &deployment))
    }

    /// Sends a command about a deployment to its model.
    async fn on_deployment(
        &self,
        deployment_id: &str,
        (actor, request_id): (&str, &str),
        command: impl FnOnce(u64) -> Command,
    ) -> Result<Option<proto::Deployment>, Problem> {
        let number = deployment_number("deployment_id", deployment_id)?;
        let found = self.writer.deployment(number).await?;
        let missing = || Problem::missing("deployment", deployment_id, "UNKNOWN_DEPLOYMENT");
        let (model_id, _) = found.ok_or_else(missing)?;
        self.writer.submit_once(actor, request_id, &model_id, command(number)).await?;
        Ok(Some(self.deployment_by_number(number).await?))
    }

    /// Tells every change of a deployment until it is over.
    async fn follow(&self, deployment_id: &str) -> Result<Watched, Problem> {
        let number = deployment_number("deployment_id", deployment_id)?;
        let first = self.deployment_by_number(number).await?;
        let (out, told) = mpsc::channel(WATCHED_MAX);
        let (deps, mut changed) = (self.clone(), self.writer.changed());
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
                    () = deps.stop.cancelled() => {
                        let stopping = Problem::new(Kind::Unavailable, "DRAINING", "the server is stopping");
                        let _gone_anyway = out.send(Err(stopping.into())).await;
                        return;
                    }
                }
                state = match deps.deployment_by_number(number).await {
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
}

#[tonic::async_trait]
impl proto::deployment_service_server::DeploymentService for DeploymentService {
    async fn start_deployment(
        &self,
        request: Request<proto::StartDeploymentRequest>,
    ) -> Answered<proto::StartDeploymentResponse> {
        let request = request.into_inner();
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
        if request.plan_toml.len() > POLICY_BYTES_MAX {
            let message = format!("has {} bytes, at most {}", request.plan_toml.len(), POLICY_BYTES_MAX);
            return Err(Problem::field("plan_toml", "TOO_LONG", message).into());
        }
        let plan = match request.plan_toml.as_str() {
            "" => None,
            toml => Some(RolloutPlan::parse(toml).map_err(|error| bad_policy("plan_toml", &error))?),
        };
        let start = Start { version: request.version, strategy, plan, unjudged: request.unjudged, why };
        let command = Command::StartDeployment(Box::new(start));
        match self.0.writer.submit_once(&asks, &request.request_id, &request.model_id, command).await? {
            Answer::Deployment(number) => {
                let deployment = Some(self.0.deployment_by_number(number).await?);
                Ok(Response::new(proto::StartDeploymentResponse { deployment }))
            }
            other => Err(Problem::internal(format!("{other:?} instead of a deployment")).into()),
        }
    }

    async fn pause_deployment(
        &self,
        request: Request<proto::PauseDeploymentRequest>,
    ) -> Answered<proto::PauseDeploymentResponse> {
        let request = request.into_inner();
        let (asks, why) = (person(&request.actor)?, reason("why", &request.why)?);
        let command = |deployment| Command::PauseDeployment { deployment, why };
        let deployment =
            self.0.on_deployment(&request.deployment_id, (&asks, &request.request_id), command).await?;
        Ok(Response::new(proto::PauseDeploymentResponse { deployment }))
    }

    async fn resume_deployment(
        &self,
        request: Request<proto::ResumeDeploymentRequest>,
    ) -> Answered<proto::ResumeDeploymentResponse> {
        let request = request.into_inner();
        let asks = person(&request.actor)?;
        let command = |deployment| Command::ResumeDeployment { deployment };
        let deployment =
            self.0.on_deployment(&request.deployment_id, (&asks, &request.request_id), command).await?;
        Ok(Response::new(proto::ResumeDeploymentResponse { deployment }))
    }

    async fn abort_deployment(
        &self,
        request: Request<proto::AbortDeploymentRequest>,
    ) -> Answered<proto::AbortDeploymentResponse> {
        let request = request.into_inner();
        let (asks, why) = (person(&request.actor)?, reason("why", &request.why)?);
        let command = |deployment| Command::AbortDeployment { deployment, why };
        let deployment =
            self.0.on_deployment(&request.deployment_id, (&asks, &request.request_id), command).await?;
        Ok(Response::new(proto::AbortDeploymentResponse { deployment }))
    }

    async fn promote_deployment(
        &self,
        request: Request<proto::PromoteDeploymentRequest>,
    ) -> Answered<proto::PromoteDeploymentResponse> {
        let request = request.into_inner();
        let (asks, why) = (person(&request.actor)?, reason("why", &request.why)?);
        let command = |deployment| Command::PromoteDeployment { deployment, why };
        let deployment =
            self.0.on_deployment(&request.deployment_id, (&asks, &request.request_id), command).await?;
        Ok(Response::new(proto::PromoteDeploymentResponse { deployment }))
    }

    async fn get_deployment(
        &self,
        request: Request<proto::GetDeploymentRequest>,
    ) -> Answered<proto::GetDeploymentResponse> {
        let request = request.into_inner();
        let number = deployment_number("deployment_id", &request.deployment_id)?;
        let deployment = Some(self.0.deployment_by_number(number).await?);
        Ok(Response::new(proto::GetDeploymentResponse { deployment }))
    }

    async fn list_deployments(
        &self,
        request: Request<proto::ListDeploymentsRequest>,
    ) -> Answered<proto::ListDeploymentsResponse> {
        let request = request.into_inner();
        let limit = limit(request.limit)?;
        let before = match request.before.as_str() {
            "" => 0,
            before => deployment_number("before", before)?,
        };
        let found: Vec<(Arc<Model>, Arc<Deployment>)> = self.0.writer.look(|state| {
            let fits = |model: &Model| request.model_id.is_empty() || *model.model_id == *request.model_id;
            let all = state.deployments_before(before).filter(|(model, _)| fits(model));
            all.take(limit).map(|(model, known)| (Arc::clone(model), Arc::clone(known))).collect()
        });
        let message = |(model, known): &(Arc<Model>, Arc<Deployment>)| {
            self.0.deployment_message(&model.model_id, known)
        };
        let deployments = found.iter().map(message).collect();
        Ok(Response::new(proto::ListDeploymentsResponse { deployments }))
    }

    async fn explain_deployment(
        &self,
        request: Request<proto::ExplainDeploymentRequest>,
    ) -> Answered<proto::ExplainDeploymentResponse> {
        let request = request.into_inner();
        let number = deployment_number("deployment_id", &request.deployment_id)?;
        let deployment = Some(self.0.deployment_by_number(number).await?);
        let events = self.0.writer.events_of_deployment(number).await?;
        let explanation = explain::lines(&events);
        let events = events.iter().map(explain::event).collect();
        Ok(Response::new(proto::ExplainDeploymentResponse { deployment, events, explanation }))
    }

    async fn rollback(&self, request: Request<proto::RollbackRequest>) -> Answered<proto::RollbackResponse> {
        let request = request.into_inner();
        let (asks, why) = (person(&request.actor)?, reason("why", &request.why)?);
        let expected = Some(request.expected_champion).filter(|expected| !expected.is_empty());
        let command = Command::Rollback { expected, why };
        self.0.writer.submit_once(&asks, &request.request_id, &request.model_id, command).await?;
        let champion = self.0.model(&request.model_id)?.champion;
        let routes = Some(self.0.routes_of(&request.model_id)?);
        Ok(Response::new(proto::RollbackResponse { champion, routes }))
    }

    type WatchDeploymentStream = Watched;

    async fn watch_deployment(
        &self,
        request: Request<proto::WatchDeploymentRequest>,
    ) -> Answered<Self::WatchDeploymentStream> {
        Ok(Response::new(self.0.follow(&request.into_inner().deployment_id).await?))
    }
}
