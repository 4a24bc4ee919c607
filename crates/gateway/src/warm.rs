//! Whether candidates are ready to infer before they have traffic: each is asked again and again, over the connections that calls
//! will take. It must not know what becomes of a candidate.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use acgs_contracts::inference::{
    ModelReadyRequest, ModelReadyResponse, ServerReadyRequest, ServerReadyResponse,
};
use acgs_mesh::pool::{Probe, Question, unary};
use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::table::{Table, Target};

/// When fewer than half are well, all that answer share the calls.
const PANIC_PERCENT: usize = 50;
/// Between two questions.
const EVERY: Duration = Duration::from_millis(100);
/// An answer that is not there by then is none.
const TIMEOUT: Duration = Duration::from_secs(1);
const MODEL_READY: PathAndQuery = PathAndQuery::from_static("/inference.GRPCInferenceService/ModelReady");

/// Model servers are asked for their health; those that have none, by the Open Inference Protocol.
#[must_use]
pub fn probe() -> Probe {
    let question = Question {
        path: PathAndQuery::from_static("/inference.GRPCInferenceService/ServerReady"),
        message: ServerReadyRequest {}.encode_to_vec().into(),
        is_well: |bytes| ServerReadyResponse::decode(bytes).is_ok_and(|answer| answer.ready),
    };
    Probe { service: "".into(), otherwise: Some(question), panic_percent: PANIC_PERCENT }
}

/// Asks until everything ends.
pub async fn run(table: Arc<Table>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
        // One after the other: there are few, and nobody waits.
        for (model_id, target) in table.candidates() {
            let well = is_warm(&model_id, &target).await;
            let checks = target.warm_checks.load(Ordering::Relaxed);
            target.warm_checks.store(if well { checks.saturating_add(1) } else { 0 }, Ordering::Relaxed);
        }
    }
}

/// One that does not speak the protocol is warm when it is connected.
async fn is_warm(model_id: &str, target: &Target) -> bool {
    if target.ready() == 0 {
        return false;
    }
    let request = ModelReadyRequest { name: model_id.to_owned(), version: String::new() };
    let message: Bytes = request.encode_to_vec().into();
    for pool in &target.pools {
        let mut pool = pool.clone();
        let well = match tokio::time::timeout(TIMEOUT, unary(&mut pool, MODEL_READY, message.clone())).await {
            Ok(Ok(answer)) => ModelReadyResponse::decode(answer).is_ok_and(|answer| answer.ready),
            Ok(Err(code)) => code == Code::Unimplemented,
            Err(_) => false,
        };
        if !well {
            return false;
        }
    }
    true
}
