//! A lane's state in pieces that fit a message, and put together again. It must not know what the bytes mean.

use std::sync::Arc;

use bytes::Bytes;

use crate::message::{PaneId, State};

/// Bytes of one piece of a state; one pane more may be in it.
pub(crate) const PIECE_BYTES: usize = 2 << 20;

/// What a pane takes in a message besides its key and its bytes, at most.
const FRAMING_BYTES: usize = 32;

/// Cuts a state: each piece but the last says that another follows. There is one piece at least.
#[must_use]
pub(crate) fn cut(
    through_seq: u64,
    panes: impl IntoIterator<Item = (PaneId, Arc<str>, Bytes)>,
    mut carry: Bytes,
) -> Vec<State> {
    let piece = || State { through_seq, more: true, ..State::default() };
    let mut pieces = vec![piece()];
    let mut bytes = 0;
    for pane in panes {
        if bytes >= PIECE_BYTES {
            pieces.push(piece());
            bytes = 0;
        }
        bytes += pane.1.len() + pane.2.len() + FRAMING_BYTES;
        if let Some(last) = pieces.last_mut() {
            last.panes.push(pane);
        }
    }
    while !carry.is_empty() {
        if bytes >= PIECE_BYTES {
            pieces.push(piece());
            bytes = 0;
        }
        let part = carry.split_to(carry.len().min(PIECE_BYTES - bytes));
        bytes += part.len();
        if let Some(last) = pieces.last_mut() {
            last.carry = part;
        }
    }
    if let Some(last) = pieces.last_mut() {
        last.more = false;
    }
    pieces
}

/// The carry of pieces, whole again.
#[must_use]
pub(crate) fn carry(pieces: &[State]) -> Bytes {
    let mut parts = pieces.iter().map(|piece| &piece.carry).filter(|carry| !carry.is_empty());
    match (parts.next(), parts.next()) {
        (None, _) => Bytes::new(),
        (Some(only), None) => only.clone(),
        (Some(first), Some(second)) => {
            let mut whole = [first.as_ref(), second.as_ref()].concat();
            parts.for_each(|part| whole.extend_from_slice(part));
            whole.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn what_was_cut_is_whole_again(
            sizes in proptest::collection::vec(0usize..3 << 20, 0..4),
            carry_bytes in 0usize..5 << 20,
            small in 0usize..20_000,
        ) {
            let sizes: Vec<usize> = sizes.into_iter().chain(std::iter::repeat_n(599, small)).collect();
            let of = |(index, size): (usize, &usize)| {
                (index as PaneId, Arc::from("key".repeat(size % 300)), Bytes::from(vec![index as u8; *size]))
            };
            let panes: Vec<_> = sizes.iter().enumerate().map(of).collect();
            let whole: Bytes = [7, 1, 3].repeat(carry_bytes / 3).into();
            let pieces = cut(7, panes.clone(), whole.clone());
            prop_assert!(carry(&pieces) == whole);
            let last = pieces.len() - 1;
            for (index, piece) in pieces.iter().enumerate() {
                prop_assert_eq!(piece.more, index < last);
                prop_assert_eq!(piece.through_seq, 7);
                let bytes: usize = piece.panes.iter().map(|pane| pane.1.len() + pane.2.len()).sum();
                prop_assert!(bytes + piece.carry.len() < PIECE_BYTES + (3 << 20));
                prop_assert!(piece.carry.len() <= PIECE_BYTES);
            }
            let together: Vec<_> = pieces.into_iter().flat_map(|piece| piece.panes).collect();
            prop_assert!(together == panes);
        }
    }
}
