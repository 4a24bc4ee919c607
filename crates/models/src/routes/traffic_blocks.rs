//! Cuts what was counted into blocks of time, each of which is one draw, and measures durations by what the baseline had when a block
//! began. It must not know who counted.

use acgs_lifecycle::{
    analysis::{
        Arm, Counts, GateBlocks,
        beside::{Beside, Drawn, Held, failing},
    },
    deployment::Tails,
    rollout::{Analysis, Tolerance},
};
use acgs_statistics::buckets::{BUCKETS, bucket_of, quantile_upper_us};

/// Between two looks at durations for want of calls, at most, in microseconds.
const LOOK_US: u64 = 1_000_000;
/// Calls of the baseline before its percentiles are taken as known.
const TAIL_CALLS_MIN: u64 = 200;

/// How calls ended, in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Calls that are over.
    pub calls: u64,
    /// That did not end well.
    pub errors: u64,
    /// That their callers gave up.
    pub cancelled: u64,
}

/// Of candidate and baseline beside one another, and of the candidate alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sides<T> {
    /// The candidate's, with a baseline of the same size beside it.
    pub candidate: T,
    /// That baseline's.
    pub baseline: T,
    /// The candidate's, without one.
    pub alone: T,
    /// What serves beside the comparison.
    pub rest: T,
}

/// How long calls took, in all, by bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durations {
    /// Of those that were answered.
    pub answered: Vec<u64>,
    /// How long those were waited for that were given up.
    pub given_up: Vec<u64>,
}

impl Default for Durations {
    fn default() -> Self {
        Self { answered: vec![0; BUCKETS], given_up: vec![0; BUCKETS] }
    }
}

impl Durations {
    /// What was timed since `before`: in all, beyond the two percentiles, and given up in between.
    fn since(&self, before: &Self, tails: Tails) -> Timed {
        let (p95, p99) = (bucket_of(tails.p95_us), bucket_of(tails.p99_us));
        let mut timed = Timed::default();
        let pairs = |now: &[u64], before: &[u64]| -> Vec<(usize, u64)> {
            let changed = now.iter().zip(before).map(|(now, before)| now.saturating_sub(*before));
            changed.enumerate().filter(|(_, calls)| *calls > 0).collect()
        };
        for (bucket, calls) in pairs(&self.answered, &before.answered) {
            timed.all = timed.all.saturating_add(calls);
            timed.over_p95 += if bucket >= p95 { calls } else { 0 };
            timed.over_p99 += if bucket >= p99 { calls } else { 0 };
        }
        // One that was given up took longer than it was waited for; how much longer nobody knows.
        for (bucket, calls) in pairs(&self.given_up, &before.given_up) {
            if bucket >= p95 {
                timed.all += calls;
                timed.over_p95 += calls;
                *if bucket >= p99 { &mut timed.over_p99 } else { &mut timed.given_up } += calls;
            }
        }
        timed
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Timed {
    all: u64,
    over_p95: u64,
    over_p99: u64,
    given_up: u64,
}

impl Timed {
    fn of(arm: &Arm) -> Self {
        let Arm { timed, over_p95, over_p99, given_up, .. } = *arm;
        Self { all: timed, over_p95, over_p99, given_up }
    }

    fn and(self, more: Self) -> Self {
        Self {
            all: self.all + more.all,
            over_p95: self.over_p95 + more.over_p95,
            over_p99: self.over_p99 + more.over_p99,
            given_up: self.given_up + more.given_up,
        }
    }

    fn p95(self) -> (u64, u64) {
        (self.over_p95, self.all)
    }

    fn p99(self) -> (u64, u64) {
        (self.over_p99, self.all.saturating_sub(self.given_up))
    }

    /// Adds it to what was counted.
    fn add_to(self, arm: &mut Arm) {
        arm.timed += self.all;
        arm.over_p95 += self.over_p95;
        arm.over_p99 += self.over_p99;
        arm.given_up += self.given_up;
    }
}

/// Since when a block lasts, by a monotonic clock; its two parts end by themselves.
#[derive(Clone, Copy, Debug)]
struct Lasting {
    paired_us: u64,
    alone_us: u64,
}

impl Lasting {
    /// Which parts are long enough.
    fn over(&self, now_us: u64, block_ms: i64) -> (bool, bool) {
        let block_us = u64::try_from(block_ms).unwrap_or(0).saturating_mul(1_000);
        let is_over = |since_us: u64| now_us.saturating_sub(since_us) >= block_us;
        (is_over(self.paired_us), is_over(self.alone_us))
    }
}

type Pair = (u64, u64);

/// A frequency that is counted all the time.
#[derive(Clone, Debug, Default)]
struct Frequency {
    beside: Beside,
    lasting: Option<Lasting>,
    mark: Sides<Pair>,
}

fn less(now: Pair, before: Pair) -> Pair {
    (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1))
}

impl Frequency {
    /// Ends the block if it is long enough; true when both were in it.
    fn cut(&mut self, now_us: u64, block_ms: i64, now: Sides<Pair>, held: Held) -> bool {
        let Some(lasting) = &mut self.lasting else {
            self.lasting = Some(Lasting { paired_us: now_us, alone_us: now_us });
            self.mark = now;
            return false;
        };
        let (paired, alone) = lasting.over(now_us, block_ms);
        let part = |over: bool, now: Pair, before: Pair| if over { less(now, before) } else { (0, 0) };
        let drawn = Drawn {
            candidate: part(paired, now.candidate, self.mark.candidate),
            baseline: part(paired, now.baseline, self.mark.baseline),
            alone: part(alone, now.alone, self.mark.alone),
        };
        let (compared, rest) = (self.mark.baseline, self.mark.rest);
        let before = (compared.0.saturating_add(rest.0), compared.1.saturating_add(rest.1));
        let done = self.beside.block(&drawn, held, before);
        self.mark.rest = now.rest;
        if done.alone {
            (lasting.alone_us, self.mark.alone) = (now_us, now.alone);
        }
        if done.paired {
            lasting.paired_us = now_us;
            (self.mark.candidate, self.mark.baseline) = (now.candidate, now.baseline);
        }
        done.paired
    }
}

/// Blocks of one deployment.
#[derive(Clone, Debug)]
pub struct TrafficBlocks {
    errors: Frequency,
    cancelled: Frequency,
    p95: Beside,
    p99: Beside,
    lasting: Option<Lasting>,
    /// When durations are looked at again, if a block is not over for want of calls.
    look_us: u64,
    mark: Sides<Durations>,
    tails: Option<Tails>,
    timed: Sides<Arm>,
    /// What the baseline has had beyond its percentiles before this block, and of how many.
    baseline_timed: Timed,
    baseline_failing: f64,
    /// The baseline's calls, and those that came to nothing, when that was last looked at.
    baseline_mark: Pair,
}

impl TrafficBlocks {
    /// After what the log says was found already.
    #[must_use]
    pub fn new(base: &Counts, tails: Option<Tails>) -> Self {
        let found = &base.blocks;
        let frequency = |from| Frequency { beside: Beside::go_on(from), ..Frequency::default() };
        Self {
            errors: frequency(found.errors),
            cancelled: frequency(found.cancelled),
            p95: Beside::go_on(found.latency_p95),
            p99: Beside::go_on(found.latency_p99),
            lasting: None,
            look_us: 0,
            mark: Sides::default(),
            tails,
            timed: Sides::default(),
            baseline_timed: Timed::of(&base.baseline),
            baseline_failing: found.baseline_failing,
            baseline_mark: (0, 0),
        }
    }

    /// The baseline's percentiles that calls are timed by now.
    #[must_use]
    pub fn tails(&self) -> Option<Tails> {
        self.tails
    }

    /// What was timed.
    #[must_use]
    pub fn timed(&self) -> &Sides<Arm> {
        &self.timed
    }

    /// What blocks have found.
    #[must_use]
    pub fn found(&self) -> GateBlocks {
        GateBlocks {
            errors: self.errors.beside.found(),
            cancelled: self.cancelled.beside.found(),
            latency_p95: self.p95.found(),
            latency_p99: self.p99.found(),
            baseline_failing: self.baseline_failing,
        }
    }

    /// Ends blocks of errors and of calls that were given up, if they are long enough.
    pub fn cut_ends(&mut self, now_us: u64, now: &Sides<Ends>, analysis: &Analysis) {
        let each = |pick: fn(&Ends) -> Pair| Sides {
            candidate: pick(&now.candidate),
            baseline: pick(&now.baseline),
            alone: pick(&now.alone),
            rest: pick(&now.rest),
        };
        let block_ms = analysis.error_block_ms;
        let errors = each(|ends| (ends.errors, ends.calls.saturating_sub(ends.cancelled)));
        let cancelled = each(|ends| (ends.cancelled, ends.calls));
        let nothing = |ends: &Ends| (ends.errors.saturating_add(ends.cancelled), ends.calls);
        let is_first = self.cancelled.lasting.is_none();
        let most = analysis.baseline_errors_max.max(analysis.errors.unacceptable);
        // Callers who give up are the candidate's doing only beside others who do not.
        let held = held(analysis.cancelled, 0.5, false);
        let both = self.cancelled.cut(now_us, block_ms, cancelled, held);
        self.errors.cut(now_us, block_ms, errors, self::held(analysis.errors, most, true));
        if is_first {
            self.baseline_mark = nothing(&now.baseline);
        } else if both {
            let baseline = nothing(&now.baseline);
            let enough = (1.0 / analysis.alpha).ln();
            let block = less(baseline, self.baseline_mark);
            self.baseline_failing = failing(self.baseline_failing, block, most, enough);
            self.baseline_mark = baseline;
        }
    }

    /// Whether durations are wanted now.
    #[must_use]
    pub fn wants_durations(&self, now_us: u64, analysis: &Analysis) -> bool {
        let is_over = self.lasting.is_none_or(|lasting| {
            let (paired, alone) = lasting.over(now_us, analysis.block_ms);
            paired || alone
        });
        is_over && now_us >= self.look_us
    }

    /// Ends blocks of durations. `baseline` is how long calls of the baseline took that were answered, compared or not.
    pub fn cut_durations(
        &mut self,
        now_us: u64,
        now: Sides<Durations>,
        baseline: &[u64],
        analysis: &Analysis,
    ) {
        let block_us = u64::try_from(analysis.block_ms).unwrap_or(0).saturating_mul(1_000);
        self.look_us = now_us.saturating_add(block_us.min(LOOK_US));
        let (Some(lasting), Some(tails)) = (self.lasting, self.tails) else {
            self.tails = tails_of(baseline).or(self.tails);
            if self.tails.is_some() {
                self.lasting = Some(Lasting { paired_us: now_us, alone_us: now_us });
                self.mark = now;
            }
            return;
        };
        let (paired, alone) = lasting.over(now_us, analysis.block_ms);
        let part = |over: bool, now: &Durations, before: &Durations| match over {
            true => now.since(before, tails),
            false => Timed::default(),
        };
        let own = part(paired, &now.candidate, &self.mark.candidate);
        let base = part(paired, &now.baseline, &self.mark.baseline);
        let single = part(alone, &now.alone, &self.mark.alone);
        let drawn = |pick: fn(Timed) -> Pair| Drawn {
            candidate: pick(own),
            baseline: pick(base),
            alone: pick(single),
        };
        let before = self.baseline_timed;
        let done = self.p95.block(&drawn(Timed::p95), held(analysis.tail_p95, 0.5, true), before.p95());
        // The two have the same blocks; one in which all of a side's calls were given up in between says nothing of the 99th.
        self.p99.block(&drawn(Timed::p99), held(analysis.tail_p99, 0.5, true), before.p99());
        self.baseline_timed = self.baseline_timed.and(now.rest.since(&self.mark.rest, tails));
        self.mark.rest = now.rest;
        let mut lasting = lasting;
        if done.alone {
            single.add_to(&mut self.timed.alone);
            (lasting.alone_us, self.mark.alone) = (now_us, now.alone);
        }
        if done.paired {
            own.add_to(&mut self.timed.candidate);
            base.add_to(&mut self.timed.baseline);
            self.baseline_timed = self.baseline_timed.and(base);
            lasting.paired_us = now_us;
            (self.mark.candidate, self.mark.baseline) = (now.candidate, now.baseline);
            // Known before the next block, so that they owe nothing to it.
            self.tails = tails_of(baseline).or(self.tails);
        }
        self.lasting = Some(lasting);
    }
}

/// What a frequency is held against; alone never against more than what is unacceptable, or `most`.
fn held(tolerance: Tolerance, most: f64, unknown: bool) -> Held {
    Held { tolerated: tolerance.tolerated, alone_max: tolerance.unacceptable.max(most), unknown }
}

/// The percentiles of enough calls.
fn tails_of(answered: &[u64]) -> Option<Tails> {
    let calls = answered.iter().fold(0_u64, |sum, calls| sum.saturating_add(*calls));
    if calls < TAIL_CALLS_MIN {
        return None;
    }
    let (p95_us, p99_us) = (quantile_upper_us(answered, 0.95)?, quantile_upper_us(answered, 0.99)?);
    Some(Tails { p95_us, p99_us, calls })
}

#[cfg(test)]
#[path = "traffic_blocks_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "traffic_noise_tests.rs"]
mod noise;
