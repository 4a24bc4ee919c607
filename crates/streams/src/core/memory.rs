//! What is remembered of windows that may be judged again, within the process's memory. It must not know when they are.

use std::collections::{BTreeMap, HashMap};

use acgs_lane::{LaneId, message::Verdict};
use acgs_vocabulary::{VerdictStatus, budget::Reservation};
use acgs_windowing::WindowKey;

/// What a finding or an alert takes, in bytes, about.
pub(super) const FOUND: usize = 512;
/// What a window takes beside what was said of it.
const BASE: usize = 256;
/// Bytes that a stream may remember whatever others do.
const LITTLE: usize = 1 << 20;
/// Why an answer is not there any more.
const FORGOTTEN: &str = "it was judged; the answer is no longer held for want of memory (memory.reports), and stands in the report before";

/// Bytes that a verdict holds, about.
pub(super) fn weight(verdict: &Verdict) -> usize {
    size_of::<Verdict>() + verdict.report.len() + verdict.findings.len() * FOUND
}

/// What is remembered of a window that may be judged again.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) next_revision: u32,
    pub(super) answers: BTreeMap<LaneId, Answer>,
    pub(super) pending: u32,
    pub(super) finished: bool,
    /// Rows whose label could still come when it was judged last.
    pub(super) labels_awaited: u64,
}

/// What one judge was asked of a window, and what it said.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// Of the newest question.
    pub(super) revision: u32,
    /// The newest answer.
    pub(super) verdict: Option<Verdict>,
    /// The judge was lost before it answered.
    pub(super) waived: bool,
}

impl Memory {
    /// Whether every judge that still can has answered what it was asked last.
    fn is_answered(&self) -> bool {
        let answered = |answer: &Answer| {
            answer.verdict.as_ref().is_some_and(|verdict| verdict.revision == answer.revision)
        };
        self.answers.values().all(|answer| answer.waived || answered(answer))
    }

    /// Bytes of its answers.
    fn weight(&self) -> usize {
        BASE + self.answers.values().filter_map(|answer| answer.verdict.as_ref()).map(weight).sum::<usize>()
    }

    /// Whether nothing will be said of the window any more.
    pub(super) fn is_over(&self) -> bool {
        self.finished && self.pending == 0 && self.is_answered()
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Memories {
    windows: HashMap<WindowKey, Memory>,
    room: Reservation,
    /// Nothing is given up before so much is held.
    shed_from: usize,
}

impl Memories {
    pub(super) fn new(room: Reservation) -> Self {
        Self { windows: HashMap::new(), room, shed_from: LITTLE }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    pub(super) fn get(&self, window: &WindowKey) -> Option<&Memory> {
        self.windows.get(window)
    }

    pub(super) fn get_mut(&mut self, window: &WindowKey) -> Option<&mut Memory> {
        self.windows.get_mut(window)
    }

    /// Of a window that is asked about.
    pub(super) fn of(&mut self, window: &WindowKey) -> &mut Memory {
        let room = &mut self.room;
        self.windows.entry(window.clone()).or_insert_with(|| {
            room.force(room.bytes() + BASE);
            Memory::default()
        })
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Memory> {
        self.windows.values_mut()
    }

    pub(super) fn remove(&mut self, window: &WindowKey) {
        if let Some(memory) = self.windows.remove(window) {
            self.room.force(self.room.bytes().saturating_sub(memory.weight()));
        }
    }

    /// Forgets those of which nothing will be said any more.
    pub(super) fn forget_over(&mut self) {
        let mut bytes = self.room.bytes();
        self.windows.retain(|_, memory| {
            let is_over = memory.is_over();
            bytes = bytes.saturating_sub(if is_over { memory.weight() } else { 0 });
            !is_over
        });
        self.room.force(bytes);
    }

    /// An answer holds so much where there was another.
    pub(super) fn changed(&mut self, before: usize, after: usize) {
        self.room.force(self.room.bytes().saturating_sub(before) + after);
        if self.room.bytes() > self.shed_from && self.room.is_over() {
            self.shed();
        }
    }

    /// Gives up a quarter of what was said, of the oldest windows first: one that is reported again says that it was, and no more.
    fn shed(&mut self) {
        let target = self.room.bytes() / 4 * 3;
        let mut reported: Vec<(&WindowKey, &mut Memory)> =
            self.windows.iter_mut().filter(|(_, memory)| memory.pending == 0).collect();
        reported.sort_unstable_by(|one, other| one.0.cmp(other.0));
        let mut bytes = self.room.bytes();
        for (_, memory) in reported {
            if bytes <= target {
                break;
            }
            for verdict in memory.answers.values_mut().filter_map(|answer| answer.verdict.as_mut()) {
                let before = weight(verdict);
                verdict.status = VerdictStatus::Unavailable;
                FORGOTTEN.clone_into(&mut verdict.reason);
                (verdict.report, verdict.findings) = Default::default();
                bytes = bytes.saturating_sub(before) + weight(verdict);
            }
        }
        self.room.force(bytes);
        // To look for the oldest is dear: not before there is as much again.
        self.shed_from = (bytes / 4 * 5).max(LITTLE);
    }
}

#[cfg(test)]
mod tests {
    use acgs_vocabulary::{
        JudgeKind, Window,
        budget::{Budget, Use},
    };

    use super::*;

    fn verdict(start_ms: i64, bytes: usize) -> Verdict {
        let window = Window { stream_id: "s".into(), key: "".into(), start_ms, end_ms: start_ms + 1 };
        Verdict {
            window,
            revision: 0,
            status: VerdictStatus::Ok,
            reason: String::new(),
            report: vec![1; bytes].into(),
            findings: Vec::new(),
        }
    }

    #[test]
    fn the_oldest_answers_are_given_up_and_say_so() {
        let budget = Budget::new(64 << 20, [0, 0, 0, 25, 0, 0]);
        let share = budget.of(Use::Reports);
        let mut memories = Memories::new(share.nothing());
        for start_ms in 0..1_000 {
            let window = WindowKey { end_ms: start_ms + 1, start_ms, key: "".into() };
            let said = verdict(start_ms, 64 << 10);
            let after = weight(&said);
            let answer = Answer { revision: 0, verdict: Some(said), waived: false };
            memories.of(&window).answers.insert(LaneId::whole(JudgeKind::Quality), answer);
            memories.changed(0, after);
            assert!(share.held() <= share.bytes_max() + after + BASE, "after {start_ms}: {}", share.held());
        }
        let status = |start_ms: i64| {
            let window = WindowKey { end_ms: start_ms + 1, start_ms, key: "".into() };
            let verdict = memories.get(&window)?.answers.values().next()?.verdict.clone()?;
            Some((verdict.status, verdict.reason, verdict.report.len()))
        };
        assert_eq!(status(0), Some((VerdictStatus::Unavailable, FORGOTTEN.to_owned(), 0)));
        assert_eq!(status(999), Some((VerdictStatus::Ok, String::new(), 64 << 10)));
        for start_ms in 0..1_000 {
            memories.remove(&WindowKey { end_ms: start_ms + 1, start_ms, key: "".into() });
        }
        assert_eq!(share.held(), 0);
    }
}
