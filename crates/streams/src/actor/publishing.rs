//! Reports of one stream on their way to the log, so that a log that is behind holds back what the stream takes, not its ticks and
//! lanes. It must not know what a report says.

use std::{collections::VecDeque, future::pending, pin::Pin};

use crate::publish::{Publication, Publisher};

/// Reports that wait, or are on their way; with as many the stream takes no more frames. One frame can add as many as it closes
/// windows.
const WAITING_MAX: usize = 256;

/// Publications in order.
pub(super) struct Publishing {
    publisher: Publisher,
    waiting: VecDeque<Publication>,
    on_their_way: usize,
    handing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl std::fmt::Debug for Publishing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Publishing").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl Publishing {
    pub(super) fn new(publisher: Publisher) -> Self {
        Self { publisher, waiting: VecDeque::new(), on_their_way: 0, handing: None }
    }

    /// Takes a report; never waits.
    pub(super) fn push(&mut self, publication: Publication) {
        self.waiting.push_back(publication);
    }

    /// Whether the stream has to hold back.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() + self.on_their_way >= WAITING_MAX
    }

    /// Hands over what waits; done when that is, and never while nothing waits. It may be dropped and called again.
    pub(super) async fn next(&mut self) {
        if self.handing.is_none() {
            if self.waiting.is_empty() {
                return pending().await;
            }
            let (publisher, batch) = (self.publisher.clone(), std::mem::take(&mut self.waiting));
            self.on_their_way = batch.len();
            self.handing = Some(Box::pin(async move {
                for publication in batch {
                    publisher.publish(publication).await;
                }
            }));
        }
        if let Some(handing) = &mut self.handing {
            handing.await;
        }
        self.handing = None;
        self.on_their_way = 0;
    }

    /// Hands over everything.
    pub(super) async fn rest(&mut self) {
        while self.handing.is_some() || !self.waiting.is_empty() {
            self.next().await;
        }
    }
}
