//! A consumer goes on where it was, hears everything at least once, and begins where it is told.

use std::sync::Mutex;

use super::*;
use crate::{
    conformance::envelope,
    embedded::{Embedded, tests::options},
};

#[derive(Clone, Debug, Default)]
struct Heard(Arc<Mutex<Vec<u64>>>);

#[async_trait]
impl Handler<Logged> for Heard {
    async fn handle(&mut self, entry: Logged) {
        self.0.lock().unwrap().push(entry.sequence);
    }
}

fn consumer(home: &Arc<Embedded>, heard: &Heard, beginning: Beginning) -> Consumer<Events, Heard> {
    Consumer {
        source: Events { log: Arc::clone(home) as _, filter: "acgs.a.*".into() },
        position: Position { keys: Arc::clone(home) as _, name: "test/position", beginning },
        handler: heard.clone(),
    }
}

async fn until(heard: &Heard, count: usize) -> Vec<u64> {
    let all = async {
        loop {
            let now = heard.0.lock().unwrap().clone();
            if now.len() >= count {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.unwrap()
}

#[tokio::test]
async fn what_was_heard_is_not_heard_again_and_nothing_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let home = Arc::new(Embedded::open(options(folder.path(), 1_000)).unwrap());
    let append = |id: u64, subject: &'static str| {
        let home = Arc::clone(&home);
        async move { home.append(envelope(&id.to_string(), subject), None).await.unwrap() }
    };
    for id in 1..=3 {
        append(id, if id == 2 { "acgs.b.x" } else { "acgs.a.x" }).await;
    }
    // One that begins with what comes hears nothing of what was.
    let (late, stop) = (Heard::default(), CancellationToken::new());
    let task = tokio::spawn(consumer(&home, &late, Beginning::Next).run(stop.clone()));
    // It is there when it hears the first.
    let mut id = 100;
    while late.0.lock().unwrap().is_empty() {
        id += 1;
        append(id, "acgs.a.x").await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(late.0.lock().unwrap().iter().all(|sequence| *sequence > 3));
    let place = async {
        while consumer(&home, &late, Beginning::Next).position.held().await.unwrap().1.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), place).await.unwrap();
    stop.cancel();
    task.await.unwrap();
    let before = late.0.lock().unwrap().len();
    // What comes while nobody listens is heard by who comes back, which goes on where it was.
    for id in 1_001..=1_003 {
        append(id, "acgs.a.y").await;
    }
    let last = home.last().await.unwrap();
    let (again, stop) = (Heard::default(), CancellationToken::new());
    let task = tokio::spawn(consumer(&home, &again, Beginning::Oldest).run(stop.clone()));
    let heard = until(&again, 3).await;
    stop.cancel();
    task.await.unwrap();
    assert_eq!(heard[heard.len() - 3..], [last - 2, last - 1, last]);
    assert!(heard.len() <= before + 3 && heard[0] > 3, "{heard:?}: what was written down is not heard again");
    assert!(heard.is_sorted());
}
