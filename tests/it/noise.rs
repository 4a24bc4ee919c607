//! Arbitrary decoded messages at every RPC: no panic, no hang, and the server serves on.

use std::time::Duration;

use acgs_contracts::{
    common::v1::ReferenceSelector,
    constitution::v1::{VerifyDocumentRequest, constitution_service_client::ConstitutionServiceClient},
    drift::v1::{
        CompareRequest, DetectRequest, GetReferenceRequest, JudgeRequest as DriftRequest,
        ListReferencesRequest, PutReferenceRequest, ReferenceHeader, put_reference_request,
    },
    orchestrator::v1::{
        AnalyzeRequest, LabelsHeader, SubmitLabelsRequest, SubscribeRequest, submit_labels_request,
    },
    performance::v1::{
        CompareModelsRequest, EvaluateModelRequest, JudgeRequest as PerformanceRequest, SubmitMetricsRequest,
    },
    quality::v1::{AssessRequest, JudgeRequest as QualityRequest},
};
use acgs_tests::Mesh;
use proptest::{collection::vec, option, prelude::*, strategy::ValueTree, test_runner::TestRunner};

use crate::arbitrary::{batches, lane_messages, number, records, schemas, stream_messages, text, time};

/// Messages of each kind.
const CASES: usize = if cfg!(debug_assertions) { 100 } else { 400 };
use acgs_tests::PATIENCE;

/// So many values of a strategy, the same in every run.
fn values<T: std::fmt::Debug>(strategy: &BoxedStrategy<T>) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    (0..CASES).map(|_| strategy.new_tree(&mut runner).expect("a value").current()).collect()
}

/// A call must come back, well or not, and never as a server's own fault.
macro_rules! survives {
    ($call:expr, $message:expr) => {{
        let shown = format!("{:?}", $message);
        let answer =
            tokio::time::timeout(PATIENCE, $call).await.unwrap_or_else(|_| panic!("hangs on {shown}"));
        if let Err(status) = &answer {
            let fault = matches!(
                status.code(),
                tonic::Code::Internal | tonic::Code::Unknown | tonic::Code::Cancelled
            );
            assert!(!fault, "{status:?} on {shown}");
        }
        answer
    }};
}

macro_rules! drain {
    ($incoming:expr) => {{
        if let Ok(answer) = $incoming {
            let mut incoming = answer.into_inner();
            let all = async {
                loop {
                    match incoming.message().await {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(status) => {
                            let fault = matches!(status.code(), tonic::Code::Internal | tonic::Code::Unknown);
                            assert!(!fault, "{status:?}");
                            break;
                        }
                    }
                }
            };
            // A stream that was not ended stays open by right: it is dropped then.
            let _still_open = tokio::time::timeout(Duration::from_millis(20), all).await;
        }
    }};
}

/// Resident mebibytes of this process, servers and all.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1_024
}

/// What all these messages together may cost for good, with whatever other tests hold meanwhile.
const GROWTH_MIB_MAX: u64 = 1_024;

fn assert_bounded(before_mib: u64) {
    let grown = resident_mib().saturating_sub(before_mib);
    assert!(grown <= GROWTH_MIB_MAX, "{grown} MiB");
}

#[tokio::test]
async fn unary_calls_survive_anything() {
    let before_mib = resident_mib();
    let mesh = Mesh::start().await;
    let (mut quality, mut drift) = (mesh.quality().await, mesh.drift().await);
    let (mut performance, mut orchestrator) = (mesh.performance().await, mesh.orchestrator().await);
    let assess = (records(), text(), option::of(text()), option::of(text()), schemas(), batches()).prop_map(
        |(data, service_id, target_column, timestamp_column, schema, batch)| AssessRequest {
            data,
            service_id,
            target_column,
            timestamp_column,
            schema,
            batch,
        },
    );
    for message in values(&assess.boxed()) {
        let _told = survives!(quality.assess(message.clone()), message);
    }
    let detect = (records(), records(), text(), schemas(), option::of(text())).prop_map(
        |(reference_data, current_data, model_id, schema, reference)| DetectRequest {
            reference_data,
            current_data,
            model_id,
            schema,
            reference: reference.map(|name| ReferenceSelector { name, version: 1 }),
            ..DetectRequest::default()
        },
    );
    for message in values(&detect.boxed()) {
        let _told = survives!(drift.detect(message.clone()), message);
    }
    let compare =
        (vec(number(), 0..30), vec(number(), 0..30), vec(text(), 0..3), vec(text(), 0..9), vec(text(), 0..9))
            .prop_map(|(reference, current, tests, reference_categories, current_categories)| {
                CompareRequest { reference, current, tests, reference_categories, current_categories }
            });
    for message in values(&compare.boxed()) {
        let _told = survives!(drift.compare(message.clone()), message);
    }
    let names = (text(), any::<u64>(), any::<u32>()).boxed();
    for (name, version, page_size) in values(&names) {
        let message = GetReferenceRequest { name: name.clone(), version };
        let _told = survives!(drift.get_reference(message.clone()), message);
        let message = ListReferencesRequest { model_id: name.clone(), page_size, page_token: name };
        let _told = survives!(drift.list_references(message.clone()), message);
    }
    let metrics =
        (text(), vec((text(), number()), 0..3), text()).prop_map(|(service_id, metrics, timestamp)| {
            SubmitMetricsRequest { service_id, metrics: metrics.into_iter().collect(), timestamp }
        });
    for message in values(&metrics.boxed()) {
        let _told = survives!(performance.submit_metrics(message.clone()), message);
    }
    let evaluate = (vec(number(), 0..20), vec(number(), 0..20), option::of(number())).prop_map(
        |(scores, labels, baseline_brier)| EvaluateModelRequest {
            scores,
            labels,
            baseline_brier,
            ..EvaluateModelRequest::default()
        },
    );
    for message in values(&evaluate.boxed()) {
        let _told = survives!(performance.evaluate_model(message.clone()), message);
    }
    let compare = (vec(number(), 0..9), vec(number(), 0..9), vec(number(), 0..9), number(), -1..5_i32)
        .prop_map(|(first_scores, second_scores, labels, margin, loss)| CompareModelsRequest {
            times_ms: labels.iter().map(|label| *label as i64).collect(),
            block_ms: margin as i64,
            first_scores,
            second_scores,
            labels,
            margin,
            loss,
            ..CompareModelsRequest::default()
        });
    for message in values(&compare.boxed()) {
        let _told = survives!(performance.compare_models(message.clone()), message);
    }
    let analyze =
        (text(), records(), schemas(), option::of(text())).prop_map(|(analysis_type, data, schema, name)| {
            let reference = name.map(|name| ReferenceSelector { name, version: 0 });
            AnalyzeRequest { analysis_type, data, schema, reference, ..AnalyzeRequest::default() }
        });
    for message in values(&analyze.boxed()) {
        let _told = survives!(orchestrator.analyze(message.clone()), message);
    }
    let mut constitution = ConstitutionServiceClient::new(mesh.channel(mesh.running.addresses.drift).await);
    for document in values(&vec(any::<u8>(), 0..50).boxed()) {
        let message = VerifyDocumentRequest { document };
        let _told = survives!(constitution.verify_document(message.clone()), message);
    }
    assert_bounded(before_mib);
}

#[tokio::test]
async fn streams_survive_anything() {
    let before_mib = resident_mib();
    let mesh = Mesh::start().await;
    let mut orchestrator = mesh.orchestrator().await;
    for messages in values(&stream_messages()) {
        let answer = survives!(orchestrator.stream_windows(tokio_stream::iter(messages.clone())), messages);
        drain!(answer);
    }
    let header = (text(), schemas()).prop_map(|(stream_id, schema)| LabelsHeader {
        stream_id,
        schema,
        model_id: String::new(),
    });
    let submit = (option::of(header), vec(batches(), 0..3)).prop_map(|(header, batches)| {
        use submit_labels_request::Message;
        let first = header.map(Message::Header);
        let rest = batches.into_iter().map(|batch| batch.map(Message::Batch));
        std::iter::once(first).chain(rest).map(|message| SubmitLabelsRequest { message }).collect::<Vec<_>>()
    });
    for messages in values(&submit.boxed()) {
        let _told = survives!(orchestrator.submit_labels(tokio_stream::iter(messages.clone())), messages);
    }
    for (after_sequence, subject_filter) in values(&(option::of(any::<u64>()), text()).boxed()) {
        let message = SubscribeRequest { after_sequence, subject_filter };
        let answer = survives!(orchestrator.subscribe(message.clone()), message);
        drop(answer);
    }
    let mut drift = mesh.drift().await;
    let header = (text(), text(), schemas(), time()).prop_map(|(name, model_id, schema, window_ms)| {
        ReferenceHeader { name, model_id, schema, window_ms }
    });
    let put = (option::of(header), vec(batches(), 0..3)).prop_map(|(header, batches)| {
        use put_reference_request::Message;
        let rest = batches.into_iter().map(|batch| batch.map(Message::Batch));
        let all = std::iter::once(header.map(Message::Header)).chain(rest);
        all.map(|message| PutReferenceRequest { message }).collect::<Vec<_>>()
    });
    for messages in values(&put.boxed()) {
        let _told = survives!(drift.put_reference(tokio_stream::iter(messages.clone())), messages);
    }
    assert_bounded(before_mib);
}

#[tokio::test]
async fn lanes_survive_anything() {
    let before_mib = resident_mib();
    let mesh = Mesh::start().await;
    let (mut quality, mut drift, mut performance) =
        (mesh.quality().await, mesh.drift().await, mesh.performance().await);
    for messages in values(&lane_messages()) {
        macro_rules! judge {
            ($client:expr, $request:ident) => {{
                let requests: Vec<_> =
                    messages.iter().map(|message| $request { message: Some(message.clone()) }).collect();
                let answer = survives!($client.judge(tokio_stream::iter(requests)), messages);
                drain!(answer);
            }};
        }
        judge!(quality, QualityRequest);
        judge!(drift, DriftRequest);
        judge!(performance, PerformanceRequest);
    }
    assert_bounded(before_mib);
}
