//! Lanes whose judges come and go; time is paused.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use acgs_columns::{Cell, Field, Kind, Role, Schema, builder::BatchBuilder};
use acgs_lane::LaneHandle;
use acgs_vocabulary::{JudgeKind, problem::Kind as ProblemKind};
use async_trait::async_trait;
use tokio::sync::mpsc;

use super::*;

const CONFIG: LaneConfig = LaneConfig { snapshot_every_bytes: 1_000, patience_ms: 10_000, age_max_ms: 0 };

/// The judge's ends of the lanes that were opened.
type Ends = Mutex<Vec<(mpsc::Receiver<LaneDown>, mpsc::Sender<Result<LaneUp, Problem>>)>>;

/// Judges that are not there at first, or refuse.
#[derive(Debug, Default)]
struct Scripted {
    /// So many attempts find nobody.
    absent: AtomicUsize,
    refuses: bool,
    attempts: AtomicUsize,
    ends: Ends,
}

#[async_trait]
impl Connector for Scripted {
    async fn open(&self, _lane: LaneId) -> Result<LaneHandle, Problem> {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        if self.refuses {
            return Err(Problem::new(ProblemKind::Unimplemented, "SLOT", "no"));
        }
        let absent = self.absent.load(Ordering::Relaxed);
        if absent > 0 {
            self.absent.store(absent - 1, Ordering::Relaxed);
            return Err(Problem::new(ProblemKind::Unavailable, "NO_INSTANCE", "nobody"));
        }
        let (down, messages) = mpsc::channel(64);
        let (answers, up) = mpsc::channel(64);
        answers.send(Ok(LaneUp::Credit { bytes: 1 << 20, messages: 10 })).await.unwrap();
        self.ends.lock().unwrap().push((messages, answers));
        Ok(LaneHandle { down, up })
    }

    fn is_remote(&self) -> bool {
        true
    }
}

const QUALITY: LaneId = LaneId { judge: JudgeKind::Quality, slot: 0 };

fn open() -> Vec<(LaneId, Open, LaneConfigs)> {
    let schema = Schema::new(vec![Field::new("x", Kind::Double, Role::Feature)]).unwrap();
    let open = Open {
        stream_id: "s".into(),
        slot: 0,
        epoch: 0,
        schema: Arc::new(schema),
        configs: Vec::new(),
        snapshot_every_bytes: 0,
        model_id: String::new(),
        service_id: String::new(),
        pane_ms: 0,
        recent_ms: 0,
        once: false,
    };
    vec![(QUALITY, open, LaneConfigs::default())]
}

async fn lanes(judges: &Arc<Scripted>, config: LaneConfig) -> Result<Lanes, Problem> {
    let connector: Arc<dyn Connector> = Arc::clone(judges) as _;
    Lanes::open(&connector, config, 7, open()).await
}

#[tokio::test(start_paused = true)]
async fn a_judge_that_comes_up_late_is_waited_for() {
    let judges = Arc::new(Scripted { absent: AtomicUsize::new(3), ..Scripted::default() });
    let lanes = lanes(&judges, CONFIG).await.unwrap();
    assert_eq!(lanes.absent().count(), 0, "found within the first patience");
    assert_eq!(judges.attempts.load(Ordering::Relaxed), 4);
    let opened = judges.ends.lock().unwrap()[0].0.try_recv().unwrap();
    assert!(matches!(opened, LaneDown::Open(open) if open.snapshot_every_bytes == 1_000 && open.epoch == 7));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_at_once() {
    let judges = Arc::new(Scripted { refuses: true, ..Scripted::default() });
    assert_eq!(lanes(&judges, CONFIG).await.unwrap_err().reason(), "SLOT");
    assert_eq!(judges.attempts.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_begins_without_an_absent_judge_and_takes_it_later() {
    let judges = Arc::new(Scripted { absent: AtomicUsize::new(10), ..Scripted::default() });
    let mut lanes = lanes(&judges, CONFIG).await.unwrap();
    assert_eq!(lanes.absent().collect::<Vec<_>>(), [QUALITY]);
    assert!(lanes.ready(), "it does not hold the others");
    lanes.push(QUALITY, LaneDown::OpenPane { pane: 1, key: "".into(), labels_only: false });
    assert!(matches!(lanes.next().await, Event::Back(QUALITY)));
    assert_eq!(lanes.absent().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_judge_that_is_not_found_again_is_given_up_once() {
    let judges = Arc::new(Scripted::default());
    let mut lanes = lanes(&judges, CONFIG).await.unwrap();
    judges.absent.store(1_000, Ordering::Relaxed);
    judges.ends.lock().unwrap().clear();
    let since = Instant::now();
    assert!(matches!(lanes.next().await, Event::Lost(QUALITY, _)));
    let waited = since.elapsed();
    assert!((Duration::from_secs(10)..Duration::from_secs(12)).contains(&waited), "{waited:?}");
    judges.absent.store(0, Ordering::Relaxed);
    assert!(matches!(lanes.next().await, Event::Back(QUALITY)), "it is not lost a second time");
}

#[tokio::test(start_paused = true)]
async fn an_old_lane_is_opened_again_with_what_is_kept() {
    let judges = Arc::new(Scripted::default());
    let mut lanes = lanes(&judges, LaneConfig { age_max_ms: 60_000, ..CONFIG }).await.unwrap();
    lanes.push(QUALITY, LaneDown::OpenPane { pane: 1, key: "".into(), labels_only: false });
    let since = Instant::now();
    while judges.ends.lock().unwrap().len() < 2 {
        let _nothing_is_said = tokio::time::timeout(Duration::from_secs(1), lanes.next()).await;
        assert!(since.elapsed() < Duration::from_secs(70), "not opened again");
    }
    let age = since.elapsed();
    assert!(age > Duration::from_secs(53), "{age:?}");
    let _sends = tokio::time::timeout(Duration::from_secs(1), lanes.next()).await;
    let mut ends = judges.ends.lock().unwrap();
    assert!(matches!(ends[1].0.try_recv(), Ok(LaneDown::Open(_))));
    assert!(matches!(ends[1].0.try_recv(), Ok(LaneDown::OpenPane { pane: 1, .. })));
}

#[tokio::test(start_paused = true)]
async fn a_judge_that_has_nothing_to_say_is_not_lost_when_its_lane_gets_old_again_and_again() {
    let judges = Arc::new(Scripted::default());
    let mut lanes = lanes(&judges, LaneConfig { age_max_ms: 60_000, ..CONFIG }).await.unwrap();
    lanes.push(QUALITY, LaneDown::OpenPane { pane: 1, key: "".into(), labels_only: false });
    let since = Instant::now();
    while judges.ends.lock().unwrap().len() < 5 {
        let told = tokio::time::timeout(Duration::from_secs(1), lanes.next()).await;
        assert!(told.is_err(), "{told:?}");
        assert!(since.elapsed() < Duration::from_secs(400), "not opened again");
    }
    // The last one breaks, hours later and for a moment: still nothing is given up.
    tokio::time::sleep(Duration::from_secs(50)).await;
    judges.ends.lock().unwrap().pop();
    while judges.ends.lock().unwrap().len() < 5 {
        let told = tokio::time::timeout(Duration::from_secs(1), lanes.next()).await;
        assert!(told.is_err(), "{told:?}");
    }
    let _sends = tokio::time::timeout(Duration::from_secs(1), lanes.next()).await;
    let mut ends = judges.ends.lock().unwrap();
    assert!(matches!(ends[4].0.try_recv(), Ok(LaneDown::Open(_))));
    assert!(matches!(ends[4].0.try_recv(), Ok(LaneDown::OpenPane { pane: 1, .. })), "all is told again");
}

#[tokio::test(start_paused = true)]
async fn judges_that_say_nothing_are_let_go_and_then_given_up() {
    let judges = Arc::new(Scripted::default());
    let mut lanes = lanes(&judges, CONFIG).await.unwrap();
    let schema = open()[0].1.schema.clone();
    for seq in 1..=10 {
        let mut builder = BatchBuilder::new(Arc::clone(&schema));
        builder.push(&[Cell::Number(1.0)]).unwrap();
        let batch = builder.finish().unwrap();
        lanes.push(
            QUALITY,
            LaneDown::Rows {
                seq,
                batch,
                runs: vec![(1, 1)],
                again: false,
                partition: "".into(),
                retracts: false,
            },
        );
    }
    let since = Instant::now();
    let lost = loop {
        lanes.let_go_of_silent();
        if let Ok(event) = tokio::time::timeout(Duration::from_secs(1), lanes.next()).await {
            break event;
        }
        assert!(since.elapsed() < Duration::from_secs(30), "the stream is held for ever");
    };
    assert!(matches!(lost, Event::Lost(QUALITY, _)), "{lost:?}");
    assert!(lanes.ready(), "the stream goes on");
    assert_eq!(judges.attempts.load(Ordering::Relaxed), 2, "another had its time too");
    let waited = since.elapsed();
    assert!((Duration::from_secs(20)..Duration::from_secs(24)).contains(&waited), "{waited:?}");
    assert!(matches!(lanes.next().await, Event::Back(QUALITY)));
    assert!(since.elapsed() - waited >= Duration::from_secs(60), "and it is asked again later");
}
