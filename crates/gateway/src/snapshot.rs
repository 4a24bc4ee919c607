//! The last routes on disk, for a gateway that starts while no orchestrator is there. Candidates have nothing until one is heard.
//! It must not know what routes mean.

use std::{io, path::Path, sync::Arc, time::Duration};

use acgs_contracts::lifecycle::v1::RouteTable;
use prost::Message;
use tokio_util::sync::CancellationToken;

use crate::table::Table;

/// Changes that come together are written together.
const GATHER: Duration = Duration::from_millis(20);

/// Puts the routes of a file in force; none when there is no file.
///
/// # Errors
/// When there is one and it cannot be read.
pub async fn load(table: &Table, path: &Path) -> io::Result<usize> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let known = RouteTable::decode(&bytes[..]).map_err(io::Error::other)?;
    let count = known.models.len();
    for routes in known.models {
        table.apply(routes).await;
    }
    Ok(count)
}

/// Writes every change, whole: a file is replaced at once or not at all.
pub async fn keep(table: Arc<Table>, path: std::path::PathBuf, stop: CancellationToken) {
    let mut changes = table.changes();
    loop {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
        tokio::time::sleep(GATHER).await;
        changes.borrow_and_update();
        let bytes = RouteTable { models: table.said(), ..RouteTable::default() }.encode_to_vec();
        if let Err(error) = write(&path, &bytes) {
            tracing::warn!(path = %path.display(), %error, "the routes could not be kept");
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes)?;
    std::fs::rename(beside, path)
}
