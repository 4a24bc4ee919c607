//! StreamWindows as a user sees it: windows, order, labels, resume, partitions, bounds, draining.

use acgs_columns::{Field, Kind, Role, Schema};
use acgs_contracts::{
    common::v1::ReferenceSelector,
    drift::v1::{PutReferenceRequest, ReferenceHeader, put_reference_request},
    orchestrator::v1::{
        AlertState, ExplainAlertRequest, Harm, Judge, LabelsHeader, ListAlertsRequest, Open, SlidingWindow,
        SubmitLabelsRequest, SubscribeRequest, WindowReport, stream_windows_response::Message,
        submit_labels_request, window_spec,
    },
};
use acgs_tests::{Mesh, PATIENCE, label_schema, labels, open, reason, reports, row_schema, rows};
use acgs_vocabulary::convert::{batch, schema};
use tonic::Code;

fn span(report: &WindowReport) -> (i64, i64) {
    let window = report.window.as_ref().unwrap();
    (window.start_ms, window.end_ms)
}

pub(crate) fn row_count(report: &WindowReport) -> u64 {
    report.quality.as_ref().unwrap().row_count
}

pub(crate) async fn put_reference(mesh: &Mesh, name: &str) {
    use put_reference_request::Message;
    let header = ReferenceHeader {
        name: name.into(),
        schema: Some(schema::to_proto(&row_schema())),
        ..ReferenceHeader::default()
    };
    let times: Vec<i64> = (0..5_000).collect();
    let data = batch::to_proto(&rows(0, &times, 0.0));
    let messages = [Message::Header(header), Message::Batch(data)];
    let messages = messages.map(|message| PutReferenceRequest { message: Some(message) });
    mesh.drift().await.put_reference(tokio_stream::iter(messages)).await.unwrap();
}

#[tokio::test]
async fn windows_are_judged_in_order_and_drift_is_found() {
    let mesh = Mesh::start().await;
    put_reference(&mesh, "r").await;
    let mut open = open("s", 1_000);
    open.reference = Some(ReferenceSelector { name: "r".into(), version: 0 });
    let mut stream = mesh.stream(open).await.unwrap();
    for window in 0..6_i64 {
        let times: Vec<i64> = (0..500).map(|row| window * 1_000 + row * 2).collect();
        let shift = if window >= 3 { 2.0 } else { 0.0 };
        stream.rows(window as u64 + 1, &rows(window * 500, &times, shift)).await;
    }
    stream.end().await;
    let reports = stream.reports().await;
    let spans: Vec<_> = reports.iter().map(span).collect();
    assert_eq!(spans, (0..6).map(|window| (window * 1_000, (window + 1) * 1_000)).collect::<Vec<_>>());
    assert!(reports.iter().all(|report| row_count(report) == 500 && report.verdicts.len() == 3));
    assert_eq!(reports.iter().map(|report| report.report_seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    let drifted: Vec<bool> =
        reports.iter().map(|report| report.drift.as_ref().unwrap().drift_detected).collect();
    assert_eq!(drifted, [false, false, false, true, true, true]);
    assert_eq!(reports[0].harm(), Harm::None);
    assert_eq!(reports[5].harm(), Harm::Unknown, "no labels, so nobody can tell");
    assert_eq!(reports[3].alerts.len(), 1, "told when it opens");
    assert!(reports[4].alerts.is_empty(), "and not again");
}

#[tokio::test]
async fn late_labels_revise_their_window() {
    let mesh = Mesh::start().await;
    let mut stream = mesh.stream(open("s", 1_000)).await.unwrap();
    let times: Vec<i64> = (0..100).map(|row| row * 10).collect();
    stream.rows(1, &rows(0, &times, 0.0)).await;
    let early: Vec<(i64, f64)> = (0..40).map(|id| (id, (id % 2) as f64)).collect();
    stream.labels(2, &labels(&early)).await;
    stream.rows(3, &rows(100, &[1_500], 0.0)).await;
    let first = loop {
        if let Some(Message::Report(report)) = stream.next().await.unwrap() {
            break report;
        }
    };
    assert_eq!((first.revision, first.performance.as_ref().unwrap().labelled_count), (0, 40));
    let late: Vec<(i64, f64)> = (40..100).map(|id| (id, (id % 2) as f64)).collect();
    stream.labels(4, &labels(&late)).await;
    // A label that corrects the first, one that repeats it, one for nobody, and one that comes before its row and is corrected before that.
    stream.labels(5, &labels(&[(0, 1.0), (1, 1.0), (999_999, 1.0), (101, 0.0), (101, 1.0)])).await;
    stream.rows(6, &rows(101, &[1_600], 0.0)).await;
    stream.end().await;
    let (all, status) = stream.rest().await;
    assert!(status.is_none(), "{status:?}");
    let Some(Message::Closed(closed)) = all.last().cloned() else { panic!("closed last") };
    let revised: Vec<WindowReport> =
        reports(all).into_iter().filter(|report| span(report) == (0, 1_000)).collect();
    let last = revised.last().unwrap();
    assert_eq!((last.revision, last.performance.as_ref().unwrap().labelled_count), (1, 100));
    assert_eq!(last.performance.as_ref().unwrap().row_count, 100, "rows are not counted twice");
    let quality = |report: &WindowReport| {
        report.verdicts.iter().find(|part| part.judge() == Judge::Quality).unwrap().revision
    };
    assert_eq!(quality(last), 0, "only the judge whose panes changed judges again");
    let dropped = closed.dropped.unwrap();
    let counts = (dropped.labels_duplicate, dropped.labels_contradicted, dropped.labels_expired);
    assert_eq!(counts, (1, 1, 1));
    assert_eq!((closed.accepted_rows, closed.windows), (102, 2));
}

#[tokio::test]
async fn labels_may_come_from_another_caller() {
    let mesh = Mesh::start().await;
    let mut stream = mesh.stream(open("s", 1_000)).await.unwrap();
    let times: Vec<i64> = (0..50).map(|row| row * 10).collect();
    stream.rows(1, &rows(0, &times, 0.0)).await;
    while !matches!(stream.next().await.unwrap(), Some(Message::Accepted(accepted)) if accepted.through_seq == 1)
    {
    }
    let submit = |stream_id: &str, of: Vec<(i64, f64)>| {
        let header = LabelsHeader {
            stream_id: stream_id.into(),
            schema: Some(schema::to_proto(&label_schema())),
            model_id: String::new(),
        };
        let messages = [
            submit_labels_request::Message::Header(header),
            submit_labels_request::Message::Batch(batch::to_proto(&labels(&of))),
        ];
        tokio_stream::iter(messages.map(|message| SubmitLabelsRequest { message: Some(message) }))
    };
    let mut client = mesh.orchestrator().await;
    let of: Vec<(i64, f64)> = (0..60).map(|id| (id, 1.0)).collect();
    let counts = client.submit_labels(submit("s", of)).await.unwrap().into_inner();
    assert_eq!((counts.matched, counts.waiting, counts.dropped), (50, 10, 0));
    let unknown = client.submit_labels(submit("nobody", vec![(1, 1.0)])).await.unwrap_err();
    assert_eq!((unknown.code(), reason(&unknown).0.as_str()), (Code::NotFound, "UNKNOWN_STREAM"));
    stream.end().await;
    let reports = stream.reports().await;
    assert_eq!(reports.last().unwrap().performance.as_ref().unwrap().labelled_count, 50);
}

#[tokio::test]
async fn labels_that_cannot_be_joined_are_refused_at_the_header() {
    let mesh = Mesh::start().await;
    let stream = mesh.stream(Open { model_id: "m".into(), ..open("s", 1_000) }).await.unwrap();
    let mut client = mesh.orchestrator().await;
    let mut submit = async |stream_id: &str, id: Kind, label: Option<Kind>| {
        let mut fields = vec![Field::new("id", id, Role::Id)];
        fields.extend(label.map(|kind| Field::new("y", kind, Role::Label)));
        let header = LabelsHeader {
            stream_id: stream_id.into(),
            schema: Some(schema::to_proto(&Schema::new(fields).unwrap())),
            model_id: if stream_id.is_empty() { "m".into() } else { String::new() },
        };
        let message = Some(submit_labels_request::Message::Header(header));
        client.submit_labels(tokio_stream::iter([SubmitLabelsRequest { message }])).await
    };
    for stream_id in ["s", ""] {
        for (id, label) in [(Kind::Text, Some(Kind::Double)), (Kind::Int64, None)] {
            let refused = submit(stream_id, id, label).await.unwrap_err();
            let (why, field) = reason(&refused);
            assert_eq!((why.as_str(), field.as_str()), ("BAD_SCHEMA", "header.schema.fields"), "{refused:?}");
        }
        for label in [Kind::Double, Kind::Int64, Kind::Boolean, Kind::Text] {
            submit(stream_id, Kind::Int64, Some(label)).await.unwrap();
        }
    }
    drop(stream);
    mesh.running.stop().await.unwrap();
}

#[tokio::test]
async fn rows_that_come_too_late_are_a_finding() {
    let mesh = Mesh::start().await;
    for judges in [vec![], vec![Judge::Performance.into()]] {
        let stream_id = format!("late-{}", judges.len());
        let mut stream = mesh.stream(Open { judges, ..open(&stream_id, 1_000) }).await.unwrap();
        let every = |from: i64| -> Vec<i64> { (0..200).map(|row| from + row * 10).collect() };
        let mut reports = Vec::new();
        let frames = [
            (rows(0, &every(0), 0.0), Some(0)),
            (rows(1_000, &every(0)[..10], 0.0), None),
            (rows(2_000, &every(2_000), 0.0), Some(2_000)),
            (rows(3_000, &every(4_000), 0.0), Some(4_000)),
        ];
        for (seq, (frame, reported)) in (1..).zip(frames) {
            stream.rows(seq, &frame).await;
            // The share is looked at when a window is reported: each frame is, before the next comes.
            while reported.is_some_and(|start_ms| reports.iter().all(|report| span(report).0 != start_ms)) {
                if let Some(Message::Report(report)) = stream.next().await.unwrap() {
                    reports.push(report);
                }
            }
        }
        stream.end().await;
        reports.extend(stream.reports().await);
        let told: Vec<(i64, AlertState)> = reports
            .iter()
            .flat_map(|report| report.alerts.iter().map(|alert| (span(report).0, alert)))
            .filter(|(_, alert)| alert.rule == "late_rows")
            .map(|(start_ms, alert)| (start_ms, alert.state()))
            .collect();
        assert_eq!(told, [(1_000, AlertState::Open), (4_000, AlertState::Resolved)], "{stream_id}");
    }
}

#[tokio::test]
async fn alerts_are_closed_when_their_stream_ends() {
    let mesh = Mesh::start().await;
    let mut client = mesh.orchestrator().await;
    let mut stream = mesh.stream(open("s", 1_000)).await.unwrap();
    // Each record comes twice.
    let times: Vec<i64> = (0..150).map(|row| row * 10).collect();
    stream.rows(1, &rows(0, &times, 0.0)).await;
    stream.rows(2, &rows(100, &times[100..], 0.0)).await;
    stream.end().await;
    let reports = stream.reports().await;
    let opened = reports.iter().flat_map(|report| &report.alerts).filter(|it| it.state() == AlertState::Open);
    assert!(opened.count() > 0, "{reports:?}");
    let since = std::time::Instant::now();
    loop {
        let mut list = async |state: AlertState| {
            let request = ListAlertsRequest { state: state.into(), ..Default::default() };
            client.list_alerts(request).await.unwrap().into_inner().alerts
        };
        let (open, closed) = (list(AlertState::Open).await, list(AlertState::Resolved).await);
        if open.is_empty() && !closed.is_empty() {
            let id = closed[0].alert_id.clone();
            let explained =
                client.explain_alert(ExplainAlertRequest { alert_id: id }).await.unwrap().into_inner();
            assert!(
                explained.explanation.iter().any(|line| line.contains("its stream ended")),
                "{explained:?}"
            );
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{open:?}");
    }
}

#[tokio::test]
async fn sliding_windows_share_rows() {
    let mesh = Mesh::start().await;
    let mut open = open("s", 1_000);
    let kind = window_spec::Kind::Sliding(SlidingWindow { size_ms: 1_000, slide_ms: 400 });
    open.window.as_mut().unwrap().kind = Some(kind);
    open.judges = vec![Judge::Quality.into()];
    let mut stream = mesh.stream(open).await.unwrap();
    let times: Vec<i64> = (0..300).map(|row| row * 10).collect();
    stream.rows(1, &rows(0, &times, 0.0)).await;
    stream.end().await;
    for report in stream.reports().await {
        let (start, end) = span(&report);
        let inside = times.iter().filter(|time| (start..end).contains(time)).count();
        assert_eq!(row_count(&report), inside as u64, "{start}..{end}");
        assert_eq!(report.verdicts.len(), 1);
    }
}

#[tokio::test]
async fn what_was_said_is_in_the_log_when_the_mesh_has_stopped() {
    let mesh = Mesh::start().await;
    let log = std::sync::Arc::clone(mesh.running.log.as_ref().unwrap());
    let mut stream = mesh.stream(open("s", 10)).await.unwrap();
    let times: Vec<i64> = (0..2_000).map(|row| row * 10).collect();
    stream.rows(1, &rows(0, &times, 0.0)).await;
    stream.end().await;
    assert_eq!(stream.reports().await.len(), 2_000);
    drop(stream.0.close());
    mesh.running.stop().await.unwrap();
    assert_eq!(log.last().await.unwrap(), 2_000);
}

#[tokio::test]
async fn the_slowest_partition_holds_the_windows() {
    let mesh = Mesh::start().await;
    let partition = |name: &str| {
        let mut open = open("s", 1_000);
        open.partition_id = name.into();
        open
    };
    let mut fast = mesh.stream(partition("fast")).await.unwrap();
    let mut slow = mesh.stream(partition("slow")).await.unwrap();
    fast.rows(1, &rows(0, &[100, 5_000], 0.0)).await;
    while !matches!(fast.next().await.unwrap(), Some(Message::Accepted(_))) {}
    slow.rows(1, &rows(10, &[200, 1_100], 0.0)).await;
    let first = loop {
        if let Some(Message::Report(report)) = fast.next().await.unwrap() {
            break report;
        }
    };
    assert_eq!((span(&first), row_count(&first)), ((0, 1_000), 2), "it waited for the slow one");
    fast.end().await;
    slow.end().await;
    let (of_fast, of_slow) = (fast.reports().await, slow.reports().await);
    assert_eq!(of_fast.len(), 2);
    assert_eq!(of_slow.len(), 3, "every client is told");
}

#[tokio::test]
async fn keys_have_windows_of_their_own() {
    use acgs_columns::{Cell, Field, Kind, Role, Schema, builder::BatchBuilder};
    let mesh = Mesh::start().await;
    let fields = vec![
        Field::new("ts", Kind::Timestamp, Role::Timestamp),
        Field::new("k", Kind::Text, Role::Key),
        Field::new("x", Kind::Double, Role::Feature),
    ];
    let fields = std::sync::Arc::new(Schema::new(fields).unwrap());
    let mut builder = BatchBuilder::new(std::sync::Arc::clone(&fields));
    for row in 0..90_i64 {
        let key = ["a", "b", "c"][row as usize % 3];
        builder.push(&[Cell::Integer(row * 10), Cell::Text(key), Cell::Number(row as f64)]).unwrap();
    }
    let mut open = open("s", 500);
    open.schema = Some(schema::to_proto(&fields));
    open.label_schema = None;
    let mut stream = mesh.stream(open).await.unwrap();
    stream.rows(1, &builder.finish().unwrap()).await;
    stream.end().await;
    let mut told: Vec<(String, i64, u64)> = stream
        .reports()
        .await
        .iter()
        .map(|report| (report.window.as_ref().unwrap().key.clone(), span(report).0, row_count(report)))
        .collect();
    told.sort();
    let expected: Vec<(String, i64, u64)> = ["a", "b", "c"]
        .iter()
        .flat_map(|key| {
            let offset = (key.as_bytes()[0] - b'a') as i64;
            [0, 500].map(|start| {
                let inside = (0..30)
                    .map(|row| (row * 3 + offset) * 10)
                    .filter(|time| (start..start + 500).contains(time));
                ((*key).to_owned(), start, inside.count() as u64)
            })
        })
        .collect();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn rows_that_no_window_takes_are_counted() {
    let mesh = Mesh::start().await;
    let mut open = open("s", 1_000);
    open.window.as_mut().unwrap().idle_timeout_ms = Some(1_000);
    let mut stream = mesh.stream(open).await.unwrap();
    let far = i64::MAX / 2;
    let future = 4_102_444_800_000; // 2100
    stream.rows(1, &rows(0, &[100, far, -far, future, 5_000, 200], 0.0)).await;
    stream.end().await;
    let (all, status) = stream.rest().await;
    assert!(status.is_none(), "{status:?}");
    let Some(Message::Closed(closed)) = all.last().cloned() else { panic!("closed last") };
    let dropped = closed.dropped.unwrap();
    assert_eq!((dropped.timestamp_out_of_range, dropped.timestamp_in_future, dropped.late), (2, 1, 1));
    assert_eq!(closed.accepted_rows, 2);
}

#[tokio::test]
async fn reports_and_alerts_are_events() {
    let mesh = Mesh::start().await;
    put_reference(&mesh, "r").await;
    let mut open = open("s", 1_000);
    open.reference = Some(ReferenceSelector { name: "r".into(), version: 1 });
    let mut stream = mesh.stream(open).await.unwrap();
    let times: Vec<i64> = (0..400).map(|row| row * 2).collect();
    stream.rows(1, &rows(0, &times, 3.0)).await;
    stream.end().await;
    let reports = stream.reports().await;
    let mut client = mesh.orchestrator().await;
    let request =
        SubscribeRequest { after_sequence: Some(0), subject_filter: "acgs.drift.detected.*".into() };
    let mut alerts = client.subscribe(request).await.unwrap().into_inner();
    let alert = alerts.message().await.unwrap().unwrap();
    assert_eq!(alert.subject, "acgs.drift.detected.high");
    let envelope: serde_json::Value = serde_json::from_str(&alert.envelope_json).unwrap();
    assert_eq!(envelope["event_id"], reports[0].alerts[0].alert_id);
    assert_eq!(envelope["correlation_id"], "s");
    let request = SubscribeRequest { after_sequence: Some(0), subject_filter: String::new() };
    let mut all = client.subscribe(request).await.unwrap().into_inner();
    let mut kinds = Vec::new();
    for expected in 1..=3_u64 {
        let event = all.message().await.unwrap().unwrap();
        assert_eq!(event.sequence, expected);
        kinds.push(event.subject);
    }
    assert_eq!(kinds, ["acgs.drift.reference", "acgs.window.reported", "acgs.drift.detected.high"]);
    let request = SubscribeRequest { after_sequence: None, subject_filter: "a..b".into() };
    let refused = client.subscribe(request).await.unwrap_err();
    assert_eq!(reason(&refused), ("BAD_FILTER".into(), "subject_filter".into()));
}
