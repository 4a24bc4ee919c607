//! Encoded messages as gRPC frames them: five bytes of prefix, whether it is compressed and how long it is, and the message. It
//! must not know what is in one.

use std::io::Read;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::read::{GzDecoder, ZlibDecoder};

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
pub fn message(frame: Bytes) -> Option<Bytes> {
    unpacked(frame, None, 0).ok()
}

/// Why a body holds no message that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoMessage {
    /// It has none.
    #[error("there is no message")]
    Missing,
    /// It is compressed in a way that is not read.
    #[error("it is compressed, and not by gzip or deflate")]
    Encoding,
    /// It is larger than was asked for once it is unpacked, or breaks off.
    #[error("it cannot be unpacked within the bound")]
    TooLarge,
}

/// The message of a body that holds one, unpacked when it says so; `encoding` is that of the call (`grpc-encoding`).
///
/// # Errors
/// [`NoMessage`]; what is unpacked has at most `bytes_max` bytes.
pub fn unpacked(mut frame: Bytes, encoding: Option<&str>, bytes_max: usize) -> Result<Bytes, NoMessage> {
    if frame.len() < PREFIX_BYTES {
        return Err(NoMessage::Missing);
    }
    let flag = frame[0];
    frame.advance(PREFIX_BYTES);
    if flag == 0 {
        return Ok(frame);
    }
    let most = bytes_max as u64 + 1;
    let mut found = Vec::new();
    let read = match encoding {
        Some("gzip") => GzDecoder::new(&frame[..]).take(most).read_to_end(&mut found),
        Some("deflate") => ZlibDecoder::new(&frame[..]).take(most).read_to_end(&mut found),
        _ => return Err(NoMessage::Encoding),
    };
    match read {
        Ok(_) if found.len() <= bytes_max => Ok(found.into()),
        Ok(_) | Err(_) => Err(NoMessage::TooLarge),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_framed_is_found_again() {
        for text in [&b""[..], b"x", &[7; 70_000]] {
            assert_eq!(message(framed(text).unwrap()).unwrap(), text);
        }
        assert_eq!(message(Bytes::from_static(&[0, 0, 0])), None);
        assert_eq!(message(Bytes::from_static(&[1, 0, 0, 0, 1, 9])), None, "compressed");
    }

    #[test]
    fn compressed_messages_are_read_within_a_bound() {
        let packed = |size: usize| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&vec![7; size]).unwrap();
            let mut frame = framed(&encoder.finish().unwrap()).unwrap().to_vec();
            frame[0] = 1;
            Bytes::from(frame)
        };
        assert_eq!(unpacked(packed(1_000), Some("gzip"), 1_000).unwrap(), vec![7; 1_000]);
        assert_eq!(unpacked(packed(10_000_000), Some("gzip"), 1_000), Err(NoMessage::TooLarge));
        assert_eq!(unpacked(packed(1_000), Some("zstd"), 1_000), Err(NoMessage::Encoding));
        assert_eq!(unpacked(packed(1_000), None, 1_000), Err(NoMessage::Encoding));
        assert_eq!(unpacked(framed(b"x").unwrap(), Some("gzip"), 10).unwrap(), b"x"[..]);
        assert_eq!(unpacked(Bytes::new(), None, 10), Err(NoMessage::Missing));
    }
}
