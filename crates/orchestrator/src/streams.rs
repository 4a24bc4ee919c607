//! The streams there are: found by name, made when they are not there. It must not know what a stream does.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use acgs_vocabulary::{Problem, problem::Kind};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::{
    actor::{Actor, ClientEnd, INPUTS_MAX, Input, Joined, Surroundings},
    core::{Core, ReadEvidence},
    spec::StreamSpec,
};

/// All streams. Clones share them.
#[derive(Clone, Debug)]
pub struct Streams {
    around: Surroundings,
    read_evidence: ReadEvidence,
    by_name: Arc<Mutex<HashMap<Arc<str>, mpsc::Sender<Input>>>>,
    tasks: TaskTracker,
    next_client: Arc<AtomicU64>,
}

impl Streams {
    /// None yet.
    #[must_use]
    pub fn new(around: Surroundings, read_evidence: ReadEvidence) -> Self {
        Self {
            around,
            read_evidence,
            by_name: Arc::default(),
            tasks: TaskTracker::new(),
            next_client: Arc::default(),
        }
    }

    /// A number for a new client.
    #[must_use]
    pub fn client_id(&self) -> u64 {
        self.next_client.fetch_add(1, Ordering::Relaxed)
    }

    /// A stream that is there.
    pub async fn find(&self, stream_id: &str) -> Option<mpsc::Sender<Input>> {
        self.by_name.lock().await.get(stream_id).filter(|stream| !stream.is_closed()).cloned()
    }

    /// Joins a client to its stream, which is made when it is not there and the client is not coming back.
    ///
    /// # Errors
    /// `RESUME_EXPIRED`, `STREAMS`, `SCHEMA_CHANGED`, or a judge's refusal.
    pub async fn join(
        &self,
        spec: StreamSpec,
        resume_after: u64,
        client: ClientEnd,
    ) -> Result<(mpsc::Sender<Input>, Joined), Problem> {
        let stream = self.find_or_make(&spec, resume_after).await?;
        let (reply, answer) = oneshot::channel();
        let join = Input::Join { spec: Box::new(spec), resume_after, client, reply };
        let ended =
            || Problem::new(Kind::Unavailable, "STREAM_ENDED", "the stream has just ended; open it again");
        stream.send(join).await.map_err(|_| ended())?;
        let joined = answer.await.map_err(|_| ended())??;
        Ok((stream, joined))
    }

    async fn find_or_make(
        &self,
        spec: &StreamSpec,
        resume_after: u64,
    ) -> Result<mpsc::Sender<Input>, Problem> {
        // Held while lanes open, so that two clients of one new stream make one stream.
        let mut by_name = self.by_name.lock().await;
        by_name.retain(|_, stream| !stream.is_closed());
        if let Some(stream) = by_name.get(&spec.stream_id) {
            return Ok(stream.clone());
        }
        if resume_after > 0 {
            let message = "the stream is over or was detached for too long; open it from the start";
            return Err(Problem::new(Kind::Precondition, "RESUME_EXPIRED", message));
        }
        if by_name.len() >= self.around.config.streams_max {
            let message = format!("the server has {} streams already", by_name.len());
            return Err(Problem::exhausted("STREAMS", message, 10_000));
        }
        let core = Core::new(spec.clone(), self.around.config, self.read_evidence)
            .map_err(|error| Problem::field("open.label_schema", "BAD_SCHEMA", error))?;
        let actor = Actor::open(core, self.around.clone()).await?;
        let (stream, inputs) = mpsc::channel(INPUTS_MAX);
        by_name.insert(Arc::clone(&spec.stream_id), stream.clone());
        self.tasks.spawn(actor.run(inputs));
        Ok(stream)
    }

    /// Waits until every stream has ended; they end when the surroundings stop.
    pub async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
