//! A mesh in this process, gateways in processes of their own that follow it, and model servers in this one: what the figures of
//! capture and of routes are measured on. It must not know what is measured.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use acgs_client::LifecycleClients;
use acgs_contracts::{
    inference::{
        InferTensorContents, ModelInferRequest, ModelInferResponse, ModelMetadataRequest,
        ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse, ServerLiveRequest, ServerLiveResponse,
        ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
        grpc_inference_service_server::{GrpcInferenceService, GrpcInferenceServiceServer},
        model_infer_response::InferOutputTensor,
    },
    lifecycle::v1::{
        Artifact, PolicyDocument, PutPolicyRequest, RegisterModelRequest, RegisterVersionRequest,
        SetEndpointsRequest,
    },
};
use acgs_mesh::{client::MeshChannel, clock::SystemClock};
use acgs_server::{Running, Settings};
use acgs_vocabulary::{constitution::sha256_hex, ports::Clock};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

use acgs_console::connect::channel;

use crate::processes::Process;

/// A model server that answers at once, with a score when it is asked with tensors; every so-manieth call fails.
#[derive(Clone, Debug)]
pub(super) struct Echo {
    /// Of a thousand calls, so many fail.
    failing_per_mille: u64,
    calls: Arc<AtomicU64>,
    /// When the last call came, wall time in milliseconds since the epoch.
    pub(super) last_ms: Arc<AtomicI64>,
    clock: SystemClock,
}

impl Echo {
    /// Of a thousand calls, so many fail.
    pub(super) fn new(failing_per_mille: u64) -> Self {
        Self { failing_per_mille, calls: Arc::default(), last_ms: Arc::default(), clock: SystemClock::new() }
    }

    /// Serves on a free port.
    pub(super) async fn serve(&self) -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let service = self.clone();
        tokio::spawn(async move {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let server = Server::builder().add_service(GrpcInferenceServiceServer::new(service));
            server.serve_with_incoming(incoming).await
        });
        Ok(address)
    }
}

type Answered<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl GrpcInferenceService for Echo {
    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Answered<ServerLiveResponse> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Answered<ServerReadyResponse> {
        Ok(Response::new(ServerReadyResponse { ready: true }))
    }

    async fn model_ready(&self, _: Request<ModelReadyRequest>) -> Answered<ModelReadyResponse> {
        Ok(Response::new(ModelReadyResponse { ready: true }))
    }

    async fn server_metadata(&self, _: Request<ServerMetadataRequest>) -> Answered<ServerMetadataResponse> {
        Ok(Response::new(ServerMetadataResponse::default()))
    }

    async fn model_metadata(&self, _: Request<ModelMetadataRequest>) -> Answered<ModelMetadataResponse> {
        Ok(Response::new(ModelMetadataResponse::default()))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Answered<ModelInferResponse> {
        if self.failing_per_mille > 0 {
            self.last_ms.store(self.clock.now_ms(), Ordering::Relaxed);
            let call = self.calls.fetch_add(1, Ordering::Relaxed);
            if call * self.failing_per_mille % 1_000 < self.failing_per_mille {
                return Err(Status::internal("it is broken"));
            }
        }
        let request = request.into_inner();
        let score = |rows: Vec<i64>| InferOutputTensor {
            name: "score".into(),
            datatype: "FP64".into(),
            contents: Some(InferTensorContents {
                fp64_contents: vec![0.5; rows.iter().product::<i64>() as usize],
                ..InferTensorContents::default()
            }),
            shape: rows,
            ..InferOutputTensor::default()
        };
        Ok(Response::new(ModelInferResponse {
            model_name: request.model_name,
            id: request.id,
            outputs: request.inputs.into_iter().next().map(|input| score(input.shape)).into_iter().collect(),
            ..ModelInferResponse::default()
        }))
    }
}

pub(super) type Lifecycle = LifecycleClients<MeshChannel>;

/// A mesh and its gateways.
pub(super) struct Rig {
    pub(super) running: Running,
    pub(super) gateways: Vec<Process>,
    pub(super) lifecycle: Lifecycle,
    _home: TempDir,
}

impl Rig {
    pub(super) async fn start(settings: &Settings, gateways: usize) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        let running = acgs_server::serve_all(&settings.alone(home.path())).await?;
        let orchestrator = running.addresses.orchestrator.to_string();
        let mut processes = Vec::new();
        for number in 0..gateways {
            let flags = [
                format!("gateway.orchestrators=[\"{orchestrator}\"]"),
                format!("gateway.id=gateway-{number}"),
                format!("gateway.snapshot={}", home.path().join(format!("{number}.binpb")).display()),
            ];
            processes.push(Process::start("gateway", &flags).await?);
        }
        let lifecycle = Lifecycle::new(channel(&orchestrator, running.constitution.clone()).await?);
        Ok(Self { running, gateways: processes, lifecycle, _home: home })
    }

    pub(super) async fn end(self) -> anyhow::Result<()> {
        drop(self.gateways);
        self.running.stop().await
    }
}

/// A model with a version that serves.
pub(super) async fn model(
    client: &mut Lifecycle,
    model: &str,
    policy: &str,
    endpoint: SocketAddr,
) -> anyhow::Result<()> {
    let register = RegisterModelRequest { model_id: model.into(), ..RegisterModelRequest::default() };
    client.models.register_model(register).await?;
    if !policy.is_empty() {
        let document = Some(PolicyDocument { toml: policy.into() });
        let put = PutPolicyRequest { model_id: model.into(), document, ..PutPolicyRequest::default() };
        client.models.put_policy(put).await?;
    }
    version(client, model, "v1", endpoint, true).await
}

/// One more version.
pub(super) async fn version(
    client: &mut Lifecycle,
    model: &str,
    version: &str,
    endpoint: SocketAddr,
    serving: bool,
) -> anyhow::Result<()> {
    let artifact = Artifact {
        digest: sha256_hex(version.as_bytes()),
        size_bytes: 1,
        format: "elsewhere/1".into(),
        uri: format!("https://models.example/{version}"),
    };
    let register = RegisterVersionRequest {
        model_id: model.into(),
        version: version.into(),
        artifact: Some(artifact),
        serving,
        ..RegisterVersionRequest::default()
    };
    client.models.register_version(register).await?;
    let endpoints = SetEndpointsRequest {
        model_id: model.into(),
        version: version.into(),
        endpoints: vec![endpoint.to_string()],
        ..SetEndpointsRequest::default()
    };
    client.routing.set_endpoints(endpoints).await?;
    Ok(())
}
