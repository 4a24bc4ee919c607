//! The model that a call asks for, from the beginning of its first message: requests of the Open Inference Protocol have it in
//! their first field, and encoders write fields in order. Nothing else of the message is looked at. It must not know routes.

use std::io::Read;

use bytes::Buf;
use flate2::read::{GzDecoder, ZlibDecoder};

/// The service whose requests begin with the model's name.
pub const INFERENCE: &str = "/inference.GRPCInferenceService/";
/// Bytes that are looked at.
pub const LOOKED_AT_MAX: usize = 64 << 10;
/// Longest name of a model, in bytes.
const NAME_BYTES_MAX: u64 = 128;
/// Bytes of a compressed message that are unpacked for the look.
const UNPACKED_MAX: u64 = 4 << 10;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peeked {
    /// The name.
    Name(String),
    /// It may come.
    More,
    /// It is not there.
    Nothing,
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = bytes.first().copied()?;
        bytes.advance(1);
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Field 1 of a message of which so many bytes are there, `whole` when these are all.
fn first_field(mut bytes: &[u8], whole: bool) -> Peeked {
    let not_yet = if whole { Peeked::Nothing } else { Peeked::More };
    loop {
        let Some(tag) = varint(&mut bytes) else { return not_yet };
        match (tag >> 3, tag & 7) {
            (1, 2) => {
                let Some(length) = varint(&mut bytes) else { return not_yet };
                if length == 0 || length > NAME_BYTES_MAX {
                    return Peeked::Nothing;
                }
                let Some(name) = bytes.get(..length as usize) else { return not_yet };
                return std::str::from_utf8(name)
                    .map_or(Peeked::Nothing, |name| Peeked::Name(name.to_owned()));
            }
            (_, 0) => {
                if varint(&mut bytes).is_none() {
                    return not_yet;
                }
            }
            (_, kind @ (1 | 2 | 5)) => {
                let length = match kind {
                    1 => Some(8),
                    5 => Some(4),
                    _ => varint(&mut bytes),
                };
                let length = length.and_then(|length| usize::try_from(length).ok());
                match length {
                    Some(length) if length <= bytes.len() => bytes.advance(length),
                    _ => return not_yet,
                }
            }
            _ => return Peeked::Nothing,
        }
    }
}

/// Looks at the beginning of a call's body. `encoding` is what `grpc-encoding` says.
#[must_use]
pub fn peek(body: &[u8], encoding: Option<&str>, over: bool) -> Peeked {
    let Some((prefix, message)) = body.split_at_checked(5) else {
        return if over { Peeked::Nothing } else { Peeked::More };
    };
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    let there = &message[..message.len().min(length)];
    let whole = message.len() >= length || over;
    let found = match (prefix[0], encoding) {
        (0, _) => first_field(there, whole),
        (1, Some("gzip")) => first_field(&unpacked(GzDecoder::new(there)), whole),
        (1, Some("deflate")) => first_field(&unpacked(ZlibDecoder::new(there)), whole),
        _ => Peeked::Nothing,
    };
    match found {
        Peeked::More if body.len() >= LOOKED_AT_MAX => Peeked::Nothing,
        found => found,
    }
}

/// As much as can be unpacked of what is there.
fn unpacked(reader: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What is missing ends it; what came before is what is wanted.
    let _cut_short = reader.take(UNPACKED_MAX).read_to_end(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use acgs_contracts::inference::{InferParameter, ModelInferRequest, infer_parameter::ParameterChoice};
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn framed(message: &[u8], flag: u8) -> Vec<u8> {
        let mut bytes = vec![flag];
        bytes.extend((message.len() as u32).to_be_bytes());
        bytes.extend(message);
        bytes
    }

    fn request(name: &str, raw: usize) -> Vec<u8> {
        let parameter = InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(7)) };
        ModelInferRequest {
            model_name: name.into(),
            id: "q".into(),
            parameters: [("p".to_owned(), parameter)].into(),
            raw_input_contents: vec![vec![7; raw].into()],
            ..ModelInferRequest::default()
        }
        .encode_to_vec()
    }

    #[test]
    fn a_large_message_shows_its_model_in_the_first_bytes() {
        let bytes = framed(&request("late-flights", 1 << 20), 0);
        assert_eq!(peek(&bytes[..64], None, false), Peeked::Name("late-flights".into()));
        assert_eq!(peek(&bytes[..8], None, false), Peeked::More);
        assert_eq!(peek(&bytes[..3], None, true), Peeked::Nothing);
    }

    #[test]
    fn compressed_messages_are_unpacked_as_far_as_needed() {
        let message = request("m", 100_000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&message).unwrap();
        let bytes = framed(&gzip.finish().unwrap(), 1);
        assert_eq!(peek(&bytes[..bytes.len() / 2], Some("gzip"), false), Peeked::Name("m".into()));
        assert_eq!(peek(&bytes, Some("snappy"), true), Peeked::Nothing);
    }

    #[test]
    fn a_message_without_a_model_has_none() {
        let bytes = framed(&request("", 10), 0);
        assert_eq!(peek(&bytes, None, true), Peeked::Nothing);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), over: bool) {
            let _any = peek(&bytes, Some("gzip"), over);
        }

        #[test]
        fn every_cut_of_a_request_says_more_or_the_name(name in "[a-z]{1,40}", cut in 0_usize..200) {
            let bytes = framed(&request(&name, 64), 0);
            let cut = cut.min(bytes.len());
            match peek(&bytes[..cut], None, false) {
                Peeked::Name(found) => prop_assert_eq!(found, name),
                found => prop_assert_eq!(found, Peeked::More),
            }
        }
    }
}
