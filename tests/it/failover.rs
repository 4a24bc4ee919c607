//! Judges that die, stop and restart under load, in real processes: no window is missing and none is told twice.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use acgs_contracts::{
    common::v1::VerdictStatus,
    orchestrator::v1::{End, Rows, WindowReport, stream_windows_request, stream_windows_response},
};
use acgs_tests::{PATIENCE, Stream, fleet::Fleet, open, reports, rows};
use acgs_vocabulary::convert::batch;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

/// Event time of one frame; a window takes five.
const FRAME_MS: i64 = 20;
const WINDOW_MS: i64 = 100;
/// Between two frames.
/// Reports between two faults.
const REPORTS: usize = 10;
const PACE: Duration = Duration::from_millis(4);

/// What a client saw.
struct Seen {
    frames: i64,
    reports: Vec<(Instant, WindowReport)>,
}

/// A stream that goes on until it is told to stop.
struct Load {
    stop: oneshot::Sender<()>,
    told: watch::Receiver<usize>,
    task: JoinHandle<Seen>,
}

impl Load {
    /// Waits for so many more reports.
    async fn more(&mut self, reports: usize) {
        let wanted = *self.told.borrow() + reports;
        timeout(PATIENCE, self.told.wait_for(|told| *told >= wanted))
            .await
            .expect("reports in time")
            .unwrap();
    }

    async fn end(self) -> Seen {
        self.stop.send(()).unwrap();
        self.task.await.unwrap()
    }
}

/// Streams until it is told to stop.
fn load(mut stream: Stream) -> Load {
    let (stop, mut stopped) = oneshot::channel();
    let (tell, told) = watch::channel(0);
    let task = tokio::spawn(async move {
        let (mut seq, mut seen) = (0_u64, Vec::new());
        let out = stream.0.close().unwrap();
        loop {
            let first = seq as i64 * FRAME_MS;
            let times: Vec<i64> = (0..FRAME_MS).map(|step| first + step).collect();
            seq += 1;
            let batch = Some(batch::to_proto(&rows(first, &times, 0.0)));
            let message = stream_windows_request::Message::Rows(Rows { seq, batch, ..Rows::default() });
            let request = acgs_contracts::orchestrator::v1::StreamWindowsRequest { message: Some(message) };
            let sending = out.send(request);
            tokio::pin!(sending);
            // While the server takes nothing, it may have something to say.
            let mut sent = false;
            let pause = tokio::time::sleep(PACE);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    done = &mut sending, if !sent => { done.unwrap(); sent = true; }
                    () = &mut pause, if sent => break,
                    message = stream.0.next() => {
                        note(message.unwrap().unwrap(), &mut seen);
                        tell.send_replace(seen.len());
                    }
                }
            }
            if stopped.try_recv().is_ok() {
                break;
            }
        }
        let end = stream_windows_request::Message::End(End {});
        out.send(acgs_contracts::orchestrator::v1::StreamWindowsRequest { message: Some(end) })
            .await
            .unwrap();
        while let Some(message) = stream.0.next().await.unwrap() {
            note(message, &mut seen);
        }
        Seen { frames: seq as i64, reports: seen }
    });
    Load { stop, told, task }
}

fn note(message: stream_windows_response::Message, seen: &mut Vec<(Instant, WindowReport)>) {
    if let stream_windows_response::Message::Report(report) = message {
        seen.push((Instant::now(), report));
    }
}

/// Every window once, whole, and judged by all; returns the longest time without a report.
fn check(seen: Seen) -> Duration {
    let windows = (seen.frames * FRAME_MS + WINDOW_MS - 1) / WINDOW_MS;
    let mut by_start: BTreeMap<i64, Vec<&WindowReport>> = BTreeMap::new();
    for (_, report) in &seen.reports {
        by_start.entry(report.window.as_ref().unwrap().start_ms).or_default().push(report);
    }
    let missing: Vec<i64> =
        (0..windows).map(|number| number * WINDOW_MS).filter(|start| !by_start.contains_key(start)).collect();
    assert!(missing.is_empty(), "missing of {windows}: {missing:?}");
    for (start, told) in &by_start {
        assert_eq!(told.len(), 1, "window {start} was told {} times", told.len());
        let report = told[0];
        let rows = report.quality.as_ref().map_or(0, |quality| quality.row_count) as i64;
        let whole = (seen.frames * FRAME_MS - start).min(WINDOW_MS);
        assert_eq!(rows, whole, "window {start} lost rows");
        assert_eq!(report.performance.as_ref().map(|performance| performance.row_count as i64), Some(whole));
        for verdict in &report.verdicts {
            let status = verdict.status();
            // Without a reference drift does not apply.
            let fine = matches!(
                status,
                VerdictStatus::Ok | VerdictStatus::NotApplicable | VerdictStatus::Insufficient
            );
            assert!(fine, "window {start}: {verdict:?}");
        }
    }
    assert_eq!(by_start.len() as i64, windows);
    let times = seen.reports.iter().map(|(at, _)| *at);
    times.clone().zip(times.skip(1)).map(|(one, next)| next - one).max().unwrap_or_default()
}

async fn stream(fleet: &Fleet, name: &str) -> Stream {
    Stream::open(fleet.client().await, open(name, WINDOW_MS)).await.unwrap()
}

/// The judges of a role that serve lanes now cannot be told from outside: of two, each is killed once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_judges_are_not_noticed() {
    let mut fleet = Fleet::start_with(2, &["orchestrator.snapshot_every_bytes=100000"]).await;
    let mut load = load(stream(&fleet, "killed").await);
    for role in ["quality", "drift", "performance"] {
        for _ in 0..2 {
            load.more(REPORTS).await;
            fleet.take(role, 0).kill().await;
            fleet.add(role).await;
            fleet.wait_for(6).await;
        }
    }
    load.more(REPORTS).await;
    let longest = check(load.end().await);
    eprintln!("longest gap after SIGKILL: {longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_judges_are_not_noticed() {
    let seconds = std::env::var("ACGS_TEST_STOPPED_SECONDS").ok().and_then(|text| text.parse().ok());
    let stopped_for = Duration::from_secs(seconds.unwrap_or(5));
    let fleet = Fleet::start_with(2, &["orchestrator.snapshot_every_bytes=100000"]).await;
    let mut load = load(stream(&fleet, "stopped").await);
    load.more(REPORTS).await;
    // One of each, and then the other of each while the first is back.
    for place in 0..2 {
        let stopped: Vec<_> = fleet.judges.iter().skip(place).step_by(2).collect();
        stopped.iter().for_each(|judge| judge.signal("STOP"));
        tokio::time::sleep(stopped_for).await;
        stopped.iter().for_each(|judge| judge.signal("CONT"));
        fleet.wait_for(6).await;
        load.more(REPORTS).await;
    }
    let longest = check(load.end().await);
    eprintln!("longest gap after SIGSTOP: {longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_is_not_noticed() {
    let mut fleet = Fleet::start(2).await;
    let mut load = load(stream(&fleet, "rolling").await);
    for role in ["quality", "drift", "performance"] {
        for _ in 0..2 {
            load.more(REPORTS).await;
            assert!(fleet.take(role, 0).stop().await, "{role} ends in order");
            fleet.add(role).await;
            fleet.wait_for(6).await;
        }
    }
    load.more(REPORTS).await;
    let longest = check(load.end().await);
    eprintln!("longest gap in a rolling restart: {longest:?}");
}

/// Without any judge of a kind the others go on; when one comes, it judges what begins from then on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_judge_does_not_stop_the_others() {
    let mut fleet = Fleet::start_with(1, &["orchestrator.verdict_deadline_ms=500"]).await;
    fleet.take("drift", 0).kill().await;
    fleet.wait_for(2).await;
    let mut stream = stream(&fleet, "absent").await;
    for seq in 1..=10 {
        let first = (seq as i64 - 1) * WINDOW_MS;
        stream.rows(seq, &rows(first, &(first..first + WINDOW_MS).collect::<Vec<_>>(), 0.0)).await;
    }
    let mut told = Vec::new();
    while told.len() < 9 {
        told.extend(reports(vec![stream.next().await.unwrap().unwrap()]));
    }
    for report in &told {
        assert_eq!(report.verdicts[1].status(), VerdictStatus::Unavailable, "{report:?}");
        assert_eq!(report.verdicts[0].status(), VerdictStatus::Ok);
    }
    fleet.add("drift").await;
    let since = Instant::now();
    let mut seq = 10;
    loop {
        seq += 1;
        let first = (seq as i64 - 1) * WINDOW_MS;
        stream.rows(seq, &rows(first, &(first..first + WINDOW_MS).collect::<Vec<_>>(), 0.0)).await;
        let report = loop {
            let mut next = reports(vec![stream.next().await.unwrap().unwrap()]);
            if let Some(report) = next.pop() {
                break report;
            }
        };
        if report.verdicts[1].status() == VerdictStatus::NotApplicable {
            break;
        }
        assert!(since.elapsed() < acgs_tests::PATIENCE, "the judge is not asked again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
