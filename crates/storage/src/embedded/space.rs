//! Free space under the store: below a floor nothing is written, so that the store never fails in the middle of a write. It must not
//! know what is written.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use acgs_vocabulary::ports::PortError;

/// How old a look at the disk may be.
const LOOK: Duration = Duration::from_millis(250);
/// The floor where none is set, in bytes; a small disk has a twentieth of itself.
const FLOOR_BYTES: u64 = 256 << 20;
const FLOOR_PART: u64 = 20;

/// What is free.
#[derive(Debug)]
pub(super) struct Space {
    folder: PathBuf,
    set: u64,
    seen: Option<(Instant, u64, u64)>,
}

impl Space {
    pub(super) fn new(folder: &Path, set: u64) -> Self {
        Self { folder: folder.into(), set, seen: None }
    }

    /// Free bytes and the floor; a disk that does not say has room.
    fn look(&mut self) -> Option<(u64, u64)> {
        if let Some((at, free, floor)) = self.seen
            && at.elapsed() < LOOK
        {
            return Some((free, floor));
        }
        let disk = rustix::fs::statvfs(&self.folder).ok()?;
        let (free, all) =
            (disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize));
        let floor = if self.set > 0 { self.set } else { FLOOR_BYTES.min(all / FLOOR_PART) };
        self.seen = Some((Instant::now(), free, floor));
        Some((free, floor))
    }

    /// Whether so many bytes may be written; what gives room may be until half of the floor is left.
    ///
    /// # Errors
    /// `Full`, naming the folder and the setting.
    pub(super) fn check(&mut self, bytes: u64, gives_room: bool) -> Result<(), PortError> {
        let Some((free, floor)) = self.look() else { return Ok(()) };
        let least = if gives_room { floor / 2 } else { floor };
        if free.saturating_sub(bytes) >= least {
            // Many writes may come before the next look.
            if let Some((_, free, _)) = &mut self.seen {
                *free = free.saturating_sub(bytes);
            }
            return Ok(());
        }
        Err(PortError::Full(format!(
            "{} has {free} bytes free, and {floor} stay free (home.free_bytes_min): nothing is written until there is more",
            self.folder.display()
        )))
    }
}
