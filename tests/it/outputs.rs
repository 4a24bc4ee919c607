//! What models say beside yes and no: scores of several classes, and quantiles, with labels that come late and are corrected.

use std::sync::Arc;

use acgs_columns::{Cell, Field, Kind, RecordBatch, Role, Schema, builder::BatchBuilder};
use acgs_contracts::{
    common::v1::ModelKind,
    orchestrator::v1::{
        LabelsHeader, Open, SubmitLabelsRequest, stream_windows_response::Message, submit_labels_request,
    },
};
use acgs_tests::{Mesh, PATIENCE, open};
use acgs_vocabulary::convert::{batch, schema};

const CLASSES: [&str; 3] = ["cat", "dog", "owl"];

fn fields() -> Arc<Schema> {
    let mut fields =
        vec![Field::new("ts", Kind::Timestamp, Role::Timestamp), Field::new("id", Kind::Int64, Role::Id)];
    fields.extend(CLASSES.map(|class| Field::new(format!("p_{class}"), Kind::Double, Role::Score)));
    Arc::new(Schema::new(fields).unwrap())
}

/// The probabilities of a row, and the class that is true of it.
fn truth(row: i64) -> ([f64; 3], usize) {
    let said = (row % 3) as usize;
    let mut scores = [0.15; 3];
    scores[said] = 0.7;
    (scores, if row % 5 == 0 { (said + 1) % 3 } else { said })
}

fn rows(ids: impl Iterator<Item = i64>) -> RecordBatch {
    let mut builder = BatchBuilder::new(fields());
    for row in ids {
        let scores = truth(row).0;
        let mut cells = vec![Cell::Integer(row * 10), Cell::Integer(row)];
        cells.extend(scores.map(Cell::Number));
        builder.push(&cells).unwrap();
    }
    builder.finish().unwrap()
}

fn label_fields() -> Arc<Schema> {
    let fields = vec![Field::new("id", Kind::Int64, Role::Id), Field::new("y", Kind::Text, Role::Label)];
    Arc::new(Schema::new(fields).unwrap())
}

fn labels(ids: impl Iterator<Item = i64>, mistaken: bool) -> RecordBatch {
    let mut builder = BatchBuilder::new(label_fields());
    for id in ids {
        let class = (truth(id).1 + usize::from(mistaken)) % 3;
        builder.push(&[Cell::Integer(id), Cell::Text(CLASSES[class])]).unwrap();
    }
    builder.finish().unwrap()
}

/// The mean logarithmic loss and the share of wrong answers of these rows.
fn losses(ids: std::ops::Range<i64>) -> (f64, f64) {
    let count = (ids.end - ids.start) as f64;
    let each = || ids.clone().map(truth);
    let logs: f64 = each().map(|(scores, truth)| -scores[truth].ln()).sum();
    let wrong = each().filter(|(scores, truth)| scores[*truth] < 0.5).count();
    (logs / count, wrong as f64 / count)
}

#[tokio::test]
async fn labels_of_class_scores_come_late_and_are_corrected() {
    let mesh = Mesh::start().await;
    let opened = Open {
        schema: Some(schema::to_proto(&fields())),
        label_schema: Some(schema::to_proto(&label_fields())),
        ..open("classes", 1_000)
    };
    let mut stream = mesh.stream(opened).await.unwrap();
    stream.rows(1, &rows(0..100)).await;
    // A label before its row, which is another one by the time that the row comes.
    stream.labels(2, &labels(100..101, true)).await;
    stream.labels(3, &labels((0..99).chain([100]), false)).await;
    stream.labels(4, &labels(10..30, true)).await;
    stream.rows(5, &rows(100..150)).await;
    while !matches!(stream.next().await.unwrap(), Some(Message::Report(_))) {}
    // Another caller corrects what the stream's own client said; one row still waits for its label.
    let header = LabelsHeader {
        stream_id: "classes".into(),
        schema: Some(schema::to_proto(&label_fields())),
        ..LabelsHeader::default()
    };
    let messages = [
        submit_labels_request::Message::Header(header),
        submit_labels_request::Message::Batch(batch::to_proto(&labels((10..30).chain([99]), false))),
    ]
    .map(|message| SubmitLabelsRequest { message: Some(message) });
    let told = mesh.orchestrator().await.submit_labels(tokio_stream::iter(messages)).await.unwrap();
    let told = told.into_inner();
    assert_eq!((told.matched, told.corrected, told.waiting, told.dropped), (1, 20, 0, 0));
    stream.end().await;
    let (all, status) = stream.rest().await;
    assert!(status.is_none(), "{status:?}");
    let Some(Message::Closed(closed)) = all.last().cloned() else { panic!("closed last") };
    let dropped = closed.dropped.unwrap();
    assert_eq!((dropped.labels_corrected, dropped.labels_contradicted), (41, 0));
    let of = |start: i64| {
        let mut reports = all.iter().filter_map(|message| match message {
            Message::Report(report) => Some(report),
            _ => None,
        });
        let of_window = |report: &&_| {
            acgs_contracts::orchestrator::v1::WindowReport::clone(report)
                .window
                .is_some_and(|window| window.start_ms == start)
        };
        reports.rfind(of_window).unwrap().performance.clone().unwrap()
    };
    let whole = of(0);
    assert_eq!((whole.model_kind(), whole.labelled_count), (ModelKind::Classes, 100));
    let classes = whole.classes.unwrap();
    let (log_loss, wrong) = losses(0..100);
    assert!((whole.loss.unwrap().value - wrong).abs() < 1e-9, "{:?}", whole.loss);
    assert!((classes.log_loss.unwrap().value - log_loss).abs() < 1e-9, "{:?}", classes.log_loss);
    assert_eq!((classes.scored_count, classes.not_probabilities_count), (100, 0));
    let next = of(1_000);
    assert_eq!(next.labelled_count, 1);
    assert!((next.loss.unwrap().value - losses(100..101).1).abs() < 1e-9, "the newer label is the row's");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_class_scores_and_quantiles_are_judged_on_the_command_line() {
    let mesh = Mesh::start().await;
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = mesh.running.addresses.orchestrator.to_string();
    let run = async |name: &str, text: String, arguments: &[&str]| -> serde_json::Value {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let mut command = tokio::process::Command::new(acgs_tests::binary());
        command.args(["stream", path.to_str().unwrap(), "--timestamp", "ts", "--label", "y"]);
        command.args(["--window", "1s", "--json", "--address", &orchestrator]).args(arguments);
        let output = tokio::time::timeout(PATIENCE, command.output()).await.unwrap().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(text.lines().next().unwrap()).unwrap()
    };
    let line = |row: i64| {
        let ([cat, dog, owl], truth) = truth(row);
        format!("{},{cat},{dog},{owl},{}\n", row * 10, CLASSES[truth])
    };
    let text = "ts,p_cat,p_dog,p_owl,y\n".to_owned() + &(0..100).map(line).collect::<String>();
    let classes = run("classes.csv", text, &["--score", "p_cat,p_dog,p_owl"]).await;
    let (log_loss, wrong) = losses(0..100);
    assert_eq!(classes["model_kind"], "classes");
    assert!((classes["loss"]["value"].as_f64().unwrap() - wrong).abs() < 1e-9);
    assert!((classes["log_loss"].as_f64().unwrap() - log_loss).abs() < 1e-9);
    let line = |row: i64| format!("{},{},{}\n", row * 10, 50.5, row);
    let text = "ts,said,y\n".to_owned() + &(0..100).map(line).collect::<String>();
    let quantile = run("amounts.csv", text, &["--prediction", "said", "--quantile", "0.5"]).await;
    assert_eq!(quantile["model_kind"], "regression");
    assert!((quantile["quantile_covered"].as_f64().unwrap() - 0.51).abs() < 1e-9);
    let wanted = (0..100).map(|row| (50.5 - f64::from(row)).abs() / 2.0).sum::<f64>() / 100.0;
    assert!((quantile["loss"]["value"].as_f64().unwrap() - wanted).abs() < 1e-9);
}

#[tokio::test]
async fn losses_are_told_by_value_where_labels_come_late() {
    let mesh = Mesh::start().await;
    let mut fields = fields().fields().to_vec();
    fields.push(Field { slice: true, ..Field::new("country", Kind::Text, Role::Feature) });
    fields.push(Field { slice: true, ..Field::new("device", Kind::Int64, Role::Key) });
    let fields = Arc::new(Schema::new(fields).unwrap());
    let opened = Open {
        schema: Some(schema::to_proto(&fields)),
        label_schema: Some(schema::to_proto(&label_fields())),
        ..open("by value", 1_000)
    };
    let mut stream = mesh.stream(opened).await.unwrap();
    let country = |row: i64| if row % 4 == 0 { "no" } else { "se" };
    let mut builder = BatchBuilder::new(Arc::clone(&fields));
    for row in 0..80 {
        let mut cells = vec![Cell::Integer(row * 10), Cell::Integer(row)];
        cells.extend(truth(row).0.map(Cell::Number));
        cells.extend([Cell::Text(country(row)), Cell::Integer(7)]);
        builder.push(&cells).unwrap();
    }
    stream.rows(1, &builder.finish().unwrap()).await;
    stream.labels(2, &labels(0..80, false)).await;
    stream.end().await;
    let reports = stream.reports().await;
    let slices = reports.last().unwrap().performance.as_ref().unwrap().slices.clone();
    let of = |value: &str| slices.iter().find(|slice| slice.value.as_deref() == Some(value)).unwrap();
    for (value, count) in [("no", 20), ("se", 60), ("7", 80)] {
        let rows = (0..80).filter(|row| value == "7" || country(*row) == value);
        let wrong = rows.filter(|row| truth(*row).0[truth(*row).1] < 0.5).count();
        let found = of(value);
        assert_eq!(found.count, count, "{value}");
        assert!((found.loss.unwrap().value - wrong as f64 / count as f64).abs() < 1e-9, "{value}: {found:?}");
    }
    assert_eq!(slices.len(), 3);
}
