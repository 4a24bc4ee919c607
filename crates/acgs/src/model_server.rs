//! A server of one version of a model by the Open Inference Protocol: tensors in, scores out. It must not know who routes
//! calls to it.

use std::sync::Arc;

use acgs_contracts::inference::{
    InferTensorContents, ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse,
    ModelReadyRequest, ModelReadyResponse, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest,
    ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
    grpc_inference_service_server::GrpcInferenceService, model_infer_response::InferOutputTensor,
    model_metadata_response::TensorMetadata,
};
use acgs_inference::tensors::Tensors;
use acgs_trainers::{Artifact, Feature};
use acgs_vocabulary::Problem;
use tonic::{Request, Response, Status};

/// What comes out.
const SCORE: &str = "score";

/// Answers for one version.
#[derive(Clone, Debug)]
pub struct ModelServer {
    model_id: Arc<str>,
    version: Arc<str>,
    model: Arc<Artifact>,
}

impl ModelServer {
    /// Of this version.
    #[must_use]
    pub fn new(model_id: &str, version: &str, model: Artifact) -> Self {
        Self { model_id: model_id.into(), version: version.into(), model: Arc::new(model) }
    }

    fn known(&self, model: &str, version: &str) -> Result<(), Problem> {
        if model != &*self.model_id {
            return Err(Problem::missing("model", model, "UNKNOWN_MODEL"));
        }
        if !version.is_empty() && version != &*self.version {
            return Err(Problem::missing("version", version, "UNKNOWN_VERSION"));
        }
        Ok(())
    }

    fn infer(&self, request: &ModelInferRequest) -> Result<ModelInferResponse, Problem> {
        self.known(&request.model_name, &request.model_version)?;
        let batch = Tensors::read(request)?.batch()?;
        let scores = self.model.score(std::slice::from_ref(&batch));
        let shape = vec![scores.len() as i64];
        let raw = !request.raw_input_contents.is_empty();
        let contents =
            (!raw).then(|| InferTensorContents { fp64_contents: scores.clone(), ..Default::default() });
        let bytes = || scores.iter().flat_map(|score| score.to_le_bytes()).collect::<Vec<u8>>().into();
        Ok(ModelInferResponse {
            model_name: self.model_id.to_string(),
            model_version: self.version.to_string(),
            id: request.id.clone(),
            outputs: vec![InferOutputTensor {
                name: SCORE.into(),
                datatype: "FP64".into(),
                shape,
                contents,
                ..InferOutputTensor::default()
            }],
            raw_output_contents: if raw { vec![bytes()] } else { Vec::new() },
            ..ModelInferResponse::default()
        })
    }
}

type Answered<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl GrpcInferenceService for ModelServer {
    async fn server_live(&self, _request: Request<ServerLiveRequest>) -> Answered<ServerLiveResponse> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _request: Request<ServerReadyRequest>) -> Answered<ServerReadyResponse> {
        Ok(Response::new(ServerReadyResponse { ready: true }))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Answered<ModelReadyResponse> {
        let request = request.into_inner();
        Ok(Response::new(ModelReadyResponse { ready: self.known(&request.name, &request.version).is_ok() }))
    }

    async fn server_metadata(
        &self,
        _request: Request<ServerMetadataRequest>,
    ) -> Answered<ServerMetadataResponse> {
        Ok(Response::new(ServerMetadataResponse {
            name: "acgs".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            extensions: Vec::new(),
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Answered<ModelMetadataResponse> {
        let request = request.into_inner();
        self.known(&request.name, &request.version)?;
        let tensor = |name: &str, datatype: &str| TensorMetadata {
            name: name.into(),
            datatype: datatype.into(),
            shape: vec![-1],
        };
        let mut inputs: Vec<TensorMetadata> = Vec::new();
        for feature in &self.model.features {
            let datatype = match feature {
                Feature::Number { .. } => "FP64",
                Feature::Text { .. } => "BYTES",
                Feature::HourOfDay { .. } | Feature::DayOfWeek { .. } => "INT64",
            };
            if !inputs.iter().any(|known| known.name == feature.name()) {
                inputs.push(tensor(feature.name(), datatype));
            }
        }
        Ok(Response::new(ModelMetadataResponse {
            name: self.model_id.to_string(),
            versions: vec![self.version.to_string()],
            platform: self.model.format.clone(),
            inputs,
            outputs: vec![tensor(SCORE, "FP64")],
        }))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Answered<ModelInferResponse> {
        Ok(Response::new(self.infer(&request.into_inner())?))
    }
}

#[cfg(test)]
#[path = "model_server_tests.rs"]
mod tests;
