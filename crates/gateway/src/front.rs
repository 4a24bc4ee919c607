//! The listener: calls of any gRPC method go to the proxy, health, reflection, the constitution and metrics are the gateway's own,
//! and so are questions about the server of the Open Inference Protocol. It must not know where calls go.

use std::{
    convert::Infallible,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use acgs_contracts::inference::{ServerLiveResponse, ServerMetadataResponse, ServerReadyResponse};
use acgs_inference::framing::framed;
use acgs_mesh::admission::{
    Admission,
    connection::{Admitted, Peer},
    gate::Gate,
};
use acgs_vocabulary::{Problem, problem::Kind};
use axum::Router;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use prost::Message;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{body::GatewayBody, proxy::Gateway};

/// Bytes in flight on one stream, and on the connection.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
/// Largest frame: a large tensor should not come in a thousand pieces.
const FRAME_BYTES_MAX: u32 = 1 << 20;
/// Streams of one connection.
const STREAMS_MAX: u32 = 1_024;
/// Bytes of all headers of a request.
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// A connection without an answer to a ping for this long is over.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Prefixes of the gateway's own paths.
const OWN: [&str; 4] = ["/grpc.health.v1.", "/grpc.reflection.", "/acgs.", "/v1/"];

/// Answers requests. Clones share everything.
#[derive(Clone, Debug)]
struct Front {
    gateway: Gateway,
    own: Router,
    gate: Gate,
    /// The thread that it answers on.
    shard: usize,
    peer: Peer,
}

/// What the listener needs of the process.
#[derive(Clone, Debug)]
pub struct Doors {
    /// Lets connections in.
    pub admission: Admission,
    /// Lets requests in.
    pub gate: Gate,
    /// The gateway's own paths.
    pub own: Router,
}

impl hyper::service::Service<Request<Incoming>> for Front {
    type Response = Response<GatewayBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<GatewayBody>, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let path = request.uri().path();
        let grpc = request
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        let front = self.clone();
        if !grpc || OWN.iter().any(|prefix| path.starts_with(prefix)) {
            request.extensions_mut().insert(front.peer.clone());
            return Box::pin(async move {
                let Ok(response) = front.own.oneshot(request).await;
                Ok(response.map(GatewayBody::Own))
            });
        }
        if let Err(problem) = self.gate.check(request.method(), request.uri(), request.headers()) {
            return Box::pin(std::future::ready(Ok(front.gateway.refusal(problem.into()))));
        }
        if request.method() != http::Method::POST {
            let problem =
                Problem::new(Kind::Unimplemented, "METHOD_NOT_ALLOWED", "a method of gRPC is called by POST");
            return Box::pin(std::future::ready(Ok(front.gateway.refusal(problem.into()))));
        }
        match server_question(path, &self.gateway) {
            Some(answer) => Box::pin(std::future::ready(Ok(front.gateway.answer(request.headers(), answer)))),
            None => {
                let open = self.peer.call();
                Box::pin(async move { Ok(front.gateway.carry(front.shard, open, request).await) })
            }
        }
    }
}

/// What the gateway says of itself as a server of models.
fn server_question(path: &str, gateway: &Gateway) -> Option<Response<GatewayBody>> {
    let bytes = match path.strip_prefix(acgs_inference::peek::INFERENCE)? {
        "ServerLive" => ServerLiveResponse { live: true }.encode_to_vec(),
        "ServerReady" => ServerReadyResponse { ready: gateway.table().models() > 0 }.encode_to_vec(),
        "ServerMetadata" => ServerMetadataResponse {
            name: "acgs-gateway".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            extensions: Vec::new(),
        }
        .encode_to_vec(),
        _ => return None,
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames: [Result<Frame<Bytes>, Infallible>; 2] =
        [Ok(Frame::data(framed(&bytes)?)), Ok(Frame::trailers(trailers))];
    let body = axum::body::Body::new(StreamBody::new(tokio_stream::iter(frames)));
    let mut response = Response::new(GatewayBody::Own(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Some(response)
}

/// Serves until `stop` is cancelled: then nothing new is accepted, and open calls may end within `grace`.
pub async fn serve(
    listener: TcpListener,
    gateway: Gateway,
    doors: Doors,
    stop: CancellationToken,
    grace: Duration,
) {
    let shards = Arc::clone(gateway.table().shards());
    let builder = Arc::new(builder(doors.admission.first_bytes()));
    let mut connections = JoinSet::new();
    loop {
        let (stream, slot) = tokio::select! {
            accepted = doors.admission.accept(&listener) => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            () = stop.cancelled() => break,
        };
        let Ok(stream) = stream.into_std() else { continue };
        let shard = shards.next();
        let (gateway, doors) = (gateway.clone(), doors.clone());
        let (builder, stop) = (Arc::clone(&builder), stop.clone());
        let carry = async move {
            let Ok(stream) = TcpStream::from_std(stream) else { return };
            let stream = Admitted::new(stream, slot);
            let front = Front { gateway, own: doors.own, gate: doors.gate, shard, peer: stream.peer() };
            let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), front));
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection broke");
            }
        };
        connections.spawn_on(carry, &shards.handles()[shard]);
    }
    drop(listener);
    let all_over = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, all_over).await.is_err() {
        tracing::warn!(
            grace_ms = grace.as_millis() as u64,
            "calls were still open after the grace, and were cut"
        );
    }
}

fn builder(head: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE);
    builder
}
