//! Calls through a gateway as records: sampled, windowed and judged, kept, labelled by model, and counted when there is no room.

use std::time::{Duration, Instant};

use acgs_client::LifecycleClients;
use acgs_columns::{Cell, Field, Kind, Role, Schema, builder::BatchBuilder};
use acgs_contracts::{
    inference::{
        InferTensorContents, ModelInferRequest, grpc_inference_service_client::GrpcInferenceServiceClient,
        model_infer_request::InferInputTensor,
    },
    lifecycle::v1::{PolicyDocument, PutPolicyRequest, ReadRecordsRequest},
    orchestrator::v1::{LabelsHeader, SubmitLabelsRequest, SubscribeRequest, submit_labels_request},
};
use acgs_interchange::from_parquet;
use acgs_mesh::client::MeshChannel;
use acgs_tests::{
    Mesh, PATIENCE, POLICY,
    models::{ModelStub, inference},
    reason,
};
use acgs_vocabulary::convert::{batch, schema};
use tonic::transport::Channel;

use crate::deployments::{model, version};

pub(crate) const CAPTURE: &str = "\n[capture]\npercent = 100.0\ntimestamp = \"ts\"\nid = \"name\"\nlabel = \"late\"\nwindow_ms = 60000\n\
                       out_of_orderness_ms = 0\nlabel_horizon_ms = 60000\n";

pub(crate) fn tensor(name: &str, datatype: &str, contents: InferTensorContents) -> InferInputTensor {
    InferInputTensor {
        name: name.into(),
        datatype: datatype.into(),
        shape: vec![1],
        contents: Some(contents),
        ..InferInputTensor::default()
    }
}

pub(crate) fn question(row: i64) -> ModelInferRequest {
    let x = InferTensorContents { fp64_contents: vec![row as f64], ..Default::default() };
    let ts = InferTensorContents { int64_contents: vec![row * 1_000], ..Default::default() };
    let name = InferTensorContents { bytes_contents: vec![format!("r{row}").into()], ..Default::default() };
    ModelInferRequest {
        model_name: "m".into(),
        inputs: vec![tensor("x", "FP64", x), tensor("ts", "INT64", ts), tensor("name", "BYTES", name)],
        ..ModelInferRequest::default()
    }
}

pub(crate) async fn put_policy(client: &mut LifecycleClients<MeshChannel>, capture: &str) {
    let document = Some(PolicyDocument { toml: format!("{POLICY}{capture}") });
    let request = PutPolicyRequest { model_id: "m".into(), document, ..Default::default() };
    client.models.put_policy(request).await.unwrap();
}

pub(crate) async fn metric(mesh: &Mesh, name: &str) -> u64 {
    let answer = acgs_tests::http::request(mesh.running.addresses.gateway, "GET", "/metrics", &[], "").await;
    let text = String::from_utf8(answer.body).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{name}_total ")));
    line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).map_or(0, |value| value as u64)
}

/// A mesh, and a model whose calls are captured so, with a server.
pub(crate) async fn captured(capture: &str) -> (Mesh, LifecycleClients<MeshChannel>, ModelStub) {
    let mesh = Mesh::start().await;
    let mut client = mesh.lifecycle().await;
    let server = ModelStub::start("v1").await;
    model(&mut client, "m").await;
    put_policy(&mut client, capture).await;
    version(&mut client, "m", "v1", &[server.endpoint()], true).await;
    (mesh, client, server)
}

/// Its gateway, which has carried the first call.
pub(crate) async fn served(mesh: &Mesh) -> GrpcInferenceServiceClient<Channel> {
    let mut gateway = inference(mesh.running.addresses.gateway).await;
    let since = Instant::now();
    while gateway.model_infer(question(0)).await.is_err() {
        assert!(since.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gateway
}

/// Sends calls, and says how many of them were captured: so many that for a while there are no more.
async fn captured_of(
    mesh: &Mesh,
    gateway: &mut GrpcInferenceServiceClient<Channel>,
    row: &mut i64,
    calls: usize,
) -> u64 {
    let before = metric(mesh, "acgs_gateway_captures").await;
    for _ in 0..calls {
        gateway.model_infer(question(*row)).await.unwrap();
        *row += 1;
    }
    let (mut last, mut since) = (before, Instant::now());
    while since.elapsed() < Duration::from_secs(1) {
        let now = metric(mesh, "acgs_gateway_captures").await;
        if now != last {
            (last, since) = (now, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    last - before
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_become_records_with_labels_windows_and_versions() {
    let (mesh, mut client, _server) = captured(CAPTURE).await;
    let mut orchestrator = mesh.orchestrator().await;
    let windows = SubscribeRequest { after_sequence: Some(0), subject_filter: "acgs.window.reported".into() };
    let mut events = orchestrator.subscribe(windows).await.unwrap().into_inner();
    let mut gateway = served(&mesh).await;
    for row in 1..200 {
        gateway.model_infer(question(row)).await.unwrap();
    }
    let since = Instant::now();
    while metric(&mesh, "acgs_gateway_captures").await < 200 {
        assert!(since.elapsed() < PATIENCE, "captured in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Labels come by model: whoever has them need not know which version answered.
    let fields =
        vec![Field::new("name", Kind::Text, Role::Id), Field::new("late", Kind::Boolean, Role::Label)];
    let label_fields = std::sync::Arc::new(Schema::new(fields).unwrap());
    let mut builder = BatchBuilder::new(std::sync::Arc::clone(&label_fields));
    for row in 0..200 {
        let name = format!("r{row}");
        builder.push(&[Cell::Text(&name), Cell::Boolean(row % 2 == 0)]).unwrap();
    }
    let header = LabelsHeader {
        model_id: "m".into(),
        schema: Some(schema::to_proto(&label_fields)),
        ..LabelsHeader::default()
    };
    let messages = [
        submit_labels_request::Message::Header(header.clone()),
        submit_labels_request::Message::Batch(batch::to_proto(&builder.finish().unwrap())),
    ]
    .map(|message| SubmitLabelsRequest { message: Some(message) });
    let since = Instant::now();
    // The stream opens when the first records are there.
    let told = loop {
        match orchestrator.submit_labels(tokio_stream::iter(messages.clone())).await {
            Ok(told) => break told.into_inner(),
            Err(status) => assert_eq!(reason(&status).0, "UNKNOWN_STREAM", "{status:?}"),
        }
        assert!(since.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(told.matched + told.waiting, 200, "{told:?}");
    let reported = tokio::time::timeout(PATIENCE, events.message()).await.unwrap().unwrap().unwrap();
    let envelope: serde_json::Value = serde_json::from_str(&reported.envelope_json).unwrap();
    assert_eq!(envelope["payload"]["model_id"], "m", "{envelope}");
    let request = ReadRecordsRequest {
        model_id: "m".into(),
        from_ms: 0,
        until_ms: 1_000_000,
        labelled: true,
        ..Default::default()
    };
    let since = Instant::now();
    loop {
        let mut pieces = client.jobs.read_records(request.clone()).await.unwrap().into_inner();
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.message().await.unwrap() {
            bytes.extend_from_slice(&piece.chunk);
        }
        let (fields, batches) = from_parquet(bytes.into()).unwrap();
        let rows: usize = batches.iter().map(acgs_columns::RecordBatch::rows).sum();
        if rows == 200 {
            let score = fields.index_of_role(Role::Score).unwrap();
            assert_eq!(batches[0].columns()[score].number(100), Some(0.5));
            assert!(fields.index_of_role(Role::Latency).is_some() && fields.index_of("x").is_some());
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{rows} records");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What has not one value for each row is answered all the same, and counted.
    let mut odd = question(300);
    odd.inputs.pop();
    gateway.model_infer(odd).await.unwrap();
    let since = Instant::now();
    while metric(&mesh, "acgs_gateway_captures_dropped").await < 1 {
        assert!(since.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // A sample is a sample.
    put_policy(&mut client, &CAPTURE.replace("100.0", "10.0")).await;
    let mut row = 400;
    // The policy is on its way until a few calls are not all captured.
    while captured_of(&mesh, &mut gateway, &mut row, 20).await >= 20 {
        assert!(since.elapsed() < PATIENCE);
    }
    let captured = captured_of(&mesh, &mut gateway, &mut row, 1_000).await;
    assert!((50..180).contains(&captured), "{captured} of 1,000 at 10 %");
    // Other windows are another stream: the one before ends, and what is captured from now on goes into the next.
    put_policy(&mut client, &CAPTURE.replace("window_ms = 60000", "window_ms = 30000")).await;
    let (first, since) = (row, Instant::now());
    while captured_of(&mesh, &mut gateway, &mut row, 20).await < 20 {
        assert!(since.elapsed() < PATIENCE);
    }
    let last = row - 1;
    let mut builder = BatchBuilder::new(std::sync::Arc::clone(&label_fields));
    builder.push(&[Cell::Text(&format!("r{last}")), Cell::Boolean(true)]).unwrap();
    let messages = [
        submit_labels_request::Message::Header(header),
        submit_labels_request::Message::Batch(batch::to_proto(&builder.finish().unwrap())),
    ]
    .map(|message| SubmitLabelsRequest { message: Some(message) });
    loop {
        let told = orchestrator.submit_labels(tokio_stream::iter(messages.clone())).await;
        if told.is_ok_and(|told| told.get_ref().matched == 1) {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "the calls {first} to {last} are in no stream");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_an_id_of_their_own_are_records_of_their_own() {
    let without_id = "\n[capture]\npercent = 100.0\ntimestamp = \"ts\"\nwindow_ms = 60000\n";
    let (mesh, mut client, _server) = captured(without_id).await;
    let mut gateway = inference(mesh.running.addresses.gateway).await;
    let without = |row| {
        let mut question = question(row);
        question.inputs.retain(|input| input.name != "name");
        question
    };
    let (since, mut failed) = (Instant::now(), 0);
    // What fails before the route is in force may be a record too.
    while gateway.model_infer(without(0)).await.is_err() {
        failed += 1;
        assert!(since.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Many within a millisecond.
    let calls = (1..300).map(|row| {
        let mut gateway = gateway.clone();
        async move { gateway.model_infer(without(row)).await.unwrap() }
    });
    futures_util::future::join_all(calls).await;
    let request = ReadRecordsRequest { model_id: "m".into(), until_ms: 1_000_000, ..Default::default() };
    let since = Instant::now();
    loop {
        let mut rows = 0;
        if let Ok(pieces) = client.jobs.read_records(request.clone()).await {
            let (mut pieces, mut bytes) = (pieces.into_inner(), Vec::new());
            while let Some(piece) = pieces.message().await.unwrap() {
                bytes.extend_from_slice(&piece.chunk);
            }
            rows = from_parquet(bytes.into()).unwrap().1.iter().map(acgs_columns::RecordBatch::rows).sum();
        }
        if (300..=300 + failed).contains(&rows) {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{rows} records of 300 calls");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
