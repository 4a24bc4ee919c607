//! Long computing off the threads that answer: as many at a time as there are cores, each on a thread that has given its seat in the
//! runtime to another. It must not know what is computed.

use std::{sync::LazyLock, thread};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Semaphore,
    task,
};

static TURNS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(thread::available_parallelism().map_or(1, usize::from)));

/// Does work when it is its turn, while others take over what else this thread had to do, and lets them go first afterwards. In a runtime of
/// one thread it is simply done.
pub async fn heavy<T>(work: impl FnOnce() -> T) -> T {
    let done = {
        // Never closed.
        let _turn = TURNS.acquire().await;
        match Handle::current().runtime_flavor() {
            RuntimeFlavor::MultiThread => task::block_in_place(work),
            _ => work(),
        }
    };
    task::yield_now().await;
    done
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        time::Duration,
    };

    use super::*;

    /// With one thread that computes, the other tasks of the runtime go on.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn others_go_on_meanwhile() {
        static SEEN: AtomicBool = AtomicBool::new(false);
        let other = tokio::spawn(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            SEEN.store(true, Ordering::Release);
        });
        let work = tokio::spawn(heavy(|| {
            while !SEEN.load(Ordering::Acquire) {
                thread::sleep(Duration::from_millis(1));
            }
        }));
        work.await.unwrap();
        other.await.unwrap();
    }

    #[tokio::test]
    async fn a_runtime_of_one_thread_does_it_itself() {
        assert_eq!(heavy(|| 7).await, 7);
    }
}
