//! `ModelService`: models, their versions and policies. It converts and no more.

use acgs_contracts::lifecycle::v1 as proto;
use acgs_lifecycle::Command;
use acgs_vocabulary::{Problem, problem::Kind, text};
use tonic::{Request, Response};

use super::{
    Answered, ModelsDeps,
    checks::{self, actor, person, reason},
    look::limit,
    messages,
};

/// Answers `ModelService`.
#[derive(Clone, Debug)]
pub struct ModelService(pub ModelsDeps);

#[tonic::async_trait]
impl proto::model_service_server::ModelService for ModelService {
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
        self.0.writer.submit(&asks, &request.model_id, command).await?;
        if !evidence.is_empty() {
            let command = Command::SupplyEvidence(evidence);
            self.0.writer.submit(&asks, &request.model_id, command).await?;
        }
        let model = Some(self.0.model(&request.model_id)?);
        Ok(Response::new(proto::RegisterModelResponse { model }))
    }

    async fn get_model(&self, request: Request<proto::GetModelRequest>) -> Answered<proto::GetModelResponse> {
        let model = Some(self.0.model(&request.into_inner().model_id)?);
        Ok(Response::new(proto::GetModelResponse { model }))
    }

    async fn list_models(
        &self,
        request: Request<proto::ListModelsRequest>,
    ) -> Answered<proto::ListModelsResponse> {
        let request = request.into_inner();
        let limit = limit(request.limit)?;
        let models = self.0.writer.look(|state| {
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
        let (model_id, serving, request_id) =
            (request.model_id.clone(), request.serving, request.request_id.clone());
        self.0.model(&model_id)?;
        let asks = actor(&request.actor)?;
        let new = messages::new_version(request)?;
        self.0.check_artifact(&new).await?;
        let name = new.version.clone();
        self.0
            .writer
            .submit_once(&asks, &request_id, &model_id, Command::RegisterVersion { new, serving })
            .await?;
        let version = Some(self.0.version(&model_id, &name)?);
        Ok(Response::new(proto::RegisterVersionResponse { version }))
    }

    async fn get_version(
        &self,
        request: Request<proto::GetVersionRequest>,
    ) -> Answered<proto::GetVersionResponse> {
        let request = request.into_inner();
        let version = Some(self.0.version(&request.model_id, &request.version)?);
        Ok(Response::new(proto::GetVersionResponse { version }))
    }

    async fn list_versions(
        &self,
        request: Request<proto::ListVersionsRequest>,
    ) -> Answered<proto::ListVersionsResponse> {
        let model_id = request.into_inner().model_id;
        let versions =
            self.0.writer.look(|state| state.model(&model_id).map(|model| messages::versions(model)));
        let versions = versions.ok_or_else(|| Problem::missing("model", model_id, "UNKNOWN_MODEL"))?;
        Ok(Response::new(proto::ListVersionsResponse { versions }))
    }

    async fn as_of(&self, request: Request<proto::AsOfRequest>) -> Answered<proto::AsOfResponse> {
        let request = request.into_inner();
        let time_ms = text::parse_rfc3339(&request.time).ok_or_else(|| {
            Problem::field("time", "BAD_TIME", format!("{:?} is not RFC 3339", request.time))
        })?;
        let found = self.0.writer.as_of(&request.model_id, time_ms).await?;
        let missing = || match self.0.model(&request.model_id) {
            Ok(model) => {
                let message = format!(
                    "model {:?} was not known then; it is since {}",
                    request.model_id, model.registered_at
                );
                Problem::new(Kind::NotFound, "UNKNOWN_MODEL", message)
            }
            Err(problem) => problem,
        };
        let (model, event_number) = found.ok_or_else(missing)?;
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
        self.0.writer.submit_once(&asks, &request.request_id, &request.model_id, command).await?;
        let version = Some(self.0.version(&request.model_id, &request.version)?);
        let champion = self.0.model(&request.model_id)?.champion;
        Ok(Response::new(proto::QuarantineVersionResponse { version, champion }))
    }

    async fn release_version(
        &self,
        request: Request<proto::ReleaseVersionRequest>,
    ) -> Answered<proto::ReleaseVersionResponse> {
        let request = request.into_inner();
        let asks = person(&request.actor)?;
        let intact = self.0.is_intact(&request.model_id, &request.version).await?;
        let command = Command::Release { version: request.version.clone(), intact };
        self.0.writer.submit_once(&asks, &request.request_id, &request.model_id, command).await?;
        let version = Some(self.0.version(&request.model_id, &request.version)?);
        Ok(Response::new(proto::ReleaseVersionResponse { version }))
    }

    async fn archive_version(
        &self,
        request: Request<proto::ArchiveVersionRequest>,
    ) -> Answered<proto::ArchiveVersionResponse> {
        let request = request.into_inner();
        let asks = actor(&request.actor)?;
        let command = Command::Archive { version: request.version.clone() };
        self.0.writer.submit_once(&asks, &request.request_id, &request.model_id, command).await?;
        let version = Some(self.0.version(&request.model_id, &request.version)?);
        Ok(Response::new(proto::ArchiveVersionResponse { version }))
    }

    async fn put_policy(
        &self,
        request: Request<proto::PutPolicyRequest>,
    ) -> Answered<proto::PutPolicyResponse> {
        Ok(Response::new(self.0.set_policy(request.into_inner()).await?))
    }

    async fn get_policy(
        &self,
        request: Request<proto::GetPolicyRequest>,
    ) -> Answered<proto::GetPolicyResponse> {
        let policy = Some(self.0.policy(&request.into_inner().model_id)?);
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
        self.0.writer.submit_once(&asks, &request.request_id, &request.model_id, command).await?;
        Ok(Response::new(proto::SetFreezeResponse {}))
    }

    async fn clear_loop(
        &self,
        request: Request<proto::ClearLoopRequest>,
    ) -> Answered<proto::ClearLoopResponse> {
        let request = request.into_inner();
        let asks = person(&request.actor)?;
        self.0.writer.submit_once(&asks, &request.request_id, &request.model_id, Command::ClearLoop).await?;
        let model = Some(self.0.model(&request.model_id)?);
        Ok(Response::new(proto::ClearLoopResponse { model }))
    }
}
