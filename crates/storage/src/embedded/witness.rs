//! How far the store had come, in a file beside it: an engine that finds its journal cut, empty or gone begins with what is left, and
//! does not know that there was more. It must not know the engine.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use acgs_vocabulary::ports::PortError;
use serde::{Deserialize, Serialize};

/// Between two writes of it.
const EVERY: Duration = Duration::from_secs(1);
const FILE: &str = "through.json";

/// How far it had come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Through {
    /// The machine's start: after another one, what was not on the disk may be gone.
    pub(super) boot: String,
    /// Whether acknowledged writes were on the disk.
    pub(super) synced: bool,
    pub(super) events: u64,
    pub(super) entries: u64,
    pub(super) revision: u64,
    pub(super) records: u64,
}

impl Through {
    fn is_behind(&self, held: &Self) -> bool {
        self.events < held.events
            || self.entries < held.entries
            || self.revision < held.revision
            || self.records < held.records
    }
}

/// This start of the machine; empty where it has no name.
pub(super) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

fn unread(path: &Path, error: &std::io::Error) -> PortError {
    PortError::Unavailable(format!("{} cannot be read: {error}", path.display()))
}

/// The file.
#[derive(Debug)]
pub(super) struct Witness {
    folder: PathBuf,
    written: Option<(Instant, Through)>,
}

impl Witness {
    pub(super) fn of(folder: &Path) -> Self {
        Self { folder: folder.into(), written: None }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// What was written; what cannot be read now says nothing of what there was.
    fn held(&self) -> Result<Option<Through>, PortError> {
        match fs::read(self.path()) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unread(&self.path(), &error)),
        }
    }

    /// Before the store is opened, which makes a journal where there is none.
    ///
    /// # Errors
    /// `Damaged` when there are tables and no journal.
    pub(super) fn check_files(&self) -> Result<(), PortError> {
        match self.held()? {
            Some(_) => Ok(()),
            None => self.check_journal(),
        }
    }

    /// Whether what was found is all that there was.
    ///
    /// # Errors
    /// `Damaged`, naming the files and what can be done.
    pub(super) fn check(&self, found: &Through) -> Result<(), PortError> {
        let Some(held) = self.held()? else { return Ok(()) };
        if !found.is_behind(&held) {
            return Ok(());
        }
        let told = format!(
            "the store in {folder} held events through {}, ledger entries through {}, keys through revision {} and records through {}, \
             and now through {}, {}, {} and {}: its journal {folder}/*.jnl is missing, empty or cut. Put it back, or the whole folder \
             from a copy; to go on with what is left, remove {}",
            held.events,
            held.entries,
            held.revision,
            held.records,
            found.events,
            found.entries,
            found.revision,
            found.records,
            self.path().display(),
            folder = self.folder.display(),
        );
        if held.synced || (held.boot == found.boot && !found.boot.is_empty()) {
            return Err(PortError::Damaged(told));
        }
        // The machine has ended since, and what was not on the disk with it, as this durability allows.
        tracing::warn!("the machine ended before all was on the disk: {told}");
        Ok(())
    }

    /// Without a file, as before there was one: tables without a journal have lost it.
    fn check_journal(&self) -> Result<(), PortError> {
        let entries = |folder: &Path| match fs::read_dir(folder) {
            Ok(entries) => Ok(entries.flatten().collect::<Vec<_>>()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(unread(folder, &error)),
        };
        let journal = entries(&self.folder)?.iter().any(|entry| {
            entry.path().extension().is_some_and(|kind| kind == "jnl")
                && entry.metadata().is_ok_and(|metadata| metadata.len() > 0)
        });
        let mut tables = false;
        for keyspace in entries(&self.folder.join("keyspaces"))? {
            tables |= keyspace.file_name() != "0" && !entries(&keyspace.path().join("tables"))?.is_empty();
        }
        if journal || !tables {
            return Ok(());
        }
        let folder = self.folder.display();
        Err(PortError::Damaged(format!(
            "the store in {folder} has tables and no journal: {folder}/*.jnl is missing or empty. Put it back, or the whole folder from a \
             copy, or move the folder away to begin anew"
        )))
    }

    /// Writes it down, now and then, or now.
    pub(super) fn keep(&mut self, through: impl FnOnce() -> Through, now: bool) {
        if !now && self.written.as_ref().is_some_and(|(at, _)| at.elapsed() < EVERY) {
            return;
        }
        let through = through();
        if self.written.as_ref().is_some_and(|(_, written)| *written == through) {
            return;
        }
        // What cannot be written now is written later: an older one only knows of less.
        let Ok(bytes) = serde_json::to_vec(&through) else { return };
        let new = self.folder.join("through.json.new");
        if fs::write(&new, bytes).and_then(|()| fs::rename(&new, self.path())).is_ok() {
            self.written = Some((Instant::now(), through));
        }
    }
}
