//! The streams there are: found by name, made when they are not there. It must not know what a stream does.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use acgs_columns::{Field, Kind, OwnedCell, RecordBatch, Role, Schema, builder::BatchBuilder};
use acgs_vocabulary::{
    Problem,
    ports::records::{FramePlace, FrameRecorder, FrameSource},
    problem, text,
};
use tokio::sync::{Mutex, OnceCell, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::{
    actor::{Actor, ActorDeps, ClientEnd, INPUTS_MAX, Input, Joined, Standing},
    core::{Core, LabelCounts, ReadEvidence, labels, value_of_kind},
    leases::{Lease, Leases},
    spec::StreamSpec,
};

/// A stream, or one whose lanes are just being opened: whoever comes meanwhile waits for the same one.
type Cell = Arc<OnceCell<Stream>>;

/// A stream that runs.
#[derive(Clone, Debug)]
pub struct Stream {
    /// The model; may be empty.
    pub model_id: Arc<str>,
    /// What labels that come later are; `None` when none may.
    pub labels: Option<LabelKinds>,
    /// To its task.
    pub inputs: mpsc::Sender<Input>,
    /// Whether it has clients.
    pub standing: Arc<Standing>,
    /// To the record log, when it is kept there.
    pub recorder: Option<Arc<dyn FrameRecorder>>,
}

/// All streams. Clones share them.
#[derive(Clone, Debug)]
pub struct Streams {
    deps: ActorDeps,
    read_evidence: ReadEvidence,
    leases: Option<Leases>,
    by_name: Arc<Mutex<HashMap<Arc<str>, Cell>>>,
    tasks: TaskTracker,
    next_client: Arc<AtomicU64>,
}

/// Kinds of ids and labels that a stream can join.
#[derive(Clone, Debug)]
pub struct LabelKinds {
    id: Kind,
    label: Field,
}

impl LabelKinds {
    fn of(spec: &StreamSpec) -> Option<Self> {
        let id = spec.schema.index_of_role(Role::Id)?;
        Some(Self { id: spec.schema.fields()[id].kind, label: spec.late_label.clone()? })
    }

    /// Whether labels of a schema can be joined. A truth may come in another kind than the stream's, as a word or a number that says the same: one
    /// that cannot be said so is dropped and counted.
    fn check(&self, labels: &Schema) -> Result<(), Problem> {
        let kind = |role| labels.index_of_role(role).map(|place| labels.fields()[place].kind);
        let bad = |what: &str, own: Option<Kind>, theirs: Kind| {
            let own = own.map_or_else(|| "missing".to_owned(), |kind| format!("{kind:?}"));
            let message = format!("the {what} of these labels is {own}, the stream's is {theirs:?}");
            Err(Problem::field("header.schema.fields", "BAD_SCHEMA", message))
        };
        if kind(Role::Id) != Some(self.id) {
            return bad("ID", kind(Role::Id), self.id);
        }
        match (self.label.kind, kind(Role::Label)) {
            // Of a number nobody knows whether a one is a yes: it may be a no beside twos.
            (Kind::Boolean, theirs @ Some(Kind::Double | Kind::Int64)) | (_, theirs @ None) => {
                bad("LABEL", theirs, self.label.kind)
            }
            (_, Some(_)) => Ok(()),
        }
    }

    /// Labels as the stream has them, so that whoever reads them from the record log finds the kind that its rows have.
    fn own(&self, batch: &RecordBatch) -> Result<RecordBatch, Problem> {
        let broken =
            |error: &dyn std::fmt::Display| Problem::internal(format!("labels cannot be kept: {error}"));
        let place = |role| batch.schema().index_of_role(role);
        let (Some(id), Some(label)) = (place(Role::Id), place(Role::Label)) else { return Ok(batch.clone()) };
        let fields = vec![batch.schema().fields()[id].clone(), self.label.clone()];
        // An id that is called as the stream's label is stays with the label's own name.
        let Ok(schema) = Schema::new(fields).map(Arc::new) else { return Ok(batch.clone()) };
        if batch.schema().fields()[label].kind == self.label.kind {
            let columns = vec![batch.columns()[id].clone(), batch.columns()[label].clone()];
            return RecordBatch::new(schema, batch.rows(), columns).map_err(|error| broken(&error));
        }
        let mut builder = BatchBuilder::new(schema);
        for row in 0..batch.rows() {
            let value = OwnedCell::of(&batch.columns()[label], row);
            let value = value_of_kind(value, self.label.kind).unwrap_or(OwnedCell::Null);
            let cells = [batch.columns()[id].cell(row), value.cell()];
            builder.push(&cells).map_err(|error| broken(&error))?;
        }
        builder.finish().map_err(|error| broken(&error))
    }
}

/// Whose labels come.
#[derive(Clone, Debug)]
pub enum LabelTarget {
    /// Those of one stream.
    Stream(String),
    /// Those of every stream of a model.
    Model(String),
}

impl LabelTarget {
    fn unknown(&self) -> Problem {
        let (Self::Stream(name) | Self::Model(name)) = self;
        Problem::missing("stream", name.clone(), "UNKNOWN_STREAM")
    }
}

/// Labels of one call on their way to their streams.
#[derive(Debug)]
pub struct LabelSubmission {
    streams: Vec<Stream>,
    target: LabelTarget,
    schema: Arc<Schema>,
    /// Streams of the model that these labels do not fit.
    misfits: u64,
    /// Stands for a partition in the record log.
    source: String,
    seq: u64,
    counts: LabelCounts,
}

impl LabelSubmission {
    /// What batches are made of.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// What became of the labels so far.
    #[must_use]
    pub fn counts(&self) -> LabelCounts {
        self.counts
    }

    /// Takes a batch, after it is in the record log where the streams are kept there.
    ///
    /// # Errors
    /// `UNKNOWN_STREAM` when every stream has ended, or the home's trouble.
    pub async fn take(&mut self, batch: &RecordBatch) -> Result<(), Problem> {
        self.seq += 1;
        // Labels are joined by record over all streams of a model: once is enough.
        let mut takes = self.streams.iter().filter_map(|it| it.labels.as_ref().zip(it.recorder.as_ref()));
        if let Some((kinds, recorder)) = takes.next() {
            let own = kinds.own(batch)?;
            let place = FramePlace { partition: &self.source, join: 1, joined_after: 0, seq: self.seq };
            recorder.keep(recorder.encode_labels(place, &own)?).await?;
        }
        self.counts.dropped += self.misfits * batch.rows() as u64;
        let mut taken = false;
        for stream in &self.streams {
            let (reply, counts) = oneshot::channel();
            let input = Input::SubmitLabels { labels: labels(&self.schema, batch), reply };
            // One that has just ended has nothing to label any more.
            if stream.inputs.send(input).await.is_err() {
                continue;
            }
            let Ok(counts) = counts.await else { continue };
            taken = true;
            self.counts.matched += counts.matched;
            self.counts.waiting += counts.waiting;
            self.counts.dropped += counts.dropped;
            self.counts.corrected += counts.corrected;
        }
        if taken { Ok(()) } else { Err(self.target.unknown()) }
    }
}

/// Gives up the stream without clients that is missed the least, if there is one: those that somebody left do not keep others out.
fn make_room(by_name: &mut HashMap<Arc<str>, Cell>) {
    let worth = |(name, cell): (&Arc<str>, &Cell)| {
        let stream = cell.get()?;
        // Who waits at the door is there.
        let (is_used, since_us) =
            stream.standing.worth().filter(|_| stream.inputs.capacity() == INPUTS_MAX)?;
        Some((is_used, since_us, Arc::clone(name)))
    };
    let mut all: Vec<_> = by_name.iter().filter_map(worth).collect();
    all.sort_unstable();
    for (_, since_us, name) in all {
        if by_name.get(&name).and_then(|cell| cell.get()).is_some_and(|it| it.standing.give_up(since_us)) {
            by_name.remove(&name);
            return;
        }
    }
}

impl Streams {
    /// None yet.
    #[must_use]
    pub fn new(deps: ActorDeps, read_evidence: ReadEvidence, leases: Option<Leases>) -> Self {
        Self {
            deps,
            leases,
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
    pub async fn find(&self, stream_id: &str) -> Option<Stream> {
        let by_name = self.by_name.lock().await;
        let stream = by_name.get(stream_id).and_then(|cell| cell.get());
        stream.filter(|stream| !stream.inputs.is_closed()).cloned()
    }

    /// The streams of a model that take labels.
    pub async fn of_model(&self, model_id: &str) -> Vec<Stream> {
        let by_name = self.by_name.lock().await;
        let all = by_name.values().filter_map(|cell| cell.get());
        let takes = |stream: &&Stream| {
            *stream.model_id == *model_id && stream.labels.is_some() && !stream.inputs.is_closed()
        };
        all.filter(takes).cloned().collect()
    }

    /// Joins a client to its stream, which is made when it is not there and the client is not coming back.
    ///
    /// # Errors
    /// `RESUME_EXPIRED`, `STREAMS`, `SCHEMA_CHANGED`, `NOT_OWNER`, or a judge's refusal.
    pub async fn join(
        &self,
        spec: StreamSpec,
        resume_after: u64,
        client: ClientEnd,
        traceparent: Option<Arc<str>>,
    ) -> Result<(Stream, Joined), Problem> {
        let stream = self.find_or_make(&spec, resume_after, traceparent).await?;
        let (reply, answer) = oneshot::channel();
        let join = Input::Join { spec: Box::new(spec), resume_after, client, reply };
        let ended = || {
            Problem::new(
                problem::Kind::Unavailable,
                "STREAM_ENDED",
                "the stream has just ended; open it again",
            )
        };
        stream.inputs.send(join).await.map_err(|_| ended())?;
        let joined = answer.await.map_err(|_| ended())??;
        Ok((stream, joined))
    }

    async fn find_or_make(
        &self,
        spec: &StreamSpec,
        resume_after: u64,
        traceparent: Option<Arc<str>>,
    ) -> Result<Stream, Problem> {
        let cell = self.cell(spec, resume_after).await?;
        let made = cell.get_or_try_init(|| self.make(spec, traceparent)).await.cloned();
        if made.is_err() {
            let mut by_name = self.by_name.lock().await;
            // Whoever comes next tries anew, unless somebody is trying already.
            if by_name
                .get(&spec.stream_id)
                .is_some_and(|known| Arc::ptr_eq(known, &cell) && !known.initialized())
            {
                by_name.remove(&spec.stream_id);
            }
        }
        made
    }

    async fn cell(&self, spec: &StreamSpec, resume_after: u64) -> Result<Cell, Problem> {
        let mut by_name = self.by_name.lock().await;
        // One that nobody opens any more was left by a client that went while it waited.
        by_name.retain(|_, cell| match cell.get() {
            Some(stream) => !stream.inputs.is_closed(),
            None => Arc::strong_count(cell) > 1,
        });
        if let Some(cell) = by_name.get(&spec.stream_id) {
            return Ok(Arc::clone(cell));
        }
        if resume_after > 0 {
            drop(by_name);
            self.check_owner(&spec.stream_id).await?;
            let message = "the stream is over or was detached for too long; open it from the start";
            return Err(Problem::new(problem::Kind::Precondition, "RESUME_EXPIRED", message));
        }
        let known = by_name.len();
        if known >= self.deps.config.streams_max {
            make_room(&mut by_name);
        }
        if by_name.len() >= self.deps.config.streams_max {
            let message = format!("the server has {known} streams already");
            return Err(Problem::exhausted("STREAMS", message, 10_000));
        }
        Ok(Arc::clone(by_name.entry(Arc::clone(&spec.stream_id)).or_default()))
    }

    /// A client that comes back to the wrong orchestrator is told the right one.
    async fn check_owner(&self, stream_id: &str) -> Result<(), Problem> {
        match &self.leases {
            Some(leases) => leases.check(stream_id).await,
            None => Ok(()),
        }
    }

    async fn make(&self, spec: &StreamSpec, traceparent: Option<Arc<str>>) -> Result<Stream, Problem> {
        let lease = match &self.leases {
            Some(leases) => Some(leases.acquire(&spec.stream_id).await?),
            None => None,
        };
        let epoch = lease.as_ref().map_or(0, Lease::epoch);
        let core = Core::new(spec.clone(), self.deps.config, self.read_evidence)
            .map_err(|error| Problem::field("open.label_schema", "BAD_SCHEMA", error))?;
        let deps = &self.deps;
        let life: Arc<str> = text::unique_id("", deps.clock.now_ms()).into();
        let recorder = spec.recorded.then(|| {
            deps.records.recorder(FrameSource {
                stream_id: Arc::clone(&spec.stream_id),
                instance: Arc::clone(&life),
                model_id: spec.model_id.as_str().into(),
                model_version: spec.model_version.as_str().into(),
                epoch,
            })
        });
        let actor =
            Actor::open(core, self.deps.clone(), lease, traceparent, (life, recorder.clone())).await?;
        let standing = actor.standing();
        let (stream, inputs) = mpsc::channel(INPUTS_MAX);
        self.tasks.spawn(actor.run(inputs));
        let model_id = spec.model_id.as_str().into();
        Ok(Stream { model_id, labels: LabelKinds::of(spec), inputs: stream, standing, recorder })
    }

    /// Where labels of a stream, or of a model's streams, go.
    ///
    /// # Errors
    /// `UNKNOWN_STREAM`, or `BAD_SCHEMA` when they are of other kinds than every stream's.
    pub async fn submit_labels(
        &self,
        target: LabelTarget,
        schema: Arc<Schema>,
    ) -> Result<LabelSubmission, Problem> {
        let streams = match &target {
            LabelTarget::Model(model_id) if model_id.is_empty() => Vec::new(),
            LabelTarget::Model(model_id) => self.of_model(model_id).await,
            LabelTarget::Stream(stream_id) => self.find(stream_id).await.into_iter().collect(),
        };
        if streams.is_empty() {
            return Err(target.unknown());
        }
        let mut misfits = 0;
        let mut refusal = None;
        let mut fitting = Vec::new();
        for stream in streams {
            // A stream that takes no labels counts them as dropped.
            match stream.labels.as_ref().map_or(Ok(()), |kinds| kinds.check(&schema)) {
                Ok(()) => fitting.push(stream),
                Err(problem) => {
                    misfits += 1;
                    refusal.get_or_insert(problem);
                }
            }
        }
        if let (true, Some(problem)) = (fitting.is_empty(), refusal) {
            return Err(problem);
        }
        let (streams, counts) = (fitting, LabelCounts::default());
        let source = text::unique_id("labels-", self.deps.clock.now_ms());
        Ok(LabelSubmission { streams, target, schema, misfits, source, seq: 0, counts })
    }

    /// Waits until every stream has ended; they end when the surroundings stop.
    pub async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
