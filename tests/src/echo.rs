//! A service that is none of the mesh's, called by any path under its name: every message of a stream comes back, what is asked for is
//! refused with trailers, and a stream that its caller gives up is counted. It must not know a test.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use acgs_contracts::inference::{ModelInferRequest, ModelInferResponse};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{
    Code, Request, Response, Status, Streaming,
    body::Body,
    codegen::Service,
    metadata::MetadataMap,
    server::{Grpc, NamedService, StreamingService},
    transport::{Server, server::TcpIncoming},
};

/// Its only method.
pub const PATH: &str = "/echo.Echo/Both";

/// What it has seen.
#[derive(Clone, Debug, Default)]
pub struct Echo {
    /// Messages that came.
    pub messages: Arc<AtomicU64>,
    /// Streams that ended without their end being said.
    pub abandoned: Arc<AtomicU64>,
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Echo {
    /// On a free port, until the test ends.
    pub async fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let echo = Self::default();
        let server = Server::builder().add_service(echo.clone());
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        tokio::spawn(async move { server.serve_with_incoming(incoming).await.expect("serves") });
        (echo, address)
    }
}

impl NamedService for Echo {
    const NAME: &'static str = "echo.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(tonic_prost::ProstCodec::default());
            Ok(grpc.streaming(echo, request).await)
        })
    }
}

impl StreamingService<ModelInferRequest> for Echo {
    type Response = ModelInferResponse;
    type ResponseStream = ReceiverStream<Result<ModelInferResponse, Status>>;
    type Future = Boxed<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<ModelInferRequest>>) -> Self::Future {
        let (out, answers) = mpsc::channel(4);
        let (echo, mut incoming) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Some(message) = incoming.next().await {
                let Ok(message) = message else {
                    echo.abandoned.fetch_add(1, Ordering::Relaxed);
                    return;
                };
                echo.messages.fetch_add(1, Ordering::Relaxed);
                let answer = match message.id.as_str() {
                    "refuse" => {
                        let mut trailers = MetadataMap::new();
                        trailers.insert("x-why", "asked for".parse().expect("a value"));
                        Err(Status::with_metadata(Code::Aborted, "as you wish", trailers))
                    }
                    _ => Ok(ModelInferResponse { id: message.id, ..ModelInferResponse::default() }),
                };
                if out.send(answer).await.is_err() {
                    echo.abandoned.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
            let mut last = ModelInferResponse { id: "end".into(), ..ModelInferResponse::default() };
            last.model_name = "echo".into();
            let _nobody_may_listen = out.send(Ok(last)).await;
        });
        Box::pin(async move { Ok(Response::new(ReceiverStream::new(answers))) })
    }
}
