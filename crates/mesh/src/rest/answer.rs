//! Answers of RPCs as JSON: messages in the proto's field names with every field, refusals with their reason. It must not know
//! which RPC answered.

use acgs_vocabulary::Constitution;
use axum::{
    body::{Body, Bytes},
    response::Response,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::{Map, Value};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::write::HASH;

/// Largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The message that an RPC answered with, or its status.
pub(super) async fn read(response: http::Response<Body>) -> Result<Bytes, Status> {
    if let Some(status) = Status::from_header_map(response.headers())
        && status.code() != Code::Ok
    {
        return Err(status);
    }
    let body = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let collected = body.collect().await;
    let collected = collected.map_err(|error| Status::internal(format!("the answer was lost: {error}")))?;
    let trailers = collected.trailers().and_then(Status::from_header_map);
    match trailers {
        Some(status) if status.code() != Code::Ok => return Err(status),
        Some(_) => {}
        None => return Err(Status::unknown("the answer has no status")),
    }
    let mut bytes = collected.to_bytes();
    // One message, not compressed.
    if bytes.len() < 5 || bytes[0] != 0 {
        return Err(Status::internal("the answer is no message"));
    }
    Ok(bytes.split_off(5))
}

/// A message as JSON, with the hash.
pub(super) fn message(output: &MessageDescriptor, bytes: &[u8], constitution: &Constitution) -> Response {
    let decoded = DynamicMessage::decode(output.clone(), bytes);
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .skip_default_fields(false)
        .stringify_64_bit_integers(false);
    let object = decoded.map_err(|error| error.to_string()).and_then(|message| {
        message
            .serialize_with_options(serde_json::value::Serializer, &options)
            .map_err(|error| error.to_string())
    });
    match object {
        Ok(Value::Object(object)) => json(StatusCode::OK, object, Some(constitution)),
        Ok(_) => refusal(&Status::internal("an answer is no object"), None),
        Err(error) => refusal(&Status::internal(error), None),
    }
}

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
pub(super) fn refusal(status: &Status, constitution: Option<&Constitution>) -> Response {
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
    let mut response = json(http_status(status.code(), &reason), object, constitution.filter(|_| tells));
    if let Some(after) = after {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// An object as an answer; with the hash, unless it has one or must not have it.
pub(super) fn json(
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
