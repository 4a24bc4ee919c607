//! What a candidate's traffic says of it: evidence that it is bad, evidence that it is not, or not enough of either. Sums
//! only, so that a judgement can be made again from what an event holds. It must not know who counted.
//!
//! The candidate's calls are counted beside as many of the baseline's, drawn at the same time: of two equally good
//! versions each is as likely to have the next call that fails, whatever else goes up and down. A candidate is bad when it is
//! surely worse than tolerated *and* surely worse than the baseline; it is good when it is surely not unacceptable, or surely
//! not `baseline_ratio` times the baseline. Both may be looked at at any time (`statistics::evidence`). That it is bad is found in blocks of
//! time in which both ran, since calls of one moment hang together (`statistics::blocks`).

pub mod beside;

use acgs_statistics::evidence::{ln_below, ln_either};
use serde::{Deserialize, Serialize};

use beside::BesideFound;

use crate::rollout::{Analysis, Tolerance};

/// The loss's share of alpha.
const LOSS_STAKE: f64 = 0.1;

/// Calls of one version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arm {
    /// That are over.
    pub calls: u64,
    /// That did not end well.
    pub errors: u64,
    /// That their callers gave up.
    #[serde(default)]
    pub cancelled: u64,
    /// That were timed, since the baseline's percentiles are known: answered, or given up after more than the 95th.
    pub timed: u64,
    /// Given up between the two percentiles: slower than the 95th, and nobody knows about the 99th.
    #[serde(default)]
    pub given_up: u64,
    /// Slower than the baseline's 95th percentile.
    pub over_p95: u64,
    /// Slower than its 99th.
    pub over_p99: u64,
}

/// What shadows answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Pairs of answers.
    pub pairs: u64,
    /// That differ.
    pub different: u64,
}

/// The model's loss beside the baseline's, as whoever joined the labels found it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LossFound {
    /// Pairs of labelled records.
    pub pairs: u64,
    /// How much higher the candidate's mean is, as a share of the range.
    pub difference: f64,
    /// Logarithm of the evidence that it is higher than tolerated.
    pub ln_bad: f64,
    /// Logarithm of the evidence that it is lower than unacceptable.
    pub ln_good: f64,
}

/// Everything that was counted since the deployment began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// The candidate's, with a baseline of the same size beside it.
    pub candidate: Arm,
    /// That baseline.
    pub baseline: Arm,
    /// The candidate's, without one.
    pub alone: Arm,
    /// Answers of the candidate under another constitution.
    pub breaches: u64,
    /// Copies that it answered.
    pub shadow: Compared,
    /// Its loss; absent before labels come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossFound>,
    /// What blocks of time have found.
    pub blocks: GateBlocks,
}

/// What blocks of time have found, for each gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GateBlocks {
    /// Of calls that did not end well.
    pub errors: BesideFound,
    /// Of calls that their callers gave up.
    pub cancelled: BesideFound,
    /// Of calls slower than the baseline's 95th percentile.
    pub latency_p95: BesideFound,
    /// Of calls slower than its 99th.
    pub latency_p99: BesideFound,
    /// Logarithm of the evidence that the baseline fails now.
    pub baseline_failing: f64,
}

impl Counts {
    /// Calls of the candidate.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.candidate.calls.saturating_add(self.alone.calls)
    }
}

/// What one gate has found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateFound {
    /// Its name.
    pub gate: String,
    /// Logarithm of the evidence that the candidate is bad, times the gate's share of alpha.
    pub ln_bad: f64,
    /// Logarithm of the evidence that it is not.
    pub ln_good: f64,
    /// The figures.
    pub description: String,
}

/// What is to be thought of a candidate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// Each gate.
    pub gates: Vec<GateFound>,
    /// The gate that says that it is bad, if one does.
    pub bad: Option<String>,
    /// Whether all say that it is not.
    pub good: bool,
    /// What the evidence that it is bad is held against, as a logarithm.
    pub ln_bad_at: f64,
    /// What the evidence that it is good is held against, as a logarithm.
    pub ln_good_at: f64,
    /// Whether the baseline fails more than it may, and the candidate surely less: nothing to return to.
    pub baseline_fails: bool,
}

/// One frequency, paired and alone.
struct Frequency {
    gate: &'static str,
    tolerance: Tolerance,
    /// Its share of alpha, paired and alone.
    stakes: (f64, f64),
    /// Hits and draws.
    candidate: (u64, u64),
    baseline: (u64, u64),
    alone: (u64, u64),
    blocks: BesideFound,
}

/// What the counts say.
#[must_use]
pub fn judge(counts: &Counts, analysis: &Analysis) -> Judgement {
    let frequency = |gate, tolerance, stakes, blocks, pick: fn(&Arm) -> (u64, u64)| Frequency {
        gate,
        tolerance,
        stakes,
        blocks,
        candidate: pick(&counts.candidate),
        baseline: pick(&counts.baseline),
        alone: pick(&counts.alone),
    };
    // Shares of alpha add up to 1: the weighed sum of evidence is evidence.
    let found_in = &counts.blocks;
    let frequencies = [
        frequency("errors", analysis.errors, (0.35, 0.1), found_in.errors, |arm| {
            (arm.errors, arm.calls - arm.cancelled.min(arm.calls))
        }),
        frequency("cancelled", analysis.cancelled, (0.1, 0.05), found_in.cancelled, |arm| {
            (arm.cancelled, arm.calls)
        }),
        frequency("latency_p95", analysis.tail_p95, (0.1, 0.05), found_in.latency_p95, |arm| {
            (arm.over_p95, arm.timed)
        }),
        frequency("latency_p99", analysis.tail_p99, (0.1, 0.05), found_in.latency_p99, |arm| {
            (arm.over_p99, arm.timed - arm.given_up.min(arm.timed))
        }),
    ];
    let mut judged = Judgement {
        ln_bad_at: (1.0 / analysis.alpha).ln(),
        ln_good_at: (1.0 / analysis.beta).ln(),
        ..Judgement::default()
    };
    for frequency in &frequencies {
        judged.gates.push(found(frequency, analysis.baseline_ratio));
    }
    if analysis.loss.is_some() {
        judged.gates.push(loss(counts.loss.unwrap_or_default()));
    }
    let is_bad = |gate: &&GateFound| gate.ln_bad >= judged.ln_bad_at;
    let enough = |gate: &GateFound| gate.ln_good >= judged.ln_good_at;
    judged.bad = judged.gates.iter().find(is_bad).map(|gate| gate.gate.clone());
    let pairs = counts.loss.map_or(0, |loss| loss.pairs);
    let labelled = analysis.loss.is_none_or(|loss| pairs >= loss.pairs_min);
    judged.good = judged.bad.is_none() && labelled && judged.gates.iter().all(enough);
    let better = |found: &BesideFound| found.paired.evidence().better;
    judged.baseline_fails = found_in.baseline_failing >= judged.ln_bad_at
        && better(&found_in.errors).max(better(&found_in.cancelled)) >= judged.ln_bad_at;
    judged
}

fn loss(found: LossFound) -> GateFound {
    let description = format!("{:+.4} beside the baseline over {} pairs", found.difference, found.pairs);
    let ln_bad = found.ln_bad + LOSS_STAKE.ln();
    GateFound { gate: "loss".into(), ln_bad, ln_good: found.ln_good, description }
}

fn found(frequency: &Frequency, ratio: f64) -> GateFound {
    let unacceptable = frequency.tolerance.unacceptable;
    let ((hits, draws), (base_hits, base_draws)) = (frequency.candidate, frequency.baseline);
    let (alone_hits, alone_draws) = frequency.alone;
    let own = if draws == 0 || base_draws == 0 { 0.5 } else { draws as f64 / (draws + base_draws) as f64 };
    let own_good = own.min(0.5);
    let blocks = &frequency.blocks;
    let (paired_bad, alone_bad) = (blocks.paired.evidence().worse, blocks.alone.evidence().alone);
    // Unacceptable, and so many times the baseline's: against that either counts.
    let all_draws = draws.saturating_add(alone_draws);
    let all_hits = hits.saturating_add(alone_hits).min(all_draws);
    let absolute = ln_below(all_hits, all_draws - all_hits, unacceptable);
    let beside = ln_below(hits, base_hits, own_good * ratio / (own_good * ratio + 1.0 - own_good));
    let share = |hits: u64, draws: u64| if draws == 0 { 0.0 } else { hits as f64 / draws as f64 };
    let mut description = format!(
        "{:.2} % of {draws} beside {:.2} % of {base_draws}",
        100.0 * share(hits, draws),
        100.0 * share(base_hits, base_draws)
    );
    if alone_draws > 0 {
        description += &format!(", {:.2} % of {alone_draws} alone", 100.0 * share(alone_hits, alone_draws));
    }
    if blocks.paired.blocks > 0 {
        description += &format!("; worse in {} of {} blocks", blocks.paired.worse, blocks.paired.blocks);
    }
    GateFound {
        gate: frequency.gate.to_owned(),
        ln_bad: (paired_bad + frequency.stakes.0.ln()).max(alone_bad + frequency.stakes.1.ln()),
        ln_good: ln_either(absolute, beside),
        description,
    }
}

#[cfg(test)]
#[path = "analysis_tests.rs"]
mod tests;
