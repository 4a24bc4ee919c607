//! How far event time has come: per source partition, the minimum over active ones, never back.
//! It must not know windows. Watermarks are exclusive: `W` says that later on-time rows have a time of at least `W`.

use std::collections::HashMap;

/// Before anything was seen.
pub const BEGINNING: i64 = i64::MIN;
/// After the last row.
pub const END: i64 = i64::MAX;

/// Watermarks of the partitions of one stream.
#[derive(Clone, Debug)]
pub struct Watermarks {
    out_of_orderness_ms: i64,
    partitions: HashMap<String, Partition>,
    current: i64,
}

#[derive(Clone, Copy, Debug)]
struct Partition {
    watermark: i64,
    idle: bool,
    /// When something of it was heard last, by a clock that never goes back.
    heard_ms: i64,
}

impl Watermarks {
    /// No partitions yet; rows may be this much older than the newest of their partition.
    #[must_use]
    pub fn new(out_of_orderness_ms: i64) -> Self {
        Self { out_of_orderness_ms, partitions: HashMap::new(), current: BEGINNING }
    }

    /// The watermark of the stream.
    #[must_use]
    pub fn current(&self) -> i64 {
        self.current
    }

    /// Partitions that there are.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Declares a partition: it holds the stream back until it has rows, is idle or ends.
    pub fn declare(&mut self, partition: &str, now_ms: i64) {
        self.partitions.entry(partition.to_owned()).or_insert(Partition {
            watermark: BEGINNING,
            idle: false,
            heard_ms: now_ms,
        });
    }

    /// Somebody is there for a partition: its silence begins now.
    pub fn heard(&mut self, partition: &str, now_ms: i64) {
        self.declare(partition, now_ms);
        if let Some(own) = self.partitions.get_mut(partition) {
            own.heard_ms = own.heard_ms.max(now_ms);
        }
    }

    /// What the other active partitions hold the stream to, while this one delivers a frame.
    pub fn begin_frame(&mut self, partition: &str, now_ms: i64) -> FrameClock {
        self.declare(partition, now_ms);
        let others = self.minimum(|name| name != partition).unwrap_or(END);
        let own = self.partitions.get_mut(partition).map_or(BEGINNING, |own| {
            own.heard_ms = now_ms;
            own.idle = false;
            own.watermark
        });
        FrameClock { others, own, current: self.current, out_of_orderness_ms: self.out_of_orderness_ms }
    }

    /// Takes over what a frame did to its partition.
    pub fn end_frame(&mut self, partition: &str, clock: &FrameClock) {
        if let Some(own) = self.partitions.get_mut(partition) {
            own.watermark = clock.own;
        }
        self.current = self.current.max(clock.current);
    }

    /// Leaves a partition out until its next frame; returns the stream's watermark.
    pub fn idle(&mut self, partition: &str) -> i64 {
        if let Some(partition) = self.partitions.get_mut(partition) {
            partition.idle = true;
        }
        self.settle()
    }

    /// Ends a partition; returns the stream's watermark.
    pub fn end(&mut self, partition: &str) -> i64 {
        if let Some(partition) = self.partitions.get_mut(partition) {
            partition.watermark = END;
        }
        self.settle()
    }

    /// What silence does: partitions silent for `idle_timeout_ms` are left out; when all are silent for
    /// `idle_advance_ms` (0 = never) event time goes on as fast as the clock. Time in which nobody was listened to counts for nobody. Who waits, with what was received of it and could not be taken
    /// yet, is not silent, however long it takes. Returns the stream's watermark.
    pub fn tick(
        &mut self,
        now_ms: i64,
        idle_timeout_ms: i64,
        idle_advance_ms: i64,
        unheard_ms: i64,
        waits: impl Fn(&str) -> bool,
    ) -> i64 {
        let mut all_silent = !self.partitions.is_empty();
        for (name, partition) in self.partitions.iter_mut().filter(|(_, it)| it.watermark != END) {
            partition.heard_ms = partition.heard_ms.saturating_add(unheard_ms).min(now_ms);
            if waits(name) {
                (partition.heard_ms, partition.idle) = (now_ms, false);
            }
            let silent_ms = now_ms.saturating_sub(partition.heard_ms);
            partition.idle |= silent_ms >= idle_timeout_ms;
            all_silent &= idle_advance_ms > 0 && silent_ms >= idle_advance_ms;
        }
        if all_silent && idle_advance_ms > 0 {
            for partition in self.partitions.values_mut() {
                if partition.watermark != END && partition.watermark != BEGINNING {
                    let silent_ms = now_ms.saturating_sub(partition.heard_ms);
                    partition.watermark = partition.watermark.saturating_add(silent_ms);
                    partition.heard_ms = now_ms;
                    // It is the clock that moves it now, so it must count again.
                    partition.idle = false;
                }
            }
        }
        self.settle()
    }

    fn settle(&mut self) -> i64 {
        let ended = |partition: &Partition| partition.watermark == END;
        if !self.partitions.is_empty() && self.partitions.values().all(ended) {
            self.current = END;
        } else if let Some(minimum) = self.minimum(|_| true) {
            self.current = self.current.max(minimum);
        }
        self.current
    }

    /// The least watermark of partitions that are neither idle nor at their end; `None` when there are none, so that
    /// silence alone moves nothing.
    fn minimum(&self, wanted: impl Fn(&str) -> bool) -> Option<i64> {
        let chosen = self.partitions.iter().filter(|(name, _)| wanted(name)).map(|(_, partition)| partition);
        chosen
            .filter(|partition| !partition.idle && partition.watermark != END)
            .map(|partition| partition.watermark)
            .min()
    }
}

/// The stream's watermark while one partition delivers rows one by one.
#[derive(Clone, Copy, Debug)]
pub struct FrameClock {
    others: i64,
    own: i64,
    current: i64,
    out_of_orderness_ms: i64,
}

impl FrameClock {
    /// The watermark now.
    #[must_use]
    pub fn current(&self) -> i64 {
        self.current
    }

    /// A row of this time was seen; true when the stream's watermark moved.
    pub fn observe(&mut self, time_ms: i64) -> bool {
        let own = time_ms.saturating_sub(self.out_of_orderness_ms);
        if own <= self.own {
            return false;
        }
        self.own = own;
        let reached = own.min(self.others);
        let moved = reached > self.current;
        self.current = self.current.max(reached);
        moved
    }
}
