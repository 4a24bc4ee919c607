//! REST and JSON for unary RPCs, from `google.api.http` in the descriptors: a request becomes a gRPC request to the same
//! router, so that every layer sees it. It must not know any RPC.
//!
//! The constitutional hash comes by its header, or in the body as `constitutional_hash`; it is written into every answer that
//! is not a refusal for it.

mod answer;
mod rule;
mod write;

use std::sync::Arc;

use acgs_vocabulary::{Constitution, Problem, constitution::HEADER, problem::Kind};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{RawPathParams, RawQuery, State},
    response::Response,
    routing::{MethodFilter, on},
};
use http::{Extensions, HeaderMap, HeaderValue, Request, header};
use prost_reflect::DescriptorPool;
use rule::Rule;
use serde::de::DeserializeSeed;
use tonic::{Status, transport::server::TcpConnectInfo};
use tower::ServiceExt;
use write::{Message, Sink};

/// Largest body, in bytes.
const BODY_BYTES_MAX: usize = 16 << 20;
/// Headers that go on to the RPC.
const CARRIED: [&str; 3] = ["traceparent", "tracestate", "authorization"];

/// What every handler needs.
#[derive(Clone)]
struct Door {
    grpc: Router,
    constitution: Constitution,
    rule: Arc<Rule>,
    origins: Arc<[String]>,
}

/// Routes for the unary RPCs of some services, which `grpc` answers.
pub fn routes(
    descriptors: &DescriptorPool,
    services: &[&str],
    constitution: &Constitution,
    origins: &[String],
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
            origins: Arc::from(origins),
        };
        router = router.route(&path, on(filter, handle).with_state(door));
    }
    router.layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
}

async fn handle(
    State(door): State<Door>,
    path: RawPathParams,
    RawQuery(query): RawQuery,
    extensions: Extensions,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(problem) = door.check_origin(&headers) {
        return refusal(&problem.into());
    }
    let mut pairs: Vec<(String, String)> = match query.as_deref().map(serde_urlencoded::from_str).transpose()
    {
        Ok(queried) => queried.unwrap_or_default(),
        Err(error) => {
            let message = format!("the query cannot be read: {error}");
            return refusal(&Problem::new(Kind::Invalid, "BAD_QUERY", message).into());
        }
    };
    // The path says what it is about, whatever the query says: the last one counts.
    pairs.extend(path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
    match request(&door.rule, &pairs, &headers, &body) {
        Ok(mut request) => {
            if let Some(peer) = extensions.get::<TcpConnectInfo>() {
                request.extensions_mut().insert(peer.clone());
            }
            door.call(request).await
        }
        // Nobody has checked the hash yet, so it is not told.
        Err(problem) => refusal(&problem.into()),
    }
}

/// The gRPC request.
fn request(
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
    let mut request = Request::new(tonic::body::Body::new(http_body_util::Full::new(Bytes::from(bytes))));
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

fn bad_json(path: &str, error: &serde_json::Error) -> Problem {
    let message = error.to_string();
    if path.is_empty() {
        return Problem::field("body", "BAD_JSON", message);
    }
    Problem::field(path, "BAD_JSON", message)
}

impl Door {
    /// A page of an origin that may not call changes nothing. Browsers say the origin of whatever could.
    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let allowed = |allowed: &String| allowed == "*" || origin.as_bytes() == allowed.as_bytes();
        if self.rule.method == http::Method::GET || self.origins.iter().any(allowed) {
            return Ok(());
        }
        Err(Problem::new(
            Kind::Denied,
            "ORIGIN",
            "pages of this origin may not call; web.origins says which may",
        ))
    }

    async fn call(&self, request: Request<tonic::body::Body>) -> Response {
        let request = request.map(Body::new);
        // A router never fails: it answers.
        let Ok(response) = self.grpc.clone().oneshot(request).await;
        match answer::read(response).await {
            Ok(message) => answer::message(&self.rule.output, &message, &self.constitution),
            Err(status) => answer::refusal(&status, Some(&self.constitution)),
        }
    }
}

/// A status as the answer of a plain handler.
#[must_use]
pub fn refusal(status: &Status) -> Response {
    answer::refusal(status, None)
}

#[cfg(test)]
#[path = "rest/tests.rs"]
mod tests;
