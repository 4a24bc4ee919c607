//! A server on a listener that it is given: guarded services, open ones (health, reflection, metrics), and an end in
//! five steps. It must not know what the services do.

use std::{io, sync::Arc, time::Duration};

use acgs_contracts::{DESCRIPTORS, grpc::health::v1::health_server::HealthServer};
use acgs_vocabulary::Constitution;
use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{Server, server::TcpIncoming},
};

use crate::{constitution::ConstitutionLayer, health::HealthSwitch, metrics::Metrics, refusals::Refusals};

/// Bytes in flight on one stream: a few lane frames.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes in flight on one connection: one stalled stream must not stop the others.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Streams of one connection; hyper's default is not used by tonic, which would have no bound.
const STREAMS_MAX: u32 = 256;
/// Bytes of all headers of a request.
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// A connection without an answer to a ping for this long is over.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// What a server is made of.
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
}

/// Why a server ended.
#[derive(Debug)]
pub enum ServeError {
    /// The transport failed.
    Transport(tonic::transport::Error),
    /// The listener could not be used.
    Listener(io::Error),
    /// Reflection could not be built.
    Reflection(tonic_reflection::server::Error),
}

impl std::fmt::Display for ServeError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Transport(error) => write!(formatter, "the transport failed: {error}"),
            Self::Listener(error) => write!(formatter, "the listener cannot be used: {error}"),
            Self::Reflection(error) => write!(formatter, "reflection cannot be built: {error}"),
        }
    }
}

impl std::error::Error for ServeError {}

/// Serves until `stop` is cancelled: then nothing new is accepted, and open calls may end within `grace`. Long
/// streams watch the same token and end themselves.
///
/// # Errors
/// When the listener or the transport fails.
pub async fn serve(
    listener: TcpListener,
    guarded: Routes,
    plumbing: Plumbing,
    stop: CancellationToken,
    grace: Duration,
) -> Result<(), ServeError> {
    let guard = ConstitutionLayer::new(plumbing.constitution.clone(), Arc::clone(&plumbing.refusals));
    let reflection =
        || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
    let open = Routes::new(HealthServer::new(plumbing.health.face()))
        .add_service(reflection().build_v1().map_err(ServeError::Reflection)?)
        .add_service(reflection().build_v1alpha().map_err(ServeError::Reflection)?);
    let open: Router = without_fallback(open);
    // An unknown method is answered behind the guard, like a known one.
    let router = guarded.into_axum_router().layer(guard).merge(open).merge(plumbing.metrics.route());
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
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
        () = stop.cancelled() => {}
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

/// Two routers can only be merged when one of them has a fallback.
fn without_fallback(routes: Routes) -> Router {
    routes.into_axum_router().reset_fallback()
}
