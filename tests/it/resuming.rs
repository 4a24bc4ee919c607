//! Clients that go, come back, stop reading or are told to go: nothing is lost and nobody else is held.

use acgs_contracts::orchestrator::v1::{
    AckReports, LabelsHeader, SubmitLabelsRequest, stream_windows_request, stream_windows_response::Message,
    submit_labels_request,
};
use acgs_mesh::constitution::ClientLayer;
use acgs_tests::{Mesh, PATIENCE, Stream, label_schema, open, reason, reports, rows};
use acgs_vocabulary::convert::schema;
use tonic::{Code, transport::Endpoint};
use tower::Layer;

use crate::streams::row_count;

#[tokio::test]
async fn a_client_that_vanishes_comes_back_where_it_was() {
    let mesh = Mesh::start().await;
    let mut stream = mesh.stream(open("s", 1_000)).await.unwrap();
    for frame in 0..5_u64 {
        let times: Vec<i64> = (0..100).map(|row| frame as i64 * 1_000 + row * 10).collect();
        stream.rows(frame + 1, &rows(frame as i64 * 100, &times, 0.0)).await;
    }
    let mut seen = Vec::new();
    while seen.len() < 2 {
        if let Some(Message::Report(report)) = stream.next().await.unwrap() {
            seen.push(report);
        }
    }
    drop(stream);
    let mut again = open("s", 1_000);
    again.resume_after = 2;
    let mut stream = mesh.stream(again).await.unwrap();
    assert!(stream.opened().resumed);
    let accepted = stream.opened().accepted_through;
    assert!((1..=5).contains(&accepted), "{accepted}");
    // The client sends again from where it is not sure; duplicates are counted, not judged.
    for frame in accepted.saturating_sub(1)..6 {
        let times: Vec<i64> = (0..100).map(|row| frame as i64 * 1_000 + row * 10).collect();
        stream.rows(frame + 1, &rows(frame as i64 * 100, &times, 0.0)).await;
    }
    stream.end().await;
    let (all, status) = stream.rest().await;
    assert!(status.is_none(), "{status:?}");
    let Some(Message::Closed(closed)) = all.last().cloned() else { panic!("closed last") };
    seen.extend(reports(all));
    assert_eq!(seen.iter().map(|report| report.report_seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert!(seen.iter().all(|report| row_count(report) == 100), "none lost, none doubled");
    assert_eq!(closed.dropped.unwrap().duplicate_frames, 1);
}

#[tokio::test]
async fn what_cannot_be_resumed_says_so() {
    let mesh = Mesh::start_with(&["orchestrator.reports_kept=2"]).await;
    let mut gone = open("never", 1_000);
    gone.resume_after = 7;
    let refused = mesh.stream(gone).await.err().unwrap();
    assert_eq!((refused.code(), reason(&refused).0.as_str()), (Code::FailedPrecondition, "RESUME_EXPIRED"));
    let mut stream = mesh.stream(open("s", 10)).await.unwrap();
    let times: Vec<i64> = (0..100).map(|row| row * 10).collect();
    stream.rows(1, &rows(0, &times, 0.0)).await;
    let mut through = 0;
    while through < 50 {
        if let Some(Message::Report(report)) = stream.next().await.unwrap() {
            through = report.report_seq;
        }
    }
    let ack = AckReports { through_report_seq: through };
    stream.send(stream_windows_request::Message::Ack(ack)).await;
    stream.rows(2, &rows(100, &[1_000], 0.0)).await;
    while !matches!(stream.next().await.unwrap(), Some(Message::Accepted(accepted)) if accepted.through_seq == 2)
    {
    }
    drop(stream);
    let mut early = open("s", 10);
    early.resume_after = 3;
    let refused = mesh.stream(early).await.err().unwrap();
    assert_eq!(reason(&refused).0, "RESUME_EXPIRED", "those reports are no longer kept");
}

#[tokio::test]
async fn a_detached_stream_is_kept_only_so_long() {
    let mesh = Mesh::start_with(&["orchestrator.detached_keep_ms=300"]).await;
    let mut stream = mesh.stream(open("s", 1_000)).await.unwrap();
    stream.rows(1, &rows(0, &[1], 0.0)).await;
    while !matches!(stream.next().await.unwrap(), Some(Message::Accepted(_))) {}
    drop(stream);
    // Labels ask for the stream without joining it.
    let header = || LabelsHeader {
        stream_id: "s".into(),
        schema: Some(schema::to_proto(&label_schema())),
        model_id: String::new(),
    };
    let mut client = mesh.orchestrator().await;
    let gone = async {
        loop {
            let message = Some(submit_labels_request::Message::Header(header()));
            let asked = client.submit_labels(tokio_stream::iter([SubmitLabelsRequest { message }])).await;
            if asked.is_err() {
                return;
            }
        }
    };
    tokio::time::timeout(acgs_tests::PATIENCE, gone).await.expect("it is given up");
    let mut late = open("s", 1_000);
    late.resume_after = 1;
    assert_eq!(reason(&mesh.stream(late).await.err().unwrap()).0, "RESUME_EXPIRED");
    assert_eq!(
        mesh.stream(open("s", 1_000)).await.unwrap().opened().accepted_through,
        0,
        "it may begin anew"
    );
}

#[tokio::test]
async fn streams_that_were_left_keep_nobody_out() {
    let mesh = Mesh::start_with(&["orchestrator.streams_max=4"]).await;
    let times: Vec<i64> = (0..10).collect();
    // One is in use, one was in use, two were opened and left.
    let mut used = mesh.stream(open("used", 1_000)).await.unwrap();
    used.rows(1, &rows(0, &times, 0.0)).await;
    let mut was_used = mesh.stream(open("was-used", 1_000)).await.unwrap();
    was_used.rows(1, &rows(0, &times, 0.0)).await;
    while !matches!(was_used.next().await.unwrap(), Some(Message::Accepted(accepted)) if accepted.through_seq == 1)
    {
    }
    drop(was_used);
    for name in ["left", "left-too"] {
        drop(mesh.stream(open(name, 1_000)).await.unwrap());
    }
    // That a client is gone is heard a moment later.
    let since = std::time::Instant::now();
    let mut others = Vec::new();
    for name in ["a", "b"] {
        loop {
            match mesh.stream(open(name, 1_000)).await {
                Ok(stream) => break others.push(stream),
                Err(status) => assert_eq!(reason(&status).0, "STREAMS"),
            }
            assert!(since.elapsed() < PATIENCE);
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    let back = mesh.stream(open("was-used", 1_000)).await.unwrap();
    assert_eq!(back.opened().accepted_through, 1, "who has taken something is missed more");
    let full = mesh.stream(open("c", 1_000)).await.err().map(|status| reason(&status).0);
    assert_eq!(full.as_deref(), Some("STREAMS"), "nobody is put out who is there");
    used.end().await;
    let (_, status) = used.rest().await;
    assert!(status.is_none(), "{status:?}");
}

#[tokio::test]
async fn a_partition_has_one_client_the_last() {
    let mesh = Mesh::start().await;
    let mut first = mesh.stream(open("s", 1_000)).await.unwrap();
    first.rows(1, &rows(0, &[1], 0.0)).await;
    while !matches!(first.next().await.unwrap(), Some(Message::Accepted(_))) {}
    let mut second = mesh.stream(open("s", 1_000)).await.unwrap();
    assert_eq!(second.opened().accepted_through, 1);
    let (_, status) = first.rest().await;
    assert_eq!(reason(&status.expect("an end with a reason")).0, "REPLACED");
    second.end().await;
    assert_eq!(second.reports().await.len(), 1);
}

/// The least that HTTP/2 has, in bytes.
const LITTLE_ROOM_BYTES: u32 = 65_535;

/// Clients that were let go because they took nothing.
async fn let_go(mesh: &Mesh) -> u64 {
    let address = mesh.running.addresses.orchestrator;
    let text = acgs_tests::http::request(address, "GET", "/metrics", &[], "").await.text();
    let line = text.lines().find(|line| line.starts_with("acgs_stalled_clients_total "));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("a count")
}

#[tokio::test]
async fn a_client_that_stops_reading_does_not_stop_the_others() {
    let mesh =
        Mesh::start_with(&["orchestrator.stalled_client_ms=500", "orchestrator.reports_kept=64"]).await;
    // Little room on the way: it is full however slowly reports are made.
    let address = format!("http://{}", mesh.running.addresses.orchestrator);
    let endpoint = Endpoint::from_shared(address).unwrap().initial_stream_window_size(LITTLE_ROOM_BYTES);
    let channel = endpoint.connect().await.unwrap();
    let channel = ClientLayer::new(mesh.running.constitution.clone()).layer(channel);
    let mut deaf = Stream::open_over(channel, open("deaf", 1)).await.unwrap();
    let mut sent = 0;
    // Each row is a window: thousands of reports that nobody reads.
    for frame in 0..40_u64 {
        let times: Vec<i64> = (0..500).map(|row| frame as i64 * 500 + row).collect();
        let data = rows(frame as i64 * 500, &times, 0.0);
        let sending = deaf.rows(frame + 1, &data);
        // When there is no room left the rest does not matter.
        if tokio::time::timeout(std::time::Duration::from_secs(1), sending).await.is_err() {
            break;
        }
        sent += 1;
    }
    // Others are served all the while, until the deaf one's time is up.
    let mut served = 0;
    while let_go(&mesh).await == 0 {
        let mut lively = mesh.stream(open(&format!("lively{served}"), 1_000)).await.unwrap();
        lively.rows(1, &rows(0, &[1, 2, 3], 0.0)).await;
        lively.end().await;
        assert_eq!(lively.reports().await.len(), 1);
        served += 1;
    }
    assert!(served > 0, "{served}");
    let (_, status) = deaf.rest().await;
    let status = status.expect("it is let go");
    assert_eq!(
        (status.code(), reason(&status).0.as_str()),
        (Code::ResourceExhausted, "STALLED_CLIENT"),
        "{sent}"
    );
}

#[tokio::test]
async fn draining_finishes_what_is_asked_and_tells_streams() {
    let mesh = Mesh::start().await;
    let mut stream = mesh.stream(open("s", 1_000)).await.unwrap();
    stream.rows(1, &rows(0, &[100, 200, 1_500], 0.0)).await;
    while !matches!(stream.next().await.unwrap(), Some(Message::Report(_))) {}
    let stopping = tokio::spawn(mesh.running.stop());
    let (_, status) = stream.rest().await;
    let status = status.expect("an end with a reason");
    assert_eq!((status.code(), reason(&status).0.as_str()), (Code::Unavailable, "DRAINING"));
    drop(stream.0.close());
    stopping.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_partition_that_another_had_is_another() {
    let mesh = Mesh::start().await;
    let join = async |life: &str| {
        let open = acgs_contracts::orchestrator::v1::Open { life: life.into(), ..open("s", 1_000) };
        let stream = mesh.stream(open).await.unwrap();
        let life = stream.opened().life.clone();
        (stream, life)
    };
    let (mut first, own) = join("").await;
    let (_again, same) = join(&own).await;
    assert_eq!(same, own, "it came back to what it left");
    let (_first_ended, status) = first.rest().await;
    assert_eq!(reason(&status.unwrap()).0, "REPLACED");
    let (mut other, others) = join("").await;
    assert_ne!(others, own);
    other.rows(1, &rows(0, &[1, 2, 3], 0.0)).await;
    while !matches!(other.next().await.unwrap(), Some(Message::Accepted(it)) if it.through_seq == 1) {}
    let (back, now) = join(&own).await;
    assert_eq!(back.opened().accepted_through, 1);
    assert!(now != own && now != others, "what is accepted is not all its own");
    let (_back, same) = join(&now).await;
    assert_eq!(same, now);
}
