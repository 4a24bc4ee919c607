//! Rate, errors and duration of every RPC, under OpenTelemetry's names, and a span for each with the caller's trace. It must
//! not know what is called: methods come from the descriptors, and others are counted together.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use acgs_vocabulary::event::TraceParent;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use opentelemetry::{KeyValue, metrics::Histogram as Exported};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};
use tonic::Code;
use tower::{Layer, Service};
use tracing::{Instrument, Span, field::Empty};

use crate::{descriptors, telemetry};

/// Bounds of durations, in seconds: from a tenth of a millisecond to what callers wait at most.
pub const BOUNDS_S: [f64; 14] =
    [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0];
const OTHER: &str = "other";

/// What a call is counted under.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    rpc_system_name: &'static str,
    rpc_method: Arc<str>,
    rpc_response_status_code: &'static str,
}

/// One method's sums.
#[derive(Debug, Default)]
struct Sums {
    answered: AtomicU64,
    refused: AtomicU64,
    duration_us: AtomicU64,
}

/// The counts of a server. Clones share them.
#[derive(Clone, Debug)]
pub struct Calls {
    methods: Arc<HashMap<String, (Arc<str>, Sums)>>,
    durations: Family<Labels, Histogram>,
    exported: Exported<f64>,
    open: Arc<AtomicU32>,
}

impl Calls {
    /// Of the methods in the descriptors; durations go into the registry and, where traces and metrics are exported, there.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let mut methods = HashMap::new();
        if let Ok(pool) = descriptors::pool() {
            for service in pool.services() {
                for method in service.methods() {
                    let name = format!("{}/{}", service.full_name(), method.name());
                    methods.insert(format!("/{name}"), (Arc::from(name), Sums::default()));
                }
            }
        }
        methods.insert(OTHER.to_owned(), (Arc::from(OTHER), Sums::default()));
        let durations =
            Family::<Labels, Histogram>::new_with_constructor(|| Histogram::new(BOUNDS_S.iter().copied()));
        let help = "Duration of inbound calls to the end of the answer";
        registry.register_with_unit("rpc_server_call_duration", help, Unit::Seconds, durations.clone());
        let exported = opentelemetry::global::meter("acgs")
            .f64_histogram("rpc.server.call.duration")
            .with_unit("s")
            .with_boundaries(BOUNDS_S.to_vec())
            .build();
        Self { methods: Arc::new(methods), durations, exported, open: Arc::default() }
    }

    /// Calls of a method, `package.Service/Method`, that were answered and that were refused, and the mean duration of
    /// both in milliseconds.
    #[must_use]
    pub fn of(&self, method: &str) -> (u64, u64, f64) {
        let Some((_, sums)) = self.methods.get(&format!("/{method}")) else { return (0, 0, 0.0) };
        let (answered, refused) =
            (sums.answered.load(Ordering::Relaxed), sums.refused.load(Ordering::Relaxed));
        let all = (answered + refused).max(1) as f64;
        (answered, refused, sums.duration_us.load(Ordering::Relaxed) as f64 / all / 1_000.0)
    }

    /// Calls and streams that are open now.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    fn begin(&self, path: Arc<str>, span: Span) -> Call {
        self.open.fetch_add(1, Ordering::Relaxed);
        Call { calls: self.clone(), path, since: Instant::now(), span, over: false }
    }

    fn known<'a>(&'a self, path: &'a str) -> Option<&'a (Arc<str>, Sums)> {
        self.methods.get(path).or_else(|| self.methods.get(OTHER))
    }

    fn record(&self, path: &str, code: Code, since: Instant) {
        let Some((name, sums)) = self.known(path) else { return };
        let took = since.elapsed();
        let counted = if code == Code::Ok { &sums.answered } else { &sums.refused };
        counted.fetch_add(1, Ordering::Relaxed);
        sums.duration_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
        let code = code_name(code);
        let labels =
            Labels { rpc_system_name: "grpc", rpc_method: Arc::clone(name), rpc_response_status_code: code };
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
        let attributes = [
            KeyValue::new("rpc.system.name", "grpc"),
            KeyValue::new("rpc.method", Arc::clone(name)),
            KeyValue::new("rpc.response.status_code", code),
        ];
        self.exported.record(took.as_secs_f64(), &attributes);
    }
}

/// A code as OpenTelemetry writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Counts, and opens a span.
#[derive(Clone, Debug)]
pub struct CallsLayer(pub Calls);

impl<S> Layer<S> for CallsLayer {
    type Service = CallsService<S>;

    fn layer(&self, inner: S) -> CallsService<S> {
        CallsService { inner, calls: self.0.clone() }
    }
}

/// A service behind [`CallsLayer`].
#[derive(Clone, Debug)]
pub struct CallsService<S> {
    inner: S,
    calls: Calls,
}

impl<S, B> Service<Request<B>> for CallsService<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let path: Arc<str> = Arc::from(request.uri().path());
        let method = self.calls.known(&path).map_or(OTHER, |(name, _)| name);
        let span = tracing::info_span!(
            "rpc",
            otel.name = method,
            otel.kind = "server",
            rpc.system.name = "grpc",
            rpc.method = method,
            rpc.response.status_code = Empty,
            otel.status_code = Empty,
        );
        telemetry::continue_trace(&span, request.headers());
        if let Some(traceparent) = telemetry::traceparent_of(&span, request.headers()) {
            request.extensions_mut().insert(TraceParent(traceparent));
        }
        let mut call = self.calls.begin(path, span.clone());
        let answer = span.in_scope(|| self.inner.call(request)).instrument(span);
        Box::pin(async move {
            let response = answer.await?;
            if let Some(code) = code_of(response.headers()) {
                call.end(code);
            }
            Ok(response.map(|inner| Body::new(CountedBody { inner, call })))
        })
    }
}

/// The code in headers or trailers; `None` when they have none.
#[must_use]
pub fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()))
}

/// A call until its end.
struct Call {
    calls: Calls,
    path: Arc<str>,
    since: Instant,
    span: Span,
    over: bool,
}

impl Call {
    fn end(&mut self, code: Code) {
        if !std::mem::replace(&mut self.over, true) {
            self.calls.open.fetch_sub(1, Ordering::Relaxed);
            self.calls.record(&self.path, code, self.since);
            self.span.record("rpc.response.status_code", code_name(code));
            // What a caller did wrong is not an error of the server (OpenTelemetry, RPC conventions).
            let server = matches!(
                code,
                Code::Unknown
                    | Code::DeadlineExceeded
                    | Code::Unimplemented
                    | Code::Internal
                    | Code::Unavailable
                    | Code::DataLoss
            );
            if server {
                self.span.record("otel.status_code", "error");
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // The caller went before the end.
        self.end(Code::Cancelled);
    }
}

/// The body of an answer, which ends the call.
struct CountedBody {
    inner: Body,
    call: Call,
}

impl http_body::Body for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(code) = frame.trailers_ref().and_then(code_of) {
                    self.call.end(code);
                }
            }
            Some(Err(_)) => self.call.end(Code::Unknown),
            None => self.call.end(Code::Ok),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
