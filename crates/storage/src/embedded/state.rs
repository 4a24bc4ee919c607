//! Keys and blobs of the embedded home.

use acgs_vocabulary::ports::{Blobs, KeyValue, PortError, Versioned};
use async_trait::async_trait;
use tokio::sync::{broadcast::error::RecvError, mpsc};

use super::{Embedded, job::Job, trouble, writer::decode};
use crate::{
    blob_quota::BlobBytes,
    bounds::{BLOB_BYTES_MAX, VALUE_BYTES_MAX, check_key, check_size},
};

/// Changes that wait for a watcher.
const WATCHER_QUEUE: usize = 64;

impl Embedded {
    fn held(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, PortError> {
        let mut found = Vec::new();
        for held in self.parts()?.keys.prefix(prefix.as_bytes()) {
            let (key, value) = held.into_inner().map_err(trouble)?;
            if let Some(held) = decode(&value) {
                found.push((String::from_utf8_lossy(&key).into_owned(), held));
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl KeyValue for Embedded {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, PortError> {
        check_key(key)?;
        Ok(self.parts()?.keys.get(key.as_bytes()).map_err(trouble)?.and_then(|held| decode(&held)))
    }

    async fn put(&self, key: &str, value: Vec<u8>, expected: Option<u64>) -> Result<u64, PortError> {
        check_key(key)?;
        check_size("a value", value.len(), VALUE_BYTES_MAX)?;
        self.write(|reply| Job::Put { key: key.to_owned(), value, expected, reply }).await
    }

    async fn delete(&self, key: &str, expected: Option<u64>) -> Result<(), PortError> {
        check_key(key)?;
        self.write(|reply| Job::Delete { key: key.to_owned(), expected, reply }).await
    }

    async fn list(&self, prefix: &str, after: &str, count: usize) -> Result<Vec<String>, PortError> {
        let mut found = Vec::new();
        for held in self.parts()?.keys.prefix(prefix.as_bytes()) {
            let key = String::from_utf8_lossy(&held.key().map_err(trouble)?).into_owned();
            if key.as_str() > after {
                found.push(key);
            }
            if found.len() >= count {
                break;
            }
        }
        Ok(found)
    }

    async fn watch(&self, prefix: &str) -> Result<mpsc::Receiver<(String, Option<Versioned>)>, PortError> {
        let mut changes = self.changes.subscribe();
        let (out, watcher) = mpsc::channel(WATCHER_QUEUE);
        let (home, prefix) = (self.clone(), prefix.to_owned());
        tokio::spawn(async move {
            loop {
                match changes.recv().await {
                    Ok((key, held)) if key.starts_with(&prefix) => {
                        if out.send((key, held)).await.is_err() {
                            return;
                        }
                    }
                    Ok(_) => {}
                    // Too far behind: what is there now stands for the changes that were missed.
                    Err(RecvError::Lagged(_)) => {
                        for (key, held) in home.held(&prefix).unwrap_or_default() {
                            if out.send((key, Some(held))).await.is_err() {
                                return;
                            }
                        }
                    }
                    Err(RecvError::Closed) => return,
                }
            }
        });
        Ok(watcher)
    }
}

#[async_trait]
impl Blobs for Embedded {
    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), PortError> {
        check_key(name)?;
        check_size("a blob", bytes.len(), BLOB_BYTES_MAX)?;
        if let Some(held) = self.parts()?.blobs.get(name.as_bytes()).map_err(trouble)? {
            return if held[..] == bytes[..] {
                Ok(())
            } else {
                Err(PortError::Invalid(format!("blob {name} is there with other bytes; blobs do not change")))
            };
        }
        self.write(|reply| Job::PutBlob { name: name.to_owned(), bytes, reply }).await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, PortError> {
        check_key(name)?;
        Ok(self.parts()?.blobs.get(name.as_bytes()).map_err(trouble)?.map(|held| held.to_vec()))
    }

    async fn delete(&self, name: &str) -> Result<(), PortError> {
        check_key(name)?;
        self.write(|reply| Job::DeleteBlob { name: name.to_owned(), reply }).await
    }

    async fn list(&self, prefix: &str, after: &str, count: usize) -> Result<Vec<String>, PortError> {
        let from = std::cmp::max(prefix, after);
        let mut names = Vec::new();
        for held in self.parts()?.blobs.range(from.as_bytes().to_vec()..) {
            let key = held.key().map_err(trouble)?;
            let Ok(name) = std::str::from_utf8(&key) else { continue };
            if !name.starts_with(prefix) || names.len() >= count {
                break;
            }
            if name > after {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }
}

#[async_trait]
impl BlobBytes for Embedded {
    /// Reads all of them.
    async fn blob_bytes(&self) -> Result<u64, PortError> {
        let blobs = self.parts()?.blobs.clone();
        let counting = move || blobs.iter().map(|held| held.size().map(u64::from)).sum::<Result<u64, _>>();
        tokio::task::spawn_blocking(counting)
            .await
            .map_err(|error| PortError::Unavailable(format!("blobs could not be counted: {error}")))?
            .map_err(trouble)
    }
}
