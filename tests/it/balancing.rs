//! Calls over instances of which one is slow.

use std::time::{Duration, Instant};

use acgs_contracts::orchestrator::v1::{AnalyzeRequest, RegisterServiceRequest};
use acgs_tests::fleet::{Fleet, Process};
use prost_types::{Struct, Value, value::Kind};
use tokio::net::{TcpListener, TcpStream};

/// Passes bytes on, each way later than they came.
async fn slow_door(to: std::net::SocketAddr, by: Duration) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((from, _)) = listener.accept().await {
            let onward = TcpStream::connect(to).await.unwrap();
            for stream in [&from, &onward] {
                stream.set_nodelay(true).unwrap();
            }
            let (from_read, from_write) = from.into_split();
            let (to_read, to_write) = onward.into_split();
            tokio::spawn(late(from_read, to_write, by));
            tokio::spawn(late(to_read, from_write, Duration::ZERO));
        }
    });
    address
}

async fn late(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    by: Duration,
) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (pieces, mut waiting) = tokio::sync::mpsc::channel::<(tokio::time::Instant, Vec<u8>)>(1_024);
    tokio::spawn(async move {
        while let Some((due, piece)) = waiting.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if pieces.send((tokio::time::Instant::now() + by, buffer[..length].to_vec())).await.is_err() {
            return;
        }
    }
}

fn record(value: f64) -> Struct {
    let value = Value { kind: Some(Kind::NumberValue(value)) };
    Struct { fields: [("x".to_owned(), value)].into() }
}

/// The 99th percentile of `Analyze`, and how many calls were made.
async fn analyze(fleet: &Fleet, callers: usize, each: usize) -> (Duration, usize) {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let mut client = fleet.client().await;
        tasks.spawn(async move {
            let mut times = Vec::new();
            while times.len() < each {
                let request = AnalyzeRequest {
                    analysis_type: "quality".into(),
                    data: (0..20).map(|row| record(f64::from(row))).collect(),
                    ..AnalyzeRequest::default()
                };
                let called = Instant::now();
                client.analyze(request).await.unwrap();
                times.push(called.elapsed());
            }
            times
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done.unwrap());
    }
    times.sort();
    (times[times.len() * 99 / 100], times.len())
}

/// Calls that a process has answered, from its own numbers.
async fn judged(process: &Process) -> u64 {
    let text = acgs_tests::http::request(process.address, "GET", "/metrics", &[], "").await.text();
    let line =
        |line: &&str| line.starts_with("rpc_server_call_duration_seconds_count") && line.contains("/Judge\"");
    text.lines().filter(line).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_instance_gets_little_and_slows_nobody() {
    let fleet = Fleet::start(2).await;
    let (healthy, _) = analyze(&fleet, 2, 150).await;
    // A third judge that everybody reaches half a second late.
    let slow = Process::start("quality", 0, &[]).await;
    let door = slow_door(slow.address, Duration::from_millis(500)).await;
    let mut client = fleet.client().await;
    let register = RegisterServiceRequest {
        service_id: "slow".into(),
        service_name: "data-quality-service".into(),
        host: door.ip().to_string(),
        port: door.port().into(),
        capabilities: vec!["quality".into()],
        ..RegisterServiceRequest::default()
    };
    let registered = client.register_service(register.clone()).await.unwrap().into_inner();
    assert_eq!(registered.lease_ms, 1_500);
    let beats = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(400)).await;
            let beat = acgs_contracts::orchestrator::v1::HeartbeatRequest {
                service_id: "slow".into(),
                ..Default::default()
            };
            client.heartbeat(beat).await.unwrap();
        }
    });
    analyze(&fleet, 2, 150).await;
    let before = judged(&slow).await;
    let (p99, calls) = analyze(&fleet, 2, 300).await;
    let share = (judged(&slow).await - before) as f64 / calls as f64;
    beats.abort();
    eprintln!("slow instance: {:.3} % of {calls} calls, p99 {p99:?} against {healthy:?}", share * 100.0);
    assert!(before > 0 || share > 0.0, "the slow one was never asked");
    assert!(share < 0.02, "{share}");
}
