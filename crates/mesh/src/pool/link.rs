//! One instance's connection. It must not know what is called on it, or whether it is well.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, Uri, uri::Authority};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::timeout};
use tonic::body::Body;
use tower::Service;

use super::gathering::Gathering;

/// A connection that is not there by then is not coming now.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A silent peer is asked after this long, and given up after as long again: a stopped process is found in two seconds.
const PING: Duration = Duration::from_millis(900);
/// Bytes in flight on one stream, and on the connection: one stalled stream must not stop the others.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

pub(super) type Boxed = Box<dyn std::error::Error + Send + Sync>;

/// A connection that takes calls. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Link {
    sender: http2::SendRequest<Body>,
    authority: Authority,
}

impl Link {
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends; what could not be handed to the connection comes back.
    pub(super) fn send(
        &mut self,
        mut request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Body>>>> + use<> {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(http::uri::Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        // Scheme, authority and the path that was there make an address.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        *request.version_mut() = http::Version::HTTP_2;
        self.sender.try_send_request(request)
    }
}

/// For the health client.
impl Service<Request<Body>> for Link {
    type Response = Response<Incoming>;
    type Error = Boxed;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Boxed>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Boxed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let sending = self.send(request);
        Box::pin(async move { sending.await.map_err(|error| error.into_error().into()) })
    }
}

/// Connects to `host:port`; what comes with the link ends when the connection does.
///
/// # Errors
/// When nobody answers in time.
pub(super) async fn connect(address: &str) -> Result<(Link, impl Future<Output = ()>), Boxed> {
    let authority: Authority = address.parse()?;
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .keep_alive_while_idle(true)
        .handshake(TokioIo::new(Gathering::new(stream)))
        .await?;
    // It ends when the peer is gone, or when nobody sends and no stream is open any more.
    let running = tokio::spawn(connection);
    let over = async move {
        let _however_it_ended = running.await;
    };
    Ok((Link { sender, authority }, over))
}
