//! When panes are given to sequential detectors. It must not know what a detector detects.

use std::collections::BTreeMap;

use super::Held;
use crate::{
    assessor::{Assessor, Fed, Feed},
    carry::Carried,
    message::{Close, PaneId, Timing},
};

/// A close names panes.
pub(super) fn at_close<A: Assessor>(
    assessor: &A,
    plan: &A::Plan,
    carried: &mut Carried<A::Carry>,
    panes: &BTreeMap<PaneId, Held<A::Pane>>,
    close: &Close,
) {
    let mut any = false;
    for &pane in &close.panes {
        let Some(Held { key, pane: held, .. }) = panes.get(&pane) else { continue };
        let is_due = match A::FEED {
            Feed::Nothing => false,
            Feed::OnTime => close.timing == Timing::OnTime,
            Feed::Settled => close.settled && assessor.bears_labels(plan, held),
        };
        if is_due && carried.give(pane) {
            any = true;
            assessor.feed(plan, &mut carried.carry, Fed { pane, key, held, window: Some(&close.window) });
        }
    }
    if any {
        assessor.given(plan, &mut carried.carry);
    }
}

/// A pane is released.
pub(super) fn at_release<A: Assessor>(
    assessor: &A,
    plan: &A::Plan,
    carried: &mut Carried<A::Carry>,
    pane: PaneId,
    (key, held): (&str, &A::Pane),
) {
    match A::FEED {
        Feed::OnTime => carried.release(pane),
        Feed::Settled if assessor.bears_labels(plan, held) => {
            if carried.give_last(pane) {
                assessor.feed(plan, &mut carried.carry, Fed { pane, key, held, window: None });
            }
        }
        Feed::Nothing | Feed::Settled => {}
    }
}
