//! A client as the stream's task sees it: what it has been told, what it is owed, and whether it keeps up.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::mpsc;

use super::{ClientEnd, Told};
use crate::core::{Report, Totals};

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) end: ClientEnd,
    pub(super) told_through: u64,
    pub(super) accepted_through: u64,
    pub(super) owed_bytes: u64,
    pub(super) owes_answer: bool,
    pub(super) lagging_since_us: Option<u64>,
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
                Ok(()) => {
                    self.told_through = report.report_seq;
                    self.lagging_since_us = None;
                }
                Err(Full(_)) => {
                    self.lagging_since_us.get_or_insert(now_us);
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
                    self.lagging_since_us = None;
                }
                Err(Full(_)) => {
                    self.lagging_since_us.get_or_insert(now_us);
                }
                Err(Closed(_)) => return false,
            }
        }
        !self.end.out.is_closed()
    }
}
