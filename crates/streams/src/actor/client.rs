//! A client as the stream's task sees it: what it has been told, what it is owed, and whether it keeps up.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
};

use tokio::sync::mpsc;

use super::{ClientEnd, Told};
use crate::core::{Report, Totals};

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) end: ClientEnd,
    /// Which client of its partition it is.
    pub(super) join: u64,
    pub(super) told_through: u64,
    pub(super) accepted_through: u64,
    pub(super) owed_bytes: u64,
    pub(super) owes_answer: bool,
    /// Since when it has not been told all that there is, or since when it was looked at last.
    pub(super) lagging_since_us: Option<u64>,
    /// The last report that it had been told then: one that keeps up has taken it by now.
    pub(super) due: u64,
}

impl Client {
    /// False when the client is gone.
    pub(super) fn tell(
        &mut self,
        kept: &VecDeque<Arc<Report>>,
        totals: Totals,
        idle: bool,
        worth: u64,
        now_us: u64,
    ) -> bool {
        use mpsc::error::TrySendError::{Closed, Full};
        let first = kept.front().map_or(u64::MAX, |report| report.report_seq);
        let start = (self.told_through + 1).saturating_sub(first) as usize;
        for report in kept.iter().skip(start) {
            match self.end.out.try_send(Told::Report(Arc::clone(report))) {
                Ok(()) => self.told_through = report.report_seq,
                Err(Full(_)) => {
                    self.lags(now_us);
                    return true;
                }
                Err(Closed(_)) => return false,
            }
        }
        if self.owes_answer && (idle || self.owed_bytes >= worth) {
            let accepted =
                Told::Accepted { through_seq: self.accepted_through, credit_bytes: self.owed_bytes, totals };
            match self.end.out.try_send(accepted) {
                Ok(()) => {
                    self.owed_bytes = 0;
                    self.owes_answer = false;
                }
                Err(Full(_)) => {
                    self.lags(now_us);
                    return true;
                }
                Err(Closed(_)) => return false,
            }
        }
        // What waits for its connection is not taken yet.
        if self.end.handed.load(Ordering::Relaxed) < self.told_through {
            self.lags(now_us);
        } else {
            self.lagging_since_us = None;
        }
        !self.end.out.is_closed()
    }

    /// It is not told all that there is; what it took before does not count.
    fn lags(&mut self, now_us: u64) {
        if self.lagging_since_us.is_none() {
            self.lagging_since_us = Some(now_us);
            self.due = self.told_through;
        }
    }

    /// Whether it has been behind for so long and took less than a queue of reports meanwhile: one now and then holds a stream as surely as
    /// none. One that takes them steadily is given as long again.
    pub(super) fn has_stalled(&mut self, stalled_us: u64, now_us: u64) -> bool {
        let Some(since_us) = self.lagging_since_us else { return false };
        if now_us.saturating_sub(since_us) <= stalled_us {
            return false;
        }
        let keeps_up = self.end.handed.load(Ordering::Relaxed) >= self.due;
        (self.lagging_since_us, self.due) = (Some(now_us), self.told_through);
        !keeps_up
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use acgs_statistics::harm::Harm;
    use acgs_vocabulary::Window;

    use super::*;
    use crate::{
        actor::{CLIENT_QUEUE, messages::Waiting},
        core::Summary,
    };

    const SECOND_US: u64 = 1_000_000;

    /// A client behind a queue of so many, and how many reports it takes each second; whether it is let go within five minutes.
    fn is_let_go(queue: usize, taken_per_second: usize) -> bool {
        let (out, mut told) = mpsc::channel(queue);
        let end = ClientEnd {
            id: 1,
            partition: "p".into(),
            life: String::new(),
            out,
            handed: Arc::default(),
            farewell: Arc::new(OnceLock::new()),
            waiting: Waiting::default(),
            reader: tokio_util::sync::CancellationToken::new().drop_guard(),
        };
        let mut client = Client {
            end,
            join: 1,
            told_through: 0,
            accepted_through: 0,
            owed_bytes: 0,
            owes_answer: false,
            lagging_since_us: None,
            due: 0,
        };
        let report = |report_seq| Report {
            report_seq,
            window: Window { stream_id: "s".into(), key: "".into(), start_ms: 0, end_ms: 1 },
            revision: 0,
            parts: Vec::new(),
            harm: Harm::Unknown,
            drift_kinds: Vec::new(),
            findings: Vec::new(),
            alerts: Vec::new(),
            latency_us: 0,
            summary: Summary::default(),
        };
        let kept: VecDeque<Arc<Report>> = (1..=100_000).map(|seq| Arc::new(report(seq))).collect();
        for second in 0..300 {
            assert!(client.tell(&kept, Totals::default(), true, 0, second * SECOND_US));
            if client.has_stalled(30 * SECOND_US, second * SECOND_US) {
                return true;
            }
            let now_and_then = usize::from(taken_per_second == 0 && second % 29 == 28);
            for _ in 0..taken_per_second + now_and_then {
                let Told::Report(report) = told.try_recv().unwrap() else { panic!("only reports") };
                client.end.handed.store(report.report_seq, Ordering::Relaxed);
            }
        }
        false
    }

    #[test]
    fn one_report_now_and_then_is_not_reading() {
        assert!(is_let_go(CLIENT_QUEUE, 0));
        assert!(is_let_go(CLIENT_QUEUE, 1));
        assert!(!is_let_go(CLIENT_QUEUE, 10));
        assert!(!is_let_go(CLIENT_QUEUE, 200));
    }
}
