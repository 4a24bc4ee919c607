//! Lines of the log: an event is one line whatever callers say in it, and one that comes again and again is told now and then. It must
//! not know what is logged.

use std::{
    collections::HashMap,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::{Event, Level, Metadata, callsite::Identifier};
use tracing_subscriber::{
    fmt::MakeWriter,
    layer::{Context, Filter},
};

/// Warnings and errors of one place in the code that are told at once.
const BURST: u32 = 20;
/// After those, one is told this often.
const EVERY: Duration = Duration::from_secs(60);

/// What was left out since the place was told last.
#[derive(Debug)]
struct Told {
    left: u32,
    since: Instant,
    left_out: u64,
}

impl Told {
    /// Whether another one is told, and how many were not before it.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let earned = now.saturating_duration_since(self.since).as_secs() / EVERY.as_secs();
        if earned > 0 {
            self.left = (self.left + u32::try_from(earned).unwrap_or(BURST)).min(BURST);
            self.since = now;
        }
        if self.left == 0 {
            self.left_out += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Lets warnings and errors through, but not floods of them. Clones share what they know.
#[derive(Clone, Debug, Default)]
pub(super) struct Seldom {
    told: Arc<Mutex<HashMap<Identifier, Told>>>,
    notes: Arc<Mutex<Vec<(u64, &'static str)>>>,
}

impl<S> Filter<S> for Seldom {
    fn enabled(&self, _metadata: &Metadata<'_>, _context: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _context: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN {
            return true;
        }
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let first = || Told { left: BURST, since: now, left_out: 0 };
        match told.entry(metadata.callsite()).or_insert_with(first).take(now) {
            None => false,
            Some(left_out) => {
                if left_out > 0 {
                    let note = (left_out, metadata.name());
                    self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
                }
                true
            }
        }
    }
}

/// Standard error, one event on one line.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    pub(super) seldom: Seldom,
    pub(super) json: bool,
    /// Whether the formatter writes colours; it writes escapes of values as text then.
    pub(super) colours: bool,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(self.clone())
    }
}

/// Writes an event.
#[derive(Debug)]
pub(super) struct Line(Lines);

impl Write for Line {
    /// The formatter gives a whole event.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let notes = std::mem::take(&mut *self.0.seldom.notes.lock().unwrap_or_else(PoisonError::into_inner));
        let mut out = io::stderr().lock();
        out.write_all(&one_line(event, self.0.colours))?;
        for (left_out, place) in notes {
            match self.0.json {
                true => writeln!(
                    out,
                    r#"{{"level":"WARN","message":"more like the last one were left out","left_out":{left_out}}}"#
                )?,
                false => writeln!(out, "  WARN {left_out} more like the last one were left out ({place})")?,
            }
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// An event without line ends or other control characters of its own.
fn one_line(event: &[u8], colours: bool) -> Vec<u8> {
    let (text, end) = event.strip_suffix(b"\n").map_or((event, &b""[..]), |text| (text, &b"\n"[..]));
    let mut line = Vec::with_capacity(event.len());
    for byte in text {
        match byte {
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            byte if *byte < b' ' && *byte != b'\t' && !(colours && *byte == 0x1b) => {
                line.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
            }
            byte => line.push(*byte),
        }
    }
    line.extend_from_slice(end);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_now_and_then() {
        let begin = Instant::now();
        let mut told = Told { left: BURST, since: begin, left_out: 0 };
        let first = (0..5_000).filter(|_| told.take(begin).is_some()).count();
        assert_eq!(first, BURST as usize);
        assert_eq!(told.take(begin + EVERY), Some(4_980));
        assert_eq!(told.take(begin + EVERY), None);
    }

    #[test]
    fn an_event_is_one_line() {
        assert_eq!(one_line(b"a\nERROR forged\r\x07\n", true), b"a\\nERROR forged\\r\\x07\n");
        assert_eq!(one_line(b"\x1b[2ma\n", true), b"\x1b[2ma\n");
        assert_eq!(one_line(b"\x1b[2ma\n", false), b"\\x1b[2ma\n");
    }
}
