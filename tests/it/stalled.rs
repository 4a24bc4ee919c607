//! One client that stops reading, beside fifty that live, all on one connection: theirs is no other day.

use std::time::{Duration, Instant};

use acgs_contracts::orchestrator::v1::stream_windows_response;
use acgs_tests::{Mesh, Stream, open, rows};
use tokio::task::JoinSet;

const LIVE: usize = 50;
const WINDOW_MS: i64 = 20;
const PACE: Duration = Duration::from_millis(150);

/// Sends a frame that closes a window, and waits for its report, again and again; returns what each took.
async fn live(mut stream: Stream, first_seq: u64, count: u64) -> (Stream, Vec<Duration>) {
    let mut times = Vec::new();
    let mut paces = tokio::time::interval(PACE);
    for seq in first_seq..first_seq + count {
        paces.tick().await;
        let first = (seq as i64 - 1) * WINDOW_MS;
        let sent = Instant::now();
        stream.rows(seq, &rows(first, &(first..first + WINDOW_MS).collect::<Vec<_>>(), 0.0)).await;
        if seq > 1 {
            let reported = |message: &_| matches!(message, stream_windows_response::Message::Report(_));
            while !reported(&stream.next().await.unwrap().unwrap()) {}
        }
        times.push(sent.elapsed());
    }
    (stream, times)
}

async fn round(streams: Vec<Stream>, first_seq: u64, count: u64) -> (Vec<Stream>, Duration) {
    let mut tasks = JoinSet::new();
    for stream in streams {
        tasks.spawn(live(stream, first_seq, count));
    }
    let (mut streams, mut times) = (Vec::new(), Vec::new());
    while let Some(done) = tasks.join_next().await {
        let (stream, took) = done.unwrap();
        streams.push(stream);
        times.extend(took);
    }
    times.sort();
    (streams, times[times.len() * 99 / 100])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_reading_holds_nobody_else() {
    let mesh = Mesh::start().await;
    let client = mesh.orchestrator().await;
    let mut streams = Vec::new();
    for number in 0..LIVE {
        streams.push(Stream::open(client.clone(), open(&format!("live-{number}"), WINDOW_MS)).await.unwrap());
    }
    let (streams, _) = round(streams, 1, 10).await;
    let (streams, before) = round(streams, 11, 15).await;
    // It sends as fast as it is let, and reads nothing.
    let mut stalled = Stream::open(client, open("stalled", 1)).await.unwrap();
    let out = stalled.0.close().unwrap();
    let sending = tokio::spawn(async move {
        for seq in 1..=10_000_u64 {
            let first = (seq as i64 - 1) * 100;
            let batch = acgs_vocabulary::convert::batch::to_proto(&rows(
                first,
                &(first..first + 100).collect::<Vec<_>>(),
                0.0,
            ));
            let rows =
                acgs_contracts::orchestrator::v1::Rows { seq, batch: Some(batch), ..Default::default() };
            let message = acgs_contracts::orchestrator::v1::stream_windows_request::Message::Rows(rows);
            let request = acgs_contracts::orchestrator::v1::StreamWindowsRequest { message: Some(message) };
            if out.send(request).await.is_err() {
                return seq;
            }
        }
        u64::MAX
    });
    // Until it is held.
    let mut streams = streams;
    let mut seq = 26;
    while seq < 41 {
        (streams, _) = round(streams, seq, 5).await;
        seq += 5;
    }
    // Who is held has no next round.
    let beside;
    (_, beside) = round(streams, seq, 15).await;
    assert!(!sending.is_finished(), "the server takes no more from one that reads nothing");
    sending.abort();
    eprintln!("p99 of fifty: {before:?} alone, {beside:?} beside one that is stalled");
    drop(stalled);
}
