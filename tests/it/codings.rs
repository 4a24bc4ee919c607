//! Labels of yes and no in every coding, through every door: the same numbers each time, whoever brings them and however they are written.

use std::time::Instant;

use acgs_columns::{Cell, Field, Kind, Role, Schema, builder::BatchBuilder};
use acgs_contracts::{
    orchestrator::v1::{
        LabelsHeader, Open, SubmitLabelsRequest, SubscribeRequest, stream_windows_response::Message,
        submit_labels_request,
    },
    performance::v1::PerformanceReport,
};
use acgs_tests::{Mesh, PATIENCE, http::request, open, reason};
use acgs_vocabulary::{
    constitution::{HEADER, PLATFORM},
    convert::{batch, schema},
};
use serde_json::json;
use std::sync::{Arc, atomic::Ordering};

use crate::captures::{CAPTURE, captured, metric, question, served};

const ROWS: i64 = 120;

/// The score of a row, and whether its label says yes.
fn truth(row: i64) -> (f64, bool) {
    ((row * 37 % 97) as f64 / 97.0, row * 7 % 10 < 3)
}

/// A coding: the kind, a no and a yes.
type Coding = (Kind, Cell<'static>, Cell<'static>);

const CODINGS: [Coding; 9] = [
    (Kind::Double, Cell::Number(0.0), Cell::Number(1.0)),
    (Kind::Double, Cell::Number(-1.0), Cell::Number(1.0)),
    (Kind::Int64, Cell::Integer(1), Cell::Integer(2)),
    (Kind::Int64, Cell::Integer(0), Cell::Integer(1)),
    (Kind::Boolean, Cell::Boolean(false), Cell::Boolean(true)),
    (Kind::Text, Cell::Text("no"), Cell::Text("yes")),
    (Kind::Text, Cell::Text("False"), Cell::Text("True")),
    (Kind::Text, Cell::Text("1"), Cell::Text("2")),
    (Kind::Text, Cell::Text("-1"), Cell::Text("1")),
];

fn label(coding: Coding, row: i64) -> Cell<'static> {
    if truth(row).1 { coding.2 } else { coding.1 }
}

/// A cell as text, and as JSON.
fn written(cell: Cell<'_>) -> (String, serde_json::Value) {
    match cell {
        Cell::Null => (String::new(), json!(null)),
        Cell::Number(number) => (number.to_string(), json!(number)),
        Cell::Integer(number) => (number.to_string(), json!(number)),
        Cell::Boolean(yes) => (yes.to_string(), json!(yes)),
        Cell::Text(text) => (text.to_owned(), json!(text)),
    }
}

/// What every door must come to.
fn check(door: &str, coding: Coding, found: &PerformanceReport) {
    let brier = (0..ROWS)
        .map(|row| {
            let (score, yes) = truth(row);
            (score - f64::from(u8::from(yes))).powi(2)
        })
        .sum::<f64>()
        / ROWS as f64;
    let positives = (0..ROWS).filter(|row| truth(*row).1).count();
    let of = format!("{door}, {:?} and {:?}", coding.1, coding.2);
    assert_eq!((found.labelled_count, found.incomparable_count), (ROWS as u64, 0), "{of}");
    assert_eq!(found.positive_count, positives as u64, "{of}");
    assert!((found.brier.unwrap().value - brier).abs() < 1e-3, "{of}: {:?} {brier}", found.brier);
    assert!(!found.label_coding.is_empty(), "{of}");
}

fn fields(label: Option<Kind>) -> Arc<Schema> {
    let mut fields = vec![
        Field::new("ts", Kind::Timestamp, Role::Timestamp),
        Field::new("id", Kind::Int64, Role::Id),
        Field::new("p", Kind::Double, Role::Score),
    ];
    fields.extend(label.map(|kind| Field::new("y", kind, Role::Label)));
    Arc::new(Schema::new(fields).unwrap())
}

fn rows(coding: Option<Coding>) -> acgs_columns::RecordBatch {
    let mut builder = BatchBuilder::new(fields(coding.map(|coding| coding.0)));
    for row in 0..ROWS {
        let mut cells = vec![Cell::Integer(row), Cell::Integer(row), Cell::Number(truth(row).0)];
        cells.extend(coding.map(|coding| label(coding, row)));
        builder.push(&cells).unwrap();
    }
    builder.finish().unwrap()
}

/// Labels of these ids by one call.
fn submission(
    header: LabelsHeader,
    id: Kind,
    coding: Coding,
    name: impl Fn(i64) -> String,
) -> [SubmitLabelsRequest; 2] {
    let label_fields = vec![Field::new("id", id, Role::Id), Field::new("y", coding.0, Role::Label)];
    let label_fields = Arc::new(Schema::new(label_fields).unwrap());
    let mut builder = BatchBuilder::new(Arc::clone(&label_fields));
    for row in 0..ROWS {
        let text = name(row);
        let id = if id == Kind::Text { Cell::Text(&text) } else { Cell::Integer(row) };
        builder.push(&[id, label(coding, row)]).unwrap();
    }
    let header = LabelsHeader { schema: Some(schema::to_proto(&label_fields)), ..header };
    [
        submit_labels_request::Message::Header(header),
        submit_labels_request::Message::Batch(batch::to_proto(&builder.finish().unwrap())),
    ]
    .map(|message| SubmitLabelsRequest { message: Some(message) })
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_with_their_labels_say_the_same_over_grpc_and_rest() {
    let mesh = Mesh::start().await;
    for (number, coding) in CODINGS.into_iter().enumerate() {
        let fields = fields(Some(coding.0));
        let stream_id = format!("inline-{number}");
        let opened =
            Open { schema: Some(schema::to_proto(&fields)), label_schema: None, ..open(&stream_id, 1_000) };
        let mut stream = mesh.stream(opened).await.unwrap();
        stream.rows(1, &rows(Some(coding))).await;
        stream.end().await;
        let reports = stream.reports().await;
        check("stream", coding, reports.last().unwrap().performance.as_ref().unwrap());
        let record = |row: i64| json!({"score": truth(row).0, "label": written(label(coding, row)).1});
        let field = |name: &str, kind: &str, role: &str| json!({"name": name, "kind": kind, "role": role});
        let kind = match coding.0 {
            Kind::Double => "FIELD_KIND_DOUBLE",
            Kind::Int64 => "FIELD_KIND_INT64",
            Kind::Boolean => "FIELD_KIND_BOOLEAN",
            Kind::Text => "FIELD_KIND_STRING",
            Kind::Timestamp => unreachable!("no label is a time"),
        };
        let fields = [
            field("score", "FIELD_KIND_DOUBLE", "FIELD_ROLE_SCORE"),
            field("label", kind, "FIELD_ROLE_LABEL"),
        ];
        let body = json!({
            "analysis_type": "performance",
            "data": (0..ROWS).map(record).collect::<Vec<_>>(),
            "schema": {"fields": fields},
        });
        let headers = [(HEADER, PLATFORM), ("content-type", "application/json")];
        let address = mesh.running.addresses.orchestrator;
        let answer = request(address, "POST", "/analyze", &headers, body.to_string()).await;
        let found = &answer.json()["performance"];
        assert!(found.is_object(), "{}", answer.text());
        let text = |name: &str| found[name].as_str().map_or(0, |text| text.parse().unwrap());
        let brier = acgs_contracts::performance::v1::Estimate {
            value: found["brier"]["value"].as_f64().unwrap(),
            ..Default::default()
        };
        let report = PerformanceReport {
            labelled_count: found["labelled_count"].as_u64().unwrap_or_else(|| text("labelled_count")),
            incomparable_count: found["incomparable_count"].as_u64().unwrap_or(0),
            positive_count: found["positive_count"].as_u64().unwrap_or_else(|| text("positive_count")),
            brier: Some(brier),
            label_coding: found["label_coding"].as_str().unwrap_or_default().to_owned(),
            ..Default::default()
        };
        check("REST", coding, &report);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn late_labels_say_the_same_in_whatever_coding_they_come() {
    let mesh = Mesh::start().await;
    let mut client = mesh.orchestrator().await;
    // The stream may have announced them as they come, or as something else.
    for (number, coding) in CODINGS.into_iter().enumerate() {
        for announced in [coding.0, Kind::Double] {
            let stream_id = format!("late-{number}-{announced:?}");
            let announced =
                vec![Field::new("id", Kind::Int64, Role::Id), Field::new("y", announced, Role::Label)];
            let announced = Schema::new(announced).unwrap();
            let opened = Open {
                schema: Some(schema::to_proto(&fields(None))),
                label_schema: Some(schema::to_proto(&announced)),
                ..open(&stream_id, 1_000)
            };
            let mut stream = mesh.stream(opened).await.unwrap();
            stream.rows(1, &rows(None)).await;
            let accepted = |message: &Option<Message>| matches!(message, Some(Message::Accepted(it)) if it.through_seq == 1);
            while !accepted(&stream.next().await.unwrap()) {}
            let header = LabelsHeader { stream_id, ..LabelsHeader::default() };
            let messages = submission(header, Kind::Int64, coding, |row| row.to_string());
            let told = client.submit_labels(tokio_stream::iter(messages)).await.unwrap().into_inner();
            assert_eq!((told.matched, told.dropped), (ROWS as u64, 0), "{coding:?}");
            stream.end().await;
            let reports = stream.reports().await;
            check("SubmitLabels", coding, reports.last().unwrap().performance.as_ref().unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_say_the_same_on_the_command_line() {
    let mesh = Mesh::start().await;
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = mesh.running.addresses.orchestrator.to_string();
    for (number, coding) in CODINGS.into_iter().enumerate() {
        let path = folder.path().join(format!("file-{number}.csv"));
        let line = |row: i64| format!("{row},{},{}\n", truth(row).0, written(label(coding, row)).0);
        std::fs::write(&path, "ts,p,y\n".to_owned() + &(0..ROWS).map(line).collect::<String>()).unwrap();
        let arguments = [
            "stream",
            path.to_str().unwrap(),
            "--timestamp",
            "ts",
            "--score",
            "p",
            "--label",
            "y",
            "--window",
            "1s",
            "--json",
            "--address",
            &orchestrator,
        ];
        let output = tokio::process::Command::new(acgs_tests::binary()).args(arguments).output();
        let output = tokio::time::timeout(PATIENCE, output).await.unwrap().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let report: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        let brier = acgs_contracts::performance::v1::Estimate {
            value: report["brier"].as_f64().unwrap_or_else(|| panic!("{coding:?}: {text}")),
            ..Default::default()
        };
        let found = PerformanceReport {
            labelled_count: report["labelled"].as_u64().unwrap(),
            positive_count: (0..ROWS).filter(|row| truth(*row).1).count() as u64,
            brier: Some(brier),
            label_coding: report["label_coding"].as_str().unwrap().to_owned(),
            ..Default::default()
        };
        check("file", coding, &found);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn captured_calls_say_the_same_whatever_their_labels_are() {
    for coding in [CODINGS[1], CODINGS[2], CODINGS[4], CODINGS[5], CODINGS[7]] {
        let (mesh, _client, server) = captured(CAPTURE).await;
        let mut orchestrator = mesh.orchestrator().await;
        let windows =
            SubscribeRequest { after_sequence: Some(0), subject_filter: "acgs.window.reported".into() };
        let mut events = orchestrator.subscribe(windows).await.unwrap().into_inner();
        let score = |row: i64| (truth(row).0 * 1_000.0).round() as u64;
        server.behaviour.score_per_mille.store(score(0), Ordering::Relaxed);
        let mut gateway = served(&mesh).await;
        for row in 1..ROWS {
            server.behaviour.score_per_mille.store(score(row), Ordering::Relaxed);
            gateway.model_infer(question(row)).await.unwrap();
        }
        let since = Instant::now();
        while metric(&mesh, "acgs_gateway_captures").await < ROWS as u64 {
            assert!(since.elapsed() < PATIENCE, "captured in time");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let header = LabelsHeader { model_id: "m".into(), ..LabelsHeader::default() };
        let messages = submission(header, Kind::Text, coding, |row| format!("r{row}"));
        loop {
            match orchestrator.submit_labels(tokio_stream::iter(messages.clone())).await {
                Ok(told) => {
                    let told = told.into_inner();
                    assert_eq!(told.matched + told.waiting, ROWS as u64, "{coding:?}: {told:?}");
                    break;
                }
                Err(status) => assert_eq!(reason(&status).0, "UNKNOWN_STREAM", "{status:?}"),
            }
            assert!(since.elapsed() < PATIENCE);
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let wanted = (0..60)
            .map(truth)
            .map(|(score, yes)| ((score * 1_000.0).round() / 1_000.0 - f64::from(u8::from(yes))).powi(2))
            .sum::<f64>()
            / 60.0;
        let payload = loop {
            let event = tokio::time::timeout(PATIENCE, events.message()).await.unwrap().unwrap().unwrap();
            let envelope: serde_json::Value = serde_json::from_str(&event.envelope_json).unwrap();
            let payload = envelope["payload"].clone();
            if payload.get("labels_awaited").is_none() && payload["brier"].is_f64() {
                break payload;
            }
        };
        let brier = payload["brier"].as_f64().unwrap();
        assert!((brier - wanted).abs() < 1e-6, "{coding:?}: {brier} {wanted} {payload}");
    }
}
