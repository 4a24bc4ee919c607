//! How far something was read, kept in the key-value home; never back. It must not know what is read.

use std::sync::Arc;

use acgs_vocabulary::ports::{KeyValue, PortError};

/// A place in a log, by name.
#[derive(Clone, Debug)]
pub(super) struct Position {
    keys: Arc<dyn KeyValue>,
    name: &'static str,
}

impl Position {
    /// Under this key.
    pub(super) fn new(keys: Arc<dyn KeyValue>, name: &'static str) -> Self {
        Self { keys, name }
    }

    async fn held(&self) -> Result<(u64, Option<u64>), PortError> {
        let Some(held) = self.keys.get(self.name).await? else { return Ok((0, None)) };
        let place = std::str::from_utf8(&held.value).ok().and_then(|text| text.parse().ok());
        Ok((held.revision, place))
    }

    /// Where it is; `None` when nothing was read yet.
    pub(super) async fn read(&self) -> Result<Option<u64>, PortError> {
        Ok(self.held().await?.1)
    }

    /// Moves it on; false when that could not be written, and it is tried again later.
    pub(super) async fn write(&self, place: u64) -> bool {
        match self.held().await {
            Ok((_, Some(known))) if known >= place => true,
            Ok((revision, _)) => {
                self.keys.put(self.name, place.to_string().into_bytes(), Some(revision)).await.is_ok()
            }
            Err(_) => false,
        }
    }
}
