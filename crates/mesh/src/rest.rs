//! REST and JSON for unary RPCs, from `google.api.http` in the descriptors: a request becomes a gRPC request to the same
//! router, so that every layer sees it. It must not know any RPC.
//!
//! The constitutional hash comes by its header, or in the body as `constitutional_hash`; it is written into every answer that
//! is not a refusal for it.

mod answer;
mod rule;
mod write;

use std::sync::Arc;

use acgs_vocabulary::{Constitution, Problem, budget::heavy, constitution::HEADER, problem::Kind};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{RawPathParams, State},
    response::Response,
    routing::{MethodFilter, on},
};
use http::{HeaderMap, HeaderValue, Request, header};
use http_body_util::BodyExt;
use prost_reflect::DescriptorPool;
use rule::Rule;
use serde::de::DeserializeSeed;
use tonic::Status;
use tower::ServiceExt;
use write::{Message, Sink};

use crate::{
    admission::{
        connection::Peer,
        gate::{Gate, OpenMethod},
    },
    intake::Weight,
    plain::{not_allowed, refusal, refusal_as},
};

/// Largest body, in bytes.
const BODY_BYTES_MAX: usize = 16 << 20;
/// Bytes of JSON that are read aside.
const HEAVY_BYTES: usize = 1 << 20;
/// Headers that go on to the RPC.
const CARRIED: [&str; 3] = ["traceparent", "tracestate", "authorization"];

pub(crate) use rule::Path;

/// The paths of all unary RPCs.
pub(crate) fn paths(descriptors: &DescriptorPool) -> Vec<Path> {
    let services: Vec<String> =
        descriptors.services().map(|service| service.full_name().to_owned()).collect();
    let names: Vec<&str> = services.iter().map(String::as_str).collect();
    rule::rules(descriptors, &names).iter().map(Path::of).collect()
}

/// What every handler needs.
#[derive(Clone)]
struct Door {
    grpc: Router,
    constitution: Constitution,
    rule: Arc<Rule>,
    gate: Gate,
}

/// Routes for the unary RPCs of some services, which `grpc` answers.
pub fn routes(
    descriptors: &DescriptorPool,
    services: &[&str],
    constitution: &Constitution,
    gate: &Gate,
    grpc: &Router,
) -> Router {
    let mut router = Router::new();
    for rule in rule::rules(descriptors, services) {
        let Ok(filter) = MethodFilter::try_from(rule.method.clone()) else { continue };
        let path = rule.path.clone();
        let door = Door {
            grpc: grpc.clone(),
            constitution: constitution.clone(),
            rule: Arc::new(rule),
            gate: gate.clone(),
        };
        router = router.route(&path, on(filter, handle).with_state(door));
    }
    // A path that is known answers other methods like any refusal.
    router.method_not_allowed_fallback(not_allowed)
}

async fn handle(State(door): State<Door>, path: RawPathParams, request: Request<Body>) -> Response {
    match door.read(&path, request).await {
        Ok((request, open)) => {
            let answer = door.call(request).await;
            drop(open);
            answer
        }
        Err(refused) => *refused,
    }
}

/// The gRPC request.
fn request_of(
    rule: &Rule,
    pairs: &[(String, String)],
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Request<tonic::body::Body>, Problem> {
    // Not compressed, and a length that is known when all is written.
    let mut sink = Sink::default();
    sink.bytes.resize(5, 0);
    if !body.trim_ascii().is_empty() {
        let mut json = serde_json::Deserializer::from_slice(body);
        let read = Message { descriptor: rule.input.clone(), sink: &mut sink }.deserialize(&mut json);
        read.and_then(|()| json.end()).map_err(|error| bad_json(&sink.path(), &error))?;
    }
    let lifted = sink.hash.take();
    // The hash as a query is one way to send it, too.
    let (hashes, fields): (Vec<_>, Vec<_>) = pairs
        .iter()
        .cloned()
        .partition(|(name, _)| name == write::HASH && rule.input.get_field_by_name(write::HASH).is_none());
    rule::write_pairs(&rule.input, &fields, &mut sink)
        .map_err(|(name, what)| Problem::field(name, "BAD_PARAMETER", what))?;
    let mut bytes = sink.bytes;
    let length = (bytes.len() - 5) as u32;
    bytes[1..5].copy_from_slice(&length.to_be_bytes());
    let bytes = Bytes::from(bytes);
    let mut request = Request::new(tonic::body::Body::new(http_body_util::Full::new(bytes)));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = rule.rpc.parse().map_err(|_| Problem::internal("an RPC has no path"))?;
    *request.version_mut() = http::Version::HTTP_2;
    let carried = request.headers_mut();
    carried.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    carried.insert(header::TE, HeaderValue::from_static("trailers"));
    for name in CARRIED {
        if let Some(value) = headers.get(name) {
            carried.insert(name, value.clone());
        }
    }
    for value in headers.get_all(HEADER) {
        carried.append(HEADER, value.clone());
    }
    let known: Vec<HeaderValue> = headers.get_all(HEADER).iter().cloned().collect();
    for sent in lifted.into_iter().chain(hashes.into_iter().map(|(_, value)| value)) {
        // One that no header can carry is wrong; one that says the same again is not a second one.
        let value = HeaderValue::from_str(&sent).unwrap_or(HeaderValue::from_static("unreadable"));
        if !known.contains(&value) {
            carried.append(HEADER, value);
        }
    }
    Ok(request)
}

/// JSON comes as it is.
fn check_encoding(headers: &HeaderMap) -> Result<(), Box<Response>> {
    let Some(encoding) = headers.get(header::CONTENT_ENCODING).filter(|encoding| *encoding != "identity")
    else {
        return Ok(());
    };
    let message = format!("content-encoding {encoding:?} is not read; send the body as it is");
    let problem = Problem::new(Kind::Unimplemented, "ENCODING", message);
    Err(Box::new(refusal_as(http::StatusCode::UNSUPPORTED_MEDIA_TYPE, &problem.into(), None)))
}

/// A body that did not come whole.
fn broken(error: &(dyn std::error::Error + 'static)) -> Response {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    if let Some(status) = causes.clone().find_map(|cause| cause.downcast_ref::<Status>()) {
        return refusal(status, None);
    }
    if causes.any(|cause| cause.is::<http_body_util::LengthLimitError>()) {
        let message = format!("is larger than {BODY_BYTES_MAX} bytes");
        let problem = Problem::field("body", "BODY_TOO_LARGE", message);
        return refusal_as(http::StatusCode::PAYLOAD_TOO_LARGE, &problem.into(), None);
    }
    refusal(&Problem::field("body", "BODY_BROKEN", error).into(), None)
}

fn bad_json(path: &str, error: &serde_json::Error) -> Problem {
    let message = error.to_string();
    if path.is_empty() {
        return Problem::field("body", "BAD_JSON", message);
    }
    Problem::field(path, "BAD_JSON", message)
}

impl Door {
    /// The gRPC request, and its place among the calls of its method. Nobody has checked the hash yet, so it is not told.
    async fn read(
        &self,
        path: &RawPathParams,
        request: Request<Body>,
    ) -> Result<(Request<tonic::body::Body>, Option<OpenMethod>), Box<Response>> {
        let refused = |problem: Problem| Box::new(refusal(&problem.into(), None));
        let open = self.gate.enter(&self.rule.rpc).map_err(refused)?;
        let (parts, body) = request.into_parts();
        check_encoding(&parts.headers)?;
        let body = http_body_util::Limited::new(body, BODY_BYTES_MAX).collect().await;
        let body = body.map_err(|error| Box::new(broken(error.as_ref())))?.to_bytes();
        let queried = parts.uri.query().map(serde_urlencoded::from_str).transpose();
        let queried: Option<Vec<(String, String)>> = queried.map_err(|error| {
            let message = format!("the query cannot be read: {error}");
            refused(Problem::new(Kind::Invalid, "BAD_QUERY", message))
        })?;
        let mut pairs = queried.unwrap_or_default();
        // The path says what it is about, whatever the query says: the last one counts.
        pairs.extend(path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
        let written = || request_of(&self.rule, &pairs, &parts.headers, &body);
        let written = if body.len() < HEAVY_BYTES { written() } else { heavy(written).await };
        let mut request = written.map_err(refused)?;
        // What it came as stays until it is answered, beside what it is measured to take.
        if let Some(weight) = parts.extensions.get::<Arc<Weight>>() {
            weight.hold_beside(body.len() as u64).map_err(refused)?;
            request.extensions_mut().insert(Arc::clone(weight));
        }
        if let Some(peer) = parts.extensions.get::<Peer>() {
            request.extensions_mut().insert(peer.clone());
        }
        Ok((request, open))
    }

    async fn call(&self, request: Request<tonic::body::Body>) -> Response {
        let request = request.map(Body::new);
        // A router never fails: it answers.
        let Ok(response) = self.grpc.clone().oneshot(request).await;
        match answer::read(response).await {
            Ok(message) => answer::message(&self.rule.output, &message, &self.constitution),
            Err(status) => refusal(&status, Some(&self.constitution)),
        }
    }
}

#[cfg(test)]
#[path = "rest/tests.rs"]
mod tests;
