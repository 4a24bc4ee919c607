//! The embedded home passes the suite, and keeps what it acknowledged over a restart.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use acgs_vocabulary::ports::{Chunk, EventLog, KeyValue, Ledger, RecordLog};

use super::*;
use crate::conformance::{self, envelope};

const KEPT: RecordsKept = RecordsKept { age: Duration::from_secs(3_600), bytes: 1 << 30 };

/// Wall time and steady time, both in milliseconds.
#[derive(Debug)]
struct At(AtomicI64, AtomicI64);

impl At {
    fn new(wall_ms: i64) -> Self {
        Self(wall_ms.into(), 0.into())
    }

    fn pass(&self, span_ms: i64) {
        self.0.fetch_add(span_ms, Ordering::Relaxed);
        self.1.fetch_add(span_ms, Ordering::Relaxed);
    }
}

impl Clock for At {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic_us(&self) -> u64 {
        self.1.load(Ordering::Relaxed) as u64 * 1_000
    }
}

pub(crate) fn options(folder: &Path, events_max: u64) -> Options {
    Options {
        folder: folder.into(),
        durability: Durability::Always,
        events_max,
        free_bytes_min: 0,
        records: KEPT,
        clock: Arc::new(At::new(1_000)),
    }
}

fn open(folder: &Path, events_max: u64) -> Embedded {
    Embedded::open(options(folder, events_max)).unwrap()
}

#[tokio::test]
async fn passes_the_suite() {
    let folder = tempfile::tempdir().unwrap();
    let home = Arc::new(open(folder.path(), 100_000));
    conformance::events(home.clone()).await;
    conformance::keys(home.clone()).await;
    conformance::blobs(home.clone()).await;
    conformance::ledger(home.clone()).await;
    conformance::records(home).await;
}

#[tokio::test]
async fn keeps_what_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let (sequence, revision) = {
        let home = open(folder.path(), 100_000);
        let appended = home.append(envelope("a", "acgs.x"), None).await.unwrap();
        let revision = home.put("k", b"v".to_vec(), None).await.unwrap();
        home.delete("k", None).await.unwrap();
        home.enter(0, b"entry".to_vec()).await.unwrap();
        home.record("t", chunk(10)).await.unwrap();
        (appended.sequence, revision)
    };
    // The writer of the closed home may still be letting go of the folder.
    let home = loop {
        match Embedded::open(options(folder.path(), 100)) {
            Ok(home) => break home,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(home.last().await.unwrap(), sequence);
    assert_eq!(home.enter(1, vec![]).await, Ok(2), "the ledger goes on");
    assert_eq!(home.record("t", chunk(10)).await, Ok(2), "and so do records");
    let again = home.append(envelope("a", "acgs.x"), None).await.unwrap();
    assert!(again.duplicate, "the id is known after a restart");
    assert!(
        home.put("k", vec![], None).await.unwrap() > revision,
        "revisions of deleted keys do not come back"
    );
    let next = home.append(envelope("b", "acgs.x"), Some(sequence)).await.unwrap();
    let read = home.read(sequence, 10).await.unwrap();
    assert_eq!(read[0].sequence, next.sequence);
    assert!(read[0].envelope.previous_digest.is_some(), "the chain goes on");
}

#[tokio::test]
async fn old_events_are_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let home = open(folder.path(), 10);
    for number in 0..1_200 {
        home.append(envelope(&number.to_string(), "acgs.x"), None).await.unwrap();
    }
    let kept = home.read(0, 1_000).await.unwrap();
    assert!(kept.len() < 1_100 && kept[0].sequence > 1, "{}", kept.len());
    assert_eq!(home.last().await.unwrap(), 1_200);
    assert!(!home.append(envelope("0", "acgs.x"), None).await.unwrap().duplicate, "its id went with it");
}

fn chunk(bytes: usize) -> Chunk {
    Chunk { sequence: 0, from_ms: 0, until_ms: 1, content: vec![7; bytes].into() }
}

#[tokio::test]
async fn the_oldest_records_are_given_up_when_there_are_too_many_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let records = RecordsKept { bytes: 100_000, ..KEPT };
    let home = Embedded::open(Options { records, ..options(folder.path(), 10) }).unwrap();
    for _ in 0..200 {
        home.record("t", chunk(1_000)).await.unwrap();
    }
    // The writer prunes after it has answered: the next write is decided after that.
    home.record("other", chunk(1)).await.unwrap();
    let kept = home.chunks("t", 0, 1_000).await.unwrap();
    assert!((90..=99).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept.last().unwrap().sequence, 200);
}

#[tokio::test]
async fn one_topic_takes_no_place_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let records = RecordsKept { bytes: 100_000, ..KEPT };
    let home = Embedded::open(Options { records, ..options(folder.path(), 10) }).unwrap();
    for _ in 0..20 {
        home.record("small", chunk(1_000)).await.unwrap();
    }
    for _ in 0..500 {
        home.record("large", chunk(1_000)).await.unwrap();
    }
    home.record("other", chunk(1)).await.unwrap();
    let kept = async |topic: &str| home.chunks(topic, 0, 1_000).await.unwrap().len();
    assert_eq!(kept("small").await, 20, "it has less than its part");
    assert!((70..=80).contains(&kept("large").await), "{}", kept("large").await);
    assert_eq!(home.chunks("large", 0, 1_000).await.unwrap().last().unwrap().sequence, 520);
}

#[tokio::test]
async fn a_clock_that_jumps_gives_no_records_up() {
    const YEAR_MS: i64 = 365 * 86_400_000;
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(At::new(YEAR_MS));
    let options = Options { clock: Arc::<At>::clone(&clock), ..options(folder.path(), 10) };
    let opened = || open_when_free(&options).unwrap();
    let mut home = opened();
    home.record("t", chunk(10)).await.unwrap();
    for jump_ms in [2 * YEAR_MS, -3 * YEAR_MS, YEAR_MS] {
        clock.0.fetch_add(jump_ms, Ordering::Relaxed);
        clock.pass(1_000);
        // The second is written after the first was looked at.
        home.record("other", chunk(1)).await.unwrap();
        home.record("other", chunk(1)).await.unwrap();
        assert_eq!(home.chunks("t", 0, 1).await.unwrap().len(), 1, "after {jump_ms}");
        drop(home);
        home = opened();
    }
    // What is an hour old is given up, also when the store was closed meanwhile.
    drop(home);
    clock.pass(3_700_000);
    home = opened();
    clock.pass(200_000);
    while !home.chunks("t", 0, 1).await.unwrap().is_empty() {
        home.record("other", chunk(1)).await.unwrap();
    }
}

/// Opens a store whose writer may still be letting go of it.
fn open_again(folder: &Path) -> Result<Embedded, PortError> {
    open_when_free(&options(folder, 100_000))
}

fn open_when_free(options: &Options) -> Result<Embedded, PortError> {
    loop {
        match Embedded::open(options.clone()) {
            Err(PortError::Unavailable(_)) => std::thread::sleep(Duration::from_millis(1)),
            opened => return opened,
        }
    }
}

async fn written(folder: &Path) {
    let home = open(folder, 100_000);
    for number in 0..300_u64 {
        home.append(envelope(&number.to_string(), "acgs.x"), None).await.unwrap();
        home.enter(number, b"entry".to_vec()).await.unwrap();
    }
}

fn journals(folder: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|kind| kind == "jnl")).collect()
}

type Harm = fn(&Path);

#[tokio::test]
async fn a_store_that_has_lost_something_is_refused_by_name() {
    let harms: [(&str, Harm); 4] = [
        ("gone", |journal| std::fs::remove_file(journal).unwrap()),
        ("empty", |journal| std::fs::write(journal, []).unwrap()),
        ("cut", |journal| {
            let bytes = std::fs::read(journal).unwrap();
            std::fs::write(journal, &bytes[..bytes.len() / 20]).unwrap();
        }),
        ("changed", |journal| {
            let mut bytes = std::fs::read(journal).unwrap();
            // Within what was written: the file is longer than that.
            let middle = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 2;
            bytes[middle..middle + 64].fill(0xff);
            std::fs::write(journal, bytes).unwrap();
        }),
    ];
    for (what, harm) in harms {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path()).await;
        drop(open_again(folder.path()).unwrap());
        // Its thread has ended when the folder can be opened once more.
        drop(open_again(folder.path()).unwrap());
        std::thread::sleep(Duration::from_millis(50));
        journals(folder.path()).iter().for_each(|journal| harm(journal));
        let refused = open_again(folder.path());
        let Err(PortError::Damaged(told)) = refused else { panic!("{what}: {refused:?}") };
        assert!(
            told.contains(&folder.path().display().to_string()) || told.contains("home.folder"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn below_the_floor_nothing_is_written_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let home = Embedded::open(Options { free_bytes_min: 1 << 60, ..options(folder.path(), 10) }).unwrap();
    let refused = home.append(envelope("a", "acgs.x"), None).await;
    assert!(
        matches!(&refused, Err(PortError::Full(told)) if told.contains("home.free_bytes_min")),
        "{refused:?}"
    );
    assert!(matches!(home.probe().await, Err(PortError::Full(_))));
    assert_eq!(home.state(), HomeState::Well, "it is not broken");
    assert!(home.read(0, 10).await.unwrap().is_empty());
    drop(home);
    let home = open_again(folder.path()).unwrap();
    assert_eq!(home.append(envelope("a", "acgs.x"), None).await.unwrap().sequence, 1);
}
