//! Copies of calls for a version that nobody hears yet, and whether it answers alike. A copy is made when the call is over, so
//! that it delays nobody; there is a bound on copies, and what is beyond is counted. It must not know why there is a shadow.

use std::sync::{Arc, atomic::Ordering};

use acgs_contracts::inference::{InferTensorContents, ModelInferResponse};
use acgs_inference::{framing, peek::INFERENCE};
use acgs_mesh::{calls::code_of, constitution::sent, pool::Pool};
use acgs_vocabulary::Constitution;
use bytes::Bytes;
use http::{HeaderMap, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use prost::Message;
use tokio::sync::Semaphore;
use tonic::{Code, body::Body};
use tower::Service;

use crate::{
    body::{Noted, joined},
    counts::Arm,
    stats::Stats,
    table::Target,
};

/// A shadow that has not answered by then has not answered alike.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
/// Numbers that differ by no more than this share of the larger, or by as much, are alike: versions differ.
const TOLERANCE: f64 = 0.1;
/// Largest answer that is compared, in bytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// A call that is to be copied.
#[derive(Debug)]
pub struct Shadowed {
    /// Who answers the copy.
    pub target: Arc<Target>,
    /// The thread that the call is on.
    pub shard: usize,
    /// What it counts for.
    pub arm: Arc<Arm>,
    /// The method.
    pub path: Uri,
    /// Its metadata.
    pub headers: HeaderMap,
    /// The request, noted as it went through.
    pub request: Arc<Noted>,
    /// How the answer may be compressed.
    pub answer_encoding: Option<String>,
}

/// Makes copies. Clones share the bound.
#[derive(Clone, Debug)]
pub struct Copies {
    room: Arc<Semaphore>,
    stats: Arc<Stats>,
    constitution: Constitution,
}

impl Copies {
    /// So many at once.
    #[must_use]
    pub fn new(at_once: usize, stats: Arc<Stats>, constitution: Constitution) -> Self {
        Self { room: Arc::new(Semaphore::new(at_once)), stats, constitution }
    }

    /// Sends a copy of a call that has ended so. A version that could not answer said nothing to compare with; and what its server died of is
    /// not sent to another.
    pub fn send(&self, shadowed: Shadowed, code: Code, answer: Option<Vec<Bytes>>) {
        if !was_answered(code) {
            return;
        }
        let request = shadowed.request.whole();
        // A streamed or overlong exchange is not copied; neither is more than there is room for.
        let room = Arc::clone(&self.room).try_acquire_owned();
        let (Some(request), Some(answer), Ok(room)) = (request, answer.or_else(|| failed(code)), room) else {
            self.stats.copies_dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.stats.copies.fetch_add(1, Ordering::Relaxed);
        let constitution = self.constitution.clone();
        tokio::spawn(async move {
            let _room = room;
            let Shadowed { target, shard, arm, path, headers, answer_encoding, .. } = shadowed;
            let inference = path.path().starts_with(INFERENCE);
            let heard = tokio::time::timeout(
                PATIENCE,
                ask(&target.pools[shard], (path, headers, request), &arm, &constitution),
            )
            .await;
            let (other_code, other) = heard.unwrap_or((Code::DeadlineExceeded, Answer::default()));
            let answer = Answer { framed: joined(&answer), encoding: answer_encoding };
            let alike = match (code == Code::Ok, other_code == Code::Ok) {
                (true, true) => alike(&answer, &other, inference),
                (one, other) => one == other,
            };
            arm.compared(!alike);
        });
    }
}

/// An answer as it came.
#[derive(Debug, Default)]
struct Answer {
    framed: Bytes,
    encoding: Option<String>,
}

/// Whether the version said something about the call, if only that it is wrong.
fn was_answered(code: Code) -> bool {
    use Code::{Aborted, Cancelled, DeadlineExceeded, Internal, ResourceExhausted, Unavailable, Unknown};
    let unanswered =
        [Aborted, Cancelled, DeadlineExceeded, Internal, ResourceExhausted, Unavailable, Unknown];
    !unanswered.contains(&code)
}

/// An answer that failed has nothing to compare but that.
fn failed(code: Code) -> Option<Vec<Bytes>> {
    (code != Code::Ok).then(Vec::new)
}

async fn ask(
    pool: &Pool,
    (path, headers, request): (Uri, HeaderMap, Vec<Bytes>),
    arm: &Arm,
    constitution: &Constitution,
) -> (Code, Answer) {
    let whole = joined(&request);
    let body = Body::new(Full::new(whole).map_err(|never| match never {}));
    let mut copy = Request::new(body);
    *copy.method_mut() = http::Method::POST;
    *copy.uri_mut() = path;
    *copy.headers_mut() = headers;
    // The call's own deadline is not the copy's.
    copy.headers_mut().remove("grpc-timeout");
    let Ok(response) = pool.clone().call(copy).await else { return (Code::Unavailable, Answer::default()) };
    if sent(response.headers()).is_some_and(|sent| !constitution.accepts(sent)) {
        arm.breached();
    }
    if let Some(code) = code_of(response.headers()) {
        return (code, Answer::default());
    }
    let encoding = response.headers().get("grpc-encoding").and_then(|value| value.to_str().ok());
    let encoding = encoding.map(str::to_owned);
    let Ok(collected) = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await else {
        return (Code::Unknown, Answer::default());
    };
    let code = collected.trailers().and_then(code_of).unwrap_or(Code::Unknown);
    (code, Answer { framed: collected.to_bytes(), encoding })
}

/// Whether two answers are alike: by the Open Inference Protocol the same tensors with about the same numbers, otherwise the
/// same bytes.
fn alike(one: &Answer, other: &Answer, inference: bool) -> bool {
    let message = |answer: &Answer| {
        let encoding = answer.encoding.as_deref();
        let message = framing::unpacked(answer.framed.clone(), encoding, ANSWER_BYTES_MAX).ok()?;
        ModelInferResponse::decode(message).ok()
    };
    match (inference, message(one), message(other)) {
        (true, Some(one), Some(other)) => same_tensors(&one, &other),
        _ => one.framed == other.framed,
    }
}

fn same_tensors(one: &ModelInferResponse, other: &ModelInferResponse) -> bool {
    let same_raw = one.raw_output_contents.len() == other.raw_output_contents.len();
    one.outputs.len() == other.outputs.len()
        && same_raw
        && one.outputs.iter().zip(&other.outputs).enumerate().all(|(place, (one_out, other_out))| {
            let heads = one_out.name == other_out.name
                && one_out.datatype == other_out.datatype
                && one_out.shape == other_out.shape;
            let empty = Bytes::new();
            let raw = |response: &ModelInferResponse| {
                response.raw_output_contents.get(place).cloned().unwrap_or_else(|| empty.clone())
            };
            heads
                && close_raw(&one_out.datatype, &raw(one), &raw(other))
                && close(one_out.contents.as_ref(), other_out.contents.as_ref())
        })
}

fn near(one: f64, other: f64) -> bool {
    one.is_finite() == other.is_finite()
        && (one - other).abs() <= TOLERANCE * one.abs().max(other.abs()).max(1.0)
        || one == other
}

fn close_raw(datatype: &str, one: &[u8], other: &[u8]) -> bool {
    let doubles = |bytes: &[u8]| -> Vec<f64> {
        bytes.chunks_exact(8).filter_map(|chunk| chunk.try_into().ok()).map(f64::from_le_bytes).collect()
    };
    let floats = |bytes: &[u8]| -> Vec<f64> {
        let floats = bytes.chunks_exact(4).filter_map(|chunk| chunk.try_into().ok());
        floats.map(|chunk| f64::from(f32::from_le_bytes(chunk))).collect()
    };
    let all_near = |one: Vec<f64>, other: Vec<f64>| {
        one.len() == other.len() && one.into_iter().zip(other).all(|(one, other)| near(one, other))
    };
    match datatype {
        "FP64" => all_near(doubles(one), doubles(other)),
        "FP32" => all_near(floats(one), floats(other)),
        _ => one == other,
    }
}

fn close(one: Option<&InferTensorContents>, other: Option<&InferTensorContents>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return one.is_none() == other.is_none() };
    let without = |contents: &InferTensorContents| InferTensorContents {
        fp32_contents: Vec::new(),
        fp64_contents: Vec::new(),
        ..contents.clone()
    };
    let fp64 = one.fp64_contents.len() == other.fp64_contents.len()
        && one.fp64_contents.iter().zip(&other.fp64_contents).all(|(one, other)| near(*one, *other));
    let fp32 = one.fp32_contents.len() == other.fp32_contents.len()
        && one
            .fp32_contents
            .iter()
            .zip(&other.fp32_contents)
            .all(|(one, other)| near(f64::from(*one), f64::from(*other)));
    fp64 && fp32 && without(one) == without(other)
}

#[cfg(test)]
mod tests {
    use acgs_contracts::inference::model_infer_response::InferOutputTensor;

    use super::*;

    fn answer(name: &str, scores: &[f64]) -> Answer {
        let output = InferOutputTensor {
            name: name.into(),
            datatype: "FP64".into(),
            shape: vec![scores.len() as i64],
            contents: Some(InferTensorContents { fp64_contents: scores.into(), ..Default::default() }),
            ..InferOutputTensor::default()
        };
        let message = ModelInferResponse {
            model_version: name.len().to_string(),
            outputs: vec![output],
            ..Default::default()
        };
        Answer { framed: framing::framed(&message.encode_to_vec()).unwrap(), encoding: None }
    }

    #[test]
    fn versions_may_differ_a_little_and_not_in_kind() {
        assert!(alike(&answer("p", &[0.50, 0.2]), &answer("p", &[0.53, 0.25]), true));
        assert!(!alike(&answer("p", &[0.1]), &answer("p", &[0.9]), true));
        assert!(!alike(&answer("p", &[0.1]), &answer("p", &[0.1, 0.1]), true));
        assert!(!alike(&answer("p", &[0.1]), &answer("q", &[0.1]), true));
        assert!(!alike(&answer("p", &[0.1]), &answer("p", &[f64::NAN]), true));
        assert!(!alike(&answer("p", &[0.50]), &answer("p", &[0.51]), false), "other protocols by the byte");
    }
}
