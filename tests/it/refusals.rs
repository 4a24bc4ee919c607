//! Bad input: each kind gets its documented error, with the field named, and the server serves on.

use acgs_contracts::{
    common::v1::{Column, Field, FieldKind, FieldRole, RecordBatch, ReferenceSelector, Schema},
    orchestrator::v1::{
        Durability, Labels, Open, Rows, SlidingWindow, TumblingWindow, stream_windows_request, window_spec,
    },
};
use acgs_tests::{Mesh, open, reason, rows};
use acgs_vocabulary::convert::batch;
use tonic::Code;

async fn refused_open(mesh: &Mesh, change: impl FnOnce(&mut Open)) -> (Code, String, String) {
    let mut open = open("s", 1_000);
    change(&mut open);
    let status = mesh.stream(open).await.expect_err("refused");
    let (reason, field) = reason(&status);
    (status.code(), reason, field)
}

#[tokio::test]
async fn a_bad_open_names_what_is_wrong() {
    let mesh = Mesh::start().await;
    let invalid = |reason: &str, field: &str| (Code::InvalidArgument, reason.to_owned(), field.to_owned());
    let kind = |open: &mut Open, kind| open.window.as_mut().unwrap().kind = Some(kind);
    assert_eq!(
        refused_open(&mesh, |open| open.stream_id.clear()).await,
        invalid("BAD_NAME", "open.stream_id")
    );
    assert_eq!(
        refused_open(&mesh, |open| open.model_id = "m".repeat(200)).await,
        invalid("TOO_LONG", "open.model_id")
    );
    assert_eq!(refused_open(&mesh, |open| open.schema = None).await, invalid("MISSING", "open.schema"));
    assert_eq!(
        refused_open(&mesh, |open| open.schema.as_mut().unwrap().fields.remove(0).name.clear()).await,
        invalid("BAD_SCHEMA", "open.schema.fields"),
        "without event time"
    );
    assert_eq!(
        refused_open(&mesh, |open| open.schema.as_mut().unwrap().fields[2].kind = 99).await,
        invalid("BAD_SCHEMA", "open.schema.fields[2].kind")
    );
    assert_eq!(
        refused_open(&mesh, |open| open.label_schema.as_mut().unwrap().fields.truncate(1)).await,
        invalid("BAD_SCHEMA", "open.label_schema.fields")
    );
    assert_eq!(refused_open(&mesh, |open| open.window = None).await, invalid("MISSING", "open.window"));
    assert_eq!(
        refused_open(&mesh, |open| kind(open, window_spec::Kind::Tumbling(TumblingWindow { size_ms: 0 })))
            .await,
        invalid("BAD_WINDOW", "open.window.size_ms")
    );
    let wild = window_spec::Kind::Sliding(SlidingWindow { size_ms: 1_000_000, slide_ms: 1 });
    assert_eq!(
        refused_open(&mesh, |open| kind(open, wild)).await,
        invalid("BAD_WINDOW", "open.window.slide_ms")
    );
    assert_eq!(
        refused_open(&mesh, |open| open.window.as_mut().unwrap().lateness_ms = -1).await,
        invalid("BAD_WINDOW", "open.window.lateness_ms")
    );
    assert_eq!(
        refused_open(&mesh, |open| open.window.as_mut().unwrap().idle_timeout_ms = Some(-1)).await,
        invalid("BAD_WINDOW", "open.window.idle_timeout_ms")
    );
    assert_eq!(
        refused_open(&mesh, |open| open.judges = vec![77]).await,
        invalid("UNKNOWN_JUDGE", "open.judges[0]")
    );
    let unknown = refused_open(&mesh, |open| {
        open.reference = Some(ReferenceSelector { name: "nobody".into(), version: 0 });
    });
    assert_eq!(unknown.await, (Code::NotFound, "UNKNOWN_REFERENCE".into(), String::new()));
    let unknown = refused_open(&mesh, |open| {
        open.model_id = "unknown-model".into();
        open.reference = Some(ReferenceSelector::default());
    });
    assert_eq!(unknown.await.1, "UNKNOWN_REFERENCE", "an unknown model has none of its own");
    let log = refused_open(&mesh, |open| open.durability = Durability::Log.into()).await;
    assert_eq!(log, (Code::InvalidArgument, "MISSING".into(), "open.model_id".into()));
    assert!(mesh.stream(open("s", 1_000)).await.is_ok(), "and it serves on");
}

/// What a stream answers to rows, and that others are served meanwhile.
async fn refused_rows(mesh: &Mesh, change: impl FnOnce(&mut Rows)) -> (Code, String, String) {
    let mut stream = mesh.stream(open("rows", 1_000)).await.unwrap();
    let seq = stream.opened().accepted_through + 1;
    let data = batch::to_proto(&rows(0, &(0..20).collect::<Vec<i64>>(), 0.0));
    let mut message = Rows { seq, batch: Some(data), ..Rows::default() };
    change(&mut message);
    stream.send(stream_windows_request::Message::Rows(message)).await;
    let (_, status) = stream.rest().await;
    let status = status.expect("refused");
    let (reason, field) = reason(&status);
    let mut other = mesh.stream(open("other", 1_000)).await.unwrap();
    let seq = other.opened().accepted_through + 1;
    other.rows(seq, &rows(0, &[1], 0.0)).await;
    assert!(other.next().await.unwrap().is_some(), "others are served");
    (status.code(), reason, field)
}

fn data(rows: &mut Rows) -> &mut RecordBatch {
    rows.batch.as_mut().unwrap()
}

#[tokio::test]
async fn bad_rows_name_what_is_wrong() {
    let mesh = Mesh::start().await;
    let invalid = |reason: &str, field: &str| (Code::InvalidArgument, reason.to_owned(), field.to_owned());
    let x = "rows.batch.columns[x]";
    assert_eq!(refused_rows(&mesh, |rows| rows.batch = None).await, invalid("MISSING", "rows.batch"));
    assert_eq!(
        refused_rows(&mesh, |rows| data(rows).row_count = 0).await,
        invalid("EMPTY_BATCH", "rows.batch.row_count")
    );
    assert_eq!(
        refused_rows(&mesh, |rows| data(rows).row_count = 1_000_000).await,
        invalid("TOO_MANY_ROWS", "rows.batch.row_count")
    );
    assert_eq!(
        refused_rows(&mesh, |rows| data(rows).columns.push(Column::default())).await,
        invalid("UNKNOWN_FIELD", "rows.batch.columns")
    );
    assert_eq!(
        refused_rows(&mesh, |rows| data(rows).columns.truncate(4)).await,
        invalid("MISSING_FIELD", "rows.batch.columns")
    );
    let wrong_kind = refused_rows(&mesh, |rows| {
        data(rows).columns[2] = Column { integers: vec![1; 20], ..Column::default() };
    });
    assert_eq!(wrong_kind.await, invalid("WRONG_KIND", x));
    assert_eq!(
        refused_rows(&mesh, |rows| data(rows).columns[2].doubles.truncate(19)).await,
        invalid("WRONG_LENGTH", x)
    );
    assert_eq!(
        refused_rows(&mesh, |rows| data(rows).columns[2].validity = vec![255].into()).await,
        invalid("BAD_VALIDITY", x)
    );
    assert_eq!(
        refused_rows(&mesh, |rows| data(rows).columns[3].codes[0] = 1_000).await,
        invalid("BAD_CODE", "rows.batch.columns[city]")
    );
    assert_eq!(
        refused_rows(&mesh, |rows| data(rows).columns[3].dictionary[0] = "x".repeat(2_000)).await,
        invalid("BAD_DICTIONARY", "rows.batch.columns[city]")
    );
    let arrow = refused_rows(&mesh, |rows| rows.arrow_ipc = vec![1]).await;
    assert_eq!((arrow.0, arrow.1.as_str()), (Code::Unimplemented, "ARROW_IPC"));
    let gap = refused_rows(&mesh, |rows| rows.seq += 5).await;
    assert_eq!((gap.0, gap.1.as_str()), (Code::OutOfRange, "SEQUENCE_GAP"));
}

#[tokio::test]
async fn a_stream_keeps_its_schema_and_its_order() {
    let mesh = Mesh::start().await;
    let refusal = async |message: stream_windows_request::Message| {
        let mut stream = mesh.stream(open("s", 1_000)).await.unwrap();
        stream.send(message).await;
        let (_, status) = stream.rest().await;
        reason(&status.expect("refused")).0
    };
    assert_eq!(refusal(stream_windows_request::Message::Open(open("s", 1_000))).await, "SCHEMA_CHANGED");
    let mut stream = mesh.stream(open("s", 1_000)).await.unwrap();
    let none = acgs_contracts::orchestrator::v1::StreamWindowsRequest { message: None };
    stream.0.sender().unwrap().send(none).await.unwrap();
    assert_eq!(reason(&stream.rest().await.1.unwrap()), ("MISSING".into(), "message".into()));
    let mut other = open("s", 2_000);
    other.partition_id = "p2".into();
    let changed = mesh.stream(other).await.err().unwrap();
    assert_eq!((changed.code(), reason(&changed).0.as_str()), (Code::FailedPrecondition, "SCHEMA_CHANGED"));
    let mut without = open("without", 1_000);
    without.label_schema = None;
    let mut stream = mesh.stream(without).await.unwrap();
    let labels = stream_windows_request::Message::Labels(Labels { seq: 1, batch: None });
    stream.send(labels).await;
    assert_eq!(reason(&stream.rest().await.1.unwrap()).0, "NO_LABELS_EXPECTED");
    let mut ended = mesh.stream(open("ended", 1_000)).await.unwrap();
    let mut second = open("ended", 1_000);
    second.partition_id = "p2".into();
    let _second = mesh.stream(second).await.unwrap();
    ended.end().await;
    ended.rows(1, &rows(0, &[1], 0.0)).await;
    assert_eq!(reason(&ended.rest().await.1.unwrap()).0, "ENDED");
}

#[tokio::test]
async fn bounds_are_named() {
    let mesh = Mesh::start_with(&[
        "orchestrator.streams_max=1",
        "orchestrator.partitions_max=1",
        "orchestrator.panes_max=10",
    ])
    .await;
    let mut stream = mesh.stream(open("s", 1_000)).await.unwrap();
    let second = mesh.stream(open("t", 1_000)).await.err().unwrap();
    assert_eq!((second.code(), reason(&second).0.as_str()), (Code::ResourceExhausted, "STREAMS"));
    let mut partition = open("s", 1_000);
    partition.partition_id = "p2".into();
    assert_eq!(reason(&mesh.stream(partition).await.err().unwrap()).0, "PARTITIONS");
    let times: Vec<i64> = (0..100).map(|row| row * 1_000).collect();
    stream.rows(1, &rows(0, &times, 0.0)).await;
    assert_eq!(reason(&stream.rest().await.1.unwrap()).0, "PANES");
    let mut stream = mesh.stream(open("s", 1_000)).await.unwrap();
    assert_eq!(stream.opened().accepted_through, 0, "the frame left no trace");
    stream.rows(1, &rows(0, &[1, 2], 0.0)).await;
    stream.end().await;
    assert_eq!(stream.reports().await.len(), 1);
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused() {
    let mesh = Mesh::start().await;
    let fields = (0..200)
        .map(|index| Field {
            name: format!("f{index}"),
            kind: FieldKind::Double.into(),
            role: FieldRole::Feature.into(),
            ..Field::default()
        })
        .chain([Field {
            name: "ts".into(),
            kind: FieldKind::Timestamp.into(),
            role: FieldRole::Timestamp.into(),
            ..Field::default()
        }]);
    let mut open = open("wide", 1_000);
    open.schema = Some(Schema { fields: fields.collect() });
    open.label_schema = None;
    let mut stream = mesh.stream(open).await.unwrap();
    let column = Column { doubles: vec![0.0; 4_000], ..Column::default() };
    let mut columns = vec![column; 200];
    columns.push(Column { integers: vec![0; 4_000], ..Column::default() });
    let batch = Some(RecordBatch { row_count: 4_000, columns });
    stream.send(stream_windows_request::Message::Rows(Rows { seq: 1, batch, ..Rows::default() })).await;
    let status = stream.rest().await.1.unwrap();
    assert_eq!(reason(&status), ("FRAME_TOO_LARGE".into(), "rows.batch".into()));
    let huge = acgs_contracts::constitution::v1::VerifyDocumentRequest { document: vec![0; 20 << 20] };
    let mut client =
        acgs_contracts::constitution::v1::constitution_service_client::ConstitutionServiceClient::new(
            mesh.channel(mesh.running.addresses.quality).await,
        );
    let status = client.verify_document(huge).await.unwrap_err();
    assert!(matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted), "{status:?}");
}
