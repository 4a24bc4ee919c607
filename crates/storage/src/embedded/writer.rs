//! The one thread that writes: it takes all that waits, decides each in order, and commits them together.

mod healing;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use acgs_vocabulary::{
    constitution::{hex, sha256},
    event::Envelope,
    ports::{Appended, EVENT_BYTES_MAX, PortError, Versioned},
};
use fjall::{OwnedWriteBatch as WriteBatch, PersistMode};
use healing::Guard;
use tokio::sync::{broadcast, mpsc, watch};

use super::{
    Change, Durability, Options, Parts, Shared,
    job::{Job, Reply},
    records::Records,
    space::Space,
    trouble,
    witness::{self, Through, Witness},
};
use crate::home_state::HomeState;

/// Most jobs of one commit.
const GROUP_MAX: usize = 512;
/// Events given up at once when there are too many.
const PRUNE_STEP: u64 = 1_000;

/// Where the last revision is kept among the subjects; no subject is named so.
const REVISION_KEY: &[u8] = b"\0revision";

/// Answers that wait for the commit.
type Answer = Box<dyn FnOnce(Option<&PortError>) + Send>;

pub(super) struct Writer {
    shared: Arc<Shared>,
    parts: Arc<Parts>,
    options: Options,
    space: Space,
    witness: Witness,
    boot: String,
    changes: broadcast::Sender<Change>,
    last: u64,
    first: u64,
    revision: u64,
    digest: Option<String>,
    entries: u64,
    records: Records,
    group: Group,
}

/// What a group has decided and not yet committed.
#[derive(Default)]
struct Group {
    ids: HashMap<String, u64>,
    subjects: HashMap<String, u64>,
    keys: HashMap<String, Option<Versioned>>,
    changes: Vec<Change>,
    answers: Vec<Answer>,
}

impl Writer {
    /// Over a store that was just opened, of which readers hear when all of it is there.
    ///
    /// # Errors
    /// When it cannot be read, or has lost something.
    pub(super) fn recover(
        shared: &Arc<Shared>,
        parts: Arc<Parts>,
        options: Options,
        changes: broadcast::Sender<Change>,
    ) -> Result<Self, PortError> {
        let sequence = |key: &[u8]| key.try_into().map(u64::from_be_bytes).unwrap_or(0);
        let (mut last, mut first, mut digest) = (0, 1, None);
        if let Some(newest) = parts.events.last_key_value() {
            let (key, value) = newest.into_inner().map_err(trouble)?;
            last = sequence(&key);
            digest = Some(hex(&sha256(&value)));
        }
        if let Some(oldest) = parts.events.first_key_value() {
            first = sequence(&oldest.key().map_err(trouble)?);
        }
        // Also the revisions of keys that are gone count: a stale one must never fit again.
        let counted = parts.subjects.get(REVISION_KEY).map_err(trouble)?;
        let mut revision = counted.map_or(0, |counted| sequence(&counted));
        for held in parts.keys.iter() {
            let (_, value) = held.into_inner().map_err(trouble)?;
            revision = revision.max(decode(&value).map_or(0, |held| held.revision));
        }
        let newest = parts.ledger.last_key_value();
        let entries = newest.map(|newest| newest.key()).transpose().map_err(trouble)?;
        let entries = entries.map_or(0, |key| sequence(&key));
        let records = Records::recover(&parts, options.records, Arc::clone(&options.clock))?;
        let mut writer = Self {
            shared: Arc::clone(shared),
            space: Space::new(&options.folder, options.free_bytes_min),
            witness: Witness::of(&options.folder),
            boot: witness::boot(),
            parts,
            options,
            changes,
            last,
            first,
            revision,
            digest,
            entries,
            records,
            group: Group::default(),
        };
        let found = writer.through();
        writer.witness.check(&found)?;
        writer.witness.keep(|| found, true);
        let parts = Some(Arc::clone(&writer.parts));
        *shared.parts.write().unwrap_or_else(PoisonError::into_inner) = parts;
        shared.state.send_replace(HomeState::Well);
        Ok(writer)
    }

    /// How far it has come.
    fn through(&self) -> Through {
        Through {
            boot: self.boot.clone(),
            synced: self.options.durability == Durability::Always,
            events: self.last,
            entries: self.entries,
            revision: self.revision,
            records: self.records.last(),
        }
    }

    pub(super) fn last_sequence(&self) -> u64 {
        self.last
    }

    pub(super) fn last_entry(&self) -> u64 {
        self.entries
    }

    /// Writes until nobody can ask any more, or the store is lost.
    pub(super) fn run(
        mut self,
        mut jobs: mpsc::Receiver<Job>,
        announce: &watch::Sender<u64>,
        announce_ledger: &watch::Sender<u64>,
    ) {
        let guard = Guard(Arc::clone(&self.shared));
        let mut waiting = Vec::with_capacity(GROUP_MAX);
        while jobs.blocking_recv_many(&mut waiting, GROUP_MAX) > 0 {
            let committed = self.write(&mut waiting, announce, announce_ledger);
            if let Err(error) = committed.and_then(|()| self.prune()).and_then(|()| self.prune_records()) {
                match self.heal(&mut jobs, &error) {
                    Some(healed) => {
                        self = healed;
                        announce.send_replace(self.last);
                        announce_ledger
                            .send_if_modified(|told| std::mem::replace(told, self.entries) != self.entries);
                    }
                    None => return,
                }
            }
        }
        let through = self.through();
        self.witness.keep(|| through, true);
        drop(guard);
    }

    /// Decides all that waits, commits it together, announces it, and answers: who has an answer finds what it wrote.
    fn write(
        &mut self,
        waiting: &mut Vec<Job>,
        announce: &watch::Sender<u64>,
        announce_ledger: &watch::Sender<u64>,
    ) -> Result<(), PortError> {
        let mut batch = self.parts.database.batch();
        if self.options.durability == Durability::Always {
            batch = batch.durability(Some(PersistMode::SyncData));
        }
        // What the group would leave behind, should its commit fail.
        let before = (self.last, self.revision, self.digest.clone(), self.entries);
        let records_before = self.records.last();
        for job in waiting.drain(..) {
            match self.space.check(job.bytes(), job.gives_room()) {
                Ok(()) => self.decide(&mut batch, job),
                Err(full) => job.refuse(full),
            }
        }
        let committed = batch.commit().map_err(trouble);
        let group = std::mem::take(&mut self.group);
        match &committed {
            Ok(()) => {
                for change in group.changes {
                    let _no_watcher = self.changes.send(change);
                }
                // What the ledger holds is known at once: a process may end at any moment, and the life of models is in it.
                let (through, has_entries) = (self.through(), self.entries > before.3);
                self.witness.keep(|| through, has_entries);
                announce.send_replace(self.last);
                announce_ledger
                    .send_if_modified(|told| std::mem::replace(told, self.entries) != self.entries);
            }
            Err(_) => {
                (self.last, self.revision, self.digest, self.entries) = before;
                // The rest is counted anew when the store is opened again.
                self.records.go_back(records_before);
            }
        }
        group.answers.into_iter().for_each(|answer| answer(committed.as_ref().err()));
        committed
    }

    fn prune_records(&mut self) -> Result<(), PortError> {
        self.records.prune(&self.parts)
    }

    fn decide(&mut self, batch: &mut WriteBatch, job: Job) {
        match job {
            Job::Append { envelope, expected, reply } => {
                let appended = self.append(batch, *envelope, expected);
                self.answer(appended, reply);
            }
            Job::Put { key, value, expected, reply } => {
                let put = self.put(batch, key, value, expected);
                self.answer(put, reply);
            }
            Job::Delete { key, expected, reply } => {
                let deleted = self.delete(batch, key, expected);
                self.answer(deleted, reply);
            }
            Job::PutBlob { name, bytes, reply } => {
                batch.insert(&self.parts.blobs, name.into_bytes(), bytes);
                self.answer(Ok(()), reply);
            }
            Job::DeleteBlob { name, reply } => {
                batch.remove(&self.parts.blobs, name.into_bytes());
                self.answer(Ok(()), reply);
            }
            Job::Enter { entry, expected, reply } => {
                let entered = if expected == self.entries {
                    self.entries += 1;
                    batch.insert(&self.parts.ledger, self.entries.to_be_bytes(), entry);
                    Ok(self.entries)
                } else {
                    Err(PortError::Conflict { expected, found: self.entries })
                };
                self.answer(entered, reply);
            }
            Job::Record { topic, chunk, reply } => {
                let appended = self.records.append(&self.parts, batch, &topic, &chunk);
                self.answer(appended, reply);
            }
        }
    }

    fn answer<T: Send + 'static>(&mut self, decided: Result<T, PortError>, reply: Reply<T>) {
        self.group.answers.push(Box::new(move |failure: Option<&PortError>| {
            let answer = failure.map_or(decided, |failure| Err(failure.clone()));
            let _caller_left = reply.send(answer);
        }));
    }

    fn append(
        &mut self,
        batch: &mut WriteBatch,
        mut envelope: Envelope,
        expected: Option<u64>,
    ) -> Result<Appended, PortError> {
        if let Some(sequence) = self.number(&self.parts.ids, &self.group.ids, &envelope.event_id)? {
            return Ok(Appended { sequence, duplicate: true });
        }
        if let Some(expected) = expected {
            let found =
                self.number(&self.parts.subjects, &self.group.subjects, &envelope.subject)?.unwrap_or(0);
            if found != expected {
                return Err(PortError::Conflict { expected, found });
            }
        }
        envelope.previous_digest.clone_from(&self.digest);
        let bytes = serde_json::to_vec(&envelope).map_err(|error| PortError::Invalid(error.to_string()))?;
        if bytes.len() > EVENT_BYTES_MAX {
            let message = format!("an event has {} bytes, at most {EVENT_BYTES_MAX}", bytes.len());
            return Err(PortError::Invalid(message));
        }
        self.last += 1;
        let sequence = self.last.to_be_bytes();
        self.digest = Some(hex(&sha256(&bytes)));
        batch.insert(&self.parts.events, sequence, bytes);
        batch.insert(&self.parts.ids, envelope.event_id.as_bytes(), sequence);
        batch.insert(&self.parts.subjects, envelope.subject.as_bytes(), sequence);
        self.group.ids.insert(envelope.event_id, self.last);
        self.group.subjects.insert(envelope.subject, self.last);
        Ok(Appended { sequence: self.last, duplicate: false })
    }

    /// A number by name: what the group has decided, else what is stored.
    fn number(
        &self,
        part: &fjall::Keyspace,
        decided: &HashMap<String, u64>,
        name: &str,
    ) -> Result<Option<u64>, PortError> {
        if let Some(&number) = decided.get(name) {
            return Ok(Some(number));
        }
        let held = part.get(name.as_bytes()).map_err(trouble)?;
        Ok(held.and_then(|held| held[..].try_into().ok().map(u64::from_be_bytes)))
    }

    fn put(
        &mut self,
        batch: &mut WriteBatch,
        key: String,
        value: Vec<u8>,
        expected: Option<u64>,
    ) -> Result<u64, PortError> {
        self.expect(&key, expected)?;
        self.revision += 1;
        batch.insert(&self.parts.subjects, REVISION_KEY, self.revision.to_be_bytes());
        let held = Versioned { revision: self.revision, value };
        batch.insert(&self.parts.keys, key.as_bytes(), encode(&held));
        self.group.keys.insert(key.clone(), Some(held.clone()));
        self.group.changes.push((key, Some(held)));
        Ok(self.revision)
    }

    fn delete(
        &mut self,
        batch: &mut WriteBatch,
        key: String,
        expected: Option<u64>,
    ) -> Result<(), PortError> {
        self.expect(&key, expected)?;
        batch.remove(&self.parts.keys, key.as_bytes());
        self.group.keys.insert(key.clone(), None);
        self.group.changes.push((key, None));
        Ok(())
    }

    fn expect(&self, key: &str, expected: Option<u64>) -> Result<(), PortError> {
        let Some(expected) = expected else { return Ok(()) };
        let held = match self.group.keys.get(key) {
            Some(held) => held.clone(),
            None => self.parts.keys.get(key.as_bytes()).map_err(trouble)?.and_then(|held| decode(&held)),
        };
        let found = held.map_or(0, |held| held.revision);
        if found == expected { Ok(()) } else { Err(PortError::Conflict { expected, found }) }
    }

    /// Gives up the oldest events when there are more than are to be kept.
    fn prune(&mut self) -> Result<(), PortError> {
        if self.last < self.first + self.options.events_max.max(1) + PRUNE_STEP {
            return Ok(());
        }
        let keep_from = self.last - self.options.events_max.max(1) + 1;
        let mut batch = self.parts.database.batch();
        let old = self.first.to_be_bytes()..keep_from.to_be_bytes();
        for held in self.parts.events.range(old) {
            let (key, value) = held.into_inner().map_err(trouble)?;
            if let Ok(envelope) = serde_json::from_slice::<Envelope>(&value) {
                // A subject whose last event goes was never heard of, as far as anybody can still read.
                let last = self.number(&self.parts.subjects, &HashMap::new(), &envelope.subject)?;
                if last.is_some_and(|last| last < keep_from) {
                    batch.remove(&self.parts.subjects, envelope.subject.into_bytes());
                }
                batch.remove(&self.parts.ids, envelope.event_id.into_bytes());
            }
            batch.remove(&self.parts.events, key);
        }
        batch.commit().map_err(trouble)?;
        self.first = keep_from;
        Ok(())
    }
}

/// Revision, then value.
fn encode(held: &Versioned) -> Vec<u8> {
    [&held.revision.to_be_bytes()[..], &held.value].concat()
}

/// The reverse of [`encode`].
pub(super) fn decode(bytes: &[u8]) -> Option<Versioned> {
    let (revision, value) = bytes.split_first_chunk::<8>()?;
    Some(Versioned { revision: u64::from_be_bytes(*revision), value: value.to_vec() })
}
