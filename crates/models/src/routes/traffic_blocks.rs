//! Cuts what was counted into blocks of time, each of which is one draw, and measures durations by what the baseline had when a block
//! began. It must not know who counted.

use acgs_lifecycle::{
    analysis::{
        Arm, Counts, GateBlocks,
        beside::{Beside, Drawn, failing},
    },
    deployment::Tails,
    rollout::Analysis,
};
use acgs_statistics::buckets::{BUCKETS, bucket_of, quantile_upper_us};

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
            timed.all += calls;
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
    /// Ends the block if it is long enough. Says what the baseline had in it.
    fn cut(&mut self, now_us: u64, block_ms: i64, now: Sides<Pair>, tolerated: f64) -> Option<Pair> {
        let Some(lasting) = &mut self.lasting else {
            self.lasting = Some(Lasting { paired_us: now_us, alone_us: now_us });
            self.mark = now;
            return None;
        };
        let (paired, alone) = lasting.over(now_us, block_ms);
        let part = |over: bool, now: Pair, before: Pair| if over { less(now, before) } else { (0, 0) };
        let drawn = Drawn {
            candidate: part(paired, now.candidate, self.mark.candidate),
            baseline: part(paired, now.baseline, self.mark.baseline),
            alone: part(alone, now.alone, self.mark.alone),
        };
        let done = self.beside.block(&drawn, tolerated, self.mark.baseline);
        if done.alone {
            (lasting.alone_us, self.mark.alone) = (now_us, now.alone);
        }
        if !done.paired {
            return None;
        }
        lasting.paired_us = now_us;
        (self.mark.candidate, self.mark.baseline) = (now.candidate, now.baseline);
        Some(drawn.baseline)
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
    mark: Sides<Durations>,
    tails: Option<Tails>,
    timed: Sides<Arm>,
    /// What the baseline has had beyond its percentiles before this block, and of how many.
    baseline_timed: Timed,
    baseline_failing: f64,
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
            mark: Sides::default(),
            tails,
            timed: Sides::default(),
            baseline_timed: Timed::of(&base.baseline),
            baseline_failing: found.baseline_failing,
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
        };
        let block_ms = analysis.error_block_ms;
        let errors = each(|ends| (ends.errors, ends.calls.saturating_sub(ends.cancelled)));
        let cancelled = each(|ends| (ends.cancelled, ends.calls));
        self.cancelled.cut(now_us, block_ms, cancelled, analysis.cancelled.tolerated);
        if let Some(baseline) = self.errors.cut(now_us, block_ms, errors, analysis.errors.tolerated) {
            let most = analysis.baseline_errors_max.max(analysis.errors.unacceptable);
            let enough = (1.0 / analysis.alpha).ln();
            self.baseline_failing = failing(self.baseline_failing, baseline, most, enough);
        }
    }

    /// Whether durations are wanted now.
    #[must_use]
    pub fn wants_durations(&self, now_us: u64, analysis: &Analysis) -> bool {
        self.lasting.is_none_or(|lasting| {
            let (paired, alone) = lasting.over(now_us, analysis.block_ms);
            paired || alone
        })
    }

    /// Ends blocks of durations. `baseline` is how long calls of the baseline took that were answered, compared or not.
    pub fn cut_durations(
        &mut self,
        now_us: u64,
        now: Sides<Durations>,
        baseline: &[u64],
        analysis: &Analysis,
    ) {
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
        let done = self.p95.block(&drawn(Timed::p95), analysis.tail_p95.tolerated, before.p95());
        self.p99.block(&drawn(Timed::p99), analysis.tail_p99.tolerated, before.p99());
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

/// The percentiles of enough calls.
fn tails_of(answered: &[u64]) -> Option<Tails> {
    let calls: u64 = answered.iter().sum();
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
