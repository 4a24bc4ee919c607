//! Flights as calls of the Open Inference Protocol through the gateway, and labels by model when they have landed: what an airline's
//! own program would do. It must not know versions, except by what answers say.

use std::{collections::HashMap, sync::Arc, time::Duration};

use acgs_columns::Schema;
use acgs_contracts::{
    inference::{
        InferTensorContents, ModelInferRequest, ModelReadyRequest,
        grpc_inference_service_client::GrpcInferenceServiceClient, model_infer_request::InferInputTensor,
    },
    orchestrator::v1::{
        LabelsHeader, SubmitLabelsRequest, orchestrator_service_client::OrchestratorServiceClient,
        submit_labels_request::Message as Say,
    },
};
use acgs_inference::tensors;
use acgs_mesh::{client::MeshChannel, clock::SystemClock};
use acgs_vocabulary::{
    convert::{batch, schema},
    ports::Clock,
};
use anyhow::ensure;
use futures_util::future::join_all;
use tonic::{Code, Request};

use acgs_console::connect::explain;

use crate::{
    NAME,
    flights::{self, Flight, NUMERIC, SERVED_SCORE},
};

/// Flights of one call.
const CALL_ROWS: usize = 2;
const DEADLINE: Duration = Duration::from_secs(10);
/// A model has to be served by then.
const READY_WAIT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

/// What came back for a flight.
#[derive(Clone, Debug)]
pub(super) struct Served {
    /// The version that answered; empty when none did.
    pub(super) version: Arc<str>,
    /// Its score.
    pub(super) score: Option<f64>,
}

/// What came of the calls.
#[derive(Debug)]
pub(super) struct Traffic {
    calls: GrpcInferenceServiceClient<MeshChannel>,
    labels: OrchestratorServiceClient<MeshChannel>,
    label_schema: Arc<Schema>,
    /// Landed before anybody could be told.
    untold: Vec<Flight>,
    clock: SystemClock,
    /// Calls that were answered, by version.
    pub(super) answered: HashMap<String, u64>,
    /// Calls that failed, by code and message.
    pub(super) failed: HashMap<String, u64>,
    /// Wall time of the last answer of each version, milliseconds since the epoch.
    pub(super) last_ms: HashMap<String, i64>,
}

impl Traffic {
    /// Calls go to the first, labels to the second.
    pub(super) fn new(gateway: MeshChannel, orchestrator: MeshChannel) -> anyhow::Result<Self> {
        Ok(Self {
            calls: GrpcInferenceServiceClient::new(gateway),
            labels: OrchestratorServiceClient::new(orchestrator),
            label_schema: flights::truth_schema()?,
            untold: Vec::new(),
            clock: SystemClock::new(),
            answered: HashMap::new(),
            failed: HashMap::new(),
            last_ms: HashMap::new(),
        })
    }

    /// Waits until some version answers.
    pub(super) async fn ready(&mut self) -> anyhow::Result<()> {
        let since = tokio::time::Instant::now();
        loop {
            let asked = ModelReadyRequest { name: NAME.into(), ..ModelReadyRequest::default() };
            let answer = self.calls.model_ready(asked).await;
            if answer.as_ref().is_ok_and(|answer| answer.get_ref().ready) {
                return Ok(());
            }
            ensure!(since.elapsed() < READY_WAIT, "no model server answers: {answer:?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The flights with the scores that came back and who gave them; none for those whose call failed.
    pub(super) async fn serve(&mut self, departing: &[Flight]) -> Vec<Served> {
        let calls = departing.chunks(CALL_ROWS).map(|flights| {
            let mut client = self.calls.clone();
            let mut request = Request::new(question(flights));
            request.set_timeout(DEADLINE);
            async move { (flights, client.model_infer(request).await) }
        });
        let mut served = Vec::with_capacity(departing.len());
        for (flights, answer) in join_all(calls).await {
            let (version, scores) = match answer {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    let scores = tensors::numbers(&answer, SERVED_SCORE).unwrap_or_default();
                    *self.answered.entry(answer.model_version.clone()).or_default() += 1;
                    self.last_ms.insert(answer.model_version.clone(), self.clock.now_ms());
                    (answer.model_version, scores)
                }
                Err(status) => {
                    let said = format!("{:?}: {}", status.code(), status.message());
                    *self.failed.entry(said).or_default() += 1;
                    (String::new(), Vec::new())
                }
            };
            let version: Arc<str> = version.into();
            served.extend(
                (0..flights.len())
                    .map(|place| Served { version: Arc::clone(&version), score: scores.get(place).copied() }),
            );
        }
        served
    }

    /// Says how these ended. Before any call was captured there is nobody to tell; then it is said with the next.
    pub(super) async fn landed(&mut self, flights: &[Flight]) -> anyhow::Result<()> {
        self.untold.extend_from_slice(flights);
        if self.untold.is_empty() {
            return Ok(());
        }
        let header = LabelsHeader {
            model_id: NAME.into(),
            schema: Some(schema::to_proto(&self.label_schema)),
            ..LabelsHeader::default()
        };
        let data = flights::batch(&self.label_schema, self.untold.iter())?;
        let messages = [Say::Header(header), Say::Batch(batch::to_proto(&data))]
            .map(|message| SubmitLabelsRequest { message: Some(message) });
        match self.labels.submit_labels(tokio_stream::iter(messages)).await {
            Ok(_) => self.untold.clear(),
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) => return Err(explain(&status)),
        }
        Ok(())
    }
}

/// Flights as tensors: one value for each in every one.
fn question(flights: &[Flight]) -> ModelInferRequest {
    let tensor = |name: &str, datatype: &str, contents: InferTensorContents| InferInputTensor {
        name: name.into(),
        datatype: datatype.into(),
        shape: vec![flights.len() as i64],
        contents: Some(contents),
        ..InferInputTensor::default()
    };
    let integers = |of: fn(&Flight) -> i64| InferTensorContents {
        int64_contents: flights.iter().map(of).collect(),
        ..InferTensorContents::default()
    };
    let carriers = InferTensorContents {
        bytes_contents: flights.iter().map(|flight| flight.carrier.clone().into()).collect(),
        ..InferTensorContents::default()
    };
    let mut inputs = vec![
        tensor("ts", "INT64", integers(|flight| flight.time_ms)),
        tensor("id", "INT64", integers(|flight| flight.id)),
        tensor("carrier", "BYTES", carriers),
    ];
    for (place, name) in NUMERIC.iter().enumerate() {
        // What is not known is not a number: the protocol has no other way to say it.
        let values = flights.iter().map(|flight| flight.numbers[place].unwrap_or(f64::NAN));
        let contents =
            InferTensorContents { fp64_contents: values.collect(), ..InferTensorContents::default() };
        inputs.push(tensor(name, "FP64", contents));
    }
    ModelInferRequest { model_name: NAME.into(), inputs, ..ModelInferRequest::default() }
}
