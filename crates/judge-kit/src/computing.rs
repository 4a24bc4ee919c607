//! Long computations on threads of their own, a few at a time, so that they do not hold up other calls. It must not know what is computed.

use std::sync::Arc;

use acgs_vocabulary::Problem;
use tokio::sync::Semaphore;

/// Long computations of one service at a time; others wait for their turn.
const COMPUTING_MAX: usize = 2;

/// Places for them. Clones share them.
#[derive(Clone, Debug)]
pub struct Computing(Arc<Semaphore>);

impl Default for Computing {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(COMPUTING_MAX)))
    }
}

impl Computing {
    /// Computes, when it is its turn.
    ///
    /// # Errors
    /// When the computation is lost.
    pub async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let lost =
            |error: &dyn std::fmt::Display| Problem::internal(format!("a computation was lost: {error}"));
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(|error| lost(&error))?;
        let done = tokio::task::spawn_blocking(move || {
            let _until_done = permit;
            work()
        });
        done.await.map_err(|error| lost(&error))
    }
}
