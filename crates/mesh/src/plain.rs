//! Plain answers over HTTP: objects as JSON, and refusals with their code and reason. It must not know what was asked.

use acgs_vocabulary::{Constitution, Problem, problem::Kind};
use axum::{body::Body, extract::Request, response::Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The field that says the hash.
pub(crate) const HASH: &str = "constitutional_hash";

/// The HTTP status of a gRPC code, as google.rpc.Code has it.
fn http_status(code: Code, reason: &str) -> StatusCode {
    match code {
        // What the original answered when the hash was left out.
        Code::InvalidArgument if reason == "CONSTITUTION_MISSING" => StatusCode::UNPROCESSABLE_ENTITY,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        // No name, but what google.rpc.Code says and proxies know.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT),
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A status as JSON: `detail`, as the original has it, and what the details of the status say.
pub(crate) fn refusal(status: &Status, constitution: Option<&Constitution>) -> Response {
    let details = status.get_error_details();
    let reason = details.error_info().map_or("", |info| info.reason.as_str());
    refusal_as(http_status(status.code(), reason), status, constitution)
}

/// The same under an HTTP status that says more than the code does.
pub(crate) fn refusal_as(http: StatusCode, status: &Status, constitution: Option<&Constitution>) -> Response {
    let details = status.get_error_details();
    let reason = details.error_info().map_or("", |info| info.reason.as_str()).to_owned();
    let mut object = Map::new();
    object.insert("detail".into(), status.message().into());
    object.insert("code".into(), format!("{:?}", status.code()).into());
    object.insert("reason".into(), reason.as_str().into());
    if let Some(info) = details.error_info().filter(|info| !info.metadata.is_empty()) {
        object.insert("metadata".into(), serde_json::json!(info.metadata));
    }
    if let Some(violation) = details.bad_request().and_then(|bad| bad.field_violations.first()) {
        object.insert("field".into(), violation.field.as_str().into());
    }
    let after = details.retry_info().and_then(|retry| retry.retry_delay);
    if let Some(after) = after {
        object.insert("retry_after_ms".into(), (after.as_millis() as u64).into());
    }
    // A refusal for the hash does not tell what would have been right.
    let tells = !reason.starts_with("CONSTITUTION_");
    let mut response = json(http, object, constitution.filter(|_| tells));
    if let Some(after) = after {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// An object as an answer; with the hash, unless it has one or must not have it.
pub(crate) fn json(
    status: StatusCode,
    mut object: Map<String, Value>,
    constitution: Option<&Constitution>,
) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(constitution) = constitution {
        object.entry(HASH).or_insert_with(|| constitution.current().into());
        if let Ok(value) = HeaderValue::from_str(constitution.current()) {
            headers.insert(acgs_vocabulary::constitution::HEADER, value);
        }
    }
    let mut response = Response::new(Body::from(Value::Object(object).to_string()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A known path, and not by this method.
pub(crate) async fn not_allowed(request: Request) -> Response {
    let message = format!("{} is not for {}", request.uri().path(), request.method());
    let problem = Problem::new(Kind::Unimplemented, "METHOD_NOT_ALLOWED", message);
    refusal_as(StatusCode::METHOD_NOT_ALLOWED, &problem.into(), None)
}
