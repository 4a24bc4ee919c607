//! Arbitrary decoded messages at every RPC: no panic, no hang, and the server serves on.

use std::time::Duration;

use acgs_contracts::{
    common::v1::{Column, Field, RecordBatch, ReferenceSelector, Schema},
    constitution::v1::{VerifyDocumentRequest, constitution_service_client::ConstitutionServiceClient},
    drift::v1::{
        CompareRequest, DetectRequest, GetReferenceRequest, JudgeRequest as DriftRequest,
        ListReferencesRequest, PutReferenceRequest, ReferenceHeader, put_reference_request,
    },
    lane::v1::{
        Close, Config, ConfigReference, LaneBatch, LaneColumn, LaneDown, Open as LaneOpen, OpenPane,
        PaneState, Release, Restore, Rows as LaneRows, Run, Tick, lane_down,
    },
    orchestrator::v1::{
        AckReports, AnalyzeRequest, End, Labels, LabelsHeader, Open, Rows, SlidingWindow,
        StreamWindowsRequest, SubmitLabelsRequest, SubscribeRequest, TumblingWindow, WindowSpec,
        stream_windows_request, submit_labels_request, window_spec,
    },
    performance::v1::{EvaluateModelRequest, JudgeRequest as PerformanceRequest, SubmitMetricsRequest},
    quality::v1::{AssessRequest, JudgeRequest as QualityRequest},
};
use acgs_tests::{Mesh, open};
use proptest::{
    collection::vec, option, prelude::*, sample::select, strategy::ValueTree, test_runner::TestRunner,
};
use prost_types::{Struct, Value, value::Kind};

/// Messages of each kind.
const CASES: usize = if cfg!(debug_assertions) { 100 } else { 400 };
const PATIENCE: Duration = Duration::from_secs(10);

fn text() -> BoxedStrategy<String> {
    prop_oneof![
        select(vec!["", "a", "ts", "id", "x", "r", "ks", "quality", ">"]).prop_map(str::to_owned),
        ".{0,12}"
    ]
    .boxed()
}

fn number() -> BoxedStrategy<f64> {
    prop_oneof![
        any::<f64>(),
        0.0..1.0_f64,
        Just(f64::NAN),
        Just(f64::INFINITY),
        (-5..5_i32).prop_map(f64::from)
    ]
    .boxed()
}

fn time() -> BoxedStrategy<i64> {
    prop_oneof![any::<i64>(), 0..100_000_i64, Just(i64::MIN), Just(i64::MAX)].boxed()
}

fn records() -> BoxedStrategy<Vec<Struct>> {
    let kind = prop_oneof![
        number().prop_map(Kind::NumberValue),
        any::<bool>().prop_map(Kind::BoolValue),
        text().prop_map(Kind::StringValue),
        Just(Kind::NullValue(0)),
        Just(Kind::StructValue(Struct::default())),
    ];
    let value = option::of(kind).prop_map(|kind| Value { kind });
    let record =
        vec((text(), value), 0..4).prop_map(|fields| Struct { fields: fields.into_iter().collect() });
    let uniform = vec(number(), 1..40).prop_map(|numbers| {
        let record =
            |number| Struct { fields: [("x".to_owned(), Value::from(number))].into_iter().collect() };
        numbers.into_iter().map(record).collect()
    });
    prop_oneof![vec(record, 0..8), uniform].boxed()
}

prop_compose! {
    fn field()(name in text(), kind in -1..7_i32, role in -1..11_i32, minimum in option::of(number()),
        maximum in option::of(number()), required in any::<bool>()) -> Field {
        Field { name, kind, role, minimum, maximum, required }
    }
}

fn schemas() -> BoxedStrategy<Option<Schema>> {
    let good = Just(open("s", 1_000).schema.unwrap());
    option::of(prop_oneof![vec(field(), 0..5).prop_map(|fields| Schema { fields }), good]).boxed()
}

prop_compose! {
    fn column()(doubles in vec(number(), 0..6), integers in vec(time(), 0..6), booleans in vec(any::<u8>(), 0..2),
        codes in vec(0..9_u32, 0..6), dictionary in vec(text(), 0..3), validity in vec(any::<u8>(), 0..2),
        only in 0..5_usize) -> Column {
        let mut column = Column { doubles, integers, booleans: booleans.into(), codes, dictionary, validity: validity.into() };
        if only != 0 { column.doubles.clear(); }
        if only != 1 { column.integers.clear(); }
        if only != 2 { column.booleans.clear(); }
        if only != 3 { column.codes.clear(); column.dictionary.clear(); }
        column
    }
}

fn batches() -> BoxedStrategy<Option<RecordBatch>> {
    let wild =
        (0..8_u32, vec(column(), 0..6)).prop_map(|(row_count, columns)| RecordBatch { row_count, columns });
    let good = (vec(time(), 1..30), number()).prop_map(|(times, shift)| {
        acgs_vocabulary::convert::batch::to_proto(&acgs_tests::rows(0, &times, shift))
    });
    option::of(prop_oneof![wild, good]).boxed()
}

fn windows() -> BoxedStrategy<Option<WindowSpec>> {
    let size = || prop_oneof![time(), 1..5_000_i64];
    let kind = prop_oneof![
        size().prop_map(|size_ms| window_spec::Kind::Tumbling(TumblingWindow { size_ms })),
        (size(), size())
            .prop_map(|(size_ms, slide_ms)| window_spec::Kind::Sliding(SlidingWindow { size_ms, slide_ms })),
    ];
    let spec = (option::of(kind), time(), option::of(time()), size(), option::of(size()));
    option::of(spec.prop_map(|(kind, offset_ms, out_of_orderness_ms, lateness_ms, label_horizon_ms)| {
        WindowSpec {
            kind,
            offset_ms,
            out_of_orderness_ms,
            lateness_ms,
            label_horizon_ms,
            ..WindowSpec::default()
        }
    }))
    .boxed()
}

fn opens() -> BoxedStrategy<Open> {
    let wild =
        (text(), schemas(), schemas(), windows(), vec(-1..5_i32, 0..4), option::of(text()), any::<bool>());
    let wild = wild.prop_map(|(stream_id, schema, label_schema, window, judges, reference, log)| Open {
        stream_id,
        schema,
        label_schema,
        window,
        judges,
        reference: reference.map(|name| ReferenceSelector { name, version: 0 }),
        durability: if log { 2 } else { 0 },
        ..Open::default()
    });
    // Most openings are good ones, so that what follows is looked at.
    prop_oneof![1 => wild, 3 => (0..1_000_000_u32).prop_map(|number| open(&format!("n{number}"), 500))]
        .boxed()
}

fn stream_messages() -> BoxedStrategy<Vec<StreamWindowsRequest>> {
    use stream_windows_request::Message;
    let message = prop_oneof![
        4 => (0..6_u64, batches()).prop_map(|(seq, batch)| Message::Rows(Rows { seq, batch, ..Rows::default() })),
        2 => (0..6_u64, batches()).prop_map(|(seq, batch)| Message::Labels(Labels { seq, batch })),
        1 => any::<u64>().prop_map(|through_report_seq| Message::Ack(AckReports { through_report_seq })),
        1 => Just(Message::End(End {})),
        1 => opens().prop_map(Message::Open),
    ];
    (opens(), vec(option::of(message), 0..6))
        .prop_map(|(open, messages)| {
            let first = std::iter::once(Some(Message::Open(open)));
            first.chain(messages).map(|message| StreamWindowsRequest { message }).collect()
        })
        .boxed()
}

fn lane_messages() -> BoxedStrategy<Vec<LaneDown>> {
    use lane_down::Message;
    let bytes = || vec(any::<u8>(), 0..40).prop_map(bytes_of);
    let lane_column = (bytes(), 0..4_usize).prop_map(|(bytes, only)| {
        let mut column = LaneColumn::default();
        match only {
            0 => column.doubles = bytes,
            1 => column.integers = bytes,
            2 => column.booleans = bytes,
            _ => column.codes = bytes,
        }
        column
    });
    let good = vec(time(), 1..9)
        .prop_map(|times| acgs_vocabulary::convert::lane_batch::to_proto(&acgs_tests::rows(0, &times, 0.0)));
    let wild =
        (0..9_u32, vec(lane_column, 0..6)).prop_map(|(row_count, columns)| LaneBatch { row_count, columns });
    let batch = option::of(prop_oneof![good, wild]);
    let runs = vec((0..3_u64, 0..9_u32).prop_map(|(pane, length)| Run { pane, length }), 0..3);
    let state =
        (0..3_u64, bytes()).prop_map(|(pane, state)| PaneState { pane, state, ..PaneState::default() });
    let configs = vec(bytes().prop_map(|digest| ConfigReference { kind: "reference".into(), digest }), 0..2);
    let opening =
        (schemas(), configs, 0..2_u32, 0..3_u64).prop_map(|(schema, configs, slot, snapshot_every_bytes)| {
            Message::Open(LaneOpen {
                stream_id: "s".into(),
                schema,
                configs,
                slot,
                snapshot_every_bytes,
                ..LaneOpen::default()
            })
        });
    let message = prop_oneof![
        (bytes(), bytes()).prop_map(|(digest, content)| Message::Config(Config { digest, content })),
        (0..4_u64, vec(state, 0..3), bytes()).prop_map(|(through_seq, panes, carry)| {
            let more = through_seq % 2 == 0;
            Message::Restore(Restore { through_seq, panes, carry, more })
        }),
        (0..3_u64).prop_map(|pane| Message::OpenPane(OpenPane { pane, ..OpenPane::default() })),
        (0..6_u64, batch, runs).prop_map(|(seq, batch, runs)| Message::Rows(LaneRows {
            seq,
            batch,
            runs,
            again: seq % 2 == 1
        })),
        time().prop_map(|watermark_ms| Message::Tick(Tick { watermark_ms })),
        (option::of((time(), time())), vec(0..3_u64, 0..3)).prop_map(|(window, panes)| {
            let window = window.map(|(start_ms, end_ms)| acgs_contracts::common::v1::WindowId {
                start_ms,
                end_ms,
                ..Default::default()
            });
            Message::Close(Close { window, revision: 0, panes })
        }),
        vec(0..3_u64, 0..3).prop_map(|panes| Message::Release(Release { panes })),
    ];
    (opening, vec(option::of(message), 0..8))
        .prop_map(|(opening, messages)| {
            std::iter::once(Some(opening)).chain(messages).map(|message| LaneDown { message }).collect()
        })
        .boxed()
}

fn bytes_of(bytes: Vec<u8>) -> prost::bytes::Bytes {
    bytes.into()
}

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
