//! Events that did not reach the log before their process ended, in files, until the next start tells them. It must not know what an event
//! says.

use std::{
    collections::HashSet,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use acgs_vocabulary::{
    constitution::sha256_hex,
    event::Envelope,
    ports::{EventLog, PortError},
    text,
};

/// Events of a log that are looked through for those that arrived after all.
const LOOK_BACK: u64 = 4_096;
/// Events read at once.
const PAGE: usize = 500;
const WRITTEN: &str = "jsonl";
/// One that is being told: a process that dies meanwhile leaves it to the next.
const TAKEN: &str = "taken";

/// Events that are left over.
#[derive(Clone, Debug, Default)]
pub struct Left {
    /// In their order.
    pub events: Vec<Envelope>,
    /// A place in the log before which none of them is, when it is known.
    pub after: Option<u64>,
}

/// Files of events, one event a line.
#[derive(Clone, Debug)]
pub struct Unsent {
    folder: PathBuf,
}

impl Unsent {
    /// Beside the folder of a home, apart for each server that events go to; made when it is needed.
    #[must_use]
    pub fn beside(home: &Path, server: &str) -> Self {
        let mut name = home.file_name().unwrap_or_default().to_owned();
        name.push(format!(".unsent-{}", &sha256_hex(server.as_bytes())[..8]));
        Self { folder: home.with_file_name(name) }
    }

    /// Keeps events in their order.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn keep(&self, left: &Left, now_ms: i64) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.folder)?;
        let name = text::unique_id(&format!("{now_ms:014}-{}-", left.after.unwrap_or(0)), now_ms);
        let (open, path) = (self.folder.join(&name), self.folder.join(&name).with_extension(WRITTEN));
        let mut file = io::BufWriter::new(fs::File::create(&open)?);
        for event in &left.events {
            serde_json::to_writer(&mut file, event)?;
            file.write_all(b"\n")?;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(open, &path)?;
        Ok(path)
    }

    /// What former processes have kept, each with its file, which is removed when they are told.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn take(&self) -> io::Result<Vec<(PathBuf, Left)>> {
        let all = match fs::read_dir(&self.folder) {
            Ok(all) => all,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut paths: Vec<PathBuf> =
            all.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        paths.retain(|path| path.extension().is_some_and(|kind| kind == WRITTEN || kind == TAKEN));
        paths.sort();
        let mut kept = Vec::new();
        for path in paths {
            let taken = path.with_extension(TAKEN);
            // Another process may have been faster.
            if fs::rename(&path, &taken).is_err() {
                continue;
            }
            let text = fs::read(&taken)?;
            let text = String::from_utf8_lossy(&text);
            let read = |line: &str| {
                serde_json::from_str(line).inspect_err(
                    |error| tracing::error!(%error, file = %taken.display(), "a line is no event"),
                )
            };
            let events = text.lines().filter_map(|line| read(line).ok()).collect();
            let after = taken.file_stem().and_then(|name| name.to_str()?.split('-').nth(1)?.parse().ok());
            kept.push((taken.clone(), Left { events, after: after.filter(|after| *after > 0) }));
        }
        Ok(kept)
    }
}

/// Those of some events that a log does not have.
///
/// # Errors
/// When it cannot be read.
pub async fn missing(log: &dyn EventLog, left: Left) -> Result<Vec<Envelope>, PortError> {
    let Left { mut events, after } = left;
    let last = log.last().await?;
    // A log that was made again counts from the beginning.
    let recent = last.saturating_sub(LOOK_BACK);
    let mut after = after.filter(|after| *after <= last).unwrap_or(recent);
    while after < last {
        let page = log.read(after, PAGE).await?;
        let Some(newest) = page.last() else { break };
        after = newest.sequence;
        let there: HashSet<&str> = page.iter().map(|logged| logged.envelope.event_id.as_str()).collect();
        events.retain(|event| !there.contains(event.event_id.as_str()));
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::envelope;

    #[test]
    fn what_was_kept_is_there_once_more_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let unsent = Unsent::beside(&folder.path().join("events"), "nats://a");
        assert!(unsent.take().unwrap().is_empty());
        let events: Vec<Envelope> = (0..5).map(|number| envelope(&number.to_string(), "acgs.x")).collect();
        let left = |events: &[Envelope], after| Left { events: events.to_vec(), after };
        unsent.keep(&left(&events[2..], Some(70)), 2_000).unwrap();
        unsent.keep(&left(&events[..2], None), 1_000).unwrap();
        let told = |all: &[(PathBuf, Left)]| -> Vec<String> {
            all.iter().flat_map(|(_, left)| &left.events).map(|event| event.event_id.clone()).collect()
        };
        let first = unsent.take().unwrap();
        assert_eq!(told(&first), ["0", "1", "2", "3", "4"]);
        assert_eq!((first[0].1.after, first[1].1.after), (None, Some(70)));
        // Whoever took it has died before it was told.
        assert_eq!(told(&unsent.take().unwrap()).len(), 5);
        first.iter().for_each(|(path, _)| fs::remove_file(path).unwrap());
        assert!(unsent.take().unwrap().is_empty());
    }
}
