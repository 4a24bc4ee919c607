//! Lanes to judges in this process: each judge is a task, and rows are shared, not copied.

use std::{collections::HashMap, fmt, sync::Arc};

use acgs_vocabulary::{JudgeKind, Problem, problem::Kind};
use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::{
    judge::{Connector, Judge, LANE_QUEUE, LaneHandle, applied},
    message::{LaneDown, LaneId},
};

/// Makes a judge for a new lane.
pub type JudgeFactory = Arc<dyn Fn() -> Box<dyn Judge> + Send + Sync>;

/// Opens lanes to judges of this process.
#[derive(Clone)]
pub struct InProcess {
    factories: HashMap<JudgeKind, JudgeFactory>,
}

impl fmt::Debug for InProcess {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.factories.keys()).finish()
    }
}

impl InProcess {
    /// With these judges.
    #[must_use]
    pub fn new(factories: HashMap<JudgeKind, JudgeFactory>) -> Self {
        Self { factories }
    }
}

#[async_trait]
impl Connector for InProcess {
    async fn open(&self, lane: LaneId) -> Result<LaneHandle, Problem> {
        let Some(factory) = self.factories.get(&lane.judge) else {
            let message = format!("there is no {} judge in this process", lane.judge.as_str());
            return Err(Problem::new(Kind::Unavailable, "NO_JUDGE", message));
        };
        let mut judge = factory();
        let (down, mut messages) = mpsc::channel::<LaneDown>(LANE_QUEUE);
        let (answers, up) = mpsc::channel(LANE_QUEUE);
        // The task ends with its lane: when either end is dropped.
        tokio::spawn(async move {
            while let Some(message) = messages.recv().await {
                match applied(&mut *judge, message).await {
                    Ok(ups) => {
                        for up in ups {
                            if answers.send(Ok(up)).await.is_err() {
                                return;
                            }
                        }
                    }
                    Err(problem) => {
                        let _gone = answers.send(Err(problem)).await;
                        return;
                    }
                }
            }
        });
        Ok(LaneHandle { down, up })
    }

    fn is_remote(&self) -> bool {
        false
    }
}
