//! What every request passes before anything else: by which name the server was called, from a page of which origin, how many calls of
//! the method are open, and how fast the request comes. It must not know what a method does.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    pin::Pin,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use acgs_vocabulary::{Problem, problem::Kind};
use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode, Uri,
    header::{ALLOW, CONTENT_TYPE, HOST, ORIGIN},
};
use http_body::{Frame, SizeHint};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::block_in_place,
};
use tonic::Status;

use super::{
    Config,
    connection::{OpenCall, Peer},
    pace::{Pace, Paced},
};
use crate::{
    descriptors,
    intake::{Measured, Plan, Scan, Weight},
    plain::{refusal, refusal_as},
};

/// Open calls of one method.
const CALLS_MAX: usize = 16_384;
/// Services that answer whatever else is open.
const ALWAYS: [&str; 2] = ["/grpc.health.", "/grpc.reflection."];
/// Methods of which one call may hold much; memory is reserved apart.
const FEW: [(&str, usize); 11] = [
    ("PutArtifact", 64),
    ("PutReference", 64),
    ("ReadRecords", 16),
    ("GetArtifact", 64),
    ("ReadDataset", 64),
    ("Assess", 64),
    ("Detect", 64),
    ("Compare", 64),
    ("Analyze", 64),
    ("EvaluateModel", 64),
    ("CompareModels", 64),
];
/// A feed that may rest for as long as it likes.
const RESTING: &str = "SubmitLabels";
/// When a busy method may be asked again.
const BUSY_MS: u64 = 500;
/// Endings of names that no public name server answers for, so that no page can have one.
const PRIVATE: [&str; 6] = [".localhost", ".local", ".internal", ".svc", ".lan", ".home.arpa"];

/// Who may call from where.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Names by which the server may be called, beside addresses and private names; `*` for any.
    pub hosts: Vec<String>,
    /// Origins of pages that may call; `*` for any.
    pub origins: Vec<String>,
}

#[derive(Debug)]
struct Counted {
    name: String,
    /// Whether it takes message after message.
    streams: bool,
    /// Whether its request has to come at once.
    paced: bool,
    most: usize,
    open: AtomicUsize,
}

/// The gate. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    names: Names,
    pace: Pace,
    methods: HashMap<String, Arc<Counted>>,
    /// What requests take when they are decoded.
    plan: Arc<Plan>,
    /// Where services are served that are not here.
    places: RwLock<BTreeMap<String, String>>,
}

/// An open call of a method.
#[derive(Debug)]
pub(crate) struct OpenMethod(Arc<Counted>);

impl Drop for OpenMethod {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The name of a host without its port.
fn name_of(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

impl Gate {
    /// For the methods of the descriptors.
    #[must_use]
    pub fn new(config: &Config, mut names: Names) -> Self {
        let mut methods = HashMap::new();
        for method in descriptors::pool().iter().flat_map(|pool| pool.services()).flat_map(|service| {
            let methods: Vec<_> = service.methods().collect();
            methods
        }) {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            let few = FEW.iter().find(|(name, _)| *name == method.name());
            let rests =
                method.is_client_streaming() && (method.is_server_streaming() || method.name() == RESTING);
            let counted = Counted {
                name: method.name().to_owned(),
                streams: method.is_client_streaming(),
                paced: !rests,
                most: few.map_or(CALLS_MAX, |(_, most)| *most),
                open: AtomicUsize::new(0),
            };
            methods.insert(path, Arc::new(counted));
        }
        let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
        names.hosts.push(own);
        names.hosts.iter_mut().for_each(|host| host.make_ascii_lowercase());
        let patience = Duration::from_millis(config.body_ms);
        let pace = Pace { patience, bytes_per_second: config.body_bytes_per_second };
        let plan = Arc::new(descriptors::pool().map(|pool| Plan::new(&pool)).unwrap_or_default());
        Self(Arc::new(Inner { names, pace, methods, plan, places: RwLock::default() }))
    }

    /// Origins of pages that may call.
    #[must_use]
    pub fn origins(&self) -> &[String] {
        &self.0.names.origins
    }

    /// Says where services are, by full name, for whoever asks for them at the wrong port.
    pub fn tell_places(&self, places: BTreeMap<String, String>) {
        *self.0.places.write().unwrap_or_else(PoisonError::into_inner) = places;
    }

    /// Where a service is served, if that is known.
    pub(crate) fn place_of(&self, service: &str) -> Option<String> {
        self.0.places.read().unwrap_or_else(PoisonError::into_inner).get(service).cloned()
    }

    /// By which name, and from which page, the server may be called. Browsers send both whatever a page does; a page whose name was
    /// turned to this address has the wrong name.
    ///
    /// # Errors
    /// `HOST` or `ORIGIN`.
    pub fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let hosts = || {
            let named = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or("?."));
            uri.authority().map(http::uri::Authority::as_str).into_iter().chain(named)
        };
        if !hosts().all(|host| self.knows(name_of(host))) {
            let message = "this server is not known by that name; web.hosts says by which it may be called";
            let name = hosts().next().unwrap_or_default();
            tracing::warn!(
                name,
                "a call by a name that this server is not known by was refused; see web.hosts"
            );
            return Err(Problem::new(Kind::Denied, "HOST", message));
        }
        // A preflight asks, and is answered by what it may do.
        let Some(origin) = headers.get(ORIGIN).filter(|_| method != Method::OPTIONS) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or_default();
        let served = |host: &str| origin.split_once("://").is_some_and(|(_, from)| from == host);
        if self.origins().iter().any(|allowed| allowed == "*" || allowed == origin) || hosts().any(served) {
            return Ok(());
        }
        let message = "pages of this origin may not call; web.origins says which may";
        Err(Problem::new(Kind::Denied, "ORIGIN", message))
    }

    fn knows(&self, name: &str) -> bool {
        // Who has no dot, or is an address, is in nobody's hands but the operator's.
        let name = name.trim_end_matches('.');
        if !name.contains('.') || name.parse::<std::net::IpAddr>().is_ok() {
            return true;
        }
        let name = name.to_ascii_lowercase();
        let allowed = |host: &String| match host.strip_prefix('*') {
            Some(ending) => name.ends_with(ending),
            None => *host == name,
        };
        PRIVATE.iter().any(|ending| name.ends_with(ending)) || self.0.names.hosts.iter().any(allowed)
    }

    /// A reader of the input of a method.
    pub(crate) fn scan(&self, path: &str) -> Option<Scan> {
        self.0.plan.input(path).map(|root| Scan::new(&self.0.plan, root))
    }

    /// A call of a method begins.
    ///
    /// # Errors
    /// `CALLS_BUSY` when too many are open.
    pub(crate) fn enter(&self, path: &str) -> Result<Option<OpenMethod>, Problem> {
        if ALWAYS.iter().any(|prefix| path.starts_with(prefix)) {
            return Ok(None);
        }
        let Some(counted) = self.0.methods.get(path) else { return Ok(None) };
        let before = counted.open.fetch_add(1, Ordering::Relaxed);
        let open = OpenMethod(Arc::clone(counted));
        if before >= counted.most {
            let message =
                format!("{} calls of {} are open, as many as there may be", counted.most, counted.name);
            return Err(Problem::exhausted("CALLS_BUSY", message, BUSY_MS));
        }
        Ok(Some(open))
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// A refusal in the form that its caller reads.
fn refuse(headers: &HeaderMap, problem: Problem) -> Response {
    let status = Status::from(problem);
    if !is_grpc(headers) {
        return refusal(&status, None);
    }
    let mut response = status.into_http::<Body>();
    if let Some(kind) = headers.get(CONTENT_TYPE) {
        response.headers_mut().insert(CONTENT_TYPE, kind.clone());
    }
    response
}

/// Something that is no call at the path of an RPC.
fn no_call(path: &str, method: &Method) -> Response {
    let name = path.rsplit('/').next().unwrap_or_default();
    if method != Method::POST {
        let problem =
            Problem::new(Kind::Unimplemented, "METHOD_NOT_ALLOWED", format!("{name} is called by POST"));
        let mut refused = refusal_as(StatusCode::METHOD_NOT_ALLOWED, &problem.into(), None);
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return refused;
    }
    let message =
        format!("{name} at this path is called over gRPC or gRPC-Web (content-type application/grpc…)");
    let problem = Problem::new(Kind::Invalid, "GRPC_ONLY", message);
    refusal_as(StatusCode::UNSUPPORTED_MEDIA_TYPE, &problem.into(), None)
}

/// The gate before a router.
pub(crate) async fn admit(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    if let Err(problem) = gate.check(method, uri, headers) {
        return refuse(headers, problem);
    }
    let counted = gate.0.methods.get(uri.path());
    if counted.is_some() && !is_grpc(headers) && method != Method::OPTIONS {
        return no_call(uri.path(), method);
    }
    let open = match gate.enter(uri.path()) {
        Ok(open) => open,
        Err(problem) => return refuse(headers, problem),
    };
    let paced = counted.map_or(!is_grpc(headers), |counted| counted.paced);
    let is_call = counted.is_some();
    let weight = Weight::new();
    let call = request.extensions().get::<Peer>().map(Peer::call);
    let held = Held { _method: open, _call: call, _weight: Arc::clone(&weight) };
    let mut request = request;
    request.extensions_mut().insert(Arc::clone(&weight));
    let request = match http_body::Body::is_end_stream(request.body()) {
        true => request,
        false => request.map(|body| {
            let body = if paced { Body::new(Paced::new(body, gate.0.pace)) } else { body };
            // A call is measured when it is gRPC, whatever it came as.
            if is_call { body } else { Body::new(Measured::new(body, None, false, weight)) }
        }),
    };
    next.run(request).await.map(|body| Body::new(HeldBody { body, _held: held }))
}

/// Measures a call in gRPC's framing, before it is decoded. A large one is done aside.
pub(crate) async fn measure(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let streams = gate.0.methods.get(path).is_some_and(|counted| counted.streams);
    let scan = gate.scan(path);
    let weight = request.extensions().get::<Arc<Weight>>().map_or_else(Weight::new, Arc::clone);
    let measured = |body| Body::new(Measured::new(body, scan, streams, Arc::clone(&weight)));
    let request = request.map(measured);
    Aside { call: Box::pin(next.run(request)), weight, streams }.await
}

/// Decoded bytes from which a call is read and answered aside, while others have its thread.
const HEAVY_BYTES: u64 = 4 << 20;

/// A call that is done aside when it is large.
struct Aside<F> {
    call: Pin<Box<F>>,
    weight: Arc<Weight>,
    streams: bool,
}

impl<F: Future> Future for Aside<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let heavy = !self.streams && self.weight.heap() >= HEAVY_BYTES;
        if heavy && Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
            return block_in_place(|| self.call.as_mut().poll(context));
        }
        self.call.as_mut().poll(context)
    }
}

/// What a call holds until its answer has gone.
struct Held {
    _method: Option<OpenMethod>,
    _call: Option<OpenCall>,
    _weight: Arc<Weight>,
}

struct HeldBody {
    body: Body,
    _held: Held,
}

impl http_body::Body for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
