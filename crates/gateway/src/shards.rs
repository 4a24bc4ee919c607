//! Threads that carry calls, each with a runtime of its own: a call's connections to both sides are on one thread, so that
//! nothing is handed from core to core on its way. It must not know what a call is.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// The threads. They end when this is dropped, and what runs on them with them.
#[derive(Debug)]
pub struct Shards {
    handles: Vec<Handle>,
    next: AtomicUsize,
    threads: Vec<(Option<oneshot::Sender<()>>, JoinHandle<()>)>,
}

impl Shards {
    /// So many threads; 0 is one for each core.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(threads: usize) -> io::Result<Arc<Self>> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let count = if threads == 0 { cores } else { threads };
        let mut this = Self { handles: Vec::new(), next: AtomicUsize::new(0), threads: Vec::new() };
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            this.handles.push(runtime.handle().clone());
            let (stop, stopped) = oneshot::channel();
            let thread = std::thread::Builder::new().name(format!("gateway-{number}")).spawn(move || {
                let _dropped_means_the_same = runtime.block_on(stopped);
                runtime.shutdown_background();
            })?;
            this.threads.push((Some(stop), thread));
        }
        Ok(Arc::new(this))
    }

    /// Their runtimes.
    #[must_use]
    pub fn handles(&self) -> &[Handle] {
        &self.handles
    }

    /// One after the other.
    #[must_use]
    pub fn next(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed) % self.handles.len()
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        for (stop, _) in &mut self.threads {
            stop.take();
        }
        for (_, thread) in self.threads.drain(..) {
            // A thread does not wait for itself.
            if thread.thread().id() != std::thread::current().id() {
                let _a_panic_was_told = thread.join();
            }
        }
    }
}
