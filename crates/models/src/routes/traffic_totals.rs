//! What routers have counted of a deployment, added up. Routers tell sums, so that nothing is counted twice, and nothing is
//! lost when one is heard again. It must not know who decides what.

use std::{collections::HashMap, sync::Arc};

use acgs_lifecycle::{
    analysis::{Arm, Compared, Counts},
    deployment::Tails,
    rollout::Analysis,
};
use acgs_statistics::buckets::BUCKETS;

use super::traffic_blocks::{Durations, Ends, Sides, TrafficBlocks};

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
    /// That their callers gave up.
    pub cancelled: u64,
    /// Those that were answered, by bucket of their duration.
    pub latencies: Vec<(u16, u64)>,
    /// Those that were given up, by bucket of how long they were waited for.
    pub waits: Vec<(u16, u64)>,
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
}

impl Counted {
    fn ends(&self, whole: bool) -> Ends {
        let Sums { calls, errors, cancelled, .. } = self.now;
        let first = &self.first;
        match whole {
            true => Ends { calls, errors, cancelled },
            false => Ends {
                calls: calls.saturating_sub(first.calls),
                errors: errors.saturating_sub(first.errors),
                cancelled: cancelled.saturating_sub(first.cancelled),
            },
        }
    }
}

/// Of one deployment.
#[derive(Clone, Debug)]
pub struct TrafficTotals {
    candidate: Arc<str>,
    base: Counts,
    sources: HashMap<Source, Counted>,
    blocks: TrafficBlocks,
}

/// What is sorted and has no bucket that there is not.
fn sound(buckets: &mut Vec<(u16, u64)>) {
    buckets.retain(|(bucket, _)| usize::from(*bucket) < BUCKETS);
    buckets.sort_unstable();
}

fn add(into: &mut [u64], buckets: &[(u16, u64)]) {
    for (bucket, calls) in buckets {
        let held = &mut into[usize::from(*bucket)];
        *held = held.saturating_add(*calls);
    }
}

/// What has come since `first`, which is in the base already.
fn add_since(into: &mut [u64], now: &[(u16, u64)], first: &[(u16, u64)]) {
    for (bucket, calls) in now {
        let before = first.binary_search_by_key(bucket, |one| one.0).map_or(0, |place| first[place].1);
        let held = &mut into[usize::from(*bucket)];
        *held = held.saturating_add(calls.saturating_sub(before));
    }
}

impl TrafficTotals {
    /// Of a candidate; `base` is what the log says was counted already.
    #[must_use]
    pub fn new(candidate: Arc<str>, base: Counts, tails: Option<Tails>) -> Self {
        let blocks = TrafficBlocks::new(&base, tails);
        Self { candidate, base, sources: HashMap::new(), blocks }
    }

    /// Takes sums; true when they say something new. Sums that are lower than known ones are late and say nothing.
    ///
    /// `is_new` says that its life had counted nothing when this process knew the base already.
    pub fn take(&mut self, source: Source, mut sums: Sums, is_new: bool) -> bool {
        sound(&mut sums.latencies);
        sound(&mut sums.waits);
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
        self.sources.insert(source, Counted { now: sums, first });
        true
    }

    /// The baseline's percentiles that calls are timed by, once enough of its calls were seen.
    #[must_use]
    pub fn tails(&self) -> Option<Tails> {
        self.blocks.tails()
    }

    /// Which side a source is of.
    fn side<'a, T>(&self, source: &Source, sides: &'a mut Sides<T>) -> &'a mut T {
        match (*source.version == *self.candidate, source.paired) {
            (true, true) => &mut sides.candidate,
            (true, false) => &mut sides.alone,
            (false, true) => &mut sides.baseline,
            (false, false) => &mut sides.rest,
        }
    }

    /// How all calls ended since the deployment began.
    fn ends(&self) -> Sides<Ends> {
        let of = |arm: &Arm| Ends { calls: arm.calls, errors: arm.errors, cancelled: arm.cancelled };
        let Counts { candidate, baseline, alone, .. } = &self.base;
        let rest = Ends::default();
        let mut sides = Sides { candidate: of(candidate), baseline: of(baseline), alone: of(alone), rest };
        for (source, counted) in &self.sources {
            let into = self.side(source, &mut sides);
            // What serves beside the comparison is in no base: all that is told of it counts.
            let is_rest = *source.version != *self.candidate && !source.paired;
            let Ends { calls, errors, cancelled } = counted.ends(is_rest);
            into.calls = into.calls.saturating_add(calls);
            into.errors = into.errors.saturating_add(errors);
            into.cancelled = into.cancelled.saturating_add(cancelled);
        }
        sides
    }

    /// Ends blocks that are long enough, by a monotonic clock. Only who judges may cut, and what is shown in between changes nothing.
    pub fn cut(&mut self, now_us: u64, analysis: &Analysis) {
        let ends = self.ends();
        self.blocks.cut_ends(now_us, &ends, analysis);
        if !self.blocks.wants_durations(now_us, analysis) {
            return;
        }
        let mut sides = Sides::<Durations>::default();
        let mut baseline = vec![0; BUCKETS];
        for (source, counted) in &self.sources {
            if *source.version != *self.candidate {
                add(&mut baseline, &counted.now.latencies);
            }
            let (now, first) = (&counted.now, &counted.first);
            let into = self.side(source, &mut sides);
            add_since(&mut into.answered, &now.latencies, &first.latencies);
            add_since(&mut into.given_up, &now.waits, &first.waits);
        }
        self.blocks.cut_durations(now_us, sides, &baseline, analysis);
    }

    /// Everything since the deployment began.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = self.base.clone();
        let ends = self.ends();
        let timed = self.blocks.timed();
        let arms = [
            (&mut counts.candidate, ends.candidate, &timed.candidate),
            (&mut counts.baseline, ends.baseline, &timed.baseline),
            (&mut counts.alone, ends.alone, &timed.alone),
        ];
        for (arm, ends, timed) in arms {
            let Ends { calls, errors, cancelled } = ends;
            *arm = Arm {
                calls,
                errors,
                cancelled,
                timed: arm.timed + timed.timed,
                over_p95: arm.over_p95 + timed.over_p95,
                over_p99: arm.over_p99 + timed.over_p99,
                given_up: arm.given_up + timed.given_up,
            };
        }
        let of_candidate = self.sources.iter().filter(|(source, _)| *source.version == *self.candidate);
        for (_, Counted { now, first }) in of_candidate {
            let add =
                |into: &mut u64, now: u64, first: u64| *into = into.saturating_add(now.saturating_sub(first));
            add(&mut counts.breaches, now.breaches, first.breaches);
            add(&mut counts.shadow.pairs, now.shadow.pairs, first.shadow.pairs);
            add(&mut counts.shadow.different, now.shadow.different, first.shadow.different);
        }
        counts.blocks = self.blocks.found();
        counts
    }
}

#[cfg(test)]
mod tests {
    use acgs_statistics::buckets::bucket_of;

    use super::*;

    const BLOCK_US: u64 = 10_000_000;

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
        let analysis = Analysis::default();
        let mut totals = TrafficTotals::new("new".into(), Counts::default(), None);
        totals.take(source("1", "old", false), sums(1_000, 20), false);
        totals.take(source("1", "new", true), sums(100, 100), false);
        totals.cut(0, &analysis);
        let tails = totals.tails().unwrap();
        assert!(tails.p95_us < 1_100 && tails.p99_us > 50_000, "{tails:?}");
        totals.take(source("1", "new", true), sums(150, 110), false);
        totals.take(source("1", "old", true), sums(50, 0), false);
        totals.cut(BLOCK_US - 1, &analysis);
        assert_eq!(totals.counts().candidate.timed, 0, "the block lasts");
        totals.cut(BLOCK_US, &analysis);
        let counts = totals.counts();
        assert_eq!((counts.candidate.timed, counts.candidate.over_p95), (50, 10));
        assert_eq!((counts.blocks.latency_p95.paired.blocks, counts.blocks.latency_p95.paired.worse), (1, 1));
        assert_eq!(totals.counts(), counts, "to look changes nothing");
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

    #[test]
    fn after_a_restart_durations_are_not_counted_again() {
        let analysis = Analysis::default();
        let tails = Some(Tails { p95_us: 10_000, p99_us: 20_000, calls: 1_000 });
        let arm = Arm { calls: 500, timed: 500, ..Arm::default() };
        let base = Counts { candidate: arm, baseline: arm, ..Counts::default() };
        let mut totals = TrafficTotals::new("new".into(), base, tails);
        // The first look comes before any router.
        totals.cut(0, &analysis);
        totals.take(source("1", "new", true), sums(510, 10), false);
        totals.take(source("1", "old", true), sums(510, 10), false);
        totals.cut(BLOCK_US, &analysis);
        totals.take(source("1", "new", true), sums(560, 10), false);
        totals.take(source("1", "old", true), sums(560, 10), false);
        totals.cut(3 * BLOCK_US, &analysis);
        let counts = totals.counts();
        assert_eq!((counts.candidate.timed, counts.candidate.over_p95), (550, 0));
    }
}
