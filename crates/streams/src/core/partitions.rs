//! The partitions of a stream: who delivers them, and how far they are. It must not know what frames hold.

use acgs_vocabulary::Problem;

use super::{Action, Core, monotonic_ms};

/// A partition of the stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Partition {
    pub(super) accepted_through: u64,
    /// Of the frame that was looked at last: it may still be on its way into the record log.
    pub(super) looked_through: u64,
    /// Clients that have delivered it so far, and what they failed in.
    pub(super) joins: u64,
    /// Its client was refused: nothing more of it is looked at.
    pub(super) refused: bool,
    /// Its end was said; what was sent before may not be in yet.
    pub(super) ends: bool,
    pub(super) ended: bool,
    /// The join since which one client alone has delivered it, however often it came back.
    pub(super) life: u64,
}

/// How a client finds its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The last seq accepted from it.
    pub accepted_through: u64,
    /// Which client of it this is, counted from 1.
    pub join: u64,
    /// Since which join this client alone has delivered it.
    pub life: u64,
}

/// Where a frame comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// What its client delivers.
    pub partition: String,
    /// Which client of the partition sent it.
    pub join: u64,
    /// Its number.
    pub seq: u64,
}

impl Core {
    /// A client delivers this partition from now on; `life` is of its last place, if it had one.
    ///
    /// # Errors
    /// When there are too many partitions.
    pub fn join_partition(
        &mut self,
        partition: &str,
        life: Option<u64>,
        now_us: u64,
    ) -> Result<Place, Problem> {
        if !self.partitions.contains_key(partition) && self.partitions.len() >= self.config.partitions_max {
            let message = format!("a stream has at most {} partitions", self.config.partitions_max);
            return Err(Problem::exhausted("PARTITIONS", message, 60_000));
        }
        self.windows.watermarks.heard(partition, monotonic_ms(now_us));
        let place = self.replace(partition);
        let state = self.partitions.entry(partition.to_owned()).or_default();
        if life != Some(state.life) || state.life == 0 {
            state.life = place.join;
        }
        Ok(Place { life: state.life, ..place })
    }

    /// What its client sent after what was accepted counts no more, whoever the next one is.
    fn replace(&mut self, partition: &str) -> Place {
        let state = self.partitions.entry(partition.to_owned()).or_default();
        state.joins += 1;
        (state.looked_through, state.refused, state.ends) = (state.accepted_through, false, state.ended);
        Place { accepted_through: state.accepted_through, join: state.joins, life: state.life }
    }

    /// As when another client joins; `None` when one has.
    pub fn replace_if(&mut self, origin: &Origin) -> Option<Place> {
        self.current(origin)?;
        Some(self.replace(&origin.partition))
    }

    /// A partition, unless another client delivers it by now.
    pub(super) fn current(&mut self, origin: &Origin) -> Option<&mut Partition> {
        self.partitions.get_mut(&origin.partition).filter(|state| state.joins == origin.join)
    }

    /// No more frames from this partition are looked at.
    pub fn say_end(&mut self, origin: &Origin) {
        if let Some(state) = self.current(origin) {
            state.ends = true;
        }
    }

    /// All rows and labels of this partition are in.
    pub fn end_partition(&mut self, origin: &Origin, now_us: u64) -> Vec<Action> {
        let Some(state) = self.current(origin) else { return Vec::new() };
        state.ended = true;
        self.windows.watermarks.end(&origin.partition);
        self.move_on(now_us)
    }

    /// Nothing more of a client is looked at.
    pub fn stop_looking(&mut self, origin: &Origin) {
        if let Some(state) = self.current(origin) {
            state.refused = true;
        }
    }
}
