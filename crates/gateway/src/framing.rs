//! The messages of a body as it passes: how long each says it is. It must not know what is in one.

/// Follows the messages of a body: a prefix of five bytes says how long each is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framing {
    bytes_max: u64,
    prefix: [u8; 5],
    have: usize,
    left: u64,
}

impl Framing {
    /// With a bound for each message.
    #[must_use]
    pub(crate) const fn new(bytes_max: usize) -> Self {
        Self { bytes_max: bytes_max as u64, prefix: [0; 5], have: 0, left: 0 }
    }

    /// Takes the next bytes; `Err` with the length of a message beyond the bound.
    ///
    /// # Errors
    /// When a message says that it is longer than the bound.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Result<(), u64> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let step = self.left.min(bytes.len() as u64);
                bytes = &bytes[step as usize..];
                self.left -= step;
                continue;
            }
            self.prefix[self.have] = bytes[0];
            bytes = &bytes[1..];
            self.have += 1;
            if self.have == 5 {
                self.have = 0;
                let [_, length @ ..] = self.prefix;
                self.left = u64::from(u32::from_be_bytes(length));
                if self.left > self.bytes_max {
                    return Err(self.left);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_are_followed_however_they_are_cut(
            lengths in proptest::collection::vec(0_usize..200, 1..8),
            cuts in proptest::collection::vec(1_usize..50, 1..20),
            bound in 0_usize..200,
        ) {
            let mut stream = Vec::new();
            for length in &lengths {
                stream.push(0);
                stream.extend((*length as u32).to_be_bytes());
                stream.extend(vec![1; *length]);
            }
            let mut framing = Framing::new(bound);
            let (mut rest, mut found) = (&stream[..], Ok(()));
            for cut in cuts.iter().cycle() {
                if rest.is_empty() || found.is_err() {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                found = framing.take(now);
                rest = later;
            }
            let first_beyond = lengths.iter().find(|length| **length > bound).map(|length| *length as u64);
            prop_assert_eq!(found.err(), first_beyond);
        }
    }
}
