//! Blobs in a JetStream object store. It must not know what they hold.

use acgs_vocabulary::ports::{Blobs, PortError};
use async_nats::jetstream::object_store::{DeleteErrorKind, GetErrorKind, InfoErrorKind};
use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::io::AsyncReadExt;

use super::{JetStream, trouble};
use crate::{
    blob_quota::BlobBytes,
    bounds::{BLOB_BYTES_MAX, check_key, check_size},
};

#[async_trait]
impl Blobs for JetStream {
    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), PortError> {
        check_key(name)?;
        check_size("a blob", bytes.len(), BLOB_BYTES_MAX)?;
        self.reachable()?;
        match self.objects.info(name).await {
            Ok(info) if !info.deleted => {
                return if self.get(name).await?.is_some_and(|held| held == bytes) {
                    Ok(())
                } else {
                    let message = format!("blob {name} is there with other bytes; blobs do not change");
                    Err(PortError::Invalid(message))
                };
            }
            Ok(_) => {}
            Err(error) if error.kind() == InfoErrorKind::NotFound => {}
            Err(error) => return Err(trouble(error)),
        }
        self.objects.put(name, &mut bytes.as_slice()).await.map_err(trouble)?;
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, PortError> {
        check_key(name)?;
        self.reachable()?;
        let mut object = match self.objects.get(name).await {
            Ok(object) => object,
            Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(trouble(error)),
        };
        let mut bytes = Vec::with_capacity(object.info().size.min(BLOB_BYTES_MAX));
        object.read_to_end(&mut bytes).await.map_err(trouble)?;
        Ok(Some(bytes))
    }

    async fn delete(&self, name: &str) -> Result<(), PortError> {
        check_key(name)?;
        self.reachable()?;
        match self.objects.delete(name).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == DeleteErrorKind::NotFound => Ok(()),
            Err(error) => Err(trouble(error)),
        }
    }

    async fn list(&self, prefix: &str, after: &str, count: usize) -> Result<Vec<String>, PortError> {
        self.reachable()?;
        let mut objects = self.objects.list().await.map_err(trouble)?;
        let mut names = std::collections::BTreeSet::new();
        while let Some(object) = objects.next().await {
            let name = object.map_err(trouble)?.name;
            if name.starts_with(prefix) && *name > *after {
                names.insert(name);
                // The store tells them in no order: what is held is only as much as is asked for.
                if names.len() > count {
                    names.pop_last();
                }
            }
        }
        Ok(names.into_iter().collect())
    }
}

#[async_trait]
impl BlobBytes for JetStream {
    async fn blob_bytes(&self) -> Result<u64, PortError> {
        self.reachable()?;
        let mut objects = self.objects.list().await.map_err(trouble)?;
        let mut bytes = 0;
        while let Some(object) = objects.next().await {
            bytes += object.map_err(trouble)?.size as u64;
        }
        Ok(bytes)
    }
}
