//! Where references are kept: names and versions in the key-value home, the frozen bytes in the blob home.

use std::sync::Arc;

use acgs_columns::{Role, Schema};
use acgs_contracts::drift::v1 as proto;
use acgs_reference::{Reference, message, reference::is_judged};
use acgs_vocabulary::{
    Problem,
    constitution::{hex, sha256, sha256_hex},
    names,
    ports::{Blobs, KeyValue, PortError, ReferenceSource, StoredReference},
};
use async_trait::async_trait;
use bytes::Bytes;
use prost::Message;

/// Longest name and model, in bytes.
const NAME_BYTES_MAX: usize = 128;
const PAGE_DEFAULT: u32 = 100;
const PAGE_MAX: u32 = 1_000;
/// Others that may take the next version before this one gives up.
const PUT_ATTEMPTS: usize = 16;

/// The references of a home.
#[derive(Clone, Debug)]
pub struct ReferenceStore {
    keys: Arc<dyn KeyValue>,
    blobs: Arc<dyn Blobs>,
}

fn version_key(name: &str, version: u64) -> String {
    format!("reference/{name}/{version:010}")
}

fn model_key(model_id: &str) -> String {
    format!("model_reference/{}", sha256_hex(model_id.as_bytes()))
}

fn blob_name(digest: &[u8]) -> String {
    format!("reference-{}", hex(digest))
}

/// Whether a header can become a reference.
///
/// # Errors
/// `BAD_NAME` or `BAD_SCHEMA`, naming the field.
pub fn check_header(header: &proto::ReferenceHeader, schema: &Schema) -> Result<(), Problem> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if header.name.is_empty() || header.name.len() > NAME_BYTES_MAX || !header.name.bytes().all(plain) {
        let message = format!("is not 1 to {NAME_BYTES_MAX} of letters, digits, `_`, `-` and `.`");
        return Err(Problem::field("header.name", "BAD_NAME", message));
    }
    names::check("header.model_id", &header.model_id, 0)?;
    if header.window_ms < 0 {
        return Err(Problem::field("header.window_ms", "BAD_SCHEMA", "is negative"));
    }
    if header.window_ms > 0 && schema.index_of_role(Role::Timestamp).is_none() {
        let message = "spans need a field with the role TIMESTAMP";
        return Err(Problem::field("header.window_ms", "BAD_SCHEMA", message));
    }
    if !schema.fields().iter().any(is_judged) {
        let message = "has no field with the role FEATURE, SCORE or PREDICTION";
        return Err(Problem::field("header.schema", "BAD_SCHEMA", message));
    }
    Ok(())
}

impl ReferenceStore {
    /// In these homes.
    #[must_use]
    pub fn new(keys: Arc<dyn KeyValue>, blobs: Arc<dyn Blobs>) -> Self {
        Self { keys, blobs }
    }

    /// Stores under the next version of its name.
    ///
    /// # Errors
    /// The home's trouble.
    pub async fn put(&self, mut reference: Reference) -> Result<Reference, Problem> {
        for _ in 0..PUT_ATTEMPTS {
            reference.version = self.newest(&reference.name).await? + 1;
            let content = message::to_proto(&reference).encode_to_vec();
            // What cannot be read again, for infinite moments say, must not become a version.
            message::decode(&content)?;
            let digest = sha256(&content);
            // The bytes first: a version that can be seen can be read.
            self.blobs.put(&blob_name(&digest), content).await?;
            let summary = proto::ReferenceSummary {
                name: reference.name.clone(),
                version: reference.version,
                model_id: reference.model_id.clone(),
                row_count: reference.row_count,
                features: reference.features.iter().map(|feature| feature.field.name.clone()).collect(),
                created_ms: reference.created_ms,
            };
            let value = [&digest[..], &summary.encode_to_vec()].concat();
            let (version, model) =
                (version_key(&reference.name, reference.version), model_key(&reference.model_id));
            let name = reference.name.clone().into_bytes();
            let mut stored = self.keys.put(&version, value, Some(0)).await;
            if let Err(PortError::Conflict { .. }) = stored {
                continue;
            }
            if stored.is_ok() {
                stored = self.keys.put(&model, name, None).await;
                if let Err(PortError::Full(_)) = stored {
                    // A version that its caller is not told of would be stored again with each attempt.
                    self.keys.delete(&version, None).await?;
                }
            }
            if let Err(PortError::Full(_)) = stored {
                // Nothing refers to the bytes: they hold name and version.
                self.blobs.delete(&blob_name(&digest)).await?;
            }
            stored?;
            return Ok(reference);
        }
        Err(Problem::exhausted("CONFLICT", "others keep storing versions of this name", 100))
    }

    /// A reference, decoded.
    ///
    /// # Errors
    /// `UNKNOWN_REFERENCE`, or the home's trouble.
    pub async fn load(&self, name: &str, version: u64, model_id: &str) -> Result<Reference, Problem> {
        message::decode(&self.find(name, version, model_id).await?.content)
    }

    /// A page of references.
    ///
    /// # Errors
    /// `BAD_PAGE_TOKEN`, or the home's trouble.
    pub async fn list(
        &self,
        request: &proto::ListReferencesRequest,
    ) -> Result<proto::ListReferencesResponse, Problem> {
        let prefix = "reference/";
        if !request.page_token.is_empty() && !request.page_token.starts_with(prefix) {
            return Err(Problem::field("page_token", "BAD_PAGE_TOKEN", "is not one that this server gave"));
        }
        if request.page_size > PAGE_MAX {
            return Err(Problem::field("page_size", "BAD_PAGE_SIZE", format!("is above {PAGE_MAX}")));
        }
        let size = if request.page_size == 0 { PAGE_DEFAULT } else { request.page_size } as usize;
        let mut response = proto::ListReferencesResponse::default();
        let mut after = request.page_token.clone();
        loop {
            let keys = self.keys.list(prefix, &after, size).await?;
            for key in &keys {
                after.clone_from(key);
                let Some(held) = self.keys.get(key).await? else { continue };
                let summary = summary(&held.value)?.1;
                if request.model_id.is_empty() || summary.model_id == request.model_id {
                    response.references.push(summary);
                }
                if response.references.len() == size {
                    response.next_page_token = after;
                    return Ok(response);
                }
            }
            if keys.len() < size {
                return Ok(response);
            }
        }
    }

    /// Models that have a reference, by name, at most so many.
    ///
    /// # Errors
    /// The home's trouble.
    pub async fn models(&self, count: usize) -> Result<Vec<String>, Problem> {
        let mut models = std::collections::BTreeSet::new();
        let mut request = proto::ListReferencesRequest { page_size: PAGE_MAX, ..Default::default() };
        loop {
            let page = self.list(&request).await?;
            let named = page.references.into_iter().map(|reference| reference.model_id);
            models.extend(named.filter(|model| !model.is_empty()));
            if page.next_page_token.is_empty() || models.len() >= count {
                return Ok(models.into_iter().take(count).collect());
            }
            request.page_token = page.next_page_token;
        }
    }

    /// The home of its keys.
    #[must_use]
    pub fn keys(&self) -> Arc<dyn KeyValue> {
        Arc::clone(&self.keys)
    }

    async fn newest(&self, name: &str) -> Result<u64, Problem> {
        let prefix = format!("reference/{name}/");
        let (mut newest, mut after) = (0, String::new());
        loop {
            let keys = self.keys.list(&prefix, &after, PAGE_MAX as usize).await?;
            let Some(last) = keys.last() else { return Ok(newest) };
            newest = last.rsplit('/').next().and_then(|version| version.parse().ok()).unwrap_or(newest);
            after.clone_from(last);
        }
    }
}

fn summary(value: &[u8]) -> Result<([u8; 32], proto::ReferenceSummary), Problem> {
    let broken = || Problem::internal("a stored reference summary cannot be read");
    let (digest, rest) = value.split_first_chunk::<32>().ok_or_else(broken)?;
    Ok((*digest, proto::ReferenceSummary::decode(rest).map_err(|_| broken())?))
}

#[async_trait]
impl ReferenceSource for ReferenceStore {
    async fn find(&self, name: &str, version: u64, model_id: &str) -> Result<StoredReference, Problem> {
        let unknown = |name: &str| Problem::missing("reference", name, "UNKNOWN_REFERENCE");
        let name = if name.is_empty() {
            let own = self.keys.get(&model_key(model_id)).await?;
            let own = own.ok_or_else(|| unknown(&format!("of model {model_id}")))?;
            String::from_utf8_lossy(&own.value).into_owned()
        } else {
            name.to_owned()
        };
        let version = if version == 0 { self.newest(&name).await? } else { version };
        let key = version_key(&name, version);
        let held = match self.keys.get(&key).await {
            Ok(held) => held.ok_or_else(|| unknown(&name))?,
            // A name that no home takes is a name that was never stored.
            Err(PortError::Invalid(_)) => return Err(unknown(&name)),
            Err(error) => return Err(error.into()),
        };
        let (digest, _) = summary(&held.value)?;
        let content = self.blobs.get(&blob_name(&digest)).await?;
        let content = content.ok_or_else(|| Problem::internal(format!("the bytes of {key} are gone")))?;
        Ok(StoredReference { digest, content: Bytes::from(content) })
    }
}
