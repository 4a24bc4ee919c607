//! How many bytes of blobs there may be, so that no caller fills the home with files. It must not know what blobs hold.

use std::{sync::Arc, time::Duration};

use acgs_vocabulary::ports::{Blobs, PortError};
use async_trait::async_trait;
use tokio::{sync::Mutex, time::Instant};

/// A home that is full is counted anew this often, since other processes write and delete too.
const COUNT_EVERY: Duration = Duration::from_secs(10);
/// One that is not, this often.
const COUNT_ANEW: Duration = Duration::from_secs(600);

/// A home that can say how much its blobs are.
#[async_trait]
pub trait BlobBytes: Blobs {
    /// Bytes of all blobs.
    ///
    /// # Errors
    /// As any reading.
    async fn blob_bytes(&self) -> Result<u64, PortError>;
}

/// Bytes as they are known.
#[derive(Debug)]
struct Known {
    bytes: u64,
    counted: Instant,
}

/// Blobs with a bound on the bytes of all of them.
#[derive(Debug)]
pub struct BlobQuota {
    blobs: Arc<dyn BlobBytes>,
    bytes_max: u64,
    /// `None` before the first is written.
    known: Mutex<Option<Known>>,
}

impl BlobQuota {
    /// Over a home.
    #[must_use]
    pub fn new(blobs: Arc<dyn BlobBytes>, bytes_max: u64) -> Self {
        Self { blobs, bytes_max, known: Mutex::default() }
    }

    /// Takes room for so many bytes.
    async fn take(&self, bytes: u64) -> Result<(), PortError> {
        let mut known = self.known.lock().await;
        let fits = |held: u64| held.saturating_add(bytes) <= self.bytes_max;
        let age = known.as_ref().map(|known| known.counted.elapsed());
        let is_full = known.as_ref().is_some_and(|known| !fits(known.bytes));
        if age.is_none_or(|age| age >= if is_full { COUNT_EVERY } else { COUNT_ANEW }) {
            *known = Some(Known { bytes: self.blobs.blob_bytes().await?, counted: Instant::now() });
        }
        let Some(known) = known.as_mut().filter(|known| fits(known.bytes)) else {
            let bytes_max = self.bytes_max;
            return Err(PortError::Full(format!(
                "files of at most {bytes_max} bytes are kept (home.blobs_bytes_max)"
            )));
        };
        known.bytes += bytes;
        Ok(())
    }
}

#[async_trait]
impl Blobs for BlobQuota {
    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), PortError> {
        let size = bytes.len() as u64;
        if let Err(full) = self.take(size).await {
            // One that is there has its place.
            return if self.blobs.get(name).await?.is_some_and(|held| held == bytes) {
                Ok(())
            } else {
                Err(full)
            };
        }
        let put = self.blobs.put(name, bytes).await;
        if put.is_err()
            && let Some(known) = self.known.lock().await.as_mut()
        {
            known.bytes = known.bytes.saturating_sub(size);
        }
        put
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, PortError> {
        self.blobs.get(name).await
    }

    async fn delete(&self, name: &str) -> Result<(), PortError> {
        self.blobs.delete(name).await
    }

    async fn list(&self, prefix: &str, after: &str, count: usize) -> Result<Vec<String>, PortError> {
        self.blobs.list(prefix, after, count).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Embedded, embedded::tests::options};

    #[tokio::test(start_paused = true)]
    async fn a_home_that_is_full_takes_no_new_file_and_keeps_those_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let home = Arc::new(Embedded::open(options(folder.path(), 10)).unwrap());
        // Another process has written one.
        home.put("a", vec![0; 400]).await.unwrap();
        let blobs = BlobQuota::new(home.clone(), 1_000);
        blobs.put("b", vec![1; 600]).await.unwrap();
        let full = Err(PortError::Full("files of at most 1000 bytes are kept (home.blobs_bytes_max)".into()));
        assert_eq!(blobs.put("c", vec![2]).await, full);
        assert_eq!(blobs.put("b", vec![1; 600]).await, Ok(()), "it is there");
        blobs.delete("a").await.unwrap();
        assert_eq!(blobs.put("c", vec![2; 400]).await, full, "nobody is asked for each refusal");
        tokio::time::advance(COUNT_EVERY).await;
        blobs.put("c", vec![2; 400]).await.unwrap();
        assert_eq!(blobs.put("d", vec![2]).await, full);
        assert_eq!(home.blob_bytes().await, Ok(1_000));
    }
}
