//! How busy an instance is: its latency, as a peak that decays, times the calls in flight (peak EWMA, as Finagle has it).
//! It must not know what a call is.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// What is believed of an instance that has not answered yet: little, so that it gets work, and not all at once.
const SEED_US: f64 = 1_000.0;
/// A sample counts e times less after this long.
const DECAY: Duration = Duration::from_secs(10);
/// What a failed call counts as: an instance that fails fast must not look fast.
const FAILURE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Gauge {
    estimate: Mutex<Estimate>,
    in_flight: AtomicUsize,
}

#[derive(Debug)]
struct Estimate {
    latency_us: f64,
    at: Instant,
}

impl Gauge {
    pub(super) fn new() -> Self {
        let estimate = Estimate { latency_us: SEED_US, at: Instant::now() };
        Self { estimate: Mutex::new(estimate), in_flight: AtomicUsize::new(0) }
    }

    /// Another process answers at the same place: what was believed of the one before does not count.
    pub(super) fn forget(&self) {
        let mut estimate = self.estimate.lock().unwrap_or_else(PoisonError::into_inner);
        *estimate = Estimate { latency_us: SEED_US, at: Instant::now() };
    }

    /// A call begins.
    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// A call is over.
    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// A call took this long until its first answer.
    pub(super) fn observe(&self, latency: Duration) {
        self.update(latency.as_secs_f64() * 1e6);
    }

    /// A call failed.
    pub(super) fn fail(&self) {
        self.observe(FAILURE);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Microseconds; decays while nothing is observed, so that a slow instance is tried again some day.
    pub(super) fn latency_us(&self) -> f64 {
        self.update(0.0)
    }

    /// The more, the busier.
    pub(super) fn cost(&self) -> f64 {
        self.latency_us() * (self.in_flight() + 1) as f64
    }

    fn update(&self, sample_us: f64) -> f64 {
        let now = Instant::now();
        let mut estimate = self.estimate.lock().unwrap_or_else(PoisonError::into_inner);
        if sample_us >= estimate.latency_us {
            estimate.latency_us = sample_us;
        } else {
            let age = now.saturating_duration_since(estimate.at).as_secs_f64();
            let kept = (-age / DECAY.as_secs_f64()).exp();
            estimate.latency_us = estimate.latency_us * kept + sample_us * (1.0 - kept);
        }
        estimate.at = now;
        estimate.latency_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn peaks_count_at_once_and_decay() {
        let gauge = Gauge::new();
        gauge.observe(Duration::from_millis(50));
        assert!((gauge.latency_us() - 50_000.0).abs() < 1.0);
        gauge.begin();
        gauge.begin();
        assert!((gauge.cost() - 150_000.0).abs() < 3.0);
        tokio::time::advance(DECAY).await;
        let decayed = gauge.latency_us();
        assert!((decayed - 50_000.0 / std::f64::consts::E).abs() < 5.0, "{decayed}");
        gauge.fail();
        assert!((gauge.latency_us() - 1e6).abs() < 1.0);
        gauge.end();
        gauge.end();
        assert_eq!(gauge.in_flight(), 0);
    }
}
