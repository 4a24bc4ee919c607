//! Encoded messages as gRPC frames them: five bytes of prefix, whether it is compressed and how long it is, and the message. It
//! must not know what is in one.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes before a message.
pub const PREFIX_BYTES: usize = 5;

/// A message as it goes on the wire, uncompressed; `None` when it is longer than the prefix can say.
#[must_use]
pub fn framed(message: &[u8]) -> Option<Bytes> {
    let length = u32::try_from(message.len()).ok()?;
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    frame.put_u8(0);
    frame.put_u32(length);
    frame.put_slice(message);
    Some(frame.freeze())
}

/// The message of a body that holds one; `None` when it is compressed or there is none.
#[must_use]
pub fn message(mut frame: Bytes) -> Option<Bytes> {
    if frame.len() < PREFIX_BYTES || frame[0] != 0 {
        return None;
    }
    frame.advance(PREFIX_BYTES);
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_framed_is_found_again() {
        for text in [&b""[..], b"x", &[7; 70_000]] {
            assert_eq!(message(framed(text).unwrap()).unwrap(), text);
        }
        assert_eq!(message(Bytes::from_static(&[0, 0, 0])), None);
        assert_eq!(message(Bytes::from_static(&[1, 0, 0, 0, 1, 9])), None, "compressed");
    }
}
