//! A server on a listener that it is given: guarded services over gRPC, gRPC-Web and JSON, open ones (health, reflection,
//! metrics), and an end in five steps. It must not know what the services do.

use std::{fmt, io, sync::Arc, time::Duration};

use acgs_contracts::{DESCRIPTORS, grpc::health::v1::health_server::HealthServer};
use acgs_vocabulary::{Constitution, Problem, ports::Clock, problem::Kind, text};
use axum::{
    Json, Router,
    http::{
        StatusCode,
        header::{ACCEPT, CONTENT_TYPE},
    },
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Map, Value};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, service::Routes, transport::Server};
use tonic_web::GrpcWebLayer;
use tower::ServiceExt;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::{
    admission::{
        Admission,
        connection::Admitted,
        gate::{Gate, admit, measure},
    },
    calls::{Calls, CallsLayer},
    constitution::ConstitutionLayer,
    descriptors,
    health::HealthSwitch,
    metrics::Metrics,
    plain,
    refusals::Refusals,
    rest,
};

/// Bytes in flight on one stream: a few lane frames.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes in flight on one connection: one stalled stream must not stop the others.
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
/// Streams of one connection; hyper's default is not used by tonic, which would have no bound.
const STREAMS_MAX: u32 = 1_024;
/// Bytes of all headers of a request.
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// A connection without an answer to a ping for this long is over.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Headers that pages of other origins may read.
const EXPOSED: [&str; 4] =
    ["grpc-status", "grpc-message", "grpc-status-details-bin", acgs_vocabulary::constitution::HEADER];

/// What servers of one process share.
#[derive(Clone, Debug)]
pub struct Plumbing {
    /// Guards the services.
    pub constitution: Constitution,
    /// Counts what the guard refused.
    pub refusals: Arc<Refusals>,
    /// Tells health.
    pub health: HealthSwitch,
    /// Tells numbers.
    pub metrics: Metrics,
    /// Counts calls.
    pub calls: Calls,
    /// Wall time and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// Why the home takes no writes; empty while it does.
    pub home_trouble: watch::Sender<String>,
    /// Lets connections in.
    pub admission: Admission,
    /// Lets requests in.
    pub gate: Gate,
}

/// Numbers of a server as JSON fields.
pub type Fields = Arc<dyn Fn() -> Map<String, Value> + Send + Sync>;

/// What a server says of itself over plain HTTP.
#[derive(Clone)]
pub struct Doors {
    /// Its services by full name: their RPCs are reached as JSON.
    pub services: Vec<&'static str>,
    /// Its name at `/health` and `/metrics`.
    pub name: &'static str,
    /// More fields of `/health`.
    pub health: Fields,
    /// Fields of `/metrics` as JSON.
    pub numbers: Fields,
}

impl fmt::Debug for Doors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Doors").field("services", &self.services).finish_non_exhaustive()
    }
}

/// Why a server ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The transport failed.
    #[error("the transport failed: {0}")]
    Transport(tonic::transport::Error),
    /// The listener could not be used.
    #[error("the listener cannot be used: {0}")]
    Listener(io::Error),
    /// Reflection could not be built.
    #[error("reflection cannot be built: {0}")]
    Reflection(tonic_reflection::server::Error),
    /// The JSON side could not be built.
    #[error("the descriptors cannot be read: {0}")]
    Descriptors(prost_reflect::DescriptorError),
    /// An origin is no origin.
    #[error("web.origins: {0:?} is no origin such as https://example.org")]
    Origin(String),
}

/// Serves until `stop` is cancelled: then nothing new is accepted, and open calls may end within `grace`. Long
/// streams watch the same token and end themselves.
///
/// # Errors
/// When the listener or the transport fails.
pub async fn serve(
    listener: TcpListener,
    guarded: Routes,
    plumbing: Plumbing,
    doors: Doors,
    stop: CancellationToken,
    grace: Duration,
) -> Result<(), ServeError> {
    let router = router(guarded, &plumbing, &doors)?;
    let admission = plumbing.admission.clone();
    let incoming = futures_util::stream::unfold(listener, move |listener| {
        let admission = admission.clone();
        async move {
            let (stream, slot) = admission.accept(&listener).await;
            Some((Ok::<_, io::Error>(Admitted::new(stream, slot)), listener))
        }
    });
    let server = Server::builder()
        .accept_http1(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_routes(Routes::from(router));
    let ending = stop.clone();
    let serving = server.serve_with_incoming_shutdown(incoming, async move { ending.cancelled().await });
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return ended.map_err(ServeError::Transport),
        () = stop.cancelled() => plumbing.health.end_watches(),
    }
    // Open calls would hold the server for ever: after the grace they are cut.
    match tokio::time::timeout(grace, serving).await {
        Ok(ended) => ended.map_err(ServeError::Transport),
        Err(_) => {
            tracing::warn!(
                grace_ms = grace.as_millis() as u64,
                "open calls were cut at the end of the grace"
            );
            Ok(())
        }
    }
}

/// Everything that is served on one port, for a listener of another kind.
///
/// # Errors
/// When reflection or the descriptors cannot be built.
pub fn router(guarded: Routes, plumbing: &Plumbing, doors: &Doors) -> Result<Router, ServeError> {
    let guard = ConstitutionLayer::new(plumbing.constitution.clone(), Arc::clone(&plumbing.refusals));
    let reflection =
        || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
    let open =
        Routes::new(HealthServer::new(plumbing.health.service_of(doors.services.first().unwrap_or(&""))))
            .add_service(reflection().build_v1().map_err(ServeError::Reflection)?)
            .add_service(reflection().build_v1alpha().map_err(ServeError::Reflection)?);
    let open: Router = without_fallback(open).layer(GrpcWebLayer::new());
    // An unknown method is answered behind the guard, like a known one; a call is counted whatever the guard says.
    let measured = from_fn_with_state(plumbing.gate.clone(), measure);
    let guarded =
        guarded.into_axum_router().layer(measured).layer(guard).layer(CallsLayer(plumbing.calls.clone()));
    let pool = descriptors::pool().map_err(ServeError::Descriptors)?;
    let json = rest::routes(&pool, &doors.services, &plumbing.constitution, &plumbing.gate, &guarded);
    let elsewhere = Elsewhere { paths: rest::paths(&pool).into(), gate: plumbing.gate.clone() };
    let web = cors(plumbing.gate.origins())?;
    let gate = from_fn_with_state(plumbing.gate.clone(), admit);
    let guarded = guarded.layer(GrpcWebLayer::new());
    let unknown = guarded.clone();
    Ok(guarded
        .reset_fallback()
        .fallback(move |request| otherwise(unknown, elsewhere, request))
        .merge(open)
        .merge(json)
        .merge(health(plumbing, doors))
        .merge(numbers(plumbing, doors))
        .layer(gate)
        .layer(web))
}

/// What is served at other ports.
#[derive(Clone)]
struct Elsewhere {
    paths: Arc<[rest::Path]>,
    gate: Gate,
}

impl Elsewhere {
    /// Where this service is, as far as that is known.
    fn tell(&self, service: &str) -> String {
        match self.gate.place_of(service) {
            Some(place) => format!("{service} is not served at this port; it is at {place}"),
            None => format!("{service} is not served at this port"),
        }
    }
}

/// An unknown method of gRPC goes to the guard, and anything else is not here.
async fn otherwise(grpc: Router, elsewhere: Elsewhere, request: axum::extract::Request) -> Response {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind.is_some_and(|kind| kind.starts_with("application/grpc")) {
        let service =
            request.uri().path().trim_start_matches('/').split('/').next().unwrap_or_default().to_owned();
        // A router never fails: it answers.
        let Ok(response) = grpc.oneshot(request).await;
        // Behind the guard: who may call is told where to.
        let refused = Status::from_header_map(response.headers());
        if refused.is_some_and(|status| status.code() == Code::Unimplemented) {
            let problem = Problem::new(Kind::Unimplemented, "NOT_HERE", elsewhere.tell(&service));
            let (mut parts, body) = response.into_parts();
            let _cannot_be_written = Status::from(problem).add_header(&mut parts.headers);
            return Response::from_parts(parts, body);
        }
        return response;
    }
    let service = elsewhere.paths.iter().find(|path| path.is(request.uri().path()));
    let message =
        service.map_or_else(|| "there is nothing here".to_owned(), |path| elsewhere.tell(path.service()));
    plain::refusal(&Problem::new(Kind::NotFound, "NOT_HERE", message).into(), None)
}

/// Two routers can only be merged when one of them has a fallback.
fn without_fallback(routes: Routes) -> Router {
    routes.into_axum_router().reset_fallback()
}

fn cors(origins: &[String]) -> Result<CorsLayer, ServeError> {
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        let origin = |text: &String| {
            let form = text.starts_with("http://") || text.starts_with("https://");
            HeaderValue::from_str(text).ok().filter(|_| form).ok_or_else(|| ServeError::Origin(text.clone()))
        };
        AllowOrigin::list(origins.iter().map(origin).collect::<Result<Vec<_>, _>>()?)
    };
    Ok(CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers(tower_http::cors::Any)
        .expose_headers(EXPOSED.map(HeaderName::from_static)))
}

/// What every plain answer says.
fn signed(plumbing: &Plumbing, name: &str, mut fields: Map<String, Value>) -> Map<String, Value> {
    fields.insert("service".into(), name.into());
    fields.insert("constitutional_hash".into(), plumbing.constitution.current().into());
    fields.insert("timestamp".into(), text::rfc3339(plumbing.clock.now_ms()).into());
    fields
}

/// `GET /health`: 200 while the service takes work, else 503.
fn health(plumbing: &Plumbing, doors: &Doors) -> Router {
    let (plumbing, doors) = (plumbing.clone(), doors.clone());
    let answer = move || {
        let well = doors.services.first().is_some_and(|own| plumbing.health.is_well(own));
        let mut fields = Map::new();
        fields.insert("status".into(), if well { "healthy" } else { "unhealthy" }.into());
        fields.extend((doors.health)());
        let trouble = plumbing.home_trouble.borrow().clone();
        if !trouble.is_empty() {
            fields.insert("home".into(), trouble.into());
        }
        let code = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body = Json(Value::Object(signed(&plumbing, doors.name, fields)));
        std::future::ready((code, body).into_response())
    };
    Router::new().route("/health", get(answer)).method_not_allowed_fallback(plain::not_allowed)
}

/// `GET /metrics`: Prometheus text, or JSON in the original's fields for those who accept it.
fn numbers(plumbing: &Plumbing, doors: &Doors) -> Router {
    let (plumbing, doors) = (plumbing.clone(), doors.clone());
    let answer = move |headers: HeaderMap| {
        let json = headers
            .get_all(ACCEPT)
            .iter()
            .any(|accept| accept.to_str().is_ok_and(|accept| accept.contains("application/json")));
        let response: Response = if json {
            Json(Value::Object(signed(&plumbing, doors.name, (doors.numbers)()))).into_response()
        } else {
            plumbing.metrics.answer()
        };
        std::future::ready(response)
    };
    Router::new().route("/metrics", get(answer)).method_not_allowed_fallback(plain::not_allowed)
}
