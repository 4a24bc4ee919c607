//! Answers of RPCs as JSON: messages in the proto's field names with every field. It must not know which RPC answered.

use acgs_vocabulary::Constitution;
use axum::{
    body::{Body, Bytes},
    response::Response,
};
use http::StatusCode;
use http_body_util::BodyExt;
use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;
use tonic::{Code, Status};

use crate::plain::{json, refusal};

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
