//! `JobService`: retrainings, the files around them, and the workers that do them. It converts and no more.

use acgs_contracts::lifecycle::v1 as proto;
use acgs_lifecycle::Command;
use tonic::{Request, Response, Streaming};

use super::{
    Answered, ModelsDeps,
    checks::{self, actor, job_number, person, reason},
    explain, transfer, work,
};

/// Answers `JobService`.
#[derive(Clone, Debug)]
pub struct JobService(pub ModelsDeps);

#[tonic::async_trait]
impl proto::job_service_server::JobService for JobService {
    async fn request_retraining(
        &self,
        request: Request<proto::RequestRetrainingRequest>,
    ) -> Answered<proto::RequestRetrainingResponse> {
        Ok(Response::new(self.0.retrain(request.into_inner()).await?))
    }

    async fn list_jobs(&self, request: Request<proto::ListJobsRequest>) -> Answered<proto::ListJobsResponse> {
        Ok(Response::new(self.0.find_jobs(&request.into_inner())?))
    }

    async fn get_job(&self, request: Request<proto::GetJobRequest>) -> Answered<proto::GetJobResponse> {
        let job = Some(self.0.job(job_number(&request.into_inner().job_id)?).await?);
        Ok(Response::new(proto::GetJobResponse { job }))
    }

    async fn cancel_job(
        &self,
        request: Request<proto::CancelJobRequest>,
    ) -> Answered<proto::CancelJobResponse> {
        let request = request.into_inner();
        let (asks, why) = (actor(&request.actor)?, reason("why", &request.why)?);
        let job = self
            .0
            .on_job(&request.job_id, (&asks, &request.request_id), |job| Command::Cancel { job, why })
            .await?;
        Ok(Response::new(proto::CancelJobResponse { job: Some(job) }))
    }

    async fn requeue_job(
        &self,
        request: Request<proto::RequeueJobRequest>,
    ) -> Answered<proto::RequeueJobResponse> {
        let request = request.into_inner();
        let asks = person(&request.actor)?;
        let job = self
            .0
            .on_job(&request.job_id, (&asks, &request.request_id), |job| Command::Requeue { job })
            .await?;
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
        let job = self
            .0
            .on_job(&request.job_id, (&asks, &request.request_id), |job| Command::Decide {
                job,
                approved,
                why,
            })
            .await?;
        Ok(Response::new(proto::ApproveJobResponse { job: Some(job) }))
    }

    async fn explain_job(
        &self,
        request: Request<proto::ExplainJobRequest>,
    ) -> Answered<proto::ExplainJobResponse> {
        let number = job_number(&request.into_inner().job_id)?;
        let job = Some(self.0.job(number).await?);
        let events = self.0.writer.events_of_job(number).await?;
        let explanation = explain::lines(&events);
        let events = events.iter().map(explain::event).collect();
        Ok(Response::new(proto::ExplainJobResponse { job, events, explanation }))
    }

    async fn put_artifact(
        &self,
        request: Request<Streaming<proto::PutArtifactRequest>>,
    ) -> Answered<proto::PutArtifactResponse> {
        Ok(Response::new(self.0.take_artifact(request.into_inner()).await?))
    }

    type GetArtifactStream = transfer::Pieces<proto::GetArtifactResponse>;

    async fn get_artifact(
        &self,
        request: Request<proto::GetArtifactRequest>,
    ) -> Answered<Self::GetArtifactStream> {
        Ok(Response::new(self.0.give_artifact(&request.into_inner().digest).await?))
    }

    type ReadRecordsStream = transfer::Pieces<proto::ReadRecordsResponse>;

    async fn read_records(
        &self,
        request: Request<proto::ReadRecordsRequest>,
    ) -> Answered<Self::ReadRecordsStream> {
        Ok(Response::new(self.0.give_records(request.into_inner()).await?))
    }

    type ReadDatasetStream = transfer::Pieces<proto::ReadDatasetResponse>;

    async fn read_dataset(
        &self,
        request: Request<proto::ReadDatasetRequest>,
    ) -> Answered<Self::ReadDatasetStream> {
        Ok(Response::new(self.0.give_dataset(&request.into_inner()).await?))
    }

    type WorkStream = work::Told;

    async fn work(&self, request: Request<Streaming<proto::WorkRequest>>) -> Answered<Self::WorkStream> {
        Ok(Response::new(work::run(self.0.clone(), request.into_inner()).await?))
    }
}
