//! Whether rows have room: what they need is counted before anything happens. It must not know what becomes of them.

use std::{collections::BTreeSet, sync::Arc};

use super::{Full, Piece, Room, Rows, WindowKey, Windows};

/// A key and the starts of windows, from the first through the last, a slide apart.
type Run = (u32, i64, i64);

impl Windows {
    /// The panes and windows that rows need at most, while as many as `reserved` are promised to rows before them.
    ///
    /// # Errors
    /// When there is no room for so many.
    pub fn room_for(&self, rows: Rows<'_>, reserved: Room) -> Result<Room, Full> {
        let held =
            Room { panes: self.panes + reserved.panes, windows: self.windows.len() + reserved.windows };
        let fresh = self.slices_of(rows);
        let (slide_ms, limits) = (self.spec.slide_ms(), self.limits);
        let starts = |(_, from, through): Run| ((through - from) / slide_ms) as usize + 1;
        let windows: usize = self.runs(&fresh).map(starts).sum();
        // Most frames fit even if nothing that they need were there; only else it is worth a look.
        if held.panes + fresh.len() <= limits.panes_max && held.windows + windows <= limits.windows_max {
            return Ok(Room { panes: fresh.len(), windows });
        }
        let mut panes = held.panes;
        for (key, start) in &fresh {
            let slice = self.slices.get(&(name_of(rows, *key), *start));
            let open = |piece: &Piece| !piece.of_labels && !piece.sealed;
            panes += usize::from(!slice.is_some_and(|slice| slice.pieces.iter().any(open)));
        }
        if panes > limits.panes_max {
            return Err(Full::Panes(limits.panes_max));
        }
        let mut windows = held.windows;
        for (key, from, through) in self.runs(&fresh) {
            let mut start_ms = from;
            while start_ms <= through {
                let end_ms = start_ms.saturating_add(self.spec.size_ms());
                let window = WindowKey { end_ms, start_ms, key: name_of(rows, key) };
                windows += usize::from(!self.windows.contains_key(&window));
                if windows > limits.windows_max {
                    return Err(Full::Windows(limits.windows_max));
                }
                start_ms += slide_ms;
            }
        }
        Ok(Room { panes: panes - held.panes, windows: windows - held.windows })
    }

    /// The slices that rows are in, by key and start.
    fn slices_of(&self, rows: Rows<'_>) -> BTreeSet<(u32, i64)> {
        let mut fresh = BTreeSet::new();
        let mut last = None;
        for (row, &time_ms) in rows.times_ms.iter().enumerate() {
            if rows.rejected.get(row).copied().unwrap_or(false) {
                continue;
            }
            let key = rows.keys.map_or(0, |keys| keys[row]);
            if last.is_some_and(|(known, start, end)| known == key && start <= time_ms && time_ms < end) {
                continue;
            }
            let (start, end) = self.spec.slice(time_ms);
            last = Some((key, start, end));
            fresh.insert((key, start));
        }
        fresh
    }

    /// The windows that hold any of these slices, each once: neighbours share nearly all of theirs.
    fn runs<'a>(&'a self, fresh: &'a BTreeSet<(u32, i64)>) -> impl Iterator<Item = Run> + 'a {
        let mut last: Option<(u32, i64)> = None;
        fresh.iter().filter_map(move |&(key, start)| {
            let newest = self.spec.newest_start(start);
            let oldest = self.spec.starts(start).next().unwrap_or(newest);
            let from = match last {
                Some((known, through)) if known == key => oldest.max(through + self.spec.slide_ms()),
                _ => oldest,
            };
            last = Some((key, newest));
            (from <= newest).then_some((key, from, newest))
        })
    }
}

fn name_of(rows: Rows<'_>, key: u32) -> Arc<str> {
    rows.key_names.get(key as usize).map_or_else(|| Arc::from(""), Arc::clone)
}
