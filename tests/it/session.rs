//! The Rust client's session over real servers: cut, sent on, and forgotten. Nothing is lost and nothing is doubled.

use std::{net::SocketAddr, time::Duration};

use acgs_client::{OnLoss, SessionConfig, SessionError, WindowSession, dial};
use acgs_contracts::orchestrator::v1::{Open, WindowReport, stream_windows_response::Message};
use acgs_mesh::client::connect;
use acgs_tests::{
    Mesh, PATIENCE, Stream,
    fleet::{Fleet, Process, constitution},
    labels, open, rows,
};
use acgs_vocabulary::convert::batch;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

const WINDOW_MS: i64 = 100;
const FRAME_ROWS: i64 = 10;

fn session(addresses: Vec<String>, on_loss: OnLoss, open: Open) -> WindowSession {
    let config = SessionConfig { addresses, opening: Duration::from_secs(5), reconnect: PATIENCE, on_loss };
    let dial = dial(|address| async move { connect(&format!("http://{address}"), constitution()).await });
    WindowSession::new(dial, config, open)
}

/// A way to a server that can be cut: every connection that goes through it ends when the number changes.
async fn door(to: SocketAddr) -> (SocketAddr, watch::Sender<u32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (cuts, cut) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut cut = cut.clone();
            cut.mark_unchanged();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = cut.changed() => {}
                }
            });
        }
    });
    (address, cuts)
}

/// Sends a frame of ten rows, one a window step.
async fn send(session: &mut WindowSession, number: i64) -> Result<(), SessionError> {
    let times: Vec<i64> = (0..FRAME_ROWS).map(|row| (number * FRAME_ROWS + row) * 7).collect();
    let frame = rows(number * FRAME_ROWS, &times, 0.0);
    session.send_rows(batch::to_proto(&frame), frame.size_bytes()).await?;
    let known: Vec<(i64, f64)> = (0..FRAME_ROWS).map(|row| (number * FRAME_ROWS + row, 1.0)).collect();
    let frame = labels(&known);
    session.send_labels(batch::to_proto(&frame), frame.size_bytes()).await
}

async fn finish(session: &mut WindowSession, reports: &mut Vec<WindowReport>) -> Result<u64, SessionError> {
    session.end().await?;
    while let Some(message) = session.next().await? {
        match message {
            Message::Report(report) => reports.push(report),
            Message::Closed(closed) => return Ok(closed.accepted_rows),
            _ => {}
        }
    }
    panic!("the end was not told")
}

fn take(session: &mut WindowSession, reports: &mut Vec<WindowReport>) {
    while let Some(message) = session.heard() {
        if let Message::Report(report) = message {
            reports.push(report);
        }
    }
}

#[tokio::test]
async fn a_session_that_is_cut_again_and_again_loses_and_doubles_nothing() {
    let mesh = Mesh::start().await;
    let (address, cuts) = door(mesh.running.addresses.orchestrator).await;
    let mut session = session(vec![address.to_string()], OnLoss::Fail, open("cut", WINDOW_MS));
    let mut reports = Vec::new();
    for number in 0..60 {
        if number % 7 == 3 {
            cuts.send_modify(|cuts| *cuts += 1);
        }
        send(&mut session, number).await.unwrap();
        take(&mut session, &mut reports);
    }
    let accepted_rows = finish(&mut session, &mut reports).await.unwrap();
    assert_eq!(accepted_rows, 600, "each row once");
    let seqs: Vec<u64> = reports.iter().map(|report| report.report_seq).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "each report once, in order");
    let judged: u64 = reports
        .iter()
        .filter(|report| report.revision == 0)
        .map(|report| report.quality.as_ref().map_or(0, |quality| quality.row_count))
        .sum();
    assert_eq!(judged, 600);
}

#[tokio::test]
async fn a_session_goes_to_whoever_has_the_stream() {
    let fleet = Fleet::start(1).await;
    let nats = format!("nats.url={}", fleet.nats.url());
    let other = Process::start("orchestrator", 0, &[nats]).await;
    let _owner = Stream::open(fleet.client().await, open("owned", WINDOW_MS)).await.unwrap();
    let mut wanted = open("owned", WINDOW_MS);
    wanted.partition_id = "second".into();
    let mut session = session(vec![other.address.to_string()], OnLoss::Fail, wanted);
    send(&mut session, 0).await.unwrap();
    session.settle().await.unwrap();
    assert_eq!(session.unaccepted_frames(), 0, "the owner took it");
}

/// A mesh on a port that is known before.
async fn mesh_at(port: u16) -> Mesh {
    Mesh::start_with(&[&format!("listen.orchestrator={port}")]).await
}

async fn restarted(on_loss: OnLoss) -> (WindowSession, Result<(), SessionError>, Mesh) {
    let mesh = Mesh::start().await;
    let address = mesh.running.addresses.orchestrator;
    let mut session = session(vec![address.to_string()], on_loss, open("restarted", WINDOW_MS));
    for number in 0..5 {
        send(&mut session, number).await.unwrap();
    }
    session.settle().await.unwrap();
    mesh.running.stop().await.unwrap();
    let mesh = mesh_at(address.port()).await;
    let mut sent = Ok(());
    for number in 5..10 {
        sent = send(&mut session, number).await;
        if sent.is_err() {
            break;
        }
    }
    (session, sent, mesh)
}

#[tokio::test]
async fn a_stream_that_was_forgotten_is_told_or_begun_anew() {
    let (_session, sent, _mesh) = restarted(OnLoss::Fail).await;
    let error = sent.unwrap_err();
    let forgotten = match &error {
        SessionError::Lost { accepted_through, known_through } => {
            (*accepted_through, *known_through) == (10, 0)
        }
        SessionError::Refused(status) => acgs_tests::reason(status).0 == "RESUME_EXPIRED",
        SessionError::Unreachable(_) | SessionError::Closed => false,
    };
    assert!(forgotten, "{error:?}");
    let (mut session, sent, _mesh) = restarted(OnLoss::Continue).await;
    sent.unwrap();
    let accepted_rows = finish(&mut session, &mut Vec::new()).await.unwrap();
    assert_eq!(accepted_rows, 50, "what was accepted before is not sent again, and the rest is");
}
