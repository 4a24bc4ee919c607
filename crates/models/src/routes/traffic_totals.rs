//! What routers have counted of a deployment, added up. Routers tell sums, so that nothing is counted twice, and nothing is
//! lost when one is heard again. It must not know who decides what.

use std::{collections::HashMap, sync::Arc};

use acgs_lifecycle::{
    analysis::{Arm, Compared, Counts},
    deployment::Tails,
};
use acgs_statistics::buckets::{BUCKETS, bucket_of, quantile_upper_us};

/// Calls of the baseline before its percentiles are taken as known.
const TAIL_CALLS_MIN: u64 = 200;
/// Lives of routers times versions that one deployment is counted by.
const SOURCES_MAX: usize = 8_192;

/// What one life of a router has counted of one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Calls that are over.
    pub calls: u64,
    /// That did not end well.
    pub errors: u64,
    /// That answered under another constitution.
    pub breaches: u64,
    /// By bucket of their duration.
    pub latencies: Vec<(u16, u64)>,
    /// Copies that were answered.
    pub shadow: Compared,
}

/// Who counted what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The router's id and life.
    pub router: (Arc<str>, Arc<str>),
    /// The version.
    pub version: Arc<str>,
    /// Whether its calls are compared.
    pub paired: bool,
}

#[derive(Clone, Debug, Default)]
struct Counted {
    now: Sums,
    /// What was there when it was first heard, and is in the base already.
    first: Sums,
    /// Durations when the baseline's percentiles became known.
    mark: Option<Vec<(u16, u64)>>,
}

/// Of one deployment.
#[derive(Clone, Debug)]
pub struct TrafficTotals {
    candidate: Arc<str>,
    base: Counts,
    sources: HashMap<Source, Counted>,
    tails: Option<Tails>,
}

fn at(latencies: &[(u16, u64)], bucket: u16) -> u64 {
    latencies.binary_search_by_key(&bucket, |(known, _)| *known).map_or(0, |place| latencies[place].1)
}

impl TrafficTotals {
    /// Of a candidate; `base` is what the log says was counted already.
    #[must_use]
    pub fn new(candidate: Arc<str>, base: Counts, tails: Option<Tails>) -> Self {
        Self { candidate, base, sources: HashMap::new(), tails }
    }

    /// Takes sums; true when they say something new. Sums that are lower than known ones are late and say nothing.
    ///
    /// `is_new` says that its life had counted nothing when this process knew the base already.
    pub fn take(&mut self, source: Source, mut sums: Sums, is_new: bool) -> bool {
        sums.latencies.retain(|(bucket, _)| usize::from(*bucket) < BUCKETS);
        sums.latencies.sort_unstable();
        if let Some(counted) = self.sources.get_mut(&source) {
            let newer = sums.calls >= counted.now.calls && sums.shadow.pairs >= counted.now.shadow.pairs;
            let changed = newer && sums != counted.now;
            if changed {
                counted.now = sums;
            }
            return changed;
        }
        if self.sources.len() >= SOURCES_MAX {
            return false;
        }
        // What came before this process is in the base, except for a router that has begun since.
        let known = self.base.calls() > 0 || self.base.shadow.pairs > 0;
        let first = if known && !is_new { sums.clone() } else { Sums::default() };
        let mark = self.tails.is_some().then(|| sums.latencies.clone());
        self.sources.insert(source, Counted { now: sums, first, mark });
        true
    }

    /// The baseline's percentiles are known: calls are timed from now on.
    pub fn set_tails(&mut self, tails: Tails) {
        if self.tails.is_none() {
            self.tails = Some(tails);
            for counted in self.sources.values_mut() {
                counted.mark = Some(counted.now.latencies.clone());
            }
        }
    }

    /// The baseline's percentiles, when enough of its calls were seen and they are not fixed yet.
    #[must_use]
    pub fn tails(&self) -> Option<Tails> {
        if self.tails.is_some() {
            return None;
        }
        let mut all = vec![0; BUCKETS];
        let baseline = self.sources.iter().filter(|(source, _)| *source.version != *self.candidate);
        for (bucket, calls) in baseline.flat_map(|(_, counted)| &counted.now.latencies) {
            all[usize::from(*bucket)] += calls;
        }
        let calls = all.iter().sum();
        if calls < TAIL_CALLS_MIN {
            return None;
        }
        let (p95_us, p99_us) = (quantile_upper_us(&all, 0.95)?, quantile_upper_us(&all, 0.99)?);
        Some(Tails { p95_us, p99_us, calls })
    }

    fn arm(&self, counted: &Counted) -> Arm {
        let (now, first) = (&counted.now, &counted.first);
        let mut arm = Arm {
            calls: now.calls.saturating_sub(first.calls),
            errors: now.errors.saturating_sub(first.errors),
            ..Arm::default()
        };
        if let (Some(tails), Some(mark)) = (self.tails, &counted.mark) {
            let (p95, p99) = (bucket_of(tails.p95_us), bucket_of(tails.p99_us));
            for (bucket, calls) in &now.latencies {
                let calls = calls.saturating_sub(at(mark, *bucket));
                arm.timed += calls;
                arm.over_p95 += if usize::from(*bucket) >= p95 { calls } else { 0 };
                arm.over_p99 += if usize::from(*bucket) >= p99 { calls } else { 0 };
            }
        }
        arm
    }

    /// Everything since the deployment began.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = self.base;
        for (source, counted) in &self.sources {
            let arm = self.arm(counted);
            let of_candidate = *source.version == *self.candidate;
            let into = match (of_candidate, source.paired) {
                (true, true) => &mut counts.candidate,
                (true, false) => &mut counts.alone,
                (false, true) => &mut counts.baseline,
                // What serves beside the comparison tells percentiles only.
                (false, false) => continue,
            };
            into.calls += arm.calls;
            into.errors += arm.errors;
            into.timed += arm.timed;
            into.over_p95 += arm.over_p95;
            into.over_p99 += arm.over_p99;
            if of_candidate {
                let (now, first) = (&counted.now, &counted.first);
                counts.breaches += now.breaches.saturating_sub(first.breaches);
                counts.shadow.pairs += now.shadow.pairs.saturating_sub(first.shadow.pairs);
                counts.shadow.different += now.shadow.different.saturating_sub(first.shadow.different);
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(life: &str, version: &str, paired: bool) -> Source {
        Source { router: ("g1".into(), life.into()), version: version.into(), paired }
    }

    fn sums(calls: u64, slow: u64) -> Sums {
        let (fast, slow_bucket) = (bucket_of(1_000) as u16, bucket_of(50_000) as u16);
        let latencies = vec![(slow_bucket, slow), (fast, calls - slow)];
        Sums { calls, errors: calls / 100, latencies, ..Sums::default() }
    }

    #[test]
    fn sums_of_all_lives_add_up_and_late_ones_change_nothing() {
        let mut totals = TrafficTotals::new("new".into(), Counts::default(), None);
        assert!(totals.take(source("1", "new", true), sums(100, 0), false));
        assert!(totals.take(source("1", "new", true), sums(200, 0), false));
        assert!(!totals.take(source("1", "new", true), sums(100, 0), false), "told late");
        assert!(totals.take(source("2", "new", true), sums(50, 0), false), "started again");
        assert!(totals.take(source("2", "old", true), sums(240, 0), false));
        let counts = totals.counts();
        assert_eq!((counts.candidate.calls, counts.baseline.calls), (250, 240));
        assert_eq!(counts.candidate.timed, 0, "percentiles are not known");
    }

    #[test]
    fn durations_count_from_when_the_percentiles_are_known() {
        let mut totals = TrafficTotals::new("new".into(), Counts::default(), None);
        totals.take(source("1", "old", false), sums(1_000, 20), false);
        let tails = totals.tails().unwrap();
        assert!(tails.p95_us < 1_100 && tails.p99_us > 50_000, "{tails:?}");
        totals.take(source("1", "new", true), sums(100, 100), false);
        totals.set_tails(tails);
        totals.take(source("1", "new", true), sums(150, 110), false);
        let counts = totals.counts();
        assert_eq!((counts.candidate.timed, counts.candidate.over_p95), (50, 10));
        assert_eq!(totals.tails(), None);
    }

    #[test]
    fn after_a_restart_what_the_log_says_is_not_counted_again() {
        let base = Counts { candidate: Arm { calls: 500, ..Arm::default() }, ..Counts::default() };
        let mut totals = TrafficTotals::new("new".into(), base, None);
        totals.take(source("1", "new", true), sums(510, 0), false);
        assert_eq!(totals.counts().candidate.calls, 500);
        totals.take(source("1", "new", true), sums(600, 0), false);
        assert_eq!(totals.counts().candidate.calls, 590);
        // One that has begun since is not in the base: its first sums count too.
        totals.take(source("2", "new", true), sums(40, 0), true);
        assert_eq!(totals.counts().candidate.calls, 630);
        totals.take(source("2", "new", true), sums(50, 0), true);
        assert_eq!(totals.counts().candidate.calls, 640);
    }
}
