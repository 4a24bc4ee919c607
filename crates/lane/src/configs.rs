//! What a lane's judge is told by content: several named configs, asked for by digest. It must not know their kinds.

use std::collections::BTreeMap;

use acgs_vocabulary::constitution::sha256;
use bytes::Bytes;

use crate::message::ConfigDigest;

/// Named configs of one lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneConfigs(BTreeMap<String, (ConfigDigest, Bytes)>);

impl LaneConfigs {
    /// Adds one, or replaces the one of that name.
    #[must_use]
    pub fn with(mut self, kind: impl Into<String>, content: Bytes) -> Self {
        self.0.insert(kind.into(), (sha256(&content), content));
        self
    }

    /// Names and digests, as `Open` says them.
    #[must_use]
    pub fn references(&self) -> Vec<(String, ConfigDigest)> {
        self.0.iter().map(|(kind, (digest, _))| (kind.clone(), *digest)).collect()
    }

    /// The bytes behind a digest that a judge asks for.
    #[must_use]
    pub fn content(&self, digest: &ConfigDigest) -> Option<Bytes> {
        self.0.values().find(|(known, _)| known == digest).map(|(_, content)| content.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_digest_and_two_may_have_one_content() {
        let configs = LaneConfigs::default()
            .with("reference", Bytes::from_static(b"r"))
            .with("suite", Bytes::from_static(b"s"))
            .with("again", Bytes::from_static(b"r"));
        let references = configs.references();
        assert_eq!(references.len(), 3);
        for (kind, digest) in &references {
            let expected: &[u8] = if kind == "suite" { b"s" } else { b"r" };
            assert_eq!(configs.content(digest).unwrap(), expected);
        }
        assert_eq!(configs.content(&[0; 32]), None);
    }
}
