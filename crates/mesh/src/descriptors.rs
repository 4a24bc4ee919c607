//! The contract's descriptors, read once: they are megabytes, and each port and each count asks for them. It must not know who
//! asks.

use std::sync::OnceLock;

use acgs_contracts::DESCRIPTORS;
use prost_reflect::{DescriptorError, DescriptorPool};

static POOL: OnceLock<DescriptorPool> = OnceLock::new();

/// All of them; clones share what they are.
///
/// # Errors
/// When they cannot be read.
pub fn pool() -> Result<DescriptorPool, DescriptorError> {
    if let Some(pool) = POOL.get() {
        return Ok(pool.clone());
    }
    let pool = DescriptorPool::decode(DESCRIPTORS)?;
    Ok(POOL.get_or_init(|| pool).clone())
}
