//! The face: `LifecycleService` over the registrar. With its parts, the only place that knows its messages; it converts
//! and no more.

mod ask;
mod checks;
mod deployments;
mod explain;
mod look;
mod messages;
mod routes;
mod transfer;
mod work;

use std::{fmt, sync::Arc};

use acgs_contracts::lifecycle::v1 as proto;
use acgs_lifecycle::{Command, decide::Limits};
use acgs_vocabulary::{
    Problem,
    ports::{Blobs, Clock, RecordLog},
    text,
};
use checks::{actor, job_number, person, reason};
use look::limit;
use proto::lifecycle_service_server::LifecycleService;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    lifecycle::{Registrar, foreman::Foreman},
    registry::AllowList,
    routes::{Board, RouteSettings},
};

/// Longest policy, in bytes.
const POLICY_BYTES_MAX: usize = 64 << 10;

/// Answers `LifecycleService`.
#[derive(Clone)]
pub struct LifecycleFace {
    registrar: Registrar,
    foreman: Foreman,
    blobs: Arc<dyn Blobs>,
    records: Arc<dyn RecordLog>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    board: Board,
    routing: RouteSettings,
    allowed: AllowList,
    home: Option<watch::Receiver<bool>>,
    stop: CancellationToken,
}

/// What it is made of.
#[derive(Clone, Debug)]
pub struct LifecycleParts {
    /// What is known.
    pub registrar: Registrar,
    /// What lies between a queued job and a judged one.
    pub foreman: Foreman,
    /// Artifacts and data sets.
    pub blobs: Arc<dyn Blobs>,
    /// Records of models.
    pub records: Arc<dyn RecordLog>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What workers are told.
    pub limits: Limits,
    /// What routers say.
    pub board: Board,
    /// How routers are held to what is decided.
    pub routing: RouteSettings,
    /// Addresses that endpoints may have.
    pub allowed: AllowList,
    /// Whether the home can be reached; absent when it cannot go away.
    pub home: Option<watch::Receiver<bool>>,
    /// The end of everything.
    pub stop: CancellationToken,
}

impl fmt::Debug for LifecycleFace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LifecycleFace").finish_non_exhaustive()
    }
}

/// The key of an artifact in the blob home.
#[must_use]
pub fn artifact_key(digest: &str) -> String {
    format!("artifacts/{digest}")
}

impl LifecycleFace {
    /// Over what is kept.
    #[must_use]
    pub fn new(parts: LifecycleParts) -> Self {
        let LifecycleParts {
            registrar,
            foreman,
            blobs,
            records,
            clock,
            limits,
            board,
            routing,
            allowed,
            home,
            stop,
        } = parts;
        Self { registrar, foreman, blobs, records, clock, limits, board, routing, allowed, home, stop }
    }
}

type Answered<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl LifecycleService for LifecycleFace {
    async fn register_model(
        &self,
        request: Request<proto::RegisterModelRequest>,
    ) -> Answered<proto::RegisterModelResponse> {
        let request = request.into_inner();
        checks::name("model_id", &request.model_id)?;
        checks::short("model_name", &request.model_name)?;
        checks::short("service_id", &request.service_id)?;
        let evidence = messages::evidence(&request.evidence)?;
        let asks = actor(&request.actor)?;
        let (model_name, service_id) = (request.model_name, request.service_id);
        let command = Command::RegisterModel { model_name, service_id };
        self.registrar.submit(&asks, &request.model_id, command).await?;
        if !evidence.is_empty() {
            let command = Command::SupplyEvidence(evidence);
            self.registrar.submit(&asks, &request.model_id, command).await?;
        }
        let model = Some(self.model(&request.model_id)?);
        Ok(Response::new(proto::RegisterModelResponse { model }))
    }

    async fn get_model(&self, request: Request<proto::GetModelRequest>) -> Answered<proto::GetModelResponse> {
        let model = Some(self.model(&request.into_inner().model_id)?);
        Ok(Response::new(proto::GetModelResponse { model }))
    }

    async fn list_models(
        &self,
        request: Request<proto::ListModelsRequest>,
    ) -> Answered<proto::ListModelsResponse> {
        let request = request.into_inner();
        let limit = limit(request.limit)?;
        let models = self.registrar.look(|state| {
            let mut models: Vec<_> =
                state.models().filter(|model| *model.model_id > *request.after).collect();
            models.sort_unstable_by(|one, other| one.model_id.cmp(&other.model_id));
            models.into_iter().take(limit).map(|model| messages::model(model)).collect()
        });
        Ok(Response::new(proto::ListModelsResponse { models }))
    }

    async fn register_version(
        &self,
        request: Request<proto::RegisterVersionRequest>,
    ) -> Answered<proto::RegisterVersionResponse> {
        let request = request.into_inner();
        let (model_id, serving) = (request.model_id.clone(), request.serving);
        self.model(&model_id)?;
        let asks = actor(&request.actor)?;
        let new = messages::new_version(request)?;
        self.check_artifact(&new).await?;
        let name = new.version.clone();
        self.registrar.submit(&asks, &model_id, Command::RegisterVersion { new, serving }).await?;
        let version = Some(self.version(&model_id, &name)?);
        Ok(Response::new(proto::RegisterVersionResponse { version }))
    }

    async fn get_version(
        &self,
        request: Request<proto::GetVersionRequest>,
    ) -> Answered<proto::GetVersionResponse> {
        let request = request.into_inner();
        let version = Some(self.version(&request.model_id, &request.version)?);
        Ok(Response::new(proto::GetVersionResponse { version }))
    }

    async fn list_versions(
        &self,
        request: Request<proto::ListVersionsRequest>,
    ) -> Answered<proto::ListVersionsResponse> {
        let model_id = request.into_inner().model_id;
        let versions =
            self.registrar.look(|state| state.model(&model_id).map(|model| messages::versions(model)));
        let versions = versions.ok_or_else(|| Problem::missing("model", model_id, "UNKNOWN_MODEL"))?;
        Ok(Response::new(proto::ListVersionsResponse { versions }))
    }

    async fn as_of(&self, request: Request<proto::AsOfRequest>) -> Answered<proto::AsOfResponse> {
        let request = request.into_inner();
        let time_ms = text::parse_rfc3339(&request.time).ok_or_else(|| {
            Problem::field("time", "BAD_TIME", format!("{:?} is not RFC 3339", request.time))
        })?;
        let found = self.registrar.as_of(&request.model_id, time_ms).await?;
        let (model, event_number) =
            found.ok_or_else(|| Problem::missing("model", request.model_id, "UNKNOWN_MODEL"))?;
        let versions = messages::versions(&model);
        let model = Some(messages::model(&model));
        Ok(Response::new(proto::AsOfResponse { model, versions, event_number }))
    }

    async fn quarantine_version(
        &self,
        request: Request<proto::QuarantineVersionRequest>,
    ) -> Answered<proto::QuarantineVersionResponse> {
        let request = request.into_inner();
        let (asks, why) = (person(&request.actor)?, reason("why", &request.why)?);
        let command = Command::Quarantine { version: request.version.clone(), why };
        self.registrar.submit(&asks, &request.model_id, command).await?;
        let version = Some(self.version(&request.model_id, &request.version)?);
        let champion = self.model(&request.model_id)?.champion;
        Ok(Response::new(proto::QuarantineVersionResponse { version, champion }))
    }

    async fn release_version(
        &self,
        request: Request<proto::ReleaseVersionRequest>,
    ) -> Answered<proto::ReleaseVersionResponse> {
        let request = request.into_inner();
        let asks = person(&request.actor)?;
        let intact = self.is_intact(&request.model_id, &request.version).await?;
        let command = Command::Release { version: request.version.clone(), intact };
        self.registrar.submit(&asks, &request.model_id, command).await?;
        let version = Some(self.version(&request.model_id, &request.version)?);
        Ok(Response::new(proto::ReleaseVersionResponse { version }))
    }

    async fn archive_version(
        &self,
        request: Request<proto::ArchiveVersionRequest>,
    ) -> Answered<proto::ArchiveVersionResponse> {
        let request = request.into_inner();
        let asks = actor(&request.actor)?;
        let command = Command::Archive { version: request.version.clone() };
        self.registrar.submit(&asks, &request.model_id, command).await?;
        let version = Some(self.version(&request.model_id, &request.version)?);
        Ok(Response::new(proto::ArchiveVersionResponse { version }))
    }

    async fn put_policy(
        &self,
        request: Request<proto::PutPolicyRequest>,
    ) -> Answered<proto::PutPolicyResponse> {
        Ok(Response::new(self.set_policy(request.into_inner()).await?))
    }

    async fn get_policy(
        &self,
        request: Request<proto::GetPolicyRequest>,
    ) -> Answered<proto::GetPolicyResponse> {
        let policy = Some(self.policy(&request.into_inner().model_id)?);
        Ok(Response::new(proto::GetPolicyResponse { policy }))
    }

    async fn set_freeze(
        &self,
        request: Request<proto::SetFreezeRequest>,
    ) -> Answered<proto::SetFreezeResponse> {
        let request = request.into_inner();
        let asks = person(&request.actor)?;
        let why = match request.frozen {
            true => reason("why", &request.why)?,
            false => request.why.chars().take(checks::TEXT_BYTES_MAX / 4).collect(),
        };
        let command = Command::SetFreeze { frozen: request.frozen, why };
        self.registrar.submit(&asks, &request.model_id, command).await?;
        Ok(Response::new(proto::SetFreezeResponse {}))
    }

    async fn clear_loop(
        &self,
        request: Request<proto::ClearLoopRequest>,
    ) -> Answered<proto::ClearLoopResponse> {
        let request = request.into_inner();
        let asks = person(&request.actor)?;
        self.registrar.submit(&asks, &request.model_id, Command::ClearLoop).await?;
        let model = Some(self.model(&request.model_id)?);
        Ok(Response::new(proto::ClearLoopResponse { model }))
    }

    async fn request_retraining(
        &self,
        request: Request<proto::RequestRetrainingRequest>,
    ) -> Answered<proto::RequestRetrainingResponse> {
        Ok(Response::new(self.retrain(request.into_inner()).await?))
    }

    async fn list_jobs(&self, request: Request<proto::ListJobsRequest>) -> Answered<proto::ListJobsResponse> {
        Ok(Response::new(self.find_jobs(&request.into_inner())?))
    }

    async fn get_job(&self, request: Request<proto::GetJobRequest>) -> Answered<proto::GetJobResponse> {
        let job = Some(self.job(job_number(&request.into_inner().job_id)?).await?);
        Ok(Response::new(proto::GetJobResponse { job }))
    }

    async fn cancel_job(
        &self,
        request: Request<proto::CancelJobRequest>,
    ) -> Answered<proto::CancelJobResponse> {
        let request = request.into_inner();
        let (asks, why) = (actor(&request.actor)?, reason("why", &request.why)?);
        let job = self.on_job(&request.job_id, &asks, |job| Command::Cancel { job, why }).await?;
        Ok(Response::new(proto::CancelJobResponse { job: Some(job) }))
    }

    async fn requeue_job(
        &self,
        request: Request<proto::RequeueJobRequest>,
    ) -> Answered<proto::RequeueJobResponse> {
        let request = request.into_inner();
        let asks = person(&request.actor)?;
        let job = self.on_job(&request.job_id, &asks, |job| Command::Requeue { job }).await?;
        Ok(Response::new(proto::RequeueJobResponse { job: Some(job) }))
    }

    async fn approve_job(
        &self,
        request: Request<proto::ApproveJobRequest>,
    ) -> Answered<proto::ApproveJobResponse> {
        let request = request.into_inner();
        let asks = person(&request.actor)?;
        checks::text("why", &request.why)?;
        let (approved, why) = (request.approved, request.why);
        let job = self.on_job(&request.job_id, &asks, |job| Command::Decide { job, approved, why }).await?;
        Ok(Response::new(proto::ApproveJobResponse { job: Some(job) }))
    }

    async fn put_artifact(
        &self,
        request: Request<Streaming<proto::PutArtifactRequest>>,
    ) -> Answered<proto::PutArtifactResponse> {
        Ok(Response::new(self.take_artifact(request.into_inner()).await?))
    }

    type GetArtifactStream = transfer::Pieces<proto::GetArtifactResponse>;

    async fn get_artifact(
        &self,
        request: Request<proto::GetArtifactRequest>,
    ) -> Answered<Self::GetArtifactStream> {
        Ok(Response::new(self.give_artifact(&request.into_inner().digest).await?))
    }

    type ReadRecordsStream = transfer::Pieces<proto::ReadRecordsResponse>;

    async fn read_records(
        &self,
        request: Request<proto::ReadRecordsRequest>,
    ) -> Answered<Self::ReadRecordsStream> {
        Ok(Response::new(self.give_records(request.into_inner()).await?))
    }

    type ReadDatasetStream = transfer::Pieces<proto::ReadDatasetResponse>;

    async fn read_dataset(
        &self,
        request: Request<proto::ReadDatasetRequest>,
    ) -> Answered<Self::ReadDatasetStream> {
        Ok(Response::new(self.give_dataset(&request.into_inner()).await?))
    }

    type WorkStream = work::Told;

    async fn work(&self, request: Request<Streaming<proto::WorkRequest>>) -> Answered<Self::WorkStream> {
        Ok(Response::new(work::run(self.clone(), request.into_inner()).await?))
    }

    async fn explain_job(
        &self,
        request: Request<proto::ExplainJobRequest>,
    ) -> Answered<proto::ExplainJobResponse> {
        let number = job_number(&request.into_inner().job_id)?;
        let job = Some(self.job(number).await?);
        let events = self.registrar.events_of_job(number).await?;
        let explanation = explain::lines(&events);
        let events = events.iter().map(explain::event).collect();
        Ok(Response::new(proto::ExplainJobResponse { job, events, explanation }))
    }

    async fn set_endpoints(
        &self,
        request: Request<proto::SetEndpointsRequest>,
    ) -> Answered<proto::SetEndpointsResponse> {
        self.answer_set_endpoints(request.into_inner()).await
    }

    async fn start_deployment(
        &self,
        request: Request<proto::StartDeploymentRequest>,
    ) -> Answered<proto::StartDeploymentResponse> {
        self.answer_start_deployment(request.into_inner()).await
    }

    async fn pause_deployment(
        &self,
        request: Request<proto::PauseDeploymentRequest>,
    ) -> Answered<proto::PauseDeploymentResponse> {
        self.answer_pause_deployment(request.into_inner()).await
    }

    async fn resume_deployment(
        &self,
        request: Request<proto::ResumeDeploymentRequest>,
    ) -> Answered<proto::ResumeDeploymentResponse> {
        self.answer_resume_deployment(request.into_inner()).await
    }

    async fn abort_deployment(
        &self,
        request: Request<proto::AbortDeploymentRequest>,
    ) -> Answered<proto::AbortDeploymentResponse> {
        self.answer_abort_deployment(request.into_inner()).await
    }

    async fn promote_deployment(
        &self,
        request: Request<proto::PromoteDeploymentRequest>,
    ) -> Answered<proto::PromoteDeploymentResponse> {
        self.answer_promote_deployment(request.into_inner()).await
    }

    async fn get_deployment(
        &self,
        request: Request<proto::GetDeploymentRequest>,
    ) -> Answered<proto::GetDeploymentResponse> {
        self.answer_get_deployment(request.into_inner()).await
    }

    async fn list_deployments(
        &self,
        request: Request<proto::ListDeploymentsRequest>,
    ) -> Answered<proto::ListDeploymentsResponse> {
        self.answer_list_deployments(request.into_inner()).await
    }

    async fn explain_deployment(
        &self,
        request: Request<proto::ExplainDeploymentRequest>,
    ) -> Answered<proto::ExplainDeploymentResponse> {
        self.answer_explain_deployment(request.into_inner()).await
    }

    async fn rollback(&self, request: Request<proto::RollbackRequest>) -> Answered<proto::RollbackResponse> {
        self.answer_rollback(request.into_inner()).await
    }

    async fn get_routes(
        &self,
        request: Request<proto::GetRoutesRequest>,
    ) -> Answered<proto::GetRoutesResponse> {
        self.answer_get_routes(request.into_inner()).await
    }

    async fn list_routers(
        &self,
        request: Request<proto::ListRoutersRequest>,
    ) -> Answered<proto::ListRoutersResponse> {
        self.answer_list_routers(request.into_inner()).await
    }

    type WatchDeploymentStream = deployments::Watched;

    async fn watch_deployment(
        &self,
        request: Request<proto::WatchDeploymentRequest>,
    ) -> Answered<Self::WatchDeploymentStream> {
        Ok(Response::new(self.follow(&request.into_inner().deployment_id).await?))
    }

    type WatchRoutesStream = routes::Told;

    async fn watch_routes(
        &self,
        request: Request<Streaming<proto::WatchRoutesRequest>>,
    ) -> Answered<Self::WatchRoutesStream> {
        Ok(Response::new(routes::run(self.clone(), request.into_inner()).await?))
    }
}
