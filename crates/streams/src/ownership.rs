//! Whether a process still knows that it owns a stream: one that stood still, stopped or suspended, may have lost it meanwhile, and asks
//! before it says anything. It must not know what an owner is asked by.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
};

use acgs_vocabulary::ports::Clock;
use tokio::sync::Notify;

/// Of one lease.
#[derive(Debug)]
pub struct Ownership {
    clock: Arc<dyn Clock>,
    life_ms: u64,
    /// When it was asked last with an answer that says something, by both clocks: the steady one stands still while a machine is suspended.
    known_us: AtomicU64,
    known_ms: AtomicI64,
    /// It has stood still: only a good answer makes it sure again.
    slept: AtomicBool,
    wanted: Notify,
    told: Notify,
}

/// When it was asked, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    at_us: u64,
    at_ms: i64,
}

impl Asked {
    /// It is asked now.
    #[must_use]
    pub fn now(clock: &dyn Clock) -> Self {
        Self { at_us: clock.monotonic_us(), at_ms: clock.now_ms() }
    }
}

impl Ownership {
    /// It has just been taken, by who asked for it then; unsure after so long without a word.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, life_ms: u64, asked: Asked) -> Self {
        let (known_us, known_ms) = (asked.at_us.into(), asked.at_ms.into());
        Self {
            clock,
            life_ms,
            known_us,
            known_ms,
            slept: false.into(),
            wanted: Notify::new(),
            told: Notify::new(),
        }
    }

    /// Whether it was known within the life of a lease.
    #[must_use]
    pub fn is_sure(&self) -> bool {
        let (at_us, at_ms) = (self.known_us.load(Ordering::Acquire), self.known_ms.load(Ordering::Acquire));
        !self.is_old(Asked { at_us, at_ms })
    }

    /// Asks, and waits until it is sure.
    pub async fn sure(&self) {
        loop {
            let told = self.told.notified();
            if self.is_sure() {
                return;
            }
            self.wanted.notify_one();
            told.await;
        }
    }

    /// Done when somebody waits for an answer.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// It is about to be asked: whether it has stood still is known now. What is answered is true of this moment, however late it comes.
    pub fn look(&self) -> Asked {
        if !self.is_sure() {
            self.slept.store(true, Ordering::Release);
        }
        Asked::now(&*self.clock)
    }

    /// It was ours then.
    pub fn confirmed(&self, asked: Asked) {
        self.slept.store(false, Ordering::Release);
        self.note(asked);
    }

    /// Nobody could be asked. That is not known to be lost, unless it stood still before, or meanwhile.
    pub fn tried(&self, asked: Asked) {
        if self.is_old(asked) {
            self.slept.store(true, Ordering::Release);
        }
        if !self.slept.load(Ordering::Acquire) {
            self.note(asked);
        }
    }

    fn is_old(&self, asked: Asked) -> bool {
        let steady_us = self.clock.monotonic_us().saturating_sub(asked.at_us);
        let wall_ms = self.clock.now_ms().saturating_sub(asked.at_ms);
        steady_us > self.life_ms * 1_000 || wall_ms > self.life_ms as i64
    }

    fn note(&self, asked: Asked) {
        self.known_us.store(asked.at_us, Ordering::Release);
        self.known_ms.store(asked.at_ms, Ordering::Release);
        self.told.notify_waiters();
    }
}
