//! What every home takes: the form of keys, the sizes of values and blobs. It must not know any home.

use acgs_vocabulary::ports::PortError;

/// Longest key, in bytes.
pub(crate) const KEY_BYTES_MAX: usize = 256;
/// Largest value of a key, in bytes.
pub(crate) const VALUE_BYTES_MAX: usize = 512 * 1024;
/// Largest blob, in bytes.
pub(crate) const BLOB_BYTES_MAX: usize = 64 << 20;

/// A key that every home can hold.
pub(crate) fn check_key(key: &str) -> Result<(), PortError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./=".contains(&byte);
    if (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(plain) {
        return Ok(());
    }
    let shown: String = key.chars().take(64).collect();
    Err(PortError::Invalid(format!(
        "{shown:?} is not a key: 1 to {KEY_BYTES_MAX} of letters, digits, `_-./=`"
    )))
}

/// A topic of records: a key of one part.
pub(crate) fn check_topic(topic: &str) -> Result<(), PortError> {
    check_key(topic)?;
    if topic.contains(['/', '.']) {
        return Err(PortError::Invalid(format!("{topic:?} is not a topic: it has `/` or `.`")));
    }
    Ok(())
}

/// A size within its bound.
pub(crate) fn check_size(what: &str, bytes: usize, most: usize) -> Result<(), PortError> {
    if bytes <= most {
        Ok(())
    } else {
        Err(PortError::Invalid(format!("{what} has {bytes} bytes, at most {most}")))
    }
}
