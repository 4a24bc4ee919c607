//! Real model servers whose behaviour a test can turn. It must not know a test.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use acgs_contracts::inference::{
    InferTensorContents, ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse,
    ModelReadyRequest, ModelReadyResponse, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest,
    ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
    grpc_inference_service_client::GrpcInferenceServiceClient,
    grpc_inference_service_server::{GrpcInferenceService, GrpcInferenceServiceServer},
    model_infer_response::InferOutputTensor,
};
use acgs_vocabulary::constitution::HEADER;
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

/// How a model server behaves, and what it has seen.
#[derive(Debug, Default)]
pub struct Behaviour {
    /// Of a thousand calls, so many fail.
    pub failing_per_mille: AtomicU64,
    /// Each answer takes this long.
    pub latency_us: AtomicU64,
    /// What the score is, in thousandths.
    pub score_per_mille: AtomicU64,
    /// Whether it says that it is ready.
    pub unready: AtomicBool,
    /// Whether it answers under another constitution.
    pub breaching: AtomicBool,
    /// A call of this id ends the server, with all its connections; for those that are mortal.
    pub dies_of: Mutex<Option<String>>,
    /// Whether it has ended so.
    pub died: AtomicBool,
    /// Calls that came.
    pub calls: AtomicU64,
    /// Of those, that were given up by the caller before they were answered.
    pub abandoned: AtomicU64,
    /// When the last one came, and under which metadata.
    pub last: Mutex<Option<(Instant, tonic::metadata::MetadataMap)>>,
}

/// A model server.
pub struct ModelStub {
    /// Where it listens.
    pub address: SocketAddr,
    /// How it behaves.
    pub behaviour: Arc<Behaviour>,
    server: JoinHandle<()>,
    life: Life,
}

/// The runtime of a server that can end at once, connections included.
type Life = Arc<Mutex<Option<tokio::runtime::Runtime>>>;

fn end(life: &Life) {
    if let Some(runtime) = life.lock().expect("no panic").take() {
        runtime.shutdown_background();
    }
}

impl Drop for ModelStub {
    fn drop(&mut self) {
        self.server.abort();
        end(&self.life);
    }
}

#[derive(Clone)]
struct Face(Arc<Behaviour>, Arc<str>, Life);

impl ModelStub {
    /// Of this version.
    pub async fn start(version: &str) -> Self {
        Self::living(version, Life::default()).await
    }

    /// Of this version, in a runtime of its own, with which it can end.
    pub async fn mortal(version: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self::living(version, Arc::new(Mutex::new(Some(runtime.expect("a runtime"))))).await
    }

    /// Of this version, at this address.
    pub async fn start_at(address: SocketAddr, version: &str) -> Self {
        Self::living_at(address, version, Life::default()).await
    }

    async fn living(version: &str, life: Life) -> Self {
        Self::living_at(([127, 0, 0, 1], 0).into(), version, life).await
    }

    async fn living_at(address: SocketAddr, version: &str, life: Life) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let behaviour = Arc::new(Behaviour::default());
        behaviour.score_per_mille.store(500, Ordering::Relaxed);
        let face = Face(Arc::clone(&behaviour), version.into(), Arc::clone(&life));
        let most = 80 << 20;
        let service = GrpcInferenceServiceServer::new(face)
            .max_decoding_message_size(most)
            .max_encoding_message_size(most);
        let own = life.lock().expect("no panic").as_ref().map(|runtime| runtime.handle().clone());
        let listener = listener.into_std().expect("a socket");
        let server = own.unwrap_or_else(tokio::runtime::Handle::current).spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a socket");
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let served = Server::builder().add_service(service).serve_with_incoming(incoming).await;
            served.expect("serves");
        });
        Self { address, behaviour, server, life }
    }

    /// Its address.
    pub fn endpoint(&self) -> String {
        self.address.to_string()
    }
}

/// Counts a call whose future is dropped before it is done.
struct WaitedFor<'a>(&'a Behaviour, bool);

impl Drop for WaitedFor<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.abandoned.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for Face {
    async fn server_live(
        &self,
        _: Request<ServerLiveRequest>,
    ) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<ServerReadyRequest>,
    ) -> Result<Response<ServerReadyResponse>, Status> {
        Ok(Response::new(ServerReadyResponse { ready: !self.0.unready.load(Ordering::Relaxed) }))
    }

    async fn model_ready(
        &self,
        _: Request<ModelReadyRequest>,
    ) -> Result<Response<ModelReadyResponse>, Status> {
        Ok(Response::new(ModelReadyResponse { ready: !self.0.unready.load(Ordering::Relaxed) }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Err(Status::unimplemented("no"))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let name = request.into_inner().name;
        Ok(Response::new(ModelMetadataResponse {
            name,
            versions: vec![self.1.to_string()],
            ..Default::default()
        }))
    }

    async fn model_infer(
        &self,
        request: Request<ModelInferRequest>,
    ) -> Result<Response<ModelInferResponse>, Status> {
        let count = self.0.calls.fetch_add(1, Ordering::Relaxed);
        if self.0.dies_of.lock().expect("no panic").as_deref() == Some(request.get_ref().id.as_str()) {
            self.0.died.store(true, Ordering::Relaxed);
            end(&self.2);
            return std::future::pending().await;
        }
        *self.0.last.lock().expect("no panic") = Some((Instant::now(), request.metadata().clone()));
        let latency_us = self.0.latency_us.load(Ordering::Relaxed);
        let mut waited_for = WaitedFor(&self.0, false);
        if latency_us > 0 {
            tokio::time::sleep(Duration::from_micros(latency_us)).await;
        }
        waited_for.1 = true;
        // A share that is spread evenly: every so many.
        let failing = self.0.failing_per_mille.load(Ordering::Relaxed);
        if (count * failing) % 1_000 + failing >= 1_000 && failing > 0 {
            return Err(Status::internal("the model is broken"));
        }
        let request = request.into_inner();
        let score = self.0.score_per_mille.load(Ordering::Relaxed) as f64 / 1_000.0;
        let output = InferOutputTensor {
            name: "score".into(),
            datatype: "FP64".into(),
            shape: vec![1],
            contents: Some(InferTensorContents { fp64_contents: vec![score], ..Default::default() }),
            ..InferOutputTensor::default()
        };
        let mut response = Response::new(ModelInferResponse {
            model_name: request.model_name,
            model_version: self.1.to_string(),
            id: request.id,
            outputs: vec![output],
            // What came goes back, so that large tensors pass both ways.
            raw_output_contents: request.raw_input_contents,
            ..ModelInferResponse::default()
        });
        if self.0.breaching.load(Ordering::Relaxed) {
            response.metadata_mut().insert(HEADER, "0123456789abcdef".parse().expect("a value"));
        }
        Ok(response)
    }
}

/// A client of the protocol that knows nothing of the mesh.
pub async fn inference(address: SocketAddr) -> GrpcInferenceServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let most = 80 << 20;
    GrpcInferenceServiceClient::new(endpoint.connect_lazy())
        .max_decoding_message_size(most)
        .max_encoding_message_size(most)
}

/// A question for a model.
pub fn question(model: &str) -> ModelInferRequest {
    ModelInferRequest { model_name: model.into(), id: "q".into(), ..ModelInferRequest::default() }
}
