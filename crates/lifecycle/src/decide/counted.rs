//! What routers have counted, for tests of deployments.

use super::{Command, bench::Room};
use crate::{
    analysis::{
        Arm, Counts, GateBlocks,
        beside::{Beside, BesideFound, Drawn, Held},
    },
    deployment::Tails,
};

fn arm(calls: u64, errors: u64) -> Arm {
    let (over_p95, over_p99) = (calls / 25, calls / 120);
    Arm { calls, errors, timed: calls, over_p95, over_p99, ..Arm::default() }
}

/// What thirty blocks find in which the two sides fail so often.
fn found(failing: f64, baseline_failing: f64) -> BesideFound {
    let mut beside = Beside::default();
    for _ in 0..30 {
        let of = |share: f64| ((share * 10_000.0) as u64, 10_000);
        let drawn = Drawn { candidate: of(failing), baseline: of(baseline_failing), ..Drawn::default() };
        beside.block(&drawn, Held { tolerated: 0.01, alone_max: 0.5, unknown: true }, (0, 0));
    }
    beside.found()
}

/// So many calls more, of which the candidate fails this share.
pub(super) fn evidence(room: &Room, more: u64, failing: f64) -> Command {
    beside(room, more, failing, 0.0025, 0.0)
}

/// The same beside a baseline that fails so often, and of which it is found (as a logarithm) that it fails now.
pub(super) fn beside(room: &Room, more: u64, failing: f64, base: f64, fails_now: f64) -> Command {
    let open = room.model().deployment();
    let seen = open.map_or(0, |open| open.counts.calls()) + more;
    let errors = found(failing, base);
    let counts = Counts {
        candidate: arm(seen, (seen as f64 * failing) as u64),
        baseline: arm(seen, (seen as f64 * base) as u64),
        blocks: GateBlocks { errors, baseline_failing: fails_now, ..GateBlocks::default() },
        ..Counts::default()
    };
    let tails = Some(Tails { p95_us: 10_000, p99_us: 20_000, calls: 1_000 });
    let deployment = open.map_or(1, |open| open.number);
    Command::Evidence { deployment, counts: Box::new(counts), tails }
}
