//! How a lane begins at the judge: what it is told at once, and what it asks for by digest. It must not know panes.

use std::collections::BTreeSet;

use acgs_vocabulary::{Problem, constitution::sha256, names, problem::Kind};
use bytes::Bytes;

use crate::message::{ConfigDigest, Open};

/// Most configs of one lane.
const CONFIGS_MAX: usize = 16;

/// A lane whose configs are not all here yet.
#[derive(Debug)]
pub(crate) struct Opening {
    open: Open,
    found: Vec<(ConfigDigest, Bytes)>,
}

impl Opening {
    /// Checks the first message of a lane.
    ///
    /// # Errors
    /// `SLOT` or `TOO_MANY`.
    pub(crate) fn begin(open: Open) -> Result<Self, Problem> {
        names::check("open.stream_id", &open.stream_id, 1)?;
        if open.slot != 0 {
            let message = format!("slot {} is not served: this version has slot 0 only", open.slot);
            return Err(Problem::new(Kind::Unimplemented, "SLOT", message));
        }
        if open.configs.len() > CONFIGS_MAX {
            return Err(Problem::field("open.configs", "TOO_MANY", format!("at most {CONFIGS_MAX}")));
        }
        Ok(Self { open, found: Vec::new() })
    }

    /// What has to be asked for, each once.
    pub(crate) fn needs(&self) -> BTreeSet<ConfigDigest> {
        self.open.configs.iter().map(|(_, digest)| *digest).collect()
    }

    /// Takes a config.
    ///
    /// # Errors
    /// `BAD_DIGEST` when it is not what its digest says, or was not asked for.
    pub(crate) fn config(&mut self, digest: ConfigDigest, content: Bytes) -> Result<(), Problem> {
        if sha256(&content) != digest {
            return Err(Problem::field("config.digest", "BAD_DIGEST", "is not the SHA-256 of the content"));
        }
        if !self.open.configs.iter().any(|(_, wanted)| *wanted == digest) {
            return Err(Problem::field("config.digest", "BAD_DIGEST", "was not asked for"));
        }
        if self.content(&digest).is_none() {
            self.found.push((digest, content));
        }
        Ok(())
    }

    fn content(&self, digest: &ConfigDigest) -> Option<&Bytes> {
        self.found.iter().find(|(known, _)| known == digest).map(|(_, content)| content)
    }

    /// Whether everything that was asked for is here.
    pub(crate) fn is_complete(&self) -> bool {
        self.open.configs.iter().all(|(_, digest)| self.content(digest).is_some())
    }

    /// What the lane is, with its configs by name.
    pub(crate) fn finish(self) -> (Open, Vec<(String, Bytes)>) {
        let of = |(kind, digest): &(String, ConfigDigest)| {
            (kind.clone(), self.content(digest).cloned().unwrap_or_default())
        };
        let configs = self.open.configs.iter().map(of).collect();
        (self.open, configs)
    }
}
