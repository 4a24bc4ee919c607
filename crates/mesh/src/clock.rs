//! The clocks of this machine: the only place that reads them.

use std::time::{SystemTime, UNIX_EPOCH};

use acgs_vocabulary::ports::Clock;

/// Reads the machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start_us: u64,
}

impl SystemClock {
    /// Starts counting now.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a clock that starts by default would hide when")]
    pub fn new() -> Self {
        Self { start_us: steady_us() }
    }
}

/// Also the time that a machine sleeps passes for everybody else.
#[cfg(target_os = "linux")]
fn steady_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_nsec.unsigned_abs() / 1_000
}

#[cfg(not(target_os = "linux"))]
fn steady_us() -> u64 {
    use std::{sync::LazyLock, time::Instant};
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_micros() as u64
}

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        // A clock before 1970 is set wrong; 0 says so better than a panic.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
    }

    fn monotonic_us(&self) -> u64 {
        steady_us() - self.start_us
    }
}
