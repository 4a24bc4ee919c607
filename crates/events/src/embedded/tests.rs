//! The embedded home passes the suite, and keeps what it acknowledged over a restart.

use acgs_vocabulary::ports::{EventLog, KeyValue};

use super::*;
use crate::conformance::{self, envelope};

fn open(folder: &Path, events_max: u64) -> Embedded {
    Embedded::open(Options { folder: folder.into(), durability: Durability::Always, events_max }).unwrap()
}

#[tokio::test]
async fn passes_the_suite() {
    let folder = tempfile::tempdir().unwrap();
    let home = Arc::new(open(folder.path(), 100_000));
    conformance::events(home.clone()).await;
    conformance::keys(home.clone()).await;
    conformance::blobs(home).await;
}

#[tokio::test]
async fn keeps_what_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let (sequence, revision) = {
        let home = open(folder.path(), 100_000);
        let appended = home.append(envelope("a", "acgs.x"), None).await.unwrap();
        let revision = home.put("k", b"v".to_vec(), None).await.unwrap();
        home.delete("k", None).await.unwrap();
        (appended.sequence, revision)
    };
    // The writer of the closed home may still be letting go of the folder.
    let home = loop {
        let options =
            Options { folder: folder.path().into(), durability: Durability::Always, events_max: 100 };
        match Embedded::open(options) {
            Ok(home) => break home,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(home.last().await.unwrap(), sequence);
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
