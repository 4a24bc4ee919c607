//! What the versions of a deployment do, counted without locks: sums since the deployment began, as routers tell them. It must
//! not know what a call is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use acgs_contracts::lifecycle::v1 as proto;
use acgs_statistics::buckets::{BUCKETS, bucket_of};
use tonic::Code;

/// Calls of one version of one deployment, compared or not.
#[derive(Debug)]
pub struct Arm {
    calls: AtomicU64,
    errors: AtomicU64,
    cancelled: AtomicU64,
    breaches: AtomicU64,
    compared: AtomicU64,
    different: AtomicU64,
    latencies: Box<[AtomicU64]>,
    waits: Box<[AtomicU64]>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The version, or the way to it, said so. CANCELLED that a server says is its error.
    Said(Code),
    /// Its caller did not wait for the end.
    Left,
    /// By the caller's own fault: it says nothing about the version.
    Void,
}

impl Default for Arm {
    fn default() -> Self {
        Self {
            calls: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            breaches: AtomicU64::new(0),
            compared: AtomicU64::new(0),
            different: AtomicU64::new(0),
            latencies: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            waits: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Arm {
    /// A call is over. Only what was answered well has a latency: a call that is refused is over at once, and that is not fast. What was given
    /// up, by its caller or at its deadline, took longer than it was waited for.
    pub fn called(&self, end: End, took: Duration) {
        let bucket = bucket_of(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        let counted = match end {
            End::Void => return,
            End::Said(Code::Ok) => &self.latencies[bucket],
            End::Said(Code::DeadlineExceeded) => {
                self.waits[bucket].fetch_add(1, Ordering::Relaxed);
                &self.errors
            }
            End::Said(_) => &self.errors,
            End::Left => {
                self.waits[bucket].fetch_add(1, Ordering::Relaxed);
                &self.cancelled
            }
        };
        counted.fetch_add(1, Ordering::Relaxed);
        // Last, so that errors are never more than calls where both are read in order.
        self.calls.fetch_add(1, Ordering::Release);
    }

    /// It answered under another constitution.
    pub fn breached(&self) {
        self.breaches.fetch_add(1, Ordering::Relaxed);
    }

    /// A copy was answered and compared.
    pub fn compared(&self, different: bool) {
        if different {
            self.different.fetch_add(1, Ordering::Relaxed);
        }
        self.compared.fetch_add(1, Ordering::Release);
    }

    /// What grows when anything does.
    #[must_use]
    pub fn stamp(&self) -> u64 {
        self.calls.load(Ordering::Acquire)
            + self.breaches.load(Ordering::Relaxed)
            + self.compared.load(Ordering::Acquire)
    }

    /// As it is told.
    #[must_use]
    pub fn observed(&self, of: &Counted) -> proto::VersionObserved {
        let calls = self.calls.load(Ordering::Acquire);
        let shadow_compared = self.compared.load(Ordering::Acquire);
        let bucket = |(bucket, calls): (usize, &AtomicU64)| {
            let calls = calls.load(Ordering::Relaxed);
            (calls > 0).then_some(proto::LatencyBucket { bucket: bucket as u32, calls })
        };
        let buckets = |all: &[AtomicU64]| all.iter().enumerate().filter_map(bucket).collect();
        let errors = self.errors.load(Ordering::Relaxed).min(calls);
        proto::VersionObserved {
            model_id: of.model_id.to_string(),
            deployment_id: of.deployment_id.to_string(),
            version: of.version.to_string(),
            paired: of.paired,
            calls,
            errors,
            breaches: self.breaches.load(Ordering::Relaxed),
            latencies: buckets(&self.latencies),
            shadow_compared,
            shadow_different: self.different.load(Ordering::Relaxed).min(shadow_compared),
            cancelled: self.cancelled.load(Ordering::Relaxed).min(calls - errors),
            waits: buckets(&self.waits),
        }
    }
}

/// What an arm counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Counted {
    /// The model.
    pub model_id: Arc<str>,
    /// The deployment.
    pub deployment_id: Arc<str>,
    /// The version.
    pub version: Arc<str>,
    /// Whether its calls are compared.
    pub paired: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_has_no_latency() {
        let arm = Arm::default();
        let ends = [
            (End::Said(Code::Ok), 3),
            (End::Said(Code::Unavailable), 0),
            (End::Said(Code::Cancelled), 0),
            (End::Said(Code::DeadlineExceeded), 900),
            (End::Left, 100),
            (End::Void, 0),
        ];
        for (end, took_ms) in ends {
            arm.called(end, Duration::from_millis(took_ms));
        }
        let counted =
            Counted { model_id: "m".into(), deployment_id: "d".into(), version: "v".into(), paired: true };
        let told = arm.observed(&counted);
        assert_eq!((told.calls, told.errors, told.cancelled), (5, 3, 1));
        let buckets = |told: &[proto::LatencyBucket]| told.iter().map(|one| one.bucket).collect::<Vec<_>>();
        assert_eq!(buckets(&told.latencies), [bucket_of(3_000) as u32]);
        assert_eq!(buckets(&told.waits), [bucket_of(100_000) as u32, bucket_of(900_000) as u32]);
    }
}
